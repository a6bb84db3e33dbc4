"""The example of docs/protocol.rst is what the daemon says."""

import re
from dataclasses import replace
from pathlib import Path

from fakes.control import FakeControl
from fakes.passwords import ALICE, FakeAccounts, PasswordClient
from remote_ends import Transport
from twisted.cred.portal import Portal
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.spread import banana, pb

from supervisortw.auth.password import Challenges, SrpChecker
from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import GROUP, Kdf, password_bytes, private_key, stretch
from supervisortw.remote import wire
from supervisortw.remote.admission import AdmissionCounter
from supervisortw.remote.frames import FrameReader, fields, pack
from supervisortw.remote.gate import ServerGate
from supervisortw.remote.limited import LimitedBroker
from supervisortw.remote.passwords import PasswordLogins
from supervisortw.remote.peers import Peer
from supervisortw.remote.realm import ControlRealm

DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocol.rst").read_text(encoding="utf-8")
SESSION, LOGIN = DOCUMENT.split("A login by password, on a UNIX socket:")
LINE = re.compile(r"^    ([CS])  ((?:[0-9a-f]{2}(?: |$))+)", re.MULTILINE)


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
    lines = [(who, bytes.fromhex(told)) for who, told in LINE.findall(SESSION)]
    assert len(lines) == 10
    for who, told in lines:
        if who == "C":
            gate.dataReceived(told)
        else:
            expected += told
            assert gate.transport.value()[: len(expected)] == expected
    assert gate.transport.value() == expected


def words(pattern: str) -> list[str]:
    return re.findall(pattern, LOGIN.partition("::")[0])


def test_the_login_by_password_is_true() -> None:
    a, b, stretched, x = (bytes.fromhex(word) for word in words(r"``([0-9a-f]{64})``"))
    user, password = words(r"``(alice|p.ssword123)``")
    frames = {"C": b"", "S": b""}
    for who, told in LINE.findall(LOGIN):
        frames[who] += bytes.fromhex(told)
    [c1, c2], [s1, s2] = (FrameReader(2).feed(frames[who]) for who in "CS")
    _, kdf, realm, salt, _ = fields(s1)
    assert stretch(password_bytes(password), user, Kdf.parse(kdf.decode()), realm) == stretched
    assert private_key(stretched, salt) == int.from_bytes(x, "big")
    alice = replace(
        ALICE,
        kdf=Kdf.parse(kdf.decode()),
        realm=realm,
        salt=salt,
        verifier=pow(GROUP.generator, int.from_bytes(x, "big"), GROUP.prime),
    )
    clock = Clock()
    accounts = FakeAccounts(alice)
    challenges = Challenges(accounts, random=lambda bits: int.from_bytes(b, "big") % 2**bits)
    portal = Portal(ControlRealm(lambda who: FakeControl(clock)), [SrpChecker(accounts)])

    async def login(credentials):
        _, avatar, logout = await portal.login(credentials, None, pb.IPerspective)
        return avatar, logout

    gate = ServerGate(
        clock=clock,
        login=login,
        broker=lambda root, who: Protocol(),
        admission=AdmissionCounter(frozenset({0})),
        passwords=PasswordLogins(challenges, clock),
        peer_of=lambda transport: Peer(pid=1, uid=0, gid=0),
    )
    gate.makeConnection(Transport())
    client = PasswordClient(
        user, password, stretch=lambda _: stretched, secret=int.from_bytes(a, "big")
    )
    assert client.hello() == pack(fields(c1))
    gate.dataReceived(client.hello())
    assert gate.transport.value() == pack(fields(s1))
    assert client.proof(gate.transport.value()) == pack(fields(c2))
    gate.dataReceived(pack(fields(c2)))
    assert gate.transport.value() == frames["S"]
    assert client.admitted() == pack(fields(s2))


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
        LIMITS.tcp_connections_before_login,
        LIMITS.tcp_connections_before_login_per_source,
        int(LIMITS.login_starts_per_second),
        LIMITS.login_starts_at_once,
        int(LIMITS.login_delay_seconds_most),
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
    assert f"{LIMITS.lockout_seconds:g} seconds" in DOCUMENT
    assert f"up to {int(LIMITS.lockout_seconds_most):,}" in DOCUMENT
    assert f"{100 * LIMITS.descriptors_for_tcp:g} %" in DOCUMENT
    assert f"{LIMITS.idle_seconds / 60:g} minutes" in DOCUMENT
    assert f"{LIMITS.session_seconds / 3600:g} hours" in DOCUMENT
    assert f"{LIMITS.undelivered_seconds:g} seconds" in DOCUMENT
