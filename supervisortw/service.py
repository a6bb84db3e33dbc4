"""The service of one daemon: where its parts are put together. No other module knows them all."""

# Twisted's Service has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from supervisortw import __version__
from supervisortw.core.happening import Kind
from supervisortw.core.memory import Memory
from supervisortw.core.model import STDERR, Configuration, Process, Settings
from supervisortw.core.passwd import NOBODY
from supervisortw.daemon import proc
from supervisortw.daemon.activation import Activated
from supervisortw.daemon.adopted import AdoptedProcesses
from supervisortw.daemon.adoption import Adoption, Traces
from supervisortw.daemon.asked import AskedBy
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.daemon.departures import Departures
from supervisortw.daemon.deputies import Deputies
from supervisortw.daemon.events import EventBus, StateChanged
from supervisortw.daemon.exits import PidfdWatcher, SigchldWatcher
from supervisortw.daemon.filelimits import FileLimit
from supervisortw.daemon.herald import Herald
from supervisortw.daemon.heritage import Heritage
from supervisortw.daemon.history import History, events_left
from supervisortw.daemon.lent import LentSockets
from supervisortw.daemon.listeners import Listeners
from supervisortw.daemon.living import LivingProcesses
from supervisortw.daemon.logs.compression import Compressor
from supervisortw.daemon.logs.daily import Daily
from supervisortw.daemon.logs.destinations import Destinations
from supervisortw.daemon.logs.logbook import LogBook
from supervisortw.daemon.logs.logfile import LogFile
from supervisortw.daemon.logs.logfiles import ProgramLogs, daemon_log_directory
from supervisortw.daemon.logs.logpipe import LogPipes
from supervisortw.daemon.logs.output import Output, PassedOn
from supervisortw.daemon.logs.stamps import Stamps
from supervisortw.daemon.logs.stream import Stream
from supervisortw.daemon.logs.targets import Targets
from supervisortw.daemon.logs.upkeep import DailyUpkeep
from supervisortw.daemon.notify import NotifySockets, notify_directory
from supervisortw.daemon.oom import OomKills
from supervisortw.daemon.orphans import Orphans
from supervisortw.daemon.phases import ending
from supervisortw.daemon.places import make_directories
from supervisortw.daemon.remembered import Remembered
from supervisortw.daemon.room import FileRoom
from supervisortw.daemon.sessions import posix_sessions
from supervisortw.daemon.slot import Slot
from supervisortw.daemon.sockets import ProgramSockets
from supervisortw.daemon.spawn import PosixSpawner
from supervisortw.daemon.stdin import StdinPipes
from supervisortw.daemon.supervisor import Supervisor
from supervisortw.daemon.surroundings import Surroundings
from supervisortw.daemon.tcpcontrol import TcpControl, Tls
from supervisortw.daemon.threads import in_thread
from supervisortw.errors import LocalError, Refused
from supervisortw.inforce import InForce
from supervisortw.interfaces import DescriptorStore
from supervisortw.passwords.accounts import Accounts
from supervisortw.remote.realm import control_portal
from supervisortw.remote.server import ControlFactory, peer_pid

log = Logger(namespace="supervisor")

HOLDER_NOTE = "the holder has died: nothing starts supervisord again if it dies"
DAEMON_LOG = "/supervisord"  # its name in the journal, which no process has
DISK_NOTE = "the configuration on disk is not the one in force; 'reload' applies it"


