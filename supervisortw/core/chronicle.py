"""What a daemon writes down about its processes, line by line, and what a later one makes of that.

Each line is a JSON object. The last line about something holds.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisortw.core.anchor import Anchor
from supervisortw.core.exits import Exit
from supervisortw.core.limits import LIMITS
from supervisortw.core.memory import Memory
from supervisortw.core.model import STDERR
from supervisortw.core.plain import LARGEST, Reader, quoted

FORMAT = 1
LONGEST_NAME = 512

_TOKEN = re.compile(r"[0-9a-f]{1,64}")
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Foreign(ValueError):
    """It was written by another version, in a form that we do not know."""


@dataclass(slots=True, kw_only=True)
class Left:
    """What a daemon has left.

    ``world`` is the boot, and the container, that its pids and times belong to, and ``token`` what
    marks its processes; both are empty if they could not be read. ``spawns`` is the highest number in
    a mark. ``scaled`` tells for programs how many processes their file said and how many they were
    scaled to. ``ending`` is true if it was shutting down, in order to exit with ``exit_code``. ``afresh``
    is true if that came to nothing, and somebody has started the next one: what is to start by itself,
    starts. ``logs`` tells where the files of logs begin, by their names, and ``exits`` are the last ends
    of each process, the oldest first. ``damaged`` counts lines without sense.
    """

    world: str = ""
    token: str = ""
    spawns: int = 0
    ending: bool = False
    exit_code: int = 0
    afresh: bool = False
    processes: dict[str, Memory] = field(default_factory=dict)
    scaled: dict[str, tuple[int, int]] = field(default_factory=dict)
    logs: dict[str, Anchor] = field(default_factory=dict)
    exits: dict[str, deque[Exit]] = field(default_factory=dict)
    damaged: int = 0


def opening(world: str, token: str, spawns: int) -> str:
    """Return the line that everything begins with."""
    return _encode({"journal": FORMAT, "world": world, "token": token, "spawns": spawns})


def process(name: str, memory: Memory) -> str:
    """Return the line about a process."""
    return f'{{"process":{quoted(name)},{memory.to_json()}}}'


_MADE = '{"made":%s,"number":%d,"pid":%d,"started":%.6f,"born":[%.6f,%.6f]}'


def made(name: str, memory: Memory) -> str:
    """Return the line that the process is there whose mark the last line about it tells.

    ``number`` is that of the mark, and of no other one.
    """
    spawn, born = memory.spawn, memory.born
    assert spawn is not None
    assert born is not None
    return _MADE % (
        quoted(name),
        spawn.number,
        memory.pid,
        memory.started,
        born.earliest,
        born.latest,
    )


def exited(name: str, exit: Exit) -> str:
    """Return the line that a process has ended."""
    return f'{{"exit":{quoted(name)},{exit.to_json()}}}'


def exit_in(line: str) -> Exit:
    """Return the end that such a line tells of; raises ValueError if it makes no sense."""
    return Exit.from_plain(json.loads(line))


def gone(name: str) -> str:
    """Return the line that a process is not there any more, and will not be."""
    return _encode({"gone": name})


def scaled(program: str, said: int, count: int) -> str:
    """Return the line that a program whose file says ``said`` processes was scaled to ``count``."""
    return _encode({"scaled": program, "said": said, "count": count})


def unscaled(program: str) -> str:
    """Return the line that a program is not scaled any more."""
    return _encode({"unscaled": program})


def log(name: str, anchor: Anchor) -> str:
    """Return the line about where the file of a log begins."""
    where = {"epoch": anchor.epoch, "start": anchor.start, "floor": anchor.floor}
    return _encode({"log": name, **where, "file": anchor.file})


def ending(exit_code: int) -> str:
    """Return the line that the daemon is shutting down, in order to exit with ``exit_code``."""
    return _encode({"ending": exit_code})


def read(data: bytes) -> Left:
    """Return what was left, as far as it makes sense. Raises Foreign."""
    left = Left()
    lines = data.split(b"\n")
    if lines.pop():
        left.damaged += 1  # the last line was cut short
    for line in lines:
        try:
            _take(left, json.loads(line))
        except Foreign:
            raise
        except (ValueError, RecursionError):
            left.damaged += 1
    return left


def _take(left: Left, line: object) -> None:
    """Take in one line. Raises ValueError if it makes no sense."""
    if not isinstance(line, dict):
        raise ValueError("no object")  # noqa: TRY004  # it is what a value is, not what type
    for word, take in _TAKE.items():
        if word in line:
            take(left, line)
            return
    raise ValueError("nothing known")


Line = Mapping[str, Any]


def _take_process(left: Left, line: Line) -> None:
    memory = left.processes[_text(line, "process")] = Memory.from_plain(line)
    if memory.spawn is not None:
        left.spawns = max(left.spawns, memory.spawn.number)


def _take_made(left: Left, line: Line) -> None:
    memory, known = left.processes.get(_text(line, "made")), Reader(line)
    number, pid, born = known.number("number"), known.number("pid"), known.born("born")
    started = known.seconds("started")
    if memory is not None and memory.spawn is not None and memory.spawn.number == number:
        memory.pid = memory.sid = pid
        memory.started, memory.born = started, born


def _take_exit(left: Left, line: Line) -> None:
    name, exit = _text(line, "exit"), Exit.from_plain(line)
    left.exits.setdefault(name, deque(maxlen=LIMITS.exits_kept)).append(exit)


def _take_gone(left: Left, line: Line) -> None:
    name = _text(line, "gone")
    left.processes.pop(name, None)
    for each in (name, name + STDERR):
        left.logs.pop(each, None)
    left.exits.pop(name, None)


def _take_scaled(left: Left, line: Line) -> None:
    left.scaled[_text(line, "scaled")] = _number(line, "said"), _number(line, "count")


def _take_unscaled(left: Left, line: Line) -> None:
    left.scaled.pop(_text(line, "unscaled"), None)


def _take_log(left: Left, line: Line) -> None:
    left.logs[_text(line, "log")] = _anchor(line)


def _take_ending(left: Left, line: Line) -> None:
    left.ending, left.exit_code = True, _number(line, "ending")


def _take_opening(left: Left, line: Line) -> None:
    if line["journal"] != FORMAT:
        raise Foreign(f"its format is {line['journal']!r:.20}, and ours is {FORMAT}")
    token = _text(line, "token")
    if not _TOKEN.fullmatch(token):
        raise ValueError("no sensible token")
    left.world, left.token = _text(line, "world", least=0), token
    left.spawns = max(left.spawns, _number(line, "spawns"))


def _anchor(line: Mapping[str, Any]) -> Anchor:
    file = line.get("file")
    if not isinstance(file, list) or len(file) != 2 or any(type(each) is not int for each in file):
        raise ValueError("no sensible value of file")
    device, inode = file
    start, floor = _number(line, "start"), _number(line, "floor")
    return Anchor(epoch=_text(line, "epoch"), start=start, floor=floor, file=(device, inode))


def _text(line: Mapping[str, Any], name: str, least: int = 1) -> str:
    value = line.get(name)
    if not isinstance(value, str) or not least <= len(value) <= LONGEST_NAME:
        raise ValueError(f"no sensible value of {name}")
    return value


def _number(line: Mapping[str, Any], name: str) -> int:
    value = line.get(name)
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"no sensible value of {name}")
    return value


_TAKE: dict[str, Callable[[Left, Line], None]] = {
    "journal": _take_opening,
    "process": _take_process,
    "made": _take_made,
    "exit": _take_exit,
    "gone": _take_gone,
    "scaled": _take_scaled,
    "unscaled": _take_unscaled,
    "log": _take_log,
    "ending": _take_ending,
}
