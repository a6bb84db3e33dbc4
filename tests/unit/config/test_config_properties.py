"""Whatever is done to a configuration, it is loaded or refused in the agreed way."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisortw.config.loader import load_daemon
from supervisortw.config.sample import sample
from supervisortw.core.dependencies import find_cycle
from supervisortw.core.expand import literal, processes_of
from supervisortw.core.model import DISCARD, Configuration
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
    "limit core 0:unlimited",
    "limit nofile 1024",
    "environment A=%(process_num)d",
    "max-starting 5",
    "<program many>",
    "command run '%(process_num)02d'",
    "processes 3",
    "process-name m-%(process_num)d",
    "first-number 1",
    "depends-on x once",
    "depends-on site",
    "limit nofile 5:6",
    "stop-command bin/stop %(process_name)s",
    "stop-signal INT 3",
    "logfile /log/%(process_num)d",
    "stderr-logfile /log/%(process_name)s.err",
    "notify yes",
    "watchdog-seconds 5",
    "sockets http",
    "stdin-socket unix",
    "</program>",
    "<program job>",
    "command job",
    "oneshot yes",
    "auto-restart unexpected",
    "stdin pipe",
    "directory %(group_name)s",
    "</program>",
    "<group site>",
    "programs ticker job",
    "priority 5",
    "</group>",
    "<socket http>",
    "address 127.0.0.1:80",
    "backlog 5",
    "</socket>",
    "<socket unix>",
    "address run/s",
    "mode 0660",
    "owner root:www",
    "</socket>",
    "</supervisord>",
]
NOISE = st.text(st.sampled_from(" ()<>/%$#=[]~'\"\\\t\r*abcdefgh0123-\u00e9\u2028\x85\x1b\ufeff"))

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
    found = load_daemon(str(place))
    assert list(found.programs) == ["ticker", "once", "inc", "x", "many", "job"]
    assert found.programs["many"].depends_on == ("x", "once", "ticker", "job")
    assert list(found.sockets) == ["http", "unix"]


def check_loaded(found: Configuration) -> None:
    """Check that what was not refused can be used: all processes, each with a name of its own."""
    processes = [each for program in found.programs.values() for each in processes_of(program)]
    names = [process.name for process in processes]
    assert len(set(names)) == len(names)
    groups = {program.group for program in found.programs.values()} - set(found.programs)
    assert groups.isdisjoint(names)
    logs = [log for each in processes for log in (each.logfile, each.stderr_logfile)]
    regular = [log for log in logs if log not in (None, DISCARD) and not log.startswith("/dev/")]
    assert len(set(regular)) == len(regular)
    for program in found.programs.values():
        assert program.name not in program.depends_on
        assert set(program.depends_on) <= set(found.programs)
        named = {*program.sockets, program.stdin_socket} - {None}
        assert named <= set(found.sockets)
    assert find_cycle({name: each.depends_on for name, each in found.programs.items()}) == ()


def check(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    try:
        found: Configuration | ConfigError = load_daemon(str(path))
    except ConfigError as error:
        found = error
    if isinstance(found, Configuration):
        check_loaded(found)
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


@QUIET
@given(words=st.lists(WORD, max_size=5), name=st.text(st.sampled_from("%()sd0"), max_size=8))
def test_what_is_written_literally_reaches_the_process_so(
    place: Path, words: list[str], name: str
) -> None:
    words = [*words, f"{name}%({name}"]
    line = literal(shlex.join(["run", *words]).replace("$", "$$"))
    text = f"<supervisord>\n<program web>\ncommand {line}\n</program>\n</supervisord>\n"
    place.write_text(text, encoding="utf-8")
    [process] = processes_of(load_daemon(str(place)).programs["web"])
    assert process.command == ("run", *words)


@QUIET
@given(
    names=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=7, unique=True),
    pairs=st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg"))),
    members=st.sets(st.sampled_from("abcdefg")),
)
def test_dependencies_on_programs_and_on_a_group(
    place: Path, names: list[str], pairs: list[tuple[str, str]], members: set[str]
) -> None:
    lines = ["<supervisord>"]
    if members:
        lines += ["<group g>", f"programs {' '.join(sorted(members))}", "</group>"]
    for name in names:
        lines += [f"<program {name}>", "command x"]
        lines += [f"depends-on {other}" for one, other in pairs if one == name]
        lines.append("</program>")
    check(place, "\n".join([*lines, "</supervisord>"]).encode())
