"""What supervisord says about configurations and command lines, before it starts anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Daemon, installed
from leaving_out import leave_out

FIVE_ERRORS = """\
<supervisord>
  <program unclosed>
    command /bin/true
  <program keys>
    command /bin/true
    auto-strat false
    priority first
  </program>
  <program twice>
    command /bin/true
  </program>
  <program twice>
    command /bin/false
  </program>
  %include more.conf
</supervisord>
"""

MORE = """\
<program included>
  command /bin/true
  exit-codes 256
</program>
"""


def test_five_errors_are_reported_together_each_with_file_and_line(daemon: Daemon) -> None:
    daemon.save(daemon.config, FIVE_ERRORS)
    more = daemon.save(daemon.place / "more.conf", MORE)
    done = daemon.supervisord("--check")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    for line, where, words in zip(
        lines,
        [f"{daemon.config}:{number}:" for number in (2, 6, 7, 12)] + [f"{more}:3:"],
        ["never closed", "did you mean 'auto-start'", "'first'", "second program 'twice'", "256"],
        strict=True,
    ):
        assert line.startswith(where)
        assert words in line


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["in the background", "in the foreground"])
def test_a_bad_file_starts_nothing(daemon: Daemon, options: list[str]) -> None:
    daemon.save(daemon.config, FIVE_ERRORS)
    daemon.save(daemon.place / "more.conf", MORE)
    done = daemon.supervisord(*options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 5
    assert not daemon.state.exists()


def test_a_good_file_is_said_to_be_good_and_nothing_is_started(daemon: Daemon) -> None:
    daemon.write(
        "<program a>\n  command /nonexistent --of course\n  user nobody-at-all\n</program>"
    )
    done = daemon.supervisord("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{daemon.config}: no problems, 1 program\n"
    assert not daemon.state.exists()


CROSSED = """\
<supervisord>
  <program web>
    command web --port 80%(process_num)02d
    processes 4
    logfile web.log
    depends-on site
    sockets htp
  </program>
  <program app>
    command app %(name)s
    depends-on web
    limit nofiles 4096
    numprocs 2
  </program>
  <group site>
    programs app
  </group>
  <socket http>
    address :80
  </socket>
