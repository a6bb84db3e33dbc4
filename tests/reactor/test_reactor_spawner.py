"""The spawner with real children: by each way of starting them, and of noticing their end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from supervisortw.core.environment import Login
from supervisortw.core.model import Limit
from supervisortw.daemon import forker
from supervisortw.daemon.exits import PidfdWatcher, SigchldWatcher
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.spawn import PosixSpawner
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity, SpawnRequest

PLAIN, FORKER, FORK = "posix_spawn", "forker", "fork"
SECONDS = 60.0
NOBODY = Identity(
    uid=65534,
    gid=65533,
    groups=(65533, 4321),
    login=Login(name="nobody", home="/", shell="/bin/sh"),  # noqa: S604  # a record
)

MakeWatcher = Callable[[Any], Any]
pidfd_missing = pytest.mark.skipif(not PidfdWatcher.works(), reason="this kernel has no pidfds")
forker_missing = pytest.mark.skipif(forker.clone_number() is None, reason="no forker works here")
each_watcher = pytest.mark.parametrize(
    "make_watcher", [pytest.param(PidfdWatcher, marks=pidfd_missing), SigchldWatcher]
)
careful = [pytest.param(FORKER, marks=forker_missing), FORK]
each_way = pytest.mark.parametrize("way", [PLAIN, *careful])
each_careful_way = pytest.mark.parametrize("way", careful)


class Ending(ProcessProtocol):
    """Remembers in which order it was told what."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended: Deferred[Any] = Deferred()
        self.ended.addTimeout(SECONDS, reactor)

    def connectionMade(self) -> None:
        self.told.append("connected")

    def processExited(self, reason: Failure) -> None:
        self.told.append("exited")

    def processEnded(self, reason: Failure) -> None:
        self.told.append("ended")
        self.ended.callback(reason.value)


@dataclass
class Place:
    """A directory that everybody can reach, and a spawner that starts programs in one way."""

    way: str
    path: Path
    spawner: PosixSpawner
    file_limit: FileLimit
    endings: list[Ending] = field(default_factory=list)

    def ask(self, *command: str, **keys: Any) -> Deferred[Any]:
        """Ask for a process, in the way that the test is about."""
        keys.setdefault("environment", {"PATH": "/usr/bin:/bin", "MARK": "here"})
        keys.setdefault("stdout", 2)
        keys.setdefault("stderr", 2)
        if self.way != PLAIN:
            keys.setdefault("nice", os.getpriority(os.PRIO_PROCESS, 0))
        self.endings.append(Ending())
        for stream in ("stdin", "stdout", "stderr"):
            if keys.get(stream) is not None:
                keys[stream] = os.dup(keys[stream])  # they are the spawner's then
        return self.spawner.spawn(self.endings[-1], SpawnRequest(command=command, **keys))

    async def output(self, *command: str, **keys: Any) -> str:
        """Run a program to its end, and return what it wrote."""
        path = self.path / "output"
        with path.open("w") as file:
            await self.ask(*command, stdout=file.fileno(), **keys)
        await self.endings[-1].ended
        return path.read_text()

    async def refusal(self, *command: str, **keys: Any) -> SpawnError:
        with pytest.raises(SpawnError) as caught:
            await self.ask(*command, **keys)
        self.forget()
        return caught.value

    def forget(self) -> None:
        """Wait no longer for the end of one that was never there."""
        ending = self.endings.pop()
        assert ending.told == []
        ending.ended.addErrback(lambda failure: failure.trap(CancelledError))
        ending.ended.cancel()

    @property
    def forker(self) -> int:
        pid = self.spawner._forker._pid
        assert pid is not None
        return pid


async def until(condition: Callable[[], bool]) -> None:
    deadline = reactor.seconds() + SECONDS
    while not condition():
        assert reactor.seconds() < deadline
        await deferLater(reactor, 0.01)


def no_child_is_left() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


