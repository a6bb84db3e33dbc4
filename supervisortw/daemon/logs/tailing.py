"""Finding the last lines of a log."""

from __future__ import annotations

from collections.abc import Callable

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece


def beginning_of_lines(read: Callable[[int, int], LogPiece], end: int, lines: int) -> int:
    """Return the position at which the last ``lines`` lines of a log begin that ends at ``end``.

    ``read(offset, length)`` reads from it. What is further back than LIMITS.tail_scan_bytes does not
    count, nor does what is gone.
    """
    floor = max(0, end - LIMITS.tail_scan_bytes)
    position, left = end, lines
    while left and position > floor:
        begin = max(floor, position - LIMITS.piece_bytes)
        piece = read(begin, position - begin)
        # A newline at the very end closes the last line; it does not begin another one.
        cut = len(piece.data) - (position == end and piece.data.endswith(b"\n"))
        while left and (cut := piece.data.rfind(b"\n", 0, cut)) >= 0:
            left -= 1
        if not left:
            return piece.offset + cut + 1
        if piece.offset > begin:
            return piece.offset
        position = begin
    return position
