"""Several processes of one program: their texts, their names and their logs."""

from __future__ import annotations

import pytest
from config_fixture_types import Complain, Load

from supervisortw.config import programs
from supervisortw.core import expand
from supervisortw.core.expand import processes_of
from supervisortw.core.limits import LIMITS

STATE = "/home/me/.local/state/supervisortw"


def numbered(text: str, more: str = "", daemon: str = "") -> str:
    return (
        f"<supervisord>\n{daemon}\n<program web>\ncommand run\nprocesses 2\n{text}\n</program>\n"
        f"{more}\n</supervisord>\n"
    )


def other(text: str, name: str = "two") -> str:
    return f"<program {name}>\ncommand x\n{text}\n</program>\n"


def group(name: str, members: str) -> str:
    return f"<group {name}>\nprograms {members}\n</group>\n"


def test_every_setting_with_places_is_looked_at() -> None:
    assert set(programs._UNFILLED) == set(expand.WITH_PLACES)


def test_default_logs_have_the_names_of_the_processes(load: Load) -> None:
    found = load(numbered("first-number 1\nprocess-name w-%(process_num)02d"))
    one, two = processes_of(found.programs["web"])
    assert (one.logfile, two.logfile) == (f"{STATE}/log/w-01.log", f"{STATE}/log/w-02.log")
    assert (one.name, two.name) == ("web:w-01", "web:w-02")


def test_no_processes_at_all(load: Load) -> None:
    text = f"<supervisord>\n{other('processes 0', 'web')}</supervisord>\n"
    assert processes_of(load(text).programs["web"]) == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("process-name %(x)s%(process_num)d", "process-name"),
        ("process-name %(process_name)s", "process-name"),
        ("stop-command stop %(x)s", "stop-command"),
        ("directory /%(x)s", "directory"),
        ("environment A=%(x)s", "environment"),
        ("environment-file /ok\nenvironment-file -/%(x)s", "environment-file"),
        ("logfile /%(process_num)d%(x)s", "logfile"),
        ("stderr-logfile /%(process_num)d%(x)s", "stderr-logfile"),
        ("stderr-logfile /%(process_num)d%(program_name)d", "stderr-logfile"),
        ("environment A=%(process_num)d%(", "environment"),
    ],
)
def test_what_cannot_be_filled_in_is_reported_where_it_stands(
    complain: Complain, text: str, key: str
) -> None:
    [(line, message)] = complain(numbered(text))
    assert line == 6 + text.count("\n")
    assert message.startswith(f"bad value for '{key}' in <program web>: ")
    assert "%(program_name)s" in message


def test_a_program_without_a_number_is_looked_at_too(complain: Complain) -> None:
    text = "<supervisord>\n<program web>\ncommand date '%(h)s'\n</program>\n</supervisord>\n"
    assert complain(text) == [
        (
            3,
            "bad value for 'command' in <program web>: unknown %(h)s; there are %(program_name)s,"
            " %(group_name)s, %(process_num)d, %(process_name)s; a plain %( is written %%(",
        )
    ]


def test_a_variable_that_may_be_a_secret_is_not_repeated(complain: Complain) -> None:
    found = complain(numbered("environment A=%(sesame)s", daemon="environment B=%(sesame"))
    assert [line for line, _ in found] == [2, 6]
    for _, message in found:
        assert "sesame" not in message
        assert "a plain %( is written %%(" in message


