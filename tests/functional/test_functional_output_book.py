"""The book that the output test keeps finds what is lost, comes again or is torn, and nothing else."""

from __future__ import annotations

import pytest
from functional_output_book import Book, Piece
from functional_output_child import line

NAME, PID = "web", 10


def _lines(first: int, last: int) -> bytes:
    return b"".join(line(NAME, PID, number) for number in range(first, last + 1))


@pytest.fixture
def book() -> Book:
    return Book(NAME, PID)


def test_all_is_there(book: Book) -> None:
    assert book.complaints([Piece("web.log", _lines(1, 100))], 100) == []


def test_all_is_there_over_its_files(book: Book) -> None:
    whole = _lines(1, 100)
    cut = whole.index(line(NAME, PID, 60)) + 5
    pieces = [
        Piece("web.log", whole[cut:]),
        Piece("web.log.1", _lines(31, 50), 1),
        Piece("web.log.2", _lines(1, 30), 2),
        Piece("web.log.moved", whole[len(_lines(1, 50)) : cut]),
        Piece("web.log.3", b"", 3),
    ]
    assert book.complaints(pieces, 100) == []


@pytest.mark.parametrize("size", [1, 6, 11])
def test_a_part_of_a_line_was_moved(book: Book, size: int) -> None:
    pieces = [
        Piece("web.log", line(NAME, PID, 51)[size:] + _lines(52, 100)),
        Piece("web.log.1", _lines(1, 50), 1),
        Piece("web.log.moved", line(NAME, PID, 51)[:size]),
    ]
    assert book.complaints(pieces, 100) == []


def test_all_is_there_after_what_was_looked_at(book: Book) -> None:
    book.close(70)
    assert book.complaints([Piece("web.log", _lines(71, 100))], 100) == []
    assert len(book.complaints([Piece("web.log", _lines(70, 100))], 100)) == 1
    assert len(book.complaints([Piece("web.log", _lines(72, 100))], 100)) == 1


def test_lines_are_missing(book: Book) -> None:
    pieces = [Piece("web.log.1", _lines(1, 30), 1), Piece("web.log", _lines(33, 100))]
    assert book.complaints(pieces, 100) == [
        "web: lines 31 to 32 are missing before web.log:0",
    ]


def test_lines_are_missing_at_the_end(book: Book) -> None:
    pieces = [Piece("web.log", _lines(1, 98))]
    assert book.complaints(pieces, 100) == ["web: lines 99 to 100 are missing at the end"]


def test_nothing_is_there(book: Book) -> None:
    assert book.complaints([], 3) == ["web: lines 1 to 3 are missing at the end"]


def test_a_line_comes_again(book: Book) -> None:
    pieces = [Piece("web.log", _lines(1, 50) + _lines(50, 100))]
    (complaint,) = book.complaints(pieces, 100)
    assert complaint.endswith("line 50 comes again, or too late; expected 51")


def test_a_line_is_torn(book: Book) -> None:
    torn = line(NAME, PID, 51)
    pieces = [Piece("web.log", _lines(1, 50) + torn[:8] + torn[9:] + _lines(52, 100))]
    (complaint,) = book.complaints(pieces, 100)
    assert "is no line" in complaint
    assert "lines 51 to 51 are missing" in complaint


def test_something_stands_between(book: Book) -> None:
    pieces = [Piece("web.log", _lines(1, 50) + b"\n" + _lines(51, 100))]
    (complaint,) = book.complaints(pieces, 100)
    assert "is no line: b'\\n'" in complaint


def test_something_stands_at_the_end(book: Book) -> None:
    assert len(book.complaints([Piece("web.log", _lines(1, 100) + b"web 10 1")], 100)) == 1


def test_a_line_of_another(book: Book) -> None:
    other = line("bew", PID, 51)
    assert len(book.complaints([Piece("web.log", _lines(1, 50) + other + _lines(51, 99))], 99)) == 1


def test_a_file_is_cut_within_a_line(book: Book) -> None:
    whole = _lines(1, 100)
    pieces = [Piece("web.log.1", whole[:1003], 1), Piece("web.log", whole[1003:])]
    (complaint,) = book.complaints(pieces, 100)
    assert complaint.startswith("web: web.log.1 does not end with a line: ")


def test_older_files_are_not_in_order(book: Book) -> None:
    pieces = [Piece("web.log.2", _lines(51, 100), 2), Piece("web.log.1", _lines(1, 50), 1)]
    (complaint,) = book.complaints(pieces, 100)
    assert complaint.startswith("web: older files are not in order: ")


def test_there_are_holes(book: Book) -> None:
    pieces = [Piece("web.log", bytes(4096) + _lines(1, 100))]
    (complaint,) = book.complaints(pieces, 100)
    assert "4096 bytes 0, then" in complaint


def test_the_last_number(book: Book) -> None:
    assert book.last_number_in(_lines(1, 30) + b"web 10") == 30
    assert book.last_number_in(b"web 10") is None


class TestForgiven:
    def test_what_may_be_missing_is(self, book: Book) -> None:
        book.forgive(1, 50)
        assert book.complaints([Piece("web.log", _lines(51, 100))], 100) == []

    def test_more_than_that_is_missing(self, book: Book) -> None:
        book.forgive(1, 50)
        assert len(book.complaints([Piece("web.log", _lines(52, 100))], 100)) == 1

    def test_a_part_of_that_is_missing(self, book: Book) -> None:
        book.forgive(1, 50)
        pieces = [Piece("web.log.1", _lines(1, 20), 1), Piece("web.log", _lines(31, 100))]
        assert book.complaints(pieces, 100) == []

    def test_two_after_each_other(self, book: Book) -> None:
        book.forgive(1, 50)
        book.forgive(51, 60)
        assert book.complaints([Piece("web.log", _lines(61, 100))], 100) == []

    def test_all_may_be_missing(self, book: Book) -> None:
        book.forgive(1, 100)
        assert book.complaints([], 100) == []

    def test_a_line_was_torn_by_it(self, book: Book) -> None:
        book.forgive(1, 50)
        rest = line(NAME, PID, 50)[-3:]
        assert book.complaints([Piece("web.log", rest + _lines(51, 100))], 100) == []

    def test_a_file_was_moved_before(self, book: Book) -> None:
        book.forgive(1, 50)
        begin = line(NAME, PID, 31)[:7]
        pieces = [
            Piece("web.log", _lines(51, 100)),
            Piece("web.log.moved", _lines(1, 30) + begin),
        ]
        assert book.complaints(pieces, 100) == []

    def test_a_line_is_torn_elsewhere(self, book: Book) -> None:
        book.forgive(1, 50)
        pieces = [Piece("web.log", _lines(51, 70) + b"..\n" + _lines(71, 100))]
        assert len(book.complaints(pieces, 100)) == 1

    def test_it_is_forgotten_with_what_was_looked_at(self, book: Book) -> None:
        book.forgive(1, 50)
        book.close(40)
        assert len(book.complaints([Piece("web.log", _lines(51, 100))], 100)) == 1
