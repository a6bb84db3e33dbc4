"""The options and keys for logins: what becomes of them, and of passwords that are given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.session import FakeNetwork
from fakes.terminal import FakeDesk
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from supervisortw.client import login, main
from supervisortw.client.access import Trust
from supervisortw.client.login import Credentials
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ClientSettings, UnixAddress
from supervisortw.errors import ConfigError, LocalError

HERE = UnixAddress(path="/run/s")


def read(*options: str, **keys: object) -> Credentials:
    settings = ClientSettings(sockets=(HERE,), **keys)  # type: ignore[arg-type]
    return Credentials.read(settings, main._parser().parse_args([*options, "status"]))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:  # it was read, and is closed
            continue


def test_without_options_and_keys() -> None:
    assert read() == Credentials(user=None, by_name=False, noauth=False, trust=Trust(), given=None)


def test_keys() -> None:
    found = read(
        user="alice",
        noauth=True,
        tls_ca="/ca.pem",
        tls_name="x.example",
        fingerprints={"db1:9001": b"f" * 32},
        insecure_plaintext=True,
    )
    assert (found.user, found.by_name, found.noauth) == ("alice", False, True)
    assert found.trust == Trust(
        fingerprints={"db1:9001": b"f" * 32}, authorities="/ca.pem", name="x.example", plain=True
    )


def test_options_win() -> None:
    found = read("-u", "bob", "--insecure", "--accept-new-certificate", user="alice", noauth=True)
    assert (found.user, found.by_name, found.noauth) == ("bob", True, False)
    assert (found.trust.plain, found.trust.accept_new) == (True, True)


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "../x", "a:b"])
def test_a_name_that_nobody_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^command line: -u: a user name has up to 64"):
        read("-u", name)


class TestGivenPasswords:
    @pytest.mark.parametrize(
        ("data", "password"),
        [
            (b"secret\n", b"secret"),
            (b"secret", b"secret"),
            (b"secret\r\n", b"secret"),
            (b" two words \n", b" two words "),
            ("pa\u0308ssword".encode(), "p\u00e4ssword".encode()),
        ],
    )
    def test_from_a_descriptor(self, pipe: tuple[int, int], data: bytes, password: bytes) -> None:
        os.write(pipe[1], data)
        os.close(pipe[1])
        assert read("--password-fd", str(pipe[0])).given == password
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pipe[0])

    def test_what_comes_behind_the_line_is_left(self, pipe: tuple[int, int]) -> None:
        kept = os.dup(pipe[0])
        os.write(pipe[1], b"secret\nstatus\n")
        assert read("--password-fd", str(pipe[0])).given == b"secret"
        assert os.read(kept, 100) == b"status\n"
        os.close(kept)

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "1 to 1024 bytes"),
            (b"\nsecret\n", "1 to 1024 bytes"),
            (b"a\x00b\n", "control characters"),
            (b"\xff\n", "not UTF-8"),
            (b"x" * (LIMITS.password_bytes + 1), "1 to 1024 bytes"),
        ],
    )
    def test_what_is_no_password(self, pipe: tuple[int, int], data: bytes, reason: str) -> None:
        os.write(pipe[1], data)
        os.close(pipe[1])
        with pytest.raises(LocalError, match=rf"^--password-fd {pipe[0]}: .*{reason}"):
            read("--password-fd", str(pipe[0]))

    @pytest.mark.parametrize("number", ["-1", "9999", "99999999999999999999"])
    def test_a_descriptor_that_is_not_open(self, number: str) -> None:
        with pytest.raises(
            LocalError, match=rf"^--password-fd {number}: cannot read it; is it open"
        ):
            read(f"--password-fd={number}")

    def test_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.touch(0o600)
        file.write_text("secret\nand more\n")
        assert read(password_file=str(file)).given == b"secret"
        assert read(password_file=str(file), noauth=True).given is None
        file.chmod(0o640)
        with pytest.raises(LocalError, match="chmod 600"):
            read(password_file=str(file))

    def test_a_descriptor_wins_over_the_file(self, pipe: tuple[int, int]) -> None:
        os.write(pipe[1], b"secret\n")
        assert read("--password-fd", str(pipe[0]), password_file="/no/file").given == b"secret"

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(LocalError, match=r"^cannot read /no/file: there is no such file"):
            read(password_file="/no/file")

    def test_it_does_not_show(self, pipe: tuple[int, int]) -> None:
        os.write(pipe[1], b"canary\n")
        assert "canary" not in repr(read("--password-fd", str(pipe[0])))

    def test_there_is_no_option_that_takes_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        for option in ("-p", "--password"):
            with pytest.raises(SystemExit):
                main._parser().parse_args([option, "secret", "status"])
        capsys.readouterr()


def test_the_usual_user_is_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert login._usual_user() == login.pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr("os.geteuid", lambda: 4_123_456)
    assert login._usual_user() == ""


def test_known_hosts_are_looked_for_when_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("supervisortw.client.login.known_hosts", lambda: str(tmp_path / "known"))
    network = FakeNetwork(Clock())
    desk = FakeDesk(network)
    opening = login.access(MemoryReactorClock(), desk, read())
    assert opening._pins().path == str(tmp_path / "known")
    assert opening._pins() is opening._pins()
    desk.notice = desk.complain
    opening._notice("something")
    assert desk.complaints() == ["something"]
