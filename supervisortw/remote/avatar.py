"""What a logged-in user asks of the daemon, and the answer.

Every call gets one answer: a value of
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
from supervisortw.remote.verbs import checked, verbs_of
from supervisortw.remote.window import Window

log = Logger(namespace="supervisor")

# Hears the name of a user, the verb, and the names that somebody asks for.
Asked = Callable[[str, str, Sequence[str]], None]


def unheard(user: str, verb: str, wanted: Sequence[str]) -> None:
    """Hear nothing."""


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
        self._denials = 0

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
            values = checked(self.user.role, verb, arguments, keywords)
            if verb == "page":  # is itself a part of an answer
                return self.perspective_page(*values)
            method: Callable[..., Coroutine[Deferred[Any], Any, object]]
            method = getattr(self, f"perspective_{verb}")  # verb is a key of VERBS
            result = await method(*values)
            if isinstance(result, LogPiece):
                return self._pages.first(wire.pack_piece(result))
            envelope = wire.answer(to_plain(result))
        except BadRequest as error:
            envelope = wire.failure("bad request", str(error))
        except Refused as error:
            envelope = wire.failure("refused", str(error))
        except Denied as error:
            self._log_denial(verb)
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
            "role": str(self.user.role),
            "verbs": verbs_of(self.user.role),
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

    def _log_denial(self, verb: str) -> None:
        """Tell of it; who is denied over and over cannot fill the log."""
        self._denials += 1
        if self._denials <= LIMITS.denials_logged:
            last = "; no more of this session are told" * (self._denials == LIMITS.denials_logged)
            user, role = self.user.name, self.user.role
            log.warn(
                "denied: {user} ({role}) asks for {verb}{last}",
                user=user,
                role=str(role),
                verb=one_line(verb)[:64],
                last=last,
            )

    def _log(self, verb: str, wanted: list[str]) -> None:
        self._asked(self.user.name, verb, wanted)
        log.info(
            "{user} asks: {verb} {names}",
            user=self.user.name,
            verb=one_line(verb),
            names=one_line(" ".join(wanted))[:200],
        )
