"""What the daemon's interpreter is like by the time the daemon begins; in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import supervisortw

LAUNCH = Path(supervisortw.__file__).with_name("launch.py")

ABSENCE = """
    from contextlib import nullcontext as lean, nullcontext as own_hashes
    """

TAP = """
    import gc
    kept = [[]]
    def main(arguments):
        print(*arguments, gc.isenabled())
        print(any(each is kept for each in gc.get_objects()))
        return 3
    """


def test_what_was_imported_is_never_looked_through_for_garbage_again(tmp_path: Path) -> None:
    """A search through all modules takes 10 ms, for which the reactor would stand still."""
    package = tmp_path / "supervisortw"
    package.mkdir()
    for name, text in (("__init__", ""), ("absence", ABSENCE), ("tap", TAP)):
        (package / f"{name}.py").write_text(dedent(text))
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-I", str(LAUNCH), "-c", "x.conf"],
        env={"SUPERVISOR_PYTHON_PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "-c x.conf True\nFalse\n")
