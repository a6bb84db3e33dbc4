"""The forker: one message after the other, and what a child makes of it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from supervisortw.daemon import forker
from supervisortw.daemon.birth import fork_here
from supervisortw.daemon.forker import changed_signals, clone_number, serve, set_limit


@pytest.fixture
def channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ours, theirs
    ours.close()
    theirs.close()


def report() -> tuple[Any, int]:
    read_end, write_end = os.pipe()
    return os.fdopen(read_end), write_end


@pytest.mark.needs_linux
class TestServing:
    def test_a_fork_that_fails_is_told_and_the_next_one_tried(
        self, channel: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, theirs = channel

        def refuse() -> int:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(forker, "clone", refuse)
        heard = []
        for _ in range(2):
            heard.append(report())
            socket.send_fds(ours, [b"path /x"], [heard[-1][1], 0, 1, 2])
            os.close(heard[-1][1])
        ours.close()
        before = sorted(os.listdir("/proc/self/fd"))
        serve(theirs, os.getppid())
        assert sorted(os.listdir("/proc/self/fd")) == before
        for read_end, _ in heard:
            with read_end:
                assert read_end.read() == f"error {errno.EAGAIN} clone\n"

    def test_what_it_is_given_is_open_in_no_program(
        self, channel: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = channel
        socket.send_fds(ours, [b"x"], [0, 1, 2])
        message, descriptors, _ = forker.receive(theirs)
        assert message == b"x"
        assert len(descriptors) == 3
        for descriptor in descriptors:
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)

    def test_descriptors_that_are_lost_on_the_way_are_told(
        self, channel: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(forker, "MAX_DESCRIPTORS", 1)
        ours, theirs = channel
        read_end, write_end = report()
        socket.send_fds(ours, [b"path /x"], [write_end, 0, 1, 2])
        os.close(write_end)
        ours.close()
        serve(theirs, os.getppid())
        with read_end:
            assert read_end.read() == f"error {errno.EMFILE} clone\n"


@pytest.mark.parametrize(
    ("platform", "largest", "machine", "number"),
    [
        ("linux", 2**63 - 1, "x86_64", 56),
        ("linux", 2**63 - 1, "aarch64", 220),
        ("linux", 2**63 - 1, "riscv64", 220),
        ("linux", 2**63 - 1, "s390x", None),
        ("linux", 2**31 - 1, "x86_64", None),
        ("darwin", 2**63 - 1, "x86_64", None),
    ],
)
def test_where_the_number_of_clone_is_known(
    platform: str, largest: int, machine: str, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys, "maxsize", largest)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", machine)))
    assert clone_number() == number
    if number is None:
        with pytest.raises(OSError, match="Function not implemented"):
            forker.clone()


def test_signals_that_have_to_be_set_back() -> None:
    assert signal.SIGUSR2 not in changed_signals()
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert signal.SIGUSR2 in changed_signals()
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize(
    ("name", "soft", "hard", "number"),
    [
        ("no_such_limit", b"0", b"0", errno.EINVAL),
        ("core", b"2", b"1", errno.EINVAL),
        ("core", b"unlimited", b"1", errno.EINVAL),
    ],
)
def test_limits_that_cannot_be_set(name: str, soft: bytes, hard: bytes, number: int) -> None:
    with pytest.raises(OSError) as caught:  # the number is looked at
        set_limit(name, soft, hard)
    assert caught.value.errno == number


def test_a_limit_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, pair: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(PermissionError):
        set_limit("core", b"1", b"unlimited")


class Libc:
    """A C library that lets everybody become root, and else does nothing."""

    def setuid(self, uid: int) -> int:
        return 0

    def sigprocmask(self, how: int, signals: bytes, before: None) -> int:
        return 0


class TestIdentity:
    """A child that has not become what it should be runs nothing."""

    MESSAGE = b"\0".join(
        [b"path /bin/echo", b"args 1", b"echo", b"directory /", b"uid 7", b"gid 8", b"groups 9 8 9"]
    )

    @pytest.fixture(autouse=True)
    def _pretend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(forker, "LIBC", Libc())
        for name in ("setgroups", "setresgid", "setresuid"):
            monkeypatch.setattr(os, name, lambda *numbers: None, raising=False)
        monkeypatch.setattr(os, "getresuid", lambda: (7, 7, 7), raising=False)
        monkeypatch.setattr(os, "getresgid", lambda: (8, 8, 8), raising=False)
        monkeypatch.setattr(os, "getgroups", lambda: [8, 9])

    def told(self) -> tuple[str, int]:
        read_end, write_end = report()
        fork_here(self.MESSAGE, (write_end, 0, 2, 2))
        os.close(write_end)
        with read_end:
            pid = int(read_end.readline().removeprefix("pid "))
            told = read_end.read()
        return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_nor_if_it_could_become_root_again(self) -> None:
        assert self.told() == (f"error {errno.EINVAL} root\n", 126)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("getresuid", (7, 7, 0)),
            ("getresgid", (8, 0, 8)),
            ("getgroups", [0, 8, 9]),
            ("getgroups", [8]),
        ],
    )
    def test_nor_if_the_kernel_says_otherwise(
        self, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, name, lambda: value)
        assert self.told() == (f"error {errno.EPERM} identity\n", 127)

    def test_but_it_does_if_all_is_as_it_should_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Libc, "setuid", lambda self, uid: -1)
        assert self.told() == ("", 0)


class TestDeathSignal:
    """A child that is to end with the daemon runs nothing if the daemon has died already."""

    MESSAGE = b"\0".join(
        [b"path /bin/echo", b"args 1", b"echo", b"directory /", b"death-signal 10"]
    )

    def told(self) -> tuple[str, int]:
        read_end, write_end = report()
        fork_here(self.MESSAGE, (write_end, 0, 2, 2))
        os.close(write_end)
        with read_end:
            pid = int(read_end.readline().removeprefix("pid "))
            told = read_end.read()
        return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @pytest.mark.needs_linux
    def test_it_runs_while_the_daemon_lives(self) -> None:
        assert self.told() == ("", 0)

    def test_the_daemon_has_died_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class OrphanedThen(Libc):
            def prctl(self, *arguments: object) -> int:
                os.getppid = lambda: 1
                return 0

        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(forker, "LIBC", OrphanedThen())
        assert self.told() == (f"error {errno.ESRCH} death-signal\n", 127)

    def test_a_kernel_that_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Refusing(Libc):
            def prctl(self, *arguments: object) -> int:
                ctypes.set_errno(errno.EPERM)
                return -1

        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(forker, "LIBC", Refusing())
        assert self.told() == (f"error {errno.EPERM} death-signal\n", 127)

    def test_it_is_left_out_where_no_kernel_can(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setattr(forker, "LIBC", Libc())  # which has no prctl
        assert self.told() == ("", 0)


@pytest.mark.parametrize(
    "message", [b"", b"path /bin/true\0args 1\0x", b"args x", b"directory /\0uid x\0gid 1"]
)
def test_a_message_that_nobody_sends_is_an_error_and_no_more(message: bytes) -> None:
    read_end, write_end = report()
    fork_here(message, (write_end, 0, 2, 2))
    os.close(write_end)
    with read_end:
        pid = int(read_end.readline().removeprefix("pid "))
        assert read_end.read().startswith(f"error {errno.EINVAL} ")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
