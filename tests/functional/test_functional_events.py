"""What has happened, as supervisorctl shows it, also after the daemon was killed in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until
from functional_survivor import Survivor

PROGRAMS = """
<program web>
  command sleep 1000
</program>
<program restless>
  command /bin/sh -c 'sleep 0.2; exit 7'
  restart-delay 0.1
  restart-delay-max 0.1
  forever yes
</program>
"""


def _events(daemon: Daemon, *words: str) -> dict[int, str]:
    """Return what happened, by its numbers; what is shown must be in their order, and once each."""
    lines = daemon.ask("events", *words).splitlines()
    told = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d #(\d+) (.+)", line) for line in lines]
    assert all(told), lines
    numbers = [int(found[1]) for found in told if found]
    assert numbers == sorted(set(numbers))
    return {int(found[1]): found[2] for found in told if found}


def _follow(daemon: Daemon, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
    said = daemon.place / "followed"
    with open(said, "wb") as output:
        client = daemon.begin(daemon.ctl_command("events", *words), stdout=output, stderr=output)
    return client, said


def test_what_has_happened_and_who_asked_for_it(daemon: Daemon) -> None:
    daemon.write("<program web>\n  command sleep 1000\n</program>")
    daemon.start()
    daemon.wait_for("web", "RUNNING")
    daemon.ask("stop", "web")
    daemon.ask("reload")
    told = list(_events(daemon).values())
    pid = re.search(r"pid (\d+)", told[0])
    assert pid
    assert int(pid[1]) == daemon.pid
    assert re.fullmatch(r"supervisord \S+ started, pid \d+", told[0])
    assert re.fullmatch(r"web: STOPPED -> STARTING \(pid \d+\)", told[1])
    asked = next(at for at, each in enumerate(told) if each.endswith(" asks: stop web"))
    assert re.fullmatch(r"web: RUNNING -> STOPPING \(pid \d+\): .*", told[asked + 1])
    assert told[-1] == f"reloaded {daemon.config}; changes: 0"
    assert set(_events(daemon, "-1", "web").values()) <= {each for each in told if "web" in each}


def test_followed_until_ctrl_c(daemon: Daemon) -> None:
    daemon.write("<program web>\n  command sleep 1000\n  auto-start no\n</program>")
    daemon.start()
    client, said = _follow(daemon, "-f", "web")
    daemon.ask("start", "web")
    wait_until(lambda: "STARTING -> RUNNING" in said.read_text(), said.read_text)
    client.send_signal(signal.SIGINT)
    assert client.wait(10) == 0
    assert [line.split(" ", 3)[3] for line in said.read_text().splitlines()][1:3] == [
        *(line for line in _events(daemon, "web").values() if "STOPPED -> STARTING" in line),
        *(line for line in _events(daemon, "web").values() if "STARTING -> RUNNING" in line),
    ]


@pytest.mark.needs_linux
def test_numbers_go_on_when_the_daemon_is_killed(make_daemon: type) -> None:
    survivor: Survivor = make_daemon(kind=Survivor)
    survivor.write(PROGRAMS)
    survivor.start()
    for round_number in range(3):
        before = survivor.pid
        wait_until(
            lambda: any("restless: BACKOFF" in each for each in _events(survivor).values()),
            survivor.log_text,
        )
        known = _events(survivor, "-2000")
        survivor.kill_daemon()
        survivor.wait_until_adopted()
        after = _events(survivor, "-2000")
        assert {number: after[number] for number in known} == known, round_number
        assert list(after) == list(range(1, max(after) + 1))
        [took_over] = [
            each for number, each in after.items() if number not in known and "took over" in each
        ]
        assert took_over.endswith("the one before has died (signal 9)")
        assert f"pid {survivor.pid};" in took_over
        assert survivor.pid != before


@pytest.mark.needs_linux
def test_numbers_go_on_when_nobody_is_left(make_daemon: type) -> None:
    survivor: Survivor = make_daemon(kind=Survivor)
    survivor.write(PROGRAMS)
    survivor.start()
    known = _events(survivor, "-2000")
    survivor.kill_both()
    lines = (survivor.state / "events").read_bytes().splitlines(keepends=True)
    damaged = b"\0" * (len(lines[2]) - 1) + b"\n"
    (survivor.state / "events").write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    survivor.again()
    after = survivor.ctl("events", "-2000")
    assert after.returncode == 0
    assert after.stderr == "-- event 2 is gone --\n"
    told = _events_of(after.stdout)
    assert told == [1, *range(3, max(told) + 1)]
    assert max(told) > max(known)
    assert "makes no sense" in survivor.log_text()


def test_after_a_clean_end_they_begin_anew(daemon: Daemon) -> None:
    daemon.write("<program web>\n  command sleep 1000\n</program>")
    daemon.start()
    os.kill(daemon.pid, signal.SIGTERM)
    wait_until(lambda: not (daemon.state / "events").exists(), "the file is gone")
    wait_until(lambda: "supervisord ended" in daemon.log_text(), daemon.log_text)
    daemon.hang_up()
    wait_until(lambda: daemon.supervisord().returncode == 0, "it is up again")
    told = _events(daemon)
    assert told[1].startswith("supervisord ")
    assert " started, pid " in told[1]


def _events_of(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"^\S+ \S+ #(\d+) ", text, re.MULTILINE)]
