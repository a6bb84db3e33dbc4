import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.remote.frames import FrameError, FrameReader, begins_with_frame, fields, pack

parts = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


def test_a_frame_is_a_length_and_its_fields() -> None:
    assert pack([b"PEER1"]) == b"\x00\x07\x00\x05PEER1"
    assert pack([b"", b"x"]) == b"\x00\x05\x00\x00\x00\x01x"


@settings(deadline=None)
@given(parts, st.binary(max_size=40), st.data())
def test_what_is_packed_is_read_however_it_is_cut(sent, rest, data) -> None:
    stream = pack(sent) + rest
    reader = FrameReader()
    found = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert [fields(payload) for payload in found] == [sent]
    assert reader.rest == rest
    assert reader.take_rest() == rest
    assert reader.take_rest() == b""


def test_as_many_frames_are_read_as_are_expected() -> None:
    reader = FrameReader()
    stream = pack([b"a"]) + pack([b"b"]) + b"rest"
    assert reader.feed(stream) == [b"\x00\x01a"]
    reader.expect()
    assert reader.feed(b"") == [b"\x00\x01b"]
    assert reader.take_rest() == b"rest"


def test_the_largest_frame_passes_and_a_larger_one_fails_when_it_is_announced() -> None:
    largest = pack([b"x" * (LIMITS.gate_frame_bytes - 2)])
    assert len(FrameReader().feed(largest)) == 1
    with pytest.raises(FrameError):
        pack([b"x" * (LIMITS.gate_frame_bytes - 1)])
    reader = FrameReader()
    assert reader.feed(b"\x04") == []
    with pytest.raises(FrameError, match="1025 bytes"):
        reader.feed(b"\x01")
    with pytest.raises(FrameError):
        FrameReader().feed(b"\xff\xff")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00", b"\x00\x01", b"\x00\x02x", b"\x00\x01xy", b"\x00\x01x\x00", b"\xff\xffx"],
)
def test_fields_fill_their_frame_exactly(payload) -> None:
    with pytest.raises(FrameError):
        fields(payload)


def test_a_frame_has_a_field() -> None:
    with pytest.raises(FrameError):
        pack([])


def test_a_second_frame_is_told_from_what_a_broker_says() -> None:
    assert begins_with_frame(pack([b"PEER1"]) + b"more")
    assert not begins_with_frame(b"\x02\x82pb")
    assert not begins_with_frame(b"")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_an_error(data) -> None:
    reader = FrameReader()
    try:
        for payload in reader.feed(data):
            fields(payload)
    except FrameError:
        pass
