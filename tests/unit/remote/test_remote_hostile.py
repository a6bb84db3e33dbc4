"""What a hostile peer may try on a broker that it has been let in to, from either end."""

import math
import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_ends import End, encode, log_lines, message, number
from twisted.logger import LogLevel
from twisted.spread import banana, jelly, pb

from supervisortw.core.limits import LIMITS
from supervisortw.remote.security import call_verb

PRIME = 2**61 - 1  # integers that differ by it have the same hash


def a_set_of_colliding_integers(count: int = 30_000) -> bytes:
    return encode(message(b"nosuch", [b"set", *(n * PRIME + 7 for n in range(count))]))


def a_dictionary_of_colliding_integers(count: int = 15_000) -> bytes:
    pairs = ([n * PRIME + 7, 1] for n in range(count))
    return encode(message(b"nosuch", [b"dictionary", *pairs]))


def endless_lists() -> bytes:
    return (number(1) + banana.LIST) * 100_000


def wide_lists() -> bytes:
    return encode(message(b"echo", [b"list", *[[b"list", *[[]] * 50]] * 1000]))


def deep_lists() -> bytes:
    nested = (number(2) + banana.LIST + encode(b"list")) * 3000 + encode([b"list"])
    return with_argument(nested) * 20


def with_argument(written: bytes) -> bytes:
    """Return a message with an argument that is written in banana already."""
    return encode(message(b"echo", b"HERE")).replace(encode(b"HERE"), written)


def answers_without_a_question(kind: bytes = b"answer") -> bytes:
    return encode([kind, 1, [b"None"]])


class Smuggled(pb.RemoteCopy):
    """A class that some library has registered for the whole process."""

    made = 0

    def setCopyableState(self, state) -> None:
        type(self).made += 1


