"""A client's login by password: the password never leaves this machine, and both sides prove it.

The daemon is believed when it has shown that it knows what belongs to the password, and over TLS that
it is the other end of this very connection.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence

from supervisortw.auth.powmod import powmod
from supervisortw.core.srp import (
    BLIND_BITS,
    GROUP,
    PROOF_BYTES,
    SALT_BYTES,
    SECRET_BITS,
    Binding,
    Kdf,
    Powmod,
    private_key,
    proofs,
)
from supervisortw.errors import Denied, Impostor, WrongPassword
from supervisortw.remote.frames import ADMITTED, PASSWORD, REFUSED, FrameError, pack
from supervisortw.remote.login import Talk, raise_if_not_now

# Returns the stretched password of the user for these parameters and this realm.
Stretched = Callable[[Kdf, bytes], Awaitable[bytes]]


class PasswordLogin:
    """One login of ``user``, which can be made once.

    ``asked`` is how the daemon wants the password to be stretched, once it has said so, and ``binding``
    what the login was bound to, once it has succeeded.
    """

    def __init__(
        self,
        user: str,
        stretched: Stretched,
        *,
        powmod: Powmod = powmod,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.asked: tuple[Kdf, bytes] | None = None
        self.binding: Binding | None = None
        self._user = user
        self._stretched = stretched
        self._powmod = powmod
        self._random_bits = random_bits

    async def __call__(self, talk: Talk, binding: Binding) -> None:
        """Be let in. Raises AuthError; FrameError and SrpError for what no supervisord says."""
        secret = 1 << (SECRET_BITS - 1) | self._random_bits(SECRET_BITS)
        client = GROUP.client_public(secret, self._powmod)
        first = [PASSWORD, self._user.encode("ascii"), GROUP.packed(client)]
        second = await talk.ask(first)
        raise_if_not_now(talk, second)
        if second == [REFUSED]:
            raise Denied(f"{talk.where}: the daemon lets nobody in by password now")
        kdf, realm, salt, server = _challenge(second)
        self.asked = kdf, realm
        key = private_key(await self._stretched(kdf, realm), salt)
        shared = GROUP.client_shared(
            secret, key, client, server, self._powmod, blind=self._random_bits(BLIND_BITS)
        )
        proven = proofs(GROUP, shared, pack(first), pack(second), binding)
        answer = await talk.ask([proven.client])
        raise_if_not_now(talk, answer)
        if answer == [REFUSED]:
            reason = f"wrong password for {self._user}, or somebody in between"
            raise WrongPassword(f"{talk.where}: {reason}")
        if len(answer) != 2 or answer[0] != ADMITTED or len(answer[1]) != PROOF_BYTES:
            raise FrameError("an answer that nobody has asked for")
        if not hmac.compare_digest(answer[1], proven.server):
            reason = "whoever answers there is not that daemon; nothing but a proof was sent"
            raise Impostor(f"{talk.where}: {reason}")
        self.binding = binding


def _challenge(answer: Sequence[bytes]) -> tuple[Kdf, bytes, bytes, int]:
    """Return parameters, realm, salt and B. Raises FrameError, or SrpError for what is out of bounds."""
    if len(answer) != 5 or answer[0] != PASSWORD:
        raise FrameError("an answer that nobody has asked for")
    _, kdf, realm, salt, server = answer
    if len(realm) != SALT_BYTES or len(salt) != SALT_BYTES:
        raise FrameError("a salt of another size")
    return Kdf.parse(kdf.decode("ascii", "replace")), realm, salt, GROUP.unpacked(server)