@asynccontextmanager
async def place(way: str, make_watcher: MakeWatcher = SigchldWatcher) -> AsyncIterator[Place]:
    path = Path(tempfile.mkdtemp(prefix="sv-", dir="/tmp"))
    path.chmod(0o755)
    readers = len(reactor.getReaders())
    watcher, limit = make_watcher(reactor), FileLimit()
    place = Place(way, path, PosixSpawner(reactor, watcher, limit), limit)
    if way == FORK:
        place.spawner._forker.usable = False
    before = descriptors()
    try:
        yield place
        for ending in place.endings:
            await ending.ended
        kept = 0 if way != FORKER else 2 if make_watcher is PidfdWatcher else 1
        await until(lambda: descriptors() <= before + kept)  # the forker's channel and its pidfd
    finally:
        place.spawner.close()
        await until(no_child_is_left)
        if isinstance(watcher, SigchldWatcher):
            watcher.close()
        await until(lambda: len(reactor.getReaders()) <= readers)
        shutil.rmtree(path)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@each_watcher
@each_way
@pytest_twisted.ensureDeferred
async def test_a_child_runs_and_its_end_is_told_once(way: str, make_watcher: MakeWatcher) -> None:
    async with place(way, make_watcher) as here:
        transport = await here.ask("sh", "-c", "exit 0")
        [ending] = here.endings
        assert ending.told == ["connected"]
        assert ending.transport is transport
        assert transport.pid is not None
        assert isinstance(await ending.ended, ProcessDone)
        assert ending.told == ["connected", "exited", "ended"]
        assert transport.pid is None


@each_watcher
@each_way
@pytest.mark.parametrize(
    ("command", "code", "number"),
    [("exit 3", 3, None), ("exit 127", 127, None), ("kill -TERM $$", None, signal.SIGTERM)],
)
@pytest_twisted.ensureDeferred
async def test_how_it_ended(
    way: str, make_watcher: MakeWatcher, command: str, code: int | None, number: int | None
) -> None:
    async with place(way, make_watcher) as here:
        await here.ask("sh", "-c", command)
        reason = await here.endings[0].ended
        assert isinstance(reason, ProcessTerminated)
        assert (reason.exitCode, reason.signal) == (code, number)


@each_watcher
@each_way
@pytest_twisted.ensureDeferred
async def test_many_that_end_together_are_all_noticed(way: str, make_watcher: MakeWatcher) -> None:
    async with place(way, make_watcher) as here:
        children = await gatherResults([here.ask("sleep", "600") for _ in range(20)])
        for child in children:
            child.signalProcess("KILL")
        for ending in here.endings:
            assert (await ending.ended).signal == signal.SIGKILL


@each_way
@pytest_twisted.ensureDeferred
async def test_after_the_end_there_is_nothing_to_signal(way: str) -> None:
    async with place(way) as here:
        transport = await here.ask("true")
        await here.endings[0].ended
        with pytest.raises(ProcessExitedAlready):
            transport.signalProcess("TERM")


@each_way
@pytest_twisted.ensureDeferred
async def test_what_a_child_is_given(way: str) -> None:
    script = (
        "import os; os.umask(m := os.umask(0));"
        "print(os.getsid(0) == os.getpid() == os.getpgid(0), os.getcwd(), oct(m),"
        " sorted(os.environ.items()))"
    )
    async with place(way) as here:
        told = await here.output(
            *(sys.executable, "-I", "-c", script),
            umask=0o027,
            directory=str(here.path),
            environment={"A": "1", "B": "ü=\n", "LC_CTYPE": "C.UTF-8"},
        )
        expected = [("A", "1"), ("B", "ü=\n"), ("LC_CTYPE", "C.UTF-8")]
        assert told == f"True {here.path} 0o27 {expected}\n"


@pytest.mark.needs_linux
@each_way
@pytest_twisted.ensureDeferred
async def test_it_is_the_daemons_child_and_has_no_signal_blocked_or_ignored(way: str) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        async with place(way) as here:
            transport = await here.ask("sleep", "600")
            fields = status(transport.pid)
            transport.signalProcess("USR1")
            assert (await here.endings[0].ended).signal == signal.SIGUSR1
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert int(fields["PPid"]) == os.getpid()
    assert int(fields["SigBlk"], 16) == 0
    assert int(fields["SigIgn"], 16) & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


