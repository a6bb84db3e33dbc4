"""The framing of the gate: length, payload, fields. Knows bytes only, nothing of who sends them.

A frame is two bytes of length (big-endian) and that many bytes of payload. A payload is one field
or more, each again two bytes of length and its bytes, and nothing behind the last.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from supervisortw.core.limits import LIMITS
from supervisortw.errors import RemoteError

# What the fields say: the first of a first message, and the first of an answer.
PEER = b"PEER1"
PASSWORD = b"SVTW1"
ADMITTED = b"\x01"
REFUSED = b"\x00"
WAIT = b"\x02"  # too many failures from there: a second field has the seconds, in two bytes
PASSWORD_WANTED = b"\x03"  # the answer to PEER1 of a daemon that wants a password from everybody
FULL = b"\x04"  # who has proven who they are is told that too many sessions are open

_LENGTH = struct.Struct(">H")


class FrameError(RemoteError):
    """Bytes that are no frame of the gate, or a frame that is larger than any of them may be."""


def pack(parts: Sequence[bytes]) -> bytes:
    """Return the whole frame that carries ``parts``. Raises FrameError if it would be too large."""
    size = sum(_LENGTH.size + len(part) for part in parts)
    if not parts or size > LIMITS.gate_frame_bytes:
        raise FrameError(f"a frame cannot have {len(parts)} fields in {size} bytes")
    fields_packed = (_LENGTH.pack(len(part)) + part for part in parts)
    return _LENGTH.pack(size) + b"".join(fields_packed)


def fields(payload: bytes) -> list[bytes]:
    """Return the fields of a frame's payload. Raises FrameError if they do not fill it exactly."""
    found: list[bytes] = []
    at = 0
    while at < len(payload):
        start = at + _LENGTH.size
        if start > len(payload):
            raise FrameError("a field's length is cut off")
        at = start + _LENGTH.unpack_from(payload, at)[0]
        if at > len(payload):
            raise FrameError("a field is longer than its frame")
        found.append(payload[start:at])
    if not found:
        raise FrameError("a frame without a field")
    return found


class FrameReader:
    """Takes bytes as they come and gives back payloads, as many as are expected and no more.

    What follows the last expected frame is kept as it came, until `take_rest` or until `expect`
    says that it is one more frame.
    """

    def __init__(self, expected: int = 1, *, maximum: int = LIMITS.gate_frame_bytes) -> None:
        self._expected = expected
        self._maximum = maximum
        self._buffer = b""

    @property
    def rest(self) -> bytes:
        """What has come and belongs to no frame that was given back."""
        return self._buffer

    def expect(self, more: int = 1) -> None:
        """Read so many further frames."""
        self._expected += more

    def feed(self, data: bytes) -> list[bytes]:
        """Take ``data`` and return the payloads that are now complete.

        Raises FrameError as soon as a length says that its frame is too large.
        """
        self._buffer += data
        found: list[bytes] = []
        while self._expected and len(self._buffer) >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer)[0]
            if size > self._maximum:
                raise FrameError(f"a frame of {size} bytes was announced")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            found.append(self._buffer[_LENGTH.size : end])
            self._buffer = self._buffer[end:]
            self._expected -= 1
        return found

    def take_rest(self) -> bytes:
        """Return the bytes behind the last frame, untouched, and forget them."""
        rest, self._buffer = self._buffer, b""
        return rest


def begins_with_frame(data: bytes) -> bool:
    """Tell whether ``data`` begins with a complete and well-formed frame."""
    try:
        return any(fields(payload) for payload in FrameReader().feed(data))
    except FrameError:
        return False
