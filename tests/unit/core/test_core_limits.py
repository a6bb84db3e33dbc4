"""The bounds fit each other, and each bounds something."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import supervisortw
from supervisortw.core.limits import LIMITS, Limits

NAMES = [field.name for field in fields(Limits)]
PACKAGE = Path(supervisortw.__file__).parent


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_positive_number(name: str) -> None:
    assert getattr(LIMITS, name) > 0


def test_each_is_used_somewhere() -> None:
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r"limits\.(\w+)", code, re.IGNORECASE))
    assert set(NAMES) - used == set()


def test_nobody_can_change_them() -> None:
    with pytest.raises(FrozenInstanceError):
        LIMITS.sessions = 1  # type: ignore[misc]


def test_a_page_fits_into_a_string_of_the_broker_and_that_into_a_message() -> None:
    assert LIMITS.page_bytes < LIMITS.broker_string_bytes < LIMITS.broker_expression_bytes


def test_a_piece_of_a_log_fits_into_one_page_with_its_head() -> None:
    assert LIMITS.piece_bytes + 64 <= LIMITS.page_bytes


def test_an_answer_may_have_pages() -> None:
    assert LIMITS.answer_bytes > LIMITS.page_bytes
    assert LIMITS.answer_plain_bytes < LIMITS.page_bytes


def test_what_is_not_acknowledged_fits_into_what_may_be_owed() -> None:
    owed = LIMITS.subscriptions_per_session * LIMITS.chunks_unacknowledged
    assert owed <= LIMITS.broker_answers_owed * LIMITS.chunks_unacknowledged
    assert LIMITS.chunks_unacknowledged <= LIMITS.broker_answers_owed


def test_the_tail_of_a_log_has_room_for_its_lines() -> None:
    assert LIMITS.tail_scan_bytes >= LIMITS.piece_bytes


def test_one_user_cannot_take_all_sessions() -> None:
    assert LIMITS.sessions_per_user < LIMITS.sessions


def test_one_user_cannot_take_the_whole_room_before_the_login() -> None:
    assert LIMITS.unix_connections_before_login < LIMITS.strangers_before_login


def test_one_address_cannot_take_the_whole_room_of_tcp() -> None:
    per_source = LIMITS.tcp_connections_before_login_per_source
    assert per_source < LIMITS.tcp_connections_before_login


def test_a_login_that_has_to_wait_for_its_answer_gets_one() -> None:
    assert LIMITS.login_delay_seconds_most < LIMITS.gate_seconds - 5  # what a client computes


def test_the_seconds_of_a_lockout_can_be_told() -> None:
    assert LIMITS.lockout_seconds_most < 2**16


def test_who_guesses_at_one_user_from_one_address_is_locked_out_before_others_wait() -> None:
    assert LIMITS.failures_per_source < LIMITS.failures_per_user


def test_a_verb_and_a_name_fit() -> None:
    assert LIMITS.name_characters >= 64
    assert LIMITS.broker_name_bytes >= len("perspective_restart")
