"""All programs of a file: each by itself, then together, then their processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from supervisortw.config.datatypes import is_shared
from supervisortw.config.paths import Claims, Directories
from supervisortw.config.problems import Problems
from supervisortw.config.program import limits, program
from supervisortw.config.relations import related
from supervisortw.config.section import SECRET, Values
from supervisortw.config.wording import NAME_EXPECTED, quoted, shown
from supervisortw.core import expand
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, Process, Program, Settings, is_program_name

# What the settings in which places are filled in are taken for if that cannot be done.
_UNFILLED: dict[str, Any] = {
    "command": (),
    "stop_command": (),
    "directory": None,
    "environment": (),
    "environment_files": (),
    "logfile": DISCARD,
    "stderr_logfile": None,
    "syslog_tag": "",
}
_LOGS = {"logfile": "the log", "stderr_logfile": "the log of standard error"}


def programs(
    values: Values, own: Settings, directories: Directories, claims: Claims, problems: Problems
) -> dict[str, Program]:
    """Return the programs in the order of the file."""
    sections = {section.name: section for section in values.sections("programs")}
    general = limits(values, problems)
    alone = {}
    for name, section in sections.items():
        alone[name] = program(section, values, own, directories, problems)
        if general:
            both = {limit.name: limit for limit in (*general, *alone[name].limits)}
            alone[name] = replace(alone[name], limits=tuple(both.values()))
    found = related(alone, sections, values, problems)
    _check_processes(found, sections, values, claims, problems)
    return found


def _check_processes(
    found: Mapping[str, Program],
    sections: Mapping[str, Values],
    daemon: Values,
    claims: Claims,
    problems: Problems,
) -> None:
    """Note what cannot be filled in, and what two processes cannot both have: names and logs."""
    groups = {each.group for each in found.values() if each.group != each.name}
    names: dict[str, Values] = {}
    total = 0
    for name, each in found.items():
        section = sections[name]
        total += 1 if each.processes is None else each.processes
        if total > LIMITS.processes:
            most = f"more than {LIMITS.processes} processes in all"
            problems.add(section.place("processes"), f"with {section.label} there are {most}")
            return
        unfilled = _unfilled(each, section, daemon, problems)
        if "process_name" in unfilled:
            continue
        place = section.place("process_name")
        try:
            processes = expand.processes_of(_without(each, unfilled))
        except ValueError as error:
            problems.add(place, f"{error} in {section.label}")
            continue
        wrong = _wrong_name(each, processes, groups, names)
        if wrong:
            problems.add(place, f"bad process-name in {section.label}: {wrong}")
        names.update(dict.fromkeys((process.name for process in processes), section))
        for attribute in _LOGS:
            _claim_logs(processes, attribute, section, claims, problems)


def _unfilled(each: Program, section: Values, daemon: Values, problems: Problems) -> set[str]:
    """Note, and return the settings of, what cannot be filled in, whatever the number of a process."""
    number = each.first_number
    naming = expand.naming_values(each, number)
    others = expand.values_of(each, number, each.name)
    looked_at = [(section, "process_name", naming)] if each.processes is not None else []
    looked_at += [(section, attribute, others) for attribute in _UNFILLED]
    looked_at.append((daemon, "environment", others))
    unfilled = set()
    for where, attribute, values in looked_at:
        for value, place in where.each(attribute):
            why = _why_unfilled(value, values, is_secret=attribute in SECRET)
            if why:
                key = quoted(where.key(attribute))
                problems.add(place, f"bad value for {key} in {where.label}: {why}")
                unfilled.add(attribute)
    return unfilled


def _without(each: Program, unfilled: set[str]) -> Program:
    if not unfilled:
        return each
    return replace(each, **{attribute: _UNFILLED[attribute] for attribute in unfilled})


def _why_unfilled(value: Any, values: expand.Values, *, is_secret: bool) -> str | None:
    """Return why a text in ``value`` cannot be filled in, if one cannot."""
    for text in _texts(value):
        try:
            expand.expand(text, values)
        except ValueError as error:
            if not is_secret:
                return shown(str(error))
            return f"it has an unknown '%('; there are {expand.known(values)}; {expand.PLAIN}"
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)


def _wrong_name(
    each: Program, processes: tuple[Process, ...], groups: set[str], names: Mapping[str, Values]
) -> str | None:
    """Return what is wrong with the name of any of the processes; the others are like it."""
    for process in processes:
        if not is_program_name(process.process):
            return f"a process would be called {quoted(process.process)}; {NAME_EXPECTED}"
        if process.name in names:
            return f"{names[process.name].label} has a process {process.name} already"
        if process.name in groups:
            return f"a process would be called {quoted(process.name)}, as its group is"
        if process.name == each.name and len(processes) > 1:
            return (
                f"one of several processes would be called {quoted(each.name)}, as the program is"
            )
    return None


def _claim_logs(
    processes: tuple[Process, ...],
    attribute: str,
    section: Values,
    claims: Claims,
    problems: Problems,
) -> None:
    place = section.place(attribute)
    claimed: set[str] = set()
    for process in processes:
        log = getattr(process, attribute)
        if log is None or is_shared(log):
            continue
        path = os.path.normpath(log)
        what = f"{_LOGS[attribute]} of {_called(process, section)}"
        if path in claimed:
            key = quoted(section.key(attribute))
            problems.add(
                place,
                f"processes of {section.label} would share {shown(path)}; where there are several,"
                f" {key} needs %({expand.NUMBER})d in it",
            )
            return
        if not claims.claim(path, what, place):
            return
        claimed.add(path)


def _called(process: Process, section: Values) -> str:
    return section.label if process.process == section.name else process.name
