"""The syntax: lines, sections, definitions and included files."""

from __future__ import annotations

import os
import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from config_fixture_types import Complain, Load, Write

from supervisortw.config import reading
from supervisortw.config.loader import load_client, load_daemon
from supervisortw.core.limits import LIMITS
from supervisortw.errors import ConfigError

PROGRAM = "<program web>\ncommand run\n</program>\n"


def around(text: str) -> str:
    return f"<supervisord>\n{text}</supervisord>\n"


def test_names_of_sections_keep_their_case_and_keys_do_not(load: Load) -> None:
    found = load(
        "<SupervisorD>\nUMASK 027\n<Program Web>\ncommand a\n</program>\n"
        "<program web>\nCommand b\n</PROGRAM>\n</supervisord>\n"
    )
    assert {name: program.command for name, program in found.programs.items()} == {
        "Web": ("a",),
        "web": ("b",),
    }
    assert found.settings.umask == 0o027


def test_spaces_comments_line_ends_and_byte_order_mark(write: Write) -> None:
    path = write(
        b"\xef\xbb\xbf# x\r\n\r\n  <supervisord>\r\n\t umask \t 027 \r\n</supervisord>\r\n"
    )
    assert load_daemon(path).settings.umask == 0o027


def test_lines_are_counted_as_editors_do(complain: Complain) -> None:
    assert complain("<supervisord>\n# \u2028 \x0b \x85\nbad x\n</supervisord>\n")[0][0] == 3


