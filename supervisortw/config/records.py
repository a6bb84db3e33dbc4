"""From the values of closed sections to the records of the model.

Here is what needs more than one key to decide: defaults that depend on others, paths, and files that
cannot be shared.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from supervisortw.config import places
from supervisortw.config.paths import Claims, Directories, addresses, check_socket_path
from supervisortw.config.problems import Place, Problems
from supervisortw.config.section import Values
from supervisortw.core.model import (
    Address,
    ClientSettings,
    Program,
    Settings,
    StopStep,
    UnixAddress,
)
from supervisortw.errors import ConfigError

DEFAULT_STOP_WAIT_SECONDS = 10.0

NO_PASSWORDS = (
    "this version has no login by password: 'passwdfile' is not read yet, and only root and the"
    " daemon's own user get in, through the UNIX socket"
)
NO_PROMPT = "'prompt' has no effect here; it belongs in supervisorctl.conf"


def settings(
    values: Values, directories: Directories, problems: Problems
) -> tuple[Settings, Claims]:
    """Return the daemon's own settings, and the files that they use."""

    def path(attribute: str) -> str | None:
        text = values.get(attribute)
        return None if text is None else directories.absolute(text, values.place(attribute))

    state = path("state_directory") or _state_directory(values, directories, problems)
    mode = "socket_chmod" if values.is_given("socket_chmod") else "socket_mode"
    sockets = _sockets(values, directories, problems)
    own = Settings(
        sockets=tuple(sockets),
        state_directory=state,
        logfile=path("logfile") or os.path.join(state, "supervisord.log"),
        pidfile=path("pidfile")
        or _in_runtime_directory(places.PID_NAME, values, directories, problems),
        socket_mode=values.get(mode),
        socket_chown=values.get("socket_chown"),
        passwdfile=path("passwdfile"),
        loglevel=values.get("loglevel"),
        nodaemon=values.get("nodaemon"),
        directory=path("directory"),
        umask=values.get("umask"),
        user=values.get("user"),
    )
    if own.passwdfile is not None:
        problems.warn(values.place("passwdfile"), NO_PASSWORDS)
    if values.is_given("prompt"):
        problems.warn(values.place("prompt"), NO_PROMPT)
    return own, _claims(own, sockets, values, problems)


def _claims(
    own: Settings, sockets: dict[Address, Place], values: Values, problems: Problems
) -> Claims:
    claims = Claims(problems)
    claims.claim(own.logfile, "the daemon's log", values.place("logfile"))
    claims.claim(own.pidfile, "the pid file", values.place("pidfile"))
    if own.passwdfile is not None:
        claims.claim(own.passwdfile, "the password file", values.place("passwdfile"))
    for address, place in sockets.items():
        if isinstance(address, UnixAddress):
            claims.claim(address.path, "a control socket", place)
    return claims


def _sockets(values: Values, directories: Directories, problems: Problems) -> dict[Address, Place]:
    given = values.get("socket_name")
    if given:
        return addresses(given, values.places("socket_name"), directories, problems)
    path = _in_runtime_directory(places.SOCKET_NAME, values, directories, problems)
    check_socket_path(path, values.opened, problems)
    return {UnixAddress(path=path): values.opened}


def _state_directory(values: Values, directories: Directories, problems: Problems) -> str:
    try:
        return places.state_directory(uid=directories.uid)
    except ConfigError as error:
        problems.add(values.opened, error.problems[0].message)
        return "/"


def _in_runtime_directory(
    name: str, values: Values, directories: Directories, problems: Problems
) -> str:
    try:
        return os.path.join(places.runtime_directory(uid=directories.uid), name)
    except ConfigError as error:
        problems.add(values.opened, error.problems[0].message)
        return f"/{name}"


def programs(
    values: Values, own: Settings, directories: Directories, claims: Claims, problems: Problems
) -> dict[str, Program]:
    """Return the programs in the order of the file."""
    found = {}
    for section in values.programs:
        program = _program(section, values, directories, problems)
        if not section.is_given("logfile"):
            default = os.path.join(own.state_directory, "log", f"{program.name}.log")
            program = replace(program, logfile=default)
        if program.logfile is not None:
            what = f"the log of {section.label}"
            claims.claim(program.logfile, what, section.place("logfile"))
        found[program.name] = program
    return found


def _program(
    section: Values, daemon: Values, directories: Directories, problems: Problems
) -> Program:
    def either(attribute: str) -> Any:
        own = section.get(attribute)
        return daemon.get(attribute) if own is None else own

    command = section.get("command")
    if "/" in command[0]:
        first = directories.absolute(command[0], section.place("command"))
        command = (first, *command[1:])
    log = section.get("logfile")
    if log is not None:
        log = directories.absolute(log, section.place("logfile"))
    if either("forever") and section.is_given("restart_limit"):
        problems.add(
            section.place("restart_limit"),
            f"restart-limit contradicts forever in {section.label}: give one of them",
        )
    passed = [*daemon.get("pass_environment"), *section.get("pass_environment")]
    return Program(
        name=section.name,
        command=command,
        priority=section.get("priority"),
        auto_start=section.get("auto_start"),
        auto_restart=section.get("auto_restart"),
        exit_codes=either("exit_codes"),
        backoff_limit=either("backoff_limit"),
        forever=either("forever"),
        start_seconds=either("start_seconds"),
        start_retries=either("start_retries"),
        restart_delay=either("restart_delay"),
        restart_delay_max=either("restart_delay_max"),
        restart_jitter=either("restart_jitter"),
        restart_limit=None if either("forever") else either("restart_limit"),
        restart_period=either("restart_period"),
        stop_steps=_stop_steps(section, daemon),
        stop_scope=section.get("stop_scope"),
        user=section.get("user"),
        group=section.get("group"),
        umask=section.get("umask"),
        environment=tuple(
            {**dict(daemon.get("environment")), **dict(section.get("environment"))}.items()
        ),
        environment_files=tuple(_environment_files(section, directories)),
        logfile=log,
        pass_environment=tuple(dict.fromkeys(name for names in passed for name in names)),
    )


def _environment_files(section: Values, directories: Directories) -> Iterator[str]:
    files = zip(section.get("environment_file"), section.places("environment_file"), strict=True)
    for (optional, path), place in files:
        yield ("-" if optional else "") + directories.absolute(path, place)


def _stop_steps(section: Values, daemon: Values) -> tuple[StopStep, ...]:
    wait = _stop_wait(section, daemon)
    steps = section.get("stop_signal") or [(signal.SIGTERM.value, None)]
    return tuple(
        StopStep(signal=number, wait=wait if own is None else own) for number, own in steps
    )


def _stop_wait(section: Values, daemon: Values) -> float:
    """The nearest that was given: our own key first, then the one that had this role in 1.0."""
    for attribute in ("stop_wait_seconds", "backoff_limit"):
        for values in (section, daemon):
            if values.is_given(attribute):
                return float(values.get(attribute))
    return DEFAULT_STOP_WAIT_SECONDS


def client_settings(values: Values, directories: Directories, problems: Problems) -> ClientSettings:
    """Return the settings of supervisorctl."""
    return ClientSettings(
        sockets=tuple(_sockets(values, directories, problems)),
        prompt=values.get("prompt"),
        noauth=values.get("noauth"),
        user=values.get("user"),
    )
