"""How the processes of a slot have ended: one record for each end."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisortw.core.ended import Ended
from supervisortw.core.model import AutoRestart, Program
from supervisortw.core.plain import Reader, quoted
from supervisortw.core.restart import EXPECTED_BY_DEFAULT, is_expected

# Who had a process ended, where it was no user.
RELOAD = "reload"
SHUTDOWN = "shutdown"
NOT_READY = "supervisord: not ready"
WATCHDOG = "supervisord: watchdog"
DAEMON_DEATH = "supervisord: its death"


class Oom(enum.Enum):
    """Whether the kernel has killed a process because memory ran out."""

    NO = "no"
    PERHAPS = "perhaps"  # it has killed somebody at that time
    YES = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end of one process.

    ``when`` is the time at which it was seen, in seconds since 1970. ``expected`` is true if the
    configuration calls that an end of its supervision, or somebody had it stopped. ``stopped_by`` is
    who had it ended: a user, one of the words above, or nothing if it has ended by itself.
    """

    when: float
    ended: Ended
    expected: bool
    oom: Oom = Oom.NO
    stopped_by: str = ""

    @property
    def how(self) -> str:
        """How it has ended, in words."""
        memory = {
            Oom.NO: "",
            Oom.PERHAPS: ", perhaps for lack of memory",
            Oom.YES: ", out of memory",
        }
        return f"{self.ended}{memory[self.oom]}"

    def __str__(self) -> str:
        return f"{self.how}, stopped by {self.stopped_by}" if self.stopped_by else self.how

    def to_json(self) -> str:
        """Return the members of a JSON object that `from_plain` makes the same record of.

        Times are told to the microsecond; what says nothing is left out.
        """
        text = f'"when":{self.when:.6f},"ended":{self.ended.to_json()}'
        if self.expected:
            text += ',"expected":true'
        if self.oom is not Oom.NO:
            text += f',"oom":"{self.oom.value}"'
        if self.stopped_by:
            text += f',"stopped_by":{quoted(self.stopped_by)}'
        return text

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Exit:
        """Return the record that ``plain`` was made of; raises ValueError if it makes no sense."""
        known = Reader(plain)
        ended = known.ended("ended")
        if ended is None:
            raise ValueError("no end")
        return cls(
            when=known.seconds("when"),
            ended=ended,
            expected=known.flag("expected"),
            oom=Oom(plain.get("oom", Oom.NO.value)),
            stopped_by=known.text("stopped_by"),
        )


def is_right(program: Program, code: int | None) -> bool:
    """True if a program may end by itself with ``code`` (None: by a signal)."""
    if program.auto_restart is AutoRestart.NEVER and not program.exit_codes:
        return code in EXPECTED_BY_DEFAULT
    return is_expected(program, code)
