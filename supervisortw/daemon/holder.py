"""The holder: the small process that stands behind the daemon, and is what others wait for.

``supervisord`` starts the holder, the holder starts the daemon. It keeps the lock on the state
directory, passes signals on, tells the one who waits when the daemon is ready, and exits with the
code that the daemon announces. A daemon that ends without having announced it is started again.
Meanwhile the programs are children of the holder, which keeps their exit statuses, and what the daemon
has given to it: the ends of their pipes, and their sockets. As process 1 of a container it reaps
whatever is left to it.

It must never fail, so it is the simplest code of the project: standard library only, run by its path
with ``python -I -S -E``, no imports of our own, and a bound on whatever grows.

Holder and daemon send each other lines over a socket whose number is in SUPERVISOR_HOLDER_FD, as many
as they like in one message. The daemon says::

    ready            listeners are bound
    final CODE       I am about to exit on purpose, with CODE
    keep NAME        take this descriptor, and let go of what you had under that name
    drop NAME        let go of it
    fetch N          give me what you keep, from the N-th on
    ended?           tell me of all ends that you know of
    forget PID       I know how it has ended

The holder, which never waits for the daemon to listen, says::

    kept NAME        here is a copy of that descriptor; the last line of an answer to `fetch` is
    more, end        ask for the rest, or: that was all
    ended PID STATUS a child has ended, so, as waitpid(2) tells it
    that-is-all      the answer to `ended?` is complete

A new daemon finds in SUPERVISOR_GENERATION how many there were before it, and in SUPERVISOR_LAST_END
how the last of them has ended.
"""

from __future__ import annotations

# Their public faces, signal and socket, would take a megabyte more for as long as we live.
import _signal as signal  # type: ignore[import-not-found]
import _socket
import array
import ctypes
import os
import resource
import select
import sys
import time
from itertools import islice

ENDING = {signal.SIGTERM, signal.SIGINT}
PASSED_ON = {*ENDING, signal.SIGHUP, signal.SIGUSR2}
DIED = 1
MAX_MESSAGE = 32 * 1024  # larger ones come in pieces
MAX_NAME = 512
MAX_DESCRIPTORS = 253  # in a message to us; the kernel passes no more
KEPT_AT_ONCE = 60  # in a message of ours, so that their names fit
MESSAGES_AT_ONCE = 64  # that are heard before we look at anything else
MAX_ENDS = 4096
ENDS_AT_ONCE = 1000
OWN_DESCRIPTORS = 16  # that we need for ourselves
EARLY_SECONDS = 60.0  # who ends sooner after the start is started again after a delay
LONGEST_DELAY = 60.0
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Hold the daemon until it has ended for good; return the exit code."""
    options, command = read_command_line(sys.argv[1:])
    status_fd = int(options["--status-fd"]) if "--status-fd" in options else None
    try:
        with open("/proc/self/comm", "w") as name:
            name.write("supervisor-hold")  # what ps and pgrep show
    except OSError:
        pass
    if status_fd is not None:
        os.set_inheritable(status_fd, False)  # ours alone: its end tells that we are done
    wakeup_read, wakeup_write = os.pipe()
    for end in (wakeup_read, wakeup_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    if sys.platform == "linux":  # elsewhere the programs of a dead daemon are lost to process 1
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    early = float(options.get("--early-seconds", EARLY_SECONDS))
    return Holder(command, wakeup_read, status_fd, early).run()


def read_command_line(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options and the command of the daemon.

    Only supervisord writes it: --lock-fd=N, the locked file, which is kept open and no more;
    --status-fd=N, where to write 'ready', once; --early-seconds=N, of tests that kill more daemons
    than they want to wait for; and behind -- the command. argparse would cost 1.3 MiB for as long as
    we live.
    """
    end = words.index("--")
    return dict(word.split("=", 1) for word in words[:end]), words[end + 1 :]


def link() -> tuple[_socket.socket, _socket.socket]:
    """Return the two ends of the connection between holder and daemon."""
    if sys.platform == "linux":
        return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)


