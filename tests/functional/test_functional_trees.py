"""Whole process trees: a stop ends everything in the session, and no copy meets another one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, session_of, wait_until, wait_until_gone
from functional_single import SINGLE

pytestmark = pytest.mark.needs_linux

# Writes down every process that it makes, in the order in which they are there.
FAMILY = """
    import os, signal, sys, time

    def note(who):
        with open(sys.argv[1], "a") as file:
            file.write(f"{who} {os.getpid()}\\n")

    def child(who, *, group=False, deaf=False):
        pid = os.fork()
        if pid == 0:
            if group:
                os.setpgid(0, 0)
            if deaf:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note(who)
            return True
        return False

    def wait():
        while True:
            time.sleep(3600)

    note("leader")
    """

KINDS = {
    "a child": "child('child')",
    "a grandchild": "child('child') and child('grandchild')",
    "a grandchild in a group of its own": "child('child') and child('grandchild', group=True)",
    "a deaf child": "child('child', deaf=True)",
    "a deaf grandchild in a group of its own": (
        "child('child') and child('grandchild', group=True, deaf=True)"
    ),
    "a deaf leader": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
}


def _family(daemon: Daemon, body: str, *keys: str, seconds: float = 0.4) -> dict[str, int]:
    """Start a program that makes processes; return them by name."""
    command = daemon.python("family.py", FAMILY + body.replace("\n", "\n    "))
    lines = "\n".join([f"command {command} {daemon.place}/family", *keys])
    daemon.write(f"<program family>\n{lines}\n</program>", f"stop-wait-seconds {seconds}")
    daemon.start()
    return wait_until(lambda: _noted(daemon, body.count("child(") + 1), daemon.log_text)


def _noted(daemon: Daemon, count: int) -> dict[str, int]:
    path = daemon.place / "family"
    pairs = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {who: int(pid) for who, pid in pairs} if len(pairs) >= count else {}


@pytest.mark.parametrize("kind", KINDS)
def test_stop_ends_everybody_and_answers_when_they_are_gone(daemon: Daemon, kind: str) -> None:
    family = _family(daemon, f"{KINDS[kind]}\nwait()")
    leader = family["leader"]
    assert session_of(leader) == set(family.values())
    began = time.monotonic()
    answer = daemon.ask("stop", "family")
    assert session_of(leader) == set()
    assert not any(map(is_alive, family.values()))
    how = "SIGKILL" if kind == "a deaf leader" else "SIGTERM"
    assert answer.startswith(f"family: stopped; ended by {how} after ")
    if "deaf" in kind:
        assert time.monotonic() - began > 0.4


class TestTheLeaderAlone:
    """What ``stop-scope leader`` leaves alone, the test has to end."""

    # The child can tell that no signal has ended it.
    BODY = "signal.signal(signal.SIGUSR1, lambda *_: note('alive'))\nchild('child')\nwait()"

    @pytest.fixture
    def family(self, daemon: Daemon) -> Iterator[dict[str, int]]:
        started = _family(daemon, self.BODY, "stop-scope leader", "restart-delay 0")
        yield started
        daemon.ctl("stop", "family")
        left = [int(line.split()[1]) for line in (daemon.place / "family").read_text().splitlines()]
        for pid in filter(is_alive, left):
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(*left)

    def has_been_left_alone(self, daemon: Daemon, pid: int) -> bool:
        """Have the child tell that it is there: a signal that was sent before would have ended it."""
        before = _lines(daemon)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: _lines(daemon) != before or not is_alive(pid), "the child tells")
        return _lines(daemon) == [*before, f"alive {pid}"]

    def test_a_stop_ends_nobody_else_and_tells_who_is_left(
        self, daemon: Daemon, family: dict[str, int]
    ) -> None:
        leader, child = family["leader"], family["child"]
        assert session_of(leader) == {leader, child}
        answer = daemon.ask("stop", "family")
        assert session_of(leader) == {child}
        assert self.has_been_left_alone(daemon, child)
        assert answer.startswith("family: stopped; ended by SIGTERM after ")
        assert f"; 1 process outlived it: {child} (python" in answer
        assert daemon.status().programs["family"].state == "STOPPED"
        answer = daemon.ask("stop", "--all-of-it", "family")
        assert f"; ended 1 process that outlived it: {child} (python" in answer
        assert not is_alive(child)

    def test_a_deaf_leader_is_killed_and_nobody_else(
        self, daemon: Daemon, family: dict[str, int]
    ) -> None:
        os.kill(family["leader"], signal.SIGSTOP)
        answer = daemon.ask("stop", "family")
        assert self.has_been_left_alone(daemon, family["child"])
        assert not is_alive(family["leader"])
        assert answer.startswith("family: stopped; ended by SIGKILL after ")

    def test_the_next_leader_does_not_wait_for_what_a_dead_one_leaves_behind(
        self, daemon: Daemon, family: dict[str, int]
    ) -> None:
        os.kill(family["leader"], signal.SIGKILL)
        wait_until(lambda: _noted(daemon, 4), "the next family")
        assert self.has_been_left_alone(daemon, family["child"])
        assert "ending what it left behind" not in daemon.log_text()


def _lines(daemon: Daemon) -> list[str]:
    return (daemon.place / "family").read_text().splitlines()


def test_term_is_waited_for_and_kill_comes_after_stop_wait_seconds(daemon: Daemon) -> None:
    daemon.write(
        """
        <program slow>
          command /bin/sh -c 'trap "sleep 0.5; exit 0" TERM; echo ready; while :; do sleep 0.1; done'
        </program>
        <program deaf>
          command /bin/sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
          stop-wait-seconds 0.2
        </program>
        """
    )
    daemon.start()
    daemon.wait_for_output("slow", "ready")
    daemon.wait_for_output("deaf", "ready")
    slow, deaf = daemon.ask("stop", "slow", "deaf").splitlines()
    assert slow.startswith("slow: stopped; exited with code 0 after ")
    assert deaf.startswith("deaf: stopped; ended by SIGKILL after ")


@pytest.mark.parametrize("deaf", [False, True], ids=["that ends", "that is deaf"])
def test_what_a_dead_leader_leaves_behind_is_ended_before_the_next_start(
    daemon: Daemon, deaf: bool
) -> None:
    body = f"child('child', deaf={deaf}) and wait()\ntime.sleep(0.3)\nsys.exit(1)"
    family = _family(daemon, body, "backoff-limit 1", "forever yes")
    left = family["child"]
    wait_until(lambda: "ending what it left behind" in daemon.log_text(), daemon.log_text)
    wait_until(lambda: _noted(daemon, 3), "the next leader")
    assert not is_alive(left)
    before = daemon.log_text().partition("STOPPING -> ")[0]
    assert before.count("-> STARTING") == 1


def test_a_restart_waits_for_the_whole_session(daemon: Daemon) -> None:
    """The child of the old copy ends late; the new leader must not be there before that."""
    daemon.write(
        f"""
        <program pair>
          command {daemon.script("pair", PAIR)} {daemon.place}/order
        </program>
        """
    )
    daemon.start()
    order = daemon.place / "order"
    wait_until(lambda: order.exists() and "child" in order.read_text(), "the child is there")
    daemon.ask("restart", "pair")
    wait_until(lambda: order.read_text().count("child begins") == 2, order.read_text)
    assert order.read_text().splitlines()[:5] == [
        "leader begins",
        "child begins",
        "leader ends",
        "child ends",
        "leader begins",
    ]


PAIR = """
    #! /bin/sh
    order=$1
    echo "leader begins" >> $order
    (
        trap 'sleep 0.3; echo "child ends" >> $order; exit' TERM
        echo "child begins" >> $order
        while :; do sleep 0.05; done
    ) &
    trap 'echo "leader ends" >> $order; exit' TERM
    while :; do sleep 0.05; done
    """


def test_what_ends_while_it_is_being_started_leaves_nothing(daemon: Daemon) -> None:
    """Stop and restart in the middle of STARTING, again and again: one copy at a time."""
    daemon.write(
        f"""
        <program single>
          command {daemon.python("single.py", SINGLE)} {daemon.place}/single
        </program>
        """,
        "start-seconds 0.3",
    )
    daemon.start()
    clients = [
        daemon.begin(daemon.ctl_command(verb, "single"))
        for verb in ("restart", "stop", "start", "restart", "stop", "restart")
    ]
    for client in clients:
        client.wait(20)
    assert daemon.ctl("restart", "single").returncode == 0
    row = daemon.wait_for("single", "RUNNING")
    assert (daemon.place / "single.pid").read_text() == str(row.pid)
    assert not (daemon.place / "single.second").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_daemon_is_the_end_of_every_tree(daemon: Daemon, number: int) -> None:
    family = _family(daemon, f"{KINDS['a deaf grandchild in a group of its own']}\nwait()")
    daemon.process_ends(number)
    assert not any(map(is_alive, family.values()))


def test_a_signal_goes_to_the_main_process_alone(daemon: Daemon) -> None:
    script = """
        #! /bin/sh
        trap 'echo parent' USR1
        (trap 'echo child' USR1; while :; do sleep 0.05; done) &
        echo ready
        while :; do sleep 0.05; done
        """
    daemon.write(f"<program parent>\n  command {daemon.script('parent', script)}\n</program>")
    daemon.start()
    pid = daemon.pid_of("parent")
    daemon.wait_for_output("parent", "ready")
    assert daemon.ask("signal", "USR1", "parent") == f"parent: sent SIGUSR1 to pid {pid}\n"
    assert daemon.wait_for_output("parent", "parent") == "ready\nparent\n"
