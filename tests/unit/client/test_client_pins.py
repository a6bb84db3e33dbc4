"""What is remembered of daemons, and files that nobody else may read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.client import pins, privatefile
from supervisortw.client.pins import Pin, Pins, known_hosts
from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import Kdf
from supervisortw.errors import ConfigError, LocalError, UnsafePath

PIN = Pin(
    host="db1.example:9001",
    user="alice",
    certificate=b"\x22" * 32,
    kdf=Kdf(),
    realm=bytes(range(16)),
)
LINE = (
    f"db1.example:9001 alice SHA256:{'22' * 32} scrypt$ln=17,r=8,p=1"
    " 000102030405060708090a0b0c0d0e0f"
)


def changed(**fields: object) -> Pin:
    return dataclasses.replace(PIN, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "known_hosts"


def test_a_line_is_what_it_was() -> None:
    assert str(PIN) == LINE
    assert Pin.parse(LINE) == PIN
    six = changed(host="[::1]:9001")
    assert Pin.parse(str(six)) == six


HOSTS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
PINS = st.builds(
    Pin,
    host=st.builds(lambda host, port: f"{host}:{port}", HOSTS, st.integers(1, 65535)),
    user=st.from_regex(r"\A[A-Za-z0-9._@-]{1,64}\Z"),
    certificate=st.binary(min_size=32, max_size=32),
    kdf=st.builds(Kdf, ln=st.integers(14, 18), p=st.integers(1, 4)),
    realm=st.binary(min_size=16, max_size=16),
)


@given(PINS)
def test_every_line_can_be_read_again(pin: Pin) -> None:
    assert Pin.parse(str(pin)) == pin


def test_nothing_is_known_at_first(path: Path) -> None:
    assert Pins(str(path)).of("db1.example:9001") == []
    assert not path.parent.exists()


def test_what_is_remembered_is_known_to_the_next_one(path: Path) -> None:
    first = Pins(str(path))
    first.remember(PIN)
    assert first.of(PIN.host) == Pins(str(path)).of(PIN.host) == [PIN]
    assert first.of("db1.example:9002") == []
    assert path.read_text() == f"{LINE}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["known_hosts"]


def test_what_is_known_already_is_not_written_again(path: Path) -> None:
    known = Pins(str(path))
    known.remember(PIN)
    before = path.stat().st_ino
    known.remember(PIN)
    assert path.stat().st_ino == before
    known.remember(changed(realm=b"r" * 16))
    assert path.stat().st_ino != before


def test_what_we_have_written_is_not_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Pins(str(path))
    known.remember(PIN)
    read: list[str] = []
    monkeypatch.setattr(privatefile, "read", lambda path, most: read.append(path) or b"")
    for number in range(5):
        known.remember(changed(host=f"db{number}:1"))
    assert known.of(PIN.host) == [PIN]
    assert read == []
    path.touch(0o600)
    assert known.of(PIN.host) == []
    assert read == [str(path)]


def test_each_user_has_a_realm_and_a_host_one_certificate(path: Path) -> None:
    known = Pins(str(path))
    bob = changed(user="bob", realm=b"b" * 16)
    other = changed(host="db2.example:9001")
    for pin in (PIN, bob, other):
        known.remember(pin)
    assert known.of(PIN.host) == [PIN, bob]
    renewed = changed(certificate=b"\x33" * 32)
    known.remember(renewed)
    assert known.of(PIN.host) == [renewed]
    assert known.of(other.host) == [other]


def test_what_another_client_has_written_meanwhile_is_kept(path: Path) -> None:
    mine, theirs = Pins(str(path)), Pins(str(path))
    assert mine.of(PIN.host) == []
    other = changed(host="db2.example:9001")
    theirs.remember(other)
    mine.remember(PIN)
    assert theirs.of(PIN.host) == [PIN]
    assert mine.of(other.host) == [other]


def test_the_oldest_are_forgotten(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    lines = [str(changed(host=f"h{number}:1")) for number in range(LIMITS.known_hosts)]
    path.touch(0o600)
    path.write_text("".join(f"{line}\n" for line in lines))
    known = Pins(str(path))
    known.remember(PIN)
    assert len(path.read_text().splitlines()) == LIMITS.known_hosts
    assert known.of("h0:1") == []
    assert len(known.of("h1:1")) == 1
    assert known.of(PIN.host) == [PIN]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# a comment",
        LINE + " ",
        LINE + " more",
        " " + LINE,
        LINE.rpartition(" ")[0],
        LINE.replace("alice", "al/ice"),
        LINE.replace("alice", ""),
        LINE.replace("db1.example:9001", "/run/s"),
        LINE.replace(":9001", ""),
        LINE.replace("db1.example:9001", "9001"),
        LINE.replace("db1.example", "DB1.example"),
        LINE.replace("SHA256:22", "SHA256:2"),
        LINE.replace("SHA256", "MD5"),
        LINE.replace("ln=17", "ln=30"),
        LINE.replace("scrypt", "md5"),
        LINE[:-1],
        LINE + "\x1b[2J",
        LINE.replace("alice", "älice"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_believed(path: Path, line: str) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    path.write_text(f"{LINE}\n{line}\n")
    known = Pins(str(path))
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"^{path}:2: "):
            known.of(PIN.host)
    with pytest.raises(ConfigError):
        known.remember(PIN)
    assert path.read_text() == f"{LINE}\n{line}\n"
    path.write_text(f"{LINE}\n")
    assert known.of(PIN.host) == [PIN]


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    os.truncate(path, LIMITS.known_hosts_bytes + 1)
    with pytest.raises(LocalError, match=f"more than {LIMITS.known_hosts_bytes} bytes"):
        Pins(str(path)).of(PIN.host)


def test_the_longest_lines_have_their_room() -> None:
    longest = Pin(
        host=f"{'h' * 253}:65535", user="u" * 64, certificate=b"c" * 32, kdf=Kdf(), realm=b"r" * 16
    )
    assert len(str(longest)) * LIMITS.known_hosts < LIMITS.known_hosts_bytes


class TestPrivateFile:
    def test_of_another_size(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        privatefile.write(str(file), b"x" * 10)
        assert privatefile.read(str(file), 10) == b"x" * 10
        with pytest.raises(LocalError, match="more than 9 bytes"):
            privatefile.read(str(file), 9)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
    def test_open_to_others(self, tmp_path: Path, mode: int) -> None:
        file = tmp_path / "f"
        privatefile.write(str(file), b"x")
        file.chmod(mode)
        with pytest.raises(UnsafePath, match=f"chmod 600 {file}"):
            privatefile.read(str(file), 10)

    def test_of_another_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "f"
        privatefile.write(str(file), b"x")
        monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
        with pytest.raises(UnsafePath, match="belongs to another user"):
            privatefile.read(str(file), 10)

    @pytest.mark.parametrize(
        "make",
        [
            lambda file: file.symlink_to("/etc/passwd"),
            lambda file: file.mkdir(mode=0o700),
            lambda file: os.mkfifo(file, 0o600),
        ],
        ids=["a link", "a directory", "a FIFO"],
    )
    def test_what_is_no_file(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        file = tmp_path / "f"
        make(file)
        with pytest.raises(LocalError):
            privatefile.read(str(file), 10)

    def test_there_is_none(self, tmp_path: Path) -> None:
        assert privatefile.read(str(tmp_path / "gone"), 10) is None

    def test_what_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "f"
        privatefile.write(str(file), b"old")

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(LocalError, match=r"cannot write .*/f: No space left on device"):
            privatefile.write(str(file), b"new")
        assert file.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["f"]

    def test_what_another_one_has_left_is_in_nobodys_way(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        (tmp_path / f"f.{os.getpid()}").symlink_to(tmp_path / "victim")
        privatefile.write(str(file), b"new")
        assert file.read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["f"]


class TestKnownHosts:
    def test_in_the_home_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert known_hosts() == f"{tmp_path}/.config/supervisortw/known_hosts"

    @pytest.mark.parametrize("home", ["", "relative", "/no/such/directory", "/proc/self/nothing"])
    def test_which_has_to_be_there(self, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", home)
        own = pins.pwd.getpwuid(os.geteuid()).pw_dir
        assert known_hosts() == f"{own}/.config/supervisortw/known_hosts"

    def test_and_ours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr("os.geteuid", lambda: 4_123_456)
        with pytest.raises(LocalError, match="user 4123456 has no home directory"):
            known_hosts()
