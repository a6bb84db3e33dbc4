"""Orphans of a daemon without a holder, in a process of their own: it becomes a subreaper."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from supervisortw.daemon import orphans, proc
from supervisortw.daemon.exits import SigchldWatcher

orphans.NOBODYS_SECONDS = 0.05
watcher = SigchldWatcher(reactor)
made = orphans.Orphans(reactor, watcher, lambda function: maybeDeferred(function))

def begin():
    made.take_over()
    # A shell that leaves a process behind, which ends later than the shell.
    left = subprocess.run(["sh", "-c", "sleep 0.2 & echo $!"], capture_output=True, text=True)
    wait(int(left.stdout))

def wait(pid):
    if proc.parent(pid) != os.getpid():
        print("reaped" if proc.start(pid) is None else "not ours", flush=True)
        reactor.stop()
        return
    reactor.callLater(0.01, wait, pid)

reactor.callWhenRunning(begin)
reactor.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_what_a_program_leaves_behind_is_reaped() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("reaped\n", "")
