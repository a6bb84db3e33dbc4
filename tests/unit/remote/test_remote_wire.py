import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import BadRequest, Denied, Refused, RemoteError
from supervisortw.remote.wire import (
    PROTOCOL_VERSION,
    Collector,
    Pages,
    answer,
    failure,
    open_envelope,
    pack,
    pack_piece,
    unpack,
    unpack_piece,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(plain)
def test_plain_values_come_back(value) -> None:
    # Two surrogates side by side become the character that they stand for.
    assert unpack(pack(value)) == json.loads(json.dumps(value))


def test_file_names_that_are_no_unicode_survive() -> None:
    name = b"caf\xe9 \xf0\x9f\x92\xa9".decode("utf-8", "surrogateescape")
    assert unpack(pack({"name": name})) == {"name": name}


def test_the_first_byte_tells_the_form() -> None:
    assert PROTOCOL_VERSION == 1
    assert pack({"a": 1}) == b'\x00{"a":1}'
    value = ["x" * 10_000]
    assert pack(value)[:1] == b"\x01"
    assert zlib.decompress(pack(value)[1:]) == b'["' + b"x" * 10_000 + b'"]'
    assert unpack(pack(value)) == value
    with pytest.raises(ValueError):
        pack(float("nan"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\x03{}",
        b"\x02" + bytes(16),
        b"\x00",
        b"\x00{",
        b"\x00NaN",
        b"\x00[Infinity]",
        b"\x00\xff\xfe",
        b"\x00" + b"[" * 100_000,
        b"\x01{}",
        b"\x01" + zlib.compress(b"{}")[:-1],
        b"\x01" + zlib.compress(b"{}") + b"x",
        b"\x01" + zlib.compress(b"{"),
        "text",
        None,
        7,
    ],
)
def test_what_is_no_answer_is_an_error(data) -> None:
    with pytest.raises(RemoteError):
        unpack(data)
    with pytest.raises(RemoteError):
        unpack_piece(data) if data != b"\x02" + bytes(16) else unpack(data)


def test_an_answer_is_bounded_before_it_is_expanded() -> None:
    small = replace(LIMITS, answer_bytes=1000, answer_items=50)
    assert unpack(b"\x00" + b" " * 998 + b"{}", small) == {}
    assert unpack(b"\x01" + zlib.compress(b" " * 998 + b"{}"), small) == {}
    for data in (b" " * 999 + b"{}", b" " * 10_000_000):
        with pytest.raises(RemoteError, match="too large"):
            unpack(b"\x01" + zlib.compress(data), small)
    with pytest.raises(RemoteError, match="too large"):
        unpack(b"\x00" + b" " * 999 + b"{}", small)
    assert unpack(pack(list(range(50))), small)
    for data in (b"[" + b"0," * 50 + b"0]", b"[" * 51 + b"]" * 51, b'{"a":' * 51):
        with pytest.raises(RemoteError, match="too many parts"):
            unpack(b"\x00" + data, small)


def test_an_envelope_gives_the_answer_or_raises_the_error() -> None:
    assert open_envelope(unpack(pack(answer([1, None])))) == [1, None]
    assert open_envelope(answer(None)) is None
    for kind, error in [
        ("bad request", BadRequest),
        ("refused", Refused),
        ("denied", Denied),
        ("internal", RemoteError),
    ]:
        with pytest.raises(error, match="because") as raised:
            open_envelope(failure(kind, "because"))
        assert type(raised.value) is error
    with pytest.raises(RemoteError, match="new"):
        open_envelope({"error": "a kind of a later version", "message": "new"})
    with pytest.raises(AssertionError):
        failure("whatever", "x")


@pytest.mark.parametrize(
    "value", [None, [], {}, "answer", {"error": 1, "message": "x"}, {"error": "refused"}, {"a": 1}]
)
def test_what_is_no_envelope_is_an_error(value) -> None:
    with pytest.raises(RemoteError, match="neither"):
        open_envelope(value)


def test_a_piece_of_a_log_stays_bytes() -> None:
    piece = LogPiece(offset=2**40, size=2**41, data=b"\x00\xff line\n", epoch="0123abcd")
    assert unpack_piece(pack_piece(piece)) == piece
    assert pack_piece(LogPiece(offset=1, size=2, data=b"x")) == (
        b"\x02" + b"\0" * 7 + b"\x01" + b"\0" * 7 + b"\x02" + b"\0" * 8 + b"x"
    )
    with pytest.raises(RemoteError, match="cut off"):
        unpack_piece(pack_piece(piece)[:16])


def test_in_place_of_a_piece_there_can_be_an_error() -> None:
    with pytest.raises(Refused, match="no such log"):
        unpack_piece(pack(failure("refused", "no such log")))
    with pytest.raises(RemoteError, match="no piece"):
        unpack_piece(pack(answer("text")))


SMALL = replace(LIMITS, page_bytes=10, answer_bytes=100, answers_waiting_per_session=2)


def collected(pages: Pages, reply, limits=SMALL) -> bytes:
    collector = Collector(reply, limits)
    while collector.next_page is not None:
        collector.add(pages.page(collector.answer_id, collector.next_page))
    return collector.data()


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 99, 100])
def test_an_answer_comes_back_from_its_pages(size) -> None:
    data = bytes(range(size))
    pages = Pages(SMALL)
    reply = pages.first(data)
    assert reply[0] == max(1, -(-size // 10))
    assert collected(pages, reply) == data
    assert not pages._waiting


def test_the_oldest_answers_are_dropped() -> None:
    pages = Pages(SMALL)
    replies = [pages.first(bytes([n]) * 25) for n in range(3)]
    with pytest.raises(Refused, match="not kept"):
        open_envelope(unpack(collected(pages, replies[0])))
    assert collected(pages, replies[1]) == b"\x01" * 25
    assert collected(pages, replies[2]) == b"\x02" * 25


def test_all_that_wait_are_no_larger_than_one_may_be() -> None:
    pages = Pages(SMALL)
    first = pages.first(b"a" * 60)
    second = pages.first(b"b" * 60)
    assert collected(pages, first) != b"a" * 60
    assert collected(pages, second) == b"b" * 60


def test_an_answer_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refused, match="too large"):
        open_envelope(unpack(collected(Pages(SMALL), Pages(SMALL).first(b"x" * 101), LIMITS)))


@pytest.mark.parametrize(("number", "index"), [(1, 3), (1, -1), (0, 0), (2, 0), (-1, 0)])
def test_a_page_that_is_not_there_is_refused(number, index) -> None:
    pages = Pages(SMALL)
    pages.first(b"x" * 25)
    reply = pages.page(number, index)
    assert reply[:2] == [1, 0]
    with pytest.raises(Refused):
        open_envelope(unpack(reply[2]))


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"",
        [],
        [1, 0],
        [1, 0, "text"],
        [1, 0, b"x", 1],
        [True, 0, b"x"],
        [1.0, 0, b"x"],
        [0, 0, b"x"],
        [-1, 0, b"x"],
        [12, 1, b"x"],
        [2**62, 1, b"x"],
        [2, 1, b""],
    ],
)
def test_a_reply_that_is_no_page_is_an_error(reply) -> None:
    with pytest.raises(RemoteError):
        Collector(reply, SMALL)


@pytest.mark.parametrize("reply", [[3, 2, b"x"], [4, 1, b"x"], [3, 1, b"x" * 100], [3, 1, b""]])
def test_pages_that_do_not_belong_together_are_an_error(reply) -> None:
    collector = Collector([3, 1, b"x" * 10], SMALL)
    with pytest.raises(RemoteError):
        collector.add(reply)
