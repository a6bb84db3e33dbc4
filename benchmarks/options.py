"""The command line."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

from figures import FIGURES
from peers import PEERS


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(
        description="Run the same children under supervisortw and under others, and compare."
    )
    _add_what(parser)
    _add_how(parser)
    options = parser.parse_args(arguments)
    if min(options.n, options.repeats, options.kills, options.mib) < 1:
        parser.error("--n, --repeats, --kills and --mib are at least 1")
    if min(options.idle, options.timeout) <= 0:
        parser.error("--idle and --timeout are more than 0")
    if options.as_user is not None:
        if os.geteuid() != 0:
            parser.error("--as-user needs root")
        try:
            pwd.getpwnam(options.as_user)
        except KeyError:
            parser.error(f"no such user: {options.as_user}")
    return options


def _add_what(parser: argparse.ArgumentParser) -> None:
    peers = [peer.name for peer in PEERS]
    rows = list(dict.fromkeys(name for figure in FIGURES for name in (figure.step, figure.key)))
    default = "(default: %(default)s)"
    parser.add_argument("--n", type=int, default=500, help=f"number of children {default}")
    parser.add_argument("--repeats", type=int, default=3, help=f"number of runs {default}")
    parser.add_argument(
        "--only",
        type=_some_of(peers),
        default=peers,
        metavar="NAME,...",
        help=f"who takes part: {', '.join(peers)}",
    )
    parser.add_argument(
        "--rows",
        type=_some_of(rows),
        default=[],
        metavar="NAME,...",
        help=f"what is measured: {', '.join(rows)}",
    )
    parser.add_argument(
        "--as-user", metavar="USER", help="measure children of this user, too (needs root)"
    )
    parser.add_argument(
        "--output",
        choices=("default", "none"),
        default="default",
        help="what happens to output of the children: as each supervisor does it, or nothing",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    default = "(default: %(default)s)"
    parser.add_argument(
        "--bin", type=_absolute, metavar="DIR", help="where the programs of supervisortw are"
    )
    parser.add_argument(
        "--peers",
        type=_absolute,
        action="append",
        default=[],
        metavar="DIR",
        help="where programs of the others are, if not in PATH; may be repeated",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=10,
        metavar="SECONDS",
        help=f"how long everybody is watched while idle {default}",
    )
    parser.add_argument(
        "--kills", type=int, default=30, help=f"number of single kills in each run {default}"
    )
    parser.add_argument(
        "--mib",
        type=int,
        default=1024,
        help=f"how much is written for each row about output, of lines an eighth {default}",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=60,
        metavar="SECONDS",
        help=f"how long anything may take {default}",
    )
    parser.add_argument(
        "--json", type=_absolute, metavar="FILE", help="write all values to a file, too"
    )


def _absolute(text: str) -> Path:
    """Return a path that means the same in the directories in which programs are run."""
    return Path(text).absolute()


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",") if name.strip()]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return found

    return names
