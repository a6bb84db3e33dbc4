"""Output as lines: whole ones, however the bytes come, and what is written before each."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisortw.core.logline import (
    LineBuffer,
    Piece,
    character_end,
    json_lines,
    json_word,
    prefixed,
    prefixed_word,
    word,
)

MOST = 8
TIME = "2026-11-27 21:40:01"

outputs = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\n\n", "é".encode(), "€".encode(), b"\xff"])
)


def in_chunks(data: bytes, sizes: list[int]) -> list[Piece]:
    buffer = LineBuffer(MOST)
    pieces = []
    while data:
        size = sizes.pop() if sizes else len(data)
        pieces += buffer.add(data[:size])
        data = data[size:]
    return pieces + buffer.rest()


def written(pieces: list[Piece]) -> bytes:
    return b"".join(prefixed(piece, "web", "") for piece in pieces)


class TestLines:
    @given(outputs.map(b"".join), st.lists(st.integers(1, 20)))
    def test_they_are_the_same_however_the_bytes_come(self, data: bytes, sizes: list[int]) -> None:
        assert written(in_chunks(data, sizes)) == written(in_chunks(data, []))

    @given(outputs.map(b"".join), st.lists(st.integers(1, 20)))
    def test_no_byte_is_lost_or_added(self, data: bytes, sizes: list[int]) -> None:
        assert b"".join(piece.text for piece in in_chunks(data, sizes)) == data

    @given(outputs.map(b"".join), st.lists(st.integers(1, 20)))
    def test_no_piece_is_longer_than_the_longest_line(self, data: bytes, sizes: list[int]) -> None:
        assert all(len(piece.text) <= MOST + 1 for piece in in_chunks(data, sizes))

    @given(outputs.map(b"".join), st.lists(st.integers(1, 20)))
    def test_they_are_those_of_the_program_but_for_long_ones(
        self, data: bytes, sizes: list[int]
    ) -> None:
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        shown = written(in_chunks(data, sizes)).replace(b"\nweb + ", b"")
        assert shown == b"".join(b"web | " + line + b"\n" for line in lines)

    def test_what_is_no_whole_line_waits(self) -> None:
        buffer = LineBuffer(MOST)
        assert buffer.add(b"one\ntw") == [Piece(text=b"one\n")]
        assert buffer.add(b"o\n") == [Piece(text=b"two\n")]
        assert buffer.rest() == []

    def test_what_waits_is_bounded(self) -> None:
        buffer = LineBuffer(MOST)
        assert buffer.add(b"12345678") == []
        assert buffer.add(b"9") == [Piece(text=b"12345678", is_open=True)]
        assert buffer.add(b"\n") == [Piece(text=b"9\n", is_rest=True)]

    def test_a_long_line_ends_with_the_process(self) -> None:
        buffer = LineBuffer(MOST)
        assert buffer.add(b"123456789") == [Piece(text=b"12345678", is_open=True)]
        assert buffer.rest() == [Piece(text=b"9", is_rest=True)]
        assert buffer.add(b"next\n") == [Piece(text=b"next\n")]

    @pytest.mark.parametrize("text", ["é" * 9, "€" * 9, "𝄞" * 9, "a" * 9])
    @pytest.mark.parametrize("end", range(4, 8))
    def test_no_character_is_cut(self, text: str, end: int) -> None:
        data = text.encode()
        cut = character_end(data, 0, end)
        assert 0 < cut <= end
        data[:cut].decode()

    def test_what_is_no_utf_8_is_cut_anywhere(self) -> None:
        assert character_end(b"\x80" * 9, 0, 6) == 6


class TestPrefix:
    def test_it_stands_before_each_line(self) -> None:
        piece = Piece(text=b"one\n\ntwo\n")
        assert prefixed(piece, "web", "") == b"web | one\nweb | \nweb | two\n"
        assert prefixed(Piece(text=b"x\n"), "web", TIME) == f"{TIME} web | x\n".encode()

    def test_parts_of_a_line_are_told_apart_from_lines(self) -> None:
        assert prefixed(Piece(text=b"begin", is_open=True), "web", "") == b"web | begin\n"
        rest = Piece(text=b"end\nnext\n", is_rest=True)
        assert prefixed(rest, "web", "") == b"web + end\nweb | next\n"

    def test_so_is_what_we_say(self) -> None:
        said = prefixed_word(word("something"), "web", "")
        assert said == b"web ! -- supervisord: something --\n"


class TestJson:
    def test_a_line_is_an_object(self) -> None:
        lines = json_lines(Piece(text=b'one "1"\n\n'), "web", "stderr", TIME).decode().splitlines()
        expected = {"time": TIME, "program": "web", "stream": "stderr"}
        assert [json.loads(line) for line in lines] == [
            {**expected, "line": 'one "1"'},
            {**expected, "line": ""},
        ]

    @given(st.binary(max_size=100).map(lambda data: data.replace(b"\n", b"") + b"\n"))
    def test_one_line_stays_one_line(self, line: bytes) -> None:
        data = json_lines(Piece(text=line), "web", "stdout", TIME)
        assert data.count(b"\n") == 1
        text = json.loads(data)["line"]
        assert text == line[:-1].decode("utf-8", "backslashreplace")
        assert data.isascii(), "whatever shows it is not steered by it"

    def test_parts_of_a_line(self) -> None:
        data = json_lines(Piece(text=b"x\nbegin", is_open=True), "web", "stdout", TIME)
        first, second = map(json.loads, data.splitlines())
        assert ("partial" in first, second["partial"]) == (False, True)
        data = json_lines(Piece(text=b"end\n", is_rest=True), "web", "stdout", TIME)
        assert "partial" not in json.loads(data)

    def test_what_we_say_has_a_stream_of_its_own(self) -> None:
        said = json.loads(json_word(word("something"), "web", TIME))
        assert said["stream"] == "supervisord"
        assert said["line"] == "-- supervisord: something --"
