"""How the lines of one log are written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from supervisortw.core import logline, syslog
from supervisortw.core.limits import LIMITS
from supervisortw.core.logline import Piece
from supervisortw.core.model import STDERR, LogFormat, Process
from supervisortw.core.syslog import Severity, Transport
from supervisortw.daemon.stamps import Stamps


class Form(Protocol):
    """Makes entries of lines; each entry gets somewhere as a whole.

    ``read_bytes`` is how much to read at once, so that it does not take long.
    """

    read_bytes: int

    def lines(self, piece: Piece) -> Sequence[bytes]:
        """Return the entries of a piece."""

    def word(self, text: str) -> Sequence[bytes]:
        """Return the entries of what supervisord has to say."""


class Raw:
    """As they are."""

    read_bytes = LIMITS.log_read_bytes

    def lines(self, piece: Piece) -> Sequence[bytes]:
        """Return the lines."""
        return (piece.text,)

    def word(self, text: str) -> Sequence[bytes]:
        """Return a line."""
        return (f"{logline.word(text)}\n".encode(),)


class Prefixed:
    """With a name, and perhaps the time, before each."""

    read_bytes = LIMITS.log_read_bytes

    def __init__(self, name: str, time: Callable[[], str]) -> None:
        self._name = name
        self._time = time

    def lines(self, piece: Piece) -> Sequence[bytes]:
        """Return the lines."""
        return (logline.prefixed(piece, self._name, self._time()),)

    def word(self, text: str) -> Sequence[bytes]:
        """Return a line."""
        return (logline.prefixed_word(logline.word(text), self._name, self._time()),)


class Json:
    """As a JSON object each."""

    read_bytes = LIMITS.lines_read_bytes

    def __init__(self, name: str, stream: str, stamps: Stamps) -> None:
        self._name = name
        self._stream = stream
        self._stamps = stamps

    def lines(self, piece: Piece) -> Sequence[bytes]:
        """Return the objects, each a line."""
        return (logline.json_lines(piece, self._name, self._stream, self._stamps.utc()),)

    def word(self, text: str) -> Sequence[bytes]:
        """Return an object."""
        return (logline.json_word(logline.word(text), self._name, self._stamps.utc()),)


class Syslog:
    """As messages to a syslog server, whose text ``inner`` makes of a line."""

    read_bytes = LIMITS.lines_read_bytes

    def __init__(
        self, process: Process, severity: Severity, host: str, inner: Form, stamps: Stamps
    ) -> None:
        self._process = process
        self._severity = severity
        self._host = host
        self._inner = inner
        self._stamps = stamps

    def lines(self, piece: Piece) -> Sequence[bytes]:
        """Return the messages; empty lines are left out, as servers do."""
        return self._messages(self._inner.lines(piece)[0], self._severity, is_rest=piece.is_rest)

    def word(self, text: str) -> Sequence[bytes]:
        """Return a message."""
        return self._messages(self._inner.word(text)[0], Severity.WARNING)

    def _messages(
        self, text: bytes, severity: Severity, *, is_rest: bool = False
    ) -> Sequence[bytes]:
        transport = self._process.syslog_address.transport
        head = self._head(transport, severity)
        is_udp = transport is Transport.UDP
        most = LIMITS.syslog_udp_bytes if is_udp else LIMITS.syslog_bytes
        found = []
        for line in text.split(b"\n"):
            if line:
                found += syslog.messages(head, line, most, is_rest=is_rest)
            is_rest = False
        return list(map(syslog.counted, found)) if transport is Transport.TCP else found

    def _head(self, transport: Transport, severity: Severity) -> bytes:
        number = syslog.priority(self._process.syslog_facility, severity)
        tag = self._process.syslog_tag
        if transport is Transport.LOCAL:
            return syslog.local_head(number, self._stamps.old(), tag)
        return syslog.network_head(number, self._stamps.utc(), self._host, tag)


def style_of(process: Process) -> tuple[object, ...]:
    """Return what the form of its lines depends on, and where they go if that is no file."""
    return (
        *(process.log_format, process.log_time),
        *(process.syslog_address, process.syslog_facility, process.syslog_tag),
    )


def form_of(process: Process, name: str, stamps: Stamps) -> Form:
    """Return how the lines of the log ``name`` of a process are written down."""
    if process.log_format is LogFormat.TEXT:
        return Prefixed(process.name, stamps.local if process.log_time else str)
    if process.log_format is LogFormat.JSON:
        return Json(process.name, "stderr" if name.endswith(STDERR) else "stdout", stamps)
    return Raw()


def syslog_form(process: Process, name: str, host: str, stamps: Stamps) -> Form:
    """Return how the lines of the log ``name`` of a process are sent to a syslog server."""
    severity = Severity.ERROR if name.endswith(STDERR) else Severity.INFO
    is_json = process.log_format is LogFormat.JSON
    inner = form_of(process, name, stamps) if is_json else Raw()
    return Syslog(process, severity, host, inner, stamps)
