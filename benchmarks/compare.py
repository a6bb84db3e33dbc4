"""Run the same children under supervisortw and under every other supervisor that is there.

    python benchmarks/compare.py [--n 500] [--repeats 3] [--as-user nobody] [--only NAME,...]

README.rst tells what the rows mean.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import machine
import table
from building import Built, CannotBuild, build
from contest import Contest, Unusable, say, workplace
from figures import bursts_for, selected, steps_for
from options import parse
from peers import PEERS
from peers.base import NotInstalled, Peer
from processes import adopt_orphans, end_everything
from trial import Plan

OK, FAILED, INTERRUPTED = 0, 1, 130
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Measure, and print the table; return the exit code."""
    options = parse(sys.argv[1:])
    if not hasattr(os, "pidfd_open"):
        say("not measured: needs Linux 5.3 or later")
        return FAILED
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    adopt_orphans()
    try:
        return _compare(options)
    except (CannotBuild, Unusable) as error:
        say(f"not measured: {error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        end_everything()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _compare(options: argparse.Namespace) -> int:
    code = OK
    about = machine.describe()
    with workplace() as directory:
        built = build(directory)
        contest = Contest(
            n=options.n,
            users=[None] if options.as_user is None else [None, options.as_user],
            plan=Plan(
                steps=steps_for(options.rows),
                timeout=options.timeout,
                idle=options.idle,
                kills=options.kills,
            ),
            bursts=bursts_for(options.rows),
            mib=options.mib,
            keep_output=options.output == "default",
            built=built,
            directory=directory,
        )
        peers = _find_peers(options, built, contest.results.missing)
        try:
            contest.run(contest.warm_up(peers), options.repeats)
        except KeyboardInterrupt:
            say("interrupted; this is what there is")
            code = INTERRUPTED
    about["load averages"] = f"{about['load averages']} before, {machine.load()} after"
    about["versions"] = ", ".join(f"{peer.name} {peer.version}" for peer in peers)
    _print(options, contest, about)
    return code


def _find_peers(options: argparse.Namespace, built: Built, missing: dict[str, str]) -> list[Peer]:
    beside = Path(sys.executable).parent
    ours: Sequence[Path] = [options.bin] if options.bin else [beside, ROOT / ".venv" / "bin"]
    found: list[Peer] = []
    for kind in PEERS:
        if kind.name in options.only:
            try:
                found.append(kind([built.floor.parent, *options.peers, *ours]))
            except NotInstalled as error:
                missing[kind.name] = str(error)
    return found


def _print(options: argparse.Namespace, contest: Contest, about: dict[str, str]) -> None:
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    figures = selected(options.rows)
    print(table.text(contest.results, figures, settings, about))
    if options.json is not None:
        document = {
            "machine": about,
            "settings": settings,
            "results": table.as_json(contest.results, figures),
            "not_measured": contest.results.missing,
        }
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