@pytest.mark.needs_linux
@each_way
@pytest_twisted.ensureDeferred
async def test_it_has_its_streams_and_nothing_else(way: str) -> None:
    ours = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    read_end, write_end = os.pipe()
    os.write(write_end, b"in")
    os.close(write_end)
    try:
        async with place(way) as here:
            script = "cat; echo; readlink /proc/$$/fd/0; ls /proc/$$/fd; echo err >&2"
            assert (await here.output("sh", "-c", script, stdin=read_end)).split() == [
                "in",
                os.readlink(f"/proc/self/fd/{read_end}"),
                *("0", "1", "2"),
            ]
            told = await here.output("readlink", "/proc/self/fd/0")
            assert told == "/dev/null\n"
    finally:
        for descriptor in (*ours, read_end):
            os.close(descriptor)


# As sd_listen_fds(3) does it.
LISTENER = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid())
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"])
print(sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
for number, name in enumerate(names, 3):
    print(name, socket.socket(fileno=number).getsockname()[1])
"""


@pytest.mark.needs_linux
@each_careful_way
@pytest_twisted.ensureDeferred
async def test_it_finds_the_sockets_that_it_listens_on(way: str) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    try:
        async with place(way) as here:
            given = tuple(zip(("web", "api"), (each.fileno() for each in sockets), strict=True))
            told = await here.output(sys.executable, "-I", "-c", LISTENER, listening=given)
            assert told == f"[0, 1, 2, 3, 4]\nweb {ports[0]}\napi {ports[1]}\n"
    finally:
        for each in sockets:
            each.close()


@each_careful_way
@pytest_twisted.ensureDeferred
async def test_its_limits_are_soft_and_hard(way: str) -> None:
    limits = (Limit(name="nofile", soft=77, hard=88), Limit(name="core", soft=0, hard=None))
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard != resource.RLIM_INFINITY:
        limits = limits[:1]
    script = "ulimit -S -n; ulimit -H -n; ulimit -S -c"
    async with place(way) as here:
        told = (await here.output("sh", "-c", script, limits=limits)).split()
        assert told[:2] == ["77", "88"]
        assert len(limits) == 1 or told[2] == "0"


@pytest.fixture
def _low_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_low_limit")
@each_way
@pytest_twisted.ensureDeferred
async def test_its_limit_of_open_files_is_that_which_the_daemon_was_started_with(way: str) -> None:
    original = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    async with place(way) as here:
        assert here.file_limit.raise_to(original + 500) is None
        assert await here.output("sh", "-c", "ulimit -n") == f"{original}\n"
        here.file_limit.close()


@pytest.mark.needs_linux
@each_careful_way
@pytest_twisted.ensureDeferred
async def test_nice_and_no_new_privileges(way: str) -> None:
    nice = os.getpriority(os.PRIO_PROCESS, 0) + 3
    async with place(way) as here:
        transport = await here.ask("sleep", "600", nice=nice, no_new_privileges=True)
        assert os.getpriority(os.PRIO_PROCESS, transport.pid) == nice
        assert status(transport.pid)["NoNewPrivs"] == "1"
        transport.signalProcess("KILL")


@each_careful_way
@pytest_twisted.ensureDeferred
async def test_it_joins_its_cgroup(way: str) -> None:
    async with place(way) as here:
        procs = here.path / "cgroup.procs"
        procs.touch()
        await here.ask("true", cgroup=str(here.path))
        assert procs.read_text() == "0", "which means oneself"
        error = await here.refusal("/bin/true", cgroup="/no/such")
        assert str(error) == (
            "cannot start /bin/true: cannot put it into /no/such: No such file or directory"
        )


# A daemon of its own, which starts a program and is killed.
DAEMON = """
import sys
from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol
from supervisortw.core.environment import Login
from supervisortw.daemon.exits import SigchldWatcher
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.spawn import PosixSpawner
from supervisortw.interfaces import Identity, SpawnRequest

way, uid, number, script = sys.argv[1:]
login = Login(name="nobody", home="/", shell="/bin/sh")
identity = Identity(uid=int(uid), gid=int(uid), groups=(), login=login) if uid else None
spawner = PosixSpawner(reactor, SigchldWatcher(reactor), FileLimit())
spawner._forker.usable = way != "fork"
request = SpawnRequest(
    command=("/bin/sh", "-c", script), environment={"PATH": "/usr/bin:/bin"}, stdout=1, stderr=2,
    nice=0, identity=identity, death_signal=int(number) if number else None)
spawner.spawn(ProcessProtocol(), request)
reactor.run()
"""
TALKER = """
trap 'echo HUP; exit' HUP; trap 'echo USR1; exit' USR1
echo $$; while :; do sleep 0.05; done
"""


@contextmanager
def daemon_with_a_program(way: str, uid: str, number: str) -> Iterator[tuple[Any, int, Any]]:
    """Have a daemon and a program of it; yield the daemon, the program's pid and what it says."""
    command = [sys.executable, "-c", DAEMON, way, uid, number, TALKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as daemon:
        assert daemon.stdout is not None
        pid = 0
        timer = threading.Timer(SECONDS, daemon.kill)
        timer.start()
        try:
            pid = int(daemon.stdout.readline())
            yield daemon, pid, daemon.stdout
        finally:
            timer.cancel()
            daemon.kill()
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


users = ["", pytest.param("65534", marks=pytest.mark.needs_root)]


@pytest.mark.needs_linux
@pytest.mark.parametrize("uid", users)
@each_careful_way
def test_it_is_sent_its_death_signal_when_the_daemon_is_killed(way: str, uid: str) -> None:
    with daemon_with_a_program(way, uid, str(int(signal.SIGHUP))) as (daemon, _, said):
        daemon.kill()
        assert said.read() == "HUP\n"


@pytest.mark.needs_linux
@each_careful_way
def test_it_is_sent_nothing_if_it_has_none(way: str) -> None:
    with daemon_with_a_program(way, "", "") as (daemon, pid, said):
        daemon.kill()
        daemon.wait()  # the kernel has sent by now what it sends
        os.kill(pid, signal.SIGUSR1)
        assert said.read() == "USR1\n"


@pytest.mark.needs_root
@pytest.mark.needs_linux
@each_careful_way
@pytest_twisted.ensureDeferred
async def test_it_runs_as_somebody_else_for_good(way: str) -> None:
    async with place(way) as here:
        transport = await here.ask("sleep", "600", identity=NOBODY)
        found = status(transport.pid)
        transport.signalProcess("KILL")
    assert found["Uid"].split() == ["65534"] * 4
    assert found["Gid"].split() == ["65533"] * 4
    assert found["Groups"].split() == ["4321", "65533"]
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == 0


@pytest.mark.needs_root
@pytest.mark.needs_linux
@each_careful_way
@pytest_twisted.ensureDeferred
async def test_it_can_do_what_its_user_can(way: str) -> None:
    async with place(way) as here:
        private = here.path / "private"
        private.mkdir(mode=0o700)
        error = await here.refusal("/bin/true", identity=NOBODY, directory=str(private))
        assert str(error) == (f"cannot start /bin/true: its directory {private}: Permission denied")
        script = here.path / "script"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o700)
        error = await here.refusal(str(script), identity=NOBODY)
        assert str(error) == f"cannot start {script}: not executable by nobody"
        shared = here.path / "shared"
        shared.mkdir()
        (shared / "script").write_text("#!/bin/sh\necho theirs\n")
        (shared / "script").chmod(0o755)
        environment = {"PATH": f"{here.path}:{shared}:/bin"}
        told = await here.output("script", identity=NOBODY, environment=environment)
        assert told == "theirs\n", "it is the second in PATH that they may run"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "command not found: "),
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("#!/no/such/interpreter\n", 0o755, "the interpreter in its first line is missing"),
        ("echo hello\n", 0o755, "not a program"),
    ],
)
@each_watcher
@each_way
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_started_says_why(
    way: str, make_watcher: MakeWatcher, content: str | None, mode: int, reason: str
) -> None:
    async with place(way, make_watcher) as here:
        path = here.path / "program"
        if content is not None:
            path.write_text(content)
            path.chmod(mode)
        error = await here.refusal(str(path))
        assert reason in str(error)
        assert error.permanent
        await here.ask("true")


