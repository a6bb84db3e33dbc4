"""From a configuration file to the records that say what it means: the door of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from supervisortw.config.datatypes import address
from supervisortw.config.paths import Directories, addresses
from supervisortw.config.problems import COMMAND_LINE, Problems, TooManyProblems
from supervisortw.config.programs import programs
from supervisortw.config.reading import Reading
from supervisortw.config.records import client_settings, settings
from supervisortw.config.section import Values
from supervisortw.config.sockets import listening_sockets
from supervisortw.config.wording import quoted
from supervisortw.core.model import Address, ClientSettings, Configuration
from supervisortw.errors import ConfigError, Problem

Overrides = Mapping[str, Sequence[str]]
NO_OVERRIDES: Overrides = MappingProxyType({})

_Result = TypeVar("_Result")


def load_daemon(
    path: str, overrides: Overrides = NO_OVERRIDES, *, uid: int | None = None
) -> Configuration:
    """Return what the configuration of supervisord at ``path`` says, or raise ConfigError.

    The error holds all problems of the file and its includes. ``overrides`` are keys of
    <supervisord> with their values from the command line; they win over the file. Relative paths
    start at the directory of the file, those of ``overrides`` at the working directory. Whether
    the files, directories and users that it names exist is not looked at.

    ``uid`` is the user whose default places hold (default: the effective user). A daemon that root
    has started and that runs as another user by now passes 0, and so finds the same places again.
    """
    problems = Problems()
    source = _absolute(path)
    reading = Reading("supervisord", overrides, problems)

    def build(values: Values) -> Configuration:
        directories = _directories(source, uid)
        own, claims = settings(values, directories, problems)
        sockets = listening_sockets(values, directories, claims, problems)
        return Configuration(
            source=source,
            settings=own,
            programs=programs(values, own, directories, claims, problems),
            sockets=sockets,
            files=tuple(reading.files),
            warnings=problems.warnings,
        )

    return _load(reading, source, build)


def load_client(path: str, overrides: Overrides = NO_OVERRIDES) -> ClientSettings:
    """Return what the configuration of supervisorctl at ``path`` says, or raise ConfigError.

    As `load_daemon`, with keys of <supervisorctl>.
    """
    source = _absolute(path)
    reading = Reading("supervisorctl", overrides, Problems())

    def build(values: Values) -> ClientSettings:
        return client_settings(values, _directories(source), reading.problems)

    return _load(reading, source, build)


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
    found = addresses(given, places, _directories(os.sep), problems)
    problems.raise_all()
    return next(iter(found))


def _load(reading: Reading, source: str, build: Callable[[Values], _Result]) -> _Result:
    problems = reading.problems
    result = None
    try:
        values = reading.read(source)
        if values is not None:
            result = build(values)
    except TooManyProblems:
        pass
    problems.raise_all()
    assert result is not None, "a file without problems says something"
    return result


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError as error:
        reason = "a relative path, and the working directory is gone"
        raise ConfigError([Problem(path, None, reason)]) from error


def _directories(source: str, uid: int | None = None) -> Directories:
    try:
        here = os.getcwd()
    except OSError:  # it was removed; absolute paths need none
        here = "/"
    return Directories(file=os.path.dirname(source), command_line=here, uid=uid)
