"""What remote control costs: logins by password over TLS, many hosts at once, and calls.

    python benchmarks/remote.py [--rows logins,hosts,calls] [--repeats 3] [--json FILE]

Run it with the Python that supervisortw is installed for. README.rst tells what the rows mean.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import machine
import table
from contest import Unusable, say, workplace
from environments import WITH, WITHOUT, Environment, Missing, make
from processes import Failed, adopt_orphans, end_everything
from remotelife import ADDRESS, UNIX, USER, Daemon, Hosts, asked, opened, stretched
from waiting import TimedOut

ROWS = ("logins", "hosts", "calls")
PROGRAMS = (3, 100)

Rows = list[tuple[str, list[float]]]


def main() -> int:
    """Measure, and print the tables; return the exit code."""
    options = _parse(sys.argv[1:])
    adopt_orphans()
    about = machine.describe()
    found: dict[str, Rows] = {}
    try:
        with workplace() as directory:
            _measure(options, directory, found)
    except (Unusable, Missing, Failed, TimedOut, OSError) as error:
        say(f"not measured: {error}")
    except KeyboardInterrupt:
        say("interrupted; this is what there is")
    finally:
        end_everything()
    about["load averages"] = f"{about['load averages']} before, {machine.load()} after"
    print("\n".join([*(f":{key}: {value}" for key, value in about.items()), ""]))
    for title, rows in found.items():
        print("\n".join([*_text(title, rows), ""]))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": about, "found": found}, indent=1) + "\n")
    return 0 if set(options.rows) <= {title.partition(":")[0] for title in found} else 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what remote control costs.")
    add, default = parser.add_argument, "(default: %(default)s)"
    add("--rows", type=lambda text: text.split(","), default=list(ROWS), metavar="NAME,...",
        help=f"what is measured: {', '.join(ROWS)}")  # fmt: skip
    add("--repeats", type=int, default=3, help=f"number of runs {default}")
    add("--logins", type=int, default=30, help=f"number of logins {default}")
    add("--hosts", type=int, default=100, help=f"number of hosts that are opened {default}")
    add("--realms", type=int, default=10,
        help=f"number of hosts that are opened with a realm for each {default}")  # fmt: skip
    add("--delay", type=float, default=0.05, metavar="SECONDS",
        help=f"to a host and back, where hosts are far away {default}")  # fmt: skip
    add(
        "--calls",
        type=int,
        default=2000,
        help=f"number of calls with 3 programs, a fifth with 100 {default}",
    )
    add("--at-once", type=int, default=16, help=f"calls on their way at a time {default}")
    add("--json", type=Path, metavar="FILE", help="write all values to a file, too")
    options = parser.parse_args(arguments)
    if not set(options.rows) <= set(ROWS):
        parser.error(f"--rows are some of {', '.join(ROWS)}")
    return options


def _measure(options: argparse.Namespace, directory: Path, found: dict[str, Rows]) -> None:
    environments = [make(WITHOUT, directory / "without")]
    try:
        environments.append(make(WITH, directory / "with"))
    except Missing as error:
        say(f"not measured with gmpy2: {error}")
    what: dict[str, Callable[..., None]] = {"logins": _logins, "hosts": _hosts, "calls": _calls}
    for row in ROWS:
        if row in options.rows:
            what[row](options, environments, directory, found)


# Logins.


def _logins(
    options: argparse.Namespace,
    environments: list[Environment],
    place: Path,
    found: dict[str, Rows],
) -> None:
    daemon = found["logins: processor time of the daemon for each, ms"] = []
    client = found["logins: processor time of the client for each, ms"] = []
    for environment in environments:
        with Daemon(environment, place, programs=3) as running:
            for title, what, address, user in (
                ("TLS handshake alone", "handshakes", ADDRESS, USER),
                ("by password over TLS", "logins", ADDRESS, USER),
                ("by password, UNIX socket", "logins", UNIX, USER),
                ("as the kernel says, UNIX socket", "logins", UNIX, ""),
            ):
                say(f"logins, {environment.name}: {title}")
                told = asked(
                    environment, place, what=what, number=options.logins, pid=running.pid,
                    address=running.address(address), user=user, stretched=stretched(),
                )  # fmt: skip
                daemon.append((f"{title}, {environment.name}", told["daemon"]))
                client.append((f"{title}, {environment.name}", told["client"]))
            for rows in (daemon, client):
                *_, (_, password), (_, kernel) = rows
                rest = statistics.median(kernel)
                alone = [each - rest for each in password]
                rows.append((f"the password alone (difference), {environment.name}", alone))
            running.check(uses_gmpy2=environment.name == WITH)


# Many hosts.


def _hosts(
    options: argparse.Namespace,
    environments: list[Environment],
    place: Path,
    found: dict[str, Rows],
) -> None:
    runs = [
        ("1 host", 1, 1, 0.0),
        (f"{options.hosts} hosts of one realm", options.hosts, 1, 0.0),
        (f"{options.hosts} far hosts of one realm", options.hosts, 1, options.delay),
        (f"{options.realms} hosts of {options.realms} realms", options.realms, options.realms, 0.0),
    ]
    wall = found["hosts: from the start of supervisorctl to its end, s"] = []
    taken = found["hosts: processor time of supervisorctl, s"] = []
    stretches = found["hosts: how often it has stretched a password"] = []
    for title, number, realms, delay in runs:
        # Those who answer are as fast as they can be: it is about the client.
        with Hosts(environments[-1], place, number, realms, delay) as hosts:
            for environment in environments:
                times: dict[str, list[Any]] = {"first": [], "again": []}
                for run in range(options.repeats):
                    say(f"hosts, run {run + 1} of {options.repeats}: {title}, {environment.name}")
                    home = place / f"home-{number}-{realms}-{delay}-{environment.name[:4]}-{run}"
                    home.mkdir()
                    for which in times.values():
                        which.append(opened(environment, place, home, hosts.ports))
                for which, of_them in times.items():
                    row = f"{title}, {which}, {environment.name}"
                    wall.append((row, [each.seconds for each in of_them]))
                    taken.append((row, [each.processor_seconds for each in of_them]))
                    stretches.append((row, [len(each.stretches) for each in of_them]))


# Calls.


def _calls(
    options: argparse.Namespace,
    environments: list[Environment],
    place: Path,
    found: dict[str, Rows],
) -> None:
    rate = found["calls: status a second from one client"] = []
    daemon = found["calls: processor time of the daemon for each, ms"] = []
    client = found["calls: processor time of the client for each, ms"] = []
    environment = environments[-1]
    for programs in PROGRAMS:
        with Daemon(environment, place, programs=programs) as running:
            for title, address, user in (("TLS", ADDRESS, USER), ("UNIX socket", UNIX, "")):
                say(f"calls, {programs} programs: {title}")
                told = asked(
                    environment, place, what="calls", at_once=options.at_once,
                    number=options.calls // max(1, programs // 20), pid=running.pid,
                    address=running.address(address), user=user, stretched=stretched(),
                    repeats=options.repeats,
                )  # fmt: skip
                row = f"{programs} programs, {title}"
                rate.append((row, told["rate"]))
                daemon.append((row, told["daemon"]))
                client.append((row, told["client"]))


# The tables.


def _text(title: str, rows: Rows) -> list[str]:
    head = [title, "median", "least", "most"]
    body = [
        [row, *(_number(of(values)) for of in (statistics.median, min, max))]
        for row, values in rows
        if values
    ]
    return table.grid([head, *body])


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
