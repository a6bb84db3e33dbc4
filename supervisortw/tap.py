"""Where the parts are put together: the service that twistd runs, and the daemon under the holder.

This is the one module that knows them all, and that names the global reactor.
"""

# Twisted's Service has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage

from supervisortw import __version__
from supervisortw import options as command_line
from supervisortw.absence import without_tls
from supervisortw.config.loader import load_daemon
from supervisortw.config.places import find
from supervisortw.core.descriptors import needed
from supervisortw.core.model import Configuration, Process, Settings
from supervisortw.core.plan import Layout
from supervisortw.core.text import printable
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.exits import PidfdWatcher, exit_watcher
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.link import HolderLink
from supervisortw.daemon.listeners import Listeners
from supervisortw.daemon.logbook import LogBook
from supervisortw.daemon.logfiles import open_daemon_log, open_program_log
from supervisortw.daemon.logpipe import LogPipes
from supervisortw.daemon.notify import NotifySockets, notify_directory
from supervisortw.daemon.output import LogFile, Output, PassedOn, output_for
from supervisortw.daemon.places import (
    PidFile,
    lock_state_directory,
    make_directories,
    refuse_unsafe_files,
    write_lock_pid,
)
from supervisortw.daemon.sessions import posix_sessions
from supervisortw.daemon.sockets import ProgramSockets
from supervisortw.daemon.spawn import PosixSpawner
from supervisortw.daemon.stdin import StdinPipes
from supervisortw.daemon.store import NoStore
from supervisortw.daemon.supervisor import Supervisor, Surroundings
from supervisortw.daemon.threads import in_thread
from supervisortw.errors import ConfigError, LocalError, Refused
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory, peer_pid

log = Logger(namespace="supervisor")

LOCK_FD = "SUPERVISOR_LOCK_FD"
STARTED_BY = "SUPERVISOR_STARTED_BY"
FAILED = 1
USER_NOTE = "the key user does not apply under twistd; give twistd --uid"
TWISTD_NOTE = "runs under twistd, without a holder: nothing starts it again if it dies"

Load = Callable[[], Configuration]


