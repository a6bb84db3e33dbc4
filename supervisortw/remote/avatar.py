"""What a logged-in user can ask of the daemon: a closed table of verbs, each with its arguments.

A verb is looked up in `VERBS`, never by its name on an object. Every call gets one answer: a value of
`supervisortw.remote.wire` that holds either the result or an error of a closed list. What goes wrong
inside is logged here and told the peer only as an internal error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.spread import pb
from zope.interface import implementer

from supervisortw import __version__
from supervisortw.auth.users import User
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece, to_plain
from supervisortw.core.text import one_line
from supervisortw.errors import BadRequest, Denied, Refused
from supervisortw.interfaces import Control
from supervisortw.remote import wire
from supervisortw.remote.follow import EventFollower, Follower
from supervisortw.remote.security import LARGEST_INTEGER
from supervisortw.remote.window import Window

log = Logger(namespace="supervisor")

Check = Callable[[object], Any]
# Hears the name of a user, the verb, and the names that somebody asks for.
Asked = Callable[[str, str, Sequence[str]], None]


def unheard(user: str, verb: str, wanted: Sequence[str]) -> None:
    """Hear nothing."""


def names(value: object) -> list[str]:
    """Accept a list of short texts."""
    if isinstance(value, (list, tuple)) and len(value) <= LIMITS.broker_list_items:
        return [text(item) for item in value]
    raise BadRequest("a list of names was expected")


def text(value: object) -> str:
    """Accept a short text."""
    if isinstance(value, str) and len(value) <= LIMITS.name_characters:
        return value
    raise BadRequest("a short text was expected")


def log_name(value: object) -> str | None:
    """Accept a program's name, or None for the daemon's own log."""
    return None if value is None else text(value)


def number(value: object) -> int:
    """Accept a number that is not negative, and that we could send back."""
    if type(value) is int and 0 <= value <= LARGEST_INTEGER:
        return value
    raise BadRequest("a number was expected")


def data(value: object) -> bytes:
    """Accept bytes that a program could be given at once."""
    if isinstance(value, bytes) and len(value) <= LIMITS.stdin_bytes:
        return value
    raise BadRequest(f"a value of at most {LIMITS.stdin_bytes} bytes was expected")


def receiver(value: object) -> pb.RemoteReference:
    """Accept an object of the peer's."""
    if isinstance(value, pb.RemoteReference):
        return value
    raise BadRequest("a reference was expected")


# Every verb, with what its arguments have to be.
VERBS: dict[str, tuple[Check, ...]] = {
    "hello": (),
    "ping": (),
    "page": (number, number),
    "status": (names,),
    "why": (names,),
    "start": (names,),
    "stop": (names,),
    "stop_all_of_it": (names,),
    "restart": (names,),
    "scale": (text, number),
    "signal": (text, names),
    "write_stdin": (data, names),
    "reload": (),
    "reread": (),
    "shutdown": (),
    "tail": (log_name, number),
    "read_log": (log_name, number, number),
    "clear": (names,),
    "follow": (log_name, number, text, receiver),
    "unfollow": (number,),
    "events": (number, number),
    "follow_events": (number, receiver),
}


