"""What has to be done to get from the configuration that runs to another one.

`plan` compares two configurations and says, for each program, the least that has to happen: only a
program whose process would look different is restarted, and only if it is up. Settings of the daemon
itself are told apart into those that can be applied and those that need a new daemon.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from supervisortw.core.model import Configuration, Program, Settings

# A change of one of these is seen by the process itself, so it needs a new one.
SEEN_BY_THE_PROCESS = frozenset(
    {
        "command",
        "user",
        "group",
        "umask",
        "logfile",
        "environment",
        "environment_files",
        "pass_environment",
    }
)

# A change of one of these is applied to the running daemon; the others need a new daemon.
APPLIED_AT_ONCE = frozenset(
    {"sockets", "socket_mode", "socket_chown", "passwdfile", "logfile", "loglevel"}
)
# These say how a daemon is started, and mean nothing to one that runs.
FOR_THE_START_ONLY = frozenset({"nodaemon"})

OTHER_SPELLINGS = {
    "sockets": "socket-name",
    "stop_steps": "stop-signal",
    "environment_files": "environment-file",
}


class Step(enum.Enum):
    """What happens to one program."""

    ADD = "add"
    REMOVE = "remove"
    UPDATE = "update"  # in place: no process notices
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStep:
    """One program's part of a plan.

    ``keys`` are the keys that differ, as the file spells them; ``acts`` is true if an added program
    is to be started, or a removed one to be stopped.
    """

    name: str
    step: Step
    keys: tuple[str, ...] = ()
    acts: bool = False

    def __str__(self) -> str:
        differs = f" ({', '.join(self.keys)} changed)" if self.keys else ""
        if self.step is Step.ADD:
            return f"{self.name}: added" + (", to be started" if self.acts else ", not started")
        if self.step is Step.REMOVE:
            return f"{self.name}: removed" + (", to be stopped" if self.acts else "")
        if self.step is Step.RESTART:
            return f"{self.name}: to be restarted{differs}"
        return f"{self.name}: updated in place{differs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything between two configurations; empty if nothing differs."""

    programs: tuple[ProgramStep, ...]
    applied: tuple[str, ...]
    need_new_daemon: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return one line for each change, for people."""
        applied = [f"supervisord: {key} changed" for key in self.applied]
        later = [
            f"supervisord: {key} changed; it takes effect when supervisord is started anew"
            for key in self.need_new_daemon
        ]
        return (*map(str, self.programs), *applied, *later)


def plan(old: Configuration, new: Configuration, up: Collection[str]) -> Plan:
    """Return what leads from ``old`` to ``new`` while the programs named in ``up`` are wanted up."""
    steps = [
        *_removed(old.programs, new.programs, up),
        *_changed(old.programs, new.programs, up),
        *_added(old.programs, new.programs),
    ]
    differing = _differing(old.settings, new.settings) - FOR_THE_START_ONLY
    return Plan(
        programs=tuple(steps),
        applied=_spelt(differing & APPLIED_AT_ONCE),
        need_new_daemon=_spelt(differing - APPLIED_AT_ONCE),
    )


def _removed(
    old: Mapping[str, Program], new: Mapping[str, Program], up: Collection[str]
) -> list[ProgramStep]:
    gone = [name for name in old if name not in new]
    return [ProgramStep(name=name, step=Step.REMOVE, acts=name in up) for name in gone]


def _changed(
    old: Mapping[str, Program], new: Mapping[str, Program], up: Collection[str]
) -> list[ProgramStep]:
    steps = []
    for name in new:
        keys = _differing(old[name], new[name]) if name in old else frozenset()
        if keys:
            restart = bool(keys & SEEN_BY_THE_PROCESS) and name in up
            step = Step.RESTART if restart else Step.UPDATE
            if "stop_steps" in keys and _signals(old[name]) == _signals(new[name]):
                keys = keys - {"stop_steps"} | {"stop_wait_seconds"}
            steps.append(ProgramStep(name=name, step=step, keys=_spelt(keys)))
    return steps


def _signals(program: Program) -> list[int]:
    return [step.signal for step in program.stop_steps]


def _added(old: Mapping[str, Program], new: Mapping[str, Program]) -> list[ProgramStep]:
    fresh = [program for name, program in new.items() if name not in old]
    return [
        ProgramStep(name=program.name, step=Step.ADD, acts=program.auto_start) for program in fresh
    ]


def _differing(one: Program | Settings, other: Program | Settings) -> frozenset[str]:
    names = (field.name for field in fields(one))
    return frozenset(name for name in names if getattr(one, name) != getattr(other, name))


def _spelt(attributes: Collection[str]) -> tuple[str, ...]:
    """Return attribute names as the configuration file spells them."""
    keys = (OTHER_SPELLINGS.get(name, name) for name in attributes)
    return tuple(sorted(key.replace("_", "-") for key in keys))
