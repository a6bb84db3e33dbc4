"""What has to be done to get from the configuration that runs to another one.

`plan` compares two configurations and says, for each process, the least that has to happen: only one
that would look different is restarted, and only if it is up. Settings of the daemon itself are told
apart into those that can be applied and those that need a new daemon.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from supervisortw.core.model import ListeningSocket, Process, Settings

# A change of one of these is seen by the process itself, so it needs a new one. (on_daemon_death is not
# worth one: it counts from the next start on.)
SEEN_BY_THE_PROCESS = frozenset(
    {
        "command",
        "user",
        "unix_group",
        "directory",
        "umask",
        "nice",
        "limits",
        "no_new_privileges",
        "cgroup",
        "stdin",
        "stdin_socket",
        "sockets",
        "notify",
        "watchdog_seconds",  # is in the environment, too
        "logfile",
        "stderr_logfile",
        "environment",
        "environment_files",
        "pass_environment",
        "group",  # is in the environment
    }
)

# A change of one of these is applied to the running daemon; the others need a new daemon.
APPLIED_AT_ONCE = frozenset(
    {
        "sockets",
        "socket_mode",
        "socket_chown",
        "passwdfile",
        "peer_login",
        "tls",
        "tls_certificate",
        "tls_key",
        "insecure_plaintext",
        "insecure_anonymous",
        "insecure_remote",
        "logfile",
        "logfile_size",
        "logfile_backups",
        "loglevel",
        "umask",
        "max_starting",
        "start_delay",
    }
)
# These say how a daemon is started, and mean nothing to one that runs.
FOR_THE_START_ONLY = frozenset({"nodaemon"})

# Where the file spells a key otherwise than the record.
PROGRAM_SPELLINGS = {
    "stop_steps": "stop-signal",
    "environment_files": "environment-file",
    "unix_group": "group",
    "group": "group of programs",
    "group_priority": "priority of its group",
    "limits": "limit",
}
SETTINGS_SPELLINGS = {"sockets": "socket-name"}
# What follows from the name of a process, or is changed by adding and removing some.
NEVER_DIFFER = frozenset({"name", "program", "process", "number", "processes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything that two configurations are compared by; processes and sockets by their names."""

    settings: Settings
    processes: Mapping[str, Process]
    sockets: Mapping[str, ListeningSocket]


class Step(enum.Enum):
    """What happens to one process."""

    ADD = "add"
    REMOVE = "remove"
    UPDATE = "update"  # in place: no process notices
    RESTART = "restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStep:
    """One process's part of a plan; ``name`` is its full name.

    ``keys`` are the keys that differ, as the file spells them; ``acts`` is true if an added process
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
    sockets: tuple[str, ...]
    applied: tuple[str, ...]
    need_new_daemon: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """Return one line for each change, for people."""
        applied = [f"supervisord: {key} changed" for key in self.applied]
        later = [
            f"supervisord: {key} changed; it takes effect when supervisord is started anew"
            for key in self.need_new_daemon
        ]
        return (*map(str, self.programs), *self.sockets, *applied, *later)


def plan(old: Layout, new: Layout, up: Collection[str]) -> Plan:
    """Return what leads from ``old`` to ``new`` while the processes named in ``up`` are wanted up."""
    steps = [
        *_removed(old.processes, new.processes, up),
        *_changed(old, new, up),
        *_added(old.processes, new.processes),
    ]
    differing = _differing(old.settings, new.settings) - FOR_THE_START_ONLY
    return Plan(
        programs=tuple(steps),
        sockets=tuple(_socket_lines(old.sockets, new.sockets)),
        applied=_spelt(differing & APPLIED_AT_ONCE, SETTINGS_SPELLINGS),
        need_new_daemon=_spelt(differing - APPLIED_AT_ONCE, SETTINGS_SPELLINGS),
    )


def _removed(
    old: Mapping[str, Process], new: Mapping[str, Process], up: Collection[str]
) -> list[ProgramStep]:
    gone = [name for name in old if name not in new]
    return [ProgramStep(name=name, step=Step.REMOVE, acts=name in up) for name in gone]


def _changed(old: Layout, new: Layout, up: Collection[str]) -> list[ProgramStep]:
    steps = []
    for name, after in new.processes.items():
        before = old.processes.get(name)
        keys = _differing(before, after) if before is not None else frozenset()
        if before is not None and _listens_elsewhere(after, old.sockets, new.sockets):
            keys |= {"sockets"}
        if before is not None and keys:
            restart = bool(keys & SEEN_BY_THE_PROCESS) and name in up
            step = Step.RESTART if restart else Step.UPDATE
            if "stop_steps" in keys and _signals(before) == _signals(after):
                keys = keys - {"stop_steps"} | {"stop_wait_seconds"}
            spelt = _spelt(keys, PROGRAM_SPELLINGS)
            steps.append(ProgramStep(name=name, step=step, keys=spelt))
    return steps


def _listens_elsewhere(
    process: Process, old: Mapping[str, ListeningSocket], new: Mapping[str, ListeningSocket]
) -> bool:
    """True if a socket that the process was given is another one from now on."""
    names = [*process.sockets, *filter(None, [process.stdin_socket])]
    return any(_is_another(old.get(name), new.get(name)) for name in names)


def _is_another(old: ListeningSocket | None, new: ListeningSocket | None) -> bool:
    return old is not None and new is not None and old.address != new.address


def _socket_lines(
    old: Mapping[str, ListeningSocket], new: Mapping[str, ListeningSocket]
) -> list[str]:
    removed = [f"socket {name}: closed" for name in old if name not in new]
    changed = [f"socket {name}: changed" for name in new if name in old and new[name] != old[name]]
    added = [f"socket {name}: added" for name in new if name not in old]
    return [*removed, *changed, *added]


def _signals(process: Process) -> list[int | None]:
    return [step.signal for step in process.stop_steps]


def _added(old: Mapping[str, Process], new: Mapping[str, Process]) -> list[ProgramStep]:
    fresh = [process for name, process in new.items() if name not in old]
    return [
        ProgramStep(name=process.name, step=Step.ADD, acts=process.auto_start) for process in fresh
    ]


def _differing(one: Process | Settings, other: Process | Settings) -> frozenset[str]:
    if one == other:
        return frozenset()
    names = (field.name for field in fields(one))
    found = (name for name in names if getattr(one, name) != getattr(other, name))
    return frozenset(found) - NEVER_DIFFER


def _spelt(attributes: Collection[str], spellings: Mapping[str, str]) -> tuple[str, ...]:
    """Return attribute names as the configuration file spells them."""
    keys = (spellings.get(name, name) for name in attributes)
    return tuple(sorted(key.replace("_", "-") for key in keys))
