"""The command line of the benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHOW = (
    "import sys, options; o = options.parse(sys.argv[1:]); print(o.bin, *o.peers, o.json, sep=':')"
)


def test_paths_are_those_of_where_it_was_called_from(tmp_path: Path) -> None:
    """The programs run in directories of their own."""
    words = ["--bin", "venv/bin", "--peers", "others", "--peers", "/opt", "--json", "told.json"]
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(BENCHMARKS), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == f"{tmp_path}/venv/bin:{tmp_path}/others:/opt:{tmp_path}/told.json\n"
