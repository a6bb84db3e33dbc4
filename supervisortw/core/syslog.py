"""What is sent to a syslog server, as RFC 5424 has it over a network, and RFC 3164 on this machine."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from supervisortw.core.logline import character_end

FACILITIES = {
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "lpr": 6,
    "news": 7,
    "uucp": 8,
    "cron": 9,
    "authpriv": 10,
    "ftp": 11,
    **{f"local{number}": 16 + number for number in range(8)},
}
TAG_CHARACTERS = 48  # that RFC 5424 allows
PORT = 514
REST = b"+ "  # begins what is the rest of a line


class Severity(enum.IntEnum):
    """How bad it is."""

    ERROR = 3
    WARNING = 4
    INFO = 6


class Transport(enum.Enum):
    """How messages get to a server."""

    LOCAL = "local"
    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogAddress:
    """Where messages are sent to: a host and a port, or the absolute ``path`` of a local socket.

    An empty path is the one that this system has for that.
    """

    transport: Transport = Transport.LOCAL
    path: str = ""
    host: str = ""
    port: int = PORT

    def __str__(self) -> str:
        if self.transport is Transport.LOCAL:
            return self.path or "/dev/log"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value}:{host}:{self.port}"


LOCAL_SYSLOG = SyslogAddress()


def priority(facility: str, severity: Severity) -> int:
    """Return the number that a message begins with."""
    return FACILITIES[facility] * 8 + severity


def local_head(priority: int, time: str, tag: str) -> bytes:
    """Return what stands before the text on this machine; ``time`` is such as ``Nov 27 21:40:01``."""
    return f"<{priority}>{time} {tag[:TAG_CHARACTERS]}: ".encode()


def network_head(priority: int, time: str, host: str, tag: str) -> bytes:
    """Return what stands before the text on a network; ``time`` is as RFC 3339 has it."""
    return f"<{priority}>1 {time} {host or '-'} {tag[:TAG_CHARACTERS] or '-'} - - - ".encode()


def messages(head: bytes, line: bytes, most: int, *, is_rest: bool = False) -> list[bytes]:
    """Return the messages for one line, none longer than ``most`` bytes; NUL would end one early."""
    line = (REST + line if is_rest else line).replace(b"\0", b"\\x00")
    room = max(most - len(head), len(REST) + 4)
    found = []
    while len(line) > room:
        cut = character_end(line, 0, room)
        found.append(head + line[:cut])
        line = REST + line[cut:]
    return [*found, head + line]


def counted(message: bytes) -> bytes:
    """Return a message as it goes over TCP: with its length before it (RFC 6587)."""
    return b"%d %s" % (len(message), message)
