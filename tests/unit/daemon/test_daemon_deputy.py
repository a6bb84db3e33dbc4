"""A deputy can do no more than its user, and its user can do nothing with it but end it."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from fakes.stranger import STRANGER, as_stranger, public_directory

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import deputy

PTRACE_ATTACH = 16
LIBC_OWN = 0b11 << 31  # signals 32 and 33, which glibc lets nobody else use
WHO = (STRANGER, STRANGER, (STRANGER, 4321))

pytestmark = pytest.mark.needs_root


class Started:
    """A deputy, with what the daemon has of it."""

    def __init__(self) -> None:
        self.pid, self.channel = deputy.start(WHO)
        self.channel.settimeout(20)
        self.ask(b"stat", b"")  # it has become what it is now

    def ask(self, *request: bytes, directory: int = -1) -> list[bytes]:
        deputy.send(self.channel, request, directory)
        answer, descriptor = deputy.receive(self.channel)
        if descriptor >= 0:
            os.close(descriptor)
        return answer

    def status(self, key: str) -> list[str]:
        """Return what the kernel tells of it."""
        with open(f"/proc/{self.pid}/status") as file:
            [line] = [line for line in file if line.startswith(f"{key}:")]
        return line.split()[1:]


@pytest.fixture
def started() -> Iterator[Started]:
    with opened() as made:
        yield made


@contextmanager
def opened() -> Iterator[Started]:
    made = Started()
    try:
        yield made
    finally:
        made.channel.close()
        os.kill(made.pid, signal.SIGKILL)
        os.waitpid(made.pid, 0)


@pytest.mark.needs_linux
class TestWhatItIs:
    def test_it_has_the_identity_of_the_user_for_good(self, started: Started) -> None:
        assert started.status("Uid") == [str(STRANGER)] * 4
        assert started.status("Gid") == [str(STRANGER)] * 4
        assert started.status("Groups") == ["4321", str(STRANGER)]
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(started.status(capabilities)[0], 16) == 0
        assert started.status("NoNewPrivs") == ["1"]

    def test_it_holds_nothing_but_its_channel(self) -> None:
        kept = os.open("/", os.O_RDONLY)
        os.set_inheritable(kept, True)
        high = os.dup2(kept, 200)
        try:
            with opened() as first, opened() as second:
                for started in (first, second):
                    where = f"/proc/{started.pid}/fd"
                    found = {int(fd): os.readlink(f"{where}/{fd}") for fd in os.listdir(where)}
                    assert found.pop(0).startswith("socket:")
                    assert found == {1: "/dev/null", 2: "/dev/null"}
        finally:
            os.close(kept)
            os.close(high)

    def test_it_holds_no_more_after_its_work(self, started: Started) -> None:
        before = os.listdir(f"/proc/{started.pid}/fd")
        directory = os.open("/", os.O_RDONLY)
        for request in ((b"open", b"etc", b"0", b"0"), (b"stat", b"etc"), (b"stat", b"no such")):
            started.ask(*request, directory=directory)
        os.close(directory)
        started.ask(b"stat", b"etc")  # by now it is done with those before
        assert os.listdir(f"/proc/{started.pid}/fd") == before

    def test_no_signal_is_blocked_ignored_or_caught(self, started: Started) -> None:
        for which in ("SigBlk", "SigIgn", "SigCgt"):
            found = int(started.status(which)[0], 16)
            assert found & ~LIBC_OWN == 0

    def test_it_is_bounded(self, started: Started) -> None:
        with open(f"/proc/{started.pid}/limits") as file:
            limits = {line[:25].strip(): line[25:].split()[:2] for line in file}
        for name, most in (
            ("Max core file size", 0),
            ("Max file size", 0),
            ("Max processes", 0),
            ("Max open files", LIMITS.deputy_files),
            ("Max cpu time", LIMITS.deputy_cpu_seconds),
        ):
            assert limits[name] == [str(most)] * 2

    def test_it_is_in_nobodys_way(self, started: Started) -> None:
        assert os.readlink(f"/proc/{started.pid}/cwd") == "/"
        with open(f"/proc/{started.pid}/comm") as file:
            assert file.read() == "supervisor-file\n"


@pytest.mark.needs_linux
class TestWhatItsUserCannotDo:
    """It holds a copy of the daemon's memory."""

    def test_it_does_not_look_like_a_process_of_theirs(self, started: Started) -> None:
        assert os.stat(f"/proc/{started.pid}/mem").st_uid == 0

    @pytest.mark.parametrize("what", ["mem", "environ", "maps", "auxv", "fd", "cwd", "exe"])
    def test_they_cannot_look_into_it(self, started: Started, what: str) -> None:
        def look() -> None:
            path = f"/proc/{started.pid}/{what}"
            try:
                if what == "fd":
                    os.listdir(path)
                elif what in {"cwd", "exe"}:
                    os.readlink(path)
                else:
                    os.open(path, os.O_RDONLY)
            except PermissionError:
                os._exit(42)

        assert os.waitstatus_to_exitcode(os.waitpid(as_stranger(look), 0)[1]) == 42

    def test_they_cannot_trace_it(self, started: Started) -> None:
        libc = ctypes.CDLL(None, use_errno=True)

        def trace() -> None:
            if libc.ptrace(PTRACE_ATTACH, started.pid, None, None) == -1:
                os._exit(ctypes.get_errno())

        assert os.waitstatus_to_exitcode(os.waitpid(as_stranger(trace), 0)[1]) == errno.EPERM

    def test_they_can_look_into_what_is_theirs(self) -> None:
        """Or else the tests before this one would show nothing."""
        ready, told = os.pipe()

        def run() -> None:
            os.dup2(told, 1)
            os.execv("/bin/sh", ["sh", "-c", "echo; exec sleep 60"])

        theirs = as_stranger(run)
        os.close(told)
        try:
            assert os.read(ready, 1)
            pid = as_stranger(lambda: os.close(os.open(f"/proc/{theirs}/environ", os.O_RDONLY)))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        finally:
            os.close(ready)
            os.kill(theirs, signal.SIGKILL)
            os.waitpid(theirs, 0)


