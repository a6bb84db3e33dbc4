"""Where passwords come from."""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Iterator

import pytest

from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.core.srp import SrpError
from supervisortw.passwords.asking import Piped, Typed, UsageError
from supervisortw.passwords.making import refuse_weak


def piped(data: bytes) -> str:
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
        os.close(writer)
        return Piped(reader).password("alice")
    finally:
        os.close(reader)


class TestPiped:
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
    def test_a_line_end_does_not_belong_to_it(self, end: bytes) -> None:
        assert piped("pässword, with  spaces ".encode() + end) == "pässword, with  spaces "

    @pytest.mark.parametrize("data", [b"one\ntwo\n", b"one\n\n", b"\none"])
    def test_more_than_one_line_is_refused(self, data: bytes) -> None:
        with pytest.raises(UsageError, match="expected one line"):
            piped(data)

    def test_what_is_no_text_is_refused(self) -> None:
        with pytest.raises(SrpError, match="UTF-8"):
            piped(b"p\xe4ssword")

    def test_it_has_a_bound(self) -> None:
        most = "x" * LIMITS.password_bytes
        assert piped(most.encode() + b"\r\n") == most
        longer = piped(b"x" * 10 * LIMITS.password_bytes)
        assert LIMITS.password_bytes < len(longer) < 3 * LIMITS.password_bytes
        with pytest.raises(SrpError):
            refuse_weak(longer)

    def test_a_descriptor_has_to_be_there(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.close(writer)
        with pytest.raises(UsageError, match=f"descriptor {reader}: Bad file descriptor"):
            Piped(reader).password("alice")

    def test_roles_are_not_guessed(self) -> None:
        with pytest.raises(UsageError, match="Add --role ROLE: observer, operator, admin"):
            Piped(0).role("alice", Role.ADMIN)


class TestTyped:
    @pytest.fixture
    def types(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """Give a list of what is typed next."""
        typed: list[str] = []

        def answer(prompt: str) -> str:
            if not typed:
                raise EOFError
            return typed.pop(0)

        monkeypatch.setattr(getpass, "getpass", answer)
        monkeypatch.setattr("builtins.input", answer)
        yield typed
        assert typed == []

    def test_a_password_twice(self, types: list[str]) -> None:
        types += ["long enough", "long enough"]
        assert Typed(can_choose=True).password("alice") == "long enough"

    def test_two_different_ones(self, types: list[str]) -> None:
        types += ["long enough", "long enough?"]
        with pytest.raises(UsageError, match="two different passwords; nothing was changed"):
            Typed(can_choose=True).password("alice")

    def test_one_that_is_not_taken_is_not_asked_for_again(self, types: list[str]) -> None:
        types += ["short"]
        with pytest.raises(SrpError, match="at least 8 characters"):
            Typed(can_choose=True).password("alice")

    def test_none(self, types: list[str]) -> None:
        with pytest.raises(UsageError, match="no password was typed"):
            Typed(can_choose=True).password("alice")
        with pytest.raises(UsageError, match="no role was chosen"):
            Typed(can_choose=True).role("alice", Role.ADMIN)

    def test_where_it_would_be_shown_it_is_not_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def shown(prompt: str) -> str:
            warnings.warn("can not control echo", getpass.GetPassWarning, stacklevel=1)
            return "secret"

        monkeypatch.setattr(getpass, "getpass", shown)
        with pytest.raises(UsageError, match=r"no terminal .* --password-stdin"):
            Typed(can_choose=True).password("alice")

    def test_a_role(self, types: list[str]) -> None:
        types += ["", "admin", "boss", " operator "]
        ask = Typed(can_choose=True)
        assert ask.role("alice", Role.ADMIN) is Role.ADMIN
        assert ask.role("bob", Role.OBSERVER) is Role.ADMIN
        assert ask.role("carl", Role.OBSERVER) is Role.OPERATOR

    def test_one_command_does_not_ask_for_a_role(self) -> None:
        with pytest.raises(UsageError, match="Add --role"):
            Typed(can_choose=False).role("alice", Role.ADMIN)