class DaemonService(Service):
    """Everything of one daemon: its programs, its listeners, its log.

    Without a ``logbook`` the log is somebody else's (twistd's).
    """

    def __init__(
        self, configuration: Configuration, load: Load, reactor: Any, logbook: LogBook | None
    ) -> None:
        self._reactor = reactor
        self._logbook = logbook
        self._opened = False
        self._exit_code = 0
        self._room_note: str | None = None
        self._file_limit = FileLimit()
        store = NoStore()
        self.sockets = ProgramSockets(configuration.sockets, reactor, store)
        self._notices = NotifySockets(self._notify_directory, reactor, store)
        self._log_pipes = LogPipes(reactor, store)
        watcher = exit_watcher(reactor)
        token = secrets.token_hex(8)
        cgroups = Cgroups.find(token)
        bus = EventBus()
        bus.subscribe(_log_change)
        self.supervisor = Supervisor(
            configuration,
            Surroundings(
                clock=reactor,
                spawner=PosixSpawner(reactor, watcher, self._file_limit),
                sessions=posix_sessions(
                    reactor,
                    self._in_thread,
                    watcher if isinstance(watcher, PidfdWatcher) else None,
                    cgroups,
                    lambda: self.supervisor.roster.pids(),  # noqa: PLW0108  # which is being made here
                ),
                bus=bus,
                environment=dict(os.environ),
                output_for=self._output_for,
                daemon_log=logbook.target if logbook else _twistd_log(),
                stdin=StdinPipes(reactor, store),
                sockets=self.sockets,
                notices=self._notices,
                cgroups=cgroups,
                load=lambda: self._in_thread(load),
                apply=self._apply,
                notes=self.notes,
                make_room=self._make_room,
                check_room=self._file_limit.check_room,
                end=self._end,
                version=__version__,
                token=token,
            ),
        )
        self._factory = ControlFactory(control_portal(self.supervisor), reactor)
        self.listeners = Listeners(self._factory, peer_pid, reactor)

    def privilegedStartService(self) -> None:
        """Bind the listeners. Raises AlreadyRunning if another daemon is alive there."""
        if not self._opened:
            self._opened = True
            self.listeners.open(self.supervisor.configuration.settings)
            for note in self.sockets.open_all():
                log.error("{note}", note=note)

    @property
    def refused(self) -> bool:
        """True if something that the settings ask for is not listened on."""
        return self.listeners.refused or bool(self.sockets.notes())

    def startService(self) -> None:
        """Start the programs as soon as the reactor runs."""
        super().startService()
        self.privilegedStartService()  # twist never calls it
        self._reactor.callWhenRunning(self._boot)

    def _boot(self) -> None:
        self._on_signal(signal.SIGHUP, self._reload)
        self._on_signal(signal.SIGUSR2, self.supervisor.outputs.reopen)
        self.listeners.watch(self.supervisor.configuration.settings)
        self.supervisor.boot()

    def stopService(self) -> Deferred[None]:
        """Stop every program, then the listeners."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        await self.supervisor.shutdown()
        self.sockets.close()
        self._notices.close_all()
        await self.listeners.close()
        self._factory.close_sessions()

    def end_by_signals(self) -> None:
        """Take TERM and INT over from the reactor: a second one disturbs nothing."""
        self._on_signal(signal.SIGTERM, self._asked_to_end)
        self._on_signal(signal.SIGINT, self._asked_to_end)

    def _asked_to_end(self) -> None:
        if self.running:
            self._end()
        else:
            log.info("already shutting down")

    @property
    def exit_code(self) -> int:
        """What the daemon exits with: the code of an essential program that has ended, or 0."""
        return self._exit_code

    def _end(self, code: int = 0) -> None:
        self._exit_code = self._exit_code or code
        with contextlib.suppress(ReactorNotRunning):  # it is stopping already
            self._reactor.stop()

    def _on_signal(self, number: int, act: Callable[[], None]) -> None:
        signal.signal(number, lambda number, frame: self._reactor.callFromThread(act))

    def _reload(self) -> None:
        reloading = ensureDeferred(self.supervisor.reload())
        reloading.addErrback(_log_refusal)

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call ``function`` in a thread, the only way in which this daemon does so."""
        self._file_limit.thread_begins()
        done = in_thread(self._reactor, function, *arguments)
        return done.addBoth(self._thread_is_done)

    def _thread_is_done(self, result: object) -> object:
        self._file_limit.thread_ends()
        return result

    def _output_for(self, process: Process, name: str, path: str) -> Output:
        return output_for(
            path,
            lambda path: open_program_log(process, path),
            partial(self._log_pipes.pipe, name),
        )

    def _notify_directory(self) -> str:
        return notify_directory(self.supervisor.configuration.settings.state_directory)

    def _make_room(self, layout: Layout) -> None:
        """Be allowed to have as many files open as all this needs."""
        files = needed(layout.processes.values(), len(layout.sockets))
        note = self._file_limit.raise_to(files)
        if note is not None and note != self._room_note:
            log.error("{note}", note=note)
        self._room_note = note

    def notes(self) -> list[str]:
        """Return what an operator should know about the daemon."""
        room = [] if self._room_note is None else [self._room_note]
        return [*self.listeners.notes(), *self.sockets.notes(), *room]

    def _apply(self, old: Configuration, new: Configuration) -> Deferred[Sequence[str]]:
        return ensureDeferred(self._apply_all(old, new))

    async def _apply_all(self, old: Configuration, new: Configuration) -> Sequence[str]:
        remarks = await self._apply_settings(old.settings, new.settings)
        return [*remarks, *await self.sockets.apply(new.sockets)]

    async def _apply_settings(self, old: Settings, new: Settings) -> Sequence[str]:
        remarks = []
        if self._logbook is not None:  # under twistd it is twistd's
            os.umask(new.umask)
        try:
            make_directories(new)
            if self._logbook is not None:
                self._logbook.set_level(new.loglevel)
                if old.logfile != new.logfile:
                    self._logbook.target.move(new.logfile, lambda: open_daemon_log(new.logfile))
        except LocalError as error:
            remarks.append(str(error))
        if _listening(old) != _listening(new):
            await self.listeners.change(new)
        return [*remarks, *self.listeners.notes()]


def _use_monotonic_time(reactor: Any) -> None:
    """Let timers run by a clock that nobody can set back, as the wall clock of Twisted can be."""
    reactor.seconds = time.monotonic


def _listening(settings: Settings) -> tuple[object, ...]:
    return (settings.sockets, settings.socket_mode, settings.socket_chown)


def _twistd_log() -> Output:
    return PassedOn("the log of twistd", lambda: os.dup(1))


