"""What a configuration says, as plain frozen records.

Knows names, types and defaults. Must not know ZConfig, files, users or processes: a model can be
built and compared on a machine where none of what it names exists.
"""

from __future__ import annotations

import enum
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")
RESERVED_NAMES = frozenset({"all", "up", "down"})
DAEMON_STREAMS = ("/dev/stdout", "/dev/stderr")


class AutoRestart(enum.Enum):
    """When a program that ended is started again (decided together with ``exit_codes``)."""

    ALWAYS = "true"
    UNEXPECTED = "unexpected"
    NEVER = "false"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """A control socket in the file system; ``path`` is absolute."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A control port; an empty ``host`` means every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Address = UnixAddress | TcpAddress


class StopScope(enum.Enum):
    """Which processes a stop ends."""

    SESSION = "session"
    LEADER = "leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep:
    """One step of a stop: a signal by its number, and the seconds before the next step."""

    signal: int
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program to be kept running.

    Times are seconds. ``logfile`` is an absolute path, one of DAEMON_STREAMS, or None for "discard".
    ``start_retries`` None means that ``backoff_limit`` counts the tries as well, and ``restart_limit``
    None that restarts are not counted. ``umask`` None means the daemon's. After the last of
    ``stop_steps`` comes SIGKILL. ``restart_jitter`` is a fraction of the delay.
    """

    name: str
    command: tuple[str, ...]
    priority: int = 999
    auto_start: bool = True
    auto_restart: AutoRestart = AutoRestart.ALWAYS
    exit_codes: frozenset[int] = frozenset()
    backoff_limit: int = 3
    forever: bool = False
    start_seconds: float = 1.0
    start_retries: int | None = None
    restart_delay: float = 1.0
    restart_delay_max: float = 60.0
    restart_jitter: float = 0.1
    restart_limit: int | None = None
    restart_period: float = 60.0
    stop_steps: tuple[StopStep, ...] = (StopStep(signal=signal.SIGTERM, wait=10.0),)
    stop_scope: StopScope = StopScope.SESSION
    user: str | None = None
    group: str | None = None
    umask: int | None = None
    environment: tuple[tuple[str, str], ...] = ()
    environment_files: tuple[str, ...] = ()
    logfile: str | None = None
    pass_environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The daemon's own settings. Paths are absolute; ``umask`` and ``socket_mode`` are mode bits."""

    sockets: tuple[Address, ...]
    state_directory: str
    logfile: str
    pidfile: str
    socket_mode: int = 0o600
    socket_chown: tuple[str, str | None] | None = None
    passwdfile: str | None = None
    loglevel: str = "info"
    nodaemon: bool = False
    directory: str | None = None
    umask: int = 0o022
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration file with its includes.

    ``programs`` keeps the order of the file. ``source`` is the main file and ``files`` every file
    that was read. ``warnings`` are for the operator's eyes; they forbid nothing.
    """

    source: str
    settings: Settings
    programs: Mapping[str, Program] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What ``supervisorctl.conf`` says: where to connect, and how the prompt looks."""

    sockets: tuple[Address, ...]
    prompt: str = "supervisor"
    noauth: bool = False
    user: str | None = None


def is_program_name(text: str) -> bool:
    """True if a program may be called ``text``."""
    return NAME.match(text) is not None and text not in RESERVED_NAMES
