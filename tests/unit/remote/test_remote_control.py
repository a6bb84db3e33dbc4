"""The daemon's side past the gate: who may in, what they may ask, and logs that are pushed."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from fakes.asking import Asked, answer
from fakes.control import FakeControl
from fakes.logged import log_lines
from fakes.network import Network
from fakes.passing import pass_time
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.spread import pb

from supervisortw import __version__
from supervisortw.auth.peer import IPeer, PeerChecker, PeerCredentials
from supervisortw.auth.users import User, user_name
from supervisortw.core.limits import LIMITS
from supervisortw.core.roles import Role
from supervisortw.core.status import LogPiece
from supervisortw.errors import BadRequest, Denied, Refused, RemoteError, SupervisorError
from supervisortw.remote import verbs, wire
from supervisortw.remote.avatar import ControlAvatar
from supervisortw.remote.follow import Follower, Receiver
from supervisortw.remote.peers import Peer
from supervisortw.remote.realm import ControlRealm
from supervisortw.remote.server import peer_pid
from supervisortw.remote.verbs import VERBS

ALICE = User(name="alice", via="peer", role=Role.ADMIN)
NOTHING: tuple[Any, ...] = ()


class Broker:
    """Hands arguments and answers on as they are."""

    def unserialize(self, value: Any, perspective: object = None) -> Any:
        return value

    def serialize(self, value: Any) -> Any:
        return value


class Reference(pb.RemoteReference):
    """An object of a client's that takes pieces of a log; the test acknowledges them."""

    def __init__(self) -> None:
        self.pieces: list[LogPiece] = []
        self.refusal: Refused | None = None
        self.pending: list[Deferred[None]] = []
        self.dead = False

    def __del__(self) -> None: ...

    def callRemote(self, _name: str, *args: Any, **kw: Any) -> Deferred[None]:
        assert (_name, kw) == ("piece", {})
        if self.dead:
            raise pb.DeadReferenceError("gone")
        try:
            self.pieces.append(wire.unpack_piece(args[0]))
        except Refused as refusal:
            self.refusal = refusal
        self.pending.append(Deferred())
        return self.pending[-1]

    def acknowledge(self) -> None:
        self.pending.pop(0).callback(None)

    @property
    def text(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)


