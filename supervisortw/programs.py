"""``supervisord`` and ``supervisorctl`` as they are called: modules are never searched for garbage.

Python does so while it imports them, and once more before it exits. That was a sixth of the time that
``supervisorctl status`` takes.
"""

import gc
from importlib import import_module


def supervisord() -> int:
    """Run supervisord; return the exit code."""
    return _run("supervisortw.supervisord")


def supervisorctl() -> int:
    """Run supervisorctl; return the exit code."""
    return _run("supervisortw.client.main")


def _run(name: str) -> int:
    gc.disable()
    module = import_module(name)
    gc.freeze()
    gc.enable()
    code: int = module.main()
    return code
