"""Starting real processes from the daemon itself; no reactor, so the test collects them."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.watcher import FakeWatcher
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.core.environment import Login
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Limit
from supervisortw.daemon import filetable, posixspawn
from supervisortw.daemon.birth import Birth, StepFailed
from supervisortw.daemon.child import ChildTransport
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.spawn import PosixSpawner
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity, SpawnRequest

PATH = "/usr/local/bin:/usr/bin:/bin"
ALICE = Identity(
    uid=1234,
    gid=1235,
    groups=(1235, 99),
    login=Login(name="alice", home="/", shell="/bin/sh"),  # noqa: S604  # a record
)


class Recorded(ProcessProtocol):
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended: Any = None

    def connectionMade(self) -> None:
        self.told.append("made")

    def processExited(self, reason: Failure) -> None:
        self.told.append("exited")
        self.ended = reason.value

    def processEnded(self, reason: Failure) -> None:
        assert reason.value is self.ended
        self.told.append("ended")


class NoForks:
    """A forker that must not be needed, unless the test lets it keep what it is given."""

    def __init__(self) -> None:
        self.usable = True
        self.closed = False
        self.births: list[Birth] = []

    def take(self, birth: Birth) -> None:
        self.births.append(birth)

    def worked(self) -> None: ...

    def give_up(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.watcher = FakeWatcher()
        self.forks = NoForks()
        self.file_limit = FileLimit()
        self.spawner = PosixSpawner(self.clock, self.watcher, self.file_limit, self.forks)
        self.protocol = Recorded()
        self.output = os.open(directory / "output", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def turn(self) -> None:
        """Let a turn of the reactor pass, and no other."""
        for due in self.clock.getDelayedCalls():
            act, arguments = due.func, due.args
            due.cancel()
            act(*arguments)

    def ask(self, *command: str, **keys: Any) -> Any:
        """Ask for a process; return what comes of it at once, or None."""
        keys.setdefault("environment", {"PATH": PATH})
        keys.setdefault("directory", str(self.directory))
        keys.setdefault("stdout", self.output)
        keys.setdefault("stderr", self.output)
        results: list[Any] = []
        request = with_own_streams(SpawnRequest(command=command, **keys))
        self.spawner.spawn(self.protocol, request).addBoth(results.append)
        return results[0] if results else None

    def spawn(self, *command: str, **keys: Any) -> ChildTransport:
        transport = self.ask(*command, **keys)
        assert isinstance(transport, ChildTransport), transport
        return transport

    def reap(self, transport: ChildTransport) -> None:
        """Wait for a child's end, and let the watcher see it."""
        assert transport.pid is not None
        self.watcher.wait(transport.pid)

    def run(self, script: str, **keys: Any) -> str:
        """Let a shell run a script to its end; return what it wrote."""
        self.reap(self.spawn("/bin/sh", "-c", script, **keys))
        return (self.directory / "output").read_text()

    def refusal(self, *command: str, **keys: Any) -> SpawnError:
        failure = self.ask(*command, **keys)
        assert isinstance(failure, Failure)
        assert isinstance(failure.value, SpawnError)
        assert self.watcher.looks == {}
        assert self.protocol.told == []
        return failure.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for birth in bench.forks.births:
        birth.born.cancel()
    bench.spawner.close()
    os.close(bench.output)
    assert bench.watcher.looks == {}, "a child that nobody collected"


def file(bench: Bench, name: str, text: str, mode: int = 0o755) -> str:
    path = bench.directory / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