@each_way
@pytest_twisted.ensureDeferred
async def test_directories_and_names_that_do_not_work(way: str) -> None:
    async with place(way) as here:
        told = [
            str(await here.refusal(str(here.path))),
            str(await here.refusal("no-such-command")),
            str(await here.refusal("/bin/true", directory="/no/such")),
            str(await here.refusal("/bin/true", "a\0b")),
        ]
        assert told == [
            f"cannot start {here.path}: a directory",
            "command not found: no-such-command (looked in /usr/bin:/bin)",
            "cannot start /bin/true: its directory /no/such: No such file or directory",
            "cannot start /bin/true: embedded null byte",
        ]


@each_careful_way
@pytest_twisted.ensureDeferred
async def test_one_that_is_not_wanted_any_more_is_killed(way: str) -> None:
    async with place(way) as here:
        asked = here.ask("sleep", "600")
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        here.forget()


@forker_missing
@pytest.mark.needs_linux
class TestTheForkersDeath:
    @each_watcher
    @pytest_twisted.ensureDeferred
    async def test_between_two_starts(self, make_watcher: MakeWatcher) -> None:
        async with place(FORKER, make_watcher) as here:
            await here.ask("true")
            first = here.forker
            os.kill(first, signal.SIGKILL)
            os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
            await here.ask("true")
            assert here.forker != first

    @each_watcher
    @pytest_twisted.ensureDeferred
    async def test_while_nobody_asks(self, make_watcher: MakeWatcher) -> None:
        async with place(FORKER, make_watcher) as here:
            transport = await here.ask("sleep", "600")
            os.kill(here.forker, signal.SIGKILL)
            await until(lambda: here.spawner._forker._pid is None)
            transport.signalProcess("TERM")
            reason = await here.endings[0].ended
            assert reason.signal == signal.SIGTERM, "the child is not the forker's"
            await here.ask("true")

    @pytest_twisted.ensureDeferred
    async def test_no_other_signal_is_its_death(self) -> None:
        async with place(FORKER) as here:
            await here.ask("true")
            pid = here.forker
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                os.kill(pid, number)
            await here.ask("true")
            assert here.forker == pid
            assert os.getsid(pid) == pid
            assert status(pid)["Name"] == "supervisor-fork"
            assert Path(f"/proc/{pid}/environ").read_bytes() == b""
            assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]

    @pytest.mark.parametrize("times", [1, 5])
    @pytest_twisted.ensureDeferred
    async def test_in_the_middle_of_many_starts_nothing_twice(self, times: int) -> None:
        async with place(FORKER) as here:
            script = f"echo $$ >> {here.path}/started"
            asked = [here.ask("sh", "-c", script) for _ in range(60)]
            for killed in range(times):
                done = 10 * killed
                await asked[done]
                if here.spawner._forker._pid is not None:
                    os.kill(here.forker, signal.SIGKILL)
            await gatherResults(asked)
            for ending in here.endings:
                assert isinstance(await ending.ended, ProcessDone)
            started = (here.path / "started").read_text().split()
            assert len(started) == len(set(started)) == 60


@pytest.mark.needs_root
@pytest.mark.needs_linux
@pytest.mark.parametrize("way", [pytest.param(FORKER, marks=forker_missing)])
@each_watcher
@pytest_twisted.ensureDeferred
async def test_three_hundred_at_once_as_somebody_else(way: str, make_watcher: MakeWatcher) -> None:
    async with place(way, make_watcher) as here:
        asked = [here.ask("sleep", "600", identity=NOBODY) for _ in range(300)]
        children = await gatherResults(asked)
        assert len({child.pid for child in children}) == 300
        for child in children:
            child.signalProcess("KILL")
        for ending in here.endings:
            assert (await ending.ended).signal == signal.SIGKILL
