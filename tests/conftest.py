"""Where a test can run: one whose markers ask for what the machine lacks is left out."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from leaving_out import leave_out

# A shell has its background jobs ignore these, and so would all that is started here.
for ignored in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what cannot run here, before any of its fixtures is made."""
    if item.get_closest_marker("needs_linux") and sys.platform != "linux":
        leave_out("needs Linux")
    if item.get_closest_marker("needs_root") and os.geteuid() != 0:
        leave_out("needs to run as root")
