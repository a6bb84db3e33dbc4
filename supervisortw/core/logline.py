"""Output as lines: from bytes as they come to whole lines, and how these are written down.

A line that is too long is passed on in parts. What separates name and text tells them apart, and no
program can forge it: ``web | a line``, ``web + the rest of a line``, ``web ! a word of supervisord``.
"""

from __future__ import annotations

from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

# Typeshed knows it as something that may be missing.
_quoted: Any = encode_basestring_ascii

LINE, REST, OWN = "|", "+", "!"
OWN_STREAM = "supervisord"  # the one that words of supervisord are told from in JSON lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Whole lines, each with its newline, but for the two at the ends of the piece.

    ``is_rest`` tells that the beginning of the first one has come before, and ``is_open`` that the last
    one, which has no newline then, goes on in the next piece.
    """

    text: bytes
    is_rest: bool = False
    is_open: bool = False

    @property
    def body(self) -> bytes:
        """The text, with newlines between lines only."""
        return self.text[:-1] if self.text.endswith(b"\n") else self.text


class LineBuffer:
    """Makes pieces of bytes; keeps what is no whole line yet, at most ``most`` bytes.

    However the bytes are divided that come, the lines are the same.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = b""
        self._is_rest = False

    def add(self, data: bytes) -> list[Piece]:
        """Return what is whole by now; no piece is longer than a line of ``most`` bytes."""
        text = self._begun + data
        pieces = []
        begin, end = 0, text.rfind(b"\n") + 1
        while begin < end or len(text) - begin > self._most:
            cut = self._cut(text, begin, end)
            pieces.append(self._piece(text[begin:cut]))
            begin = cut
        self._begun = text[begin:]
        return pieces

    def rest(self) -> list[Piece]:
        """Return what is no whole line, since nothing more is expected for it."""
        text, is_rest = self._begun, self._is_rest
        self._begun, self._is_rest = b"", False
        return [Piece(text=text, is_rest=is_rest)] if text else []

    def _cut(self, text: bytes, begin: int, end: int) -> int:
        if 0 < end - begin <= self._most + 1:
            return end
        last = text.rfind(b"\n", begin, begin + self._most + 1) + 1
        return last or character_end(text, begin, begin + self._most)

    def _piece(self, text: bytes) -> Piece:
        is_rest, self._is_rest = self._is_rest, not text.endswith(b"\n")
        return Piece(text=text, is_rest=is_rest, is_open=self._is_rest)


def character_end(text: bytes, begin: int, end: int) -> int:
    """Return where to cut ``text`` at ``end``, or before it, without cutting a character of UTF-8."""
    for cut in range(end, max(begin, end - 4), -1):
        if cut >= len(text) or text[cut] & 0xC0 != 0x80:
            return cut
    return end


def prefixed(piece: Piece, name: str, time: str) -> bytes:
    """Return a piece with name and time before each line; ``time`` may be empty."""
    head = _head(name, time, LINE)
    first = _head(name, time, REST) if piece.is_rest else head
    return first + piece.body.replace(b"\n", b"\n" + head) + b"\n"


def prefixed_word(word: str, name: str, time: str) -> bytes:
    """Return a word of supervisord as a line between those of a program."""
    return _head(name, time, OWN) + word.encode() + b"\n"


def _head(name: str, time: str, mark: str) -> bytes:
    return f"{time} {name} {mark} ".encode() if time else f"{name} {mark} ".encode()


def json_lines(piece: Piece, name: str, stream: str, time: str) -> bytes:
    """Return a piece with a JSON object for each line; ``partial`` stands in all parts but the last."""
    lines = piece.body.decode("utf-8", "backslashreplace").split("\n")
    head = _json_head(name, stream, time)
    objects = [f"{head}{_quoted(line)}}}\n" for line in lines]
    if piece.is_open:
        objects[-1] = f'{objects[-1][:-2]}, "partial": true}}\n'
    return "".join(objects).encode("ascii")


def json_word(word: str, name: str, time: str) -> bytes:
    """Return a word of supervisord as such an object."""
    return f"{_json_head(name, OWN_STREAM, time)}{_quoted(word)}}}\n".encode("ascii")


def _json_head(name: str, stream: str, time: str) -> str:
    known = f'"time": {_quoted(time)}, "program": {_quoted(name)}, "stream": {_quoted(stream)}'
    return f'{{{known}, "line": '


def word(text: str) -> str:
    """Return what supervisord has to say in the log of a program, told apart where nothing else does."""
    return f"-- supervisord: {text} --"
