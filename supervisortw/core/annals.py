"""The lines by which a daemon leaves what has happened to the one after it.

Each line is a JSON object: first an opening, then one for each event, with rising numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from supervisortw.core.happening import Happening
from supervisortw.core.limits import LIMITS
from supervisortw.core.plain import LARGEST

FORMAT = 1
SHORTEST = 32  # bytes; no line of an event is shorter
MOST = LARGEST // 2  # a number beyond it was never given: nobody waits for so long

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Senseless(ValueError):
    """It is of no use; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What has happened until now: ``next`` is the number that the next event gets.

    Numbers that are in ``events`` twice, or that come again later, there are none within one ``epoch``;
    others can be missing. ``damaged`` counts lines without sense.
    """

    epoch: str
    next: int = 1
    events: tuple[Happening, ...] = ()
    damaged: int = 0


def opening(world: str, epoch: str, following: int) -> bytes:
    """Return the line that everything begins with; ``following`` is the number of the next event."""
    return _line({"events": FORMAT, "world": world, "epoch": epoch, "next": following})


def line(happening: Happening) -> bytes:
    """Return the line about an event."""
    return _line(happening.to_plain())


def _line(plain: object) -> bytes:
    return _encode(plain).encode("ascii") + b"\n"


def read(data: bytes, world: str) -> Past | None:
    """Return what has happened, the last LIMITS.events of it.

    None if it is of another world: another boot, or another container. Raises Senseless if nothing can
    be made of it. Of what makes no sense the numbers are not given again, however many they may have
    been.
    """
    beginning, *lines = data.removesuffix(b"\n").split(b"\n")
    epoch, following = _opening(beginning, world)
    if epoch is None:
        return None
    events: list[Happening] = []
    damaged = unknown = 0
    for each in lines[-LIMITS.events :]:
        try:
            happening = Happening.from_plain(_plain(each))
            if not _last(events) < happening.number <= MOST:
                raise Senseless("its number is not the next")
            if b"  " in each + b" " and line(happening) != each + b"\n":
                raise Senseless("where others stood there are blanks")
        except ValueError:
            damaged += 1
            unknown += 1 + len(each) // SHORTEST
            continue
        events.append(happening)
        unknown = 0
    following = max(following, _last(events) + 1) + unknown
    return Past(epoch=epoch, next=following, events=tuple(events), damaged=damaged)


def _last(events: list[Happening]) -> int:
    return events[-1].number if events else 0


def _opening(data: bytes, world: str) -> tuple[str | None, int]:
    """Return the epoch, None if it is of another world, and the number that came next."""
    try:
        plain = _plain(data)
    except ValueError:
        raise Senseless("its beginning makes no sense") from None
    if not isinstance(plain, dict) or plain.get("events") != FORMAT:
        raise Senseless("it is something else, or of another version")
    there, epoch, following = plain.get("world"), plain.get("epoch"), plain.get("next")
    if not (isinstance(there, str) and isinstance(epoch, str) and 0 < len(epoch) <= 64):
        raise Senseless("its beginning makes no sense")
    if type(following) is not int or not 1 <= following <= MOST:
        raise Senseless("its beginning makes no sense")
    return (epoch if there == world else None), following


def _plain(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise Senseless("it is nested too deeply") from None
