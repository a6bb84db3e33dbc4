"""Where the file of a log lies in everything that was ever written to that log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The position at which a file begins, so that positions go on while files and daemons change.

    ``start`` is the number of bytes that were written to the log before the file. What is before
    ``floor`` is gone: the log was emptied there, or nobody knows which file it went to. Positions can be
    compared as long as ``epoch`` is the same. ``file`` is which file it is (device, inode).
    """

    epoch: str
    start: int
    floor: int
    file: tuple[int, int]
