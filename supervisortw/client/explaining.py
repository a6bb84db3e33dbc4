"""The command that tells why programs are as they are, and the same in JSON for other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from supervisortw.client.command import Command, Words, some
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.exits import Exit, Oom
from supervisortw.core.limits import LIMITS
from supervisortw.core.signals import signal_name
from supervisortw.core.status import DaemonStatus, Outcome, ProgramStatus, Why, to_plain
from supervisortw.core.text import one_line, printable, seconds
from supervisortw.errors import Refused, SupervisorError
from supervisortw.remote.connection import Session

JSON = "--json"
VERSION = 1  # of the JSON document; members may be added within one


@dataclass(slots=True, kw_only=True)
class Told:
    """What one daemon tells; ``output`` are the last lines of those that were asked for them."""

    status: DaemonStatus
    whys: list[Why] = field(default_factory=list)
    output: dict[str, bytes] = field(default_factory=dict)

    @property
    def unknown(self) -> list[Outcome]:
        """The outcomes for names that nothing has."""
        return list(self.status.unknown)


Ask = Callable[[Session], Coroutine[Deferred[Any], Any, Told]]


async def _explain(session: Session, words: Sequence[str]) -> Told:
    """Ask for all that there is to be known, in portions that keep nobody waiting."""
    told = Told(status=await session.status(words))
    names = [_exact(program) for program in told.status.programs]
    for first in range(0, len(names), LIMITS.explained_at_once):
        portion = names[first : first + LIMITS.explained_at_once]
        told.whys += (await session.why(portion)).programs
    return told


def _exact(program: ProgramStatus) -> str:
    """Return the word that means this process, and not also a group of that name."""
    return program.name if ":" in program.name else f"{program.group}:{program.name}"


async def _explain_with_output(session: Session, words: Sequence[str]) -> Told:
    """Ask for all that there is to be known, also the output if each word means one process."""
    told = await _explain(session, words)
    if len(told.whys) <= len(words):
        for why in told.whys:
            told.output[why.status.name] = await _last_output(session, why.log)
    return told


async def _last_output(session: Session, log: str) -> bytes:
    if not log:
        return b""
    try:
        piece = await session.tail(log, LIMITS.why_lines)
    except Refused:  # nothing of it can be read back
        return b""
    return piece.data[-LIMITS.why_bytes :]


async def _why(desk: Desk, words: Sequence[str]) -> ExitCode:
    wanted = some([word for word in words if word != JSON], "why")

    async def ask(session: Session) -> Told:
        return await _explain_with_output(session, wanted)

    if JSON in words:
        return await _print_document(desk, ask)
    answers, worst = await desk.each(ask)
    for host, told in answers:
        if told.output:
            blocks = [why_lines(why, told.output[why.status.name]) for why in told.whys]
            lines = [line for block in blocks for line in ["", *block]][1:]
        else:
            lines = [one_line(why.cause) for why in told.whys]
        desk.say(lines, host)
    return max(worst, desk.tell([(host, told.unknown) for host, told in answers]))


async def print_status(desk: Desk, words: Sequence[str]) -> ExitCode:
    """Print one JSON document about all daemons and the named programs; no names means all."""

    async def ask(session: Session) -> Told:
        return await _explain(session, words)

    return await _print_document(desk, ask)


async def _print_document(desk: Desk, ask: Ask) -> ExitCode:
    answers, worst = await desk.every(ask)
    hosts = [_host(host, answer) for host, answer in answers]
    document = {"version": VERSION, "hosts": hosts}
    desk.write(json.dumps(document, indent=1, allow_nan=False) + "\n")
    told = [(host, answer.unknown) for host, answer in answers if isinstance(answer, Told)]
    return max(worst, desk.tell(told))


def _host(host: str, answer: Told | SupervisorError) -> dict[str, Any]:
    if isinstance(answer, SupervisorError):
        return {"host": host, "error": str(answer)}
    daemon = to_plain(answer.status)
    del daemon["programs"], daemon["unknown"]
    return {
        "host": host,
        "daemon": daemon,
        "programs": [_program(why, answer.output) for why in answer.whys],
        "unknown": [outcome.name for outcome in answer.unknown],
    }


def _program(why: Why, output: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the object about one process; it has no objects within but in its lists."""
    plain = to_plain(why)
    exits = [{**each.pop("ended"), **each} for each in plain.pop("exits")]
    whole = {**plain.pop("status"), **plain, "exits": exits}
    if why.status.name in output:
        whole["output"] = _lines(output[why.status.name])
    return whole


# For people.


def why_lines(why: Why, output: bytes) -> list[str]:
    """Return what is to be known about a process: the cause in the first line, then the rest."""
    lines = [one_line(why.cause), *_facts(why)]
    if why.exits:
        head = ("WHEN", "END", "AFTER", "EXPECTED", "STOPPED BY")
        lines += ["", *_table([head, *map(_row, why.exits)])]
    if output:
        lines += ["", f"last lines of {one_line(why.log)}:"]
        lines += [f"  {line}" for line in _lines(output)]
    return lines


def _facts(why: Why) -> list[str]:
    status = why.status
    facts = [f"pid {status.pid}"] if status.pid else [f"down for {seconds(status.since)}"]
    facts.append(f"wanted {'up' if status.wanted else 'down'}")
    facts.append(f"restarts: {status.restarts}")
    if why.tries_left is not None:
        facts.append(f"tries left: {why.tries_left}")
    if why.restarts_left is not None:
        facts.append(f"restarts left: {why.restarts_left}")
    return [", ".join(facts)]


def _row(exit: Exit) -> tuple[str, ...]:
    return (
        _when(exit.when),
        _how(exit),
        seconds(exit.ended.uptime),
        "yes" if exit.expected else "no",
        one_line(exit.stopped_by) or "-",
    )


def _how(exit: Exit) -> str:
    ended = exit.ended
    if ended.code is not None:
        return f"code {ended.code}"
    if ended.signal is None:
        return "unknown"
    notes = [" (core)"] if ended.core else []
    notes += {Oom.NO: [], Oom.PERHAPS: [" (memory?)"], Oom.YES: [" (memory)"]}[exit.oom]
    return signal_name(ended.signal) + "".join(notes)


def _when(when: float) -> str:
    """Return a time of day where we are, as far as it is one."""
    try:
        return time.strftime("%m-%d %H:%M:%S", time.localtime(when))
    except (ValueError, OverflowError, OSError):
        return "?"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _lines(output: bytes) -> list[str]:
    return printable(output).removesuffix("\n").split("\n") if output else []


COMMANDS = (
    Command(
        name="why",
        arguments="[--json] NAME ...",
        summary="tell why programs are as they are",
        details=(
            "The first line says it. Below are how the last 20 processes have ended, the latest last: "
            "when, how, after how long, whether the configuration expects it, and who had it stopped; "
            "(memory) means that the kernel has killed it because memory ran out, (memory?) that it has "
            "killed somebody at that time. Then come the last lines of what it wrote to stderr. If names "
            "mean more processes than one each, only the first line of each is shown. --json prints one "
            "JSON document instead, as 'status --json' does."
        ),
        words=Words.PROGRAMS,
        run=_why,
    ),
)
