"""One daemon of a test: its files, the installed programs that start and steer it, what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

from functional_account import Account
from functional_processes import PATIENCE, is_alive, stat_of, wait_until, wait_until_gone
from functional_shell import Shell

LONGEST_COMMAND = 45.0

Command = Sequence["str | os.PathLike[str]"]
Completed = subprocess.CompletedProcess[str]


def installed(program: str) -> str:
    """Return the path of an installed program."""
    return os.path.join(os.path.dirname(sys.executable), program)


@dataclass(frozen=True, slots=True)
class Row:
    """One program in the table of `status`."""

    state: str
    pid: int
    since: str
    detail: str

    @property
    def seconds(self) -> float:
        """How long it has been so: ``0.4 s``, ``12 s``, ``3:05``, ``4 d 01:02:03``."""
        days, _, rest = self.since.rpartition(" d ")
        total = 0.0
        for part in rest.removesuffix(" s").split(":"):
            total = 60 * total + float(part)
        return total + 86400 * float(days or 0)


@dataclass(frozen=True, slots=True)
class Status:
    """What `status` prints."""

    sockets: str
    pid: int
    up: tuple[str, ...]
    down: tuple[str, ...]
    notes: tuple[str, ...]
    programs: dict[str, Row]

    @classmethod
    def parse(cls, text: str) -> Status:
        """Read the lines; an unexpected one is an error."""
        head, _, table = text.partition("\n\n")
        sockets, pid, up, down, *notes = head.splitlines()
        rows = {}
        for line in table.splitlines()[1:]:
            since = r"\d+(?:\.\d)? s|(?:\d+ d )?[\d:]+"
            fields = re.fullmatch(rf"(\S+) +([A-Z]+) +(-|\d+) +({since})(.*)", line)
            assert fields, line
            name, state, number, since, detail = fields.groups()
            program = 0 if number == "-" else int(number)
            rows[name] = Row(state, program, since.strip(), detail.strip())
        return cls(
            sockets=_value(sockets, "socket="),
            pid=int(_value(pid, "supervisord_pid=")),
            up=_names(_value(up, "up=")),
            down=_names(_value(down, "down=")),
            notes=tuple(_value(note, "note: ") for note in notes),
            programs=rows,
        )


def _value(line: str, key: str) -> str:
    assert line.startswith(key), line
    return line.removeprefix(key)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


class Daemon:
    """A supervisord in a directory of its own, run as ``account``."""

    def __init__(self, place: Path, account: Account) -> None:
        self.place = place
        self.account = account
        self.config = place / "supervisord.conf"
        self.socket = place / "s.sock"
        self.state = place / "state"
        self.log = self.state / "supervisord.log"
        self.pidfile = place / "s.pid"
        self.environment: dict[str, str] = {}
        self.pid = 0
        self.holder = 0
        self.foreground: subprocess.Popen[bytes] | None = None
        self.clients: list[subprocess.Popen[bytes]] = []
        self._shell: Shell | None = None

    # Files.

    def write(self, programs: str = "", settings: str = "") -> None:
        """Write the configuration; short times are set unless ``settings`` says otherwise."""
        keys = {
            "socket-name": self.socket,
            "state-directory": self.state,
            "pidfile": self.pidfile,
            "start-seconds": 0.1,
            "stop-wait-seconds": 10,
        }
        given = dedent(settings).strip()
        own = {line.split()[0] for line in given.splitlines() if line.strip()}
        lines = [f"{key} {value}" for key, value in keys.items() if key not in own]
        inside = "\n".join([*lines, given, dedent(programs).strip()])
        self.save(self.config, f"<supervisord>\n{indent(inside, '  ')}\n</supervisord>\n")

    def save(self, path: Path, text: str, mode: int = 0o644) -> Path:
        """Write a file that belongs to the account."""
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        self.account.own(path)
        return path

    def script(self, name: str, text: str) -> Path:
        """Write an executable file."""
        return self.save(self.place / name, dedent(text).lstrip(), 0o755)

    def python(self, name: str, text: str) -> str:
        """Write a Python program; return the command that runs it."""
        return f"{sys.executable} -I -S {self.script(name, text)}"

    def directory(self, name: str) -> Path:
        """Make a directory of the account's."""
        path = self.place / name
        path.mkdir(mode=0o755)
        self.account.own(path)
        return path

    # The installed programs.

    def run(self, command: Command, input: str | None = None, seconds: float = 0) -> Completed:
        """Run a command as the account, to its end."""
        return subprocess.run(
            self.account.command(command),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=seconds or LONGEST_COMMAND,
            env=self.environment_with(),
            cwd=self.place,
            check=False,
        )

    def begin(self, command: Command, **options: object) -> subprocess.Popen[bytes]:
        """Begin a command as the account; it is ended with the test."""
        chosen = {"stdin": subprocess.DEVNULL, "env": self.environment_with(), "cwd": self.place}
        process = subprocess.Popen(self.account.command(command), **(chosen | options))  # type: ignore[call-overload]
        self.clients.append(process)
        return process

    def supervisord_command(self, *options: str) -> list[str]:
        """Return the command line of supervisord."""
        return [installed("supervisord"), "-c", str(self.config), *options]

    def supervisord(self, *options: str) -> Completed:
        """Run supervisord until it returns."""
        return self.run_supervisord(self.supervisord_command(*options))

    def run_supervisord(self, command: Command) -> Completed:
        """Run a command that becomes supervisord until it returns."""
        done = self.run(command)
        pid = re.search(r"^  pid +(\d+)$", done.stdout, re.MULTILINE)
        if pid:
            self.note_pids(int(pid[1]))
        return done

    def start(self, *options: str) -> Completed:
        """Start the daemon in the background; it is ready when this returns."""
        self._shell = self.open_shell()  # gets ready meanwhile
        done = self.supervisord(*options)
        assert done.returncode == 0, done.stderr
        assert is_alive(self.pid), done.stdout
        return done

    def start_in_foreground(self, *options: str, **popen: object) -> subprocess.Popen[bytes]:
        """Start ``supervisord -n`` in a session of its own, and wait until the daemon is ready."""
        self._shell = self.open_shell()  # gets ready meanwhile
        command = self.supervisord_command("-n", *options)
        self.said = open(self.place / "said", "wb")  # noqa: SIM115  # closed by stop()
        streams = {"stdout": self.said, "stderr": subprocess.STDOUT, "start_new_session": True}
        self.foreground = self.begin(command, **(streams | popen))
        self.wait_until_ready()
        return self.foreground

    def wait_until_ready(self) -> None:
        """Wait until the daemon in the foreground has written its pid file, which it does last."""

        def ready() -> bool:
            assert self.foreground is not None
            assert self.foreground.poll() is None, (self.place / "said").read_text()
            return self.pidfile.exists() and self.pidfile.read_text().endswith("\n")

        wait_until(ready, "supervisord is ready")
        self.note_pids(int(self.pidfile.read_text()))

    def note_pids(self, daemon: int) -> None:
        """Note which process the daemon is, and find its holder."""
        self.pid = daemon
        stat = stat_of(daemon)
        self.holder = stat.parent if stat else 0

    def ctl_command(self, *words: str) -> list[str]:
        """Return the command line of supervisorctl."""
        return [installed("supervisorctl"), "-s", str(self.socket), *words]

    def ctl(self, *words: str, input: str | None = None, seconds: float = 0) -> Completed:
        """Run supervisorctl with a command, or with lines of commands as its input."""
        return self.run(self.ctl_command(*words), input, seconds)

    def ask(self, *words: str) -> str:
        """Return what supervisorctl answers to a command, which must be done without a complaint.

        All commands go through one client, which is a lot faster than one client for each.
        """
        if self._shell is None or self._shell.socket != self.socket:
            self._shell = self.open_shell()
        return self._shell.ask(words)

    def open_shell(self) -> Shell:
        """Open one more client that stays."""
        complaints = self.place / f"complaints{len(self.clients)}"
        pipe = subprocess.PIPE
        with open(complaints, "wb") as errors:
            client = self.begin(self.ctl_command(), stdin=pipe, stdout=pipe, stderr=errors)
        return Shell(client, complaints, self.socket, installed("supervisorctl"))

    def hang_up(self) -> None:
        """Let the next command make a connection of its own."""
        self._shell = None

    def environment_with(self, **more: str) -> dict[str, str]:
        """Return the variables that programs are run with."""
        given = {"PATH": os.environ["PATH"], "HOME": str(self.place), "LANG": "C.UTF-8"}
        return given | self.environment | more

    # How things stand.

    def status(self, *names: str) -> Status:
        """Return the status."""
        return Status.parse(self.ask("status", *names))

    def pid_of(self, name: str) -> int:
        """Return the pid of a program that is up."""
        pid = int(self.ask("pid", name))
        assert pid
        return pid

    def wait_for(self, name: str, state: str, seconds: float = PATIENCE) -> Row:
        """Wait until the log tells that a program has got into a state; return its status row.

        The program must not leave that state by itself.
        """
        pattern = re.compile(rf" info {re.escape(name)}: \w+ -> (\w+)")

        def is_in_state() -> bool:
            states = pattern.findall(self.log_text())
            return bool(states) and states[-1] == state

        wait_until(is_in_state, lambda: f"{name} {state}:\n{self.log_text()}", seconds)
        return self.status(name).programs[name]

    def log_text(self) -> str:
        """Return the daemon's log."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def output(self, name: str) -> str:
        """Return what a program has written to its default log file so far."""
        path = self.state / "log" / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_for_output(self, name: str, text: str) -> str:
        """Wait until a program has written ``text``; return everything it has written."""
        wait_until(
            lambda: text in self.output(name),
            lambda: f"{text!r} from {name}: {self.output(name)!r}",
        )
        return self.output(name)

    # The end.

    def process_ends(self, number: int) -> None:
        """Send a signal to the daemon itself, and wait until it and its holder are gone."""
        os.kill(self.pid, number)
        wait_until_gone(self.pid, self.holder)

    def stop(self) -> None:
        """End the daemon and all clients, by their own pids; called at the end of every test."""
        for client in self.clients:
            if client is not self.foreground:
                _end(client, signal.SIGKILL)
        try:
            if self.foreground is not None:
                _end(self.foreground, signal.SIGTERM)
                self.said.close()
            elif self.pid and is_alive(self.pid):
                os.kill(self.holder or self.pid, signal.SIGTERM)
                wait_until_gone(self.pid, self.holder, seconds=2 * PATIENCE)
        finally:
            print(f"--- {self.log} ---\n{self.log_text()}")


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    with process:  # closes its pipes
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
        try:
            process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
