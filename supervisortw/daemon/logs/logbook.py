"""The daemon's own log: one line for each thing that happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from zope.interface import implementer

from supervisortw.core.text import one_line
from supervisortw.daemon.events import StateChanged
from supervisortw.daemon.logs.echo import Echo
from supervisortw.daemon.logs.logfile import LogFile

# The words of supervisor 1.0, and the nearest level of Twisted.
LEVELS = {
    "critical": LogLevel.critical,
    "fatal": LogLevel.critical,
    "error": LogLevel.error,
    "warn": LogLevel.warn,
    "warning": LogLevel.warn,
    "info": LogLevel.info,
}

OURS = "supervisor"


class LogBook:
    """Writes log events as lines to the log file, and to ``echo`` in the foreground.

    Events of other libraries are written from warnings on: Twisted tells every connection.
    """

    def __init__(self, target: LogFile, loglevel: str, echo: Echo | None = None) -> None:
        self.target = target
        self._echo = echo
        self._level = LogLevelFilterPredicate()
        self.set_level(loglevel)

    def set_level(self, loglevel: str) -> None:
        """Let events of ``loglevel``, and above, through from now on."""
        self._level.clearLogLevels()
        self._level.setLogLevelForNamespace("", LogLevel.warn)
        self._level.setLogLevelForNamespace(OURS, LEVELS.get(loglevel, LogLevel.debug))

    def observer(self) -> ILogObserver:
        """Return what Twisted's logging is to be given."""
        return FilteringLogObserver(_Lines(self._write), [self._level])

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace")
        self.target.write(data)
        if self._echo is not None:
            self._echo.write(data)


@implementer(ILogObserver)
class _Lines:
    """Turns events into lines; nothing in an event can make a second one."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._second = -1  # the one that the stamp is for: hundreds of lines have the same
        self._stamp = ""

    def __call__(self, event: LogEvent) -> None:
        # What happens to programs is told most often, and formatting an event takes Twisted a while.
        change = event.get("change")
        if isinstance(change, StateChanged):
            when, text = change.time, str(change)
        else:
            when, text = event.get("log_time", 0.0), formatEvent(event) or _legacy_text(event)
        head = f"{self._time(when)} {event['log_level'].name}"
        self._write(f"{head} {one_line(text)}\n")
        failure = event.get("log_failure")
        if failure is not None:
            for part in failure.getTraceback(elideFrameworkCode=True).splitlines():
                self._write(f"{head}   {one_line(part)}\n")

    def _time(self, when: float) -> str:
        second = int(when)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return f"{self._stamp},{int(when * 1000) % 1000:03}"


def _legacy_text(event: LogEvent) -> str:
    parts: Any = event.get("message") or ()
    return " ".join(str(part) for part in parts)
