"""Two installations of the same supervisortw: one that has gmpy2, and one that has not."""

from __future__ import annotations

import importlib.util
import site
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

WITH, WITHOUT = "gmpy2", "pure Python"

# Tells, when the process ends, how often and for how long it has stretched passwords.
COUNTER = """
import os
if "COUNT_SCRYPT" in os.environ:
    import atexit, hashlib, json, time
    taken, original = [], hashlib.scrypt
    def scrypt(*given, **named):
        began = time.monotonic(), time.thread_time()
        try:
            return original(*given, **named)
        finally:
            taken.append((time.monotonic() - began[0], time.thread_time() - began[1]))
    def tell():
        with open(os.environ["COUNT_SCRYPT"], "w") as file:
            json.dump(taken, file)
    hashlib.scrypt = scrypt
    atexit.register(tell)
"""


class Missing(Exception):
    """Something has to be installed first."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, with the programs of supervisortw."""

    name: str
    bin: Path

    @property
    def python(self) -> str:
        """Return the path of its Python."""
        return str(self.bin / "python")

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.bin / name)


def make(name: str, directory: Path) -> Environment:
    """Make an environment with everything that this Python has, except for gmpy2 if so named.

    The product is as it is installed. Its daemon looks at no variable for where its modules are, so what
    hides gmpy2 is a module of that name that comes first. Raises Missing.
    """
    if name == WITH and importlib.util.find_spec("gmpy2") is None:
        raise Missing("gmpy2 is not installed for this Python")
    venv.create(directory, symlinks=True)
    [packages] = directory.glob("lib/python*/site-packages")
    places = "; ".join(f"site.addsitedir({place!r})" for place in site.getsitepackages())
    (packages / "all.pth").write_text(f"import site; {places}\n")
    (packages / "sitecustomize.py").write_text(COUNTER)
    if name == WITHOUT:
        (packages / "gmpy2.py").write_text("raise ImportError('hidden')\n")
    environment = Environment(name, directory / "bin")
    for program in ("supervisord", "supervisorctl"):
        _copy(Path(sys.executable).with_name(program), environment)
    return environment


def _copy(installed: Path, environment: Environment) -> None:
    if not installed.exists():
        raise Missing(f"there is no {installed}: run this with the Python of supervisortw")
    _, _, rest = installed.read_text().partition("\n")
    target = environment.bin / installed.name
    target.write_text(f"#!{environment.python}\n{rest}")
    target.chmod(0o755)
