"""The keys of one program, and what in it cannot stand together."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest
from config_fixture_types import Complain, Load, Write

from supervisortw.config import section
from supervisortw.config.loader import load_daemon
from supervisortw.config.schema import schema
from supervisortw.config.section import key_infos
from supervisortw.core.expand import processes_of
from supervisortw.core.model import (
    DISCARD,
    SYSLOG,
    AutoRestart,
    Limit,
    LogFormat,
    OnDaemonDeath,
    Program,
    Stdin,
    StopScope,
    StopStep,
)


def program(text: str, daemon: str = "") -> str:
    return (
        f"<supervisord>\n{daemon}\n<program web>\ncommand run\n{text}\n</program>\n"
        "<program db>\ncommand db\n</program>\n"
        "<socket http>\naddress 80\n</socket>\n</supervisord>\n"
    )


def test_every_new_key(load: Load) -> None:
    found = load("""\
        <supervisord>
          state-directory /state
          max-starting 5
          start-delay 0.5
          stable-seconds 20
          limit nofile 1024
          limit core 0:unlimited
          <program web>
            command run
            processes 2
            process-name w%(process_num)02d
            first-number 8
            essential yes
            depends-on db
            depends-on cache, db
            notify yes
            ready-seconds 30
            watchdog-seconds 5
            stop-command bin/stop %(process_num)d
            stop-signal INT 3
            stop-wait-seconds 7
            stderr-logfile err/%(process_num)d
            group www
            directory data/../%(process_name)s
            nice -5
            limit nproc 5
            limit NOFILE 100:200
            no-new-privileges yes
            cgroup yes
            on-daemon-death Stop
            remember yes
            stdin null
            stdin-socket http
            sockets http https
            sockets http
          </program>
          <program db>
            command db
            stable-seconds 3
            stdin pipe
            stderr-logfile none
          </program>
          <program cache>
            command cache
          </program>
          <socket http>
            address :80
          </socket>
          <socket https>
            address :443
          </socket>
        </supervisord>
        """)
    root = os.path.dirname(found.source)
    assert (found.settings.max_starting, found.settings.start_delay) == (5, 0.5)
    limits = (
        Limit(name="nofile", soft=1024, hard=1024),
        Limit(name="core", soft=0, hard=None),
    )
    assert dict(found.programs) == {
        "web": Program(
            name="web",
            command=("run",),
            processes=2,
            process_name="w%(process_num)02d",
            first_number=8,
            essential=True,
            depends_on=("db", "cache"),
            stable_seconds=20.0,
            notify=True,
            ready_seconds=30.0,
            watchdog_seconds=5.0,
            stop_command=(f"{root}/bin/stop", "%(process_num)d"),
            stop_steps=(
                StopStep(signal=None, wait=7.0),
                StopStep(signal=SIGINT, wait=3.0),
            ),
            logfile="/state/log/%(process_name)s.log",
            stderr_logfile=f"{root}/err/%(process_num)d",
            unix_group="www",
            directory=f"{root}/%(process_name)s",
            nice=-5,
            limits=(
                Limit(name="nofile", soft=100, hard=200),
                Limit(name="core", soft=0, hard=None),
                Limit(name="nproc", soft=5, hard=5),
            ),
            no_new_privileges=True,
            cgroup=True,
            on_daemon_death=OnDaemonDeath.STOP,
            remember=True,
            stdin=Stdin.NULL,
            stdin_socket="http",
            sockets=("http", "https"),
        ),
        "db": Program(
            name="db",
            command=("db",),
            stable_seconds=3.0,
            stdin=Stdin.PIPE,
            logfile="/state/log/db.log",
            stderr_logfile=DISCARD,
            limits=limits,
        ),
        "cache": Program(
            name="cache",
            command=("cache",),
            stable_seconds=20.0,
            logfile="/state/log/cache.log",
            limits=limits,
        ),
    }


def test_a_stop_command_comes_before_sigterm(load: Load) -> None:
    found = load(program("stop-command 'a b' c")).programs["web"]
    assert found.stop_command == ("a b", "c")
    assert found.stop_steps == (
        StopStep(signal=None, wait=10.0),
        StopStep(signal=SIGTERM, wait=10.0),
    )


def test_a_stop_can_be_for_the_leader_alone(load: Load) -> None:
    found = load(program("stop-scope leader")).programs
    assert found["web"].stop_scope is StopScope.LEADER
    assert found["db"].stop_scope is StopScope.SESSION


def test_where_lines_go_and_how(load: Load) -> None:
    text = (
        "stderr-logfile syslog\nsyslog-address udp:h:99\nsyslog-facility local0\nlog-format text\n"
    )
    found = load(program(text + "log-time yes\nsyslog-tag x")).programs["web"]
    assert found.stderr_logfile == SYSLOG
    assert (found.log_format, found.log_time) == (LogFormat.TEXT, True)
    assert str(found.syslog_address) == "udp:h:99"
    assert (found.syslog_facility, found.syslog_tag) == ("local0", "x")


def test_many_processes_can_send_to_syslog(load: Load) -> None:
    found = load(program("logfile syslog\nprocesses 2", "logfile syslog")).programs["web"]
    assert [process.syslog_tag for process in processes_of(found)] == ["web_0", "web_1"]


def test_a_oneshot_is_done_when_it_has_ended_well(load: Load) -> None:
    found = load(program("oneshot yes", "exit-codes 2")).programs["web"]
    assert found.oneshot
    assert found.exit_codes == {0, 2}
    assert found.auto_restart is AutoRestart.NEVER
    again = load(program("oneshot yes\nauto-restart unexpected\nexit-codes 3")).programs["web"]
    assert again.auto_restart is AutoRestart.UNEXPECTED
    assert again.exit_codes == {0, 3}
    assert load(program("oneshot no")).programs["web"].auto_restart is AutoRestart.ALWAYS


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("process-name x%(process_num)d", 5, "process-name means nothing in <program web> without"),
        ("first-number 1", 5, "first-number means nothing in <program web> without the key 'proc"),
        ("stdin pipe\nstdin-socket http", 6, "stdin-socket contradicts 'stdin pipe' in <program"),
        ("oneshot yes\nauto-restart true", 6, "'auto-restart unexpected' tries again after any"),
        ("oneshot yes\nnotify yes", 6, "notify contradicts oneshot in <program web>: that is read"),
        ("oneshot yes\nwatchdog-seconds 1", 6, "watchdog-seconds contradicts oneshot"),
        ("watchdog-seconds 5", 5, "watchdog-seconds needs 'notify yes' in <program web>"),
        ("watchdog-seconds 5\nnotify no", 5, "watchdog-seconds needs 'notify yes'"),
        ("ready-seconds 0", 5, "expected a number of seconds, more than 0"),
        ("limit core 1\nlimit CORE 2", 6, "the limit 'core' is given twice in <program web>"),
        ("limit cor 1", 5, "unknown limit 'cor'; did you mean 'core'?"),
        ("stdin-socket htp", 5, "no <socket htp> for <program web>; did you mean 'http'?"),
        ("sockets http htp", 5, "no <socket htp> for <program web>; did you mean 'http'?"),
        ("sockets nothing-like-it", 5, "no <socket nothing-like-it> for <program web>"),
        ("processes 10001", 5, "expected a whole number from 0 to 10000"),
        ("on-daemon-death die", 5, "expected keep or stop"),
        ("stop-scope tree", 5, "expected session or leader"),
        ("remember perhaps", 5, "bad value 'perhaps' for 'remember' in <program web>"),
        ("syslog-tag x", 5, "syslog-tag means nothing in <program web> without 'logfile syslog'"),
        ("logfile x\nsyslog-address udp:h", 6, "syslog-address means nothing in <program web>"),
        ("syslog-facility user\nlogfile none", 5, "syslog-facility means nothing in <program web>"),
        ("log-time yes", 5, "log-time means nothing in <program web> without 'log-format text'"),
        ("log-format json\nlog-time yes", 6, "log-time means nothing in <program web> without"),
        (
            "logfile syslog\nlog-format text",
            6,
            "log-format text means nothing in <program web>: no",
        ),
        ("logfile none\nlog-format text", 6, "log-format text means nothing in <program web>: no"),
        ("nice 30", 5, "expected a whole number from -20 to 19"),
    ],
)
def test_one_problem(complain: Complain, text: str, line: int, message: str) -> None:
    [(where, what)] = complain(program(text))
    assert where == line
    assert message in what


def test_a_limit_is_given_once_in_supervisord_too(complain: Complain) -> None:
    [(line, message)] = complain("<supervisord>\nlimit core 1\nlimit core 1\n</supervisord>\n")
    assert (line, message) == (3, "the limit 'core' is given twice in <supervisord>")


def test_what_is_off_contradicts_nothing(load: Load) -> None:
    found = load(
        program("oneshot yes\nnotify no\nwatchdog-seconds 0\nauto-restart no\nlog-time no")
    )
    assert found.warnings == ()


def test_a_time_for_readiness_that_nobody_tells_is_warned_about(load: Load) -> None:
    [warning] = load(program("ready-seconds 5")).warnings
    assert warning.endswith(":5: ready-seconds means nothing in <program web> without 'notify yes'")
    assert load(program("ready-seconds 5\nnotify yes")).warnings == ()


@pytest.mark.parametrize("directory", ["%(process_num)d", "50%% (x)", "%(x", "%%(y)s"])
def test_a_directory_of_the_file_is_taken_as_it_is(
    write: Write, tmp_path: Path, directory: str
) -> None:
    text = program(
        "processes 2\nlogfile %(process_num)d.log\ndirectory .\nenvironment-file -e\n"
        "stop-command ./stop",
        "state-directory state",
    )
    found = load_daemon(write(text, f"{directory}/x.conf"))
    root = f"{tmp_path}/{directory}"
    _, one = processes_of(found.programs["web"])
    assert one.logfile == f"{root}/1.log"
    assert one.directory == root
    assert one.environment_files == (f"-{root}/e",)
    assert one.stop_command == (f"{root}/stop",)
    [db] = processes_of(found.programs["db"])
    assert db.logfile == f"{root}/state/log/db.log"


@pytest.mark.parametrize(("name", "ours"), section.OTHER_NAMES.items())
def test_names_of_other_versions_lead_to_keys_that_there_are(
    complain: Complain, name: str, ours: str | None
) -> None:
    [(_, message)] = complain(program(f"{name} x"))
    assert message.startswith(f"unknown key '{name}' in <program web>")
    if ours is None:
        assert message.endswith("; there is nothing like it here")
    elif ours in key_infos(schema("supervisord").gettype("program")):
        assert message.endswith(f"; did you mean '{ours}'?")
    else:
        assert f"'{ours}' belongs in <" in message
