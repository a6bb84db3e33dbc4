"""The small C programs: the children that everybody runs, and the floors."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOW_TO_INSTALL = "needs a C compiler: apt-get install gcc libc6-dev"
COMPILE_SECONDS = 60


class CannotBuild(Exception):
    """There is no compiler, or it does not accept the program."""


@dataclass(frozen=True)
class Built:
    """Where the compiled programs are."""

    child: Path
    floor: Path
    writer: Path
    capture: Path


def build(directory: Path) -> Built:
    """Compile all of them into ``directory``, which everybody may then search."""
    compilers = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    compiler = next((found for name in compilers if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise CannotBuild(HOW_TO_INSTALL)
    names = [field.name for field in fields(Built)]
    return Built(*(_compile(compiler, name, directory) for name in names))


def _compile(compiler: str, name: str, directory: Path) -> Path:
    """Compile without shared libraries where that works, so that a start costs little by itself."""
    target = directory / name
    complaint = ""
    for extra in (["-static"], []):
        command = [compiler, "-O2", *extra, "-o", str(target), str(HERE / f"{name}.c")]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotBuild(str(error)) from None
        if done.returncode == 0:
            target.chmod(0o755)
            return target
        complaint = done.stderr.strip()
    raise CannotBuild(f"{compiler} cannot compile {name}.c: {complaint}")
