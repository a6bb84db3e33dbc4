"""The holder: the small process that stands behind the daemon, and is what others wait for.

``supervisord`` starts the holder, the holder starts the daemon. It keeps the lock on the state
directory, passes signals on, tells the one who waits when the daemon is ready, and exits with the
code that the daemon announces. A daemon that ends otherwise is started again; meanwhile its programs
are children of the holder, which keeps how they end, and whatever descriptors the daemon has given to
it. As process 1 of a container it reaps whatever is left to it.

It must never fail, so it is the simplest code of the project: standard library only, run by its path
with ``python -I -S -E``, no imports of our own, and a bound on whatever grows.

Both say lines, some with a descriptor, over a socket whose number is in SUPERVISOR_HOLDER_FD. The
daemon says::

    ready            listeners are bound
    final CODE       I am about to exit on purpose, with CODE
    keep NAME        take this descriptor, and let go of what you had under that name
    drop NAME        let go of it
    fetch N          give me what you keep, from the N-th on
    ended?           tell me of all ends that you know of
    forget PID       I know how it has ended

The holder, which never waits for the daemon to listen, says::

    kept NAME        here is a copy of that descriptor; the answer to `fetch` ends with one of:
    more, end        ask for the rest; that was all
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
RIGHTS_BYTES = _socket.CMSG_SPACE(4 * 253)  # the kernel passes no more descriptors at once
KEPT_AT_ONCE = 60  # in a message of ours, so that their names fit
MESSAGES_AT_ONCE = 64  # that are heard before we look at anything else
MAX_ENDS = 4096
ENDS_AT_ONCE = 1000
OWN_DESCRIPTORS = 16  # that we need for ourselves
LONGEST_DELAY = 60.0
PR_SET_CHILD_SUBREAPER = 36
RAISE_IT = "raise the limit of open files (ulimit -n) before supervisord is started"


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
    return Holder(command, wakeup_read, status_fd, float(options.get("--early-seconds", 60))).run()


def read_command_line(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options and the command of the daemon.

    Only supervisord writes it: --lock-fd=N, the locked file, which is kept open and no more;
    --status-fd=N, where to write 'ready', once; and, in tests that kill many daemons,
    --early-seconds=N, how soon an end counts as early. argparse would cost 1.3 MiB as long as we live.
    """
    end = words.index("--")
    return dict(word.split("=", 1) for word in words[:end]), words[end + 1 :]


def link() -> tuple[_socket.socket, _socket.socket]:
    """Return the two ends of the connection between holder and daemon."""
    kind = _socket.SOCK_SEQPACKET if sys.platform == "linux" else _socket.SOCK_STREAM
    return _socket.socketpair(_socket.AF_UNIX, kind)


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
    return 0.0 if early_ends < 2 else min(LONGEST_DELAY, 2.0 ** min(early_ends - 2, 10))


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
            return file.read()
    except OSError:
        return "unknown"


