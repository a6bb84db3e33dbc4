"""The results as text that is also reStructuredText, and as values for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from contest import Results
from figures import Figure
from life import Result

REFERENCES = ("floor", "supervisortw")
NOT_MEASURED = "not measured"

Cell = Callable[[str, Figure], str]


def text(
    results: Results, figures: Sequence[Figure], settings: dict[str, Any], about: dict[str, str]
) -> str:
    """Return everything as text."""
    peers = settings["only"]
    titles = {figure.key: figure.title.format(**settings) for figure in figures}
    with_units = {f.key: f"{titles[f.key]}, {f.unit}".rstrip(", ") for f in figures}
    lines = [*(f":{key}: {value}" for key, value in about.items()), ""]
    for user, trials in results.trials.items():
        if not trials:
            continue
        block = _Block(trials)
        who = f"user {user}" if user else "the daemon's user"
        runs = max(map(len, trials.values()))
        lines += [f"Children of {who}, N={settings['n']}, medians of {runs} runs:", ""]
        lines += [*_grid(peers, with_units, figures, block.value), ""]
        for reference in REFERENCES:
            if reference in trials:
                lines += [f"Divided by the figure of {reference}:", ""]
                lines += [*_grid(peers, titles, figures, block.ratio_to(reference)), ""]
        notes = block.notes(figures, settings["kills"])
        lines += [f"* {note}" for note in notes] + [""] * bool(notes)
    missing = [f"* {peer}: {NOT_MEASURED}: {why}" for peer, why in results.missing.items()]
    return "\n".join([*lines, *missing]).rstrip("\n")


def as_json(results: Results, figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return every value of every run, and their medians."""
    records: list[dict[str, Any]] = []
    for user, trials in results.trials.items():
        block = _Block(trials)
        for peer, runs in trials.items():
            medians = {figure.key: block.median(peer, figure) for figure in figures}
            records.append(
                {"user": user, "peer": peer, "medians": medians, "runs": [*map(asdict, runs)]}
            )
    return records


class _Block:
    """The cells of the tables of one user."""

    def __init__(self, trials: dict[str, list[Result]]) -> None:
        self._trials = trials

    def median(self, peer: str, figure: Figure) -> float | None:
        """Return the median of all runs that have this figure."""
        runs = self._trials.get(peer, ())
        values = [run.values[figure.key] for run in runs if figure.key in run.values]
        return statistics.median(values) if values else None

    def value(self, peer: str, figure: Figure) -> str:
        """Return a figure, or why there is none."""
        median = self.median(peer, figure)
        if median is not None:
            return _number(median, figure.unit)
        runs = self._trials.get(peer, ())
        reasons = [run.failures[figure.step] for run in runs if figure.step in run.failures]
        if not reasons:
            return "-" if runs else NOT_MEASURED
        short = reasons[0].partition(" (")[0].partition(":")[0]
        return short if short.startswith(("timed out", "not reached")) else "failed"

    def ratio_to(self, reference: str) -> Cell:
        """Return what writes a figure as a multiple of that of ``reference``."""

        def cell(peer: str, figure: Figure) -> str:
            one, other = self.median(peer, figure), self.median(reference, figure)
            return _ratio(one / other) if one is not None and other else "-"

        return cell

    def notes(self, figures: Sequence[Figure], kills: int) -> list[str]:
        """Return what the reader of the table has to know beside it."""
        shown = {figure.step for figure in figures}
        found = []
        for peer, runs in self._trials.items():
            for number, run in enumerate(runs, 1):
                for step, reason in run.failures.items():
                    if step in shown:
                        found.append(f"{peer}, run {number}: {step}: {reason}")
                made = int(run.values.get("kills", kills))
                if made < kills:
                    found.append(
                        f"{peer}, run {number}: too slow for more than {made} single kills"
                    )
        return found


def _grid(
    peers: Sequence[str], titles: dict[str, str], figures: Sequence[Figure], cell: Cell
) -> list[str]:
    rows = [["figure", *peers]]
    for figure in figures:
        rows.append([titles[figure.key], *(cell(peer, figure) for peer in peers)])
    return grid(rows)


def grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table, of which the first row is the head; all but the first column are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    head, *body = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return [rule, head, rule, *body, rule]


def _number(value: float, unit: str) -> str:
    """Return a value with as many digits as it is worth."""
    if unit == "s":
        return f"{value:.3f}"
    if unit == "s/GiB":
        return f"{value:.2f}"
    if unit == "":
        return f"{value:.0f}"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _ratio(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"
