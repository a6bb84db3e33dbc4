"""What the holder runs: the daemon, with the module path that supervisord itself was found by.

Run by its own path under ``python -I``, so that neither the working directory nor PYTHON* variables
can put a foreign module in front of ours.
"""

import gc
import os
import sys

if __name__ == "__main__":
    gc.disable()
    sys.path[:] = os.environ.pop("SUPERVISOR_PYTHON_PATH").split(os.pathsep)
    from supervisortw.absence import lean, own_hashes

    with lean(), own_hashes():  # a daemon stretches no passwords
        from supervisortw.tap import main

    # What modules are made of stays: to search it for garbage again and again would take as long as
    # all else that is done in a turn of the reactor, several times over. But a connection that was
    # broken off is garbage of 50 KiB, and few objects of it count: with 10,000, hundreds of them stay.
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000)
    gc.enable()
    sys.exit(main(sys.argv[1:]))
