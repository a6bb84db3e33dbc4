"""Answers as text for people. Everything that came from a daemon goes through here before a terminal."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterable, Sequence

from supervisortw.core.happening import EventsAnswer, Happening
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import DaemonStatus, Outcome, ProgramStatus, ReloadAnswer
from supervisortw.core.text import one_line, printable, seconds


def status_lines(status: DaemonStatus) -> list[str]:
    """Return the lines of `status`: four about the daemon, notes, then a table of the programs."""
    up = [program.name for program in status.programs if program.up]
    down = [program.name for program in status.programs if not program.up]
    lines = [
        f"socket={','.join(repr(socket) for socket in status.sockets)}",
        f"supervisord_pid={status.pid}",
        f"up={','.join(up)}",
        f"down={','.join(down)}",
    ]
    if status.shutting_down:
        lines.append("note: supervisord is shutting down")
    lines += [f"note: {note}" for note in status.notes]
    if status.programs:
        lines += ["", *_table([_HEAD, *map(_row, status.programs)])]
    return [one_line(line) for line in lines]


_HEAD = ("NAME", "STATE", "PID", "FOR", "DETAIL")


def _row(program: ProgramStatus) -> tuple[str, ...]:
    restarts = f"{program.restarts} restarts" if program.restarts != 1 else "1 restart"
    parts = [program.detail, restarts if program.restarts else ""]
    return (
        program.name,
        program.state.value,
        str(program.pid or "-"),
        seconds(program.since),
        "; ".join(part for part in parts if part),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = []
    for row in rows:
        name, state, pid, since, detail = (
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        aligned.append(f"{name}  {state}  {pid}  {since}  {detail}".rstrip())
    return aligned


def outcome_line(outcome: Outcome) -> str:
    """Return one line that says what came of a request for one program."""
    return one_line(f"{outcome.name}: {outcome.text}")


def reload_lines(answer: ReloadAnswer, *, done: bool) -> list[str]:
    """Return what a reload did (``done``), or what it would do."""
    lines = list(answer.lines)
    if not lines:
        lines.append(f"nothing has changed in {answer.source}")
    lines += [f"warning: {warning}" for warning in answer.warnings]
    if done:
        lines += [f"{outcome.name}: {outcome.text}" for outcome in answer.outcomes]
    return [one_line(line) for line in lines]


def event_line(event: Happening) -> str:
    """Return what happened, with its time here and its number."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    return one_line(f"{when} #{event.number} {event.sentence}")


def gap_lines(told: EventsAnswer) -> list[str]:
    """Return the line that says which events before these are lost, if some are."""
    if not told.lost_from:
        return []
    if told.lost_from == told.lost_to:
        return [f"-- event {told.lost_from} is gone --"]
    return [f"-- events {told.lost_from} to {told.lost_to} are gone --"]


class LogWriter:
    """Writes pieces of a log to the terminal as they come, each line with a mark in front.

    Bytes that are not UTF-8 and what could steer a terminal are shown as escapes. Without a mark,
    half a line is written at once; with one, a line is written when it is whole, so that lines of
    several logs are never mixed. One of more than ``longest`` characters is written in parts of so many.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        mark: str = "",
        longest: int = LIMITS.shown_characters,
    ) -> None:
        self._write = write
        self._mark = mark
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._line = ""  # what is not written yet; at most ``longest`` characters
        self._is_unfinished = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the log."""
        self._take(self._decoder.decode(data))

    def flush(self) -> None:
        """Write what is left of an unfinished line or character."""
        self._take(self._decoder.decode(b"", final=True))
        if self._line:
            self._write(self._marked(self._line))
            self._line = ""

    def break_off(self) -> None:
        """Write what is left, and end the line: what comes next does not follow it."""
        self.flush()
        if self._is_unfinished:
            self._take("\n")

    def _take(self, text: str) -> None:
        if self._mark:
            *lines, line = (self._line + text).split("\n")
            whole = (len(line) - 1) // self._longest * self._longest if line else 0
            self._line = line[whole:]
            if whole:
                lines.append(line[:whole])
            if lines:
                self._write("".join(map(self._marked, lines)))
        elif text:
            self._write(printable(text))
            self._is_unfinished = not text.endswith("\n")

    def _marked(self, line: str) -> str:
        parts = range(0, len(line) or 1, self._longest)
        return "".join(
            f"{self._mark}{printable(line[part : part + self._longest])}\n" for part in parts
        )


def columns(names: Iterable[str], summaries: Iterable[str]) -> list[str]:
    """Return two columns, for a list of commands."""
    pairs = list(zip(names, summaries, strict=True))
    width = max(len(name) for name, _ in pairs)
    return [f"  {name.ljust(width)}  {summary}" for name, summary in pairs]
