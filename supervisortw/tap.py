"""The two ways in: the service that twistd runs, and the daemon under the holder.

This module names the global reactor; `supervisortw.service` puts the parts together.
"""

# Twisted's Service has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage

from supervisortw import __version__
from supervisortw import options as command_line
from supervisortw.absence import lean
from supervisortw.config.places import find
from supervisortw.core.model import DAEMON_STREAMS, Configuration
from supervisortw.core.text import printable
from supervisortw.daemon.activation import Activated
from supervisortw.daemon.autogroup import weigh_more
from supervisortw.daemon.heritage import inherit
from supervisortw.daemon.link import HolderLink
from supervisortw.daemon.listeners import Listeners
from supervisortw.daemon.logs.echo import Echo
from supervisortw.daemon.logs.logbook import LogBook
from supervisortw.daemon.logs.logfile import LogFile
from supervisortw.daemon.logs.logfiles import daemon_log_directory
from supervisortw.daemon.logs.stream import own_stream
from supervisortw.daemon.places import (
    PidFile,
    lock_state_directory,
    make_directories,
    write_lock_pid,
)
from supervisortw.errors import ConfigError, LocalError
from supervisortw.inforce import InForce
from supervisortw.service import DaemonService

log = Logger(namespace="supervisor")

LOCK_FD = "SUPERVISOR_LOCK_FD"
STARTED_BY = "SUPERVISOR_STARTED_BY"
STATE_DIRECTORY = "SUPERVISOR_STATE_DIRECTORY"
FAILED = 1
USER_NOTE = "the key user does not apply under twistd; give twistd --uid"
TWISTD_NOTE = "runs under twistd, without a holder: nothing starts it again if it dies"


def _use_monotonic_time(reactor: Any) -> None:
    """Let timers run by a clock that nobody can set back, as the wall clock of Twisted can be."""
    reactor.seconds = time.monotonic


# Under twistd.


class Options(usage.Options):
    """The options of ``twistd supervisor``."""

    optParameters = [["config", "c", None, "The configuration file of supervisord."]]  # noqa: RUF012
    longdesc = "Start the programs of a configuration file and keep them running."

    def postOptions(self) -> None:
        """Check all that can be checked now: what twistd finds wrong here, it tells in plain words.

        The lock that is taken here is kept over twistd's forks.
        """
        try:
            path = os.path.abspath(self["config"]) if self["config"] else find("supervisord")
            self.in_force = InForce(path)
            self.configuration = self.in_force.from_disk()
            make_directories(self.configuration.settings)
            self.lock = lock_state_directory(self.configuration.settings)
        except (ConfigError, LocalError) as error:
            raise usage.UsageError(str(error)) from None


def makeService(options: Options) -> DaemonService:
    """Return the service for ``twistd supervisor``; called before twistd forks."""
    from twisted.internet import reactor  # noqa: PLC0415  # twistd chooses it first

    _use_monotonic_time(reactor)
    settings = options.configuration.settings
    return TwistdService(options.in_force, settings.state_directory, reactor, options.lock)


class TwistdService(DaemonService):
    """The daemon without a holder, and with twistd's log."""

    def __init__(self, in_force: InForce, state_directory: str, reactor: Any, lock: int) -> None:
        heritage = inherit(state_directory, None)
        configuration, reload_at_once = in_force.first(heritage, state_directory)
        super().__init__(
            configuration, in_force, heritage, reactor, None, reload_at_once=reload_at_once
        )
        self._lock = lock

    def notes(self) -> list[str]:
        """Tell what is missing here."""
        user = self.supervisor.configuration.settings.user
        ignored = [USER_NOTE] if user is not None else []
        return [TWISTD_NOTE, *ignored, *super().notes()]

    def privilegedStartService(self) -> None:
        """Tell our pid, now that twistd has forked, and bind the listeners; or exit with code 1."""
        if not self._opened:
            write_lock_pid(self._lock)
        try:
            super().privilegedStartService()
        except LocalError as error:
            raise SystemExit(f"supervisord: {error}") from None


# Under the holder.


