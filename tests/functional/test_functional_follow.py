"""Logs that are followed while the daemon dies, ends, rotates and empties them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest
from functional_daemon import Daemon
from functional_processes import PATIENCE, wait_until
from functional_survivor import Survivor
from functional_terminal import terminal

# Prints numbered lines until there is a file; each is of as many bytes as it is told.
COUNTER = """
    import os, sys, time
    place, size, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    number = 0
    while not os.path.exists(place + "/enough"):
        os.write(1, b"%d %s\\n" % (number, b"." * (size - len(str(number)) - 2)))
        number += 1
        time.sleep(pause)
    os.write(1, b"the end of %d\\n" % number)
    time.sleep(1000)
    """
LONG = 4 * PATIENCE
AGAIN = "the connection to supervisord was lost; trying again"


@pytest.fixture
def survivor(make_daemon: Callable[..., Survivor]) -> Survivor:
    return make_daemon(kind=Survivor)


class Reader:
    """A supervisorctl that follows something, and what it has said so far."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self._out, self._err = daemon.place / "followed", daemon.place / "remarks"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            command = daemon.ctl_command(*words)
            self.client = daemon.begin(command, stdout=out, stderr=err)

    @property
    def text(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def remarks(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of all whole lines of a counter; a torn one is an error."""
        lines = self.text.splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and "the end" not in line]
        assert all(re.fullmatch(r"\d+ \.*\n", line) for line in whole), whole
        return [int(line.split()[0]) for line in whole]

    def wait_for(self, text: str, seconds: float = LONG) -> None:
        wait_until(lambda: text in self.text, lambda: f"{text}: {self._told()}", seconds)

    def wait_for_remark(self, text: str) -> None:
        wait_until(lambda: text in self.remarks, lambda: f"{text}: {self._told()}", LONG)

    def wait_for_more(self) -> None:
        """Wait until it has shown something that came after now."""
        before = len(self.text)
        wait_until(lambda: len(self.text) > before, self._told, LONG)

    def _told(self) -> str:
        return f"{self.text[-2000:]}\n---\n{self.remarks}\n---\n{self.client.poll()}"

    def interrupt(self) -> None:
        """Press Ctrl-C; that is no failure."""
        self.client.send_signal(signal.SIGINT)
        assert self.client.wait(PATIENCE) == 0


def _count(survivor: Survivor, keys: str = "", size: int = 20, pause: float = 0.01) -> None:
    command = survivor.python("counter", COUNTER)
    survivor.write(f"""
        <program counter>
          command {command} {survivor.place} {size} {pause}
          {keys}
        </program>
        """)
    survivor.start()


def _end(survivor: Survivor, reader: Reader) -> None:
    """Let the counter come to its end, and the reader to the end of its log."""
    (survivor.place / "enough").touch()
    reader.wait_for("the end of ")


@pytest.mark.needs_linux
class TestDeaths:
    def test_every_line_is_shown_once_over_deaths_of_the_daemon(self, survivor: Survivor) -> None:
        _count(survivor)
        reader = Reader(survivor, "tail", "-f", "-n", "100000", "counter")
        for _ in range(3):
            reader.wait_for_more()
            survivor.kill_daemon()
            survivor.wait_until_adopted()
            reader.wait_for_more()
        _end(survivor, reader)
        assert reader.numbers == list(range(len(reader.numbers)))
        assert f"the end of {len(reader.numbers)}\n" in reader.text
        lines = reader.remarks.splitlines()
        lost, found = f"{survivor.socket}: {AGAIN}", f"{survivor.socket}: connected again"
        assert lines == [lost, found] * (len(lines) // 2)
        assert lines
        reader.interrupt()

    def test_also_where_the_file_is_rotated_meanwhile(self, survivor: Survivor) -> None:
        _count(survivor, "logfile-size 64KB\nlogfile-backups 200", size=200, pause=0.001)
        reader = Reader(survivor, "tail", "-f", "-n", "100000", "counter")
        reader.wait_for_more()
        for number in (2, 4, 6):
            survivor.kill_daemon()
            survivor.wait_until_adopted()
            log = survivor.state / "log" / f"counter.log.{number}"
            wait_until(log.exists, f"{log.name}", LONG)
        _end(survivor, reader)
        assert reader.numbers == list(range(len(reader.numbers)))
        assert f"the end of {len(reader.numbers)}\n" in reader.text
        assert "gone" not in reader.remarks

    def test_what_is_gone_is_told(self, survivor: Survivor) -> None:
        _count(survivor, "logfile-size 64KB\nlogfile-backups 1", size=500, pause=0.0002)
        reader = Reader(survivor, "tail", "-f", "-n", "100000", "counter")
        reader.wait_for_more()
        reader.client.send_signal(signal.SIGSTOP)
        survivor.kill_daemon()
        survivor.wait_until_adopted()
        log = survivor.state / "log" / "counter.log"
        for _ in range(4):  # with two files kept, those that it has read from are gone by then
            node = log.stat().st_ino
            wait_until(lambda node=node: log.exists() and log.stat().st_ino != node, "it rotates")
        reader.client.send_signal(signal.SIGCONT)
        reader.wait_for_remark("bytes of the log are gone --")
        _end(survivor, reader)
        lines = reader.text.splitlines()[:-1]
        numbers = [int(line.split()[0]) for line in lines if len(line) == 499]
        torn = [line for line in lines if len(line) != 499]
        gaps = re.findall(r"^-- (\d+) bytes of the log are gone --$", reader.remarks, re.MULTILINE)
        assert numbers == sorted(set(numbers))
        assert len(torn) <= len(gaps)
        missing = numbers[-1] + 1 - numbers[0] - len(numbers)
        told = sum(map(int, gaps)) + sum(map(len, torn))
        assert abs(told - 500 * missing) <= len(gaps)  # one may lack nothing but its end

    def test_a_log_that_is_emptied_meanwhile(self, survivor: Survivor) -> None:
        _count(survivor)
        reader = Reader(survivor, "tail", "-f", "-n", "100000", "counter")
        for _ in range(5):
            reader.wait_for_more()
            assert survivor.ask("clear", "counter") == "counter: log cleared\n"
        _end(survivor, reader)
        numbers = reader.numbers
        assert numbers == sorted(set(numbers))
        gaps = re.findall(r"^-- (\d+) bytes of the log are gone --$", reader.remarks, re.MULTILINE)
        assert sum(map(int, gaps)) == 20 * (numbers[-1] + 1 - len(numbers))
        assert f"the end of {numbers[-1] + 1}\n" in reader.text

    def test_the_daemons_own_log(self, survivor: Survivor) -> None:
        _count(survivor)
        reader = Reader(survivor, "logtail", "-f", "-n", "1000")
        reader.wait_for("counter: STARTING -> RUNNING")
        survivor.kill_daemon()
        survivor.wait_until_adopted()
        survivor.ask("restart", "counter")
        wait_until(lambda: reader.text.count("STARTING -> RUNNING") == 2, lambda: reader.text)
        log = survivor.log_text()
        wait_until(lambda: log in reader.text, lambda: f"{log}\n---\n{reader.text}")

    def test_at_the_prompt_and_ctrl_c_leads_back_to_it(self, survivor: Survivor) -> None:
        _count(survivor)
        with terminal(survivor, "xterm", "-s", str(survivor.socket)) as shell:
            shell.wait_for_prompt()
            shell.type("tail -f -n 3 counter\r")
            wait_until(lambda: shell.look().count(" ......") >= 5, shell.look)
            survivor.kill_daemon()
            survivor.wait_until_adopted()
            wait_until(lambda: "connected again" in shell.look(), shell.look)
            before = shell.look().count(" ......")
            wait_until(lambda: shell.look().count(" ......") > before, shell.look)
            shell.type("\x03")
            shell.wait_for_prompt()
            assert shell.command("list up") == ["counter"]


def test_after_a_restart_of_the_daemon_it_goes_on_with_the_last_lines(daemon: Daemon) -> None:
    daemon.write("""
        <program greeter>
          command /bin/sh -c 'seq 9; exec sleep 1000'
        </program>
        """)
    daemon.start()
    daemon.wait_for_output("greeter", "9\n")
    reader = Reader(daemon, "tail", "-f", "greeter")
    reader.wait_for("9\n")
    daemon.ask("shutdown")
    reader.wait_for_remark(AGAIN)
    daemon.start()
    daemon.wait_for_output("greeter", "9\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    reader.wait_for_remark("-- supervisord was restarted: going on with the last lines --")
    lines = [*"123456789"]
    wait_until(lambda: reader.text.endswith("9\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), lambda: reader.text)
    shown = reader.text.splitlines()[len(lines) :]
    assert (lines * 3)[-len(shown) :] == shown
    assert 15 <= len(shown) <= 18
    reader.interrupt()


def test_without_a_daemon_it_tries_until_ctrl_c(daemon: Daemon) -> None:
    daemon.write("<program ready>\n  command /bin/sh -c 'echo up; exec sleep 1000'\n</program>")
    daemon.start()
    reader = Reader(daemon, "tail", "-f", "ready")
    reader.wait_for("up\n")
    daemon.process_ends(signal.SIGTERM)
    reader.wait_for_remark(AGAIN)
    assert reader.client.poll() is None
    reader.interrupt()
    assert reader.remarks == f"{daemon.socket}: {AGAIN}\n"