class TestEnds:
    def test_by_itself(self, bench: Bench) -> None:
        transport = bench.spawn("true")
        assert bench.protocol.told == ["made"]
        bench.reap(transport)
        assert bench.protocol.told == ["made", "exited", "ended"]
        assert type(bench.protocol.ended) is ProcessDone
        assert transport.pid is None

    def test_with_a_code(self, bench: Bench) -> None:
        bench.run("exit 77")
        assert type(bench.protocol.ended) is ProcessTerminated
        assert (bench.protocol.ended.exitCode, bench.protocol.ended.signal) == (77, None)

    def test_by_a_signal(self, bench: Bench) -> None:
        bench.run("kill -KILL $$")
        assert bench.protocol.ended.signal == signal.SIGKILL

    def test_looking_too_early_does_nothing(self, bench: Bench) -> None:
        transport = bench.spawn("sleep", "60")
        transport.reap()
        assert bench.protocol.told == ["made"]
        transport.signalProcess("KILL")
        bench.reap(transport)
        assert bench.protocol.ended.signal == signal.SIGKILL

    def test_who_is_told_sees_no_pid_any_more(self, bench: Bench) -> None:
        seen: list[int | None] = []
        bench.protocol.processExited = lambda reason: seen.append(  # type: ignore[method-assign]
            bench.protocol.transport.pid
        )
        bench.protocol.processEnded = lambda reason: None  # type: ignore[method-assign]
        bench.run("exit 0")
        assert seen == [None]


class TestWhatItIsGiven:
    def test_both_streams_go_to_the_output(self, bench: Bench) -> None:
        assert bench.run("echo out; echo err >&2") == "out\nerr\n"

    def test_nothing_comes_in(self, bench: Bench) -> None:
        assert bench.run("read line || echo end of file") == "end of file\n"

    def test_umask_and_directory(self, bench: Bench) -> None:
        assert bench.run("umask; pwd", umask=0o27, directory="/") == "0027\n/\n"

    def test_its_environment_and_nothing_else(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OF_THE_DAEMON", "secret")
        told = bench.run("env", environment={"PATH": PATH, "COLOUR": "grün"})
        assert "COLOUR=grün\n" in told
        assert "OF_THE_DAEMON" not in told

    def test_a_session_of_its_own(self, bench: Bench) -> None:
        transport = bench.spawn("sleep", "60")
        pid = transport.pid
        assert os.getsid(pid) == os.getpgid(pid) == pid
        transport.signalProcess(signal.SIGKILL)
        bench.reap(transport)

    def test_a_path_in_place_of_a_name_keeps_its_arguments(self, bench: Bench) -> None:
        script = file(bench, "script", '#!/bin/sh\necho "$0|$1|$2"\n')
        bench.reap(bench.spawn(script, "a b", "$HOME"))
        assert (bench.directory / "output").read_text() == f"{script}|a b|$HOME\n"

    def test_streams_in_the_place_of_each_other(self, bench: Bench) -> None:
        errors = os.open(bench.directory / "errors", os.O_WRONLY | os.O_CREAT)
        saved = [os.dup(1), os.dup(2)]
        try:
            os.dup2(errors, 1, inheritable=False)
            os.dup2(bench.output, 2, inheritable=False)
            transport = bench.spawn("sh", "-c", "echo out; echo err >&2", stdout=2, stderr=1)
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for descriptor in (errors, *saved):
                os.close(descriptor)
        bench.reap(transport)
        assert (bench.directory / "output").read_text() == "out\n"
        assert (bench.directory / "errors").read_text() == "err\n"

    def test_streams_in_their_own_place(self, bench: Bench) -> None:
        saved = os.dup(1)
        try:
            os.dup2(bench.output, 1, inheritable=False)
            transport = bench.spawn("echo", "out", stdout=1, stderr=1)
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        bench.reap(transport)
        assert (bench.directory / "output").read_text() == "out\n"

    def test_an_input(self, bench: Bench) -> None:
        read_end, write_end = os.pipe()
        os.write(write_end, b"a line\n")
        os.close(write_end)
        try:
            assert bench.run("cat", stdin=read_end) == "a line\n"
        finally:
            os.close(read_end)

    @pytest.mark.needs_linux
    def test_no_descriptor_of_ours_even_if_we_have_inherited_it(self, bench: Bench) -> None:
        ours = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
        inherited = os.dup(ours[0])
        os.set_inheritable(inherited, True)
        spawner = PosixSpawner(None, bench.watcher, bench.file_limit, bench.forks)
        bench.spawner.close()
        bench.spawner = spawner
        told = bench.run("ls /proc/$$/fd")
        for descriptor in (*ours, inherited):
            os.close(descriptor)
        assert told.split() == ["0", "1", "2"]

    def test_no_signal_that_we_ignore_or_block(self, bench: Bench) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            transport = bench.spawn("sleep", "60")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGHUP, before)
        pid = transport.pid
        fields = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        transport.signalProcess("HUP")
        bench.reap(transport)
        assert bench.protocol.ended.signal == signal.SIGHUP
        assert int(fields["SigBlk"], 16) == 0
        assert int(fields["SigIgn"], 16) & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own

    def test_we_stay_where_and_as_we_are(self, bench: Bench) -> None:
        here, mask = os.getcwd(), os.umask(0o022)
        try:
            bench.run("true", directory="/", umask=0o77)
            assert os.getcwd() == here
            assert os.umask(0o022) == 0o022
            os.remove(bench.directory / "output")
            assert str(bench.ask("/no/such", umask=0o77).value) == "command not found: /no/such"
            assert os.getcwd() == here
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(mask)

    def test_our_directory_may_have_been_removed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        removed = bench.directory / "removed"
        removed.mkdir()
        monkeypatch.chdir(removed)
        removed.rmdir()
        assert bench.run("pwd", directory="/") == "/\n"
        assert os.stat(".").st_nlink == 0


