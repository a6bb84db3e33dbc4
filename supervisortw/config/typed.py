"""What somebody types, understood as in a configuration file; without ZConfig, so it costs little."""

from __future__ import annotations

import os

from supervisortw.config.datatypes import address
from supervisortw.config.paths import addresses, directories
from supervisortw.config.problems import COMMAND_LINE, Problems
from supervisortw.config.wording import quoted
from supervisortw.core.model import Address


def parse_address(text: str) -> Address:
    """Return the control socket that somebody typed, or raise ConfigError.

    The forms are those of the key socket-name. A relative path starts at the working directory.
    """
    problems = Problems()
    try:
        given = [address(text)]
    except ValueError as error:
        problems.add(COMMAND_LINE, f"{quoted(text)} is no socket: {error}")
        given = []
    places = [COMMAND_LINE for _ in given]
    found = addresses(given, places, directories(os.sep), problems)
    problems.raise_all()
    return next(iter(found))
