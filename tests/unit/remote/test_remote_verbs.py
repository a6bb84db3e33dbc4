"""Who may ask for what: each verb has its least role, and nothing is done for those who lack it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from remote_ends import log_lines

from supervisortw.auth.users import User
from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.errors import BadRequest, Denied
from supervisortw.remote import wire
from supervisortw.remote.avatar import ControlAvatar
from supervisortw.remote.verbs import VERBS, checked, verbs_of

LOOKING = {
    *("hello", "ping", "page", "status", "why", "tail", "read_log", "follow", "unfollow"),
    *("events", "follow_events"),
}
STEERING = {"start", "stop", "stop_all_of_it", "restart", "signal", "clear"}
OWNING = {"scale", "write_stdin", "reload", "reread", "shutdown"}


def test_the_roles_of_the_verbs() -> None:
    assert set(verbs_of(Role.OBSERVER)) == LOOKING
    assert set(verbs_of(Role.OPERATOR)) == LOOKING | STEERING
    assert set(verbs_of(Role.ADMIN)) == LOOKING | STEERING | OWNING == set(VERBS)


@pytest.mark.parametrize(
    ("role", "verb"),
    [(role, verb) for role in Role for verb in VERBS if VERBS[verb].role > role],
)
def test_who_lacks_the_role_is_denied_whatever_the_arguments(role: Role, verb: str) -> None:
    for arguments in ([], [["web"]], [1, 2, 3, 4, 5]):
        with pytest.raises(Denied, match=rf"takes the role \w+; yours is {role}"):
            checked(role, verb, arguments, {})


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "TERM", "QUIT", "USR1", "USR2", "WINCH", "SIGHUP", "1"]
)
def test_signals_of_an_operator(name: str) -> None:
    assert checked(Role.OPERATOR, "signal", [name, ["web"]], {}) == [name, ["web"]]


@pytest.mark.parametrize("name", ["KILL", "9", "STOP", "sigkill", "SEGV", "ABRT", "CONT", "TSTP"])
def test_signals_of_an_admin(name: str) -> None:
    with pytest.raises(
        Denied, match=r"^the signal SIG\w+ takes the role admin; yours is operator$"
    ):
        checked(Role.OPERATOR, "signal", [name, ["web"]], {})
    assert checked(Role.ADMIN, "signal", [name, ["web"]], {}) == [name, ["web"]]


def test_a_signal_that_is_none_is_left_to_those_who_know() -> None:
    assert checked(Role.OPERATOR, "signal", ["NOSUCH", ["web"]], {}) == ["NOSUCH", ["web"]]


@pytest.mark.parametrize(
    ("verb", "rest"), [("tail", [5]), ("read_log", [0, 9])], ids=["tail", "read_log"]
)
def test_the_log_of_the_daemon_is_an_admins(verb: str, rest: list[Any]) -> None:
    assert checked(Role.OBSERVER, verb, ["web", *rest], {})
    with pytest.raises(Denied, match=r"^supervisord.s own log takes the role admin"):
        checked(Role.OPERATOR, verb, [None, *rest], {})
    assert checked(Role.ADMIN, verb, [None, *rest], {}) == [None, *rest]


def test_a_verb_that_is_none_is_no_denial() -> None:
    with pytest.raises(BadRequest, match="has no verb"):
        checked(Role.OBSERVER, "nosuch", [], {})


def test_the_document_tells_the_same() -> None:
    document = (Path(__file__).parents[3] / "docs" / "protocol.rst").read_text(encoding="utf-8")
    rows = re.findall(
        r"^((?:``\w+``(?:, )?)+) +(observer|operator|admin)\b", document, re.MULTILINE
    )
    told = {name: role for names, role in rows for name in re.findall(r"``(\w+)``", names)}
    assert told == {name: str(verb.role) for name, verb in VERBS.items()}


class Broker:
    def unserialize(self, value: Any, perspective: object = None) -> Any:
        return value

    def serialize(self, value: Any) -> Any:
        return value


class Untouched:
    """A Control that must not be asked for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def answer(avatar: ControlAvatar, verb: str, *arguments: object) -> Any:
    replies: list[Any] = []
    told = avatar.perspectiveMessageReceived(Broker(), verb, arguments, {})
    told.addCallback(replies.append)
    [(total, number, data)] = replies
    assert (total, number) == (1, 0)
    return wire.open_envelope(wire.unpack(data))


def observer() -> ControlAvatar:
    return ControlAvatar(Untouched(), User(name="olga", via="srp", role=Role.OBSERVER))  # type: ignore[arg-type]


def test_a_denial_reaches_the_peer_and_the_log_and_nothing_else() -> None:
    with log_lines() as lines, pytest.raises(Denied, match="start takes the role operator"):
        answer(observer(), "start", ["web"])
    assert lines == ["denied: olga (observer) asks for start"]


def test_denials_cannot_fill_the_log() -> None:
    avatar = observer()
    with log_lines() as lines:
        for _ in range(3 * LIMITS.denials_logged):
            with pytest.raises(Denied):
                answer(avatar, "shutdown")
    assert len(lines) == LIMITS.denials_logged
    assert lines[-1].endswith("; no more of this session are told")


def test_hello_names_the_verbs_of_the_role() -> None:
    told = answer(observer(), "hello")
    assert (told["user"], told["role"], set(told["verbs"])) == ("olga", "observer", LOOKING)