def _log_change(change: StateChanged) -> None:
    log.info("{change}", change=change)


def _log_refusal(failure: Any) -> None:
    failure.trap(Refused)
    for line in str(failure.value).splitlines():
        log.error("reload refused: {line}", line=line)


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
            self.load = lambda: _load_safely(path)
            self.configuration = self.load()
            make_directories(self.configuration.settings)
            self.lock = lock_state_directory(self.configuration.settings)
        except (ConfigError, LocalError) as error:
            raise usage.UsageError(str(error)) from None


def _load_safely(path: str, **keys: Any) -> Configuration:
    """Load a configuration that nobody else could have written."""
    configuration = load_daemon(path, **keys)
    refuse_unsafe_files(configuration.files)
    return configuration


def makeService(options: Options) -> DaemonService:
    """Return the service for ``twistd supervisor``; called before twistd forks."""
    from twisted.internet import reactor  # noqa: PLC0415  # twistd chooses it first

    _use_monotonic_time(reactor)
    return TwistdService(options.configuration, options.load, reactor, options.lock)


class TwistdService(DaemonService):
    """The daemon without a holder, and with twistd's log."""

    def __init__(self, configuration: Configuration, load: Load, reactor: Any, lock: int) -> None:
        super().__init__(configuration, load, reactor, None)
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
    with without_tls():  # no listener speaks it yet
        from twisted.internet import reactor  # noqa: PLC0415  # only an entry point names it

    link = HolderLink.inherited(os.environ)
    options = command_line.parse(arguments)
    try:
        code = _serve(options, reactor, link)
    except (ConfigError, LocalError) as error:
        print(printable(f"supervisord: {error}"), file=sys.stderr)
        code = FAILED
    if link is not None:
        link.final(code)
    return code


def _serve(options: command_line.Options, reactor: Any, link: HolderLink | None) -> int:
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
        name.write("supervisord")  # what ps and pgrep show
    _use_monotonic_time(reactor)
    assert options.config is not None, "the holder is given the file that was found"

    started_by = int(os.environ.pop(STARTED_BY))

    def load() -> Configuration:
        return _load_safely(options.config or "", overrides=options.overrides, uid=started_by)

    configuration = load()
    settings = configuration.settings
    foreground = options.foreground or settings.nodaemon
    os.umask(settings.umask)
    lock = int(os.environ.pop(LOCK_FD))
    os.set_inheritable(lock, False)
    write_lock_pid(lock)
    logfile = LogFile(settings.logfile, lambda: open_daemon_log(settings.logfile))
    logfile.open()
    logbook = LogBook(logfile, settings.loglevel, echo=foreground)
    globalLogBeginner.beginLoggingTo([logbook.observer()], redirectStandardIO=False)
    pidfile = PidFile(settings.pidfile)
    service = DaemonService(configuration, load, reactor, logbook)
    try:
        service.privilegedStartService()
        if service.refused and options.strict:
            notes = service.notes()
            raise LocalError("\n".join(["nothing was started (--strict):", *notes]))
    except LocalError:
        service.listeners.discard()
        service.sockets.close()
        raise
    pidfile.write()
    log.info("supervisord {version} started, pid {pid}", version=__version__, pid=os.getpid())
    print(printable(report(configuration, service.notes())), flush=True)
    if link is not None:
        link.ready()
    if not foreground:
        _let_go_of_the_terminal()
    service.startService()
    reactor.callWhenRunning(service.end_by_signals)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    pidfile.remove()
    log.info("supervisord ended")
    return service.exit_code


def report(configuration: Configuration, notes: Sequence[str]) -> str:
    """Return what supervisord prints once it is up."""
    settings = configuration.settings
    sockets = [str(address) for address in settings.sockets]
    lines = [
        f"supervisord {__version__} is up",
        f"  configuration  {configuration.source}",
        *(f"  control socket {socket}" for socket in sockets),
        f"  log            {settings.logfile}",
        f"  pid            {os.getpid()}",
        f"  programs       {len(configuration.programs)}",
        *(f"  warning: {note}" for note in notes),
    ]
    if sockets:
        lines.append(f"steer it with:   {_beside_us('supervisorctl')} -s {sockets[0]}")
    return "\n".join(lines)


def _beside_us(program: str) -> str:
    """Return how to call a program that was installed together with us."""
    path = os.path.join(os.path.dirname(sys.executable), program)
    return path if os.path.exists(path) else program


def _let_go_of_the_terminal() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
