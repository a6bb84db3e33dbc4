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
from types import MappingProxyType

from supervisortw.core.syslog import LOCAL_SYSLOG, SyslogAddress

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")
RESERVED_NAMES = frozenset({"all", "up", "down"})
DAEMON_STREAMS = ("/dev/stdout", "/dev/stderr")
DISCARD = "none"  # where output is thrown away
STDERR = "/stderr"  # behind the name of a process: the name of its second log
SYSLOG = "syslog"  # where it is sent to a syslog server
LOGFILE_SIZE = 50 * 1024 * 1024
LOGFILE_BACKUPS = 10
INSECURE_REMOTE = "anyone-can-run-commands-as-me"  # what one has to write out


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


class OnDaemonDeath(enum.Enum):
    """What becomes of a process whose daemon has died."""

    KEEP = "keep"
    STOP = "stop"


class LogFormat(enum.Enum):
    """How the lines of a log are written down."""

    RAW = "raw"
    TEXT = "text"
    JSON = "json"


class Stdin(enum.Enum):
    """What a program reads from as its standard input, where it is no socket."""

    NULL = "null"
    PIPE = "pipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep:
    """One step of a stop, and the seconds before the next step.

    ``signal`` is a number, or None for the step that runs the program's stop command.
    """

    signal: int | None
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of resources, as setrlimit(2) has it; None means unlimited.

    ``name`` is the kernel's without RLIMIT_, in lower case, such as ``nofile``.
    """

    name: str
    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How much of a log is kept: a file of about ``size`` bytes, and ``backups`` older ones.

    Size 0 means that the file may grow without end. ``compress`` makes older files smaller, and
    ``rotate_at`` is when a new file is begun each day, in minutes since midnight, local time.
    """

    size: int = LOGFILE_SIZE
    backups: int = LOGFILE_BACKUPS
    compress: bool = False
    rotate_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningSocket:
    """A socket that the daemon listens on for programs; ``mode`` and ``owner`` are for UNIX ones."""

    name: str
    address: Address
    backlog: int = 128
    mode: int = 0o600
    owner: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to be kept running, and how many processes of it.

    Texts may still hold ``%(process_num)d`` and the like; `supervisortw.core.expand` makes one
    `Process` of it for each number. Times are seconds. ``logfile`` and ``stderr_logfile`` are absolute
    paths, one of DAEMON_STREAMS, DISCARD or SYSLOG; ``stderr_logfile`` None sends both streams to
    ``logfile``. ``processes`` None means one process, which has the program's name and no number.
    ``start_retries`` None means that ``backoff_limit`` counts the tries as well, ``restart_limit``
    None that restarts are not counted, ``stable_seconds`` None that ``backoff_limit`` tells how long a
    stable run is. ``umask``, ``directory`` and ``nice`` None mean the daemon's. After the last of
    ``stop_steps`` comes SIGKILL. ``restart_jitter`` is a fraction of the delay. ``watchdog_seconds`` 0
    means no watchdog. ``remember`` means that a stop by an operator outlasts the daemon. ``unix_group``
    is the group that the process runs as; ``group`` names the <group> that the program is in, or the
    program itself.
    """

    name: str
    command: tuple[str, ...]
    group: str = ""
    group_priority: int | None = None
    priority: int = 999
    processes: int | None = None
    process_name: str = "%(program_name)s_%(process_num)d"
    first_number: int = 0
    auto_start: bool = True
    auto_restart: AutoRestart = AutoRestart.ALWAYS
    essential: bool = False
    oneshot: bool = False
    depends_on: tuple[str, ...] = ()
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
    stable_seconds: float | None = None
    notify: bool = False
    ready_seconds: float = 60.0
    watchdog_seconds: float = 0.0
    stop_steps: tuple[StopStep, ...] = (StopStep(signal=signal.SIGTERM, wait=10.0),)
    stop_command: tuple[str, ...] = ()
    stop_scope: StopScope = StopScope.SESSION
    on_daemon_death: OnDaemonDeath = OnDaemonDeath.KEEP
    remember: bool = False
    user: str | None = None
    unix_group: str | None = None
    directory: str | None = None
    umask: int | None = None
    nice: int | None = None
    limits: tuple[Limit, ...] = ()
    no_new_privileges: bool = False
    cgroup: bool = False
    stdin: Stdin = Stdin.NULL
    stdin_socket: str | None = None
    sockets: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    environment_files: tuple[str, ...] = ()
    pass_environment: tuple[str, ...] = ()
    logfile: str = DISCARD
    stderr_logfile: str | None = None
    logfile_size: int = LOGFILE_SIZE
    logfile_backups: int = LOGFILE_BACKUPS
    logfile_compress: bool = False
    logfile_rotate_at: int | None = None
    log_format: LogFormat = LogFormat.RAW
    log_time: bool = False
    syslog_address: SyslogAddress = LOCAL_SYSLOG
    syslog_facility: str = "daemon"
    syslog_tag: str = "%(process_name)s"

    @property
    def keeping(self) -> Keeping:
        """How much of its logs is kept."""
        return Keeping(
            size=self.logfile_size,
            backups=self.logfile_backups,
            compress=self.logfile_compress,
            rotate_at=self.logfile_rotate_at,
        )

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(Program):
    """One process of a program, with a name of its own and nothing left to be expanded.

    ``name`` is the process's full name, by which operators and answers call it: ``group:process``, or
    the process's name alone where its group has the same. ``program`` is the program's name.
    """

    program: str = ""
    process: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The daemon's own settings. Paths are absolute; ``umask`` and ``socket_mode`` are mode bits.

    ``max_starting`` None means that any number of processes may be starting at once. ``tls_certificate``
    and ``tls_key`` None mean those in the state directory, which are made if they are not there.
    ``peer_login`` is whether the kernel's word is enough for root and the daemon's user.
    """

    sockets: tuple[Address, ...]
    state_directory: str
    logfile: str
    pidfile: str
    logfile_size: int = LOGFILE_SIZE
    logfile_backups: int = LOGFILE_BACKUPS
    socket_mode: int = 0o600
    socket_chown: tuple[str, str | None] | None = None
    passwdfile: str | None = None
    peer_login: bool = True
    tls: bool = True
    tls_certificate: str | None = None
    tls_key: str | None = None
    insecure_plaintext: bool = False
    insecure_anonymous: bool = False
    insecure_remote: bool = False
    loglevel: str = "info"
    nodaemon: bool = False
    directory: str | None = None
    umask: int = 0o022
    user: str | None = None
    max_starting: int | None = None
    start_delay: float = 0.0

    @property
    def keeping(self) -> Keeping:
        """How much of the daemon's log is kept."""
        return Keeping(size=self.logfile_size, backups=self.logfile_backups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration file with its includes.

    ``programs`` keeps the order of the file. ``source`` is the main file and ``files`` every file
    that was read. ``warnings`` are for the operator's eyes; they forbid nothing.
    """

    source: str
    settings: Settings
    programs: Mapping[str, Program] = field(default_factory=dict)
    sockets: Mapping[str, ListeningSocket] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What ``supervisorctl.conf`` says: where to connect, as whom, and how the prompt looks.

    ``fingerprints`` has the SHA-256 of certificates by the addresses of their daemons.
    """

    sockets: tuple[Address, ...]
    prompt: str = "supervisor"
    noauth: bool = False
    user: str | None = None
    password_file: str | None = None
    tls_ca: str | None = None
    tls_name: str | None = None
    fingerprints: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    insecure_plaintext: bool = False


def is_program_name(text: str) -> bool:
    """True if a program may be called ``text``."""
    return NAME.match(text) is not None and text not in RESERVED_NAMES


def unknown_process(name: str) -> Process:
    """Return a record for what is in no configuration any more, and only has to be ended."""
    return Process(
        name=name,
        program=name,
        process=name,
        command=("(removed)",),
        auto_restart=AutoRestart.NEVER,
    )