def test_empty_section(complain: Complain) -> None:
    assert complain(around("<program web/>\n")) == [(2, "<program web> has no 'command'")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "there is no <supervisord> section in it"),
        ("nodaemon yes\n<supervisord>\n</supervisord>", 1, "'nodaemon' stands outside of <superv"),
        (PROGRAM + around(""), 1, "<program> cannot stand outside of <supervisord>"),
        (around("") * 2, 3, "a second <supervisord>; the first is at line 1"),
        ("<supervisord me>\n</supervisord>", 1, "<supervisord> takes no name"),
        (
            "<supervisor>\n</supervisor>",
            1,
            "unknown section type 'supervisor' in the file; did you",
        ),
        (around("<x>\ny\n<z>\n</z>\n</x>\n"), 2, "unknown section type 'x' in <supervisord>"),
        (around("<program>\ncommand x\n</program>\n"), 2, "a program needs a name: <program NAME>"),
        (
            around("<program a b>\ncommand x\n</program>\n"),
            2,
            "bad program name 'a b': expected up",
        ),
        (around("<program all>\ncommand x\n</program>\n"), 2, "'all' cannot name a program"),
        (around("<>\n"), 2, "a section needs a type"),
        (around("comand x\n"), 2, "unknown key 'comand' in <supervisord>"),
        (around("command x\n"), 2, "'command' in <supervisord>; it belongs in <program>"),
        (around("priority 1\n"), 2, "it belongs in <group> or <program>"),
        (around("numprocs 2\n"), 2, "in <supervisord>; 'processes' belongs in <program>"),
        (around("minfds 2\n"), 2, "unknown key 'minfds' in <supervisord>; there is nothing like"),
        (around("<group x>\n</group>\n"), 2, "<group x> has no 'programs'"),
        (around("<group>\nprograms web\n</group>\n"), 2, "a group needs a name: <group NAME>"),
        (around("<socket>\naddress 1\n</socket>\n"), 2, "a socket needs a name: <socket NAME>"),
        (around("<socket x>\n</socket>\n"), 2, "<socket x> has no 'address'"),
        (around("<socket a/b>\naddress 1\n</socket>\n"), 2, "bad socket name 'a/b': expected up"),
        ("<group x>\nprograms y\n</group>\n" + around(""), 1, "<group> cannot stand outside of"),
        (around("socket-nme x\n"), 2, "did you mean 'socket-name'?"),
        (around("umask=022\n"), 2, "between a key and its value stands a space, not '='"),
        (around("numprocs=2\n"), 2, "stands a space, not '='; 'processes' belongs in <program>"),
        (around("password=secret\n"), 2, "unknown key 'password=' in <supervisord>; between"),
        (around("umask = 022\n"), 2, "write 'umask VALUE', without the '='"),
        (around("umask 022\numask 022\n"), 3, "'umask' is given twice in <supervisord> (line 2)"),
        (around("umask 9\n"), 2, "bad value '9' for 'umask' in <supervisord>: expected an octal"),
        (around("umask 022 # x\n"), 2, "such as 022 or 0600; a comment needs a line of its own"),
        (around("umask\n"), 2, "bad value '' for 'umask'"),
        (around("user \x1b]0;x\n"), 2, "bad value '\\x1b]0;x' for 'user'"),
        (around(PROGRAM.replace("com", "comm")), 3, "in <program web>; did you mean 'command'?"),
        (around(PROGRAM.replace("command", "program")), 3, "did you mean 'command'?"),
        (
            around("") + "</program>\n",
            3,
            "'</program>' closes nothing that was opened in this file",
        ),
        (
            around(PROGRAM + "</program>\n"),
            5,
            "'</program>' does not close <supervisord>, opened in",
        ),
        (
            around("<program web>\ncommand run\n</progam>\n"),
            4,
            "'</progam>' does not close <program",
        ),
        (
            around("<program web\ncommand run\n</program>\n"),
            2,
            "'<program web' has no '>' at its end",
        ),
        (around("<program web>\ncommand run\n</program\n"), 4, "'</program' has no '>' at its end"),
        (around("<program web>\ncommand run\n</program web>\n"), 4, "has a name; write </program>"),
        (around("%import os\n"), 2, "%import is not allowed"),
        (around("%inclde x\n"), 2, "unknown directive '%inclde'; did you mean '%include'?"),
        (around("%\n"), 2, "unknown directive '%'"),
        (around("%define\n"), 2, "%define needs more: %define NAME VALUE"),
        (around("%include\n"), 2, "%include needs more: %include FILE"),
        (around("%define a-b c\n"), 2, "'a-b' cannot be defined"),
        (around("%define a b\n%define A c\n"), 3, "'A' is defined already, as 'b'"),
        (around("user $\n"), 2, "a '$' in the value of 'user' is followed by no name; write '$$'"),
        (around("user a$-b\n"), 2, "write '$$' for a plain '$'"),
        (around("user ${a\n"), 2, "write '$$' for a plain '$'"),
        (around("user $nobody\n"), 2, "'$nobody' is not defined; write '$$' for a plain '$'"),
        (around("user $(NOBODY)\n"), 2, "the environment variable 'NOBODY' is not set; write '$$'"),
    ],
)
def test_one_problem(complain: Complain, text: str, line: int | None, message: str) -> None:
    found = complain(text)
    [problem] = [problem for problem in found if "has no 'command'" not in problem[1]]
    assert problem[0] == line
    assert message in problem[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<supervisord>\n<program a>\ncommand x\n",
            [(1, "<supervisord> is never closed"), (2, "<program a> is never closed")],
        ),
        (
            "<supervisord>\n<program a>\ncommand x\n</supervisord>\n",
            [(2, "<program a> is never closed")],
        ),
        (
            "<supervisord>\n<program a>\ncommand x\n<program b>\ncommand x\n</program>\n"
            "</supervisord>\n",
            [(2, "<program a> is never closed")],
        ),
        (
            "<supervisord>\n<program a>\ncommand x\n</program>\n<supervisord>\n",
            [
                (1, "<supervisord> is never closed"),
                (5, "a second <supervisord>; the first is at line 1"),
                (5, "<supervisord> is never closed"),
            ],
        ),
    ],
)
def test_unclosed_sections(complain: Complain, text: str, expected: list[tuple[int, str]]) -> None:
    assert complain(text) == expected


def test_what_is_in_a_misspelt_section_is_read_all_the_same(complain: Complain) -> None:
    found = complain("<supervisor>\n<progam a>\npriority x\n</progam>\n</supervisor>\n")
    assert [line for line, _ in found] == [1, 2, 2, 3]


def test_definitions_and_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/srv/$where")
    found = load(
        around(
            "%define Name  two words \n%define all $name $$x\n%define all $name $$x\n"
            "<program web>\ncommand run '${NAME}'-$(WHERE) $$1 '$all'\n</program>\n"
        )
    )
    assert found.programs["web"].command == (
        "run",
        "two words-/srv/$where",
        "$1",
        "two words $x",
    )


