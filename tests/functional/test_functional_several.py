"""Several processes of one program, and groups of programs: by all the names that they have."""

from __future__ import annotations

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until
from functional_terminal import terminal

PROGRAMS = """
    <program web>
      command /bin/sh -c 'echo %(process_name)s is number %(process_num)d; exec sleep 1000'
      processes 2
      process-name worker-%(process_num)02d
      first-number 8
    </program>
    <program front>
      command /bin/sh -c 'echo front; exec sleep 1000'
    </program>
    <program back>
      command sleep 1000
    </program>
    <program alone>
      command sleep 1000
    </program>
    <group site>
      programs front back
    </group>
    """
WEB = ["web:worker-08", "web:worker-09"]
SITE = ["site:front", "site:back"]
EVERYBODY = [*WEB, *SITE, "alone"]


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    daemon.write(PROGRAMS)
    daemon.start()
    wait_until(
        lambda: daemon.log_text().count("STARTING -> RUNNING") == len(EVERYBODY), daemon.log_text
    )
    return daemon


def _pids(daemon: Daemon) -> dict[str, int]:
    return {name: row.pid for name, row in daemon.status().programs.items()}


def _named(answer: str) -> list[str]:
    """Return whom the lines of an answer are about."""
    return [line.rpartition(": ")[0] for line in answer.splitlines()]


def test_each_process_has_its_number_its_name_and_its_log(running: Daemon) -> None:
    assert list(_pids(running)) == EVERYBODY
    assert (running.state / "log" / "worker-08.log").exists()
    for number in ("8", "9"):
        expected = f"worker-0{number} is number {number}\n"
        running.wait_for_output(f"worker-0{number}", expected)
        assert running.ask("tail", f"web:worker-0{number}") == expected


def test_the_columns_of_the_table_are_straight(running: Daemon) -> None:
    table = running.ask("status").partition("\n\n")[2].splitlines()
    width = max(map(len, EVERYBODY))
    assert [line[: width + 2].rstrip() for line in table] == ["NAME", *EVERYBODY]
    assert {line[width + 2 :].split()[0] for line in table[1:]} == {"RUNNING"}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("web", WEB),
        ("web:*", WEB),
        ("web:worker-09", WEB[1:]),
        ("site", SITE),
        ("site:*", SITE),
        ("site:front", SITE[:1]),
        ("front", SITE[:1]),
        ("alone", ["alone"]),
    ],
)
def test_a_word_means_the_same_for_every_command(
    running: Daemon, word: str, meant: list[str]
) -> None:
    before = _pids(running)
    assert list(running.status(word).programs) == meant
    assert running.ask("pid", word).splitlines() == [str(before[name]) for name in meant]
    for verb in ("restart", "stop", "start", "clear"):
        assert _named(running.ask(verb, word)) == meant
    assert _named(running.ask("signal", "CONT", word)) == meant
    after = _pids(running)
    assert {name for name in EVERYBODY if after[name] != before[name]} == set(meant)


def test_what_two_words_mean_is_done_once(running: Daemon) -> None:
    assert _named(running.ask("restart", "site:back", "site", "front")) == [
        "site:back",
        "site:front",
    ]


def test_names_that_mean_nothing_are_told_with_the_nearest(running: Daemon) -> None:
    done = running.ctl("start", "sites", "site:fornt", "web:worker-10", "zzz")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "sites: no such program; did you mean site?",
        "site:fornt: no such program; did you mean site:front?",
        "web:worker-10: no such program; did you mean web:worker-09 or web:worker-08?",
        "zzz: no such program; 'list' shows what there is",
    ]


def test_the_log_of_a_single_process_is_found_by_every_name(running: Daemon) -> None:
    running.wait_for_output("front", "front\n")
    for word in ("site:front", "front"):
        assert running.ask("tail", word) == "front\n"
    done = running.ctl("tail", "web")
    assert done.returncode == 4
    names = f"{', '.join(WEB)} ..., or say web:* for all"
    assert done.stderr == f"web: 2 processes have a log each; name one: {names}\n"
    first, last = (f"{name} | " for name in WEB)
    shown = running.ask("tail", "web:*").splitlines()
    assert [line[: len(first)] for line in shown] == [first, last]


def test_scale_leaves_those_alone_that_stay(running: Daemon) -> None:
    before = _pids(running)
    assert _named(running.ask("scale", "web", "4")) == ["web:worker-10", "web:worker-11"]
    assert list(running.status("web").programs) == [*WEB, "web:worker-10", "web:worker-11"]
    assert _named(running.ask("scale", "web", "1")) == [
        "web:worker-09",
        "web:worker-10",
        "web:worker-11",
    ]
    after = _pids(running)
    assert list(after) == ["web:worker-08", *SITE, "alone"]
    assert after.items() <= before.items()
    assert not is_alive(before["web:worker-09"])


def test_scaled_to_nothing_and_back(running: Daemon) -> None:
    before = _pids(running)
    assert _named(running.ask("scale", "web", "0")) == WEB
    assert list(_pids(running)) == [*SITE, "alone"]
    for verb in ("start", "status"):
        done = running.ctl(verb, "web")
        assert done.returncode == 1
        assert done.stderr == "web: has no processes; 'scale web NUMBER' gives it some\n"
    assert _named(running.ask("scale", "web", "2")) == WEB
    assert list(_pids(running)) == EVERYBODY
    assert not any(is_alive(before[name]) for name in WEB)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["alone", "2"], 4, "alone: has no key 'processes', so it is always one process"),
        (["wbe", "2"], 4, "wbe: no such program; did you mean web?"),
        (["site", "2"], 4, "site: "),
        (["web:worker-08", "2"], 4, "web:worker-08: "),
        (["web", "10001"], 4, "web: at most 10000 processes"),
        (["web", "99999999999999999999"], 4, "web: at most 10000 processes"),
        (["web", "-1"], 2, "scale needs the name of a program and a number of processes"),
        (["web"], 2, "scale needs the name of a program and a number of processes"),
    ],
)
def test_what_cannot_be_scaled_is_told_and_nothing_happens(
    running: Daemon, words: list[str], code: int, told: str
) -> None:
    before = _pids(running)
    done = running.ctl("scale", *words)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert done.stdout == ""
    assert _pids(running) == before


def test_at_the_prompt_tab_offers_groups_and_everything_in_them(running: Daemon) -> None:
    with terminal(running, "xterm", "-s", str(running.socket)) as shell:
        shell.wait_for_prompt()
        shell.type("restart sit\t")
        shell.expect("> restart site")
        shell.type(":f\t")
        shell.expect("> restart site:front")
        shell.type("\r")
        (answer,) = shell.wait_for_prompt()
        assert answer.startswith("site:front: restarted")
        shell.type("stop site:\t")
        wait_until(
            lambda: all(word in shell.look() for word in ("site:*", "site:back")), shell.look
        )
