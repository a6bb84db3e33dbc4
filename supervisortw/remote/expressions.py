"""Banana, read with budgets. Knows tokens, lists and limits; nothing of messages or connections.

The format is a row of tokens: a number in base 128, least digit first, then a byte with the high
bit set that says what the number means: how many items a list has, how many bytes follow, a value.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from twisted.spread import banana

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.remote.security import LARGEST_INTEGER, Violation

_LIST, _STRING, _FLOAT, _WORD = (
    type_byte[0] for type_byte in (banana.LIST, banana.STRING, banana.FLOAT, banana.VOCAB)
)
_POSITIVE = frozenset((banana.INT[0], banana.LONGINT[0]))
_NEGATIVE = frozenset((banana.NEG[0], banana.LONGNEG[0]))
_WORDS: dict[int, bytes] = banana.Banana.incomingVocabulary
_DOUBLE = struct.Struct("!d")


class Expressions:
    """Decodes what arrives, and nothing that is over a limit.

    An announced length is judged when it is announced, before what it announces has come.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._at = 0
        self._open: list[tuple[int, list[Any]]] = []  # each with how many items it is to have
        self._spent = 0
        self._items = 0

    def feed(self, data: bytes) -> None:
        """Take bytes; nothing is decoded yet."""
        self._buffer += data

    def next(self) -> Any:
        """Return the next whole expression (a list, bytes, an int or a float), or None.

        None means that more bytes are needed. Raises Violation, after which the decoder is of no
        use any more.
        """
        while (head := self._head()) is not None:
            kind, number, start = head
            end = start + (number if kind == _STRING else 8 if kind == _FLOAT else 0)
            self._judge(kind, number, end)
            if end > len(self._buffer):
                break
            whole = self._place(kind, number, start, end)
            self._spent += end - self._at
            self._at = end
            if whole is not None:
                self._spent = self._items = 0
                return whole
        del self._buffer[: self._at]
        self._at = 0
        return None

    def _head(self) -> tuple[int, int, int] | None:
        """Return type byte, number and where the body begins; None if they are not here yet."""
        buffer = self._buffer
        first = self._at
        digits = self._limits.broker_prefix_digits
        number = shift = 0
        for at in range(first, min(first + digits + 1, len(buffer))):
            byte = buffer[at]
            if byte & 0x80:
                if (at == first) != (byte == _FLOAT):
                    raise Violation("a number is missing, or is where none belongs")
                return byte, number, at + 1
            number |= byte << shift
            shift += 7
        if shift > 7 * digits:
            raise Violation("a number has too many digits")
        return None

    def _judge(self, kind: int, number: int, end: int) -> None:
        """Raise Violation if a token, with all that it announces, is more than may come."""
        limits = self._limits
        items = 1
        if kind == _LIST:
            items += number
            if number > limits.broker_list_items:
                raise Violation("a list is too long")
            if len(self._open) >= limits.broker_depth:
                raise Violation("lists are nested too deeply")
        elif kind == _STRING and number > limits.broker_string_bytes:
            raise Violation("a byte string is too long")
        if self._items + items > limits.broker_items:
            raise Violation("an expression has too many items")
        if self._spent + end - self._at > limits.broker_expression_bytes:
            raise Violation("an expression is too large")

    def _place(self, kind: int, number: int, start: int, end: int) -> Any:
        """Put one token where it belongs; return the expression if that completes it."""
        self._items += 1
        item: Any
        if kind == _LIST:
            item = []
            if number:
                self._open.append((number, item))
                return None
        else:
            item = self._atom(kind, number, start, end)
        while self._open:
            count, items = self._open[-1]
            items.append(item)
            if len(items) < count:
                return None
            item = self._open.pop()[1]
        return item

    def _atom(self, kind: int, number: int, start: int, end: int) -> bytes | int | float:
        if kind == _STRING:
            return bytes(self._buffer[start:end])
        if kind in _POSITIVE and number <= LARGEST_INTEGER:
            return number
        if kind in _NEGATIVE and number <= LARGEST_INTEGER + 1:
            return -number
        if kind == _FLOAT:
            value: float = _DOUBLE.unpack_from(self._buffer, start)[0]
            if math.isfinite(value):
                return value
        if kind == _WORD and number in _WORDS:
            return _WORDS[number]
        raise Violation("a number is out of range, or a token is of an unknown type")