def receive(channel: _socket.socket) -> tuple[bytes, list[int]]:
    """Return what has arrived, and the descriptors that came with it, of which some may be missing."""
    data, extras, _, _ = channel.recvmsg(MAX_MESSAGE, _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS))
    descriptors = array.array("i")
    for level, kind, numbers in extras:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            descriptors.frombytes(numbers[: len(numbers) // 4 * 4])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, list(descriptors)


def raise_file_limit() -> tuple[tuple[int, int], int]:
    """Allow ourselves as many descriptors as we may; return the limits before, and what we may."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):  # the system has a limit of its own (macOS)
        pass
    return before, sys.maxsize if soft == resource.RLIM_INFINITY else soft


def delay(early_ends: int) -> float:
    """Return how long to wait after so many daemons in a row have ended soon after their start."""
    return 0.0 if early_ends < 2 else min(LONGEST_DELAY, 2.0 ** min(early_ends - 2, 16))


def last_end(status: int) -> str:
    """Return how a process has ended, for people."""
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def exit_code(status: int) -> int:
    """Return what to exit with after a daemon that has announced nothing."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        say(f"the daemon was ended by signal {-code}")
    return code if code > 0 else DIED


def say(text: str) -> None:
    """Tell people what they should know."""
    write(2, f"supervisord: {text}\n".encode())


def write(descriptor: int, data: bytes) -> None:
    """Write a few bytes, if somebody is there for them and that can be done without waiting."""
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    try:
        if writable.poll(0):
            os.write(descriptor, data)
    except OSError:
        return


def tell_ready(status_fd: int) -> None:
    """Let the one who waits go; nobody is left who reads what we print."""
    write(status_fd, b"ready\n")
    os.close(status_fd)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def children() -> str:
    """Return the pids of our children, in one line."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return file.read().strip()
    except OSError:
        return ""


class Store:
    """Descriptors that outlive the daemon, by name."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._descriptors: dict[bytes, int] = {}
        self._refused = False

    def keep(self, name: bytes, descriptor: int | None) -> None:
        """Keep ``descriptor``, which is None if we could not even receive it."""
        self.drop(name)
        if (
            descriptor is not None
            and len(self._descriptors) < self._room
            and 0 < len(name) <= MAX_NAME
        ):
            self._descriptors[name] = descriptor
            return
        if descriptor is not None:
            os.close(descriptor)
        if not self._refused:
            self._refused = True
            say(
                f"no more than {len(self._descriptors)} pipes and sockets can be kept over the end of"
                f" the daemon; raise the limit of open files before supervisord is started"
            )

    def drop(self, name: bytes) -> None:
        """Let go of what is kept under ``name``, if anything is."""
        descriptor = self._descriptors.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def piece(self, first: int) -> tuple[bytes, list[int]]:
        """Return the answer to a `fetch`: lines, and the descriptors of those that have one."""
        last = first + KEPT_AT_ONCE
        found = dict(islice(self._descriptors.items(), first, last))
        lines = [b"kept %s\n" % name for name in found]
        lines.append(b"more\n" if last < len(self._descriptors) else b"end\n")
        return b"".join(lines), list(found.values())


class Ends:
    """How children have ended, until the daemon knows it; at most MAX_ENDS, the oldest go first."""

    def __init__(self) -> None:
        self._statuses: dict[int, int] = {}
        self._untold: dict[int, None] = {}

    def note(self, pid: int, status: int) -> None:
        """Take note of an end, which the daemon has to be told of."""
        self.forget(pid)  # there was another one with that number
        if len(self._statuses) >= MAX_ENDS:
            self.forget(next(iter(self._statuses)))
        self._statuses[pid] = status
        self._untold[pid] = None

    def forget(self, pid: int) -> None:
        """Forget how a child has ended."""
        self._statuses.pop(pid, None)
        self._untold.pop(pid, None)

    def tell_all(self) -> None:
        """Let the daemon be told of every end again."""
        self._untold = dict.fromkeys(self._statuses)

    def tell_later(self) -> None:
        """Let nothing be told that happened before now: a new daemon asks for it."""
        self._untold.clear()

    def piece(self) -> tuple[bytes, list[int]]:
        """Return lines for the daemon, and whom they are about."""
        pids = list(islice(self._untold, ENDS_AT_ONCE))
        return b"".join(b"ended %d %d\n" % (pid, self._statuses[pid]) for pid in pids), pids

    def told(self, pids: list[int]) -> None:
        """Take note that the daemon was told."""
        for pid in pids:
            del self._untold[pid]


class Channel:
    """The connection to one daemon: what it has announced so far, and what we owe it."""

    def __init__(self, ours: _socket.socket, store: Store, ends: Ends) -> None:
        ours.setblocking(False)
        self.ready = False
        self.final: int | None = None
        self.open = True  # the daemon may say something
        self.full = False  # the daemon does not listen at present
        self._ours = ours
        self._store = store
        self._ends = ends
        self._deaf = False  # the daemon will never listen again
        self._heard = b""
        self._unsent = b""
        self._all_wanted = False
        self._fetch: int | None = None

    def fileno(self) -> int:
        """Return its number, for poll."""
        return self._ours.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._ours.close()

    def receive(self) -> bool:
        """Take in one message; return False if there is none."""
        try:
            data, descriptors = receive(self._ours)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # broken
        if not data:
            self.open = False
            return False
        *lines, self._heard = (self._heard + data).split(b"\n")
        self._heard = self._heard[-MAX_MESSAGE:]
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word == b"keep":
                self._store.keep(rest, descriptors.pop(0) if descriptors else None)
            else:
                self._take_in(word, rest)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _take_in(self, word: bytes, rest: bytes) -> None:
        if word == b"ready":
            self.ready = True
        elif word == b"drop":
            self._store.drop(rest)
        elif word == b"ended?":
            self._all_wanted = True
            self._ends.tell_all()
        elif not rest.isdigit():
            return
        elif word == b"final":
            self.final = int(rest)
        elif word == b"forget":
            self._ends.forget(int(rest))
        elif word == b"fetch":
            self._fetch = int(rest)

    def send(self) -> None:
        """Say what we owe the daemon, as far as it goes."""
        if self._deaf:
            return
        self.full = False
        try:
            while self._send_next():
                pass
        except BlockingIOError:
            self.full = True
        except OSError:
            self._deaf = True  # it is about to end, which SIGCHLD tells

    def _send_next(self) -> bool:
        """Send one message; return False if there is nothing to say."""
        ends, pids = self._ends.piece()
        if self._unsent:
            self._put(self._unsent)
        elif pids:
            self._put(ends)
            self._ends.told(pids)
        elif self._all_wanted:
            self._put(b"that-is-all\n")
            self._all_wanted = False
        elif self._fetch is not None:
            self._put(*self._store.piece(self._fetch))
            self._fetch = None
        else:
            return False
        return True

    def _put(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send ``data``; a stream may take a part of it, and what is left goes first next time."""
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors or []))
        sent = self._ours.sendmsg([data], [rights] if descriptors else [])
        self._unsent = data[sent:]


class Holder:
    """Starts the daemon, again and again, and stands between it and the world."""

    def __init__(
        self, command: list[str], wakeup: int, status_fd: int | None, early_seconds: float
    ) -> None:
        self._command = command
        self._wakeup = wakeup
        self._status_fd = status_fd
        self._early_seconds = early_seconds
        self._file_limit, files = raise_file_limit()
        self._store = Store(files - OWN_DESCRIPTORS)
        self._ends = Ends()
        self._daemon: int | None = None  # not reaped yet, so the number is the daemon's
        self._channel: Channel | None = None
        self._generation = 0
        self._last_end: str | None = None
        self._started = 0.0
        self._early_ends = 0
        self._next_start = 0.0  # where there is no daemon
        self._ending: set[int] = set()
        self._remembered: set[int] = set()
        self._code: int | None = None

    def run(self) -> int:
        """Hold the daemon until it has ended for good; return the exit code."""
        self._start()
        while self._code is None:
            self._wait()
            self._take_turn()
        return self._code

    def _take_turn(self) -> None:
        """Do all that there is to do."""
        self._listen()
        self._pass_on_signals()
        self._reap()
        if self._daemon is None and self._code is None and time.monotonic() >= self._next_start:
            self._start()
        if self._channel is not None:
            self._channel.send()

    def _wait(self) -> None:
        waited_for = select.poll()
        waited_for.register(self._wakeup, select.POLLIN)
        if self._channel is not None and self._channel.open:
            writable = select.POLLOUT if self._channel.full else 0
            waited_for.register(self._channel, select.POLLIN | writable)
        if self._daemon is not None:
            waited_for.poll()
        else:
            waited_for.poll(max(0.0, self._next_start - time.monotonic()) * 1000)

    def _listen(self) -> None:
        """Hear the daemon."""
        channel = self._channel
        if channel is None:
            return
        was_ready = channel.ready
        for _ in range(MESSAGES_AT_ONCE):
            if not channel.receive():
                break
        if channel.ready and not was_ready:
            self._is_ready()

    def _is_ready(self) -> None:
        self._let_go()
        for number in sorted(self._remembered):
            self._kill(number)
        self._remembered.clear()

    def _let_go(self) -> None:
        """Tell the one who waits that there was a daemon that was ready."""
        if self._status_fd is not None:
            tell_ready(self._status_fd)
            self._status_fd = None

    def _kill(self, number: int) -> None:
        if self._daemon is not None:
            os.kill(self._daemon, number)

    def _pass_on_signals(self) -> None:
        """Pass on to the daemon what it is ready for, and remember the rest for the next one."""
        try:
            numbers = os.read(self._wakeup, 512)
        except BlockingIOError:
            return
        for number in PASSED_ON.intersection(numbers):
            if number in ENDING:
                self._ending.add(number)
                self._next_start = 0.0
            if self._channel is not None and (self._channel.ready or self._generation == 0):
                self._kill(number)
            else:
                self._remembered.add(number)

    def _reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._daemon:
                self._daemon_has_ended(status)
            else:
                self._ends.note(pid, status)

    def _daemon_has_ended(self, status: int) -> None:
        channel, self._channel, self._daemon = self._channel, None, None
        assert channel is not None
        while channel.receive():  # whatever it had still sent counts
            pass
        channel.close()
        if channel.ready:
            self._let_go()
        is_first = self._generation == 0
        if channel.final is not None and (channel.ready or is_first):
            self._code = channel.final
        elif is_first and not channel.ready:
            self._code = exit_code(status)
        elif self._ending and not channel.ready:
            say(f"the daemon cannot be started to end its programs; left alone: {children()}")
            self._code = DIED
        else:
            self._start_again_later(last_end(status))

    def _start_again_later(self, why: str) -> None:
        now = time.monotonic()
        is_early = now - self._started < self._early_seconds
        self._early_ends = self._early_ends + 1 if is_early else 1
        seconds = delay(self._early_ends)
        say(f"the daemon has ended: {why}; the next one is started in {seconds:g} s")
        self._next_start = now + seconds
        self._generation += 1
        self._last_end = why
        self._remembered |= self._ending  # the next one has to go on with it

    def _start(self) -> None:
        """Start the daemon in a session of its own, so that a Ctrl-C reaches it once, through us."""
        self._started = time.monotonic()
        try:
            self._daemon, ours = self._fork()
        except OSError as error:  # too many processes or files
            say(f"cannot start the daemon: {error.strerror}")
            if self._generation == 0:
                self._code = DIED
            else:
                self._start_again_later(f"not started: {error.strerror}")
            return
        self._ends.tell_later()
        self._channel = Channel(ours, self._store, self._ends)

    def _fork(self) -> tuple[int, _socket.socket]:
        ours, theirs = link()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            self._become_daemon(theirs)
        theirs.close()
        return pid, ours

    def _become_daemon(self, theirs: _socket.socket) -> None:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (*PASSED_ON, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            # To a low number, which may lie above the daemon's limit otherwise.
            os.dup2(theirs.fileno(), self._wakeup)
            os.environ["SUPERVISOR_HOLDER_FD"] = str(self._wakeup)
            os.environ["SUPERVISOR_GENERATION"] = str(self._generation)
            if self._last_end is not None:
                os.environ["SUPERVISOR_LAST_END"] = self._last_end
            resource.setrlimit(resource.RLIMIT_NOFILE, self._file_limit)
            os.execv(self._command[0], self._command)
        except OSError as error:
            say(f"cannot start {self._command[0]}: {error.strerror}")
        finally:
            os._exit(127)


if __name__ == "__main__":
    sys.exit(main())
