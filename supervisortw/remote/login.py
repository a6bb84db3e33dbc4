"""What a client says at the gate in order to be let in, without a password; and what all logins share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from supervisortw.core.srp import Binding
from supervisortw.errors import Denied, PasswordWanted, TooManyFailures
from supervisortw.remote.frames import (
    ADMITTED,
    FULL,
    PASSWORD_WANTED,
    PEER,
    REFUSED,
    WAIT,
    FrameError,
)

WANTED = "the daemon wants a password; name a user with -u NAME"


class Talk(Protocol):
    """The gate of ``where``, as a login sees it."""

    where: str

    def ask(self, message: Sequence[bytes]) -> Deferred[list[bytes]]:
        """Send a frame with these fields; return those of the frame that answers it."""


# Has us let in, or raises AuthError. FrameError and SrpError are for what no supervisord says.
Login = Callable[[Talk, Binding], Coroutine[Deferred[Any], Any, None]]


async def by_peer(talk: Talk, binding: Binding) -> None:
    """Be let in as who the kernel says that we are."""
    answer = await talk.ask([PEER])
    if answer == [REFUSED]:
        raise Denied(f"{talk.where}: the daemon does not let this user in")
    if answer == [PASSWORD_WANTED]:
        raise PasswordWanted(f"{talk.where}: {WANTED}")
    raise_if_not_now(talk, answer)
    if answer != [ADMITTED]:
        raise FrameError("an answer that nobody has asked for")


def raise_if_not_now(talk: Talk, answer: Sequence[bytes]) -> None:
    """Raise TooManyFailures or Denied if the answer is that the daemon takes no login at the moment."""
    if answer == [FULL]:
        raise Denied(f"{talk.where}: the daemon has no room for one more session; close others")
    if len(answer) == 2 and answer[0] == WAIT and len(answer[1]) == 2:
        seconds = int.from_bytes(answer[1], "big")
        raise TooManyFailures(
            f"{talk.where}: too many logins from here have failed;"
            f" the daemon takes none for another {seconds} seconds"
        )
