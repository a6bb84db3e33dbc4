"""What is measured: the rows of the table, and the steps that yield them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bursts import BURSTS, Burst


@dataclass(frozen=True)
class Figure:
    """One row; ``{n}`` and ``{idle}`` in its title are filled in."""

    key: str
    step: str
    title: str
    unit: str


# Of one life of the supervisor.
LIFE = (
    Figure("boot", "boot", "boot: last of {n} started", "s"),
    Figure("rate", "boot", "boot: starts a second", "1/s"),
    Figure("memory", "memory", "own memory (PSS)", "MiB"),
    Figure("processes", "memory", "own processes", ""),
    Figure("idle-wakeups", "idle", "idle {idle:g} s: wake-ups", ""),
    Figure("idle-cpu", "idle", "idle {idle:g} s: processor time", "ms"),
    Figure("status", "status", "status of all {n}", "s"),
    Figure("restart", "restart", "one killed: back, median", "ms"),
    Figure("restart-max", "restart", "one killed: back, longest", "ms"),
    Figure("killed", "killed", "all {n} killed: last one back", "s"),
    Figure("stop", "stop", "stop all: last one gone", "s"),
    Figure("stop-answer", "stop", "stop all: answer", "s"),
    Figure("start", "start", "start all: last one started", "s"),
    Figure("start-answer", "start", "start all: answer", "s"),
    Figure("adopt", "adopt", "daemon killed: status of all {n}", "s"),
)

# Of one more life for each.
OUTPUT = tuple(
    Figure(f"{burst.step}-{key}", burst.step, f"{burst.title}: {what}", unit)
    for burst in BURSTS
    for key, what, unit in (
        ("rate", "written", "MiB/s"),
        ("cpu", "processor time", "s/GiB"),
        ("before", "memory before", "MiB"),
        ("after", "memory after", "MiB"),
    )
)

FIGURES = LIFE + OUTPUT

# In this order.
STEPS = tuple(dict.fromkeys(figure.step for figure in LIFE))

# What has to happen although nobody asked for it.
NEEDED = {"start": "stop"}


def selected(rows: Collection[str]) -> tuple[Figure, ...]:
    """Return the figures that were asked for, by key or by step; all if there is no word."""
    return tuple(f for f in FIGURES if not rows or f.key in rows or f.step in rows)


def steps_for(rows: Collection[str]) -> tuple[str, ...]:
    """Return the steps of one life that yield these figures, and those that come before them."""
    wanted = {figure.step for figure in selected(rows)}.intersection(STEPS)
    wanted |= {NEEDED[step] for step in wanted if step in NEEDED}
    return tuple(step for step in STEPS if step in wanted or (wanted and step == "boot"))


def bursts_for(rows: Collection[str]) -> tuple[Burst, ...]:
    """Return the bursts that yield these figures."""
    wanted = {figure.step for figure in selected(rows)}
    return tuple(burst for burst in BURSTS if burst.step in wanted)
