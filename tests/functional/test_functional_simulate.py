"""What is simulated is what happens, as far as clocks agree; and to simulate starts nothing."""

from __future__ import annotations

import re

from functional_daemon import Daemon, installed
from functional_processes import wait_until

# Ends as the line of its plan says that belongs to this start; after the last one it lives.
MORTAL = """
    #! /bin/sh
    echo x >> {place}/starts
    line=$(sed -n "$(grep -c x {place}/starts)p" {place}/plan)
    test -n "$line" || exec sleep 1000
    sleep ${{line% *}}
    exit ${{line#* }}
    """
PLAN = ((0, 1), (6, 1), (0, 3), (0, 1))
PROGRAMS = """
    <program web>
      command {mortal}
      backoff-limit 1
      start-retries 5
      restart-delay 0.4
      restart-jitter 0
    </program>
    <program after>
      command true
      oneshot yes
      depends-on web
    </program>
    """
# Far from each other, and from the times of the plan: nobody knows how slow the machine is.
SETTINGS = "start-seconds 3"
TOLERANCE = 10.0  # seconds

STATES = r"([A-Z]+) -> ([A-Z]+)"
Steps = list[tuple[float, str, str]]


def _simulate(daemon: Daemon, *words: str) -> str:
    done = daemon.run([installed("supervisorctl"), "simulate", "-c", str(daemon.config), *words])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def _steps(name: str, line: str, text: str) -> Steps:
    """Return the changes of a program in ``text``, and when they were, from the first one on."""
    matches = list(re.finditer(line.format(name=name, states=STATES), text, re.MULTILINE))
    times = [_seconds(match[1]) for match in matches]
    return [(at - times[0], match[2], match[3]) for at, match in zip(times, matches, strict=True)]


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def test_a_real_daemon_does_what_was_simulated(daemon: Daemon) -> None:
    mortal = daemon.script("mortal", MORTAL.format(place=daemon.place))
    plan = "".join(f"{after} {code}\n" for after, code in PLAN)
    daemon.save(daemon.place / "plan", plan)
    starts = daemon.save(daemon.place / "starts", "")
    daemon.write(PROGRAMS.format(mortal=mortal), SETTINGS)
    crash = ",".join(f"{after}s:{code}" for after, code in PLAN)
    words = ["--crash", f"web@{crash}", "--crash", "after@0s:0", "--until", "30s"]
    simulated = _simulate(daemon, *words)
    assert starts.read_text() == ""
    assert not daemon.state.exists()

    daemon.start()
    wait_until(lambda: starts.read_text().count("x") > len(PLAN), "the last start", 90)
    daemon.wait_for("web", "RUNNING")
    assert daemon.status("web").programs["web"].detail == f"{len(PLAN)} restarts"
    for name in ("web", "after"):
        expected = _steps(name, r"^ *([\d.:]+)  {name} +{states}", simulated)
        found = _steps(name, r" ([\d:]+,\d+) info {name}: {states}", daemon.log_text())
        assert [each[1:] for each in found] == [each[1:] for each in expected]
        assert expected
        for (when, *_), (then, *_) in zip(found, expected, strict=True):
            assert abs(when - then) < TOLERANCE, (found, expected)


def test_lines_and_options_of_the_command(daemon: Daemon) -> None:
    daemon.write(PROGRAMS.format(mortal="/no/such/mortal"))
    words = ["simulate", "-c", str(daemon.config), "--crash", "wbe@0s"]
    done = daemon.run([installed("supervisorctl"), *words])
    assert done.returncode == 2
    assert done.stderr.startswith("wbe: no such program; did you mean web?\nusage: simulate")
    lines = f"simulate -c {daemon.config} --until 1s\nsimulate --nonsense\n"
    done = daemon.run([installed("supervisorctl")], input=lines)
    assert done.returncode == 2
    assert "STOPPED -> STARTING" in done.stdout
    assert "unknown option: --nonsense" in done.stderr
