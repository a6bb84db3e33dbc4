"""Perspective Broker with budgets: what a peer can make us hold, compute, log or owe is bounded.

Twisted's own broker trusts whoever got as far as a login. This one speaks the same protocol with a
closed list of messages, and with back-pressure in place of queues. The first broken rule ends the
connection, with one line in the log. It is the same class at both ends: a hostile daemon must not
get further with a client than a client with a daemon.
"""

# The broker underneath has no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from inspect import iscoroutine
from os.path import basename
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import banana, pb

from supervisortw.core.limits import LIMITS, Limits
from supervisortw.core.text import one_line
from supervisortw.errors import RemoteError
from supervisortw.interfaces import Clock, Timer
from supervisortw.remote.expressions import Expressions
from supervisortw.remote.flow import CallBucket, Outflow
from supervisortw.remote.security import (
    BadCall,
    StrictSecurity,
    Unsendable,
    Violation,
    call_verb,
    from_jelly,
    to_jelly,
)

INTERNAL_ERROR = "internal error"
BAD_REQUEST = "bad request"

_DIALECT = b"pb"
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_ERROR_CHARACTERS = 500  # as much of an error is passed on or logged
_FRAMES = 4  # as many callers are named where something failed


class LimitedBroker(pb.Broker):
    """One end of a connection that is past the gate.

    ``root`` is what the peer finds under the name ``root``: something referenceable, or the avatar
    of a session; a client needs none. ``who`` is the peer in our log. End the connection with
    `close`: a transport whose output is watched is not sure to end by ``loseConnection`` alone.
    """

    transport: Any
    connects: Any
    waitingForAnswers: Any

    _log = Logger()

    def __init__(
        self,
        isClient: int = 1,
        *,
        clock: Clock,
        root: object | None = None,
        who: str = "peer",
        limits: Limits = LIMITS,
    ) -> None:
        super().__init__(isClient, StrictSecurity())
        self.knownDialects = [_DIALECT]
        self._clock = clock
        self._who = who
        self._limits = limits
        self._expressions = Expressions(limits)
        self._bucket = CallBucket(clock, limits.calls_per_second)
        self._outflow = Outflow(clock, limits.undelivered_seconds, self._read_on, self._stuck)
        self._owed = 0  # calls that were accepted and not answered yet
        self._failures_logged = 0
        self._versions = 0
        self._over = False  # whatever still comes is not looked at
        self._working = False
        self._paused = False
        self._later: Timer | None = None
        if pb.IPerspective.providedBy(root):
            root = pb.AsReferenceable(root, "perspective")
        if root is not None:
            self.setNameForLocal("root", root)

    # The connection.

    def connectionMade(self) -> None:
        """Begin: the server names the dialect."""
        self.transport.registerProducer(self._outflow, True)
        super().connectionMade()

    def connectionReady(self) -> None:
        """The dialect is agreed on: calls can be made from now on."""
        self.sendCall(b"version", self.version)
        waiting, self.connects = self.connects, None
        for notifier in waiting:
            notifier()

    def close(self) -> None:
        """Send what is written already, as far as the peer takes it in time, and close."""
        if self._over:
            return
        self._end()
        self._later = self._clock.callLater(self._limits.undelivered_seconds, self._abort)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let every call that waits for its answer fail with PBConnectionLost."""
        self._end()
        super().connectionLost(reason)

    def _end(self) -> None:
        self._over = True
        self._outflow.stopProducing()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._expressions = Expressions(self._limits)

    def _drop(self, reason: str) -> None:
        if not self._over:
            self._end()
            self._log.warn("connection of {who} dropped: {reason}", who=self._who, reason=reason)
            self._abort()

    def _abort(self) -> None:
        self._later = None
        self.transport.abortConnection()

    # Reading, as fast as we can answer and no faster.

    def dataReceived(self, data: bytes) -> None:
        """Read what has come, unless something has to go out, or time to pass, before that."""
        if self._over:
            return
        self._expressions.feed(data)
        if self._later is None and not self._working:
            self._work()

    def _work(self) -> None:
        self._later = None
        self._working = True
        try:
            self._read()
        except Violation as violation:
            self._drop(str(violation))
        except Exception:  # the border: what a peer found to break us with stays here
            self._drop(f"it made us fail: {_told(Failure())}")
        finally:
            self._working = False

    def _read(self) -> None:
        for _ in range(self._limits.broker_messages_per_turn):
            if self._held_back():
                self._pause()
                return
            wait = self._bucket.wait()
            if wait:
                self._pause(wait)
                return
            expression = self._expressions.next()
            if expression is None:
                self._resume()
                return
            self.callExpressionReceived(expression)
            if self._over:
                return
        self._pause(0)

    def _held_back(self) -> bool:
        """Tell whether something of ours has to go out before we read on.

        A client reads on while its own requests wait to be taken: if both ends stopped then,
        neither would ever start again.
        """
        if self._owed >= self._limits.broker_answers_owed:
            return True
        return self._outflow.full and not self.isClient

    def _pause(self, seconds: float | None = None) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        if seconds is not None:
            self._later = self._clock.callLater(seconds, self._work)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def _read_on(self) -> None:
        """Read on in the next turn, if that is what reading waited for."""
        waiting = self._paused and self._later is None and not self._working
        if waiting and not self._over and not self._held_back():
            self._later = self._clock.callLater(0, self._work)

    def _stuck(self) -> None:
        self._drop(f"it did not take our output in {self._limits.undelivered_seconds:g} seconds")

    # What is read.

    def callExpressionReceived(self, obj: Any) -> None:
        """Agree on the dialect with the first expression, and take the others as messages."""
        if self.currentDialect:
            self.expressionReceived(obj)
            return
        offers = obj if self.isClient else [obj]
        if type(offers) is not list or _DIALECT not in offers:
            raise Violation("it does not speak our dialect")
        if self.isClient:
            self.sendEncoded(_DIALECT)
        self._selectDialect(_DIALECT)

    def expressionReceived(self, sexp: Any) -> None:
        """Do what one message says, if it is one of the few that there are."""
        if type(sexp) is not list or not sexp or type(sexp[0]) is not bytes:
            raise Violation("an expression is no message")
        known = self._MESSAGES.get(sexp[0])
        if known is None:
            raise Violation("a message is of an unknown kind")
        received, kinds = known
        parts = sexp[1:]
        if len(parts) != len(kinds) or not all(map(isinstance, parts, kinds)):
            raise Violation(f"the parts of a message {sexp[0].decode()} are not as they must be")
        received(self, *parts)

    def _version_received(self, number: int) -> None:
        self._versions += 1
        if number != self.version or self._versions > 1:
            raise Violation("it speaks another version, or tells its version twice")

    def _message_received(self, request: int, target_id: int | bytes, *call: Any) -> None:
        name, wanted, args, kw = call
        if len(name) > self._limits.broker_name_bytes or not _NAME.fullmatch(name):
            raise Violation("the name of a verb is no name")
        if args[:1] != [b"tuple"] or kw[:1] != [b"dictionary"]:
            raise Violation("the arguments of a call are no arguments")
        self._bucket.take()
        self._owed += 1
        verb = name.decode("ascii")
        settle = partial(self._settle, request if wanted else None)
        failed = partial(self._failed, verb, settle)
        target = self.localObjectForID(target_id)
        if target is None:
            failed(Failure(BadCall("no such object")))
            return
        try:
            result = self._call(target, verb, args, kw)
            if not isinstance(result, Deferred):
                settle(result)
                return
        except Violation:
            raise
        except Exception:
            failed(Failure())
        else:
            result.addCallback(settle).addErrback(failed)

    def _call(self, target: Any, verb: str, args: Any, kw: Any) -> Any:
        received = target.remoteMessageReceived
        if getattr(received, "__func__", None) is not pb.Referenceable.remoteMessageReceived:
            return received(self, verb, args, kw)
        # Twisted's way would log all arguments of a call that does not fit.
        method = getattr(target, f"remote_{verb}", None)
        return call_verb({} if method is None else {verb: method}, self, verb, args, kw)

    def _answer_received(self, request: int, result: Any) -> None:
        asked = self._asked(request)
        value = self.unserialize(result)
        del self.waitingForAnswers[request]
        asked.callback(value)

    def _error_received(self, request: int, told: Any) -> None:
        asked = self._asked(request)
        if type(told) is list and len(told) == 2 and told[0] == b"unicode":
            told = told[1]
        text = "an error that it does not describe"
        if type(told) is bytes:
            text = told[: 4 * _ERROR_CHARACTERS].decode("utf-8", "backslashreplace")
        del self.waitingForAnswers[request]
        asked.errback(RemoteError(text[:_ERROR_CHARACTERS]))

    def _asked(self, request: int) -> Deferred[Any]:
        asked: Deferred[Any] | None = self.waitingForAnswers.get(request)
        if asked is None:
            raise Violation("an answer to a question that nobody asked")
        return asked

    def _decref_received(self, target_id: int) -> None:
        if target_id not in self.localObjects:
            raise Violation("a reference is given back that was not given out")
        self.proto_decref(target_id)

    _MESSAGES: ClassVar[dict[bytes, tuple[Callable[..., None], tuple[Any, ...]]]] = {
        b"version": (_version_received, (int,)),
        b"message": (_message_received, (int, (int, bytes), bytes, int, list, list)),
        b"answer": (_answer_received, (int, object)),
        b"error": (_error_received, (int, object)),
        b"decref": (_decref_received, (int,)),
    }

    # What is sent.

    def _settle(self, request: int | None, result: Any, *, kind: bytes = b"answer") -> None:
        if request is not None:
            self.sendCall(kind, request, result)
        self._owed -= 1
        self._read_on()

    def _failed(self, verb: str, settle: Callable[..., None], failure: Failure) -> None:
        """Answer a call that failed; what went wrong stays in our log."""
        text = BAD_REQUEST
        if not failure.check(BadCall):
            text = INTERNAL_ERROR
            self._failures_logged += 1
            if self._failures_logged <= self._limits.broker_failures_logged:
                self._log.error(
                    "call of {verb} by {who} failed: {what}",
                    verb=verb,
                    who=self._who,
                    what=_told(failure),
                )
        settle([b"unicode", text.encode()], kind=b"error")

    def sendEncoded(self, obj: Any) -> None:
        """Send one expression. Raises Unsendable if the peer would have to drop us for it."""
        if self._over:
            return
        parts: list[bytes] = []
        try:
            self._encode(obj, parts.append)
        except banana.BananaError as error:
            raise Unsendable(str(error)) from None
        data = b"".join(parts)
        if len(data) > self._limits.broker_list_items:  # less cannot be over any limit but depth
            self._read_own(data)
        self.transport.write(data)

    def _read_own(self, data: bytes) -> None:
        reader = Expressions(self._limits)
        reader.feed(data)
        try:
            reader.next()
        except Violation as violation:
            raise Unsendable(str(violation)) from None

    def _sendMessage(
        self, prefix: bytes, perspective: Any, objectID: Any, *call: Any
    ) -> Deferred[Any] | None:
        """Make a call; what hinders it is the failure of its Deferred, and never raised."""
        wanted = call[-1].get("pbanswer", True)
        try:
            asked: Deferred[Any] | None = super()._sendMessage(prefix, perspective, objectID, *call)
        except (Unsendable, pb.DeadReferenceError):
            if self.waitingForAnswers:
                self.waitingForAnswers.pop(self.currentRequestID, None)
            return fail() if wanted else None
        return asked

    def serialize(self, object: Any, *others: Any, **more: Any) -> Any:
        """Return what is sent for ``object``, or a Deferred of that if it is one or a coroutine."""
        if iscoroutine(object):
            object = Deferred.fromCoroutine(object)
        if isinstance(object, Deferred):
            return object.addCallback(self.serialize)
        return None if self.disconnected else to_jelly(object, self.registerReference, self._limits)

    def unserialize(self, sexp: Any, perspective: Any = None) -> Any:
        """Return the value that ``sexp`` stands for. Raises Violation if it is none of ours."""
        references = 0

        def refer(luid: int) -> pb.RemoteReference:
            nonlocal references
            references += 1
            if references > self._limits.broker_references:
                raise Violation("a message has too many references")
            return pb.RemoteReference(perspective, self, luid, True)

        return from_jelly(sexp, refer)


def _told(failure: Failure) -> str:
    """Return a failure as one line: what, and the innermost places where it happened."""
    frames = failure.frames[-_FRAMES:]
    places = (f"{basename(frame[1])}:{frame[2]} in {frame[0]}" for frame in reversed(frames))
    what = repr(failure.value)[:_ERROR_CHARACTERS]
    return one_line(" < ".join((what, *places)))
