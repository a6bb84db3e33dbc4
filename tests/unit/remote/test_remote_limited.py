import pytest
from remote_ends import End, Root, encode, log_lines, message
from twisted.logger import LogLevel
from twisted.spread import pb
from zope.interface import implementer

from supervisortw.core.limits import LIMITS
from supervisortw.errors import RemoteError
from supervisortw.remote.security import BadCall, Unsendable, call_verb

OWED = LIMITS.broker_answers_owed
TURN = LIMITS.broker_messages_per_turn


@implementer(pb.IPerspective)
class Avatar:
    def perspectiveMessageReceived(self, broker, message, args, kw):
        return call_verb({"echo": lambda value: value}, broker, message, args, kw)


class Raising(pb.Referenceable):
    def __init__(self, error) -> None:
        self.error = error

    def remoteMessageReceived(self, broker, message, args, kw):
        raise self.error


def texts(end: End) -> list:
    return [(kind, request, value) for kind, request, value in end.sent()]


def test_the_server_names_one_dialect_and_its_version() -> None:
    end = End(greet=False)
    assert end.sent() == [[b"pb"]]
    end.send(b"pb")
    assert end.sent() == [[b"version", 6]]


def test_a_client_takes_that_dialect_from_all_that_are_offered() -> None:
    end = End(client=True, greet=False)
    ready: list[bool] = []
    end.broker.notifyOnConnect(lambda: ready.append(True))
    assert end.sent() == []
    assert not ready
    end.send([b"none", b"pb", b"later"])
    assert end.sent() == [b"pb", [b"version", 6]]
    assert ready == [True]


def test_calls_are_answered() -> None:
    end = End()
    end.call(b"echo", 5, request=1)
    end.call(b"echo", [b"unicode", b"text"], request=2)
    end.call(b"echo", b"bytes", request=3)
    end.call(b"coroutine", [b"list", 1, 2.5], request=4)
    end.call(b"later", request=5)
    assert texts(end) == [
        (b"answer", 1, 5),
        (b"answer", 2, [b"unicode", b"text"]),
        (b"answer", 3, b"bytes"),
        (b"answer", 4, [b"list", 1, 2.5]),
    ]
    end.root.pending[0].callback(None)
    assert texts(end) == [(b"answer", 5, [b"None"])]


def test_keywords_arrive_and_no_answer_is_sent_unasked() -> None:
    end = End()
    end.call(b"echo", 1, kw=[b"dictionary", [[b"unicode", b"key"], 2]], wanted=0)
    assert end.root.calls == [((1,), {"key": 2})]
    assert end.sent() == []


def test_an_avatar_can_be_published() -> None:
    end = End(root=Avatar())
    end.call(b"echo", 5)
    end.call(b"stop", 5, request=2)
    assert texts(end) == [(b"answer", 1, 5), (b"error", 2, [b"unicode", b"bad request"])]


def test_answers_and_errors_reach_the_caller() -> None:
    end = End(client=True)
    root = end.broker.remoteForName("root")
    first, second, third, fourth = (root.callRemote("status", [n], x=(None,)) for n in range(4))
    assert end.sent()[0] == [
        *(b"message", 1, b"root", b"status", 1),
        [b"tuple", [b"list", 0]],
        [b"dictionary", [[b"unicode", b"x"], [b"tuple", [b"None"]]]],
    ]
    end.send([b"answer", 1, [b"tuple", 7]])
    assert result_of(first) == (7,)
    end.send([b"error", 2, [b"unicode", b"internal error"]])
    error = error_of(second)
    assert type(error) is RemoteError
    assert str(error) == "internal error"
    end.send([b"error", 3, b"\xff" + b"x" * 10_000])
    assert str(error_of(third)) == "\\xff" + "x" * 496
    end.send([b"error", 4, [b"twisted.spread.pb.CopyableFailure", [b"dictionary"]]])
    assert str(error_of(fourth)) == "an error that it does not describe"
    assert not end.transport.aborted


def result_of(deferred):
    found: list = []
    deferred.addCallback(found.append)
    return found[0]


def error_of(deferred):
    found: list = []
    deferred.addErrback(found.append)
    return found[0].value


def test_an_answer_that_nobody_waits_for_any_more_is_no_violation() -> None:
    end = End(client=True)
    called = end.broker.remoteForName("root").callRemote("status")
    called.addErrback(lambda failure: None)
    called.cancel()
    end.send([b"answer", 1, 5])
    assert not end.transport.aborted


# What goes wrong here stays here.


@pytest.mark.parametrize(
    "error",
    [
        KeyError("/etc/secret"),
        pb.Error("/etc/secret"),
        RecursionError(),
        UnicodeEncodeError("utf-8", "\udc80", 0, 1, "secret"),
    ],
)
def test_an_exception_is_told_as_an_internal_error_and_logged_here(error) -> None:
    end = End(root=Raising(error))
    with log_lines() as lines:
        end.call(b"echo")
    assert texts(end) == [(b"error", 1, [b"unicode", b"internal error"])]
    assert len(lines) == 1
    assert lines[0].startswith("call of echo by uid 1 (pid 2) failed: " + repr(error)[:8])
    assert "remoteMessageReceived < limited.py" in lines[0]


