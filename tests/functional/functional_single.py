"""A program of which there must be one copy at a time, and which tells of a second one."""

from __future__ import annotations

# Called with the path of a file of its own: it writes its pid to PATH.pid, and makes PATH.second
# if another copy is there. It takes a moment to end.
SINGLE = """
    import fcntl, os, signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.03), os._exit(0)))
    path = sys.argv[1]
    lock = open(path, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        open(path + ".second", "w").close()
    with open(path + ".pid", "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(3600)
    """
