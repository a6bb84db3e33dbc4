"""From a configuration file to the records that say what it means: the door of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from supervisortw.config.files import DISK, FileSource
from supervisortw.config.paths import directories
from supervisortw.config.problems import Problems, TooManyProblems
from supervisortw.config.programs import programs
from supervisortw.config.reading import Reading
from supervisortw.config.records import client_settings, settings
from supervisortw.config.section import Values
from supervisortw.config.sockets import listening_sockets
from supervisortw.core.model import ClientSettings, Configuration
from supervisortw.errors import ConfigError, Problem

Overrides = Mapping[str, Sequence[str]]
NO_OVERRIDES: Overrides = MappingProxyType({})

_Result = TypeVar("_Result")


def load_daemon(
    path: str,
    overrides: Overrides = NO_OVERRIDES,
    *,
    uid: int | None = None,
    files: FileSource = DISK,
) -> Configuration:
    """Return what the configuration of supervisord at ``path`` says, or raise ConfigError.

    The error holds all problems of the file and its includes. ``overrides`` are keys of
    <supervisord> with their values from the command line; they win over the file. Relative paths
    start at the directory of the file, those of ``overrides`` at the working directory. Whether
    the files, directories and users that it names exist is not looked at.

    ``uid`` is the user whose default places hold (default: the effective user). A daemon that root
    has started and that runs as another user by now passes 0, and so finds the same places again.
    ``files`` is what the texts come from: the disk, or what was read from it before (see `kept`).
    """
    problems = Problems()
    source = _absolute(path)
    reading = Reading("supervisord", overrides, files, problems)

    def build(values: Values) -> Configuration:
        places = directories(source, uid)
        own, claims = settings(values, places, problems)
        sockets = listening_sockets(values, places, claims, problems)
        return Configuration(
            source=source,
            settings=own,
            programs=programs(values, own, places, claims, problems),
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
    reading = Reading("supervisorctl", overrides, DISK, Problems())

    def build(values: Values) -> ClientSettings:
        return client_settings(values, directories(source), reading.problems)

    return _load(reading, source, build)


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
