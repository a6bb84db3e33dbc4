"""The example of docs/protocol.rst is what the daemon says."""

import re
from pathlib import Path

from remote_ends import Transport
from twisted.internet.task import Clock
from twisted.spread import banana, pb

from supervisortw.core.limits import LIMITS
from supervisortw.remote import wire
from supervisortw.remote.admission import AdmissionCounter
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.peers import Peer

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.rst").read_text(encoding="utf-8")
LINE = re.compile(r"^    ([CS])  ((?:[0-9a-f]{2} )+)", re.MULTILINE)


class Root(pb.Root):
    def remote_ping(self):
        return wire.Pages().first(wire.pack(wire.answer({})))


async def login(peer):
    return Root(), lambda: None


def test_the_example_is_true() -> None:
    clock = Clock()
    gate = ServerGate(
        clock=clock,
        login=login,
        broker=lambda root, who: LimitedBroker(0, clock=clock, root=root, who=who),
        admission=AdmissionCounter(frozenset({0})),
        peer_of=lambda transport: Peer(pid=1, uid=0, gid=0),
    )
    gate.makeConnection(Transport())
    expected = b""
    lines = [(who, bytes.fromhex(told)) for who, told in LINE.findall(DOCUMENT + " ")]
    assert len(lines) == 10
    for who, told in lines:
        if who == "C":
            gate.dataReceived(told)
        else:
            expected += told
            assert gate.transport.value()[: len(expected)] == expected
    assert gate.transport.value() == expected


def test_the_words_are_all_there() -> None:
    for word, number in banana.Banana.outgoingVocabulary.items():
        assert re.search(rf"\b{number} {word.decode()}\b", DOCUMENT)


def test_the_limits_are_those_in_force() -> None:
    for number in (
        LIMITS.gate_frame_bytes,
        LIMITS.unix_connections_before_login,
        LIMITS.strangers_before_login,
        LIMITS.sessions_per_user,
        LIMITS.sessions,
        LIMITS.broker_depth,
        LIMITS.broker_references,
        LIMITS.broker_answers_owed,
        LIMITS.broker_name_bytes,
        LIMITS.subscriptions_per_session,
        LIMITS.events_at_once,
        LIMITS.explained_at_once,
    ):
        assert re.search(rf"\b{number}\b", DOCUMENT), number
    for number in (
        LIMITS.broker_items,
        LIMITS.broker_list_items,
        int(LIMITS.calls_per_second),
        LIMITS.events,
        LIMITS.event_characters,
    ):
        assert f"{number:,}" in DOCUMENT
    for kib in (LIMITS.broker_expression_bytes, LIMITS.broker_string_bytes, LIMITS.page_bytes):
        assert f"{kib // 1024} KiB" in DOCUMENT
    assert f"{LIMITS.answer_bytes // 1024**2} MiB" in DOCUMENT
    assert f"{LIMITS.gate_seconds:g} seconds" in DOCUMENT
    assert f"{LIMITS.undelivered_seconds:g} seconds" in DOCUMENT
