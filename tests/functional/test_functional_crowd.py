"""Twenty people at once, who all want something else: at most one copy of each program."""

from __future__ import annotations

import os
import random
import time

import pytest
from functional_daemon import Daemon
from functional_processes import everybody
from functional_single import SINGLE

pytestmark = pytest.mark.needs_linux

NAMES = [f"single{number}" for number in range(5)]
NUMBERED = "several"
MOST = 4  # processes of the numbered program
VERBS = ["start", "stop", "restart", "restart", "status", "reload", "scale", "stop --all-of-it"]
CLIENTS = 20
COMMANDS = 12


def _write(daemon: Daemon, command: str, variant: int) -> None:
    """Write one of two configurations: in the second, two programs differ and one is missing."""
    programs = ""
    for name in NAMES[variant:]:
        changed = "changed" if variant and name in NAMES[3:] else ""
        programs += (
            f"<program {name}>\n"
            f"  command {command} {daemon.place}/{name} {changed}\n"
            "  start-seconds 0.05\n"
            "</program>\n"
        )
    programs += (
        f"<program {NUMBERED}>\n"
        f"  command {command} {daemon.place}/{NUMBERED}%(process_num)d\n"
        "  start-seconds 0.05\n"
        "  processes 2\n"
        "</program>\n"
    )
    daemon.write(programs)


def _wishes(chance: random.Random) -> str:
    lines = []
    for _ in range(COMMANDS):
        verb = chance.choice(VERBS)
        names = chance.sample([*NAMES, NUMBERED, "all", "up", "down"], chance.randint(1, 2))
        if verb == "reload":
            names = []
        elif verb == "scale":
            names = [NUMBERED, str(chance.randint(0, MOST))]
        lines.append(" ".join([verb, *names]))
    return "\n".join(lines) + "\n"


def test_twenty_clients_at_once_never_make_two_copies(daemon: Daemon) -> None:
    command = daemon.python("single.py", SINGLE)
    _write(daemon, command, 0)
    daemon.start()
    chance = random.Random(20)  # noqa: S311  # the same wishes every time
    clients = []
    for number in range(CLIENTS):
        wishes = daemon.save(daemon.place / f"wishes{number}", _wishes(chance))
        with open(wishes, "rb") as lines, open(daemon.place / f"said{number}", "wb") as said:
            options = {"stdin": lines, "stdout": said, "stderr": said}
            clients.append(daemon.begin(daemon.ctl_command(), **options))
    variant = 0
    while any(client.poll() is None for client in clients):
        variant = 1 - variant
        new = daemon.place / "new.conf"
        daemon.config, old = new, daemon.config
        _write(daemon, command, variant)
        daemon.config = old
        os.replace(new, old)  # nobody reads half a file
        time.sleep(0.05)
    said = "".join((daemon.place / f"said{number}").read_text() for number in range(CLIENTS))
    assert "Traceback" not in said
    assert {client.returncode for client in clients} <= {0, 1}

    began = time.monotonic()
    status = daemon.status()
    assert time.monotonic() - began < 1
    assert status.pid == daemon.pid
    assert not list(daemon.place.glob("*.second"))
    living = [each for each in everybody() if each.parent == daemon.pid and each.alive]
    assert len(living) == len(status.up)
    assert "Traceback" not in daemon.log_text()
    # Nobody's wish is left undone.
    _write(daemon, command, 0)
    assert daemon.ctl("reload").returncode == 0
    assert daemon.ctl("restart", "all").returncode == 0
    assert daemon.status().up == tuple(daemon.ask("list").split())
    assert not list(daemon.place.glob("*.second"))
