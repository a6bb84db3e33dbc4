"""Where the output of every process goes: its log, and a second one for errors where it has one.

A log is called by the name of its process, or by that name with ``/stderr`` behind it for the second
one. ``None`` is the daemon's own log.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import STDERR, Process
from supervisortw.core.selection import unknown_name
from supervisortw.daemon.logs.output import Log, Output
from supervisortw.errors import LocalError, Refused, SpawnError
from supervisortw.interfaces import Cancel

log = Logger(namespace="supervisor")

# Is given a process, the name of the log and the path of its file.
OutputFor = Callable[[Process, str, str], Output]


class Outputs:
    """The logs of all processes by name, and who wants to know when they change."""

    def __init__(self, daemon_log: Log, output_for: OutputFor) -> None:
        self._daemon_log = daemon_log
        self._output_for = output_for
        self._outputs: dict[str, Output] = {}
        self._watches: list[_Watch] = []

    def add(self, process: Process) -> None:
        """Make the logs of a process."""
        for name, path in _paths(process).items():
            self._outputs[name] = self._output_for(process, name, path)

    def remove(self, process: Process) -> None:
        """Let go of the logs of a process."""
        for name in _paths(process):
            self._outputs.pop(name).close()
            self._watch_again(name)

    def change(self, before: Process, after: Process) -> list[Output]:
        """Give the next process other logs where it needs them.

        Returns the old ones; a process that is still there writes to them, so they are not closed.
        """
        old, new = _paths(before), _paths(after)
        opener_differs = (before.user, before.unix_group) != (after.user, after.unix_group)
        outdated = []
        for name in old.keys() | new.keys():
            if old.get(name) == new.get(name) and not opener_differs:
                self._outputs[name].keep(after)
            else:
                if name in old:
                    outdated.append(self._outputs.pop(name))
                if name in new:
                    self._outputs[name] = self._output_for(after, name, new[name])
                self._watch_again(name)
        return outdated

    def writers(self, process: Process, owner: int) -> tuple[int, int]:
        """Return descriptors for stdout and stderr of a new process of user ``owner``, or one for both.

        The caller closes them. Raises SpawnError.
        """
        stdout = self._outputs[process.name].writer(owner)
        if process.stderr_logfile is None:
            return stdout, stdout
        try:
            return stdout, self._outputs[process.name + STDERR].writer(owner)
        except SpawnError:
            os.close(stdout)
            raise

    def drain(self, process: Process) -> None:
        """Take in what was written to the logs of a process up to now: it is about to be told of."""
        for name in _names(process):
            if name in self._outputs:
                self._outputs[name].drain()

    def are_read(self, process: Process) -> bool:
        """True if somebody reads what a process of a former daemon writes to its logs."""
        if not self._outputs[process.name].is_read():
            return False
        return process.stderr_logfile is None or self._outputs[process.name + STDERR].is_read()

    def notes(self) -> list[str]:
        """Return what an operator should know about logs: what of them was lost, and why."""
        all_logs = [("supervisord", self._daemon_log), *self._outputs.items()]
        notes = [f"{name}: {note}" for name, output in all_logs if (note := output.note())]
        others = len(notes) - LIMITS.log_notes
        if others > 0:
            notes[LIMITS.log_notes :] = [f"the output of {others} other logs is lost as well"]
        return notes

    def find(self, name: str | None) -> Log:
        """Return a log. Raises Refused if there is none of that name."""
        if name is None:
            return self._daemon_log
        output = self._outputs.get(name)
        if output is None:
            process = name.removesuffix(STDERR)
            if name != process and process in self._outputs:
                raise Refused(f"{process}: has no log of its own for stderr")
            known = [each for each in self._outputs if not each.endswith(STDERR)]
            raise Refused(f"{process}: {unknown_name(process, known).text}")
        return output

    def clear(self, process: Process) -> None:
        """Empty the logs of a process. Raises Refused."""
        for name in _paths(process):
            self._outputs[name].clear()

    def watch(self, name: str | None, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` each time a log has changed, also when it becomes another file."""
        watch = _Watch(name, grown, self.find(name).watch(grown))
        self._watches.append(watch)

        def stop() -> None:
            self._watches.remove(watch)
            watch.cancel()

        return stop

    def reopen(self) -> None:
        """Open every log anew by its name, since somebody has moved the files away."""
        for name, output in [("supervisord", self._daemon_log), *self._outputs.items()]:
            try:
                output.reopen()
            except LocalError as error:
                log.error("log of {name} not reopened: {error}", name=name, error=error)

    def _watch_again(self, name: str) -> None:
        """Let those who follow a log notice that it is another one, or that there is none any more."""
        for watch in [each for each in self._watches if each.name == name]:
            watch.cancel()
            watch.cancel = _nothing
            with contextlib.suppress(Refused):  # they learn it when they read
                watch.cancel = self.find(name).watch(watch.grown)
            watch.grown()


@dataclass(slots=True)
class _Watch:
    """Somebody who wants to know when a log changes."""

    name: str | None
    grown: Callable[[], None]
    cancel: Cancel


def _names(process: Process) -> tuple[str, ...]:
    """Return what the logs of a process are called."""
    if process.stderr_logfile is None:
        return (process.name,)
    return process.name, process.name + STDERR


def _paths(process: Process) -> dict[str, str]:
    """Return where the logs of a process are, by their names."""
    if process.stderr_logfile is None:
        return {process.name: process.logfile}
    return {process.name: process.logfile, process.name + STDERR: process.stderr_logfile}


def _nothing() -> None:
    pass


def close_all(outputs: Sequence[Output]) -> None:
    """Close logs that nobody writes to any more."""
    for output in outputs:
        output.close()
