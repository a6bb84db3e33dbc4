"""Stays in the foreground in place of a program that detaches itself: ``pid-proxy``.

A supervisor runs pid-proxy; pid-proxy runs COMMAND, adopts whatever COMMAND leaves behind, learns
from the pid file which of these processes is the real one, passes signals on to it, and ends when
it ends, with its exit code. Linux only: other systems do not let a process adopt its orphans, nor
hold a process against the reuse of its number; there pid-proxy says so and ends with 69.

What it decides where the matter is open:

* A pid file that is there before the start, and unchanged since, is left over and says nothing.
* As long as the real process is not known, signals go to COMMAND. TERM, INT and QUIT are kept as
  well, for the real process, because COMMAND may just have finished; after COMMAND has ended all
  signals are kept.
* What the pid file names is judged anew for each signal (see `claim`). If it is refused, the signal
  goes to the process that was the real one until then, if that still runs and passes.
* If COMMAND fails, or the real process ends, while other processes of ours still run, pid-proxy
  waits two seconds for a pid file that names one of them: a program may have replaced itself. Then
  it ends, and leaves the others alone. Only COMMAND itself is waited for as long as it runs.
* If no pid file is ever written, the last child that ends gives the exit code.
* KILL cannot be passed on: it ends pid-proxy and leaves the real process to itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from supervisortw import __version__
from supervisortw.tools.claim import ClaimRefused, Descendant, NoClaim, PidFile
from supervisortw.tools.endings import Endings
from supervisortw.tools.pidfilewatch import PidFileWatch

USAGE = "Usage: pid-proxy PIDFILE COMMAND [ARGUMENT]..."
HELP = f"""{USAGE}

Runs COMMAND, which may detach itself, and stays in the foreground until the
process that PIDFILE names has ended; ends with the exit code of that process
(128+N if signal N ended it).

HUP, INT, QUIT, TERM, USR1 and USR2 are passed on to that process, if it runs as
the same user and descends from COMMAND. Where COMMAND becomes another user, run
pid-proxy as that user. KILL cannot be passed on: a pid-proxy that is killed
leaves the process running.

      --help     show this and exit
      --version  show the version and exit

