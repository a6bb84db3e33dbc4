"""Output that goes to no file, from real daemons: streams, FIFOs and syslog servers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

LINES = """
    import sys, time
    count = 0
    while True:
        count += 1
        print(count, "x" * 90, flush=True)
        if count == int(sys.argv[1]):
            open(sys.argv[2], "w").close()
            time.sleep(1000)
    """


class Reader:
    """Reads what comes, when it is asked for."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.data = b""

    def read(self) -> str:
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self.descriptor, 1 << 16):
                self.data += more
        return self.data.decode()

    def wait_for(self, text: str) -> str:
        wait_until(lambda: text in self.read(), lambda: f"{text!r} in {self.data[-1000:]!r}")
        return self.data.decode()


@pytest.fixture
def pipe() -> Iterator[tuple[Reader, int]]:
    read_end, write_end = os.pipe()
    yield Reader(read_end), write_end
    os.close(read_end)
    os.close(write_end)


def shell(name: str, script: str, *keys: str) -> str:
    lines = "".join(f"  {key}\n" for key in keys)
    return f"<program {name}>\n  command /bin/sh -c '{script}'\n{lines}</program>\n"


class TestContainer:
    """``supervisord -n`` with its standard output in a pipe."""

    def test_lines_of_two_programs_and_of_the_daemon(
        self, daemon: Daemon, pipe: tuple[Reader, int]
    ) -> None:
        reader, write_end = pipe
        to_stdout = ("logfile /dev/stdout", "log-format text")
        daemon.write(
            shell("web", "echo one; printf tw; sleep 0.2; echo o; exec sleep 1000", *to_stdout)
            + shell("db", "echo hello; printf unfinished", *to_stdout, "auto-restart false")
        )
        daemon.start_in_foreground(stdout=write_end)
        for text in ("web | one\n", "web | two\n", "db | hello\n", "db | unfinished\n"):
            reader.wait_for(text)
        reader.wait_for(" info db: ")
        done = daemon.ctl("tail", "web")
        assert done.returncode == 4
        assert done.stderr == "its output goes to supervisord's /dev/stdout and is not kept\n"

    def test_json_lines_with_errors_apart(self, daemon: Daemon, pipe: tuple[Reader, int]) -> None:
        reader, write_end = pipe
        keys = ("logfile /dev/stdout", "stderr-logfile /dev/stdout", "log-format json")
        daemon.write(shell("web", "echo one; echo two >&2; exec sleep 1000", *keys))
        daemon.start_in_foreground(stdout=write_end)
        reader.wait_for('"stream": "stdout", "line": "one"}\n')
        text = reader.wait_for('"stream": "stderr", "line": "two"}\n')
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert {line["program"] for line in lines} == {"web"}

    def test_a_reader_that_has_stalled_keeps_nobody_waiting(
        self, daemon: Daemon, pipe: tuple[Reader, int]
    ) -> None:
        reader, write_end = pipe
        command = daemon.python("lines", LINES)
        daemon.write(
            f"<program loud>\n  command {command} 20000 {daemon.place}/done\n"
            "  logfile /dev/stdout\n  log-format text\n</program>\n"
        )
        daemon.start_in_foreground(stdout=write_end)
        wait_until((daemon.place / "done").exists, "the program was not kept waiting", 60)
        wait_until(
            lambda: "its output is being lost" in daemon.ask("status"),
            lambda: daemon.ask("status"),
        )
        assert "loud: its output is being lost" in daemon.ask("status")
        text = reader.wait_for("loud ! -- supervisord: ")
        text = reader.wait_for(" --\n")
        found = [int(number) for number in re.findall(r"^loud \| (\d+) x+$", text, re.MULTILINE)]
        assert found == list(range(1, len(found) + 1)), "all up to where something is missing"
        lost = re.search(r"supervisord: (\d+) bytes are missing here", text)
        assert lost is not None
        written = sum(len(f"{number} ") + 91 for number in range(1, 20001))
        kept = sum(len(f"{number} ") + 91 for number in found)
        assert int(lost[1]) == written - kept
        wait_until(lambda: "bytes of its output were lost" in daemon.ask("status"), "it is told")


