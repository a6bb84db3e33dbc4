"""How a process ended."""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.core.signals import signal_name
from supervisortw.core.text import seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended, and after how many seconds; neither code nor signal means unknown."""

    code: int | None
    signal: int | None
    core: bool
    uptime: float

    @property
    def exit_code(self) -> int:
        """The code as a shell would tell it; 1 where it is unknown."""
        if self.code is not None:
            return self.code
        return 1 if self.signal is None else 128 + self.signal

    def to_json(self) -> str:
        """Return it as a JSON list, with the time to the microsecond."""
        code = "null" if self.code is None else self.code
        number = "null" if self.signal is None else self.signal
        return f"[{code},{number},{'true' if self.core else 'false'},{self.uptime:.6f}]"

    def __str__(self) -> str:
        after = f"after {seconds(self.uptime)}"
        if self.code is not None:
            return f"exited with code {self.code} {after}"
        if self.signal is not None:
            core = ", core dumped" if self.core else ""
            return f"ended by {signal_name(self.signal)}{core} {after}"
        return f"ended for an unknown reason {after}"
