"""Leaving out what Twisted imports on the chance that it is needed.

Twisted imports pyOpenSSL together with the reactor, wherever it is installed, and Python's own ssl
together with asyncio. Both cost a process 14 MiB and a tenth of a second, also one that never speaks
TLS.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

OPTIONAL = ("OpenSSL", "ssl")


@contextmanager
def without_tls() -> Iterator[None]:
    """While this lasts, there are no modules for TLS; Twisted and asyncio know how to do without.

    Afterwards they can be imported as ever, and with them all of Twisted that needs pyOpenSSL:
    ``TLSMemoryBIOFactory`` works on every transport. Only ``reactor.listenSSL``, ``connectSSL``, a
    transport's ``startTLS`` and TLS of asyncio's own stay away; ``twisted.internet.endpoints`` must
    be imported later.
    """
    left_out = [name for name in OPTIONAL if name not in sys.modules]  # the others are paid for
    for name in left_out:
        sys.modules[name] = cast("ModuleType", None)  # how one tells Python that there is none
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]
