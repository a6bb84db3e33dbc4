"""What came of a simulation, as lines for people."""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.core.limits import LIMITS
from supervisortw.core.status import ProgramStatus
from supervisortw.core.text import one_line, seconds
from supervisortw.simulation.simulation import Simulation
from supervisortw.simulation.timeline import Change, Remark

HEAD = ("NAME", "STATE", "FOR", "RESTARTS", "DETAIL")
NUMBERS = (2, 3)  # columns that are aligned to the right


def report(simulation: Simulation) -> list[str]:
    """Return a line for each change of a state, then notes, then how every process stands."""
    timeline = simulation.timeline
    lines = _table([_row_of(entry) for entry in timeline.entries], (0,))
    if timeline.left_out:
        lines.append(f"note: {timeline.left_out} more changes are not shown")
    now = seconds(simulation.seconds)
    if simulation.cut_short:
        lines.append(
            f"note: given up at {now}, after {LIMITS.simulated_calls} steps; what follows is how it"
            " stood then; try a shorter --until"
        )
    elif simulation.is_quiet and simulation.exit_code is None:
        lines.append("note: nothing else would ever happen")
    lines += ["", *_table([HEAD, *map(_standing, simulation.standing())], NUMBERS)]
    return [one_line(line) for line in lines]


def _row_of(entry: Change | Remark) -> tuple[str, ...]:
    at = moment(entry.at)
    if isinstance(entry, Remark):
        return at, entry.name, entry.text, ""
    return at, entry.name, f"{entry.before.value} -> {entry.after.value}", entry.detail


def _standing(program: ProgramStatus) -> tuple[str, ...]:
    return (
        program.name,
        program.state.value,
        seconds(program.since),
        str(program.restarts),
        program.detail,
    )


def _table(rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> list[str]:
    """Return rows with their columns one below the other."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        aligned.append("  ".join(cells).rstrip())
    return aligned


def moment(at: float) -> str:
    """Return a time to the millisecond: ``3.001``, ``1:03.200``, ``4 d 01:02:03.000``."""
    whole, milliseconds = divmod(round(at * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        told = f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    elif hours:
        told = f"{hours}:{minutes:02}:{rest:02}"
    elif minutes:
        told = f"{minutes}:{rest:02}"
    else:
        told = str(rest)
    return f"{told}.{milliseconds:03}"
