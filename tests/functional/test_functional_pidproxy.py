"""pid-proxy with real processes: small daemons that detach, write pid files, and end."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.needs_linux,
    pytest.mark.skipif(sys.platform != "linux", reason="pid-proxy needs Linux"),
]

PATIENCE = 15.0
STRANGER = 65534

# What the small daemons have in common. Signals are blocked, so that none comes too early; `serve`
# takes them one by one.
PRELUDE = """
import os, signal, sys, time

REPORT, PIDFILE = int(os.environ["REPORT"]), os.environ["PIDFILE"]
TAKEN = [getattr(signal, "SIG" + name) for name in "HUP INT QUIT TERM USR1 USR2".split()]
signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
signal.alarm(60)  # whatever goes wrong, nothing stays


def report(*words):
    os.write(REPORT, (" ".join(str(word) for word in words) + "\\n").encode())


def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        report("pid", os.getpid())
    return pid


def detach(code=0):
    if fork():
        os._exit(code)
    os.setsid()
    if fork():
        os._exit(0)


def write(text=None):
    with open(PIDFILE, "w") as file:
        file.write(f"{os.getpid()}\\n" if text is None else text)


def take():
    number = signal.sigwait(TAKEN)
    report("got", signal.Signals(number).name, os.getpid())
    return number


def serve(code=0):
    report("serving", os.getpid())
    while take() != signal.SIGTERM:
        pass
    os._exit(code)


report("pid", os.getpid())
"""


class Lines:
    """Reads lines from a pipe, as long as patience lasts."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.all: list[str] = []
        self._rest = b""
        self._seen = 0

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)

    def read(self, seconds: float) -> bool:
        """Read what is there or comes soon; false if nothing came."""
        if not select.select([self.reader], [], [], seconds)[0]:
            return False
        *lines, self._rest = (self._rest + os.read(self.reader, 65536)).split(b"\n")
        self.all += [line.decode() for line in lines]
        return True

    def expect(self, start: str) -> str:
        """Return the next line that begins with ``start``, without that beginning."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while self._seen < len(self.all):
                self._seen += 1
                line = self.all[self._seen - 1]
                if line.startswith(start):
                    return line[len(start) :].strip()
            left = deadline - time.monotonic()
            assert left > 0, f"no line {start!r} in {self.all}"
            self.read(left)


class Run:
    """One pid-proxy, and what its daemons and itself tell."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.pid_file = place / "x.pid"
        self.reports = Lines()
        self.errors = Lines()
        self.others: list[subprocess.Popen[bytes]] = []
        self.proxy: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, settings: str = "", through: Sequence[str] = ()) -> None:
        """Run COMMAND under pid-proxy; ``settings`` is Python run before its main function.

        Reports go to standard output, too. ``through`` is a command that runs pid-proxy.
        """
        program = (
            f"import os, sys; from supervisortw.tools import pidproxy\n"
            f"{textwrap.dedent(settings)}\nsys.exit(pidproxy.main())"
        )
        environment = os.environ | {
            "REPORT": str(self.reports.writer),
            "PIDFILE": str(self.pid_file),
        }
        self.proxy = subprocess.Popen(
            [*through, sys.executable, "-c", program, str(self.pid_file), *command],
            stdin=subprocess.DEVNULL,
            stdout=self.reports.writer,
            stderr=self.errors.writer,
            pass_fds=[self.reports.writer],
            env=environment,
        )

    def python(self, body: str, settings: str = "") -> None:
        """Run a small daemon under pid-proxy."""
        script = self.place / "daemon.py"
        script.write_text(PRELUDE + textwrap.dedent(body))
        self.start(sys.executable, "-S", "-E", str(script), settings=settings)

    def send(self, number: int) -> None:
        assert self.proxy is not None
        self.proxy.send_signal(number)

    def expect(self, start: str) -> str:
        return self.reports.expect(start)

    def expect_pid(self, start: str) -> int:
        return int(self.expect(start).split()[-1])

    def expect_error(self, text: str) -> str:
        return self.errors.expect(f"pid-proxy: {text}")

    def ends_with(self, code: int) -> None:
        assert self.proxy is not None
        try:
            assert self.proxy.wait(PATIENCE) == code
        finally:
            self.drain()

    def runs(self) -> bool:
        assert self.proxy is not None
        return self.proxy.poll() is None

    def holds(self, pid: int) -> bool:
        """True if pid-proxy knows the process and holds it."""
        assert self.proxy is not None
        for entry in Path(f"/proc/{self.proxy.pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                if f"\nPid:\t{pid}\n" in entry.read_text():
                    return True
        return False

    def wait_until_held(self, pid: int) -> None:
        wait_until(lambda: self.holds(pid))

    def drain(self) -> None:
        for lines in (self.reports, self.errors):
            while lines.read(0):
                pass

    def other_process(self) -> int:
        """Start a process that is none of pid-proxy's."""
        self.others.append(subprocess.Popen(["sleep", "60"]))
        return self.others[-1].pid

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.reports.close)
            stack.callback(self.errors.close)
            for process in (*self.others, *filter(None, [self.proxy])):
                stack.callback(process.wait, PATIENCE)
                stack.callback(process.kill)
            self.drain()
            for line in self.reports.all:
                if line.startswith("pid "):
                    stack.callback(kill_daemon, int(line[4:]), self.place)


