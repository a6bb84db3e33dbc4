"""``supervisord`` and ``supervisorctl`` as they are called: none of them searches modules for garbage.

Python does so while it imports, and once more before it exits. That was a fifth of the time that
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
    try:
        code: int = module.main()
        return code
    finally:
        gc.freeze()  # what is left goes with the process