def test_a_failure_is_told_as_an_internal_error_and_logged_here() -> None:
    end = End()
    with log_lines() as lines:
        end.call(b"fail_later")
        end.root.pending[0].errback(KeyError("secret"))
        end.call(b"fail_later", request=2)
        end.root.pending[1].errback(BadCall())
        end.call(b"echo", request=3, wanted=0)
        end.call(b"fail", request=4, wanted=0)
    assert texts(end) == [
        (b"error", 1, [b"unicode", b"internal error"]),
        (b"error", 2, [b"unicode", b"bad request"]),
    ]
    assert len(lines) == 2


def test_what_a_peer_says_is_escaped_in_the_log_and_cut() -> None:
    end = End()
    with log_lines() as lines:
        end.call(b"fail", [b"unicode", b"\x1b]0;evil\x07\nline \xe2\x80\xae" + b"x" * 100_000])
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert len(lines[0]) < 1000


def test_the_log_does_not_grow_with_failing_calls() -> None:
    end = End()
    with log_lines() as lines:
        for request in range(50):
            end.call(b"fail", request=request)
    assert len(lines) == LIMITS.broker_failures_logged
    assert len(end.sent()) == 50


def test_an_answer_that_cannot_travel_is_an_internal_error() -> None:
    end = End(root=Root())
    end.root.remote_set = lambda: {1}
    end.root.remote_long = lambda: b"x" * (LIMITS.broker_string_bytes + 1)
    end.root.remote_later_long = end.root.remote_later
    with log_lines() as lines:
        end.call(b"set", request=1)
        end.call(b"long", request=2)
        end.call(b"later", request=3)
        end.root.pending[0].callback(list(range(LIMITS.broker_list_items)))
        end.call(b"later", request=4)
        end.root.pending[1].callback([["x"] * 9_000] * 3)
    internal = [b"unicode", b"internal error"]
    assert texts(end) == [(b"error", request, internal) for request in (1, 2, 3, 4)]
    assert len(lines) == 4
    assert end.broker._owed == 0


def test_objects_that_are_not_there_are_a_bad_request() -> None:
    end = End()
    with log_lines() as lines:
        end.call(b"echo", target=b"other", request=1)
        end.call(b"echo", target=77, request=2)
        end.call(b"echo", target=-1, request=3)
    bad = [b"unicode", b"bad request"]
    assert texts(end) == [(b"error", request, bad) for request in (1, 2, 3)]
    assert not lines


def test_a_call_that_cannot_be_sent_fails_and_leaves_nothing_behind() -> None:
    end = End(client=True)
    root = end.broker.remoteForName("root")
    for argument in ({1}, "\udc80", b"x" * 200_000, list(range(20_000)), [[0] * 9_000] * 3):
        assert isinstance(error_of(root.callRemote("status", argument)), Unsendable)
    assert not end.broker.waitingForAnswers
    assert end.sent() == []


def test_a_call_on_a_lost_connection_fails_as_a_call_that_is_lost() -> None:
    end = End(client=True)
    root = end.broker.remoteForName("root")
    called = root.callRemote("status")
    end.lose()
    assert isinstance(error_of(called), pb.PBConnectionLost)
    assert isinstance(error_of(root.callRemote("status")), pb.DeadReferenceError)
    assert root.callRemote("status", pbanswer=False) is None


def test_an_answer_for_a_connection_that_is_gone_goes_nowhere() -> None:
    end = End()
    end.call(b"later", request=1)
    end.call(b"later", request=2)
    end.lose()
    end.sent()
    with log_lines() as lines:
        end.root.pending[0].callback(pb.Referenceable())
        end.root.pending[1].errback(KeyError())
    assert end.sent() == []
    assert len(lines) == 1


# References.


def test_objects_are_counted_in_and_out() -> None:
    end = End()
    given = pb.Referenceable()
    end.root.remote_give = lambda: given
    end.call(b"give")
    end.call(b"give")
    [[_, _, [_, luid]], again] = end.sent()
    assert again[2] == [b"remote", luid]
    end.send([b"decref", luid], [b"decref", luid])
    assert luid not in end.broker.localObjects
    end.send([b"decref", luid])
    assert end.transport.aborted


def test_references_of_the_peer_can_be_called_and_are_given_back() -> None:
    end = End()
    end.call(b"echo", [b"list", [b"remote", 4], [b"remote", 4]], wanted=0)
    end.root.calls[0][0][0][0].callRemote("grown", pbanswer=False)
    assert end.sent() == [[b"message", 1, 4, b"grown", 0, [b"tuple"], [b"dictionary"]]]
    end.root.calls.clear()
    assert end.sent() == [[b"decref", 4], [b"decref", 4]]


# Back-pressure.


