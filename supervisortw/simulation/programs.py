"""From a configuration and a scenario to the programs of a simulation, and how they behave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from supervisortw.core.expand import processes_of
from supervisortw.core.model import DISCARD, Program, Stdin
from supervisortw.core.selection import Index, nearest
from supervisortw.simulation.processes import ORDINARY, Behaviour
from supervisortw.simulation.scenario import Scenario

UP_AND_DOWN = ("up", "down")
NAMED = 5  # of the programs that there are, in a message


def bare(program: Program) -> Program:
    """Return a program without what cannot matter to when it runs, and might not be there.

    A simulated program is never silent, so nothing watches it.
    """
    return replace(
        program,
        user=None,
        unix_group=None,
        directory="/",
        cgroup=False,
        stdin=Stdin.NULL,
        stdin_socket=None,
        sockets=(),
        environment=(),
        environment_files=(),
        pass_environment=(),
        logfile=DISCARD,
        stderr_logfile=None,
        watchdog_seconds=0.0,
    )


def behaviours_of(programs: Iterable[Program], scenario: Scenario) -> dict[str, Behaviour]:
    """Return how processes behave, by their full names; others are ordinary."""
    index = Index(process for program in programs for process in processes_of(program))
    found: dict[str, Behaviour] = {}

    def change(name: str, **keys: Any) -> None:
        for each in _meant(name, index):
            found[each] = replace(found.get(each, ORDINARY), **keys)

    for crash in scenario.crashes:
        change(crash.name, crash=crash)
    for name in scenario.exec_fails:
        change(name, exec_fails=True)
    for wait in scenario.stop_takes:
        change(wait.name, stop_takes=wait.seconds)
    for wait in scenario.ready_takes:
        change(wait.name, ready_takes=wait.seconds)
    for request in scenario.requests:
        if request.name not in UP_AND_DOWN:  # it turns out then who that is
            _meant(request.name, index)
    return found


def _meant(word: str, index: Index) -> Sequence[str]:
    """Return the full names of the processes that ``word`` means. Raises ValueError."""
    meant = index.all if word == "all" else index.meant_by(word)
    if meant:
        return meant
    near = nearest(word, index.names)
    if near:
        raise ValueError(f"{word}: no such program; did you mean {' or '.join(near)}?")
    names = list(index.names)
    some = ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")
    raise ValueError(f"{word}: no such program; there is {some or 'none'}")
