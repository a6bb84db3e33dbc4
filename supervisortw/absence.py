"""Leaving out what Twisted imports on the chance that it is needed.

Twisted imports pyOpenSSL together with the reactor, wherever it is installed. That costs a process 13
MiB and a tenth of a second, also one that never speaks TLS.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast


@contextmanager
def without_tls() -> Iterator[None]:
    """While this lasts, Twisted finds no pyOpenSSL, and does without it, as it knows how to.

    Afterwards pyOpenSSL can be imported as ever, and with it all of Twisted that needs it:
    ``TLSMemoryBIOFactory`` works on every transport. Only ``reactor.listenSSL``, ``connectSSL`` and a
    transport's ``startTLS`` stay away; ``twisted.internet.endpoints`` must be imported later.
    """
    if "OpenSSL" in sys.modules:  # it is paid for already
        yield
        return
    sys.modules["OpenSSL"] = cast("ModuleType", None)  # how one tells Python that there is none
    try:
        yield
    finally:
        del sys.modules["OpenSSL"]
