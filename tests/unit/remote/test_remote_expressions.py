import contextlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.spread import banana

from supervisortw.core.limits import LIMITS
from supervisortw.remote.expressions import Expressions
from supervisortw.remote.security import Violation

WORDS = sorted(banana.Banana.outgoingVocabulary)
atoms = (
    st.binary(max_size=200)
    | st.sampled_from(WORDS)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
expressions = st.recursive(atoms, lambda inner: st.lists(inner, max_size=6), max_leaves=30)


def stock(dialect: bytes = b"pb") -> banana.Banana:
    end = banana.Banana()
    end.makeConnection(StringTransport())
    end.currentDialect = dialect
    end.told = []
    end.expressionReceived = end.told.append
    return end


def encoded(*values: object) -> bytes:
    end = stock()
    for value in values:
        end.sendEncoded(value)
    return end.transport.value()


def decoded(data: bytes, limits=LIMITS) -> list:
    reader = Expressions(limits)
    reader.feed(data)
    return all_of(reader)


def all_of(reader: Expressions) -> list:
    found = []
    while (value := reader.next()) is not None:
        found.append(value)
    return found


def digits(number: int) -> bytes:
    told: list[bytes] = []
    banana.int2b128(number, told.append)
    return b"".join(told)


@settings(deadline=None)
@given(st.lists(expressions, min_size=1, max_size=5), st.data())
def test_it_reads_what_twisted_reads_however_it_is_cut(values, data) -> None:
    stream = encoded(*values)
    theirs = stock()
    theirs.dataReceived(stream)
    reader = Expressions()
    found = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:cut])
        stream = stream[cut:]
        found += all_of(reader)
    assert found == theirs.told
    assert [type(value) for value in found] == [type(value) for value in theirs.told]


def test_byte_by_byte() -> None:
    values = [[b"message", 1, [b"x" * 300, [], -5, 2.5]], 7, b"", []]
    reader = Expressions()
    found = []
    for byte in encoded(*values):
        reader.feed(bytes([byte]))
        found += all_of(reader)
    assert found == values


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_expressions_or_a_violation(data) -> None:
    with contextlib.suppress(Violation):
        decoded(data)


@settings(deadline=None)
@given(expressions, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4))
def test_mutated_bytes_are_expressions_or_a_violation(value, changes) -> None:
    stream = bytearray(encoded(value))
    for place, byte in changes:
        stream[place % len(stream)] = byte
    with contextlib.suppress(Violation):
        decoded(bytes(stream))


INT, LIST, STRING, NEG, FLOAT = b"\x81", b"\x80", b"\x82", b"\x83", b"\x84"
LONGINT, LONGNEG, VOCAB = b"\x85", b"\x86", b"\x87"
SMALL = replace(LIMITS, broker_items=20, broker_expression_bytes=100, broker_string_bytes=60)


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (digits(128 * 1024 + 1) + STRING, LIMITS, "byte string is too long"),
        (digits(10_001) + LIST, LIMITS, "list is too long"),
        ((digits(1) + LIST) * 25, LIMITS, "nested too deeply"),
        (digits(0) + LIST, replace(LIMITS, broker_depth=0), "nested too deeply"),
        (digits(3) + LIST + (digits(9_999) + LIST + b"\0\x81" * 9_999) * 3, LIMITS, "many items"),
        (digits(20) + LIST, SMALL, "many items"),
        (digits(2) + LIST + digits(60) + STRING + b"x" * 60 + digits(40) + STRING, SMALL, "large"),
        (b"\x00" * 11, LIMITS, "many digits"),
        (b"\x01" * 11 + INT, LIMITS, "many digits"),
        (digits(2**63) + INT, LIMITS, "out of range"),
        (digits(2**63) + LONGINT, LIMITS, "out of range"),
        (digits(2**70 - 1) + LONGINT, LIMITS, "out of range"),
        (digits(2**70) + LONGINT, LIMITS, "many digits"),
        (digits(2**63 + 1) + LONGNEG, LIMITS, "out of range"),
        (FLOAT + struct.pack("!d", float("nan")), LIMITS, "out of range"),
        (FLOAT + struct.pack("!d", float("inf")), LIMITS, "out of range"),
        (FLOAT + struct.pack("!d", float("-inf")), LIMITS, "out of range"),
        (b"\x01" + FLOAT + struct.pack("!d", 1), LIMITS, "none belongs"),
        (INT, LIMITS, "missing"),
        (LIST, LIMITS, "missing"),
        (STRING, LIMITS, "missing"),
        (b"\x01\x88", LIMITS, "unknown type"),
        (b"\x01\xff", LIMITS, "unknown type"),
        (b"\x00" + VOCAB, LIMITS, "out of range"),
        (digits(32) + VOCAB, LIMITS, "out of range"),
        (digits(2**60) + VOCAB, LIMITS, "out of range"),
    ],
)
def test_what_is_over_a_limit_is_a_violation(data, limits, reason) -> None:
    with pytest.raises(Violation, match=reason):
        decoded(data, limits)


def test_what_is_just_within_the_limits_is_read() -> None:
    assert decoded(digits(2**63 - 1) + LONGINT + digits(2**63) + LONGNEG) == [2**63 - 1, -(2**63)]
    assert decoded((digits(1) + LIST) * 24 + b"\x05" + INT)
    assert decoded(encoded([b"x" * 128 * 1024, list(range(10_000))]))
    largest = [b"x" * 100_000, b"y" * 100_000, b"z" * (256 * 1024 - 200_014)]
    assert len(encoded(largest)) == LIMITS.broker_expression_bytes
    assert decoded(encoded(largest)) == [largest]
    with pytest.raises(Violation, match="large"):
        decoded(encoded([*largest[:2], largest[2] + b"z"]))


def test_budgets_are_those_of_one_expression() -> None:
    one = encoded([b"x" * 40, *range(10)])
    assert len(decoded(one * 50, SMALL)) == 50


def test_a_long_string_in_small_segments_costs_no_copies() -> None:
    class Counting(Expressions):
        heads = 0

        def _head(self):
            type(self).heads += 1
            return super()._head()

    reader = Counting()
    reader.feed(digits(100_000) + STRING)
    for _ in range(2000):
        reader.feed(b"x" * 50)
        if (value := reader.next()) is not None:
            assert len(value) == 100_000
            break
    else:
        raise AssertionError
    assert Counting.heads <= 2001