def kill_daemon(pid: int, place: Path) -> None:
    """End a process, if the number is still that of a daemon of ours."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        held = os.pidfd_open(pid)
        try:
            if os.fsencode(place) in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(held, signal.SIGKILL)
                assert select.select([held], [], [], PATIENCE)[0]
        finally:
            os.close(held)


def wait_until(condition: Callable[[], bool]) -> None:
    """For what no event tells of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def is_gone(pid: int) -> bool:
    """True if a process has ended and was reaped."""
    return not os.path.exists(f"/proc/{pid}")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    try:
        yield made
    finally:
        made.close()


SOON = "pidproxy._SUCCESSOR_SECONDS = 0.2"


class TestForegroundCommands:
    @pytest.mark.parametrize(
        ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 128 + 9)]
    )
    def test_the_exit_code_passes(self, run: Run, script: str, code: int) -> None:
        run.start("sh", "-c", script)
        run.ends_with(code)
        assert run.errors.all == []

    def test_arguments_pass_as_they_are(self, run: Run) -> None:
        run.start("sh", "-c", 'printf "%s|" "$0" "$@"', "a b", "", "--help")
        run.ends_with(0)
        assert run.reports._rest == b"a b||--help|"

    def test_the_command_gets_no_handling_of_signals_from_us(self, run: Run) -> None:
        def signals(status: str) -> list[int]:
            lines = dict(line.split(":", 1) for line in status.splitlines())
            # 32 and 33 belong to the C library, which does with them what it likes.
            mask = (1 << 31) - 1
            return [int(lines[field], 16) & mask for field in ("SigIgn", "SigBlk", "SigCgt")]

        command = ["cat", "/proc/self/status"]
        run.start(*command)
        run.ends_with(0)
        without = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert signals("\n".join(run.reports.all)) == signals(without)

    def test_without_a_pid_file_signals_go_to_the_command(self, run: Run) -> None:
        run.python("serve(6)")
        pid = run.expect_pid("serving")
        run.send(signal.SIGHUP)
        assert run.expect_pid("got SIGHUP") == pid
        run.send(signal.SIGTERM)
        run.ends_with(6)
        assert run.errors.all == []

    def test_one_that_names_itself_gets_each_signal_once(self, run: Run) -> None:
        run.python("report('starting'); take(); write(); serve(6)")
        run.expect("starting")
        run.send(signal.SIGTERM)
        run.expect("got SIGTERM")
        run.expect("serving")
        run.send(signal.SIGUSR1)
        run.expect("got SIGUSR1")
        run.send(signal.SIGTERM)
        run.ends_with(6)
        assert sum(line.startswith("got SIGTERM") for line in run.reports.all) == 2

    def test_what_is_ignored_from_birth_stays_ignored(self, run: Run) -> None:
        run.start("sh", "-c", "kill -HUP $PPID; kill -HUP $$; exit 3", through=["nohup"])
        run.ends_with(3)

    def test_one_that_became_another_user_is_told_of(self, run: Run) -> None:
        run.python(
            "serve(5)",
            """
            def refuse(pid, number):
                raise PermissionError
            os.kill = refuse
            """,
        )
        pid = run.expect_pid("serving")
        run.send(signal.SIGTERM)
        run.expect_error(f"SIGTERM not sent: {sys.executable} runs as another user")
        os.kill(pid, signal.SIGTERM)
        run.ends_with(5)

    def test_one_that_is_not_there(self, run: Run) -> None:
        run.start("no-such-command")
        run.expect_error("no-such-command: not found in PATH")
        run.ends_with(127)

    def test_one_that_cannot_be_run(self, run: Run) -> None:
        command = run.place / "command"
        command.write_text("exit 0\n")
        run.start(str(command))
        run.expect_error(f"{command}: cannot be run: Permission denied")
        run.ends_with(126)

    def test_one_that_is_no_program(self, run: Run) -> None:
        command = run.place / "command"
        command.write_text("exit 0\n")
        command.chmod(0o755)
        run.start(str(command))
        run.expect_error(f"{command}: not a program, and no script that begins with #!")
        run.ends_with(126)


