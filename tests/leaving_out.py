"""What happens to a test that cannot run here: it is skipped, but never where CI is set."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(reason: str) -> NoReturn:
    """Skip the test with the reason; fail it where CI is set, so that nothing is left out unseen."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI leaves nothing out", pytrace=False)
    pytest.skip(reason)