class DaemonService(Service):
    """Everything of one daemon: its programs, its listeners, its log.

    ``in_force`` is where ``configuration`` came from, and ``heritage`` what the daemon before has left.
    ``reload_at_once`` applies what the disk says as soon as the processes that are left are taken over.
    Without a ``logbook`` the log is somebody else's (twistd's). ``stdout`` is what the logbook writes
    to as well, if it does. ``activated`` are sockets that were opened for us.
    """

    def __init__(
        self,
        configuration: Configuration,
        in_force: InForce,
        heritage: Heritage,
        reactor: Any,
        logbook: LogBook | None,
        *,
        reload_at_once: bool = False,
        stdout: Stream | None = None,
        activated: Activated | None = None,
    ) -> None:
        self._in_force = in_force
        self._heritage = heritage
        self._reactor = reactor
        self._logbook = logbook
        self._reload_at_once = reload_at_once
        self._opened = False
        self._exit_code = 0
        self._disk_differs = False
        self._file_limit = FileLimit()
        self._room = FileRoom(self._file_limit)
        self._journal = heritage.journal(configuration.settings.state_directory)
        store = self._fetched_store()
        state_directory = configuration.settings.state_directory
        living = LivingProcesses()
        lent = LentSockets(store, living, configuration.sockets, self._left_processes)
        self.sockets = ProgramSockets(configuration.sockets, reactor, lent)
        self._notices = NotifySockets(self._notify_directory, reactor, store)
        watcher = SigchldWatcher(reactor, self._together)
        self._deputies = Deputies(reactor, watcher)
        self._program_logs = ProgramLogs(reactor, self._deputies)
        stamps = Stamps()
        self._targets = Targets(reactor, self._in_thread, stamps, stdout, self._note_of_log)
        pipes = LogPipes(reactor, store)
        self._destinations = Destinations(pipes, self._targets, self._log_file, stamps)
        self._compressor = Compressor(self._in_thread)
        self._upkeep = DailyUpkeep(Daily(reactor), self._compressor, self._in_thread)
        pidfds = PidfdWatcher(reactor) if PidfdWatcher.works() else None
        departures = Departures(reactor, pidfds)
        self._adopted = AdoptedProcesses(reactor, departures, pidfds)
        self._orphans = Orphans(reactor, watcher, self._in_thread)
        self._ends: dict[int, int] = {}
        cgroups = Cgroups.find(heritage.token)
        events = events_left(state_directory, heritage.world)
        bus, told_later = EventBus(), EventBus()
        self._herald = Herald(reactor, told_later.publish)
        self._history = History(reactor, time.time, events)
        told_later.subscribe(_log_change)
        told_later.subscribe(self._history.changed)
        bus.subscribe(self._herald.take)
        self.supervisor = Supervisor(
            configuration,
            Surroundings(
                clock=reactor,
                spawner=PosixSpawner(reactor, watcher, self._file_limit, telling=self._together),
                sessions=posix_sessions(
                    reactor,
                    self._in_thread,
                    pidfds,
                    cgroups,
                    lambda: self.supervisor.roster.pids(),  # noqa: PLW0108  # which is being made here
                ),
                bus=bus,
                history=self._history,
                environment=dict(os.environ),
                output_for=self._destinations.output,
                daemon_log=logbook.target if logbook else _twistd_log(),
                stdin=StdinPipes(reactor, store),
                sockets=self.sockets,
                notices=self._notices,
                cgroups=cgroups,
                load=lambda: self._in_thread(in_force.from_disk),
                apply=self._apply,
                notes=self.notes,
                room=self._room,
                end=self._end,
                version=__version__,
                token=heritage.token,
                start_clock=proc.clock,
                journal=self._journal,
                left=heritage.left,
                adoption=self._adoption(living) if heritage.follows else None,
                remembered=Remembered(state_directory, self._in_thread),
                oom=OomKills(reactor, cgroups),
                later=Herald(reactor, Slot.attend, together=self._together).take,
            ),
        )
        if logbook is not None:
            anchor = heritage.left.logs.get(DAEMON_LOG)
            logbook.target.go_on(anchor, partial(self._journal.log, DAEMON_LOG))
        settings = configuration.settings
        self._accounts = Accounts(settings.passwdfile, reactor)
        asked_by = partial(AskedBy, self.supervisor)
        self._factory = ControlFactory(
            control_portal(asked_by, self._history.asked, self._accounts),
            reactor,
            self._accounts,
            peer_login=settings.peer_login,
            sessions_open=self._accounts.sessions_open,
        )
        tcp = TcpControl(self._factory, _load_tls, self._has_users, self._in_thread, reactor)
        self.listeners = Listeners(self._factory, tcp, peer_pid, reactor, activated)

    def _together(self) -> contextlib.AbstractContextManager[None]:
        return ending(self._journal, self.supervisor.admission)

    def _has_users(self) -> bool:
        """True if anybody can log in by password."""
        passwd = self._accounts.passwd()
        return passwd is not None and passwd.enabled > 0

    def _accounts_have_changed(self) -> None:
        self._factory.revise(self._accounts.passwd() if self._accounts.is_wanted else NOBODY)
        if self.listeners.refused and self._has_users():  # which can be what they have waited for
            changing = self.listeners.change(self.supervisor.configuration.settings)
            changing.addErrback(lambda failure: log.failure("control sockets not opened", failure))

    def _fetched_store(self) -> DescriptorStore:
        """Return the store, with what the daemon before had kept there."""
        link = self._heritage.link
        if link is not None and self._heritage.follows:
            self._file_limit.raise_fully()
            link.fetch()
        return self._heritage.store

    @property
    def _is_held(self) -> bool:
        link = self._heritage.link
        return link is not None and link.alive and link.pid == os.getppid()

    def _left_processes(self) -> Iterator[tuple[Process, Memory]]:
        left = self._heritage.left.processes
        for process in self.supervisor.roster:
            memory = process.memory if process.pid else left.get(process.program.name)
            if memory is not None:
                yield process.program, memory

    def _adoption(self, living: LivingProcesses) -> Adoption:
        link = self._heritage.link
        traces = Traces(
            token=self._heritage.left.token,
            holder=link.pid if link is not None and self._is_held else 0,
            statuses=self._statuses,
            complete=self._heritage.complete,
        )
        return Adoption(living, self._adopted, traces)

    def _statuses(self) -> dict[int, int]:
        """Return how the holder's children have ended, as far as it is known now."""
        if self._heritage.link is not None:
            self._ends.update(self._heritage.link.ended_now())
        return self._ends

    def privilegedStartService(self) -> None:
        """Bind the listeners. Raises AlreadyRunning if another daemon is alive there."""
        if not self._opened:
            self._opened = True
            self.listeners.open(self.supervisor.configuration.settings)
            if not self._opens_sockets_late:
                self._open_sockets()

    @property
    def _opens_sockets_late(self) -> bool:
        """True if programs may have sockets of which is known only when these are taken over.

        Under twistd there may be no right to open ports then.
        """
        return self._heritage.follows and self._heritage.link is not None

    def _open_sockets(self) -> None:
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
        self._accounts.watch(self._accounts_have_changed)
        self._history.note(Kind.DAEMON, self._beginning())
        try:
            self.supervisor.boot()
        except Exception:  # some programs may be going on, and clients can ask
            log.failure("not all programs were started or taken over")
        if self._heritage.follows:
            self._open_sockets()  # also those that only programs had whose start was cut short
        self._listen_to_the_holder()
        if self._reload_at_once:
            self._reload()
        elif self._heritage.follows:
            self._look_at_the_disk()

    def _beginning(self) -> str:
        """Say how this daemon has come to be there."""
        pid = os.getpid()
        if not self._heritage.follows:
            return f"supervisord {__version__} started, pid {pid}"
        link = self._heritage.link
        how = f" ({link.last_end})" if link is not None and link.last_end is not None else ""
        return f"supervisord {__version__} took over, pid {pid}; the one before has died{how}"

    def _listen_to_the_holder(self) -> None:
        link = self._heritage.link
        if link is None:
            self._orphans.take_over()
            return
        link.drop_untaken()
        ends, self._ends = self._ends, {}
        for pid, status in ends.items():
            self._orphan_ended(pid, status)  # for most of them, all is settled by now
        link.listen(self._reactor, self._orphan_ended, self._holder_died)

    def _orphan_ended(self, pid: int, status: int) -> None:
        try:
            self._adopted.ended(pid, status)
        except Exception:
            log.failure("the end of pid {pid} came to nothing", pid=pid)
        if self._heritage.link is not None:
            self._heritage.link.forget(pid)

    def _holder_died(self) -> None:
        log.error("{note}", note=HOLDER_NOTE)
        self._adopted.holder_is_gone()
        self._orphans.take_over()

    def _look_at_the_disk(self) -> None:
        self._in_thread(self._in_force.differs_from_disk).addCallback(self._disk_was_seen)

    def _disk_was_seen(self, differs: bool) -> None:
        self._disk_differs = differs
        if differs:
            log.warn("{note}", note=DISK_NOTE)

    def stopService(self) -> Deferred[None]:
        """Stop every program, then the listeners."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        await self.supervisor.shutdown()
        self._herald.catch_up()
        await self._targets.finish()
        self.sockets.close()
        self._compressor.stop()
        self._notices.close_all()
        self._accounts.close()  # a change of it opens listeners
        await self.listeners.close()
        self._factory.close_sessions()
        self._deputies.close()
        if self._heritage.link is None:
            self.forget()

    def forget(self) -> None:
        """Leave nothing behind that a later daemon would go on with; the holder knows of the end."""
        self._journal.remove()
        self._history.forget()

    def streams_have_changed(self) -> None:
        """Let go of what were the daemon's standard output and standard error."""
        self._targets.reopen_streams()

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

    def _log_file(self, process: Process, name: str, path: str) -> LogFile:
        open_directory = partial(self._program_logs.directory, process, path)
        file = LogFile(path, open_directory, process.keeping, self._reactor, self._upkeep)
        file.go_on(self._heritage.left.logs.get(name), partial(self._journal.log, name))
        file.loss.told = partial(self._note_of_log, name)
        return file

    def _note_of_log(self, name: str, text: str) -> None:
        """Let what is lost of the log of a process be an event."""
        self._history.note(Kind.LOG, text, name.removesuffix(STDERR))

    def _notify_directory(self) -> str:
        return notify_directory(self.supervisor.configuration.settings.state_directory)

    def notes(self) -> list[str]:
        """Return what an operator should know about the daemon."""
        notes = [*self.listeners.notes(), *self.sockets.notes(), *self.supervisor.outputs.notes()]
        about_passwords = self._accounts.note()
        if about_passwords is not None:
            waits = "" if self._factory.peer_login else "; 'peer-login no' waits for one who can"
            notes.append(about_passwords + waits)
        if self._room.note is not None:
            notes.append(self._room.note)
        if self._heritage.link is not None and not self._is_held:
            notes.append(HOLDER_NOTE)
        if self._disk_differs:
            notes.append(DISK_NOTE)
        return notes

    def _apply(self, old: Configuration, new: Configuration) -> Deferred[Sequence[str]]:
        return ensureDeferred(self._apply_all(old, new))

    async def _apply_all(self, old: Configuration, new: Configuration) -> Sequence[str]:
        self._disk_differs = False
        remarks = await self._keep(new)
        remarks += await self._apply_settings(old.settings, new.settings)
        return [*remarks, *await self.sockets.apply(new.sockets)]

    async def _keep(self, new: Configuration) -> list[str]:
        """Let the next daemon have the new configuration; return what an operator should know."""
        try:
            await self._in_thread(self._in_force.keep, new, new.settings.state_directory)
        except LocalError as error:
            return [str(error)]
        return []

    async def _apply_settings(self, old: Settings, new: Settings) -> list[str]:
        remarks = []
        if self._logbook is not None:  # under twistd it is twistd's
            os.umask(new.umask)
        try:
            make_directories(new)
            if self._logbook is not None:
                self._logbook.set_level(new.loglevel)
                self._logbook.target.keep(new.keeping)
                if old.logfile != new.logfile:
                    self._logbook.target.move(new.logfile, daemon_log_directory(new.logfile))
        except LocalError as error:
            remarks.append(str(error))
        self._factory.peer_login = new.peer_login
        self._accounts.move(new.passwdfile)
        if self.listeners.differ(new):
            await self.listeners.change(new)
        return [*remarks, *self.listeners.notes()]


def _load_tls() -> Tls:
    try:
        from supervisortw.remote import tls  # noqa: PLC0415  # 14 MiB that most daemons do not need
    except ImportError as error:
        raise LocalError(f"TLS cannot be used: {error}") from None
    return tls


def _twistd_log() -> Output:
    return PassedOn("the log of twistd", lambda: os.dup(1))


def _log_change(change: StateChanged) -> None:
    log.info("{change}", change=change)


def _log_refusal(failure: Any) -> None:
    failure.trap(Refused)
    for line in str(failure.value).splitlines():
        log.error("reload refused: {line}", line=line)
