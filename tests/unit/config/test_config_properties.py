"""Whatever is done to a configuration, it is loaded or refused in the agreed way."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisortw.config.loader import load_daemon
from supervisortw.config.sample import sample
from supervisortw.core.model import Configuration
from supervisortw.errors import ConfigError

GOOD = [
    *sample().rsplit("</supervisord>", 1)[0].splitlines(),
    "%define here /srv",
    "%include inc/*.conf",
    "socket-name [::1]:9001",
    "exit-codes 0,2",
    "<program x>",
    "command $here/bin/run 'a $$b'",
    "priority 1",
    "logfile $(HOME)/x.log",
    "</program>",
    "</supervisord>",
]
NOISE = st.text(st.sampled_from(" <>/%$#=[]~'\"\\\t\r*abcdefgh0123-\u00e9\u2028\x85\x1b\ufeff"))

QUIET = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150
)


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    lines = list(GOOD)
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        match draw(st.sampled_from(["delete", "repeat", "move", "garble", "insert", "cut"])):
            case "delete":
                del lines[at : at + 1]
            case "repeat":
                lines[at:at] = lines[at : at + draw(st.integers(1, 5))]
            case "move":
                lines.insert(draw(st.integers(0, len(lines))), lines.pop(at) if lines else "")
            case "garble":
                middle = draw(st.integers(0, 20))
                old = lines[at] if lines else ""
                lines[at : at + 1] = [old[:middle] + draw(NOISE) + old[middle + 1 :]]
            case "insert":
                lines.insert(at, draw(NOISE))
            case "cut":
                lines = lines[: at + 1]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mutilated")
    (directory / "inc").mkdir()
    (directory / "inc/a.conf").write_text("<program inc>\ncommand x\n</program>\n")
    return directory / "supervisord.conf"


def test_the_file_is_good_to_begin_with(place: Path) -> None:
    place.write_text("\n".join(GOOD))
    assert set(load_daemon(str(place)).programs) == {"ticker", "once", "x", "inc"}


def check(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    try:
        found: Configuration | ConfigError = load_daemon(str(path))
    except ConfigError as error:
        found = error
    if isinstance(found, Configuration):
        return
    assert found.problems
    for problem in found.problems:
        assert problem.file
        assert problem.message
        assert "\n" not in problem.message
        if problem.line is not None:
            count = Path(problem.file).read_bytes().count(b"\n") + 1
            assert 1 <= problem.line <= count


@QUIET
@given(text=mutilated())
def test_mutilated_files(place: Path, text: str) -> None:
    check(place, text.encode())


@QUIET
@given(text=st.binary() | NOISE.map(str.encode))
def test_files_of_noise(place: Path, text: bytes) -> None:
    check(place, text)
    check(place, b"<supervisord>\n" + text + b"\n</supervisord>\n")


WORD = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@QUIET
@given(words=st.lists(WORD, max_size=5))
def test_a_command_comes_through_as_it_was_quoted(place: Path, words: list[str]) -> None:
    line = shlex.join(["run", *words]).replace("$", "$$")
    text = f"<supervisord>\n<program web>\ncommand {line}\n</program>\n</supervisord>\n"
    place.write_text(text, encoding="utf-8")
    assert load_daemon(str(place)).programs["web"].command == ("run", *words)