class Bench:
    """One session of alice's, who is an admin if nothing else is said."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.control = FakeControl(self.clock, ["web", "api"])
        self.avatar = ControlAvatar(self.control, ALICE)

    def reply(self, verb: str, *arguments: Any, **keywords: Any) -> Any:
        """Return the raw reply to a call."""
        answered = self.avatar.perspectiveMessageReceived(Broker(), verb, arguments, keywords)
        asked = Asked(answered)
        if not asked.done:
            pass_time(self.clock, 10)
        return asked.answer

    def call(self, verb: str, *arguments: Any, **keywords: Any) -> Any:
        """Return the answer to a call, or raise the error that it holds."""
        total, number, data = self.reply(verb, *arguments, **keywords)
        assert (total, number) == (1, 0)
        if data[:1] == b"\x02":
            return wire.unpack_piece(data)
        return wire.open_envelope(wire.unpack(data))


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestVerbs:
    def test_every_verb_has_a_method_and_every_method_is_a_verb(self) -> None:
        prefix = "perspective_"
        methods = {name[len(prefix) :] for name in dir(ControlAvatar) if name.startswith(prefix)}
        assert methods == set(VERBS)

    @pytest.mark.parametrize("verb", ["status", "start", "stop", "restart", "clear"])
    def test_names_are_passed_on(self, bench: Bench, verb: str) -> None:
        bench.call(verb, ["web", "nosuch"])
        assert bench.control.asked == [(verb, "web", "nosuch")]

    def test_the_answer_tells_what_came_of_it(self, bench: Bench) -> None:
        started, unknown = bench.call("start", ("web", "nosuch"))
        assert started == {"name": "web", "result": "started", "text": "started, pid 101"}
        assert unknown["result"] == "unknown"

    def test_the_others(self, bench: Bench) -> None:
        assert bench.call("signal", "HUP", ["web"])[0]["result"] == "failed"
        assert bench.call("reload")["source"] == "/etc/test.conf"
        assert bench.call("reread")["lines"] == []
        assert bench.call("status", [])["programs"][0]["name"] == "web"
        assert bench.call("shutdown")[0]["result"] == "already down"
        assert [asked[0] for asked in bench.control.asked] == [
            *("signal", "reload", "reread", "status", "shutdown")
        ]

    def test_hello_tells_who_answers(self, bench: Bench) -> None:
        assert bench.call("hello") == {
            "protocol": wire.PROTOCOL_VERSION,
            "version": __version__,
            "pid": os.getpid(),
            "user": "alice",
            "role": "admin",
            "verbs": sorted(VERBS),
        }
        assert bench.call("ping") == {}

    def test_logs_stay_bytes(self, bench: Bench) -> None:
        bench.control.write("web", b"\x00\xff\n")
        assert bench.call("tail", "web", 1) == LogPiece(
            offset=0, size=3, data=b"\x00\xff\n", epoch="e1"
        )
        assert bench.call("read_log", "web", 1, 1) == LogPiece(
            offset=1, size=3, data=b"\xff", epoch="e1"
        )
        assert bench.call("tail", None, 1).data == b""

    def test_an_answer_that_is_too_long_for_one_reply_comes_in_pages(self, bench: Bench) -> None:
        noise = os.urandom(3 * LIMITS.page_bytes).hex()
        bench.control.notes = (noise,)
        collector = wire.Collector(bench.reply("status", []))
        while collector.next_page is not None:
            page = collector.next_page
            collector.add(bench.reply("page", collector.answer_id, page))
        told = wire.open_envelope(wire.unpack(collector.data()))
        assert told["notes"] == [noise]

    def test_a_page_of_nothing(self, bench: Bench) -> None:
        with pytest.raises(Refused, match="not kept any more"):
            bench.call("page", 1, 0)


class TestWhoAskedForWhat:
    @pytest.mark.parametrize(
        ("call", "line"),
        [
            (("start", ["web", "api"]), "alice asks: start web api"),
            (("stop", ["web"]), "alice asks: stop web"),
            (("restart", ["all"]), "alice asks: restart all"),
            (("clear", ["web"]), "alice asks: clear web"),
            (("signal", "HUP", ["web"]), "alice asks: signal HUP web"),
            (("reload",), "alice asks: reload "),
            (("shutdown",), "alice asks: shutdown "),
            (("stop", ["x\nroot asks: y\x1b"]), "alice asks: stop x\\nroot asks: y\\x1b"),
            (("signal", "A\nB", ["web"]), "alice asks: signal A\\nB web"),
        ],
    )
    def test_is_one_line_of_the_log(self, bench: Bench, call: tuple[Any, ...], line: str) -> None:
        with log_lines() as lines:
            bench.reply(*call)
        assert lines == [line]

    def test_a_line_is_not_long(self, bench: Bench) -> None:
        with log_lines() as lines:
            bench.call("start", ["x" * 200] * 50)
        assert len(lines[0]) < 300

    @pytest.mark.parametrize(
        "call", [("status", []), ("ping",), ("hello",), ("tail", "web", 1), ("reread",)]
    )
    def test_looking_is_no_line(self, bench: Bench, call: tuple[Any, ...]) -> None:
        with log_lines() as lines:
            bench.call(*call)
        assert lines == []


# What each kind of argument accepts, and what it does not.
GOOD: dict[object, Any] = {
    verbs.names: ["web"],
    verbs.text: "HUP",
    verbs.log_name: "web",
    verbs.number: 1,
    verbs.receiver: Reference(),
    verbs.data: b"x",
}
LONG = "x" * (LIMITS.name_characters + 1)
BAD: dict[object, list[Any]] = {
    verbs.names: ["web", None, {"web": 1}, b"web", 5, [5], [LONG], [None], [["web"]]],
    verbs.text: [None, 5, b"HUP", ["HUP"], LONG],
    verbs.log_name: [5, b"web", ["web"], LONG],
    verbs.number: [-1, 2**63, True, False, 1.5, "1", None, [1]],
    verbs.receiver: [None, "reference", 5, pb.Referenceable()],
    verbs.data: [None, "text", 5, b"x" * (LIMITS.stdin_bytes + 1)],
}
WRONG = [
    (name, place, value)
    for name, verb in VERBS.items()
    for place, kind in enumerate(verb.checks)
    for value in BAD[kind]
]


class TestBadRequests:
    @pytest.mark.parametrize(("verb", "place", "value"), WRONG)
    def test_an_argument_of_another_kind(
        self, bench: Bench, verb: str, place: int, value: Any
    ) -> None:
        arguments = [GOOD[kind] for kind in VERBS[verb].checks]
        arguments[place] = value
        with log_lines() as lines, pytest.raises(BadRequest, match="was expected"):
            bench.call(verb, *arguments)
        assert bench.control.asked == []
        assert lines == []

    @pytest.mark.parametrize("verb", list(VERBS))
    def test_too_few_and_too_many(self, bench: Bench, verb: str) -> None:
        arguments = [GOOD[kind] for kind in VERBS[verb].checks]
        for wrong in (arguments[:-1] if arguments else None, [*arguments, 1]):
            if wrong is not None:
                with pytest.raises(BadRequest, match=f"{verb} takes {len(arguments)} arguments"):
                    bench.call(verb, *wrong)
        assert bench.control.asked == []

    @pytest.mark.parametrize("verb", list(VERBS))
    def test_keywords(self, bench: Bench, verb: str) -> None:
        with pytest.raises(BadRequest):
            bench.call(verb, *(GOOD[kind] for kind in VERBS[verb].checks), names=["web"])
        assert bench.control.asked == []

    @pytest.mark.parametrize(
        "verb",
        ["nosuch", "", "__init__", "logout", "_log", "perspective_start", "START", "x" * 999],
    )
    def test_a_verb_that_is_none(self, bench: Bench, verb: str) -> None:
        with pytest.raises(BadRequest, match="has no verb") as caught:
            bench.call(verb)
        assert len(str(caught.value)) < 150

    def test_a_list_that_is_too_long(self, bench: Bench) -> None:
        bench.call("status", ["web"] * LIMITS.broker_list_items)
        with pytest.raises(BadRequest):
            bench.call("status", ["web"] * (LIMITS.broker_list_items + 1))


class TestFailures:
    def test_a_mistake_of_ours_is_told_without_details_and_logged_with_them(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail_(names: object) -> None:
            raise KeyError("the secret")

        monkeypatch.setattr(bench.control, "start", fail_)
        with log_lines() as lines, pytest.raises(RemoteError) as caught:
            bench.call("start", ["web"])
        assert str(caught.value) == "internal error; supervisord's log has the details"
        assert lines[1] == "start failed"
        assert "the secret" in lines[2]

    @pytest.mark.parametrize("kind", [Refused, BadRequest])
    def test_a_no_keeps_its_kind_and_its_reason(
        self, bench: Bench, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(names: object) -> None:
            raise kind("the reason")

        monkeypatch.setattr(bench.control, "status", refuse)
        with log_lines() as lines, pytest.raises(kind, match=r"^the reason$"):
            bench.call("status", [])
        assert lines == []


class TestFollowing:
    def test_until_told_to_stop(self, bench: Bench) -> None:
        reference = Reference()
        subscription = bench.call("follow", "web", 0, "", reference)
        bench.control.write("web", b"one\n")
        assert reference.text == b"one\n"
        assert bench.call("unfollow", subscription) == {}
        bench.control.write("web", b"two\n")
        assert reference.text == b"one\n"
        assert bench.control.programs["web"].log.watchers == []

    def test_several_at_once(self, bench: Bench) -> None:
        references = [Reference(), Reference()]
        one, two = (bench.call("follow", "web", 0, "", reference) for reference in references)
        assert one != two
        bench.call("unfollow", one)
        bench.control.write("web", b"x")
        assert [reference.text for reference in references] == [b"", b"x"]

    def test_what_is_not_followed_can_be_unfollowed(self, bench: Bench) -> None:
        assert bench.call("unfollow", 7) == {}

    def test_so_many_and_no_more(self, bench: Bench) -> None:
        most = LIMITS.subscriptions_per_session
        followed = [bench.call("follow", "web", 0, "", Reference()) for _ in range(most)]
        with pytest.raises(Refused, match=f"at most {most} logs and events at a time"):
            bench.call("follow", "web", 0, "", Reference())
        bench.call("unfollow", followed[0])
        bench.call("follow", "web", 0, "", Reference())

    def test_a_refusal_does_not_count(self, bench: Bench) -> None:
        for _ in range(LIMITS.subscriptions_per_session + 1):
            with pytest.raises(Refused, match="no such program"):
                bench.call("follow", "nosuch", 0, "", Reference())
        bench.call("follow", "web", 0, "", Reference())

    def test_the_end_of_the_session_ends_all(self, bench: Bench) -> None:
        for name in ("web", "api", None):
            bench.call("follow", name, 0, "", Reference())
        bench.avatar.logout()
        bench.avatar.logout()
        logs = [*(each.log for each in bench.control.programs.values()), bench.control.own_log]
        assert [log.watchers for log in logs] == [[], [], []]


class Followed:
    """A log that is followed from ``offset`` on."""

    def __init__(self, text: bytes = b"", offset: int = 0, epoch: str = "") -> None:
        self.control = FakeControl(Clock(), ["web"])
        self.control.write("web", text)
        self.reference = Reference()
        self.follower = Follower(self.control, "web", offset, epoch, self.reference)

    def write(self, text: bytes | None) -> None:
        self.control.write("web", text)

    @property
    def told(self) -> list[tuple[str, int, bytes]]:
        return [(piece.epoch, piece.offset, piece.data) for piece in self.reference.pieces]

    @property
    def stopped(self) -> bool:
        return not self.control.programs["web"].log.watchers


class TestFollower:
    WINDOW = LIMITS.chunks_unacknowledged

    def test_what_is_there_comes_at_once_and_then_what_is_new(self) -> None:
        followed = Followed(b"old\n", offset=2)
        followed.write(b"new\n")
        assert [(piece.offset, piece.data) for piece in followed.reference.pieces] == [
            (2, b"d\n"),
            (4, b"new\n"),
        ]

    def test_no_more_pieces_are_under_way_than_the_window_has(self) -> None:
        text = os.urandom(LIMITS.piece_bytes * (self.WINDOW + 2) + 5)
        followed = Followed(text)
        assert len(followed.reference.pending) == self.WINDOW
        sent = 0
        while followed.reference.pending:
            assert len(followed.reference.pending) <= self.WINDOW
            followed.reference.acknowledge()
            sent += 1
        assert sent == self.WINDOW + 3
        assert followed.reference.text == text

    def test_a_reader_that_stands_still_costs_nothing(self) -> None:
        followed = Followed()
        for number in range(100):
            followed.write(b"%d\n" % number)
        assert len(followed.reference.pieces) == self.WINDOW
        followed.reference.acknowledge()
        assert len(followed.reference.pieces) == self.WINDOW + 1
        assert followed.reference.text == b"".join(b"%d\n" % number for number in range(100))

    def test_an_emptied_log_begins_anew(self) -> None:
        followed = Followed(b"before\n")
        followed.write(None)
        followed.write(b"after\n")
        assert [(piece.offset, piece.data) for piece in followed.reference.pieces] == [
            (0, b"before\n"),
            (7, b"after\n"),
        ]

    def test_what_is_gone_is_told_by_where_the_next_piece_begins(self) -> None:
        followed = Followed(b"0123456789")
        for _ in range(self.WINDOW):
            followed.write(b"more")
        followed.write(None)
        followed.write(b"after\n")
        while followed.reference.pending:
            followed.reference.acknowledge()
        last, after = followed.reference.pieces[-2:]
        assert (after.offset, after.data) == (last.offset + len(last.data) + 4, b"after\n")

    def test_of_another_log_come_the_last_lines_and_what_is_new(self) -> None:
        followed = Followed(b"before\n")
        many = [b"%d\n" % number for number in range(100)]
        followed.control.programs["web"].log.become_another("e2", b"".join(many))
        followed.write(b"after\n")
        last = b"".join(many[-LIMITS.tail_lines :])
        end = len(b"".join(many))
        assert followed.told == [
            ("e1", 0, b"before\n"),
            ("e2", end - len(last), last),
            ("e2", end, b"after\n"),
        ]

    def test_of_another_log_that_is_empty_comes_that_it_is_another(self) -> None:
        followed = Followed(b"before\n")
        followed.control.programs["web"].log.become_another("e2")
        assert followed.told == [("e1", 0, b"before\n"), ("e2", 0, b"")]

    def test_who_comes_back_to_the_same_log_goes_on_where_he_was(self) -> None:
        assert Followed(b"seen\nunseen\n", offset=5, epoch="e1").told == [("e1", 5, b"unseen\n")]
        assert Followed(b"seen\n", offset=5, epoch="e1").told == []

    def test_who_comes_back_to_another_log_gets_its_last_lines(self) -> None:
        followed = Followed(b"other\n", offset=5, epoch="e0")
        followed.write(b"more\n")
        assert followed.told == [("e1", 0, b"other\n"), ("e1", 6, b"more\n")]

    def test_who_comes_back_to_a_log_that_was_cut_gets_its_last_lines(self) -> None:
        followed = Followed(b"left\n", offset=1000, epoch="e1")
        followed.write(b"more\n")
        assert followed.told == [("e1", 0, b"left\n"), ("e1", 5, b"more\n")]

    def test_who_comes_from_nowhere_notices_another_log_too(self) -> None:
        followed = Followed()
        followed.control.programs["web"].log.become_another("e2", b"other\n")
        assert followed.told == [("e2", 0, b"other\n")]

    def test_an_offset_beyond_the_end_is_at_the_end(self) -> None:
        followed = Followed(b"text\n", offset=10**6)
        followed.write(b"more\n")
        assert followed.reference.text == b"more\n"

    def test_at_the_end_of_the_connection_it_stops(self) -> None:
        followed = Followed(b"one\n")
        with log_lines() as lines:
            followed.reference.pending.pop().errback(pb.PBConnectionLost("gone"))
        assert followed.stopped
        assert lines == []

    def test_a_dead_receiver_is_noticed_when_it_is_told(self) -> None:
        followed = Followed()
        followed.reference.dead = True
        with log_lines() as lines:
            followed.write(b"one\n")
        assert followed.stopped
        assert lines == []

    def test_a_receiver_that_fails_gets_nothing_more(self) -> None:
        followed = Followed(b"one\n")
        with log_lines() as lines:
            followed.reference.pending.pop().errback(RemoteError("internal error"))
        assert followed.stopped
        assert lines == []

    def test_a_log_that_cannot_be_read_any_more_ends_it_with_the_reason(self) -> None:
        followed = Followed(b"one\n")
        log = followed.control.programs.pop("web").log
        with log_lines() as lines:
            log.tell()
        assert log.watchers == []
        assert lines == []
        assert str(followed.reference.refusal) == "web: no such program; none is configured"
        followed.reference.acknowledge()
        followed.reference.acknowledge()
        assert len(followed.reference.pieces) == 1

    def test_a_mistake_of_ours_is_logged_and_ends_it(self) -> None:
        followed = Followed()
        followed.control.read_log = lambda *_: fail(KeyError("ours"))  # type: ignore[method-assign]
        with log_lines() as lines:
            followed.write(b"one\n")
        assert followed.stopped
        assert lines[0] == "what is followed could not be pushed"

    def test_stopped_twice_is_stopped(self) -> None:
        followed = Followed(b"one\n")
        followed.follower.stop()
        followed.follower.stop()
        followed.write(b"two\n")
        followed.reference.acknowledge()
        assert followed.reference.text == b"one\n"


class TestReceiver:
    def test_a_piece_is_acknowledged_when_it_has_been_dealt_with(self) -> None:
        dealt_with: Deferred[None] = Deferred()
        pieces: list[LogPiece] = []

        def received(piece: LogPiece) -> Deferred[None]:
            pieces.append(piece)
            return dealt_with

        piece = LogPiece(offset=3, size=9, data=b"\x00\n")
        receiver = Receiver(received, lambda error: pytest.fail(str(error)))
        assert receiver.remote_piece(wire.pack_piece(piece)) is dealt_with
        assert pieces == [piece]

    def test_what_is_no_piece(self) -> None:
        with pytest.raises(RemoteError):
            _receiver([]).remote_piece(b"rubbish")

    @pytest.mark.parametrize("kind", ["internal", "denied", "bad request"])
    def test_an_error_that_is_no_refusal(self, kind: str) -> None:
        refusals: list[Refused] = []
        with pytest.raises(SupervisorError):
            _receiver(refusals).remote_piece(wire.pack(wire.failure(kind, "odd")))
        assert refusals == []

    def test_why_nothing_more_comes(self) -> None:
        refusals: list[Refused] = []
        told = wire.pack(wire.failure("refused", "web: no such program"))
        assert _receiver(refusals).remote_piece(told) is None
        assert list(map(str, refusals)) == ["web: no such program"]


def _receiver(refusals: list[Refused]) -> Receiver:
    return Receiver(lambda piece: pytest.fail("no piece"), refusals.append)


class TestWhoMayIn:
    @pytest.mark.parametrize("uid", [0, 1000])
    def test_root_and_the_daemons_own_user(self, uid: int) -> None:
        user = answer(PeerChecker(own_uid=1000).requestAvatarId(PeerCredentials(uid=uid)))
        assert user == User(name=user_name(uid), via="peer", role=Role.ADMIN)

    @pytest.mark.parametrize("uid", [1, 999, 1001, 65534])
    def test_nobody_else(self, uid: int) -> None:
        with pytest.raises(UnauthorizedLogin):
            answer(PeerChecker(own_uid=1000).requestAvatarId(PeerCredentials(uid=uid)))

    def test_the_own_user_is_who_runs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1234567)
        user = answer(PeerChecker().requestAvatarId(PeerCredentials(uid=1234567)))
        assert user.name == "1234567"

    def test_a_password_is_not_looked_at_here(self) -> None:
        assert PeerChecker.credentialInterfaces == (IPeer,)

    def test_every_session_has_an_avatar_of_its_own(self, bench: Bench) -> None:
        realm = ControlRealm(lambda who: bench.control)
        kind, one, logout = realm.requestAvatar(ALICE, None, pb.IPerspective)
        _, two, _ = realm.requestAvatar(ALICE, None, pb.IPerspective)
        assert kind is pb.IPerspective
        assert one is not two
        assert (one.user, logout) == (ALICE, one.logout)
        with pytest.raises(NotImplementedError):
            realm.requestAvatar(ALICE, None)


class TestConnections:
    def test_somebody_else_stays_outside(self, bench: Bench) -> None:
        network = Network(bench.control, bench.clock, Peer(pid=1, uid=4242, gid=4242))
        with pytest.raises(Denied, match="does not let this user in"):
            assert network.opened.answer

    def test_the_end_of_a_connection_ends_what_it_followed(self, bench: Bench) -> None:
        network = Network(bench.control, bench.clock)
        session = network.log_in()
        Asked(session.follow("web", 0, lambda piece: None))
        network.pass_time()
        assert len(bench.control.programs["web"].log.watchers) == 1
        session.close()
        network.pass_time(1)
        assert bench.control.programs["web"].log.watchers == []
        assert bench.clock.getDelayedCalls() == []

    def test_a_daemon_that_ends_closes_its_sessions(self, bench: Bench) -> None:
        network = Network(bench.control, bench.clock)
        session, lost = network.log_in(), []
        session.on_lost(lambda: lost.append(1))
        network.factory.close_sessions()
        network.pass_time(1)
        assert lost == [1]
        network.factory.close_sessions()

    def test_what_was_asked_goes_on_after_the_end_of_the_connection(self, bench: Bench) -> None:
        network = Network(bench.control, bench.clock)
        session = network.log_in()
        Asked(session.start(["web"])).cancel()
        network.pass_time()
        session.close()
        network.pass_time(5)
        assert bench.control.programs["web"].state.value == "RUNNING"

    @pytest.mark.needs_linux
    def test_the_system_tells_the_pid_of_the_other_end(self) -> None:
        ours, theirs = socket.socketpair()
        assert peer_pid(ours) == os.getpid()
        ours.close()
        theirs.close()
        with socket.socket() as tcp:
            assert peer_pid(tcp) is None