class Store:
    """Descriptors that outlive the daemon, by name."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._descriptors: dict[bytes, int] = {}
        self._refused = False

    def keep(self, name: bytes, descriptor: int | None) -> None:
        """Keep ``descriptor``, which is None if we could not even receive it."""
        self.drop(name)
        is_room = len(self._descriptors) < self._room
        if descriptor is not None and is_room and 0 < len(name) <= MAX_NAME:
            self._descriptors[name] = descriptor
            return
        if descriptor is not None:
            os.close(descriptor)
        if not self._refused:
            self._refused = True
            number = len(self._descriptors)
            say(f"only {number} pipes and sockets are kept over an end of the daemon; {RAISE_IT}")

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
        self.untold: dict[int, None] = {}  # of whom the daemon does not know yet

    def note(self, pid: int, status: int) -> None:
        """Take note of an end, which the daemon has to be told of."""
        self.forget(pid)  # there was another one with that number
        if len(self._statuses) >= MAX_ENDS:
            self.forget(next(iter(self._statuses)))
        self._statuses[pid] = status
        self.untold[pid] = None

    def forget(self, pid: int) -> None:
        """Forget how a child has ended."""
        self._statuses.pop(pid, None)
        self.untold.pop(pid, None)

    def tell_all(self) -> None:
        """Let the daemon be told of every end again."""
        self.untold = dict.fromkeys(self._statuses)

    def tell_later(self) -> None:
        """Let nothing be told that happened before now: a new daemon asks for it."""
        self.untold.clear()

    def piece(self) -> tuple[bytes, list[int]]:
        """Return lines for the daemon, and whom they are about."""
        pids = list(islice(self.untold, ENDS_AT_ONCE))
        return b"".join(b"ended %d %d\n" % (pid, self._statuses[pid]) for pid in pids), pids


class Channel:
    """The connection to one daemon: what it has announced so far, and what we owe it."""

    def __init__(self, ours: _socket.socket, store: Store, ends: Ends) -> None:
        ours.setblocking(False)
        self.ready = False
        self.final: int | None = None
        self.open = True  # the daemon has not closed its end
        self.full = False  # the daemon does not listen at present
        self.socket = ours
        self._store = store
        self._ends = ends
        self._heard = b""
        self._unsent = b""
        self._all_wanted = False
        self._fetch: int | None = None

    def receive(self) -> bool:
        """Take in one message; return False if there is none."""
        try:
            data, extras, _, _ = self.socket.recvmsg(MAX_MESSAGE, RIGHTS_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data, extras = b"", []  # broken
        if not data:
            self.open = False
            return False
        descriptors: list[int] = []  # some may have got lost if we have too many
        for _, _, rights in extras:
            descriptors += array.array("i", rights[: len(rights) // 4 * 4])
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
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
        self.full = False
        try:
            while self.open and self._send_next():
                pass
        except BlockingIOError:
            self.full = True
        except ConnectionError:
            self.open = False  # it is about to end, which SIGCHLD tells

    def _send_next(self) -> bool:
        ends, pids = self._ends.piece()
        if self._unsent:
            self._put(self._unsent)
        elif pids:
            self._put(ends)
            for pid in pids:
                del self._ends.untold[pid]
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
        try:
            sent = self.socket.sendmsg([data], [rights] if descriptors else [])
        except (BlockingIOError, ConnectionError):
            raise
        except OSError:  # too many are under way: the lines alone tell what is missing
            sent = self.socket.send(data)
        self._unsent = data[sent:]


class Holder:
    """Starts the daemon, again and again, and stands between it and the world."""

    def __init__(
        self, command: list[str], wakeup: int, status_fd: int | None, early: float
    ) -> None:
        self._command = command
        self._wakeup = wakeup
        self._status_fd = status_fd
        self._early_seconds = early
        self._file_limit, files = raise_file_limit()
        self._store = Store(files - OWN_DESCRIPTORS)
        self._ends = Ends()
        self._channel: Channel | None = None  # to a daemon that was not reaped yet
        self._daemon = 0  # so this number is still its own
        self._generation = 0
        self._last_end: str | None = None
        self._started = 0.0
        self._early_ends = 0
        self._next_start = 0.0  # where there is no daemon
        self._signals: set[int] = set()  # that have come and were not passed on yet
        self._ending: set[int] = set()  # that were, and hold for daemons to come
        self._code: int | None = None

    def run(self) -> int:
        """Hold the daemon until it has ended for good; return the exit code."""
        self._start()
        while self._code is None:
            self._wait()
            self._take_turn()
        return self._code

    def _take_turn(self) -> None:
        self._listen(MESSAGES_AT_ONCE)
        self._pass_on_signals()
        self._reap()
        if self._channel is not None:
            self._channel.send()
        elif self._code is None and time.monotonic() >= self._next_start:
            self._start()

    def _wait(self) -> None:
        waited_for = select.poll()
        waited_for.register(self._wakeup, select.POLLIN)
        if self._channel is None:
            waited_for.poll(max(0.0, self._next_start - time.monotonic()) * 1000)
            return
        if self._channel.open:
            writable = select.POLLOUT if self._channel.full else 0
            waited_for.register(self._channel.socket, select.POLLIN | writable)
        waited_for.poll()

    def _listen(self, most: int) -> None:
        """Hear the daemon, but no more than so many messages."""
        for _ in range(most):
            if self._channel is None or not self._channel.receive():
                return
            if self._channel.ready and self._status_fd is not None:
                tell_ready(self._status_fd)
                self._status_fd = None

    def _pass_on_signals(self) -> None:
        """Give the daemon the signals that have come, or remember them until it is ready."""
        try:
            come = PASSED_ON.intersection(os.read(self._wakeup, 512))
        except BlockingIOError:
            come = set()
        if come & ENDING:
            self._next_start = 0.0
        self._signals |= come
        if self._channel is None or not (self._channel.ready or self._generation == 0):
            return
        for number in sorted(self._signals):
            os.kill(self._daemon, number)
        self._ending |= self._signals & ENDING
        self._signals.clear()

    def _reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._daemon and self._channel is not None:
                self._daemon_has_ended(status)
            else:
                self._ends.note(pid, status)

    def _daemon_has_ended(self, status: int) -> None:
        self._listen(sys.maxsize)  # whatever it had still sent counts
        channel, self._channel = self._channel, None
        assert channel is not None
        channel.socket.close()
        is_first = self._generation == 0
        if channel.final is not None and (channel.ready or is_first):
            self._code = channel.final
            return
        code = os.waitstatus_to_exitcode(status)
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
        say(f"the daemon has ended: {why}")
        if is_first and not channel.ready:
            self._code = max(code, DIED)
        elif self._signals & ENDING and not channel.ready:
            say(f"cannot end the programs; left alone: {children()}")
            self._code = DIED
        else:
            self._start_again_later(why)

    def _start_again_later(self, why: str) -> None:
        self._generation += 1
        self._last_end = why
        self._signals |= self._ending  # the next one has to go on with it
        now = time.monotonic()
        is_early = now - self._started < self._early_seconds
        self._early_ends = self._early_ends + 1 if is_early else 1
        seconds = min(delay(self._early_ends), 1.0 if self._signals & ENDING else LONGEST_DELAY)
        say(f"the next one is started in {seconds:g} s")
        self._next_start = now + seconds

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