ROOT = [b"local", b"root"]
HOSTILE = {
    "a set of colliding integers": a_set_of_colliding_integers(),
    "a short set": a_set_of_colliding_integers(3),
    "a dictionary of colliding integers": a_dictionary_of_colliding_integers(),
    "a dictionary with an integer for a key": a_dictionary_of_colliding_integers(1),
    "endless lists": endless_lists(),
    "wide lists": wide_lists(),
    "deep lists": deep_lists(),
    "a list of 2^60": number(2**60) + banana.LIST,
    "a string that is parked": number(640 * 1024) + banana.STRING,
    "a string of 2^63": number(2**63) + banana.STRING,
    "a number that never ends": b"\x01" * 64,
    "an expression that is too large": encode(message(b"echo", *[b"x" * 100_000] * 3)),
    "not a number": with_argument(banana.FLOAT + b"\x7f\xf8" + bytes(6)),
    "infinite": with_argument(banana.FLOAT + b"\x7f\xf0" + bytes(6)),
    "infinitely little": with_argument(banana.FLOAT + b"\xff\xf0" + bytes(6)),
    "2^70": encode(message(b"echo", 2**70 - 1)),
    "2^63": encode(message(b"echo", 2**63)),
    "an unknown type byte": b"\x01\x9f",
    "a word that is not in the vocabulary": number(99) + banana.VOCAB,
    "no message": encode(5),
    "a message that is empty": encode([]),
    "a message that is named by a list": encode([[b"message"]]),
    "a message that is named by a number": encode([7]),
    "too few parts": encode([b"message", 1, b"root", b"echo", 1, [b"tuple"]]),
    "too many parts": encode([*message(b"echo"), 1]),
    "a login": encode([b"login", b"user"]),
    "a password": encode([b"password", b"x"]),
    "a challenge": encode([b"challenge", b"x"]),
    "a cache message": encode([b"cachemessage", *message(b"echo")[1:]]),
    "a decache": encode([b"decache", 1]),
    "an uncache": encode([b"uncache", 1]),
    "didNotUnderstand": encode([b"didNotUnderstand", b"x"]),
    "an attribute of the broker": encode([b"__class__"]),
    "no UTF-8": encode([b"\xff\xfe"]),
    "another version": encode([b"version", 5]),
    "a version again": encode([b"version", 6]),
    "an answer to nothing": answers_without_a_question(),
    "an error of nothing": answers_without_a_question(b"error"),
    "an answer to a list": encode([b"answer", [b"list"], 1]),
    "decref root": encode([b"decref", b"root"]),
    "decref of something else": encode([b"decref", 12345]),
    "decref of a list": encode([b"decref", [b"list"]]),
    "decref of a float": encode([b"decref", 1.0]),
    "a float for a request": encode([b"message", 1.0, *message(b"echo")[2:]]),
    "a list for an object": encode(message(b"echo", target=[b"list"])),
    "a float for an object": encode(message(b"echo", target=1.5)),
    "a text for arguments": encode([*message(b"echo")[:5], b"x", [b"dictionary"]]),
    "a list for whether an answer is wanted": encode(message(b"echo", wanted=[])),
    "no type for arguments": encode([*message(b"echo")[:5], [], [b"dictionary"]]),
    "arguments in a list": encode([*message(b"echo")[:5], [b"list"], [b"dictionary"]]),
    "keywords in a list": encode([*message(b"echo")[:6], [b"list"]]),
    "our own root as an argument": encode(message(b"echo", ROOT)),
    "a copied failure": encode(message(b"echo", [b"twisted.spread.pb.CopyableFailure", ROOT])),
    "a registered class": encode(message(b"echo", [b"library.Smuggled", [b"dictionary"]])),
    "a registered name without a dot": encode(message(b"echo", [b"smuggled", [b"dictionary"]])),
    "a class": encode(message(b"echo", [b"class", b"os.system"])),
    "a module": encode(message(b"echo", [b"module", b"antigravity"])),
    "a function": encode(message(b"echo", [b"function", b"os.system"])),
    "a method": encode(message(b"echo", [b"method", b"x", [b"None"], [b"None"]])),
    "an instance": encode(message(b"echo", [b"instance", b"x", [b"None"]])),
    "persistent": encode(message(b"echo", [b"persistent", b"x"])),
    "a reference": encode(message(b"echo", [b"reference", 1, [b"list"]])),
    "a dereference": encode(message(b"echo", [b"dereference", 1])),
    "a date": encode(message(b"echo", [b"datetime", b"1 2 3"])),
    "a decimal": encode(message(b"echo", [b"decimal", 1, 9_999_999])),
    "a key that is bytes": encode(message(b"echo", kw=[b"dictionary", [b"key", 1]])),
    "a text that is no UTF-8": encode(message(b"echo", [b"unicode", b"\xed\xa0\x80"])),
    "many references": encode(message(b"echo", *([b"remote", n] for n in range(1, 18)))),
    "a name with a dot": encode(message(b"a.b")),
    "a name of the object": encode(message(b"__class__")),
    "a name that is no ASCII": encode(message("stärt".encode())),
    "a name with a NUL": encode(message(b"echo\x00")),
    "a name with an escape": encode(message(b"echo\x1b[2J")),
    "an empty name": encode(message(b"")),
    "a long name": encode(message(b"x" * 100_000)),
    "a name that is a number": encode(message(5)),
    "NUL bytes": bytes(1000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.fixture(autouse=True)
def _a_library_that_registers_classes(monkeypatch):
    monkeypatch.setattr(jelly, "unjellyableRegistry", dict(jelly.unjellyableRegistry))
    monkeypatch.setattr(jelly, "globalSecurity", jelly.SecurityOptions())
    pb.setUnjellyableForClass("library.Smuggled", Smuggled)
    pb.setUnjellyableForClass("smuggled", Smuggled)
    assert b"library.Smuggled" in jelly.unjellyableRegistry


@pytest.mark.parametrize("client", [False, True], ids=["daemon", "client"])
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_end_the_connection_at_once_with_one_line(what, client) -> None:
    end = End(client=client)
    with log_lines(LogLevel.debug) as lines:
        began = time.process_time()
        end.write(HOSTILE[what])
        end.write(HOSTILE[what])
        end.call(b"echo", 1)
        while end.clock.getDelayedCalls():
            end.clock.advance(1)
        took = time.process_time() - began  # the same bytes stopped Twisted's own broker for 22 s
    assert end.transport.aborted == 1
    assert len(lines) == 1
    assert lines[0].startswith("connection of uid 1 (pid 2) dropped: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 150
    assert not end.root.calls
    assert took < 1.0
    assert not Smuggled.made
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "what", ["a set of colliding integers", "deep lists", "a registered class"]
)
def test_so_does_an_answer(what) -> None:
    end = End(client=True)
    called = end.broker.remoteForName("root").callRemote("status")
    called.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
    bad = [b"set", 1] if what.startswith("a set") else [b"library.Smuggled", [b"dictionary"]]
    end.write(HOSTILE[what] if what == "deep lists" else encode([b"answer", 1, bad]))
    assert end.transport.aborted == 1
    end.lose()


@pytest.mark.parametrize(
    "hello", [b"none", [b"pb"], 5, [], b"\x00\x07\x00\x05PEER1", b"pb2", 1.5, [[b"pb"]]]
)
def test_another_dialect_ends_the_connection(hello) -> None:
    for client in (False, True):
        if client and hello == [b"pb"]:
            continue
        end = End(client=client, greet=False)
        end.send(hello)
        assert end.transport.aborted == 1


def test_a_second_frame_of_the_gate_ends_the_connection() -> None:
    end = End(greet=False)
    end.write(b"\x00\x07\x00\x05PEER1" + b"\x00" * 20)
    assert end.transport.aborted == 1


def test_what_is_parked_is_little() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        end = End()
        end.write(number(LIMITS.broker_string_bytes) + banana.STRING)
        for _ in range(1000):
            end.write(b"x" * 100)
        assert tracemalloc.get_traced_memory()[0] - before < 512 * 1024
    finally:
        tracemalloc.stop()


def cost(action: Callable[[], None]) -> float:
    """Return the seconds of processor time that ``action`` takes; other processes disturb it a little."""
    began = time.process_time()
    action()
    return time.process_time() - began


def test_one_byte_segments_cost_little() -> None:
    def segments() -> None:
        for _ in range(3000):
            end.write(b"x")

    costs = []
    for _ in range(3):
        end = End()
        end.write(number(LIMITS.broker_string_bytes) + banana.STRING + b"x" * 100_000)
        costs.append(cost(segments))
    assert min(costs) < 0.1


def test_calls_whose_answers_are_never_read_make_nothing_grow() -> None:
    end = End()
    written = 0
    with log_lines() as lines:
        for _ in range(200):
            end.write(encode(message(b"nosuch")) * 10)
            written += len(end.transport.value())
            end.transport.clear()
            if written > 1000:  # the socket is full
                end.transport.producer.pauseProducing()
    assert end.paused
    assert written < 20_000
    end.clock.advance(LIMITS.undelivered_seconds)
    assert end.transport.aborted
    assert len(lines) <= LIMITS.broker_failures_logged + 1


def test_unknown_verbs_are_a_bad_request_and_leave_no_trace() -> None:
    class Closed(pb.Referenceable):
        def remoteMessageReceived(self, broker, message, args, kw):
            return call_verb({"status": lambda names: names}, broker, message, args, kw)

    end = End(root=Closed())
    with log_lines() as lines:
        for request, verb in enumerate([b"login", b"loginAnonymous", b"respond", b"status"]):
            end.call(verb, request=request)
        end.call(b"status", 1, 2, request=4)
        pairs = ([[b"unicode", b"key%d" % n], 1] for n in range(1000))
        end.call(b"status", request=5, kw=[b"dictionary", *pairs])
    bad = [b"unicode", b"bad request"]
    assert end.sent() == [[b"error", request, bad] for request in range(6)]
    assert not lines
    assert not end.transport.aborted


def test_calls_that_do_not_fit_an_object_are_a_bad_request_and_leave_no_trace() -> None:
    end = End()
    with log_lines(LogLevel.debug) as lines:
        for request, verb in enumerate([b"login", b"perspective", b"later", b"fail"]):
            end.call(verb, b"x" * 1000, b"y", request=request)
    assert end.sent() == [[b"error", n, [b"unicode", b"bad request"]] for n in range(4)]
    assert not lines


def test_what_legal_messages_can_cost_is_bounded() -> None:
    """The largest dictionary, list and number of items that pass, in one message."""

    def largest() -> None:
        end.call(b"echo", [b"dictionary", *pairs])
        end.call(b"echo", [b"list", *range(9_990)], request=2)

    pairs = [[[b"unicode", b"%d" % n], 1] for n in range(3_900)]
    costs = [math.inf]
    while min(costs) >= 0.2 and len(costs) < 20:  # others may slow the processor down for a while
        end = End()
        costs.append(cost(largest))
        assert len(end.root.calls) == 2
    assert min(costs) < 0.2


legal = b"".join(
    (
        encode(message(b"echo", [b"unicode", b"text"], 1, -5, 2.5, [b"list", [b"None"]])),
        encode(message(b"echo", [b"dictionary", [[b"unicode", b"k"], b"v"]], [b"remote", 1])),
        encode([b"decref", 1]),
        encode(message(b"later")),
    )
)
changes = st.lists(
    st.tuples(st.integers(0, len(legal) - 1), st.integers(0, 255)), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=200)
@given(changes, st.integers(1, 60), st.booleans())
def test_mutated_messages_never_raise(changed, cut, client) -> None:
    stream = bytearray(legal)
    for place, byte in changed:
        stream[place] = byte
    end = End(client=client)
    for at in range(0, len(stream), cut):
        end.write(bytes(stream[at : at + cut]))
    assert end.transport.aborted <= 1
    end.lose()
    assert not end.clock.getDelayedCalls()