def main(arguments: Sequence[str]) -> int:
    """Be the daemon that the holder has started; return the exit code."""
    with lean():  # no listener speaks it yet
        from twisted.internet import reactor  # noqa: PLC0415  # only an entry point names it

    link = HolderLink.inherited(os.environ)
    options = command_line.parse(arguments)
    try:
        return _serve(options, reactor, link)
    except (ConfigError, LocalError) as error:
        print(printable(f"supervisord: {error}"), file=sys.stderr)
        if link is not None and link.generation > 0:
            return FAILED  # the holder tries again: programs may be running
    if link is not None:
        link.final(FAILED)
    return FAILED


def _introduce_ourselves() -> None:
    """Let the system know what we are: how we are called, and how much we weigh."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("supervisord")  # what ps and pgrep show
    weigh_more()


def _serve(options: command_line.Options, reactor: Any, link: HolderLink | None) -> int:
    _introduce_ourselves()
    _use_monotonic_time(reactor)
    assert options.config is not None, "the holder is given the file that was found"

    started_by = int(os.environ.pop(STARTED_BY))
    state_directory = os.environ.pop(STATE_DIRECTORY)
    in_force = InForce(options.config, overrides=options.overrides, uid=started_by)
    heritage = inherit(state_directory, link)
    configuration, reload_at_once = in_force.first(heritage, state_directory)
    settings = configuration.settings
    foreground = options.foreground or settings.nodaemon
    os.umask(settings.umask)
    lock = int(os.environ.pop(LOCK_FD))
    os.set_inheritable(lock, False)
    write_lock_pid(lock)
    logfile = LogFile(
        settings.logfile, daemon_log_directory(settings.logfile), settings.keeping, reactor
    )
    logfile.open()
    stdout = own_stream(DAEMON_STREAMS[0], reactor)
    logbook = LogBook(logfile, settings.loglevel, Echo(stdout) if foreground else None)
    globalLogBeginner.beginLoggingTo([logbook.observer()], redirectStandardIO=False)
    pidfile = PidFile(settings.pidfile)
    if link is not None and link.last_end is not None:
        log.error("supervisord has died ({how}) and was started again", how=link.last_end)
    service = DaemonService(
        configuration,
        in_force,
        heritage,
        reactor,
        logbook,
        reload_at_once=reload_at_once,
        stdout=stdout,
        activated=Activated.inherited(os.environ),
    )
    try:
        service.privilegedStartService()
        if service.refused and options.strict and not heritage.follows:
            notes = service.notes()
            raise LocalError("\n".join(["nothing was started (--strict):", *notes]))
    except LocalError:
        service.listeners.discard()
        if not heritage.restarted:  # the sockets of programs that may be running
            service.sockets.close()
        raise
    pidfile.write()
    log.info("supervisord {version} started, pid {pid}", version=__version__, pid=os.getpid())

    def ready() -> None:
        """Tell those who wait: from now on signals and clients are heard."""
        service.end_by_signals()
        print(printable(report(configuration, service.listeners, service.notes())), flush=True)
        if link is not None:
            link.ready()
        if not foreground:
            _let_go_of_the_terminal(service)

    service.startService()
    reactor.callWhenRunning(ready)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    pidfile.remove()
    log.info("supervisord ended")
    return _last_words(service, link)


def _last_words(service: DaemonService, link: HolderLink | None) -> int:
    """Tell the holder that this is on purpose; only then nothing has to be left to a later daemon."""
    if link is not None:
        link.final(service.exit_code)
    service.forget()
    return service.exit_code


def report(configuration: Configuration, listeners: Listeners, notes: Sequence[str]) -> str:
    """Return what supervisord prints once it is up."""
    settings = configuration.settings
    lines = [
        f"supervisord {__version__} is up",
        f"  configuration  {configuration.source}",
        *(f"  control socket {socket}" for socket in listeners.shown()),
        f"  log            {settings.logfile}",
        f"  pid            {os.getpid()}",
        f"  programs       {len(configuration.programs)}",
        *(f"  warning: {note}" for note in notes),
    ]
    if listeners.names:
        lines.append(f"steer it with:   {_beside_us('supervisorctl')} -s {listeners.names[0]}")
    return "\n".join(lines)


def _beside_us(program: str) -> str:
    """Return how to call a program that was installed together with us."""
    path = os.path.join(os.path.dirname(sys.executable), program)
    return path if os.path.exists(path) else program


def _let_go_of_the_terminal(service: DaemonService) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    service.streams_have_changed()
