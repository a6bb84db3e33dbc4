"""Starting real processes, and learning how they ended; no reactor, so the test collects them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.readers import FakeReaders
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from supervisortw.core.environment import Login
from supervisortw.daemon import spawn
from supervisortw.daemon.spawn import (
    ChildTransport,
    PidfdWatcher,
    PosixSpawner,
    SigchldWatcher,
    exit_watcher,
    find_command,
)
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Cancel, Identity, SpawnRequest

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


class Watcher:
    """Knows which children are watched; the test looks after them."""

    def __init__(self) -> None:
        self.looks: dict[int, Callable[[], None]] = {}
        self.refuses: OSError | None = None

    def watch(self, pid: int, look: Callable[[], None]) -> Cancel:
        if self.refuses is not None:
            raise self.refuses
        self.looks[pid] = look
        return lambda: self.forget(pid)

    def forget(self, pid: int) -> None:
        del self.looks[pid]


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.watcher = Watcher()
        self.spawner = PosixSpawner(self.watcher)
        self.protocol = Recorded()
        self.output = os.open(directory / "output", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def spawn(self, *command: str, **keys: Any) -> ChildTransport:
        keys.setdefault("environment", {"PATH": PATH})
        keys.setdefault("directory", str(self.directory))
        request = SpawnRequest(command=command, output=self.output, **keys)
        return self.spawner.spawn(self.protocol, request)

    def reap(self, transport: ChildTransport) -> None:
        """Wait for a child's end, and let the watcher see it."""
        pid = transport.pid
        assert pid is not None
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.watcher.looks[pid]()

    def run(self, script: str, **keys: Any) -> str:
        """Let a shell run a script to its end; return what it wrote."""
        self.reap(self.spawn("/bin/sh", "-c", script, **keys))
        return (self.directory / "output").read_text()

    def refusal(self, *command: str, **keys: Any) -> SpawnError:
        with pytest.raises(SpawnError) as caught:
            self.spawn(*command, **keys)
        assert self.watcher.looks == {}
        assert self.protocol.told == []
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
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

    def test_another_user(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: dict[str, Any] = {}

        def popen(command: object, **keys: Any) -> None:
            asked.update(keys)
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(subprocess, "Popen", popen)
        bench.refusal("true", identity=ALICE)
        assert (asked["user"], asked["group"]) == (1234, 1235)
        assert asked["extra_groups"] == (1235, 99)
        asked.clear()
        bench.refusal("true")
        assert not {"user", "group", "extra_groups"} & set(asked)


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

    def test_not_executable_by_somebody(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fail_with(monkeypatch, errno.EACCES)
        path = file(bench, "script", "#!/bin/sh\n")
        error = bench.refusal(path, identity=ALICE)
        assert str(error) == f"cannot start {path}: not executable by alice"

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
        assert str(error) == "cannot start /bin/sh: No such file or directory"

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
        def popen(command: object, **keys: Any) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(subprocess, "Popen", popen)


class TestFindCommand:
    def find(self, command: str, **environment: str) -> str:
        request = SpawnRequest(command=(command,), environment=environment, output=1)
        return find_command(request)

    def test_a_path_is_a_path(self) -> None:
        assert self.find("/no/such") == "/no/such"
        assert self.find("./here") == "./here"

    def test_a_name_is_looked_up_where_the_program_would(self, tmp_path: Path) -> None:
        first, second = tmp_path / "a", tmp_path / "b"
        for directory in (first, second):
            directory.mkdir()
        (second / "tool").write_text("")
        (second / "tool").chmod(0o755)
        assert self.find("tool", PATH=f"{first}:{second}") == str(second / "tool")
        (first / "tool").write_text("")  # not executable
        assert self.find("tool", PATH=f"{first}:{second}") == str(second / "tool")

    def test_without_a_path_the_usual_places(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/no/such")  # the daemon's own does not matter
        assert self.find("sh").endswith("/sh")


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


@pytest.mark.needs_linux
class TestPidfdWatcher:
    def test_it_looks_once_when_the_process_has_ended(self) -> None:
        readers, looks = FakeReaders(), []
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        PidfdWatcher(readers).watch(child.pid, lambda: looks.append(1))
        assert readers.turn() == 0
        child.communicate()
        readers.read()
        assert looks == [1]
        assert readers.readers == []

    def test_it_can_be_told_to_stop_and_told_again(self) -> None:
        readers = FakeReaders()
        stop = PidfdWatcher(readers).watch(os.getpid(), lambda: None)
        [reader] = readers.readers
        number = reader.fileno()
        assert reader.logPrefix() == "pidfd"
        stop()
        stop()
        assert readers.readers == []
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    def test_a_lost_descriptor_is_let_go(self) -> None:
        readers = FakeReaders()
        PidfdWatcher(readers).watch(os.getpid(), lambda: None)
        [reader] = readers.readers
        reader.connectionLost(Failure(OSError()))
        assert readers.readers == []

    def test_a_process_that_is_not_there(self) -> None:
        child = subprocess.Popen(["true"])
        child.wait()
        readers = FakeReaders()
        with pytest.raises(ProcessLookupError):
            PidfdWatcher(readers).watch(child.pid, lambda: None)
        assert readers.readers == []


class Reactor:
    """As much of a reactor as SIGCHLD needs."""

    def __init__(self) -> None:
        self.later: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.at_the_start: list[Callable[[], None]] = []

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.at_the_start.append(function)

    def callLater(self, delay: float, function: Callable[..., None], *args: object) -> None:
        self.later.append((function, args))

    def callFromThread(self, function: Callable[..., None], *args: object) -> None:
        self.later.append((function, args))

    def run(self) -> None:
        later, self.later = self.later, []
        for function, args in later:
            function(*args)


class TestSigchldWatcher:
    def test_each_signal_looks_at_every_child(self, monkeypatch: pytest.MonkeyPatch) -> None:
        handlers: dict[int, Any] = {}
        before: list[int] = []
        monkeypatch.setattr(signal, "getsignal", lambda number: lambda *_: before.append(number))
        monkeypatch.setattr(signal, "signal", handlers.__setitem__)
        reactor, looks = Reactor(), []
        watcher = SigchldWatcher(reactor)
        assert handlers == {}
        [install] = reactor.at_the_start
        install()
        watcher.watch(1, lambda: looks.append(1))
        stop = watcher.watch(2, lambda: looks.append(2))
        reactor.run()
        assert looks == [1, 2], "they may have ended before they were watched"
        handlers[signal.SIGCHLD](signal.SIGCHLD, None)
        assert looks == [1, 2], "nothing is done inside the handler"
        assert before == [signal.SIGCHLD]
        reactor.run()
        assert looks == [1, 2, 1, 2]
        stop()
        stop()
        handlers[signal.SIGCHLD](signal.SIGCHLD, None)
        reactor.run()
        assert looks == [1, 2, 1, 2, 1]

    def test_one_look_may_end_the_watch_of_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reactor, looks = Reactor(), []
        watcher = SigchldWatcher(reactor)

        def end_the_other() -> None:
            stop()

        watcher.watch(1, end_the_other)
        stop = watcher.watch(2, lambda: looks.append(2))
        reactor.run()
        assert looks == []
        watcher._look_at_all()
        assert looks == []


def test_the_best_watcher_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PidfdWatcher, "works", staticmethod(lambda: True))
    assert isinstance(exit_watcher(Reactor()), PidfdWatcher)
    monkeypatch.setattr(PidfdWatcher, "works", staticmethod(lambda: False))
    assert isinstance(exit_watcher(Reactor()), SigchldWatcher)


def test_whether_there_are_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", lambda pid: os.open(os.devnull, 0), raising=False)
    assert PidfdWatcher.works()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert not PidfdWatcher.works()
    monkeypatch.delattr(os, "pidfd_open")
    assert not spawn.PidfdWatcher.works()
