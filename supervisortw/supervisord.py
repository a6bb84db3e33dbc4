"""The ``supervisord`` program: checks everything that can be checked, then starts the holder.

The holder starts the daemon. In the foreground this process becomes the holder; otherwise it waits
until the daemon is ready or has failed, prints what it said, and exits.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import NoReturn

from supervisortw.config.loader import load_daemon
from supervisortw.config.places import find
from supervisortw.config.sample import sample
from supervisortw.core.model import Configuration, Settings
from supervisortw.core.text import printable
from supervisortw.daemon import holder
from supervisortw.daemon.activation import announced
from supervisortw.daemon.certificates import fingerprint_of
from supervisortw.daemon.places import (
    lock_state_directory,
    make_directories,
    owners,
    refuse_unsafe_files,
)
from supervisortw.errors import ConfigError, LocalError
from supervisortw.options import Options, parse

OK, FAILED, WRONG_CONFIGURATION = 0, 1, 2


def main() -> int:
    """Run supervisord; return the exit code."""
    options = parse(sys.argv[1:])
    if options.sample_config:
        print(sample(), end="")
        return OK
    try:
        configuration = load_daemon(options.config or find("supervisord"), options.overrides)
    except ConfigError as error:
        _complain(str(error))
        return WRONG_CONFIGURATION
    if options.fingerprint:
        return _print_fingerprint(configuration.settings)
    for warning in configuration.warnings:
        _complain(f"warning: {warning}")
    if options.check:
        number = len(configuration.programs)
        programs = "1 program" if number == 1 else f"{number} programs"
        print(f"{configuration.source}: no problems, {programs}")
        return OK
    try:
        refuse_unsafe_files(configuration.files)
        return _start(options, configuration)
    except ConfigError as error:
        _complain(str(error))
        return WRONG_CONFIGURATION
    except LocalError as error:
        _complain(f"supervisord: {error}")
        return FAILED


def _print_fingerprint(settings: Settings) -> int:
    try:
        user = _user_to_become(settings.user)
        believed = owners() | ({user.pw_uid} if user else set())
        print(fingerprint_of(settings, believed))
    except LocalError as error:
        _complain(f"supervisord: {error}")
        return FAILED
    return OK


def _start(options: Options, configuration: Configuration) -> int:
    settings = configuration.settings
    user = _user_to_become(settings.user)
    # Defaults such as /var/lib stay those of whoever started us, whoever we become.
    os.environ["SUPERVISOR_STARTED_BY"] = str(os.geteuid())
    make_directories(settings, user)
    if user is not None:
        _become(user)
    given = announced(os.environ, os.getpid())
    lock = lock_state_directory(settings)
    os.set_inheritable(lock, True)
    os.environ["SUPERVISOR_LOCK_FD"] = str(lock)
    os.environ["SUPERVISOR_STATE_DIRECTORY"] = settings.state_directory
    os.environ["SUPERVISOR_PYTHON_PATH"] = os.pathsep.join(sys.path)
    command = _holder_command(options, configuration, lock)
    try:
        if options.foreground or settings.nodaemon:
            _become_holder(command)
        return _start_detached(command, (lock, *given), settings.directory or "/")
    except OSError as error:  # a Python that the user cannot run, or a directory that is not there
        what = error.filename or sys.executable
        raise LocalError(
            f"cannot start the daemon as uid {os.geteuid()}: {what}: {error.strerror}"
        ) from None


def _holder_command(options: Options, configuration: Configuration, lock: int) -> list[str]:
    here = os.path.dirname(os.path.abspath(__file__))
    isolated = [sys.executable, "-I", "-S", "-E", os.path.abspath(holder.__file__)]
    daemon = [sys.executable, "-I", os.path.join(here, "launch.py")]
    return [
        *isolated,
        f"--lock-fd={lock}",
        "--",
        *daemon,
        *options.arguments(configuration.source),
    ]


def _become_holder(command: list[str]) -> NoReturn:
    sys.stdout.flush()
    os.execv(command[0], command)


def _start_detached(command: list[str], kept: tuple[int, ...], directory: str) -> int:
    """Start the holder in a session of its own, with some descriptors; wait for what the daemon says."""
    status_read, status_write = os.pipe()
    said_read, said_write = os.pipe()
    command.insert(command.index("--"), f"--status-fd={status_write}")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=said_write,
        stderr=said_write,
        cwd=directory,
        pass_fds=(*kept, status_write),
        start_new_session=True,
    )
    os.close(status_write)
    os.close(said_write)
    with open(said_read, "rb") as said:
        text = said.read().decode("utf-8", "backslashreplace")
    with open(status_read, "rb") as status:
        ready = status.read() == b"ready\n"
    code = OK if ready else process.wait()
    stream = sys.stdout if ready else sys.stderr
    print(printable(text), end="", file=stream)
    return code


def _user_to_become(name: str | None) -> pwd.struct_passwd | None:
    """Return the account to change to, or None if there is none or we cannot change."""
    if name is None:
        return None
    try:
        entry = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise LocalError(f"no such user: {name} (key user)") from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        _complain(f"warning: only root can become user {name}; going on as uid {os.geteuid()}")
        return None
    return entry


def _become(user: pwd.struct_passwd) -> None:
    """Change to ``user`` for good, with their groups and their HOME."""
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _complain(text: str) -> None:
    print(printable(text), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