def test_problems_of_texts_hide_no_others(complain: Complain) -> None:
    text = numbered("logfile x\nprocess-name all", daemon="environment A=%(x)s")
    assert [line for line, _ in complain(text)] == [2, 7]
    text = numbered("logfile x\nprocess-name -%(process_num)d/", daemon="environment A=%(x)s")
    assert [line for line, _ in complain(text)] == [2, 6, 7]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("process-name web", "", "two processes would be called 'web'; process-name needs %(proc"),
        ("process-name a/%(process_num)d", "", "'a/0'; expected up to 64 of letters, digits, _"),
        ("process-name %(process_num)5d", "", "would be called '    0'; expected up to 64 of"),
        ("process-name " + "x" * 64 + "%(process_num)d", "", "expected up to 64 of letters"),
        ("process-name %(group_name)s%(process_num)s:", "", "'web0:'; expected up to 64"),
        ("process-name web_%(process_num)d", "", None),
        ("process-name site%(process_num)d", group("site0", "web"), "'site0', as its group is"),
        ("process-name x%(process_num)d", group("site", "web"), None),
        (
            "process-name two%(process_num)d\nlogfile none",
            other("logfile none", "two1") + group("site", "web two1"),
            "<program web> has a process site:two1 already",
        ),
    ],
)
def test_names_of_processes(
    load: Load, complain: Complain, text: str, more: str, message: str | None
) -> None:
    if message is None:
        load(numbered(text, more))
        return
    [(_, found)] = complain(numbered(text, more))
    assert message in found


def test_a_process_is_not_called_like_its_program_where_there_are_others(
    load: Load, complain: Complain
) -> None:
    text = "<supervisord>\n<program web_1>\ncommand x\nprocesses {}\n"
    text += "process-name web_%(process_num)d\nfirst-number 1\n</program>\n</supervisord>\n"
    [(line, message)] = complain(text.format(2))
    assert line == 5
    assert "one of several processes would be called 'web_1', as the program is" in message
    [process] = processes_of(load(text.format(1)).programs["web_1"])
    assert process.name == "web_1"


@pytest.mark.parametrize(
    ("text", "more", "line", "message"),
    [
        ("logfile /x", "", 6, "would share /x; where there are several, 'logfile' needs %(process"),
        ("logfile none\nstderr-logfile /x", "", 7, "'stderr-logfile' needs %(process_num)d in it"),
        ("logfile /%(process_num)d", other("logfile /1"), 10, "that is the log of web:web_1 (line"),
        ("logfile /a/../%(process_num)d", other("logfile /1"), 10, "cannot be /1: that is the log"),
        ("logfile /a/%(process_num)d/../%(process_num)d", other("logfile /a/1"), 10, "be /a/1:"),
        (
            "stderr-logfile /%(process_num)d",
            other("logfile /1"),
            10,
            "log of standard error of web",
        ),
        (
            "logfile /%(process_num)d\nstderr-logfile /%(process_num)d",
            "",
            7,
            "the log of standard error of web:web_0 cannot be /0: that is the log of web:web_0",
        ),
        ("", other(f"logfile {STATE}/log/web_1.log"), 10, "that is the log of web:web_1"),
        ("", other("", "web_1"), 8, "the log of <program web_1> cannot be"),
    ],
)
def test_logs_that_two_processes_would_write_to(
    complain: Complain, text: str, more: str, line: int, message: str
) -> None:
    [(where, what)] = complain(numbered(text, more))
    assert where == line
    assert message in what


@pytest.mark.parametrize("log", ["none", "/dev/null", "/dev/stdout"])
def test_what_all_processes_can_share(load: Load, log: str) -> None:
    load(numbered(f"logfile {log}\nstderr-logfile {log}"))


def test_one_problem_for_all_processes_of_two_programs(complain: Complain) -> None:
    logs = "logfile /x/%(process_num)d"
    text = numbered(logs, other(f"processes 1000\n{logs}")).replace("sses 2", "sses 1000")
    assert len(complain(text)) == 1


def test_the_number_of_all_processes_is_bounded(load: Load, complain: Complain) -> None:
    most, each = LIMITS.processes, LIMITS.processes_per_program
    many = "".join(
        other(f"processes {each}\nlogfile none", f"p{number}") for number in range(most // each)
    )
    [(_, message)] = complain(f"<supervisord>\n{many}{other('', 'last')}</supervisord>\n")
    assert message == f"with <program last> there are more than {most} processes in all"