def test_what_uses_a_broken_definition_is_not_reported_again(complain: Complain) -> None:
    text = around("%define a $b\n<program web>\ncommand $a\n</program>\n")
    assert [line for line, _ in complain(text)] == [2]


def test_definitions_cannot_grow_without_end(complain: Complain) -> None:
    lines = ["%define a0 " + "x" * 1000]
    lines += [f"%define a{n} " + f"$a{n - 1}" * 10 for n in range(1, 9)]
    found = complain(around("\n".join(lines) + "\n"))
    assert found == [
        (4, f"the value of '%define a2' has more than {LIMITS.value_characters} characters")
    ]


def test_problems_end_somewhere(complain: Complain) -> None:
    found = complain("x\n" * 50_000)
    assert len(found) == LIMITS.problems + 1
    assert found[-1] == (None, "more than 99 problems; the rest is not shown")


@pytest.mark.parametrize(
    "text",
    [
        "[supervisord]\nnodaemon=true\n",
        "; Sample supervisor config file.\n\n[unix_http_server]\nfile=/tmp/x ; the path\n",
        "# mine\n[program:web]\ncommand=/usr/bin/web\n",
        "\ufeff[supervisorctl]\n",
    ],
)
def test_files_of_supervisor_3_and_4_are_recognised(complain: Complain, text: str) -> None:
    [(line, message)] = complain(text)
    assert text.split("\n")[(line or 0) - 1].lstrip("\ufeff").startswith("[")
    assert "supervisor 3 or 4, in INI style" in message


# Included files.


def test_include_of_a_file_and_of_a_pattern(write: Write) -> None:
    for name in ("c.d/2.conf", "c.d/1.conf", "c.d/.hidden.conf", "c.d/other"):
        write(f"<program p{name[-6]}>\ncommand bin/x\nlogfile x{name[-6]}\n</program>\n", name)
    write("%include 1.conf\numask 027\n", "c.d/one.inc")
    path = write(around("%include c.d/one.inc\n%define d c.d\n%include $d/2*.conf\n"))
    found = load_daemon(path)
    root = os.path.dirname(path)
    assert list(found.programs) == ["p1", "p2"]
    assert found.programs["p1"].command == (f"{root}/bin/x",)
    assert found.programs["p1"].logfile == f"{root}/x1"
    assert found.settings.umask == 0o027
    assert [os.path.relpath(file, root) for file in found.files] == [
        "supervisord.conf",
        "c.d/one.inc",
        "c.d/1.conf",
        "c.d/2.conf",
    ]
    assert list(load_daemon(write(around("%include c.d/*.conf\n"))).programs) == ["p1", "p2"]


def test_definitions_reach_included_files_and_come_back(write: Write) -> None:
    write("%define b $a$a\n", "more")
    path = write(around("%define a x\n%include more\nuser $b\n"))
    assert load_daemon(path).settings.user == "xx"


def test_problems_stand_in_reading_order(write: Write) -> None:
    write("bad1\n%include sub\nbad2\n", "a.conf")
    write("bad3\n", "b.conf")
    write("bad4\n", "sub")
    path = write(around("bad5\n%include ?.conf\nbad6\n"))
    with pytest.raises(ConfigError) as caught:
        load_daemon(path)
    root = os.path.dirname(path)
    assert [
        (os.path.relpath(problem.file, root), problem.line) for problem in caught.value.problems
    ] == [
        ("supervisord.conf", 2),
        ("a.conf", 1),
        ("sub", 1),
        ("a.conf", 3),
        ("b.conf", 1),
        ("supervisord.conf", 4),
    ]


def test_a_problem_in_a_file_included_twice_is_told_once(write: Write) -> None:
    write("umask 9\n", "x")
    with pytest.raises(ConfigError, match=r"x:1: ") as caught:
        load_daemon(write(around("%include x\n%include x\n")))
    messages = [problem.message for problem in caught.value.problems]
    assert [message.split(":")[0] for message in messages] == [
        "bad value '9' for 'umask' in <supervisord>",
        "'umask' is given twice in <supervisord> (line 1)",
    ]


def test_a_pattern_that_matches_nothing_is_a_warning(load: Load) -> None:
    [warning] = load(around("%include conf.d/*.conf\n")).warnings
    assert warning.endswith("supervisord.conf:2: no file matches 'conf.d/*.conf'")


