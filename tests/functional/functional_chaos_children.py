"""The programs of the chaos test: what they do, and how they are configured."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from functional_chaos_rules import Slot

MARK = "CHAOS_PLACE"  # is in the environment of every program, with the directory of its test

# Called with its kind, and perhaps the least and the longest time after which it exits, with a code that
# it makes up. What happens to it, it writes down in a line of "record" before anything comes of it: its
# slot, its pid, when it was born, the time, and what it was. Who meets another one of its slot says so.
CHILD = """
    import fcntl, os, signal, sys, time

    KIND = sys.argv[1]
    PLACE = os.environ["CHAOS_PLACE"]
    SLOT = os.environ["SUPERVISOR_SPAWN_ID"].split(":", 1)[1].rpartition(":")[0]

    record = os.open(PLACE + "/record", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def note(*words):
        with open("/proc/self/stat", "rb") as file:
            born = file.read().rpartition(b")")[2].split()[19].decode()
        at = format(time.clock_gettime(time.CLOCK_BOOTTIME), ".3f")
        line = " ".join([SLOT, str(os.getpid()), born, at, *map(str, words)])
        os.write(record, line.encode() + bytes([10]))

    def claim(what):
        lock = os.open(f"{PLACE}/locks/{what}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("double", what, os.pread(lock, 20, 0).decode())
        os.pwrite(lock, b"%20d" % os.getpid(), 0)

    def chance(low, high):
        return low + (high - low) * int.from_bytes(os.urandom(4), "big") / 2**32

    def leave(*_):
        code = 1 + os.urandom(1)[0] % 250
        note("exit", code)
        os._exit(code)

    def have_kids():
        for number in (1, 2):
            if not os.fork():
                claim(f"{SLOT}.{number}")
                while True:
                    signal.pause()

    def print_lines(pause):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as with most programs
        number = 0
        while True:
            number += 1
            os.write(1, b"line %d of %d%c" % (number, os.getpid(), 10))
            time.sleep(pause)

    def answer():
        import socket
        listening = socket.socket(fileno=3)
        while True:
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(5)
                try:
                    accepted.sendall(b"%d" % os.getpid())
                    accepted.recv(1)
                except OSError:
                    pass  # whoever has called is gone

    def tell():
        import socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            while True:
                for text in (b"READY=1", b"WATCHDOG=1"):
                    try:
                        channel.sendto(text, os.environ["NOTIFY_SOCKET"])
                    except OSError:
                        pass  # nobody is there; later
                time.sleep(0.5)

    def listen():
        while True:
            line = os.read(0, 1000)
            if not line:
                note("eof")
                return
            note("said", *line.decode().split())

    if KIND == "tree":
        have_kids()
    if KIND == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    claim(SLOT)
    note("start")
    if len(sys.argv) > 2:
        signal.signal(signal.SIGALRM, leave)
        signal.setitimer(signal.ITIMER_REAL, chance(*map(float, sys.argv[2:])))
    if KIND == "printer":
        print_lines(chance(0.02, 1))
    elif KIND == "server":
        answer()
    elif KIND == "teller":
        tell()
    elif KIND == "listener":
        listen()
    while True:
        signal.pause()
    """

POOL, MOST = "pool", 5  # a program that is scaled, and its most processes
EXTRA, CHANGED = "extra", "changed"  # what a reload takes away, and what it changes
NOT_ASKED_FOR = {EXTRA, CHANGED, *(f"{POOL}:{POOL}_{number}" for number in range(MOST))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """So many programs of one kind."""

    name: str
    count: int = 1
    kind: str = ""
    leaves: tuple[float, float] | None = None
    keys: Sequence[str] = ()
    socket: str = ""  # where it listens; {place} and {number} are filled in
    prints: bool = False
    mortal: bool = False
    once: bool = False

    @property
    def names(self) -> list[str]:
        """Return the names of the programs."""
        if self.count == 1:
            return [self.name]
        return [f"{self.name}{number}" for number in range(self.count)]

    def section(self, command: str, name: str, more: str = "") -> list[str]:
        """Return the lines of one of them; its sockets have a section before it."""
        times = " ".join(map(str, self.leaves or ()))
        kind = self.kind or self.name
        lines = [f"<socket {name}>", f"address {self.socket}", "backlog 4096", "</socket>"]
        return [
            *(lines if self.socket else []),
            f"<program {name}>",
            f"command {command} {kind} {times} {more}".rstrip(),
            *self.keys,
            *([f"sockets {name}"] if self.socket else []),
            "</program>",
        ]


NOTIFY = ("notify yes", "ready-seconds 60")
# 50 processes at first, and two thirds of them live on until somebody ends them.
SORTS = (
    Sort(name="quiet", count=8),
    Sort(name="printer", count=8, prints=True),
    Sort(name="leaver", count=5, kind="quiet", leaves=(3, 9)),
    # So quickly that the daemon waits before it starts them again.
    Sort(name="hasty", count=4, kind="quiet", leaves=(0.4, 2)),
    Sort(name="deaf", count=4, keys=("stop-wait-seconds 0.4",)),
    Sort(name="tree", count=2),
    Sort(name="leaving-tree", count=2, kind="tree", leaves=(3, 9)),
    Sort(name="server", socket="{place}/server.sock"),
    Sort(name="port", kind="server", socket="127.0.0.1:{port}"),
    Sort(name="leaving-server", kind="server", leaves=(2, 5), socket="{place}/leaving.sock"),
    Sort(name="teller", count=2, keys=NOTIFY),
    Sort(name="watched", count=2, kind="teller", keys=(*NOTIFY, "watchdog-seconds 15")),
    Sort(name="listener", count=2, keys=("stdin pipe",)),
    Sort(name="once", count=2, kind="quiet", leaves=(1, 4), keys=("auto-restart no",), once=True),
    Sort(name="mortal", keys=("on-daemon-death stop",), mortal=True),
)
SETTINGS = """
    stop-wait-seconds 5
    forever yes
    restart-delay 0.3
    restart-delay-max 1
    """


def slots() -> list[Slot]:
    """Return every slot there can be."""
    lasting = [
        Slot(name=name, prints=sort.prints, mortal=sort.mortal, once=sort.once)
        for sort in SORTS
        for name in sort.names
    ]
    return [*lasting, *(Slot(name=name, renewed=True) for name in sorted(NOT_ASKED_FOR))]


def up_at_first() -> set[str]:
    """Return the slots that are wanted up in the first variant of the configuration."""
    return {slot.name for slot in slots()} - set(pool_beyond(3))


def pool_beyond(count: int) -> list[str]:
    """Return the slots of the pool that are not there if it has so many processes."""
    return [f"{POOL}:{POOL}_{number}" for number in range(count, MOST)]


def addresses(place: Path, port: int) -> dict[str, str]:
    """Return where programs listen, by their slots."""
    return {
        name: sort.socket.format(place=place, port=port)
        for sort in SORTS
        if sort.socket
        for name in sort.names
    }


def programs(script: Path, place: Path, port: int, variant: int) -> str:
    """Return their sections; in the second variant, one is missing and another is changed."""
    command = f"{sys.executable} -I -S {script}"
    lines = [f"environment {MARK}={place}"]
    for sort in SORTS:
        for name in sort.names:
            lines += sort.section(command, name)
    lines += [f"<program {POOL}>", f"command {command} quiet", "processes 3", "</program>"]
    if not variant:
        lines += Sort(name=EXTRA, kind="quiet").section(command, EXTRA)
    times = ("1000", "1001") if variant else ()
    lines += Sort(name=CHANGED, kind="quiet").section(command, CHANGED, " ".join(times))
    return "\n".join(lines).format(place=place, port=port)
