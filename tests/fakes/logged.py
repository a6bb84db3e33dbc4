"""What was logged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher


@contextmanager
def log_lines(level: LogLevel = LogLevel.info) -> Iterator[list[str]]:
    """Collect the texts that are logged at ``level`` or above, with tracebacks."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level", LogLevel.info) >= level:
            lines.append(formatEvent(event))
            if "log_failure" in event:
                lines.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)
