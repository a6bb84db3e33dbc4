"""Which way the output of a process goes, by what its ``logfile`` says."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from supervisortw.core.model import DAEMON_STREAMS, DISCARD, SYSLOG, LogFormat, Process
from supervisortw.daemon.lineform import form_of
from supervisortw.daemon.linesink import FormedFile, LineSink
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.logpipe import LogPipes
from supervisortw.daemon.loss import raw_line
from supervisortw.daemon.output import Output, PassedOn, ProgramLog
from supervisortw.daemon.sharedlog import SharedLog
from supervisortw.daemon.stamps import Stamps
from supervisortw.daemon.stream import is_special
from supervisortw.daemon.targets import Targets

# Is given a process, the name of the log and the path of its file.
FileFor = Callable[[Process, str, str], LogFile]


class Destinations:
    """Makes the outputs of processes; ``file_for`` makes the log for a regular file."""

    def __init__(
        self, pipes: LogPipes, targets: Targets, file_for: FileFor, stamps: Stamps
    ) -> None:
        self._pipes = pipes
        self._targets = targets
        self._file_for = file_for
        self._stamps = stamps

    def output(self, process: Process, name: str, path: str) -> Output:
        """Return the output that is called ``name`` and goes to ``path``."""
        if path == DISCARD:
            return PassedOn("nowhere (logfile none)", _nowhere)
        new_pipe = partial(self._pipes.pipe, name)
        if path == SYSLOG or path in DAEMON_STREAMS or is_special(path):
            outlet_for = partial(self._targets.outlet, name, path)
            return SharedLog(new_pipe, process, outlet_for, self._targets.release)
        file = self._file_for(process, name, path)
        return ProgramLog(file, new_pipe, process, partial(self._lines_for, name, file))

    def _lines_for(self, name: str, file: LogFile, process: Process) -> LineSink | None:
        if process.log_format is LogFormat.RAW:
            file.loss.form = raw_line
            return None
        return LineSink(FormedFile(file, form_of(process, name, self._stamps)))


def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