Exit codes of its own: 2 wrong usage, 69 not possible on this system (it needs
Linux 5.3 or later and /proc), 126 COMMAND cannot be run, 127 COMMAND not found.
"""

WRONG_USAGE, NOT_POSSIBLE, NOT_RUNNABLE, NOT_FOUND = 2, 69, 126, 127

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

_SUCCESSOR_SECONDS = 2.0  # how long a successor of the real process may take to write the pid file
_NOTICE_SECONDS = 10.0  # after so long without a pid file somebody should hear of it

_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pid-proxy with ``arguments``, else those of the process; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--help"]:
        sys.stdout.write(HELP)
        return 0
    if words[:1] == ["--version"]:
        sys.stdout.write(f"pid-proxy {__version__}\n")
        return 0
    if words[:1] == ["--"]:
        del words[0]
    elif words and words[0].startswith("-"):
        return _usage(f"unknown option {words[0]}")
    if len(words) < 2 or not words[0]:
        return _usage("PIDFILE and COMMAND are needed")
    missing = _what_is_missing()
    if missing:
        _say(missing)
        return NOT_POSSIBLE
    return PidProxy(words[0], words[1:]).run()


def _usage(problem: str) -> int:
    _say(problem)
    sys.stderr.write(f"{USAGE}\n")
    return WRONG_USAGE


class PidProxy:
    """One run of pid-proxy: a command, its pid file, and the process that the file names."""

    def __init__(self, path: str, command: Sequence[str]) -> None:
        self._command = list(command)
        self._pid_file = PidFile(path)
        self._real: Descendant | None = None
        self._watch: PidFileWatch | None = None
        self._received: list[int] = []
        # Signals for a real process that is not known yet; true: COMMAND has had it.
        self._kept: dict[int, bool] = {}
        self._end_at: float | None = None
        self._notice_at: float | None = None

    def run(self) -> int:
        """Run the command and wait; return the exit code."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in FORWARDED:
            # What is ignored from birth on (nohup, a shell's background job) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {*FORWARDED, signal.SIGCHLD})
        try:
            launcher = self._start(mask)
        except OSError as error:
            return self._cannot_start(error)
        self._endings = Endings(launcher)
        while True:
            self._wait()
            code = self._reap()
            if code is not None:
                return code
            if not self._is_real_known():
                self._look()
            while self._received:
                self._pass_on(self._received.pop(0))

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._received.append(number)

    def _start(self, mask: set[int | signal.Signals]) -> int:
        # Python ignores these two for itself; the command shall not inherit that.
        defaults = [signal.SIGPIPE, signal.SIGXFSZ]
        return os.posix_spawnp(
            self._command[0],
            self._command,
            os.environ,
            setsigmask=mask,
            setsigdef=defaults,
        )

    def _cannot_start(self, error: OSError) -> int:
        name = self._command[0]
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            where = "" if "/" in name else " in PATH"
            _say(f"{name}: not found{where} (nor, if it is a script, its interpreter)")
            return NOT_FOUND
        if error.errno == errno.ENOEXEC:
            _say(f"{name}: not a program, and no script that begins with #!")
        else:
            _say(f"{name}: cannot be run: {error.strerror}")
        return NOT_RUNNABLE

    def _is_real_known(self) -> bool:
        return self._real is not None and self._real.is_alive()

    def _wait(self) -> None:
        """Sleep until a signal, the end of a process, news of the pid file, or a deadline."""
        self._watch_or_not()
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        deadlines = [
            at - time.monotonic() for at in (self._end_at, self._notice_at) if at is not None
        ]
        if self._watch is not None:
            if self._watch.fd >= 0:
                poll.register(self._watch.fd, select.POLLIN)
            pause = self._watch.pause()
            if pause is not None:
                deadlines.append(pause)
        elif self._real is not None:
            # Its end is told even while its parent, which is not us, has not taken notice.
            poll.register(self._real.fd, select.POLLIN)
        timeout = max(0, min(deadlines)) * 1000 + 1 if deadlines else None
        for fd, _ in poll.poll(timeout):
            if fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            elif self._watch is not None and fd == self._watch.fd:
                self._watch.renew()

    def _watch_or_not(self) -> None:
        """Watch the pid file as long as the real process is not known."""
        if self._watch is None and not self._is_real_known():
            self._watch = PidFileWatch(self._pid_file.path)
            self._look()  # what was written before we watched is not told
        if self._watch is not None and self._is_real_known():
            self._watch.close()
            self._watch = None

    def _look(self) -> ClaimRefused | None:
        """See what the pid file names; returns why it is not believed, or None."""
        try:
            named = self._pid_file.hold()
        except ClaimRefused as refusal:
            return refusal
        if self._real is not None:
            self._real.close()
        self._real = named
        self._endings.found(named.branch)
        self._end_at = self._notice_at = None
        if named.is_alive():
            kept, self._kept = self._kept, {}
            for number, launcher_had_it in kept.items():
                if not (launcher_had_it and named.pid == self._endings.launcher):
                    self._send(named, number)
        return None

    def _pass_on(self, number: int) -> None:
        name = signal.Signals(number).name
        refusal = self._look()
        unbelieved = refusal is not None and not isinstance(refusal, NoClaim)
        if self._real is not None and self._real.is_alive():
            if self._send(self._real, number) and unbelieved:
                _say(f"{refusal}; {name} sent to process {self._real.pid}, which it named before")
        elif self._endings.launcher_runs:
            if number in ENDING:
                self._kept[number] = True
            try:
                # Our own child, and not reaped: its number is its own.
                os.kill(self._endings.launcher, number)
            except PermissionError:
                _say(f"{name} not sent: {self._command[0]} runs as another user")
            else:
                if unbelieved:
                    _say(f"{refusal}; {name} sent to {self._command[0]}, which still runs")
        else:
            self._kept[number] = False
            reason = refusal or f"{self._pid_file.path} names a process that has ended"
            _say(f"{name} not sent: {reason} (kept until it names a process of ours)")

    def _send(self, process: Descendant, number: int) -> bool:
        try:
            process.send(number)
        except ClaimRefused as refusal:
            name = signal.Signals(number).name
            _say(f"{name} not sent: {self._pid_file.path} names process {process.pid}, {refusal}")
            return False
        return True

    def _reap(self) -> int | None:
        """Take notice of the children that have ended; returns the exit code if that was all."""
        together = False
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return self._endings.final()
            if ended is None:
                break
            # As long as it is not reaped it can still be found by what it wrote into the pid file.
            if not self._is_real_known():
                self._look()
            _, status = os.waitpid(ended.si_pid, 0)
            self._reaped(ended.si_pid, os.waitstatus_to_exitcode(status), together=together)
            together = True
        now = time.monotonic()
        if self._notice_at is not None and now >= self._notice_at:
            self._notice_at = None
            _say(
                f"{self._command[0]} has ended, and {self._pid_file.path} names no process that it "
                f"left: signals are kept until it does"
            )
        if self._end_at is not None and now >= self._end_at:
            _say(f"{self._command[0]} has left other processes, which keep running")
            return self._endings.final()
        return None

    def _reaped(self, pid: int, code: int, *, together: bool) -> None:
        code = code if code >= 0 else 128 - code
        was_branch = pid == self._endings.branch
        self._endings.ended(pid, code, together=together)
        if was_branch and self._real is not None:
            try:
                # A parent of the real process has ended, and the real one has moved up to us.
                self._endings.found(self._real.find_branch())
            except ClaimRefused:
                self._real.close()
                self._real = None
        if self._endings.launcher_runs:
            return
        if self._endings.outcome is not None:
            if self._end_at is None:
                self._end_at = time.monotonic() + _SUCCESSOR_SECONDS
                self._notice_at = None
        elif pid == self._endings.launcher and not self._is_real_known():
            self._notice_at = time.monotonic() + _NOTICE_SECONDS


def _what_is_missing() -> str:
    """Why pid-proxy cannot work on this system; empty if it can."""
    if sys.platform != "linux":
        return f"needs Linux; {sys.platform} lets no process adopt what another leaves behind"
    try:
        os.close(os.pidfd_open(os.getpid()))
        if os.readlink("/proc/self") != str(os.getpid()):
            return "needs a /proc that belongs to its own pid namespace"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            return f"cannot adopt processes: {os.strerror(ctypes.get_errno())}"
    except OSError as error:
        return f"needs Linux 5.3 or later, and /proc: {error.strerror}"
    return ""


def _say(text: str) -> None:
    """Write one line to stderr; a stderr that is gone is no reason to stop."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    with contextlib.suppress(OSError):
        os.write(2, f"pid-proxy: {line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
