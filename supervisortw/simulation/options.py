"""The words behind ``supervisorctl simulate``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from supervisortw.core.selection import nearest
from supervisortw.simulation.scenario import Scenario, crash, request, span, wait

_SEED = re.compile(r"[0-9]{1,18}")
CONFIG = ("-c", "--config")


def read(words: Sequence[str]) -> tuple[str | None, Scenario]:
    """Return the path of a configuration file, None if none was given, and the scenario.

    Raises ValueError, with a sentence for people.
    """
    path, scenario = None, Scenario()
    for option, value in _pairs(words):
        if option in CONFIG:
            if path is not None:
                raise ValueError(f"{option} is given twice")
            path = value
            continue
        try:
            scenario = replace(scenario, **_OPTIONS[option](scenario, value))
        except ValueError as error:
            raise ValueError(f"{option} {error}") from None
    return path, scenario


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give the options with their values, written as two words or with a = in between."""
    left = iter(words)
    for word in left:
        if not word.startswith("-"):
            raise ValueError(f"unexpected: {word}")
        option, equals, value = word.partition("=")
        if option not in CONFIG and option not in _OPTIONS:
            near = nearest(option, [*CONFIG, *_OPTIONS], most=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"unknown option: {option}{hint}")
        if not equals:
            value = next(left, "")
        if not value:
            raise ValueError(f"{option} needs a value")
        yield option, value


def _seed(text: str) -> int:
    if not _SEED.fullmatch(text):
        raise ValueError(f"'{text}' is no number; expected a whole number, 0 or more")
    return int(text)


def _asked(verb: str) -> Callable[[Scenario, str], dict[str, Any]]:
    return lambda scenario, text: {"requests": (*scenario.requests, request(verb, text))}


# What each option changes in a scenario.
_OPTIONS: dict[str, Callable[[Scenario, str], dict[str, Any]]] = {
    "--until": lambda _, text: {"until": span(text)},
    "--seed": lambda _, text: {"seed": _seed(text)},
    "--crash": lambda before, text: {"crashes": (*before.crashes, crash(text))},
    "--exec-fails": lambda before, text: {"exec_fails": (*before.exec_fails, text)},
    "--stop-takes": lambda before, text: {"stop_takes": (*before.stop_takes, wait(text))},
    "--ready-takes": lambda before, text: {"ready_takes": (*before.ready_takes, wait(text))},
    "--start": _asked("start"),
    "--stop": _asked("stop"),
    "--restart": _asked("restart"),
}
