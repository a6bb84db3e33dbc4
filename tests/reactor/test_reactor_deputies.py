"""Deputies under a real reactor: they go when nobody needs them, and leave nothing behind."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from fakes.deputized import identity
from fakes.stranger import STRANGER, public_directory
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater

from supervisortw.core.limits import LIMITS
from supervisortw.daemon import deputies, deputy
from supervisortw.daemon.deputies import Deputies
from supervisortw.daemon.exits import PidfdWatcher, SigchldWatcher


@pytest.mark.needs_root
@pytest.mark.parametrize("watching", [PidfdWatcher, SigchldWatcher])
@ensureDeferred
async def test_one_is_reaped_when_it_was_let_go(
    watching: type[PidfdWatcher] | type[SigchldWatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    if watching is PidfdWatcher and not PidfdWatcher.works():
        pytest.skip("this system has no pidfds")
    monkeypatch.setattr(deputies, "LIMITS", replace(LIMITS, deputy_seconds=0.05))
    pids = []
    really = deputy.start

    def start(who: deputy.Who) -> tuple[int, deputy.socket.socket]:
        pid, channel = really(who)
        pids.append(pid)
        return pid, channel

    monkeypatch.setattr(deputy, "start", start)
    watcher = watching(reactor)
    used = Deputies(reactor, watcher)
    with public_directory() as place:
        os.chown(place, STRANGER, STRANGER)
        with closing(used.directory(identity(), str(place))) as directory:
            os.close(directory.open("log", os.O_WRONLY | os.O_CREAT, 0o600))
    [pid] = pids
    with suppress(ProcessLookupError):
        for _ in range(2000):
            os.kill(pid, 0)
            await deferLater(reactor, 0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    used.close()
    if isinstance(watcher, SigchldWatcher):
        watcher.close()
