"""Listening sockets that the daemon holds for programs.

A socket is bound once. It stays bound while its programs are restarted, stopped, or failing, and over
a reload that leaves its address alone: whoever connects meanwhile waits in its queue. The daemon
itself accepts nothing.

A child gets the socket itself, not a copy of its state: if one sets it non-blocking, it is so for all.
It is blocking when it is made, and left alone afterwards.

Sockets are kept beyond the end of the daemon. The one that follows goes on with those that are still
reached by the address that is wanted, with whoever waits in their queues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ListeningSocket, TcpAddress
from supervisortw.daemon.opensocket import OpenSocket, forget, open_socket
from supervisortw.daemon.turns import Turns
from supervisortw.errors import LocalError, SpawnError
from supervisortw.interfaces import Clock, DescriptorStore

log = Logger(namespace="supervisor")


class ProgramSockets:
    """The sockets of a configuration: those that are open, and why the others are not."""

    def __init__(
        self, sockets: Mapping[str, ListeningSocket], clock: Clock, store: DescriptorStore
    ) -> None:
        self._clock = clock
        self._store = store
        self._turns = Turns(clock)
        self._wanted = dict(sockets)
        self._open: dict[str, OpenSocket] = {}
        self._leaving: list[OpenSocket] = []
        self._troubles: dict[str, str] = {}

    def open_all(self) -> list[str]:
        """Open what is not open yet; return what an operator should know, as `notes` does."""
        for name in self._wanted:
            self._try(name)
        return self.notes()

    def descriptor(self, name: str) -> int:
        """Return the descriptor of the socket ``name``, which stays ours and is closed at an exec.

        A socket that could not be opened is tried anew, and one whose name was deleted from the file
        system is made again. Raises SpawnError with the reason.
        """
        if name not in self._wanted:
            raise SpawnError(f"there is no socket {name} in the configuration", permanent=True)
        found = self._open.get(name)
        if found is not None and found.is_there():
            return found.listening.fileno()
        if found is not None:
            self._close(self._open.pop(name))
        return self._open_one(self._wanted[name]).listening.fileno()

    def apply(self, new: Mapping[str, ListeningSocket]) -> Deferred[list[str]]:
        """Close, open and change sockets until they are as in ``new``; fires with what `notes` tells.

        A socket keeps its queue if its address is the same, whatever else has changed, its name
        included. It is done in portions.
        """
        before = {each.wanted.address: each for each in self._open.values()}
        self._wanted, self._open, self._troubles = dict(new), {}, {}
        for name, wanted in new.items():
            if wanted.address in before:
                self._open[name] = before.pop(wanted.address)
        self._leaving += before.values()
        acts: list[Callable[[], None]] = [partial(self._change, name) for name in self._open]
        acts += [self._close_one] * len(before)  # first, since others may want their addresses
        for act in acts:
            self._turns.take(act)
        done: Deferred[list[str]] = Deferred()

        def open_others() -> None:
            for name in new:
                self._turns.take(partial(self._try, name))
            self._turns.take(lambda: done.callback(self.notes()))

        def open_later() -> None:
            self._clock.callLater(LIMITS.release_seconds, open_others)

        if self._is_port_of(before.values()):  # the store closes its copy in its own time
            self._turns.take(open_later)
        else:
            open_others()
        return done

    def _is_port_of(self, leaving: Iterable[OpenSocket]) -> bool:
        """True if a socket that is not open yet wants the port of one of ``leaving``."""
        wanted = (each for name, each in self._wanted.items() if name not in self._open)
        ports = {each.address.port for each in wanted if isinstance(each.address, TcpAddress)}
        addresses = (each.wanted.address for each in leaving)
        return any(isinstance(each, TcpAddress) and each.port in ports for each in addresses)

    def notes(self) -> list[str]:
        """Return what an operator should know: sockets that are not as they should be, and warnings."""
        notes = list(self._troubles.values())
        for name, each in self._open.items():
            notes += (f"socket {name}: {warning}" for warning in each.warnings)
            if not each.is_there():
                notes.append(
                    f"socket {name}: {each.wanted.address} was removed or replaced by somebody; "
                    f"it is made again when a program that uses it starts"
                )
        return notes

    def close(self) -> None:
        """Close every socket, and remove those names from the file system that are still ours."""
        self._leaving += self._open.values()
        self._wanted, self._open, self._troubles = {}, {}, {}
        while self._leaving:
            self._close_one()

    def _try(self, name: str) -> None:
        with contextlib.suppress(SpawnError):  # it is among the troubles
            self.descriptor(name)

    def _open_one(self, wanted: ListeningSocket) -> OpenSocket:
        name = wanted.name
        try:
            if len(self._open) >= LIMITS.program_sockets:
                reason = (
                    f"{LIMITS.program_sockets} sockets are open already, and more there cannot be"
                )
                raise SpawnError(reason, permanent=True)
            opened = open_socket(wanted, self._store)
        except SpawnError as error:
            self._tell(name, f"socket {name}: {error}")
            raise SpawnError(f"socket {name}: {error}", permanent=error.permanent) from None
        opened.keep(name, self._store)
        self._open[name] = opened
        self._troubles.pop(name, None)
        how = "still listening" if opened.is_old else "listening"
        log.info("socket {name}: {how} on {address}", name=name, how=how, address=wanted.address)
        return opened

    def _change(self, name: str) -> None:
        found = self._open.get(name)
        if found is None:  # closed meanwhile
            return
        if found.kept_as != name:
            before = found.kept_as
            found.keep(name, self._store)
            self._forget(before)
        if not found.is_there():  # to be made anew
            return
        try:
            found.change(self._wanted[name])
        except LocalError as error:
            self._tell(name, f"socket {name}: listening as before: {error}")

    def _close_one(self) -> None:
        if self._leaving:
            self._close(self._leaving.pop())

    def _close(self, closing: OpenSocket) -> None:
        self._forget(closing.kept_as)
        closing.close()

    def _forget(self, name: str) -> None:
        """Let the store keep no socket ``name``, unless there is another one of that name by now."""
        if name not in self._open:
            forget(name, self._store)

    def _tell(self, name: str, trouble: str) -> None:
        if self._troubles.get(name) != trouble:  # each try to start a program comes here
            log.error("{trouble}", trouble=trouble)
        self._troubles[name] = trouble
