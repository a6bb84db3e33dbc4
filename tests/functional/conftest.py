"""Daemons in directories of their own, which leave nothing behind; and who runs them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from functional_account import ORDINARY, Account, ourselves, somebody
from functional_daemon import Daemon
from functional_processes import nothing_left_behind
from leaving_out import leave_out

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def make_daemon() -> Iterator[MakeDaemon]:
    """Return a function that makes one more daemon, by default one of our own."""
    with daemons() as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_daemon() -> Iterator[MakeDaemon]:
    """Return the same for a daemon that all tests of a file talk to, one after the other."""
    with daemons() as make:
        yield make


@contextmanager
def daemons() -> Iterator[MakeDaemon]:
    """Give a function that makes daemons; at the end they are ended."""
    with ExitStack() as stack:
        stack.enter_context(nothing_left_behind())

        def make(account: Account | None = None, kind: type[Daemon] = Daemon) -> Daemon:
            account = account or ourselves()
            # Not below pytest's own: the path of a socket is short, and other users get there.
            place = Path(tempfile.mkdtemp(prefix="sv-", dir="/tmp"))
            stack.callback(shutil.rmtree, place)
            account.own(place)
            daemon = kind(place, account)
            stack.callback(daemon.stop)
            return daemon

        yield make


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Return a daemon that runs as the one who runs the tests."""
    return make_daemon()


@pytest.fixture(scope="session")
def ordinary() -> Account:
    """Return an ordinary user; only for tests that need root."""
    return _somebody(ORDINARY[0])


@pytest.fixture(scope="session")
def stranger() -> Account:
    """Return another ordinary user; only for tests that need root."""
    return _somebody(ORDINARY[1])


@pytest.fixture(
    params=["ourselves", pytest.param("an ordinary user", marks=pytest.mark.needs_root)]
)
def anybody(request: pytest.FixtureRequest) -> Account:
    """Return the one who runs the tests, and then, if that is root, an ordinary user."""
    if request.param == "ourselves":
        return ourselves()
    account: Account = request.getfixturevalue("ordinary")
    return account


def _somebody(name: str) -> Account:
    account = somebody(name)
    if account is None:
        leave_out(f"user {name} cannot run the Python of the tests")
    return account
