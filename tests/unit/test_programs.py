"""What an interpreter looks through for garbage while it runs one of the programs; in one of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from supervisortw import programs

MAIN = """
    import atexit
    import gc
    import sys

    def looked_through(name, each):
        print(name, any(each is other for other in gc.get_objects()))

    imported = [[]]
    print("while it is imported", gc.isenabled())

    def main():
        print("while it runs", gc.isenabled())
        looked_through("what was imported", imported)
        made = [[]]
        looked_through("what was made", made)
        atexit.register(looked_through, "what was imported", imported)
        atexit.register(looked_through, "what is left", made)
        return int(sys.argv[1]) if sys.argv[1].isdigit() else sys.exit(sys.argv[1])
    """
SAID = """\
    while it is imported False
    while it runs True
    what was imported False
    what was made True
    what is left True
    what was imported False
    """


@pytest.mark.parametrize(
    ("program", "module"), [("supervisord", ""), ("supervisorctl", "client/main")]
)
@pytest.mark.parametrize(("argument", "code"), [("0", 0), ("3", 3), ("it ends by itself", 1)])
def test_what_a_program_imports_is_never_looked_through_for_garbage(
    tmp_path: Path, program: str, module: str, argument: str, code: int
) -> None:
    package = tmp_path / "supervisortw"
    (package / "client").mkdir(parents=True)
    for directory in (package, package / "client"):
        (directory / "__init__.py").touch()
    shutil.copy(programs.__file__, package)
    (package / f"{module or program}.py").write_text(dedent(MAIN))
    call = f"import sys; from supervisortw.programs import {program}; sys.exit({program}())"
    done = subprocess.run(
        [sys.executable, "-c", call, argument],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, dedent(SAID))
