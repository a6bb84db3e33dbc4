"""Files of one user that nobody else may read or change: read whole, and written whole."""

from __future__ import annotations

import contextlib
import os
import stat

from supervisortw.errors import LocalError, UnsafePath


def read(path: str, most: int) -> bytes | None:
    """Return what is in a file of ours, of at most ``most`` bytes, or None if there is none.

    Raises LocalError, as UnsafePath if somebody else could have read or written it.
    """
    try:
        # O_NONBLOCK: a FIFO is told from a file before anybody waits for it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafePath(f"{path} is not a regular file")
        if found.st_uid != os.geteuid():
            raise UnsafePath(f"{path} belongs to another user (uid {found.st_uid})")
        if found.st_mode & 0o077:
            raise UnsafePath(f"{path} is open to others: chmod 600 {path}")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise LocalError(f"{path} has more than {most} bytes")
    return data


def write(path: str, data: bytes) -> os.stat_result:
    """Have ``data`` in the file, in place of what was there; it is the old or the new one at any time.

    Its directory is made if it is missing. Returns what the file is then. Raises LocalError.
    """
    directory = os.path.dirname(path)
    fresh = f"{path}.{os.getpid()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # of a process with our number that died here
            os.unlink(fresh)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                written = os.fstat(file.fileno())
            os.rename(fresh, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
    return written
