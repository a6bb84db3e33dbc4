"""Which variables of the daemon a program gets to see."""

from __future__ import annotations

import pytest
from fakes.daemon import process

from supervisortw.core.environment import DEFAULT_PATH, Login, build, inherited, withheld

FOR_THE_DAEMON = {
    "NOTIFY_SOCKET": "/run/notify",
    "WATCHDOG_PID": "1",
    "WATCHDOG_USEC": "30",
    "LISTEN_FDS": "2",
    "LISTEN_PID": "1",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "SUPERVISOR_LOCK_FD": "3",
}
ORDINARY = {"PATH": "/opt/bin", "LANG": "de_DE", "LC_ALL": "C", "TZ": "UTC", "HOME": "/root"}
SECRET = {"TOKEN": "secret", "LC": "1", "TZDATA": "1", "NOTIFY": "1", "SUPERVISOR": "1"}
DAEMON = {**FOR_THE_DAEMON, **ORDINARY, **SECRET}
ALICE = Login(name="alice", home="/home/alice", shell="/bin/zsh")  # noqa: S604  # a record, nothing is run


def of(
    login: Login | None, *passed: str, daemon: dict[str, str] = DAEMON
) -> tuple[dict[str, str], tuple[str, ...]]:
    environment = build(process("web"), inherited(daemon, login, passed))
    return environment, withheld(daemon, environment)


class TestUnderTheDaemonsOwnIdentity:
    def test_all_is_inherited_but_what_is_the_daemons_alone(self) -> None:
        environment, kept_back = of(None)
        assert environment == {
            **ORDINARY,
            **SECRET,
            "SUPERVISOR_ENABLED": "1",
            "SUPERVISOR_PROCESS_NAME": "web",
            "SUPERVISOR_GROUP_NAME": "web",
        }
        assert kept_back == tuple(sorted(FOR_THE_DAEMON))

    def test_a_name_passes_what_would_be_withheld(self) -> None:
        environment, kept_back = of(None, "NOTIFY_SOCKET")
        assert environment["NOTIFY_SOCKET"] == "/run/notify"
        assert "NOTIFY_SOCKET" not in kept_back

    @pytest.mark.parametrize("pattern", ["*", "NOTIFY_*", "LISTEN_*", "N*"])
    def test_a_pattern_never_does(self, pattern: str) -> None:
        assert of(None, pattern) == of(None)


class TestUnderAnother:
    def test_it_starts_clean(self) -> None:
        environment, kept_back = of(ALICE)
        assert environment == {
            "PATH": DEFAULT_PATH,
            "LANG": "de_DE",
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": "/home/alice",
            "USER": "alice",
            "LOGNAME": "alice",
            "SHELL": "/bin/zsh",
            "SUPERVISOR_ENABLED": "1",
            "SUPERVISOR_PROCESS_NAME": "web",
            "SUPERVISOR_GROUP_NAME": "web",
        }
        assert kept_back == tuple(sorted([*FOR_THE_DAEMON, *SECRET]))

    def test_names_and_patterns_add(self) -> None:
        environment, _ = of(ALICE, "PATH", "TOK*")
        assert environment["PATH"] == "/opt/bin"
        assert environment["TOKEN"] == "secret"
        assert "TZDATA" not in environment

    def test_a_star_may_stand_anywhere(self) -> None:
        daemon = {"A_SECRET": "1", "B_SECRET": "2", "SECRET_A": "3", "A_SECRETX": "4"}
        environment, _ = of(ALICE, "*_SECRET", daemon=daemon)
        assert {name for name in environment if "SECRET" in name} == {"A_SECRET", "B_SECRET"}

    def test_a_star_adds_all_but_what_is_the_daemons_alone(self) -> None:
        environment, kept_back = of(ALICE, "*")
        assert set(SECRET) <= set(environment)
        assert kept_back == tuple(sorted(FOR_THE_DAEMON))

    def test_whose_it_is_cannot_be_passed_on(self) -> None:
        environment, _ = of(ALICE, "HOME", "*")
        assert environment["HOME"] == "/home/alice"

    def test_what_the_daemon_does_not_have_is_no_matter(self) -> None:
        environment, kept_back = of(ALICE, "NOSUCH", daemon={})
        assert "NOSUCH" not in environment
        assert kept_back == ()


def test_its_own_variables_win_over_those_of_files_and_these_over_all_else() -> None:
    web = process("web", environment=(("OWN", "own"), ("SUPERVISOR_GROUP_NAME", "own")))
    base = dict.fromkeys(("BASE", "FILE", "OWN"), "base")
    given = dict.fromkeys(("FILE", "OWN", "SUPERVISOR_ENABLED", "SUPERVISOR_GROUP_NAME"), "file")
    assert build(web, base, given) == {
        "BASE": "base",
        "FILE": "file",
        "OWN": "own",
        "SUPERVISOR_ENABLED": "file",
        "SUPERVISOR_PROCESS_NAME": "web",
        "SUPERVISOR_GROUP_NAME": "own",
    }


def test_our_own_variables_say_whose_child_it_is() -> None:
    daemon = {"SUPERVISOR_ENABLED": "no", "SUPERVISOR_PROCESS_NAME": "outer"}
    environment, kept_back = of(None, daemon=daemon)
    assert environment == {
        "SUPERVISOR_ENABLED": "1",
        "SUPERVISOR_PROCESS_NAME": "web",
        "SUPERVISOR_GROUP_NAME": "web",
    }
    assert kept_back == ()