class TestFile:
    def test_lines_are_formed_in_another_way_by_a_reload(self, daemon: Daemon) -> None:
        script = 'trap "echo line" USR1; echo ready; while :; do sleep 0.05; done'
        daemon.write(f"<program web>\n  command /bin/sh -c '{script}'\n</program>\n")
        daemon.start()
        daemon.wait_for_output("web", "ready\n")
        pid = daemon.pid_of("web")
        for keys, expected in (
            ("log-format text", r"^web \| line$"),
            ("log-format text\nlog-time yes", r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d web \| line$"),
            ("log-format json", r'^\{"time": .*"line": "line"\}$'),
        ):
            daemon.write(f"<program web>\n  command /bin/sh -c '{script}'\n{keys}\n</program>\n")
            assert "updated in place" in daemon.ask("reload")
            daemon.ask("signal", "USR1", "web")
            wait_until(
                lambda expected=expected: re.search(expected, daemon.output("web"), re.MULTILINE),
                lambda: daemon.output("web"),
            )
        assert daemon.pid_of("web") == pid
        assert daemon.ask("tail", "-1", "web").startswith("{")

    def test_where_a_daemon_has_died_something_may_be_missing(self, daemon: Daemon) -> None:
        script = 'trap "echo line" USR1; echo ready; while :; do sleep 0.05; done'
        keys = "  log-format text\n"
        daemon.write(f"<program web>\n  command /bin/sh -c '{script}'\n{keys}</program>\n")
        daemon.start()
        daemon.wait_for_output("web", "web | ready\n")
        pid, old = daemon.pid_of("web"), daemon.pid
        os.kill(old, signal.SIGKILL)
        daemon.hang_up()

        def is_new() -> bool:
            text = daemon.pidfile.read_text()
            return text.endswith("\n") and int(text) != old

        wait_until(is_new, "there is another daemon", 30)
        daemon.note_pids(int(daemon.pidfile.read_text()))
        os.kill(pid, signal.SIGUSR1)
        text = daemon.wait_for_output("web", "web | line\n")
        gap = "web ! -- supervisord: output may be missing here: supervisord died --\n"
        assert text == f"web | ready\n{gap}web | line\n"


class TestFifo:
    def test_without_a_reader_the_program_goes_on(self, daemon: Daemon) -> None:
        fifo = daemon.place / "fifo"
        os.mkfifo(fifo)
        daemon.account.own(fifo)
        command = daemon.python("lines", LINES)
        daemon.write(
            f"<program loud>\n  command {command} 20000 {daemon.place}/done\n"
            f"  logfile {fifo}\n</program>\n"
        )
        daemon.start()
        wait_until((daemon.place / "done").exists, "the program was not kept waiting", 60)
        wait_until(
            lambda: "loud: its output is being lost, " in daemon.ask("status"),
            lambda: daemon.ask("status"),
        )
        reader = Reader(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        try:
            text = reader.wait_for("bytes are missing here: it is not read fast enough --\n")
        finally:
            os.close(reader.descriptor)
        assert text.startswith("1 x")

    def test_in_a_directory_of_others_it_is_not_opened(self, daemon: Daemon) -> None:
        place = daemon.directory("open")
        place.chmod(0o777)
        os.mkfifo(place / "fifo")
        daemon.write(shell("web", "exec sleep 1000", f"logfile {place}/fifo"))
        daemon.start()
        row = daemon.wait_for("web", "FATAL")
        assert "log not writable" in str(row)


class Server:
    """A syslog server on this machine."""

    def __init__(self, made: socket.socket) -> None:
        made.settimeout(30)
        self.socket = made

    def receive(self) -> str:
        return self.socket.recv(65536).decode()


class TestSyslog:
    @pytest.fixture
    def started(self, daemon: Daemon) -> Callable[..., None]:
        def start(address: str, *keys: str) -> None:
            daemon.write(
                shell(
                    "web",
                    "echo one; sleep 0.2; echo two >&2; exec sleep 1000",
                    *("logfile syslog", "stderr-logfile syslog", f"syslog-address {address}"),
                    *keys,
                )
            )
            daemon.start()

        return start

    def test_a_local_server(self, daemon: Daemon, started: Callable[..., None]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            server = Server(made)
            made.bind(str(daemon.place / "log"))
            daemon.account.own(daemon.place / "log")
            started(f"{daemon.place}/log", "syslog-facility local0", "syslog-tag shop")
            assert re.fullmatch(r"<134>\w{3} [ \d]\d \d\d:\d\d:\d\d shop: one", server.receive())
            assert re.fullmatch(r"<131>\w{3} [ \d]\d \d\d:\d\d:\d\d shop: two", server.receive())

    def test_a_local_server_that_comes_later(
        self, daemon: Daemon, started: Callable[..., None]
    ) -> None:
        started(f"{daemon.place}/log")
        wait_until(
            lambda: "web: its output is waiting: syslog at" in daemon.ask("status"),
            lambda: daemon.ask("status"),
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            server = Server(made)
            made.bind(str(daemon.place / "log"))
            daemon.account.own(daemon.place / "log")
            assert server.receive().endswith(" web: one")
            assert server.receive().endswith(" web: two")

    def test_udp(self, started: Callable[..., None]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            server = Server(made)
            made.bind(("127.0.0.1", 0))
            started(f"udp:localhost:{made.getsockname()[1]}")
            host = re.escape(socket.gethostname())
            for number, text in ((30, "one"), (27, "two")):
                expected = rf"<{number}>1 [-\d]+T[:.\d]+Z {host} web - - - {text}"
                assert re.fullmatch(expected, server.receive())

    def test_tcp(self, started: Callable[..., None]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as made:
            started(f"tcp:localhost:{made.getsockname()[1]}")
            made.settimeout(30)
            connection, _ = made.accept()
            with connection:
                server = Server(connection)
                text = ""
                while not text.endswith("two"):
                    text += server.receive()
        found = []
        while text:
            count, _, text = text.partition(" ")
            found.append(text[: int(count)])
            text = text[int(count) :]
        assert [message.rpartition(" ")[2] for message in found] == ["one", "two"]
