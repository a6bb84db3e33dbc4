"""Leaving out what libraries import on the chance that it is needed.

Twisted imports pyOpenSSL together with the reactor, wherever it is installed, and Python's own ssl
together with asyncio. Both cost a process 14 MiB and a tenth of a second, also one that never speaks
TLS. For the name of a module that it once had, Twisted imports all of Python's HTTP client, as ZConfig
does for configurations from the network, which we do not have: that is 3 MiB. Python's hashes come from
OpenSSL's libcrypto where there is one, for which a process has 4 MiB more than with Python's own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

OPTIONAL = ("OpenSSL", "ssl")
LATE = ("http.cookiejar", "urllib.request")
SHA2 = ("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")
OWN_HASHES = ("_md5", "_sha1", *SHA2, "_sha3", "_blake2")


@contextmanager
def _without(names: Iterable[str]) -> Iterator[None]:
    """While this lasts, modules that are not there yet cannot be imported."""
    left_out = [name for name in names if name not in sys.modules]  # the others are paid for
    for name in left_out:
        sys.modules[name] = cast("ModuleType", None)  # how one tells Python that there is none
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]


@contextmanager
def without_tls() -> Iterator[None]:
    """While this lasts, there are no modules for TLS; Twisted and asyncio know how to do without.

    Afterwards they can be imported as ever, and with them all of Twisted that needs pyOpenSSL:
    ``TLSMemoryBIOFactory`` works on every transport. Only ``reactor.listenSSL``, ``connectSSL``, a
    transport's ``startTLS`` and TLS of asyncio's own stay away; ``twisted.internet.endpoints`` must
    be imported later.
    """
    with _without(OPTIONAL):
        yield


@contextmanager
def own_hashes() -> Iterator[None]:
    """Let what is imported while this lasts have Python's own hashes, and never those of OpenSSL.

    That leaves ``hashlib`` without scrypt and PBKDF2. A Python that was built without hashes of its own
    keeps OpenSSL's.
    """
    with _without(["_hashlib"] if all(map(find_spec, OWN_HASHES)) else []):
        yield


class _Later(ModuleType):
    """Stands for a module that is imported when something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system looks at these, and uses nothing
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def http_later() -> Iterator[None]:
    """Let what is imported while this lasts have Python's HTTP client only once it is used."""
    stand_ins = {name: _Later(name) for name in LATE if name not in sys.modules}
    for name, stand_in in stand_ins.items():
        package, _, module = name.rpartition(".")
        setattr(importlib.import_module(package), module, stand_in)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


@contextmanager
def lean() -> Iterator[None]:
    """Let what is imported while this lasts bring neither TLS nor HTTP along."""
    with without_tls(), http_later():
        yield
