"""What is added to the outcomes of a request before they are the answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred

from supervisortw.core.status import Outcome, Result
from supervisortw.daemon.process import ManagedProcess
from supervisortw.errors import LocalError


async def told(
    saving: Deferred[None], names: Collection[str], outcomes: list[Outcome]
) -> list[Outcome]:
    """Wait until a wish is on the disk; add to its answers if it will not be remembered."""
    try:
        await saving
    except LocalError as error:
        trouble = f"it will not be remembered: {error}"
        return [
            replace(each, result=Result.FAILED, text=f"{each.text}; {trouble}")
            if each.name in names
            else each
            for each in outcomes
        ]
    return outcomes


async def tell_escaped(process: ManagedProcess, outcome: Outcome) -> Outcome:
    """Add to the answer to a stop who has left the session of the program."""
    if outcome.result is not Result.STOPPED:
        return outcome
    try:
        told = await process.find_escaped()
    except LocalError as error:
        told = [str(error)]
    return replace(outcome, text="; ".join([outcome.text, *told]))


async def end_escaped(process: ManagedProcess, outcome: Outcome) -> Outcome:
    """End who has left the session of a program that is down, and add it to the answer."""
    if outcome.result not in {Result.STOPPED, Result.ALREADY_DOWN}:
        return outcome
    try:
        all_gone, told = await process.end_escaped()
    except LocalError as error:
        all_gone, told = False, [str(error)]
    result = outcome.result if all_gone else Result.FAILED
    return replace(outcome, result=result, text="; ".join([outcome.text, *told]))


def in_asked_order(names: Sequence[str], outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes in the order of ``names``."""
    by_name = {outcome.name: outcome for outcome in outcomes}
    return [by_name[name] for name in names]