class TestItsEnd:
    def test_it_ends_with_its_channel(self) -> None:
        started = Started()
        started.channel.close()
        assert os.waitpid(started.pid, 0)[1] == 0

    def test_signals_end_it(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            started = Started()
            os.kill(started.pid, number)
            assert os.WTERMSIG(os.waitpid(started.pid, 0)[1]) == number
            started.channel.close()

    @pytest.mark.needs_linux
    def test_it_ends_with_the_daemon_even_if_the_channel_does_not(self) -> None:
        here, there = socket.socketpair()
        daemon = os.fork()
        if daemon == 0:
            try:
                started = Started()
                text = str(started.pid).encode()
                socket.send_fds(there, [text], [started.channel.fileno()])
                signal.pause()
            finally:
                os._exit(1)
        text, [channel], _, _ = socket.recv_fds(here, 32, 1)
        watched = os.pidfd_open(int(text))
        try:
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(daemon, 0)
            assert select.select([watched], [], [], 20)[0]
        finally:
            for each in (channel, watched):
                os.close(each)
            here.close()
            there.close()

    def test_one_whose_daemon_has_died_before_does_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        pid, channel = deputy.start(WHO)
        with channel:
            channel.settimeout(20)
            answer, _ = deputy.receive(channel)
            assert answer == [b"error", b"%d" % errno.ESRCH, b"identity"]
            assert deputy.receive(channel) == ([], -1)
        os.waitpid(pid, 0)


class TestRequests:
    @pytest.mark.parametrize("name", [b"", b".", b"..", b"../x", b"/etc/passwd", b"a/b"])
    @pytest.mark.parametrize(
        "request_of",
        [
            lambda name: (b"open", name, b"0", b"0"),
            lambda name: (b"remove", name),
            lambda name: (b"stat", name),
            lambda name: (b"rename", name, b"other"),
            lambda name: (b"rename", b"none", name),
            lambda name: (b"rename-all", b"none", b"other", name, b"other"),
        ],
        ids=["open", "remove", "stat", "rename from", "rename to", "rename all"],
    )
    def test_a_path_is_no_name(self, started: Started, request_of: object, name: bytes) -> None:
        with public_directory() as place:
            os.chown(place, STRANGER, STRANGER)
            directory = os.open(place, os.O_RDONLY)
            try:
                answer = started.ask(*request_of(name), directory=directory)  # type: ignore[operator]
            finally:
                os.close(directory)
        assert answer[:2] == [b"error", b"%d" % errno.EINVAL]

    def test_without_a_directory_nothing_is_done(self, started: Started) -> None:
        answer = started.ask(b"stat", b"etc")
        assert answer == [b"error", b"%d" % errno.EBADF, b"etc"]

    def test_what_it_does_not_know_is_an_error(self, started: Started) -> None:
        assert started.ask(b"run", b"x") == [b"error", b"%d" % errno.ENOSYS, b"x"]

    def test_a_long_request_is_taken_whole(self, started: Started) -> None:
        with public_directory() as place:
            os.chown(place, STRANGER, STRANGER)
            (place / "x").touch()
            names = [b"%0200d" % number for number in range(3000)]
            pairs = [each for pair in pairwise(names) for each in pair]
            directory = os.open(place, os.O_RDONLY)
            try:
                answer = started.ask(b"rename-all", b"x", names[0], *pairs, directory=directory)
            finally:
                os.close(directory)
            assert answer == [b"done"]
            assert os.listdir(place) == [names[-1].decode()]
