"""How an answer is written: one value of bytes, with its errors inside; and pages of long ones.

Knows records as plain values and bytes of a log; knows neither connections nor verbs.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from supervisortw.core.happening import EventsAnswer
from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.status import LogPiece
from supervisortw.errors import BadRequest, Denied, Refused, RemoteError

PROTOCOL_VERSION = 1

_JSON, _JSON_COMPRESSED, _PIECE = b"\x00", b"\x01", b"\x02"
_PIECE_HEAD = struct.Struct(">QQ8s")  # offset, size, epoch
_KINDS: dict[str, type[RemoteError | Denied]] = {
    "bad request": BadRequest,
    "refused": Refused,
    "denied": Denied,
    "internal": RemoteError,
}


# Plain values.


def pack(plain: object) -> bytes:
    """Return ``plain`` (dictionaries, lists, texts, numbers) as bytes, compressed if that pays.

    Texts that are not valid Unicode, such as file names may be, survive.
    """
    text = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    data = text.encode("ascii")
    if len(data) > LIMITS.answer_plain_bytes:
        return _JSON_COMPRESSED + zlib.compress(data, 1)
    return _JSON + data


def unpack(data: object, limits: Limits = LIMITS) -> Any:
    """Return the plain value that `pack` made ``data`` of.

    Raises RemoteError if it is none, or is larger than an answer may be once it is expanded.
    """
    if not isinstance(data, bytes):
        raise RemoteError("the daemon's answer is not bytes")
    form, body = data[:1], data[1:]
    if form == _JSON_COMPRESSED:
        body = _expanded(body, limits.answer_bytes)
    elif form != _JSON:
        raise RemoteError("the daemon's answer is in a form that this version does not know")
    if len(body) > limits.answer_bytes:
        raise RemoteError("the daemon's answer is too large")
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limits.answer_items:
        raise RemoteError("the daemon's answer has too many parts")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RemoteError("the daemon's answer cannot be read") from None


def _expanded(body: bytes, maximum: int) -> bytes:
    expander = zlib.decompressobj()
    try:
        expanded = expander.decompress(body, maximum + 1)
    except zlib.error:
        raise RemoteError("the daemon's answer is damaged") from None
    if len(expanded) <= maximum and (not expander.eof or expander.unused_data):
        raise RemoteError("the daemon's answer is damaged")
    return expanded


def _no_number(constant: str) -> None:
    raise ValueError(constant)


# Envelopes: the answer, or why there is none.


def answer(plain: object) -> dict[str, Any]:
    """Return the envelope of an answer."""
    return {"answer": plain}


def failure(kind: str, message: str) -> dict[str, Any]:
    """Return the envelope of an error; ``kind`` is one of the few that `open_envelope` knows."""
    assert kind in _KINDS, kind
    return {"error": kind, "message": message}


def open_envelope(plain: Any) -> Any:
    """Return the answer that is in an envelope, or raise the error that is."""
    if isinstance(plain, dict):
        kind, message = plain.get("error"), plain.get("message")
        if isinstance(kind, str) and isinstance(message, str):
            raise _KINDS.get(kind, RemoteError)(message)
        if kind is None and "answer" in plain:
            return plain["answer"]
    raise RemoteError("the daemon's answer is neither an answer nor an error")


# Pieces of a log, which are bytes and stay bytes.


def pack_piece(piece: LogPiece) -> bytes:
    """Return ``piece`` as bytes."""
    head = _PIECE_HEAD.pack(piece.offset, piece.size, piece.epoch.encode("ascii"))
    return _PIECE + head + piece.data


def unpack_piece(data: object) -> LogPiece:
    """Return the piece of a log that ``data`` holds, or raise the error that it holds instead."""
    if not isinstance(data, bytes) or data[:1] != _PIECE:
        open_envelope(unpack(data))
        raise RemoteError("the daemon's answer is no piece of a log")
    start = len(_PIECE) + _PIECE_HEAD.size
    if len(data) < start:
        raise RemoteError("the daemon's piece of a log is cut off")
    offset, size, epoch = _PIECE_HEAD.unpack_from(data, len(_PIECE))
    text = epoch.rstrip(b"\0").decode("ascii", "replace")
    return LogPiece(offset=offset, size=size, data=data[start:], epoch=text)


# Events that are pushed: an answer that nobody has asked for.


def pack_events(told: EventsAnswer) -> bytes:
    """Return ``told`` as bytes."""
    return pack(answer(told.to_plain()))


def unpack_events(data: object) -> EventsAnswer:
    """Return the events that ``data`` holds. Raises RemoteError if there are none."""
    return events_of(open_envelope(unpack(data)))


def events_of(plain: object) -> EventsAnswer:
    """Return the events that an answer tells of. Raises RemoteError if there are none."""
    try:
        return EventsAnswer.from_plain(plain)
    except ValueError:
        raise RemoteError("the daemon's events are not understood") from None


# Pages. A reply is [how many pages, a number for the answer, the bytes of one page].


class Pages:
    """The answers of one session that were too long for one reply and are not fetched yet."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._waiting: dict[int, bytes] = {}  # in the order of their numbers
        self._last = 0

    def first(self, data: bytes) -> list[Any]:
        """Return the reply with the first page of ``data``, and keep the others to be fetched."""
        if len(data) <= self._limits.page_bytes:
            return [1, 0, data]
        if len(data) > self._limits.answer_bytes:
            return self._refused("the answer is too large; ask for less at a time")
        self._last += 1
        self._waiting[self._last] = data
        self._forget_the_oldest()
        return self._reply(self._last, 0)

    def page(self, number: int, index: int) -> list[Any]:
        """Return the reply with page ``index`` of an answer; the last one can be had only once.

        If there is no such page (any more), the reply is one whole answer that says so.
        """
        data = self._waiting.get(number)
        if data is None:
            return self._refused("that answer is not kept any more; ask again")
        if not 0 <= index < self._count(data):
            return self._refused("that answer has no such page")
        reply = self._reply(number, index)
        if index == reply[0] - 1:
            del self._waiting[number]
        return reply

    def _reply(self, number: int, index: int) -> list[Any]:
        data = self._waiting[number]
        start = index * self._limits.page_bytes
        return [self._count(data), number, data[start : start + self._limits.page_bytes]]

    def _count(self, data: bytes) -> int:
        return -(-len(data) // self._limits.page_bytes)

    def _forget_the_oldest(self) -> None:
        while len(self._waiting) > self._limits.answers_waiting_per_session or (
            sum(map(len, self._waiting.values())) > self._limits.answer_bytes
        ):
            del self._waiting[next(iter(self._waiting))]

    def _refused(self, message: str) -> list[Any]:
        return [1, 0, pack(failure("refused", message))]


class Collector:
    """Puts an answer together from its pages, beginning with the first reply.

    As long as ``next_page`` is not None, ask for that page of the answer ``answer_id`` and `add`
    the reply. Raises RemoteError for replies that are not what they must be, or become too large.
    """

    def __init__(self, reply: object, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._total, self.answer_id, page = self._checked(reply)
        self._pages = [page]
        self._left = limits.answer_bytes - len(page)

    @property
    def next_page(self) -> int | None:
        """The page that is to be asked for next, or None when all are here."""
        return len(self._pages) if len(self._pages) < self._total else None

    def add(self, reply: object) -> None:
        """Take the reply with the next page."""
        total, answer_id, page = self._checked(reply)
        if (total, answer_id) == (1, 0):  # an answer of its own: why the page cannot be had
            self._total, self.answer_id, self._pages = total, answer_id, [page]
            return
        self._left -= len(page)
        if (total, answer_id) != (self._total, self.answer_id) or self._left < 0:
            raise RemoteError("the daemon's pages do not belong together")
        self._pages.append(page)

    def data(self) -> bytes:
        """Return the whole answer."""
        return b"".join(self._pages)

    def _checked(self, reply: object) -> tuple[int, int, bytes]:
        if not isinstance(reply, (list, tuple)) or [type(x) for x in reply] != [int, int, bytes]:
            raise RemoteError("the daemon's reply is no page")
        total, answer_id, page = reply
        most = self._limits.answer_bytes // self._limits.page_bytes + 1
        if not 1 <= total <= most or not page:
            raise RemoteError("the daemon's reply has too many pages, or an empty one")
        return total, answer_id, page
