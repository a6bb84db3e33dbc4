"""Why there is no connection to a port, in words, and what is tried when there are several ways."""

from __future__ import annotations

import pytest
from twisted.internet import error as internet
from twisted.python.failure import Failure

from supervisortw.errors import TimedOut, Unreachable
from supervisortw.remote.dialling import _Once, _why_not_there


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (internet.DNSLookupError("x"), Unreachable, "there is no host of that name"),
        (internet.TimeoutError(), TimedOut, "no connection in 10 seconds"),
        (internet.TCPTimedOutError(), TimedOut, "no connection in 10 seconds"),
        (
            internet.ConnectionRefusedError(),
            Unreachable,
            "nobody listens there; is supervisord running?",
        ),
        (internet.NoRouteError(), Unreachable, "there is no way to that host"),
        (OSError("something else"), Unreachable, "cannot connect: something else"),
    ],
)
def test_why_there_is_no_connection(error: Exception, kind: type, text: str) -> None:
    found = _why_not_there(Failure(error), "db1:9001")
    assert type(found) is kind
    assert str(found) == f"db1:9001: {text}"


def test_of_several_attempts_one_gets_the_gate() -> None:
    gate = object()
    once = _Once(gate)  # type: ignore[arg-type]
    assert once.buildProtocol(None) is gate
    assert once.buildProtocol(None) is None
