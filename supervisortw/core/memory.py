"""What is remembered of one process slot, in a form that outlives the daemon.

Times are seconds of a clock that goes on while daemons come and go, and stops with the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisortw.core.born import Born
from supervisortw.core.ended import Ended
from supervisortw.core.lifecycle import Life
from supervisortw.core.plain import LONGEST, Reader, quoted
from supervisortw.core.restart import Tally
from supervisortw.core.spawnid import SpawnId
from supervisortw.core.states import State

_NAMES = {state: state.value for state in State}

# What is told in any case. Formatting all of it in one go takes half the time that f-strings take.
_ALWAYS = (
    '"state":"%s","wanted":%s,"since":%.6f,"pid":%d,"sid":%d,'
    '"started":%.6f,"restarts":%d,"due":%.6f%s'
)


@dataclass(slots=True, kw_only=True)
class Memory:
    """Everything that a slot goes on with.

    ``life`` and ``before``, the state before this one, and ``since`` when it is in it. ``pid`` of the
    main process (0: none), its session, and ``born``, which tells it from any later process of the
    same pid (None: there was none). ``spawn`` is its mark and ``started`` when it was started. ``due`` is
    when the timer of the state runs out. ``asked`` is true from an operator's wish to the start that
    follows; other starts count as ``restarts``. ``last`` is how the last process ended, ``spawn_error``
    why the last start made none, and ``fault`` for what we end it ourselves. ``stopped_by`` is who had
    the last process stopped, or put an end to waiting for the next one. ``outdated`` is true while its
    process was made by another definition than that in force.
    """

    life: Life = field(default_factory=Life)
    before: State | None = None
    since: float = 0.0
    pid: int = 0
    born: Born | None = None
    sid: int = 0
    spawn: SpawnId | None = None
    started: float = 0.0
    due: float = 0.0
    asked: bool = False
    restarts: int = 0
    last: Ended | None = None
    spawn_error: str = ""
    fault: str = ""
    stopped_by: str = ""
    outdated: bool = False

    def to_json(self) -> str:
        """Return the members of a JSON object that `from_plain` makes the same memory of.

        Times are told to the microsecond.
        """
        # What says nothing is left out, and nothing is built but the text: this is done several times
        # for each restart.
        life, last, born = self.life, self.last, self.born
        text = _ALWAYS % (
            _NAMES[life.state],
            "true" if life.wanted else "false",
            self.since,
            self.pid,
            self.sid,
            self.started,
            self.restarts,
            self.due,
            _rest_of(life),
        )
        if born is not None:
            text += f',"born":[{born.earliest:.6f},{born.latest:.6f}]'
        if self.before is not None:
            text += f',"before":"{_NAMES[self.before]}"'
        if self.spawn is not None:
            text += f',"spawn":{quoted(str(self.spawn))}'
        if last is not None:
            text += f',"last":{last.to_json()}'
        if self.asked:
            text += ',"asked":true'
        if self.outdated:
            text += ',"outdated":true'
        if self.spawn_error:
            text += f',"spawn_error":{quoted(self.spawn_error[:LONGEST])}'
        if self.fault:
            text += f',"fault":{quoted(self.fault[:LONGEST])}'
        if self.stopped_by:
            text += f',"stopped_by":{quoted(self.stopped_by[:LONGEST])}'
        return text

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Memory:
        """Return the memory that ``plain`` was made of; raises ValueError if it makes no sense."""
        known = Reader(plain)
        life = Life(
            state=known.state("state", State.STOPPED),
            wanted=known.flag("wanted"),
            tally=Tally(known.number("quick_deaths"), tuple(known.times("lately"))),
            next=known.state("next", State.STOPPED),
            delay=known.seconds("delay"),
            stop_step=known.number("stop_step"),
            spawned=known.flag("spawned"),
            ready=known.flag("ready"),
        )
        return cls(
            life=life,
            before=known.state("before", State.STOPPED) if "before" in plain else None,
            since=known.seconds("since"),
            pid=known.number("pid"),
            born=known.born("born"),
            sid=known.number("sid"),
            spawn=known.mark("spawn"),
            started=known.seconds("started"),
            due=known.seconds("due"),
            asked=known.flag("asked"),
            restarts=known.number("restarts"),
            last=known.ended("last"),
            spawn_error=known.text("spawn_error"),
            fault=known.text("fault"),
            stopped_by=known.text("stopped_by"),
            outdated=known.flag("outdated"),
        )


def _rest_of(life: Life) -> str:
    text = ""
    if life.spawned:
        text += ',"spawned":true'
    if life.ready:
        text += ',"ready":true'
    if life.tally.quick_deaths:
        text += f',"quick_deaths":{life.tally.quick_deaths}'
    if life.tally.restarts:
        text += f',"lately":[{",".join(map("{:.6f}".format, life.tally.restarts))}]'
    if life.next is not State.STOPPED:
        text += f',"next":"{_NAMES[life.next]}"'
    if life.delay:
        text += f',"delay":{life.delay:.6f}'
    if life.stop_step:
        text += f',"stop_step":{life.stop_step}'
    return text