def test_reading_stops_while_too_many_answers_are_owed() -> None:
    end = End()
    for request in range(OWED - 1):
        end.call(b"later", request=request)
    assert not end.paused
    end.call(b"later", request=40)
    end.call(b"later", request=41)  # a transport that is paused may still bring something
    assert end.paused
    assert len(end.root.pending) == OWED
    end.root.pending[0].callback(None)
    assert len(end.root.pending) == OWED  # nobody is called within somebody else's answer
    end.clock.turn()
    assert len(end.root.pending) == OWED + 1
    assert end.paused
    for pending in end.root.pending[1:]:
        pending.callback(None)
    end.clock.turn()
    assert not end.paused
    assert not end.clock.getDelayedCalls()
    assert len(end.sent()) == OWED + 1


def test_calls_that_want_no_answer_are_owed_all_the_same() -> None:
    end = End()
    for _ in range(OWED + 5):
        end.call(b"later", wanted=0)
    assert len(end.root.pending) == OWED


def test_reading_stops_while_the_peer_does_not_take_our_output() -> None:
    end = End()
    end.transport.producer.pauseProducing()
    end.call(b"echo", 1)
    assert end.paused
    assert not end.root.calls
    end.transport.producer.resumeProducing()
    end.clock.turn()
    assert end.root.calls
    assert not end.paused
    assert not end.clock.getDelayedCalls()


def test_a_client_reads_on_while_its_output_is_not_taken() -> None:
    end = End(client=True)
    end.transport.producer.pauseProducing()
    end.call(b"echo", 1)
    assert end.root.calls


def test_output_has_its_time_and_no_more() -> None:
    end = End()
    end.transport.producer.pauseProducing()
    end.transport.producer.pauseProducing()
    end.clock.advance(LIMITS.undelivered_seconds - 1)
    end.transport.producer.resumeProducing()
    end.clock.advance(LIMITS.undelivered_seconds)
    assert not end.transport.aborted
    end.transport.producer.pauseProducing()
    with log_lines() as lines:
        end.clock.advance(LIMITS.undelivered_seconds)
    assert end.transport.aborted == 1
    assert lines == [
        "connection of uid 1 (pid 2) dropped: it did not take our output in 30 seconds"
    ]


def test_no_more_than_so_many_messages_a_turn() -> None:
    end = End()
    end.write(encode(message(b"echo", 1)) * (2 * TURN + 1))
    assert len(end.root.calls) == TURN
    assert end.paused
    end.call(b"echo", 1)  # comes while the next turn is waited for
    assert len(end.root.calls) == TURN
    end.clock.turn()
    assert len(end.root.calls) == 2 * TURN
    end.clock.turn()
    assert len(end.root.calls) == 2 * TURN + 2
    assert not end.paused
    assert not end.clock.getDelayedCalls()


def test_no_more_than_so_many_calls_a_second() -> None:
    end = End()
    rate = int(LIMITS.calls_per_second)
    end.write(encode(message(b"echo", 1)) * (rate + 200))
    for _ in range(rate // TURN + 2):
        end.clock.turn()
    assert len(end.root.calls) == rate
    assert end.paused
    end.clock.advance(0.05)
    assert rate < len(end.root.calls) <= rate + 101
    while end.clock.getDelayedCalls():
        end.clock.advance(0.01)
    assert len(end.root.calls) == rate + 200
    assert end.clock.seconds() == pytest.approx(200 / rate, abs=0.03)
    assert not end.paused


def test_time_that_goes_back_takes_nothing_away() -> None:
    end = End()
    end.clock.rightNow = -1000.0
    end.call(b"echo", 1)
    assert end.root.calls


# The end.


def test_closing_lets_what_is_written_go_out_and_reads_nothing_more() -> None:
    end = End()
    end.call(b"echo", 1)
    end.broker.close()
    end.broker.close()
    assert end.transport.producer is None
    assert end.transport.disconnecting
    assert not end.transport.aborted
    end.call(b"echo", 2)
    assert len(end.root.calls) == 1
    end.clock.advance(LIMITS.undelivered_seconds)
    assert end.transport.aborted == 1
    end.lose()
    assert not end.clock.getDelayedCalls()


def test_nothing_is_left_behind_a_lost_connection() -> None:
    end = End()
    end.transport.producer.pauseProducing()
    end.write(encode(message(b"echo", 1)) * (TURN + 1))
    gone: list[bool] = []
    end.broker.notifyOnDisconnect(lambda: gone.append(True))
    end.lose()
    assert gone == [True]
    assert not end.clock.getDelayedCalls()
    end.broker.close()
    assert not end.transport.disconnecting


def test_a_verb_may_close_its_own_connection() -> None:
    end = End()
    end.root.remote_close = end.broker.close
    end.write(encode(message(b"close")) + encode(message(b"echo", 1)))
    assert not end.root.calls


def test_what_nobody_thought_of_ends_the_connection_with_one_line(monkeypatch) -> None:
    end = End()

    def broken(sexp):
        raise RuntimeError("a bug\x1b")

    monkeypatch.setattr(end.broker, "expressionReceived", broken)
    with log_lines(LogLevel.debug) as lines:
        end.call(b"echo")
        end.call(b"echo")
    assert end.transport.aborted == 1
    assert len(lines) == 1
    assert "it made us fail: RuntimeError('a bug" in lines[0]
    assert lines[0].isprintable()
