"""Making everything ready for a program's next process: who it is, what it inherits and is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.logger import Logger

from supervisortw.core.environment import build, inherited, withheld
from supervisortw.core.model import Process, Settings, Stdin
from supervisortw.core.notify import Notice
from supervisortw.core.signals import death_signal
from supervisortw.core.spawnid import VARIABLE, SpawnId
from supervisortw.daemon.envfiles import read_all
from supervisortw.daemon.identity import Identities
from supervisortw.daemon.logs.outputs import Outputs
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity, SpawnRequest

log = Logger(namespace="supervisor")

MICROSECONDS = 1_000_000


class ListeningSockets(Protocol):
    """The sockets that the daemon listens on for programs."""

    def descriptor(self, name: str) -> int:
        """Return the descriptor of a socket. Raises SpawnError with the reason if there is none."""


class StandardInputs(Protocol):
    """What operators write to programs that read it."""

    def reader(self, name: str) -> int:
        """Return the reading end of a new pipe for the process ``name``; the caller closes it.

        Raises SpawnError.
        """

    def adopt(self, name: str) -> bool:
        """Go on writing to a process of a former daemon; False if it left no pipe behind."""

    def write(self, name: str, data: bytes) -> None:
        """Have ``data`` read by the process. Raises Refused."""

    def close(self, name: str) -> None:
        """Let the process read the end of its input."""


class NoticeBoard(Protocol):
    """Where programs say that they are ready."""

    def open(self, name: str, uid: int, heard: Callable[[Notice, int], None]) -> str:
        """Return the path of a new socket for the process ``name`` of user ``uid``.

        What was said to the one before is forgotten. Raises SpawnError.
        """

    def adopt(self, name: str, uid: int, heard: Callable[[Notice, int], None]) -> str:
        """Go on listening to a process that a former daemon has started. Raises SpawnError."""

    def close(self, name: str) -> None:
        """Let go of the socket of a process, if it has one."""


class ControlGroups(Protocol):
    """The control groups of processes."""

    def directory_for(self, name: str) -> str:
        """Return the directory of the group for the process ``name``. Raises SpawnError."""

    def memory_events(self, name: str) -> str | None:
        """Return the file that tells what lack of memory has done to the group, if there may be one."""

    def remove(self, name: str) -> object:
        """Remove the group of a process, if it has one and nobody is in it."""


class Preparation:
    """Makes the requests for new processes.

    ``settings`` are the daemon's as they are now. ``heard`` is told what a process says of itself.
    ``check_room`` raises SpawnError while there is no room for one more.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        settings: Callable[[], Settings],
        identities: Identities,
        outputs: Outputs,
        stdin: StandardInputs,
        sockets: ListeningSockets,
        notices: NoticeBoard,
        cgroups: ControlGroups,
        heard: Callable[[str, Notice], None],
        check_room: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._settings = settings
        self._identities = identities
        self._outputs = outputs
        self._stdin = stdin
        self._sockets = sockets
        self._notices = notices
        self._cgroups = cgroups
        self._heard = heard
        self._check_room = check_room
        self._inherited: dict[object, dict[str, str]] = {}
        self._withheld_told: set[str] = set()

    def process(self, process: Process, spawn: SpawnId) -> SpawnRequest:
        """Make everything ready for the main process. Raises SpawnError."""
        if not self._outputs.are_read(process):  # else all that it needs for good is there already
            self._check_room()
        identity = self._identities.of(process.user, process.unix_group)
        environment = self._environment_of(process, identity)
        environment[VARIABLE] = str(spawn)
        if process.notify:
            environment |= self._notify_variables(process, identity)
        return self._request(
            process,
            process.command,
            environment,
            identity,
            listening=tuple([(name, self._sockets.descriptor(name)) for name in process.sockets]),
            cgroup=self._cgroups.directory_for(process.name) if process.cgroup else None,
            death_signal=death_signal(process),
            stdin=self._stdin_of(process),
        )

    def go_on(self, process: Process) -> None:
        """Take over what a process that is there was given by a former daemon."""
        if not self._outputs.are_read(process):
            text = "{name}: what it prints is lost until it is started again"
            log.warn(text, name=process.name)
        if process.stdin is Stdin.PIPE and not self._stdin.adopt(process.name):
            log.warn("{name}: nothing can be written to its standard input", name=process.name)
        if process.notify:
            try:
                identity = self._identities.of(process.user, process.unix_group)
                self._notices.adopt(process.name, _uid(identity), self._hearing(process.name))
            except SpawnError as error:
                log.error("{name}: cannot hear it: {error}", name=process.name, error=error)

    def stop_command(self, process: Process, pid: int) -> SpawnRequest:
        """Make everything ready for the stop command. Raises SpawnError."""
        identity = self._identities.of(process.user, process.unix_group)
        environment = self._environment_of(process, identity)
        environment["SUPERVISOR_PID"] = str(pid)
        return self._request(process, process.stop_command, environment, identity)

    def _request(
        self,
        process: Process,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        identity: Identity | None,
        *,
        stdin: int | None = None,
        listening: tuple[tuple[str, int], ...] = (),
        cgroup: str | None = None,
        death_signal: int | None = None,
    ) -> SpawnRequest:
        """Make a request for a process that reads from ``stdin``, which is the request's from now on."""
        umask = self._settings().umask if process.umask is None else process.umask
        try:
            directory = process.directory or _working_directory()
            stdout, stderr = self._outputs.writers(process, _uid(identity))
        except BaseException:
            if stdin is not None:
                os.close(stdin)
            raise
        return SpawnRequest(
            command=command,
            environment=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            listening=listening,
            identity=identity,
            umask=umask,
            directory=directory,
            nice=process.nice,
            limits=process.limits,
            no_new_privileges=process.no_new_privileges,
            cgroup=cgroup,
            death_signal=death_signal,
        )

    def _environment_of(self, process: Process, identity: Identity | None) -> dict[str, str]:
        login = identity.login if identity else None
        key = (login, process.pass_environment)
        if key not in self._inherited:
            self._inherited[key] = inherited(self._environment, *key)
        environment = build(process, self._inherited[key], read_all(process.environment_files))
        if process.program not in self._withheld_told:
            self._withheld_told.add(process.program)
            self._tell_what_is_withheld(process, environment)
        return environment

    def _tell_what_is_withheld(self, process: Process, environment: Mapping[str, str]) -> None:
        names = withheld(self._environment, environment)
        if names:
            log.info(
                "{name} does not get these variables of supervisord: {withheld}",
                name=process.program,
                withheld=", ".join(names),
            )

    def _notify_variables(self, process: Process, identity: Identity | None) -> dict[str, str]:
        name = process.name
        path = self._notices.open(name, _uid(identity), self._hearing(name))
        variables = {"NOTIFY_SOCKET": path}
        if process.watchdog_seconds > 0:
            variables["WATCHDOG_USEC"] = str(round(process.watchdog_seconds * MICROSECONDS))
        return variables

    def _hearing(self, name: str) -> Callable[[Notice, int], None]:
        return lambda notice, pid: self._heard(name, notice)

    def _stdin_of(self, process: Process) -> int | None:
        """Return a descriptor for a new process to read from; the caller closes it."""
        if process.stdin_socket is not None:
            return _copy(self._sockets.descriptor(process.stdin_socket))
        if process.stdin is Stdin.PIPE:
            return self._stdin.reader(process.name)
        return None


def _uid(identity: Identity | None) -> int:
    return os.geteuid() if identity is None else identity.uid


def _copy(socket: int) -> int:
    try:
        return os.dup(socket)
    except OSError as error:
        reason = f"no descriptor for stdin: {error.strerror}"
        raise SpawnError(reason, permanent=False) from None


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        reason = f"the working directory of supervisord is gone: {error.strerror}"
        raise SpawnError(reason, permanent=True) from None
