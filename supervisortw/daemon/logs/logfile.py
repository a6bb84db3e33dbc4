"""The file of a log: written to, kept small, followed when somebody moves it, and read back.

What programs print goes from the pipe into the file without passing through our memory, where the system
can do that (splice(2) on Linux): so not a byte dies with the daemon. Trouble with the file never stops
whoever prints: what cannot be written is dropped and counted, and marked in the log when that goes on.

Others may do to the file what they like, between two writes of ours: rename it, as logrotate does (we
go on in a new one of the old name), or empty it, or append to it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable

from twisted.logger import Logger

from supervisortw.core.anchor import Anchor
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Keeping
from supervisortw.core.status import LogPiece
from supervisortw.daemon.logs import rotation
from supervisortw.daemon.logs.compression import OlderFiles
from supervisortw.daemon.logs.generations import Generation, begin_after, read_older, size_of_older
from supervisortw.daemon.logs.logdirectory import LogDirectory, OpenDirectory
from supervisortw.daemon.logs.loss import Loss
from supervisortw.daemon.logs.tailing import beginning_of_lines
from supervisortw.daemon.logs.upkeep import NoUpkeep, Upkeep
from supervisortw.errors import LocalError, Refused
from supervisortw.interfaces import Cancel, Clock

log = Logger(namespace="supervisor")

Note = Callable[[Anchor], None]
Identity = tuple[int, int]  # device and inode

# What a file system, or a kind of file, answers that does not take part in splicing.
_NO_SPLICE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NOWHERE = (-1, -1)


class LogFile:
    """A log in a regular file, and in older ones beside it.

    Positions in it count every byte that was ever written to it, over all its files. They are known from
    the first reader on; ``anchor`` is where they were with the daemon before, and ``note`` keeps them
    for the next one.
    """

    def __init__(
        self,
        path: str,
        open_directory: OpenDirectory,
        keeping: Keeping,
        clock: Clock,
        upkeep: Upkeep | None = None,
    ) -> None:
        self.path = path
        self.keeping = keeping
        self.loss = Loss(clock)
        self._name = os.path.basename(path)
        self._open_directory = open_directory
        self._clock = clock
        self._file = -1
        self._identity = _NOWHERE
        self._size = 0
        self._splices = hasattr(os, "splice")
        self._not_rotated = ""  # why, if the last try came to nothing
        self._next_rotation = 0.0
        self._next_reopening = 0.0
        self._watchers: list[Callable[[], None]] = []
        self._last: Generation | None = None  # the one before this, as long as somebody follows
        self._start: int | None = None  # not known before somebody reads, or has read
        self._floor = 0
        self._epoch = ""
        self._anchor: Anchor | None = None  # of the present file, or the last one that was noted
        self._note: Note = lambda anchor: None
        self._upkeep = upkeep or NoUpkeep()
        self._upkeep.begin(self)

    def go_on(self, anchor: Anchor | None, note: Note) -> None:
        """Count positions on from those of the daemon before, and have them noted from now on."""
        self._anchor, self._note = anchor, note

    # The file.

    def open(self) -> None:
        """Open the file if it is not open. Raises LocalError."""
        if self._file < 0:
            with self._open_directory() as directory:
                self._finish_rotation(directory)
                self._use(directory.open(self._name, rotation.FLAGS, rotation.MODE))
                if self._anchor is not None:  # while its file can still be found
                    self._find_start(directory)

    def _finish_rotation(self, directory: LogDirectory) -> None:
        try:
            rotation.finish(directory, self._name, self.keeping.backups)
        except LocalError:
            if directory.stat(self._name) is None:
                raise

    def _use(self, file: int) -> None:
        """Go on in another file, whose beginning follows the end of the last one."""
        end = None if self._start is None else self._start + self._size
        if self._file >= 0:
            self._retire(self._file)
        found = os.fstat(file)
        self._file, self._size = file, found.st_size
        self._identity = found.st_dev, found.st_ino
        self._splices = hasattr(os, "splice")
        if end is not None:
            self._begin_at(end)

    def _retire(self, file: int) -> None:
        """Keep a file as long as somebody follows it who may not have read it to its end."""
        self._forget_last()
        if self._watchers and self._start is not None:
            self._last = Generation(self._start, self._size, file)
        else:
            self._let_go(file)

    def _forget_last(self) -> None:
        if self._last is not None:
            self._let_go(self._last.file)
            self._last = None

    def _let_go(self, file: int) -> None:
        if os.fstat(file).st_nlink:
            os.close(file)
        else:
            self._upkeep.let_go(file)

    def keep(self, keeping: Keeping) -> None:
        """Keep as much as this from now on."""
        self.keeping = keeping
        self._upkeep.begin(self)

    def older_files(self) -> OlderFiles:
        """Return where the older files are."""
        return OlderFiles(self._open_directory, self._name)

    def close(self) -> None:
        """Close the file."""
        self._upkeep.end(self)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._forget_last()

    def reopen(self) -> None:
        """Open the file anew by its name; the old one is kept if that fails. Raises LocalError."""
        self.loss.forgive()
        if self._file >= 0:
            self._open_anew()
            self._tell()

    def _open_anew(self) -> None:
        """Go on in the file that has the name now. Raises LocalError."""
        with self._open_directory() as directory:
            file = directory.open(self._name, rotation.FLAGS, rotation.MODE)
            found = os.fstat(file)
            if (found.st_dev, found.st_ino) == self._identity:
                os.close(file)
                return
            youngest = directory.stat(rotation.older(self._name, 1))
        if self._start is not None and (
            youngest is None or (youngest.st_dev, youngest.st_ino) != self._identity
        ):
            self._floor = self._start + self._size  # whoever has moved it, calls it otherwise
        self._use(file)

    def move(self, path: str, open_directory: OpenDirectory) -> None:
        """Go on in another file. Raises LocalError, and goes on in the old one."""
        name = os.path.basename(path)
        with open_directory() as directory:
            fresh = directory.open(name, rotation.FLAGS, rotation.MODE)
        self.path, self._name, self._open_directory = path, name, open_directory
        if self._start is not None:
            self._floor = self._start + self._size
        self._use(fresh)
        self._tell()

    def _look(self) -> None:
        """See what others have done to the file. Raises LocalError if nobody could find it any more."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            self._follow_the_name()
            found = os.fstat(self._file)
        if found.st_size < self._size and self._start is not None:  # somebody has cut it
            self._floor = self._start + self._size - found.st_size
            self._begin_at(self._floor)
        self._size = found.st_size

    def _follow_the_name(self) -> None:
        """Open what has the name now; go on as before if that cannot be, and the file has another one."""
        if self._clock.seconds() < self._next_reopening:
            return
        self._next_reopening = self._clock.seconds() + LIMITS.log_retry_seconds
        try:
            self._open_anew()
        except LocalError:
            if not os.fstat(self._file).st_nlink:
                raise
        else:
            self._next_reopening = 0.0

    # Writing.

    def write(self, data: bytes) -> None:
        """Append ``data``; what the file does not take is dropped and counted."""
        if not self._is_ready():
            self.loss.add(data)
            return
        self._append(data)

    def take(self, pipe: int) -> int:
        """Move what is in a pipe to the file; return how many bytes were taken out of the pipe.

        At most LIMITS.log_splice_bytes are taken. Never waits. Raises EOFError if nobody can ever write
        to the pipe any more.
        """
        try:
            if not self._is_ready():
                return self._drop(pipe)
            if self.loss.reason:
                return self._go_on_after_loss(pipe)
            return self._move(pipe)
        except BlockingIOError:
            return 0

    def _is_ready(self) -> bool:
        """True if there is a file, under its name, that takes more."""
        if self.loss.is_to_wait():
            return False
        try:
            self.open()
            self._look()
            self._make_room()
        except LocalError as error:
            self.loss.begin(self.path, str(error))
            return False
        return True

    def _move(self, pipe: int) -> int:
        try:
            moved = self._splice(pipe) if self._splices else 0
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                self._fail(error)
                return self._drop(pipe)
            self._splices = False
        else:
            if self._splices:
                if not moved:
                    raise EOFError
                self._has_grown(moved)
                return moved
        data = _read(pipe, self._room())
        self._append(data)
        return len(data)

    def _splice(self, pipe: int) -> int:
        most = min(self._room(), LIMITS.log_splice_bytes)
        flags = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
        return os.splice(pipe, self._file, most, offset_dst=self._size, flags=flags)

    def _append(self, data: bytes) -> None:
        before = b""
        if self.loss.bytes:
            before = self.loss.mark() if self._ends_with_line() else b"\n" + self.loss.mark()
        try:
            rotation.write_all(self._file, before + data, self._size)
        except OSError as error:
            self._undo()
            self._fail(error)
            self.loss.add(data)
            return
        if self.loss.reason:
            self.loss.end(self.path)
        self._has_grown(len(before) + len(data))

    def _undo(self) -> None:
        """Take away the part of something that the file has taken: what is lost, is lost whole."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._size = os.fstat(self._file).st_size

    def _go_on_after_loss(self, pipe: int) -> int:
        data = _read(pipe)
        torn = self.loss.rest_of_line(data)
        self.loss.add(data[:torn])
        if torn < len(data):
            self._append(data[torn:])
        return len(data)

    def _drop(self, pipe: int) -> int:
        data = _read(pipe)
        self.loss.add(data)
        return len(data)

    def _fail(self, error: OSError) -> None:
        self.loss.begin(self.path, str(error.strerror))

    def _ends_with_line(self) -> bool:
        return not self._size or os.pread(self._file, 1, self._size - 1) == b"\n"

    def _has_grown(self, count: int) -> None:
        self._size += count
        if 0 < self.keeping.size <= self._size:
            try:
                self._make_room()
            except LocalError as error:
                self.loss.begin(self.path, str(error))
        self._tell()

    # Rotation.

    def _room(self) -> int:
        """Return how much may be written before the file is looked at again."""
        if not self.keeping.size:
            return LIMITS.log_splice_bytes
        if self._size < self.keeping.size:
            return self.keeping.size - self._size
        return LIMITS.log_line_bytes  # until the line is whole that does not fit

    def _make_room(self) -> None:
        """Rotate if the file is full. Raises LocalError if that cannot be, and it is far too large."""
        if not 0 < self.keeping.size <= self._size:
            return
        if self._clock.seconds() >= self._next_rotation:
            cut = rotation.line_end(self._file, self._size)
            if cut is None and self._size < self.keeping.size + LIMITS.log_line_bytes:
                return
            try:
                self._rotate(self._size if cut is None else cut)
            except LocalError as error:
                self._has_not_rotated(error)
        if self._size >= 2 * self.keeping.size + LIMITS.log_line_bytes:
            raise LocalError(f"it is too large, and cannot be rotated: {self._not_rotated}")

    def _has_not_rotated(self, error: LocalError) -> None:
        self._next_rotation = self._clock.seconds() + LIMITS.log_retry_seconds
        if not self._not_rotated:
            log.error("cannot rotate {path}: {error}", path=self.path, error=error)
        self._not_rotated = str(error)
        before = self._identity
        # However far it has got: whoever opens the file goes on from there.
        os.close(self._file)
        self._file, self._start = -1, None
        self.open()
        if self._identity != before:  # somebody else has moved the old one away
            self._next_rotation = 0.0

    def rotate(self) -> None:
        """Rotate now, at the last whole line, if there is any. Raises LocalError."""
        self.open()
        self._look()
        cut = rotation.line_end(self._file, self._size)
        if cut:
            self._rotate(cut)
            self._tell()

    def _rotate(self, cut: int) -> None:
        with self._open_directory() as directory:
            rotated = rotation.rotate(directory, self._name, self._file, cut, self.keeping.backups)
        for each in rotated.removed:
            self._upkeep.let_go(each)
        self._size = cut
        self._not_rotated = ""
        self._use(rotated.file)
        self._upkeep.rotated(self)

    def note(self) -> str:
        """Return what was lost, and why, as the end of a sentence; nothing if all is well."""
        return self.loss.note(self.path)

    # Positions, and reading.

    def _begin_at(self, start: int) -> None:
        """The file begins at this position."""
        self._start = start
        self._anchor = Anchor(
            epoch=self._epoch, start=start, floor=self._floor, file=self._identity
        )
        self._note(self._anchor)

    def _see(self) -> int:
        """Look at the file as it is now; return at which position it begins. Raises Refused."""
        try:
            self.open()
            self._look()
            if self._start is None:
                with self._open_directory() as directory:
                    self._find_start(directory)
        except LocalError as error:
            raise Refused(str(error)) from None
        assert self._start is not None
        return self._start

    def _find_start(self, directory: LogDirectory) -> None:
        anchor, start = self._anchor, None
        if anchor is not None:
            self._epoch, self._floor = anchor.epoch, anchor.floor
            is_same = anchor.file == self._identity
            start = anchor.start if is_same else begin_after(directory, self._name, anchor)
        if start is None:
            self._epoch, self._floor = secrets.token_hex(4), 0
            start = size_of_older(directory, self._name)
        self._begin_at(start)

    def tail(self, lines: int) -> LogPiece:
        """Return the beginning of the last lines, found within the last LIMITS.tail_scan_bytes."""
        end = self._see() + self._size
        begin = beginning_of_lines(self.read, end, lines)
        return self.read(begin, LIMITS.piece_bytes)

    def read(self, offset: int, length: int) -> LogPiece:
        """Return at most LIMITS.piece_bytes from ``offset`` on, or from the first that is not gone."""
        start = self._see()
        end = start + self._size
        offset = min(offset, end)
        want = range(offset, min(end, offset + min(length, LIMITS.piece_bytes)))
        try:
            data = b""
            if offset < start:
                with self._open_directory() as directory:
                    offset, data = self._read_older(directory, want)
            data += Generation(start, self._size, self._file).read(want.start, len(want))
        except (OSError, LocalError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Refused(f"cannot read {self.path}: {reason}") from None
        return LogPiece(offset=offset, size=end, data=data, epoch=self._epoch)

    def _read_older(self, directory: LogDirectory, want: range) -> tuple[int, bytes]:
        assert self._anchor is not None
        return read_older(directory, self._name, self._last, self._anchor, want)

    def watch(self, grown: Callable[[], None]) -> Cancel:
        """Call ``grown`` after each change of the log."""
        self._see()
        self._watchers.append(grown)
        return lambda: self._unwatch(grown)

    def _unwatch(self, grown: Callable[[], None]) -> None:
        self._watchers.remove(grown)
        if not self._watchers:
            self._forget_last()

    def clear(self) -> None:
        """Truncate the file that is held open; nobody can swap it for another one."""
        start = self._see()
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise Refused(f"cannot empty {self.path}: {error.strerror}") from None
        size, self._size = self._size, 0
        self._floor = start + size
        self._begin_at(self._floor)
        self.loss.forget()
        self._tell()

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()


def _read(pipe: int, most: int = LIMITS.log_read_bytes) -> bytes:
    """Take out of a pipe what is there. Raises BlockingIOError if nothing is, EOFError at its end."""
    data = os.read(pipe, min(most, LIMITS.log_read_bytes))
    if not data:
        raise EOFError
    return data