class TestDaemons:
    def test_the_exit_code_passes(self, run: Run) -> None:
        run.python("detach(); write(); serve(3)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(3)
        assert run.errors.all == []

    def test_an_end_by_a_signal_is_told(self, run: Run) -> None:
        run.python("detach(); write(); serve()")
        os.kill(run.expect_pid("serving"), signal.SIGKILL)
        run.ends_with(128 + 9)

    def test_all_six_signals_pass(self, run: Run) -> None:
        run.python("detach(); write(); serve()")
        pid = run.expect_pid("serving")
        for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"):
            run.send(signal.Signals[name])
            assert run.expect_pid(f"got {name}") == pid
        run.ends_with(0)

    def test_after_term_it_waits_for_the_end(self, run: Run) -> None:
        run.python("detach(); write(); report('serving'); take(); take(); os._exit(4)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.expect("got SIGTERM")
        assert run.runs()
        run.send(signal.SIGUSR1)
        run.ends_with(4)

    def test_the_same_process_may_run_another_program(self, run: Run) -> None:
        again = "sys.argv[1:] or os.execv(sys.executable, [*sys.orig_argv, 'again'])"
        run.python(f"sys.argv[1:] or detach(); write(); {again}; serve(5)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(5)

    def test_a_removed_pid_file_does_not_matter_any_more(self, run: Run) -> None:
        run.python("detach(); write(); serve(5)")
        pid = run.expect_pid("serving")
        run.send(signal.SIGHUP)
        run.expect("got SIGHUP")
        run.pid_file.unlink()
        run.send(signal.SIGTERM)
        assert run.expect_pid("got SIGTERM") == pid
        run.ends_with(5)
        assert run.errors.all == []

    def test_a_launcher_that_fails_does_not_matter_either(self, run: Run) -> None:
        run.python("detach(code=9); write(); serve(5)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(5)

    def test_a_launcher_that_stays_is_waited_for(self, run: Run) -> None:
        run.python(
            """
            if fork() == 0:
                detach()
                write()
                serve(5)
            take()
            os._exit(9)
            """,
            "pidproxy._SUCCESSOR_SECONDS = 0",
        )
        launcher = run.expect_pid("pid")
        real = run.expect_pid("serving")
        run.wait_until_held(real)
        os.kill(real, signal.SIGTERM)
        wait_until(lambda: is_gone(real))
        run.send(signal.SIGTERM)
        assert run.expect_pid("got SIGTERM") == real
        assert run.expect_pid("got SIGTERM") == launcher
        run.ends_with(5)

    def test_a_launcher_that_stays_speaks_for_its_child(self, run: Run) -> None:
        run.python(
            """
            pid = fork()
            if pid:
                status = os.waitpid(pid, 0)[1]
                os._exit(os.WEXITSTATUS(status) + 10)
            write()
            serve(5)
            """
        )
        pid = run.expect_pid("serving")
        run.send(signal.SIGTERM)
        assert run.expect_pid("got SIGTERM") == pid
        run.ends_with(15)

    def test_a_launcher_that_stays_may_start_its_child_again(self, run: Run) -> None:
        run.python(
            """
            for code in (5, 6):
                pid = fork()
                if pid == 0:
                    write()
                    serve(code)
                status = os.waitpid(pid, 0)[1]
            os._exit(os.WEXITSTATUS(status))
            """
        )
        for _ in range(2):
            pid = run.expect_pid("serving")
            run.send(signal.SIGUSR1)
            assert run.expect_pid("got SIGUSR1") == pid
            run.send(signal.SIGTERM)
        run.ends_with(6)
        assert run.errors.all == []

    def test_a_child_that_was_started_again_is_noticed_at_once(self, run: Run) -> None:
        run.python(
            """
            for code in (5, 6):
                pid = fork()
                if pid == 0:
                    write()
                    serve(code)
                os.waitpid(pid, 0)
                os.unlink(PIDFILE)
            """
        )
        for _ in range(2):
            pid = run.expect_pid("serving")
            run.wait_until_held(pid)
            os.kill(pid, signal.SIGTERM)
        run.ends_with(0)
        assert run.errors.all == []

    def test_a_parent_that_ends_leaves_its_child_to_us(self, run: Run) -> None:
        run.python(
            """
            if fork():
                take()
                os._exit(9)
            write()
            serve(5)
            """
        )
        parent = run.expect_pid("pid")
        run.wait_until_held(run.expect_pid("serving"))
        run.pid_file.unlink()
        os.kill(parent, signal.SIGTERM)
        wait_until(lambda: is_gone(parent))
        run.send(signal.SIGTERM)
        run.ends_with(5)


class TestSuccessors:
    def test_one_that_wrote_before_the_end(self, run: Run) -> None:
        run.python(
            """
            detach()
            write()
            report("first")
            take()
            if fork():
                take()
                os._exit(1)
            os.setsid()
            write()
            serve(5)
            """
        )
        run.expect("first")
        run.send(signal.SIGUSR1)
        first = run.expect_pid("got SIGUSR1")
        second = run.expect_pid("serving")
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: is_gone(first))
        run.send(signal.SIGTERM)
        run.expect(f"got SIGTERM {second}")
        run.ends_with(5)

    def test_one_that_wrote_after_the_end(self, run: Run) -> None:
        run.python(
            """
            detach()
            write()
            report("first")
            take()
            if fork():
                os._exit(1)
            os.setsid()
            take()
            write()
            serve(5)
            """
        )
        run.expect("first")
        run.send(signal.SIGUSR1)
        first = run.expect_pid("got SIGUSR1")
        second = run.expect_pid("pid")
        wait_until(lambda: is_gone(first))
        os.kill(second, signal.SIGUSR2)
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(5)

    def test_none_but_helpers_that_stay_are_left_alone(self, run: Run) -> None:
        run.python(
            """
            detach()
            if fork() == 0:
                os.setsid()
                serve()
            write()
            serve(5)
            """,
            SOON,
        )
        pids = {run.expect_pid("serving"), run.expect_pid("serving")}
        wait_until(run.pid_file.exists)
        run.send(signal.SIGTERM)
        real = run.expect_pid("got SIGTERM")
        run.expect_error(f"{sys.executable} has left other processes, which keep running")
        run.ends_with(5)
        (helper,) = pids - {real}
        os.kill(helper, signal.SIGTERM)
        assert run.expect_pid("got SIGTERM") == helper


class TestLatePidFiles:
    def start(self, run: Run, write: str) -> int:
        """Run a daemon that writes its pid file only when told to; returns its pid."""
        run.python(f"detach(); report('waiting', os.getpid()); take(); {write}; serve(5)")
        launcher = run.expect_pid("pid")
        daemon = run.expect_pid("waiting")
        wait_until(lambda: is_gone(launcher))
        return daemon

    @pytest.mark.parametrize(
        "write",
        [
            "write()",
            "write(''); write()",
            "PIDFILE += '.new'; write(); os.rename(PIDFILE, PIDFILE[:-4])",
        ],
        ids=["at once", "empty first", "renamed"],
    )
    def test_term_is_kept_until_then(self, run: Run, write: str) -> None:
        daemon = self.start(run, write)
        run.send(signal.SIGTERM)
        run.expect_error(f"SIGTERM not sent: {run.pid_file} does not exist (kept until")
        os.kill(daemon, signal.SIGUSR1)
        assert run.expect_pid("got SIGTERM") == daemon
        run.ends_with(5)

    def test_its_directory_may_be_missing(self, run: Run) -> None:
        run.pid_file = run.place / "a" / "b" / "x.pid"
        daemon = self.start(run, "os.makedirs(os.path.dirname(PIDFILE)); write()")
        run.send(signal.SIGTERM)
        run.expect_error("SIGTERM not sent:")
        os.kill(daemon, signal.SIGUSR1)
        assert run.expect_pid("got SIGTERM") == daemon
        run.ends_with(5)

    def test_inotify_may_be_missing(self, run: Run) -> None:
        script = "detach(); report('waiting', os.getpid()); take(); write(); serve(5)"
        run.python(script, "from supervisortw.tools import pidfilewatch as w; w._MASK = 0")
        launcher = run.expect_pid("pid")
        daemon = run.expect_pid("waiting")
        wait_until(lambda: is_gone(launcher))
        run.send(signal.SIGTERM)
        run.expect_error("SIGTERM not sent:")
        os.kill(daemon, signal.SIGUSR1)
        assert run.expect_pid("got SIGTERM") == daemon
        run.ends_with(5)

    def test_term_during_the_start_reaches_launcher_and_daemon(self, run: Run) -> None:
        run.python("report('starting'); take(); detach(); write(); serve(5)")
        run.expect("starting")
        run.send(signal.SIGTERM)
        launcher = run.expect_pid("got SIGTERM")
        assert run.expect_pid("got SIGTERM") != launcher
        run.ends_with(5)

    def test_hup_during_the_start_reaches_the_launcher_only(self, run: Run) -> None:
        run.python("report('starting'); take(); detach(); write(); serve(5)")
        run.expect("starting")
        run.send(signal.SIGHUP)
        run.expect("got SIGHUP")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(5)
        assert sum(line.startswith("got SIGHUP") for line in run.reports.all) == 1

    def test_somebody_hears_of_it(self, run: Run) -> None:
        run.python(
            "detach(); report('waiting'); take(); os._exit(5)", "pidproxy._NOTICE_SECONDS = 0.1"
        )
        run.expect_error(f"{sys.executable} has ended, and {run.pid_file} names no process")
        run.expect("waiting")
        os.kill(max(int(line[4:]) for line in run.reports.all if line[:4] == "pid "), 15)
        run.ends_with(5)

    def test_without_one_the_last_child_counts(self, run: Run) -> None:
        run.python("detach(); report('waiting', os.getpid()); take(); os._exit(8)")
        os.kill(run.expect_pid("waiting"), signal.SIGUSR1)
        run.ends_with(8)

    def test_a_failure_right_after_the_start_counts(self, run: Run) -> None:
        run.python("detach(); os._exit(8)")
        run.ends_with(8)

    def test_a_daemon_that_ended_at_once_has_told_enough(self, run: Run) -> None:
        run.python(
            "report('starting'); take(); detach(); fork() == 0 and serve(); write(); take()"
            "; os._exit(7)",
            SOON,
        )
        run.expect("starting")
        launcher = int(run.reports.all[0][4:])
        run.send(signal.SIGSTOP)
        os.kill(launcher, signal.SIGUSR1)
        run.expect("serving")
        wait_until(lambda: run.pid_file.exists() and run.pid_file.read_text().endswith("\n"))
        daemon = int(run.pid_file.read_text())
        os.kill(daemon, signal.SIGUSR1)
        wait_until(lambda: "\nState:\tZ" in Path(f"/proc/{daemon}/status").read_text())
        run.send(signal.SIGCONT)
        run.ends_with(7)

    def test_what_was_written_before_we_watched_is_seen(self, run: Run) -> None:
        run.python(
            "write(); serve(5)",
            """
            import time
            watch = pidproxy.PidFileWatch
            def watch_late(path):
                while not os.path.exists(path) or not os.path.getsize(path):
                    time.sleep(0.01)
                return watch(path)
            pidproxy.PidFileWatch = watch_late
            """,
        )
        pid = run.expect_pid("serving")
        run.wait_until_held(pid)
        run.send(signal.SIGTERM)
        run.ends_with(5)


class TestFailingLaunchers:
    def test_the_exit_code_passes(self, run: Run) -> None:
        run.python("os._exit(5)")
        run.ends_with(5)

    def test_it_passes_even_if_something_is_left(self, run: Run) -> None:
        run.python("if fork() == 0: serve()\nreport('done'); os._exit(5)", SOON)
        run.expect_error(f"{sys.executable} has left other processes, which keep running")
        run.ends_with(5)


JUNK = ["junk", "-1", "0", "1", "+5", "0x10", "5 6", "５５", "99999999999", "5\n6\n", "1_0"]  # noqa: RUF001


class TestRefusedClaims:
    """What a pid file must not make pid-proxy do."""

    def start(self, run: Run, text: str) -> int:
        """Run a daemon that writes TEXT and, when told to, its own number; returns that."""
        run.python(
            f"detach(); write({text!r}); report('waiting', os.getpid()); take(); write(); serve(5)"
        )
        launcher = run.expect_pid("pid")
        daemon = run.expect_pid("waiting")
        wait_until(lambda: is_gone(launcher))
        return daemon

    def finish(self, run: Run, daemon: int) -> None:
        """See that TERM comes as soon as the pid file is right."""
        os.kill(daemon, signal.SIGUSR1)
        run.expect("got SIGUSR1")
        assert run.expect_pid("got SIGTERM") == daemon
        run.ends_with(5)

    @pytest.mark.parametrize("text", JUNK)
    def test_junk(self, run: Run, text: str) -> None:
        daemon = self.start(run, text)
        run.send(signal.SIGTERM)
        reason = run.expect_error(f"SIGTERM not sent: {run.pid_file} holds ")
        assert ", which is no process id (kept until" in reason
        self.finish(run, daemon)

    def test_a_number_too_large_for_the_kernel(self, run: Run) -> None:
        daemon = self.start(run, "9999999999")
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process 9999999999, which does not exist"
        )
        self.finish(run, daemon)

    def test_a_process_that_has_ended(self, run: Run) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        daemon = self.start(run, str(ended.pid))
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process {ended.pid}, which does not exist"
        )
        self.finish(run, daemon)

    def test_a_process_of_somebody_else_s(self, run: Run) -> None:
        other = run.other_process()
        daemon = self.start(run, str(other))
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process {other}, "
            f"which was not started by pid-proxy"
        )
        assert run.others[0].poll() is None
        self.finish(run, daemon)

    def test_pid_proxy_itself(self, run: Run) -> None:
        run.python(
            "detach(); write(str(os.getppid())); report('waiting', os.getpid()); take(); write();"
            "serve(5)".replace("os.getppid()", "int(open('/proc/self/stat').read().split()[3])")
        )
        launcher = run.expect_pid("pid")
        daemon = run.expect_pid("waiting")
        wait_until(lambda: is_gone(launcher))
        assert run.proxy is not None
        run.pid_file.write_text(f"{run.proxy.pid}\n")
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process {run.proxy.pid}, "
            f"which is pid-proxy itself"
        )
        self.finish(run, daemon)

    def test_a_link(self, run: Run) -> None:
        daemon = self.start(run, "")
        run.pid_file.rename(run.place / "real.pid")
        (run.place / "real.pid").write_text(f"{daemon}\n")
        run.pid_file.symlink_to("real.pid")
        run.send(signal.SIGTERM)
        run.expect_error(f"SIGTERM not sent: {run.pid_file} is a link, which is not followed")
        run.pid_file.unlink()
        self.finish(run, daemon)

    def test_a_fifo(self, run: Run) -> None:
        daemon = self.start(run, "")
        run.pid_file.unlink()
        os.mkfifo(run.pid_file)
        run.send(signal.SIGTERM)
        run.expect_error(f"SIGTERM not sent: {run.pid_file} is not a regular file")
        run.pid_file.unlink()
        self.finish(run, daemon)

    def test_one_left_over_from_an_earlier_start(self, run: Run) -> None:
        other = run.other_process()
        run.pid_file.write_text(f"{other}\n")
        run.python("detach(); report('waiting', os.getpid()); take(); write(); serve(5)")
        launcher = run.expect_pid("pid")
        daemon = run.expect_pid("waiting")
        wait_until(lambda: is_gone(launcher))
        run.send(signal.SIGTERM)
        run.expect_error(f"SIGTERM not sent: {run.pid_file} is left over from an earlier start")
        assert run.others[0].poll() is None
        self.finish(run, daemon)

    def test_one_left_over_says_nothing_about_a_foreground_command(self, run: Run) -> None:
        other = run.other_process()
        run.pid_file.write_text(f"{other}\n")
        run.python("serve(5)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.ends_with(5)
        assert run.others[0].poll() is None
        assert run.errors.all == []

    def test_a_command_that_still_runs_gets_the_signal_instead(self, run: Run) -> None:
        other = run.other_process()
        run.python(f"write('{other}'); serve(5)")
        run.expect("serving")
        run.send(signal.SIGTERM)
        run.expect_error(
            f"{run.pid_file} names process {other}, which was not started by pid-proxy; "
            f"SIGTERM sent to {sys.executable}, which still runs"
        )
        run.ends_with(5)
        assert run.others[0].poll() is None

    def test_the_real_process_stays_the_real_one(self, run: Run) -> None:
        other = run.other_process()
        run.python("detach(); write(); serve(5)")
        daemon = run.expect_pid("serving")
        run.send(signal.SIGHUP)
        run.expect("got SIGHUP")
        run.pid_file.write_text(f"{other}\n")
        run.send(signal.SIGTERM)
        run.expect_error(
            f"{run.pid_file} names process {other}, which was not started by pid-proxy; "
            f"SIGTERM sent to process {daemon}, which it named before"
        )
        run.ends_with(5)
        assert run.others[0].poll() is None


needs_root = [
    pytest.mark.needs_root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users"),
]


class TestOtherUsers:
    pytestmark = needs_root

    def test_a_descendant_that_became_another_user_is_refused(self, run: Run) -> None:
        run.python(f"detach(); write(); os.setuid({STRANGER}); serve(5)")
        daemon = run.expect_pid("serving")
        launcher = int(run.reports.all[0][4:])
        wait_until(lambda: is_gone(launcher))
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process {daemon}, "
            f"which runs as uid {STRANGER}; pid-proxy runs as uid 0"
        )
        os.kill(daemon, signal.SIGTERM)
        run.ends_with(5)

    def test_half_another_user_is_refused_as_well(self, run: Run) -> None:
        run.python(f"detach(); write(); os.setresuid(0, {STRANGER}, 0); serve(5)")
        daemon = run.expect_pid("serving")
        launcher = int(run.reports.all[0][4:])
        wait_until(lambda: is_gone(launcher))
        run.send(signal.SIGTERM)
        run.expect_error(
            f"SIGTERM not sent: {run.pid_file} names process {daemon}, "
            f"which runs as uid 0, {STRANGER}; pid-proxy runs as uid 0"
        )
        os.kill(daemon, signal.SIGTERM)
        run.ends_with(5)

    def test_a_process_of_root_is_refused_to_others(self, run: Run) -> None:
        other = run.other_process()
        with tempfile.TemporaryDirectory() as public:
            shutil.chown(public, STRANGER)
            run.pid_file = Path(public) / "x.pid"
            run.start(
                "sh",
                "-c",
                f'echo {other} > "$PIDFILE"; trap "exit 5" TERM; echo ready; '
                f"while :; do sleep 0.05; done",
                settings=f"os.setgid({STRANGER}); os.setuid({STRANGER})",
            )
            run.expect("ready")
            run.send(signal.SIGTERM)
            run.expect_error(
                f"{run.pid_file} names process {other}, which runs as uid 0; "
                f"pid-proxy runs as uid {STRANGER}; SIGTERM sent to sh"
            )
            run.ends_with(5)
        assert run.others[0].poll() is None
