"""Who the installed programs run as: the one who runs the tests, or an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leaving_out import leave_out

# Accounts that nearly every machine has. Not nobody: that one stands for no identity at all.
ORDINARY = ("games", "daemon")

# The one privilege to read files in directories that are closed to others.
READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and the command in front of what runs as them."""

    name: str
    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def unaided(self) -> bool:
        """True if they can run the Python of the tests without a privilege."""
        return not set(self.prefix) & set(READING)

    def command(self, words: Sequence[str | os.PathLike[str]]) -> list[str]:
        """Return the command line that runs ``words`` as this user."""
        return [*self.prefix, *map(os.fspath, words)]

    def own(self, path: Path) -> None:
        """Make a file or directory theirs."""
        if self.prefix:
            os.chown(path, self.uid, self.gid)


def ourselves() -> Account:
    """Return the one who runs the tests."""
    entry = pwd.getpwuid(os.geteuid())
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def root_who_can_help(other: Account) -> Account:
    """Return root, such that what becomes ``other`` keeps the privilege that they need, if any."""
    if other.unaided:
        return ourselves()
    return Account("root", 0, 0, ("setpriv", "--securebits=+no_setuid_fixup", *READING))


def python_of(account: Account) -> str:
    """Return a Python that this user can run without any privilege; without one, skip."""
    who = ("setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups")
    for found in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if found is None:
            continue
        # setpriv itself still has its privileges when it runs the first one.
        again = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import socket'])"
        tried = [*who, found, "-I", "-S", "-c", again]
        if subprocess.run(tried, capture_output=True, cwd="/", check=False).returncode == 0:
            return found
    return leave_out(f"there is no Python here that {account.name} can run")


def somebody(name: str) -> Account | None:
    """Return an ordinary user; needs root. None if they cannot run the Python of the tests.

    Where that Python lies in a directory that is closed to them (root's home), they get the one
    privilege to read it, which opens no socket and writes no file.
    """
    entry = pwd.getpwnam(name)
    who = [
        "setpriv",
        f"--reuid={entry.pw_uid}",
        f"--regid={entry.pw_gid}",
        "--clear-groups",
    ]
    # A child of it has to find its way, too.
    trial = (
        "import subprocess, sys;"
        "sys.exit(subprocess.call([sys.executable, '-I', '-c', 'import twisted']))"
    )
    for prefix in (who, [*who, *READING]):
        tried = [*prefix, sys.executable, "-I", "-c", trial]
        if subprocess.run(tried, capture_output=True, cwd="/", check=False).returncode == 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(prefix))
    return None
