"""The holder: the small process that stands behind the daemon, and is what others wait for.

``supervisord`` starts the holder, the holder starts the daemon. It keeps the lock on the state
directory, passes signals on, tells the one who waits when the daemon is ready, and exits with the
code that the daemon announces. As process 1 of a container it reaps whatever is left to it.

It must never fail, so it is the simplest code of the project: standard library only, run by its path
with ``python -I -S -E``, no imports of our own, nothing that grows.

The daemon sends lines over a socket whose number is in SUPERVISOR_HOLDER_FD::

    ready            listeners are bound
    final CODE       I am about to exit on purpose, with CODE
"""

import contextlib
import os
import select
import signal
import socket
import sys

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
DIED = 1
MAX_LINE = 4096


def main() -> int:
    """Start the daemon and hold it; return the exit code."""
    status_fd, command = read_command_line(sys.argv[1:])
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("supervisor-hold")  # what ps and pgrep show
    if status_fd is not None:
        os.set_inheritable(status_fd, False)  # ours alone: its end tells that we are done
    wakeup_read, wakeup_write = os.pipe()
    for end in (wakeup_read, wakeup_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    ours, theirs = link()
    daemon = start(command, theirs)
    theirs.close()
    return hold(daemon, ours, wakeup_read, status_fd)


def read_command_line(words: list[str]) -> tuple[int | None, list[str]]:
    """Return where to write 'ready', once, if anywhere, and the command of the daemon.

    Only supervisord writes it: --lock-fd=N, the locked file, which is kept open and no more;
    --status-fd=N; and behind -- the command. argparse would cost 1.3 MiB for as long as we live.
    """
    end = words.index("--")
    options = dict(word.split("=", 1) for word in words[:end])
    status_fd = options.get("--status-fd")
    return None if status_fd is None else int(status_fd), words[end + 1 :]


def link() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of the connection between holder and daemon."""
    kind = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_STREAM)
    if sys.platform == "darwin":  # has the name, but not for UNIX sockets
        kind = socket.SOCK_STREAM
    return socket.socketpair(socket.AF_UNIX, kind)


def start(command: list[str], theirs: socket.socket) -> int:
    """Start the daemon in a session of its own, so that a Ctrl-C reaches it once, through us."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        theirs.set_inheritable(True)
        os.environ["SUPERVISOR_HOLDER_FD"] = str(theirs.fileno())
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"supervisord: cannot start {command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def hold(daemon: int, ours: socket.socket, wakeup_read: int, status_fd: int | None) -> int:
    """Pass on signals and messages until the daemon has ended; return the exit code."""
    heard = Messages(ours, status_fd)
    watched = [ours.fileno(), wakeup_read]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if ours.fileno() in readable and not heard.receive():
            watched.remove(ours.fileno())  # the daemon is ending; SIGCHLD tells the rest
        if wakeup_read in readable:
            numbers = os.read(wakeup_read, 512)
            for number in numbers:
                if number in PASSED_ON:
                    os.kill(daemon, number)  # not reaped yet, so the number is still the daemon's
            status = reap(daemon) if signal.SIGCHLD in numbers else None
            if status is not None:
                heard.receive()
                return exit_code(heard.final, status)


class Messages:
    """What the daemon says, and what was announced so far."""

    def __init__(self, ours: socket.socket, status_fd: int | None) -> None:
        ours.setblocking(False)
        self._ours = ours
        self._status_fd = status_fd
        self._rest = b""
        self.final: int | None = None

    def receive(self) -> bool:
        """Take in everything that has arrived; return False once the daemon has closed its end."""
        while True:
            try:
                data = self._ours.recv(MAX_LINE)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-MAX_LINE:]
            for line in lines:
                self._heard(line)

    def _heard(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"ready" and self._status_fd is not None:
            tell_ready(self._status_fd)
            self._status_fd = None
        elif word == b"final" and rest.isdigit():
            self.final = int(rest)


def tell_ready(status_fd: int) -> None:
    """Let the one who waits go; nobody is left who reads what we print."""
    with contextlib.suppress(OSError):  # nobody may be waiting any more
        os.write(status_fd, b"ready\n")
    os.close(status_fd)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def reap(daemon: int) -> int | None:
    """Collect every child that has ended; return the daemon's status if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == daemon:
            found = status


def exit_code(final: int | None, status: int) -> int:
    """Return what the daemon announced, or else what became of it."""
    if final is not None:
        return final
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.write(2, f"supervisord: the daemon was ended by signal {-code}\n".encode())
    return code if code > 0 else DIED


if __name__ == "__main__":
    sys.exit(main())