class TestWhoForks:
    """What needs more than posix_spawn gives is left to the forker."""

    @pytest.mark.parametrize(
        "keys",
        [
            {"identity": ALICE},
            {"limits": (Limit(name="core", soft=0, hard=0),)},
            {"nice": 0},
            {"no_new_privileges": True},
            {"cgroup": "/sys/fs/cgroup/x"},
            {"death_signal": 15},
            {"listening": (("web", 0),)},
        ],
        ids=lambda keys: next(iter(keys)),
    )
    def test_each_of_these(self, bench: Bench, keys: dict[str, Any]) -> None:
        assert bench.ask("true", **keys) is None
        assert len(bench.forks.births) == 1

    def test_and_everything_where_no_session_can_be_made(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []

        def refuse(*args: Any, **keys: Any) -> int:
            calls.append(args)
            raise NotImplementedError

        monkeypatch.setattr(os, "posix_spawn", refuse)
        assert bench.ask("true") is None
        assert bench.ask("true") is None
        assert len(bench.forks.births) == 2
        assert len(calls) == 1

    def test_and_everything_while_our_own_files_leave_no_room(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bench.file_limit, "can_be_lowered", lambda: False)
        assert bench.ask("true") is None
        assert len(bench.forks.births) == 1

    def test_more_sockets_than_can_be_passed(self, bench: Bench) -> None:
        listening = tuple((f"s{n}", 0) for n in range(LIMITS.spawn_sockets + 1))
        error = bench.refusal("web", listening=listening)
        assert str(error) == "cannot start web: it has 241 sockets, and 240 are allowed"
        assert error.permanent
        assert bench.ask("web", listening=listening[1:]) is None

    def test_more_words_than_can_be_passed(self, bench: Bench) -> None:
        error = bench.refusal("web", "x" * LIMITS.spawn_request_bytes, nice=1)
        assert "command and environment are too large (131" in str(error)
        assert error.permanent

    def test_no_descriptors_left_to_keep(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr("fcntl.fcntl", refuse)
        error = bench.refusal("/bin/true", nice=1)
        assert str(error) == "cannot start /bin/true: Too many open files"
        assert not error.permanent

    def test_too_many_that_wait(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(birth: Birth) -> None:
            raise StepFailed(errno.EAGAIN, "queue")

        monkeypatch.setattr(bench.forks, "take", refuse)
        error = bench.refusal("/bin/true", nice=1)
        assert "too many programs wait to be started (at most 4096)" in str(error)
        assert not error.permanent

    def test_it_is_closed_with_the_spawner(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path)
        bench.spawner.close()
        assert bench.forks.closed
        os.close(bench.output)


@pytest.fixture
def _low_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_low_limit")
def test_its_limit_of_open_files_is_that_which_we_were_started_with(bench: Bench) -> None:
    original = bench.file_limit.original[0]
    assert bench.file_limit.raise_to(original + 500) is None
    assert bench.run("ulimit -S -n") == f"{original}\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == original + 500


class TestTogether:
    """Several are made one after the other, and then it is told what came of each."""

    @staticmethod
    def ask(bench: Bench, results: list[Any], *command: str, output: int) -> None:
        request = SpawnRequest(
            command=command,
            environment={"PATH": PATH},
            directory=str(bench.directory),
            stdout=output,
            stderr=output,
        )
        bench.spawner.spawn(Recorded(), with_own_streams(request)).addBoth(results.append)

    def test_each_at_the_end_of_the_context(self, bench: Bench) -> None:
        results: list[Any] = []
        with bench.spawner.together():
            self.ask(bench, results, "true", output=bench.output)
        bench.reap(results.pop())
        before = descriptors()
        with bench.spawner.together():
            for word in ("one", "two"):
                self.ask(bench, results, "echo", word, output=bench.output)
            assert results == []
            assert bench.watcher.looks == {}
        for transport in results:
            bench.reap(transport)
        assert sorted((bench.directory / "output").read_text().split()) == ["one", "two"]
        assert descriptors() == before
        bench.reap(bench.spawn("true"))  # now nothing waits any more

    def test_one_that_cannot_be_made_keeps_nobody_else_down(self, bench: Bench) -> None:
        results: list[Any] = []
        with bench.spawner.together():
            for command in (("/no/such",), ("true",), ("a\0b",), ("true",)):
                self.ask(bench, results, *command, output=bench.output)
        missing, first, senseless, second = results
        assert str(missing.value) == "command not found: /no/such"
        assert isinstance(senseless.value, SpawnError)
        bench.reap(first)
        bench.reap(second)

    def test_one_that_cannot_be_watched_does_not_live(self, bench: Bench) -> None:
        results: list[Any] = []
        with bench.spawner.together():
            self.ask(bench, results, "sleep", "60", output=bench.output)
            bench.watcher.refuses = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        [failure] = results
        assert "Too many open files" in str(failure.value)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    @pytest.mark.needs_linux
    def test_without_descriptors_for_copies_of_its_streams(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results: list[Any] = []
        with bench.spawner.together():
            self.ask(bench, results, "/bin/true", output=bench.output)
            monkeypatch.setattr(filetable.FileTable, "copy", no_descriptors)
            before = descriptors()
        [failure] = results
        assert str(failure.value) == "cannot start /bin/true: Too many open files"
        assert not failure.value.permanent
        assert descriptors() == before - 1, "its stream was closed"

    @pytest.mark.needs_linux
    def test_a_limit_that_cannot_be_lowered_is_told_to_each(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse() -> Any:
            raise ValueError("current limit exceeds maximum limit")

        results: list[Any] = []
        monkeypatch.setattr(bench.file_limit, "for_children", refuse)
        with bench.spawner.together():
            for _ in range(3):
                self.ask(bench, results, "/bin/true", output=bench.output)
        texts = [str(failure.value) for failure in results]
        assert texts == ["cannot start /bin/true: current limit exceeds maximum limit"] * 3

    def test_streams_that_are_not_open_any_more_keep_nobody_else_down(self, bench: Bench) -> None:
        results: list[Any] = []
        wrong = os.dup(bench.output)
        request = SpawnRequest(
            command=("true",), environment={"PATH": PATH}, stdout=wrong, stderr=wrong
        )
        with bench.spawner.together():
            bench.spawner.spawn(Recorded(), request).addBoth(results.append)
            self.ask(bench, results, "true", output=bench.output)
            os.close(wrong)
        assert isinstance(results[0].value, SpawnError)
        bench.reap(results[1])

    def test_without_descriptors_for_another_table(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results: list[Any] = []
        monkeypatch.setattr(filetable.FileTable, "__init__", no_descriptors)
        before = descriptors()
        with bench.spawner.together():
            self.ask(bench, results, "/bin/true", output=bench.output)
            [failure] = results
        assert str(failure.value) == "cannot start /bin/true: Too many open files"
        assert descriptors() == before

    def test_all_by_the_forker_where_no_session_can_be_made(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **keys: Any) -> int:
            raise NotImplementedError

        results: list[Any] = []
        monkeypatch.setattr(os, "posix_spawn", refuse)
        with bench.spawner.together():
            for _ in range(2):
                self.ask(bench, results, "true", output=bench.output)
        assert results == []
        assert len(bench.forks.births) == 2

    def test_as_many_in_a_turn_as_there_is_time_for(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = posixspawn.spawn

        def take_half_a_turn(*arguments: Any) -> int:
            bench.clock.rightNow += LIMITS.turn_seconds / 2
            return run(*arguments)

        monkeypatch.setattr(posixspawn, "spawn", take_half_a_turn)
        results: list[Any] = []
        made = []
        with bench.spawner.together():
            for _ in range(5):
                self.ask(bench, results, "true", output=bench.output)
        for _ in range(3):
            made.append(len(results))
            bench.turn()
        assert made == [2, 4, 5]
        assert not bench.clock.getDelayedCalls()
        for transport in results:
            bench.reap(transport)

    def test_who_comes_meanwhile_comes_behind(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisortw.daemon.spawn.LIMITS", replace(LIMITS, turn_seconds=0))
        results: list[Any] = []
        for words in (("one", "two"), ("three",)):
            with bench.spawner.together():
                for word in words:
                    self.ask(bench, results, "echo", word, output=bench.output)
        bench.reap(results[0])
        for number in (2, 3):
            bench.turn()
            assert len(results) == number
            bench.reap(results[-1])
        assert (bench.directory / "output").read_text().split() == ["one", "two", "three"]

    def test_who_is_told_may_ask_for_more(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisortw.daemon.spawn.LIMITS", replace(LIMITS, turn_seconds=0))
        results: list[Any] = []

        def ask_for_more(transport: Any) -> None:
            results.append(transport)
            if len(results) <= 2:
                with bench.spawner.together():
                    self.ask(bench, results, "true", output=bench.output)

        request = SpawnRequest(
            command=("true",),
            environment={"PATH": PATH},
            directory=str(bench.directory),
            stdout=bench.output,
            stderr=bench.output,
        )
        with bench.spawner.together():
            for _ in range(2):
                asked = bench.spawner.spawn(Recorded(), with_own_streams(request))
                asked.addCallback(ask_for_more)
        made = [len(results)]
        while bench.clock.getDelayedCalls():
            assert len(bench.clock.getDelayedCalls()) == 1
            bench.turn()
            made.append(len(results))
        assert made == [1, 2, 3, 4]
        for transport in results:
            bench.reap(transport)

    def test_one_whose_directory_is_missing_keeps_nobody_else_down(self, bench: Bench) -> None:
        results: list[Any] = []
        (bench.directory / "there").mkdir()
        with bench.spawner.together():
            for name in ("missing", "there", "missing", "there"):
                output = os.open(bench.directory / f"{len(results)}", os.O_RDWR | os.O_CREAT)
                request = SpawnRequest(
                    command=("pwd",),
                    environment={"PATH": PATH},
                    directory=str(bench.directory / name),
                    stdout=os.dup(bench.output),
                    stderr=output,
                )
                bench.spawner.spawn(Recorded(), request).addBoth(results.append)
        assert [isinstance(each, Failure) for each in results] == [True, False, True, False]
        for transport in results[1::2]:
            bench.reap(transport)
        assert (bench.directory / "output").read_text() == f"{bench.directory}/there\n" * 2

    def test_one_whose_turn_comes_to_nothing_keeps_nobody_else_down(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trouble = [OSError(errno.ENFILE, os.strerror(errno.ENFILE))]
        umask = os.umask

        def refuse_once(mask: int) -> int:
            if trouble:
                raise trouble.pop()
            return umask(mask)

        monkeypatch.setattr(os, "umask", refuse_once)
        results: list[Any] = []
        outputs = [os.open(bench.directory / name, os.O_RDWR | os.O_CREAT) for name in "abc"]
        before = descriptors()
        with bench.spawner.together():
            for output in outputs:
                request = SpawnRequest(
                    command=("echo", "word"),
                    environment={"PATH": PATH},
                    directory=str(bench.directory),
                    umask=0o22,
                    stdout=output,
                    stderr=output,
                )
                request = with_own_streams(request)
                bench.spawner.spawn(Recorded(), request).addBoth(results.append)
        assert isinstance(results[0].value, SpawnError)
        for transport in results[1:]:
            bench.reap(transport)
        assert descriptors() <= before + 2, "those of the table"
        for output in outputs:
            os.close(output)
        texts = [(bench.directory / name).read_text() for name in "abc"]
        assert texts == ["", "word\n", "word\n"], "each has its own streams"

    def test_no_descriptor_but_their_streams(self, bench: Bench) -> None:
        results: list[Any] = []
        with bench.spawner.together():
            self.ask(bench, results, "sh", "-c", "echo /dev/fd/*", output=bench.output)
        bench.reap(results[0])
        listed = (bench.directory / "output").read_text().split()
        assert {"/dev/fd/0", "/dev/fd/1", "/dev/fd/2"} <= set(listed)
        assert len(listed) <= 4, "one is that of the listing itself"

    def test_by_the_forker_where_a_thread_has_come_to_work_meanwhile(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        results: list[Any] = []
        before = descriptors()
        with bench.spawner.together():
            self.ask(bench, results, "true", output=bench.output)
            monkeypatch.setattr(bench.file_limit, "can_be_lowered", lambda: False)
        assert results == []
        assert len(bench.forks.births) == 1
        monkeypatch.undo()
        with bench.spawner.together():
            self.ask(bench, results, "true", output=bench.output)
        bench.reap(results[0])
        assert before < descriptors() <= before + 8, "of the table, and of the birth"

    def test_those_that_are_forked_begin_at_its_end_as_well(self, bench: Bench) -> None:
        with bench.spawner.together():
            assert bench.ask("true", nice=1) is None
            assert bench.forks.births == []
        assert len(bench.forks.births) == 1
        assert bench.ask("true", nice=1) is None
        assert len(bench.forks.births) == 2


def with_own_streams(request: SpawnRequest) -> SpawnRequest:
    """Return the same request with copies of its streams, which are the spawner's then."""
    copies = {each: os.dup(each) for each in request.streams()}
    stdin = None if request.stdin is None else copies[request.stdin]
    return request._replace(
        stdin=stdin, stdout=copies[request.stdout], stderr=copies[request.stderr]
    )


def no_descriptors(*args: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class TestSignals:
    def test_by_name_or_number(self, bench: Bench) -> None:
        transport = bench.spawn("sleep", "60")
        transport.signalProcess("TERM")
        bench.reap(transport)
        assert bench.protocol.ended.signal == signal.SIGTERM

    def test_after_the_end_no_number_is_signalled(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transport = bench.spawn("true")
        bench.reap(transport)
        monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail("sent"))
        with pytest.raises(ProcessExitedAlready):
            transport.signalProcess(signal.SIGTERM)


class TestReasons:
    """Why a program was not started, in words, and whether trying again may help."""

    def test_no_such_path(self, bench: Bench) -> None:
        error = bench.refusal("/no/such/command")
        assert (str(error), error.permanent) == ("command not found: /no/such/command", True)

    def test_no_such_name(self, bench: Bench) -> None:
        error = bench.refusal("no-such-command", environment={"PATH": "/a:/b"})
        assert str(error) == "command not found: no-such-command (looked in /a:/b)"
        assert error.permanent

    def test_not_executable(self, bench: Bench) -> None:
        path = file(bench, "script", "#!/bin/sh\n", 0o644)
        error = bench.refusal(path)
        assert (str(error), error.permanent) == (f"cannot start {path}: not executable", True)

    def test_a_directory(self, bench: Bench) -> None:
        error = bench.refusal(str(bench.directory))
        assert str(error) == f"cannot start {bench.directory}: a directory"

    def test_no_interpreter(self, bench: Bench) -> None:
        path = file(bench, "script", "#!/no/such/interpreter\n")
        expected = f"cannot start {path}: the interpreter in its first line is missing"
        assert str(bench.refusal(path)) == expected

    def test_no_program(self, bench: Bench) -> None:
        path = file(bench, "script", "echo hello\n")
        error = bench.refusal(path)
        assert str(error).startswith(f"cannot start {path}: not a program (a script needs")
        assert error.permanent

    def test_no_such_directory(self, bench: Bench) -> None:
        error = bench.refusal("/bin/sh", directory="/no/such/directory")
        assert str(error) == (
            "cannot start /bin/sh: its directory /no/such/directory: No such file or directory"
        )

    def test_a_name_that_is_there_and_not_executable(self, bench: Bench) -> None:
        path = file(bench, "script", "#!/bin/sh\n", 0o644)
        error = bench.refusal("script", environment={"PATH": f"/no/such:{bench.directory}"})
        assert str(error) == f"cannot start {path}: not executable"

    def test_an_argument_that_no_command_can_have(self, bench: Bench) -> None:
        error = bench.refusal("/bin/echo", "a\0b")
        assert str(error) == "cannot start /bin/echo: embedded null byte"
        assert error.permanent

    @pytest.mark.parametrize(
        "code", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY]
    )
    def test_shortages_pass(self, bench: Bench, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail_with(monkeypatch, code)
        error = bench.refusal("/bin/sh")
        assert (str(error), error.permanent) == (
            f"cannot start /bin/sh: {os.strerror(code)}",
            False,
        )

    def test_a_child_that_cannot_be_watched_does_not_live(self, bench: Bench) -> None:
        bench.watcher.refuses = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        error = bench.refusal("sleep", "60")
        assert "Too many open files" in str(error)
        assert not error.permanent
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    @staticmethod
    def fail_with(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        def refuse(*args: object, **keys: Any) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "posix_spawn", refuse)


class TestNames:
    def test_a_name_is_looked_up_where_the_program_would(self, bench: Bench) -> None:
        first, second = bench.directory / "a", bench.directory / "b"
        for directory in (first, second):
            directory.mkdir()
            (directory / "tool").write_text(f"#!/bin/sh\necho {directory.name}\n")
        (second / "tool").chmod(0o755)  # and the first is not executable
        bench.reap(bench.spawn("tool", environment={"PATH": f"relative::{first}:{second}"}))
        assert (bench.directory / "output").read_text() == "b\n"

    def test_without_a_path_the_usual_places(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/no/such")  # the daemon's own does not matter
        bench.reap(bench.spawn("sh", "-c", "exit 0", environment={}))

    def test_a_relative_path_is_one_from_its_own_directory(self, bench: Bench) -> None:
        file(bench, "here", "#!/bin/sh\necho here\n")
        bench.reap(bench.spawn("./here"))
        assert (bench.directory / "output").read_text() == "here\n"


class TestTransport:
    def test_it_is_a_process_transport_without_pipes(self, bench: Bench) -> None:
        transport = bench.spawn("true")
        assert verifyObject(IProcessTransport, transport)
        for nothing in (
            transport.closeStdin,
            transport.closeStdout,
            transport.closeStderr,
            transport.loseConnection,
        ):
            nothing()
        transport.closeChildFD(1)
        with pytest.raises(KeyError):
            transport.write(b"x")
        with pytest.raises(KeyError):
            transport.writeSequence([b"x"])
        with pytest.raises(KeyError):
            transport.writeToChild(0, b"x")
        assert transport.getPeer() is transport.getHost() is transport
        bench.reap(transport)

    def test_somebody_else_may_have_collected_the_child(self, bench: Bench) -> None:
        transport = bench.spawn("true")
        pid = transport.pid
        assert pid is not None
        os.waitpid(pid, 0)
        transport.reap()
        assert bench.protocol.told == ["made", "exited", "ended"]
        assert isinstance(bench.protocol.ended, ChildProcessError)