def test_a_name_with_wildcards_in_it_can_be_a_file(write: Write) -> None:
    write("umask 027\n", "x[1].conf")
    assert load_daemon(write(around("%include x[1].conf\n"))).settings.umask == 0o027


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.conf", "missing.conf cannot be included: no such file or directory"),
        ("directory", "directory cannot be included: it is a directory"),
        ("fifo", "fifo cannot be included: not a regular file"),
        ("soc*", "socket cannot be included: not a regular file"),
        ("/dev/zero", "/dev/zero cannot be included: not a regular file"),
        ("large", "large cannot be included: it has more than 1048576 bytes"),
        ("~/x", "'~' is not expanded"),
        ("http://localhost/x", "'http://localhost/x' is no file; only files can be included"),
        ("file:///etc/passwd", "only files can be included"),
        ("FILE:x", "only files can be included"),
        ("package:os:x", "only files can be included"),
        ("data:,x", "only files can be included"),
        ("supervisord.conf", "supervisord.conf cannot be included: it is being read already"),
        ("link", "link cannot be included: it is being read already, so it includes itself"),
        ("x\0y", "a NUL byte; this is no text file"),
    ],
)
def test_what_cannot_be_included(
    complain: Complain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a URL was opened")

    monkeypatch.setattr(urllib.request, "urlopen", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    Path("large").write_text("#" * (LIMITS.file_bytes + 1))
    Path("link").symlink_to("supervisord.conf")
    [(line, found)] = complain(around(f"%include {name}\n"))
    assert line == 2
    assert message in found


def test_includes_end_somewhere(write: Write) -> None:
    for depth in range(20):
        write(f"%include {depth + 1}\n", str(depth))
    with pytest.raises(ConfigError) as caught:
        load_daemon(write(around("%include 0\n")))
    [problem] = caught.value.problems
    assert os.path.basename(problem.file) == str(LIMITS.include_depth - 1)
    assert problem.message == "files are included in each other more than 16 levels deep"


def test_files_that_double_themselves_end_somewhere(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LIMITS", replace(LIMITS, files=50))
    for depth in range(10):
        write(f"%include {depth + 1}\n" * 2, str(depth))
    write("", "10")
    with pytest.raises(ConfigError, match="more than 50 files are included"):
        load_daemon(write(around("%include 0\n")))


def test_an_included_file_closes_only_what_it_opens(write: Write) -> None:
    write("</supervisord>\n<program web>\ncommand x\n", "x")
    with pytest.raises(ConfigError) as caught:
        load_daemon(write(around("%include x\n")))
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (1, "'</supervisord>' closes nothing that was opened in this file"),
        (2, "<program web> is never closed"),
    ]


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"<supervisord>\nuser \xff\n", 2, "bytes that are not UTF-8 text"),
        (b"\xef\xbb\xbf\n\n\xff\n", 3, "bytes that are not UTF-8 text"),
        (b"\n\nuser \0\n", 3, "a NUL byte; this is no text file"),
    ],
)
def test_files_that_are_no_text(complain: Complain, data: bytes, line: int, message: str) -> None:
    assert complain(data) == [(line, message)]


def test_main_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_daemon(str(tmp_path / "none.conf"))
    [problem] = caught.value.problems
    assert str(problem) == f"{tmp_path}/none.conf: cannot be read: no such file or directory"
    with pytest.raises(ConfigError, match="it is a directory"):
        load_daemon(str(tmp_path))
    with pytest.raises(ConfigError, match="its name holds a NUL character"):
        load_daemon("a\0b")


@pytest.mark.parametrize(
    ("mine", "other", "loader"),
    [
        ("supervisord", "supervisorctl", load_daemon),
        ("supervisorctl", "supervisord", load_client),
    ],
)
def test_the_file_of_the_other_program(write: Write, mine: str, other: str, loader: object) -> None:
    assert callable(loader)
    path = write(f"<{other}>\nsocket-name /x\n<program x>\n</program>\n</{other}>\n")
    with pytest.raises(ConfigError) as caught:
        loader(path)
    [problem] = caught.value.problems
    assert problem.message == f"this is a file for {other}; {mine} has a file of its own"
