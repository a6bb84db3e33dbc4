"""From one <program> to its record, and what in it cannot stand together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from supervisortw.config.paths import Directories
from supervisortw.config.problems import Problems
from supervisortw.config.section import Values
from supervisortw.config.wording import quoted
from supervisortw.core.expand import literal
from supervisortw.core.model import (
    DISCARD,
    SYSLOG,
    AutoRestart,
    Limit,
    LogFormat,
    Program,
    Settings,
    Stdin,
    StopStep,
)
from supervisortw.core.syslog import LOCAL_SYSLOG

DEFAULT_STOP_WAIT_SECONDS = 10.0


def program(
    section: Values, daemon: Values, own: Settings, directories: Directories, problems: Problems
) -> Program:
    """Return what ``section`` says, with what ``daemon`` says for all programs but for limits.

    What it says of other programs, groups and sockets is left as it is written.
    """

    def either(attribute: str) -> Any:
        value = section.get(attribute)
        return daemon.get(attribute) if value is None else value

    _check(section, either("forever"), problems)
    oneshot = section.get("oneshot")
    stop_command = _command(section, "stop_command", directories)
    passed = [*daemon.get("pass_environment"), *section.get("pass_environment")]
    return Program(
        name=section.name,
        command=_command(section, "command", directories),
        priority=section.get("priority"),
        processes=section.get("processes"),
        process_name=section.get("process_name"),
        first_number=section.get("first_number"),
        auto_start=section.get("auto_start"),
        auto_restart=_auto_restart(section),
        essential=section.get("essential"),
        oneshot=oneshot,
        depends_on=_words(section, "depends_on"),
        exit_codes=either("exit_codes") | ({0} if oneshot else set()),
        backoff_limit=either("backoff_limit"),
        forever=either("forever"),
        start_seconds=either("start_seconds"),
        start_retries=either("start_retries"),
        restart_delay=either("restart_delay"),
        restart_delay_max=either("restart_delay_max"),
        restart_jitter=either("restart_jitter"),
        restart_limit=None if either("forever") else either("restart_limit"),
        restart_period=either("restart_period"),
        stable_seconds=either("stable_seconds"),
        notify=section.get("notify"),
        ready_seconds=section.get("ready_seconds"),
        watchdog_seconds=section.get("watchdog_seconds"),
        stop_steps=tuple(_stop_steps(section, daemon, stop_command)),
        stop_command=stop_command,
        stop_scope=section.get("stop_scope"),
        on_daemon_death=section.get("on_daemon_death"),
        remember=section.get("remember"),
        user=section.get("user"),
        unix_group=section.get("unix_group"),
        directory=_path(section, "directory", directories),
        umask=section.get("umask"),
        nice=section.get("nice"),
        limits=limits(section, problems),
        no_new_privileges=section.get("no_new_privileges"),
        cgroup=section.get("cgroup"),
        stdin=section.get("stdin"),
        stdin_socket=section.get("stdin_socket"),
        sockets=_words(section, "sockets"),
        environment=tuple(
            {**dict(daemon.get("environment")), **dict(section.get("environment"))}.items()
        ),
        environment_files=tuple(_environment_files(section, directories)),
        pass_environment=tuple(dict.fromkeys(name for names in passed for name in names)),
        logfile=_log(section, "logfile", directories) or _default_log(section, own),
        stderr_logfile=_log(section, "stderr_logfile", directories),
        logfile_size=section.get("logfile_size"),
        logfile_backups=section.get("logfile_backups"),
        logfile_compress=section.get("logfile_compress"),
        logfile_rotate_at=section.get("logfile_rotate_at"),
        log_format=section.get("log_format"),
        log_time=section.get("log_time"),
        syslog_address=section.get("syslog_address") or LOCAL_SYSLOG,
        syslog_facility=section.get("syslog_facility"),
        syslog_tag=section.get("syslog_tag"),
    )


def _check(section: Values, forever: bool, problems: Problems) -> None:
    """Note what contradicts something else in the section, or means nothing without it."""
    label = section.label

    def refuse(attribute: str, why: str) -> None:
        if section.is_given(attribute):
            problems.add(section.place(attribute), f"{section.key(attribute)} {why}")

    if forever:
        refuse("restart_limit", f"contradicts forever in {label}: give one of them")
    if not section.is_given("processes"):
        for attribute in ("process_name", "first_number"):
            refuse(attribute, f"means nothing in {label} without the key 'processes'")
    if section.get("stdin") is Stdin.PIPE:
        refuse("stdin_socket", f"contradicts 'stdin pipe' in {label}: give one of them")
    _check_logs(section, refuse)
    if section.get("oneshot"):
        _check_oneshot(section, refuse)
    elif not section.get("notify"):
        if section.get("watchdog_seconds"):
            refuse("watchdog_seconds", f"needs 'notify yes' in {label}")
        if section.is_given("ready_seconds"):
            place = section.place("ready_seconds")
            problems.warn(place, f"ready-seconds means nothing in {label} without 'notify yes'")


def _check_logs(section: Values, refuse: Callable[[str, str], None]) -> None:
    label = section.label
    logs = {section.get("logfile"), section.get("stderr_logfile") or section.get("logfile")}
    if SYSLOG not in logs:
        for attribute in ("syslog_address", "syslog_facility", "syslog_tag"):
            refuse(attribute, f"means nothing in {label} without 'logfile syslog'")
    if section.get("log_format") is not LogFormat.TEXT:
        if section.get("log_time"):
            refuse("log_time", f"means nothing in {label} without 'log-format text'")
    elif not logs - {SYSLOG, DISCARD}:
        refuse(
            "log_format", f"text means nothing in {label}: no lines of it need a name before them"
        )


def _check_oneshot(section: Values, refuse: Callable[[str, str], None]) -> None:
    for attribute in ("notify", "watchdog_seconds"):
        if section.get(attribute):
            refuse(
                attribute,
                f"contradicts oneshot in {section.label}: that is ready when it has ended",
            )
    if section.get("auto_restart") is AutoRestart.ALWAYS:
        refuse(
            "auto_restart",
            f"true contradicts oneshot in {section.label}: that is done once it has ended with exit"
            " code 0; 'auto-restart unexpected' tries again after any other",
        )


def _auto_restart(section: Values) -> AutoRestart:
    given: AutoRestart = section.get("auto_restart")
    if section.get("oneshot") and not section.is_given("auto_restart"):
        return AutoRestart.NEVER
    return given


def _words(section: Values, attribute: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word, _ in section.words(attribute)))


def _command(section: Values, attribute: str, directories: Directories) -> tuple[str, ...]:
    words: tuple[str, ...] = section.get(attribute) or ()
    if words and "/" in words[0]:
        return (directories.template(words[0]), *words[1:])
    return words


def _path(section: Values, attribute: str, directories: Directories) -> str | None:
    path = section.get(attribute)
    return None if path is None else directories.template(path)


def _log(section: Values, attribute: str, directories: Directories) -> str | None:
    if section.get(attribute) in {DISCARD, SYSLOG}:
        word: str = section.get(attribute)
        return word
    return _path(section, attribute, directories)


def _default_log(section: Values, own: Settings) -> str:
    numbered = section.is_given("processes")
    name = "%(process_name)s" if numbered else section.name
    return os.path.join(literal(own.state_directory), "log", f"{name}.log")


def _environment_files(section: Values, directories: Directories) -> Iterator[str]:
    for optional, path in section.get("environment_files"):
        yield ("-" if optional else "") + directories.template(path)


def limits(section: Values, problems: Problems) -> tuple[Limit, ...]:
    """Return the limits of resources that ``section`` itself gives."""
    found: dict[str, Limit] = {}
    for limit, place in section.each("limits"):
        if limit.name in found:
            problems.add(place, f"the limit {quoted(limit.name)} is given twice in {section.label}")
        found.setdefault(limit.name, limit)
    return tuple(found.values())


def _stop_steps(
    section: Values, daemon: Values, stop_command: tuple[str, ...]
) -> Iterator[StopStep]:
    wait = _stop_wait(section, daemon)
    if stop_command:
        yield StopStep(signal=None, wait=wait)
    for number, own in section.get("stop_signal") or [(signal.SIGTERM.value, None)]:
        yield StopStep(signal=number, wait=wait if own is None else own)


def _stop_wait(section: Values, daemon: Values) -> float:
    """The nearest that was given: our own key first, then the one that had this role in 1.0."""
    for attribute in ("stop_wait_seconds", "backoff_limit"):
        for values in (section, daemon):
            if values.is_given(attribute):
                return float(values.get(attribute))
    return DEFAULT_STOP_WAIT_SECONDS
