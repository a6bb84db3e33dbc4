"""Work that is done in a thread, so that the reactor stays responsive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool


def in_thread(reactor: Any, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """Call a function in a thread of the reactor's pool; fire with what it returns or raises.

    Where no thread can be made (the user may have no more, or there is no memory), it is called here
    and now: what waits for it, such as the end of a stop, comes late then, but it comes.
    """
    pool = reactor.getThreadPool()
    try:
        return deferToThreadPool(reactor, pool, function, *arguments)
    except RuntimeError:  # nothing else is raised by the start of a thread
        # The pool has noted the one that was to start, and cannot wait for its end.
        pool.threads[:] = [thread for thread in pool.threads if thread.ident is not None]
        return maybeDeferred(function, *arguments)