</supervisord>
"""


def test_what_programs_have_to_do_with_each_other_is_checked(daemon: Daemon) -> None:
    daemon.save(daemon.config, CROSSED)
    done = daemon.supervisord("--check")
    assert done.returncode == 2
    assert [line.removeprefix(f"{daemon.config}:") for line in done.stderr.splitlines()] == [
        f"5: processes of <program web> would share {daemon.place}/web.log; where there are"
        " several, 'logfile' needs %(process_num)d in it",
        "6: depends-on goes in a circle: web -> app -> web",
        "7: no <socket htp> for <program web>; did you mean 'http'?",
        "10: bad value for 'command' in <program app>: unknown %(name)s; there are"
        " %(program_name)s, %(group_name)s, %(process_num)d, %(process_name)s;"
        " a plain %( is written %%(",
        "12: bad value 'nofiles 4096' for 'limit' in <program app>: unknown limit 'nofiles';"
        " did you mean 'nofile'?",
        "13: unknown key 'numprocs' in <program app>; did you mean 'processes'?",
    ]
    good = CROSSED.replace("    logfile web.log\n    depends-on site\n", "").replace("htp", "http")
    good = good.replace("%(name)s", "%%(name)s").replace("nofiles", "nofile")
    daemon.save(daemon.config, good.replace("    numprocs 2\n", ""))
    done = daemon.supervisord("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{daemon.config}: no problems, 2 programs\n"


def test_a_daemon_that_runs_does_not_hinder_a_check(daemon: Daemon) -> None:
    daemon.write("<program a>\n  command sleep 1000\n</program>")
    daemon.start()
    assert daemon.run(daemon.supervisord_command("--check")).returncode == 0
    assert daemon.status().pid == daemon.pid


def test_the_sample_configuration_has_no_problems(daemon: Daemon) -> None:
    done = daemon.run([installed("supervisord"), "--sample-config"])
    assert (done.returncode, done.stderr) == (0, "")
    daemon.save(daemon.config, done.stdout)
    checked = daemon.supervisord("--check")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--strikt"], "--strikt"),
        (["-c"], "expected one argument"),
        (["stray"], "stray"),
        (["-l", "a.log", "-l", "b.log"], "-l is given twice"),
        (["-e", "debug", "--loglevel", "info"], "--loglevel is given twice"),
    ],
)
def test_a_mistake_on_the_command_line_exits_with_2(
    daemon: Daemon, options: list[str], words: str
) -> None:
    done = daemon.run([installed("supervisord"), *options])
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: supervisord" in done.stderr
    assert words in done.stderr


def test_a_bad_value_on_the_command_line_is_said_to_be_there(daemon: Daemon) -> None:
    daemon.write()
    done = daemon.supervisord("-b", "three", "-p", "0999")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("command line: bad value 'three' for 'backoff-limit'")
    assert second.startswith("command line: bad value '0999' for 'socket-mode'")


def test_what_is_given_on_the_command_line_wins(daemon: Daemon) -> None:
    daemon.write("<program a>\n  command sleep 1000\n</program>", "loglevel error")
    daemon.log = daemon.place / "elsewhere.log"
    daemon.start("-e", "debug", "-l", "elsewhere.log", "-j", "elsewhere.pid")
    assert (daemon.place / "elsewhere.pid").read_text() == f"{daemon.pid}\n"
    assert not daemon.pidfile.exists()
    daemon.wait_for("a", "RUNNING")
    assert not (daemon.state / "supervisord.log").exists()


def test_a_file_for_supervisor_3_or_4_is_recognised(daemon: Daemon) -> None:
    daemon.save(daemon.config, "; a comment\n[supervisord]\nnodaemon=true\n")
    for command in ([*daemon.supervisord_command()], _client(daemon)):
        done = daemon.run(command)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"{daemon.config}:2: this is a file for supervisor 3 or 4")
        assert "<program NAME>" in done.stderr


def _client(daemon: Daemon) -> list[str]:
    return [installed("supervisorctl"), "-c", str(daemon.config), "status"]


def test_the_files_of_daemon_and_client_are_told_apart(daemon: Daemon) -> None:
    daemon.write()
    done = daemon.run(_client(daemon))
    assert done.returncode == 2
    assert "this is a file for supervisord; supervisorctl has a file of its own" in done.stderr


def test_without_a_file_all_places_are_listed(daemon: Daemon) -> None:
    daemon.write()  # in the working directory, which is not searched
    done = daemon.run([installed("supervisord"), "--check"])
    if done.returncode == 0:
        leave_out("this machine has a configuration of its own in one of the places")
    assert done.returncode == 2
    first, *places = done.stderr.splitlines()
    assert first.startswith("supervisord.conf: not found; name one with -c")
    assert [place.strip() for place in places][-2:] == [
        "/etc/supervisortw/supervisord.conf",
        "/usr/local/etc/supervisor/supervisord.conf",
    ]
    assert str(daemon.config) not in done.stderr


@pytest.mark.needs_root
def test_the_first_place_is_in_the_home_of_an_ordinary_user(
    make_daemon: Callable[[Account], Daemon], ordinary: Account
) -> None:
    daemon = make_daemon(ordinary)
    places = daemon.place / ".config" / "supervisortw"
    places.mkdir(parents=True)
    for program, words in (("supervisord", []), ("supervisorctl", ["status"])):
        found = daemon.save(places / f"{program}.conf", f"<{program}>\nbad 1\n</{program}>\n")
        done = daemon.run([installed(program), *words])
        assert done.returncode == 2
        assert done.stderr.startswith(f"{found}:2: unknown key 'bad'")


def test_a_file_that_is_not_there_is_named(daemon: Daemon) -> None:
    for program, words in (("supervisord", []), ("supervisorctl", ["status"])):
        done = daemon.run([installed(program), "-c", "no-such.conf", *words])
        assert done.returncode == 2
        assert done.stderr.startswith(f"{daemon.place}/no-such.conf: cannot be read: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["web-1.example@x", "user", "directory", "program", "supervisord"])
def test_a_program_can_have_any_name_that_does_not_stand_for_many(
    daemon: Daemon, name: str
) -> None:
    daemon.write(f"<program {name}>\n  command sleep 1000\n</program>")
    done = daemon.supervisord("--check")
    assert (done.returncode, done.stderr) == (0, "")
