"""What programs have to do with each other: groups, dependencies, and the sockets that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from supervisortw.config.problems import Place, Problems
from supervisortw.config.section import Values
from supervisortw.config.wording import did_you_mean, nearest, quoted
from supervisortw.core.dependencies import find_cycle
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Program


@dataclass(slots=True)
class _Guesses:
    """Finds what was meant by unknown names; among thousands that takes long, so not for all."""

    left: int = LIMITS.names_looked_for

    def hint(self, name: str, known: Iterable[str]) -> str:
        """Return the end of a message about ``name``."""
        self.left -= 1
        return did_you_mean(nearest(name, known)) if self.left >= 0 else ""


@dataclass(slots=True)
class _Group:
    """One <group> and the programs in it that there are, each with where it is named."""

    section: Values
    members: dict[str, Place] = field(default_factory=dict)


def related(
    programs: Mapping[str, Program],
    sections: Mapping[str, Values],
    daemon: Values,
    problems: Problems,
) -> dict[str, Program]:
    """Return ``programs`` with their groups, and with names of programs as their dependencies."""
    guesses = _Guesses()
    groups = _groups(programs, daemon, guesses, problems)
    group_of = {name: group for group in groups.values() for name in group.members}
    sockets = [section.name for section in daemon.sections("sockets")]
    places: dict[tuple[str, str], Place] = {}
    found = {}
    for name, program in programs.items():
        section = sections[name]
        _check_sockets(section, sockets, guesses, problems)
        needed = _dependencies(section, programs, groups, guesses, problems)
        places.update({(name, other): place for other, place in needed.items()})
        group = group_of[name].section if name in group_of else None
        found[name] = replace(
            program,
            depends_on=tuple(needed),
            group=group.name if group else name,
            group_priority=group.get("priority") if group else None,
        )
    circle = find_cycle({name: program.depends_on for name, program in found.items()})
    if circle:
        path = " -> ".join(circle)
        problems.add(places[circle[0], circle[1]], f"depends-on goes in a circle: {path}")
    return found


def _groups(
    programs: Mapping[str, Program], daemon: Values, guesses: _Guesses, problems: Problems
) -> dict[str, _Group]:
    groups = {section.name: _Group(section) for section in daemon.sections("groups")}
    taken: dict[str, tuple[str, Place]] = {}
    for group in groups.values():
        label = group.section.label
        for name, place in group.section.words("programs"):
            if name in groups and name not in programs:
                problems.add(place, f"{quoted(name)} in {label} is a group; groups hold programs")
            elif name not in programs:
                hint = guesses.hint(name, programs)
                problems.add(place, f"no program {quoted(name)} for {label}{hint}")
            elif name in taken:
                other, where = taken[name]
                problems.add(
                    place,
                    f"program {quoted(name)} cannot be in {label}: it is in {other} already"
                    f" ({where.seen_from(place)})",
                )
            else:
                taken[name] = label, place
                group.members[name] = place
    return groups


def _dependencies(
    section: Values,
    programs: Mapping[str, Program],
    groups: Mapping[str, _Group],
    guesses: _Guesses,
    problems: Problems,
) -> dict[str, Place]:
    """Return the programs that have to be ready first, each with where it, or its group, is named."""
    found: dict[str, Place] = {}
    for name, place in section.words("depends_on"):
        members = groups[name].members if name in groups else [name]
        if section.name in members:
            own = "itself" if section.name == name else f"group {quoted(name)}, which it is in"
            problems.add(place, f"{section.label} cannot depend on {own}")
        elif name in groups or name in programs:
            for member in members:
                found.setdefault(member, place)
        else:
            hint = guesses.hint(name, [*programs, *groups])
            problems.add(
                place,
                f"{section.label} depends on {quoted(name)}, which is no program or group{hint}",
            )
    return found


def _check_sockets(
    section: Values, sockets: Iterable[str], guesses: _Guesses, problems: Problems
) -> None:
    named = [*section.words("sockets"), *section.each("stdin_socket")]
    for name, place in named:
        if name not in sockets:
            hint = guesses.hint(name, sockets)
            problems.add(place, f"no <socket {name}> for {section.label}{hint}")
