"""What a program finds when it starts: streams, descriptors, session, signals, environment."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import descriptors_of, environment_of, stat_of, status_of, wait_until

pytestmark = pytest.mark.needs_linux

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

FOR_THE_DAEMON_ALONE = {
    "NOTIFY_SOCKET": "/nonexistent/notify",
    "WATCHDOG_USEC": "30000000",
    "WATCHDOG_PID": "1",
    "LISTEN_FDS": "0",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "",
    "CREDENTIALS_DIRECTORY": "/nonexistent/credentials",
    "SUPERVISOR_SOMETHING": "ours",
}


def _sleeper(daemon: Daemon) -> int:
    return daemon.wait_for("sleeper", "RUNNING").pid


def test_its_input_is_empty_and_no_descriptor_is_left_open(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    read_end, write_end = os.pipe()
    try:
        daemon.start_in_foreground(pass_fds=[read_end, write_end])
    finally:
        os.close(read_end)
        os.close(write_end)
    daemon.begin(daemon.ctl_command("tail", "-f", "sleeper"))
    daemon.ask("restart", "sleeper")
    found = descriptors_of(_sleeper(daemon))
    assert set(found) == {0, 1, 2}
    assert found[0] == "/dev/null"
    assert found[1] == found[2]
    assert found[1].startswith("pipe:")


def test_it_leads_a_session_of_its_own_without_a_terminal(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    pid = _sleeper(daemon)
    found = stat_of(pid)
    assert found is not None
    assert (found.session, found.group, found.parent) == (pid, pid, daemon.pid)


@pytest.mark.parametrize(("key", "mask"), [("", "0022"), ("umask 027", "0027")])
def test_its_umask_is_that_of_the_configuration(daemon: Daemon, key: str, mask: str) -> None:
    daemon.write(SLEEPER, key)
    before = os.umask(0o077)
    try:
        daemon.start()
    finally:
        os.umask(before)
    assert status_of(_sleeper(daemon))["Umask"] == mask


def test_no_signal_is_blocked_or_ignored(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    found = status_of(_sleeper(daemon))
    assert int(found["SigBlk"], 16) == 0
    ignored = {number for number in range(1, 65) if int(found["SigIgn"], 16) >> (number - 1) & 1}
    assert not ignored & {signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM}


def test_under_the_daemons_identity_it_has_the_daemons_environment(daemon: Daemon) -> None:
    daemon.environment = FOR_THE_DAEMON_ALONE | {"DATABASE_URL": "db://", "EMPTY": ""}
    daemon.write(SLEEPER)
    daemon.start()
    given = daemon.environment_with(
        SUPERVISOR_ENABLED="1",
        SUPERVISOR_PROCESS_NAME="sleeper",
        SUPERVISOR_GROUP_NAME="sleeper",
        EMPTY="",
    )
    expected = {name: text for name, text in given.items() if name not in FOR_THE_DAEMON_ALONE}
    found = environment_of(_sleeper(daemon))
    assert re.fullmatch("[0-9a-f]{16}:sleeper:1", found.pop("SUPERVISOR_SPAWN_ID"))
    assert found == expected


OUR_WORDS = ("ENABLED", "PROCESS_NAME", "GROUP_NAME", "SPAWN_ID")


def test_no_variable_of_ours_reaches_it_whatever_is_passed(daemon: Daemon) -> None:
    daemon.environment = dict(FOR_THE_DAEMON_ALONE)
    daemon.write(SLEEPER, "pass-environment *")
    daemon.start()
    found = environment_of(_sleeper(daemon))
    assert not set(found) & set(FOR_THE_DAEMON_ALONE)
    ours = {name for name in found if name.startswith("SUPERVISOR_")}
    assert ours == {f"SUPERVISOR_{word}" for word in OUR_WORDS}


def test_its_environment_files_are_read_at_each_start(daemon: Daemon) -> None:
    first, second = daemon.place / "first.env", daemon.place / "second.env"
    daemon.environment = {"INHERITED": "inherited", "FIRST": "inherited"}
    daemon.write(
        f"""
        <program sleeper>
          command sleep 1000
          environment-file {first}
          environment-file {second}
          environment-file -{daemon.place}/missing.env
          environment OWN=its own
        </program>
        """,
        "environment COMMON=of all",
    )
    names = ("INHERITED", "FIRST", "SECOND", "COMMON", "OWN")
    daemon.save(first, "\n".join(f"{name}=first" for name in names[1:]), 0o600)
    daemon.save(second, "SECOND=second\nCOMMON=second\nOWN=second\n", 0o600)
    daemon.start()
    found = environment_of(_sleeper(daemon))
    assert [found[name] for name in names] == ["inherited", "first", "second", "of all", "its own"]
    daemon.save(first, "SECOND=again\nNEW=again\n", 0o600)
    second.write_text("OWN=again\n")
    daemon.ask("restart", "sleeper")
    found = environment_of(_sleeper(daemon))
    assert [found[name] for name in names] == [
        *("inherited", "inherited", "again", "of all", "its own"),
    ]
    assert found["NEW"] == "again"


def test_it_is_not_started_without_an_environment_file_that_it_needs(daemon: Daemon) -> None:
    path = daemon.place / "web.env"
    daemon.write(f"<program sleeper>\ncommand sleep 1000\nenvironment-file {path}\n</program>")
    daemon.start()
    detail = daemon.wait_for("sleeper", "FATAL").detail
    assert detail.startswith("environment-file: ")
    assert f"{path} does not exist" in detail
    daemon.save(path, "GIVEN=at last\n")
    daemon.ask("start", "sleeper")
    assert environment_of(_sleeper(daemon))["GIVEN"] == "at last"


def test_its_command_is_split_as_by_a_shell_and_not_run_by_one(daemon: Daemon) -> None:
    daemon.write(
        r"""
        <program words>
          command /usr/bin/printf '<%s>\n' "two words" 'it''s' a\ b $$HOME *.conf ~ '' ; #x
          auto-restart false
        </program>
        """
    )
    daemon.start()
    daemon.wait_for("words", "EXITED")
    assert daemon.output("words").splitlines() == [
        "<two words>",
        "<its>",
        "<a b>",
        "<$HOME>",
        "<*.conf>",
        "<~>",
        "<>",
        "<;>",
        "<#x>",
    ]


def test_a_relative_command_starts_at_the_directory_of_the_file(daemon: Daemon) -> None:
    daemon.directory("bin")
    daemon.script("bin/here", "#!/bin/sh\npwd; exec sleep 1000\n")
    daemon.write("<program here>\n  command bin/here\n</program>")
    daemon.start()
    assert daemon.wait_for_output("here", "\n") == "/\n"


def test_both_streams_go_to_its_log_in_the_order_of_writing(daemon: Daemon) -> None:
    log = daemon.place / "both.log"
    daemon.write(f"""
        <program both>
          command /bin/sh -c 'for n in 1 2 3; do echo out $$n; echo err $$n >&2; done; sleep 1000'
          logfile {log}
        </program>
        """)
    daemon.start()
    wait_until(lambda: log.exists() and "err 3\n" in log.read_text(), daemon.log_text)
    assert log.read_text() == "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n"


def test_what_it_writes_last_is_in_its_log(daemon: Daemon) -> None:
    daemon.write("""
        <program farewell>
          command /bin/sh -c 'seq 20000'
          auto-restart false
        </program>
        """)
    daemon.start()
    daemon.wait_for("farewell", "EXITED")
    daemon.wait_for_output("farewell", "20000\n")
    assert daemon.output("farewell") == "".join(f"{number}\n" for number in range(1, 20001))


def test_a_log_can_be_thrown_away_or_be_a_fifo(daemon: Daemon) -> None:
    fifo = daemon.place / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        daemon.write(f"""
            <program silent>
              command /bin/sh -c 'echo nothing; exec sleep 1000'
              logfile none
            </program>
            <program piped>
              command /bin/sh -c 'echo something; exec sleep 1000'
              logfile {fifo}
            </program>
            """)
        daemon.start()
        pid = daemon.pid_of("silent")
        assert descriptors_of(pid)[1] == "/dev/null"
        wait_until(lambda: os.read(reader, 100) == b"something\n", "it is in the FIFO")
    finally:
        os.close(reader)
    done = daemon.ctl("tail", "silent")
    assert done.returncode == 4
    assert done.stderr == "its output goes to nowhere (logfile none) and is not kept\n"
    assert not Path(daemon.state / "log" / "silent.log").exists()


def test_dev_stdout_is_the_stream_of_the_daemon(daemon: Daemon) -> None:
    daemon.write("""
        <program loud>
          command /bin/sh -c 'echo to the terminal; exec sleep 1000'
          logfile /dev/stdout
        </program>
        """)
    daemon.start_in_foreground()
    said = daemon.place / "said"
    wait_until(lambda: b"to the terminal\n" in said.read_bytes(), "it is on the terminal")


def test_two_programs_cannot_share_a_log(daemon: Daemon) -> None:
    log = f"logfile {daemon.place}/shared.log"
    daemon.write(
        f"<program one>\ncommand sleep 1000\n{log}\n</program>\n"
        f"<program two>\ncommand sleep 1000\n{log}\n</program>\n"
    )
    done = daemon.supervisord()
    assert done.returncode == 2
    assert "shared.log: that is the log of <program one>" in done.stderr


@pytest.mark.needs_root
@pytest.mark.needs_linux
def test_it_weighs_as_any_other_session_though_the_daemon_weighs_more(daemon: Daemon) -> None:
    if not os.path.exists("/proc/self/autogroup"):
        pytest.skip("this kernel knows no autogroups")
    daemon.write("<program sleeper>\n  command sleep 1000\n</program>\n")
    daemon.start()
    pid = daemon.wait_for("sleeper", "RUNNING").pid
    groups = [Path(f"/proc/{each}/autogroup").read_text() for each in (daemon.pid, pid)]
    assert [group.split()[-1] for group in groups] == ["-10", "0"]
