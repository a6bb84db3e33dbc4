"""What is decided about TCP ports: each row of the table, by itself."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from supervisortw.core.listening import Verdict, is_loopback, judge
from supervisortw.core.model import Settings

HERE, ANYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  # nothing is bound
NONE: dict[str, Any] = {}
LOCAL = {"insecure_plaintext": True, "insecure_anonymous": True}
REMOTE = {"insecure_remote": True}
REFUSED = None
SAFE = (True, False, "")
WIRETAP = "whoever is in between can read along"
ANYBODY = "whoever can connect is admin, without a password"

# Address, TLS, passwords, flags; then whether TLS is spoken, nobody is asked, and what it means.
ROWS: list[tuple[str, bool, bool, dict[str, Any], tuple[bool, bool, str] | None]] = [
    (HERE, True, True, NONE, SAFE),
    (HERE, True, True, LOCAL, SAFE),
    (HERE, True, True, REMOTE, SAFE),
    (HERE, True, False, NONE, REFUSED),
    (HERE, True, False, LOCAL, (True, True, ANYBODY)),
    (HERE, True, False, REMOTE, REFUSED),
    (HERE, False, True, NONE, REFUSED),
    (HERE, False, True, LOCAL, (False, False, WIRETAP)),
    (HERE, False, True, REMOTE, REFUSED),
    (HERE, False, False, NONE, REFUSED),
    (HERE, False, False, LOCAL, (False, True, ANYBODY)),
    (HERE, False, False, REMOTE, REFUSED),
    (ANYWHERE, True, True, NONE, SAFE),
    (ANYWHERE, True, True, LOCAL, SAFE),
    (ANYWHERE, True, True, REMOTE, SAFE),
    (ANYWHERE, True, False, NONE, REFUSED),
    (ANYWHERE, True, False, LOCAL, REFUSED),
    (ANYWHERE, True, False, REMOTE, (True, True, ANYBODY)),
    (ANYWHERE, False, True, NONE, REFUSED),
    (ANYWHERE, False, True, LOCAL, REFUSED),
    (ANYWHERE, False, True, REMOTE, (False, False, WIRETAP)),
    (ANYWHERE, False, False, NONE, REFUSED),
    (ANYWHERE, False, False, LOCAL, REFUSED),
    (ANYWHERE, False, False, REMOTE, (False, True, ANYBODY)),
]


def settings(**given: Any) -> Settings:
    return Settings(sockets=(), state_directory="/s", logfile="/l", pidfile="/p", **given)


def verdict(host: str, passwords: bool, **given: Any) -> Verdict:
    file = "/etc/passwd.srp" if passwords else None
    return judge(host, settings(passwdfile=file, **given), passwords=passwords)


def test_there_are_24_rows() -> None:
    assert len({(host, tls, passwords, *flags) for host, tls, passwords, flags, _ in ROWS}) == 24


@pytest.mark.parametrize(("host", "tls", "passwords", "flags", "expected"), ROWS)
def test_a_row(
    host: str,
    tls: bool,
    passwords: bool,
    flags: dict[str, Any],
    expected: tuple[bool, bool, str] | None,
) -> None:
    found = verdict(host, passwords, tls=tls, **flags)
    assert found.allowed is (expected is not None)
    if expected is None:
        assert found.why.startswith("TCP takes TLS and a password: ")
        assert ("tls no" in found.why) is not tls
        assert ("passwords" in found.why) is not passwords
        return
    spoken, anonymous, meaning = expected
    assert (found.tls, found.anonymous) == (spoken, anonymous)
    assert meaning in found.why
    assert found.why.startswith("insecure by 'insecure-") or not meaning
    assert ("there is no TLS" in found.why) is not spoken


@pytest.mark.parametrize(
    ("tls", "passwords", "flag"),
    [(True, False, "insecure_anonymous"), (False, True, "insecure_plaintext")],
)
def test_one_insecure_key_does_not_stand_for_another(tls: bool, passwords: bool, flag: str) -> None:
    flags = {"insecure_plaintext": False, "insecure_anonymous": False, "insecure_remote": True}
    others = {name: name != flag for name in flags}
    assert not verdict(HERE, passwords, tls=tls, **others).allowed
    assert verdict(HERE, passwords, tls=tls, **{flag: True}).allowed


def test_passwords_are_asked_for_wherever_there_are_any() -> None:
    names = ("tls", "insecure_plaintext", "insecure_anonymous", "insecure_remote")
    for host, *values in product((HERE, ANYWHERE), *[(False, True)] * 4):
        flags = dict(zip(names, values, strict=True))
        assert not verdict(str(host), True, **flags).anonymous
        assert verdict(str(host), False, **flags).anonymous


@pytest.mark.parametrize("host", [HERE, ANYWHERE])
def test_who_names_a_password_file_never_lets_everybody_in(host: str) -> None:
    """Whatever becomes of the file: a broken one is no reason to ask for nothing any more."""
    keys = settings(passwdfile="/etc/p", **LOCAL, **REMOTE)
    found = judge(host, keys, passwords=False)
    assert not found.allowed
    assert "no user can log in by /etc/p" in found.why


def test_a_refusal_names_the_file_that_is_no_use() -> None:
    found = judge(ANYWHERE, settings(passwdfile="/etc/p"), passwords=False)
    assert (
        "no user can log in by /etc/p; 'supervisorctl passwd /etc/p check' tells more" in found.why
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"]
)
def test_what_is_reached_from_here_only(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "", "localhost", "127.1", "0x7f000001", "2130706433", "127.0.0.1 "),  # noqa: S104
        *(
            "::ffff:0.0.0.0",
            "::ffff:10.0.0.1",
            "fe80::1%lo",
            "10.0.0.1",
            "127.0.0.01",
            "::127.0.0.1",
        ),
    ],
)
def test_what_is_not(host: str) -> None:
    assert not is_loopback(host)