@implementer(pb.IPerspective)
class ControlAvatar:
    """One session of one user, in front of `Control`."""

    def __init__(self, control: Control, user: User, asked: Asked = unheard) -> None:
        self.user = user
        self.on_use: Callable[[], object] = lambda: None  # for each call but a ping
        self._control = control
        self._asked = asked
        self._pages = wire.Pages()
        self._followers: dict[int, Window] = {}
        self._last_follower = 0

    @property
    def is_following(self) -> bool:
        """True while something is pushed to the user."""
        return bool(self._followers)

    def logout(self) -> None:
        """End what the session has begun and nobody would read any more."""
        for follower in self._followers.values():
            follower.stop()
        self._followers.clear()

    def perspectiveMessageReceived(self, broker: Any, message: str, args: Any, kw: Any) -> Any:
        """Answer one call; called by the broker."""
        arguments = broker.unserialize(args, self)
        keywords = broker.unserialize(kw, self)
        answer = ensureDeferred(self._answer(message, arguments, keywords))
        return broker.serialize(answer)

    async def _answer(self, verb: str, arguments: Any, keywords: Any) -> object:
        if verb != "ping":
            self.on_use()
        try:
            checked = _checked(verb, arguments, keywords)
            if verb == "page":  # is itself a part of an answer
                return self.perspective_page(*checked)
            method: Callable[..., Coroutine[Deferred[Any], Any, object]]
            method = getattr(self, f"perspective_{verb}")  # verb is a key of VERBS
            result = await method(*checked)
            if isinstance(result, LogPiece):
                return self._pages.first(wire.pack_piece(result))
            envelope = wire.answer(to_plain(result))
        except BadRequest as error:
            envelope = wire.failure("bad request", str(error))
        except Refused as error:
            envelope = wire.failure("refused", str(error))
        except Denied as error:
            envelope = wire.failure("denied", str(error))
        except Exception:
            log.failure("{verb} failed", verb=one_line(verb))
            envelope = wire.failure("internal", "internal error; supervisord's log has the details")
        return self._pages.first(wire.pack(envelope))

    def perspective_page(self, answer: int, page: int) -> object:
        """Return a further page of an answer that was too long for one."""
        return self._pages.page(answer, page)

    async def perspective_hello(self) -> object:
        """Tell who answers, and what it understands."""
        return {
            "protocol": wire.PROTOCOL_VERSION,
            "version": __version__,
            "pid": os.getpid(),
            "user": self.user.name,
            "verbs": sorted(VERBS),
        }

    async def perspective_ping(self) -> object:
        """Answer, to show that somebody is there."""
        return {}

    async def perspective_status(self, wanted: list[str]) -> object:
        """Tell how the daemon and the named programs stand."""
        return await self._control.status(wanted)

    async def perspective_why(self, wanted: list[str]) -> object:
        """Tell why the named programs are as they are."""
        return await self._control.why(wanted)

    async def perspective_start(self, wanted: list[str]) -> object:
        """Start programs, and answer once each is up or has failed."""
        self._log("start", wanted)
        return await self._control.start(wanted)

    async def perspective_stop(self, wanted: list[str]) -> object:
        """Stop programs, and answer once all of their processes are gone."""
        self._log("stop", wanted)
        return await self._control.stop(wanted)

    async def perspective_stop_all_of_it(self, wanted: list[str]) -> object:
        """Stop programs, and end their processes that have left the session as well."""
        self._log("stop --all-of-it", wanted)
        return await self._control.stop(wanted, all_of_it=True)

    async def perspective_restart(self, wanted: list[str]) -> object:
        """Restart programs, and answer once each is up or has failed."""
        self._log("restart", wanted)
        return await self._control.restart(wanted)

    async def perspective_scale(self, name: str, count: int) -> object:
        """Have so many processes of a program, and answer once each is up, down, or has failed."""
        self._log(f"scale to {count}", [name])
        return await self._control.scale(name, count)

    async def perspective_signal(self, signame: str, wanted: list[str]) -> object:
        """Send a signal to the main processes of programs."""
        self._log(f"signal {signame}", wanted)
        return await self._control.signal(signame, wanted)

    async def perspective_write_stdin(self, data: bytes, wanted: list[str]) -> object:
        """Write to the standard input of programs; what is written stands in no log."""
        self._log(f"write {len(data)} bytes", wanted)
        return await self._control.write_stdin(data, wanted)

    async def perspective_reload(self) -> object:
        """Read the configuration again and apply it."""
        self._log("reload", [])
        return await self._control.reload()

    async def perspective_reread(self) -> object:
        """Tell what a reload would do."""
        return await self._control.reread()

    async def perspective_shutdown(self) -> object:
        """Stop everything, answer, and end the daemon."""
        self._log("shutdown", [])
        return await self._control.shutdown()

    async def perspective_tail(self, name: str | None, lines: int) -> object:
        """Return the last lines of a log."""
        return await self._control.tail(name, lines)

    async def perspective_read_log(self, name: str | None, offset: int, length: int) -> object:
        """Return a piece of a log."""
        return await self._control.read_log(name, offset, length)

    async def perspective_clear(self, wanted: list[str]) -> object:
        """Empty the logs of programs."""
        self._log("clear", wanted)
        return await self._control.clear(wanted)

    async def perspective_follow(
        self, name: str | None, offset: int, epoch: str, reference: pb.RemoteReference
    ) -> object:
        """Push a log to an object of the peer's, until told to stop; return the subscription."""
        self._refuse_too_many()
        return self._keep(Follower(self._control, name, offset, epoch, reference))

    async def perspective_unfollow(self, subscription: int) -> object:
        """End a subscription."""
        follower = self._followers.pop(subscription, None)
        if follower is not None:
            follower.stop()
        return {}

    async def perspective_events(self, after: int, limit: int) -> object:
        """Tell what has happened after a number."""
        return (await self._control.events(after, limit)).to_plain()

    async def perspective_follow_events(self, after: int, reference: pb.RemoteReference) -> object:
        """Push what happens after a number to an object of the peer's; return the subscription."""
        self._refuse_too_many()
        return self._keep(EventFollower(self._control, after, reference))

    def _refuse_too_many(self) -> None:
        if len(self._followers) >= LIMITS.subscriptions_per_session:
            raise Refused(f"at most {LIMITS.subscriptions_per_session} logs and events at a time")

    def _keep(self, follower: Window) -> int:
        self._last_follower += 1
        self._followers[self._last_follower] = follower
        return self._last_follower

    def _log(self, verb: str, wanted: list[str]) -> None:
        self._asked(self.user.name, verb, wanted)
        log.info(
            "{user} asks: {verb} {names}",
            user=self.user.name,
            verb=one_line(verb),
            names=one_line(" ".join(wanted))[:200],
        )


def _checked(verb: str, arguments: Any, keywords: Any) -> list[Any]:
    """Return the arguments of a call as its verb takes them. Raises BadRequest."""
    checks = VERBS.get(verb)
    if checks is None:
        raise BadRequest(f"supervisord {__version__} has no verb {one_line(verb)[:64]!r}")
    if keywords or len(arguments) != len(checks):
        raise BadRequest(f"{verb} takes {len(checks)} arguments")
    return [check(value) for check, value in zip(checks, arguments, strict=True)]
