"""Signals to the daemon and its holder, the daemon in the foreground, and the pid file."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, stat_of, wait_until, wait_until_gone
from functional_terminal import terminal

pytestmark = pytest.mark.needs_linux

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

# Tells each signal that it gets.
TALKATIVE = """
    import signal, sys
    taken = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2]
    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    print("ready", flush=True)
    while True:
        number = signal.sigwait(taken)
        print(number.name, flush=True)
        if number == signal.SIGTERM:
            break
    """


def _said(daemon: Daemon) -> str:
    return (daemon.place / "said").read_text()


def test_in_the_foreground_it_prints_the_report_and_then_its_log(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    process = daemon.start_in_foreground()
    assert process.pid == daemon.holder
    wait_until(lambda: "sleeper: STARTING -> RUNNING" in _said(daemon), lambda: _said(daemon))
    first, *_ = _said(daemon).splitlines()
    assert "supervisord" in first
    assert f"  pid            {daemon.pid}\n" in _said(daemon)
    assert daemon.status().up == ("sleeper",)


def test_in_the_foreground_it_does_not_depend_on_who_reads_its_log(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    read_end, write_end = os.pipe()
    process = daemon.start_in_foreground(stdout=write_end)
    wait_until(lambda: "STARTING -> RUNNING" in daemon.log_text(), daemon.log_text)
    # Ours, since the daemon must not get a pipe that refuses instead of waiting.
    filling = os.open(f"/proc/self/fd/{write_end}", os.O_WRONLY | os.O_NONBLOCK)
    os.close(write_end)
    with contextlib.suppress(BlockingIOError):
        while os.write(filling, b"." * select.PIPE_BUF):
            pass
    os.close(filling)
    daemon.ask("stop", "sleeper")
    os.set_blocking(read_end, False)
    assert b"STOPPING" not in os.read(read_end, 2**20)
    daemon.ask("start", "sleeper")
    assert b"sleeper: RUNNING -> STOPPING" in os.read(read_end, 2**20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    os.close(read_end)


def test_ctrl_c_ends_it_once_and_cleanly(daemon: Daemon) -> None:
    command = daemon.python("talkative.py", TALKATIVE)
    daemon.write(f"<program talkative>\n  command {command}\n</program>")
    with terminal(daemon, "xterm", "-n", "-c", str(daemon.config), program="supervisord") as shell:
        daemon.wait_for_output("talkative", "ready")
        daemon.note_pids(int(daemon.pidfile.read_text()))
        shell.type("\x03")
        shell.ends_with(0)
        assert shell.look().count("shutting down") == 1
        assert "Traceback" not in shell.look()
    # The program was not in the process group of the terminal: it got TERM, and nothing else.
    assert daemon.output("talkative") == "ready\nSIGTERM\n"
    assert not is_alive(daemon.pid)
    assert not daemon.socket.exists()
    assert not daemon.pidfile.exists()


def test_a_second_ctrl_c_does_not_hurry_or_disturb_the_end(daemon: Daemon) -> None:
    daemon.write("""
        <program slow>
          command /bin/sh -c 'trap "sleep 0.4; exit 0" TERM; echo ready; while :; do sleep 0.1; done'
        </program>
        """)
    holder = daemon.start_in_foreground()
    daemon.wait_for_output("slow", "ready")
    os.killpg(holder.pid, signal.SIGINT)
    wait_until(lambda: "shutting down" in daemon.log_text(), daemon.log_text)
    os.killpg(holder.pid, signal.SIGINT)
    assert holder.wait(10) == 0
    assert "STOPPING -> STOPPED: stopped; exited with code 0" in daemon.log_text()
    assert "Traceback" not in daemon.log_text()


@pytest.mark.parametrize(
    ("number", "to_the_holder"),
    [(signal.SIGTERM, True), (signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["TERM to the holder", "INT to the holder", "TERM to the daemon"],
)
def test_a_signal_ends_programs_daemon_and_holder_with_0(
    daemon: Daemon, number: int, to_the_holder: bool
) -> None:
    daemon.write(SLEEPER)
    holder = daemon.start_in_foreground()
    pid = daemon.wait_for("sleeper", "RUNNING").pid
    os.kill(daemon.holder if to_the_holder else daemon.pid, number)
    assert holder.wait(10) == 0
    assert not is_alive(pid)
    assert not is_alive(daemon.pid)
    assert not daemon.socket.exists()
    assert not daemon.pidfile.exists()


def test_in_the_background_the_holder_ends_with_0_too(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    os.kill(daemon.pid, signal.SIGTERM)
    wait_until_gone(daemon.pid, daemon.holder)
    # Its parent is gone, so it was left to us.
    pid, status = os.waitpid(daemon.holder, 0)
    assert (pid, os.waitstatus_to_exitcode(status)) == (daemon.holder, 0)


def test_shutdown_ends_the_holder_with_0(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    holder = daemon.start_in_foreground()
    daemon.ask("shutdown")
    assert holder.wait(10) == 0


@pytest.mark.parametrize("to_the_holder", [True, False], ids=["to the holder", "to the daemon"])
def test_hup_reloads(daemon: Daemon, to_the_holder: bool) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    before = daemon.status()
    daemon.write(SLEEPER + SLEEPER.replace("sleeper", "second"))
    os.kill(daemon.holder if to_the_holder else daemon.pid, signal.SIGHUP)
    daemon.wait_for("second", "RUNNING")
    after = daemon.status()
    assert after.up == ("sleeper", "second")
    assert after.pid == before.pid
    assert after.programs["sleeper"].pid == before.programs["sleeper"].pid


def test_hup_with_a_broken_file_changes_nothing_and_is_logged(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    before = daemon.wait_for("sleeper", "RUNNING")
    daemon.save(daemon.config, "<supervisord>\n  nonsense 1\n</supervisord>\n")
    os.kill(daemon.holder, signal.SIGHUP)
    wait_until(lambda: "unknown key 'nonsense'" in daemon.log_text(), daemon.log_text)
    assert f"{daemon.config}:2" in daemon.log_text()
    assert daemon.status().programs["sleeper"].pid == before.pid


@pytest.mark.parametrize("to_the_holder", [True, False], ids=["to the holder", "to the daemon"])
def test_usr2_opens_the_logs_anew_after_a_rename(daemon: Daemon, to_the_holder: bool) -> None:
    daemon.write("""
        <program ticker>
          command /bin/sh -c 'n=0; while :; do n=$$((n+1)); echo $$n; sleep 0.05; done'
        </program>
        <program silent>
          command sleep 1000
        </program>
        """)
    daemon.start()
    path = daemon.state / "log" / "ticker.log"
    silent = path.with_name("silent.log")
    moved, log_moved = path.with_suffix(".1"), daemon.log.with_suffix(".1")
    daemon.wait_for_output("ticker", "3\n")
    path.rename(moved)
    silent.rename(silent.with_suffix(".1"))
    daemon.log.rename(log_moved)
    # Who prints is followed by itself; of others nobody looks at the file before they do.
    wait_until(lambda: daemon.output("ticker").count("\n") > 2, "it goes on in a new file")
    assert not silent.exists()
    os.kill(daemon.holder if to_the_holder else daemon.pid, signal.SIGUSR2)
    wait_until(silent.exists, "a new file")
    daemon.ask("stop", "ticker")
    assert "RUNNING -> STOPPING" in daemon.log_text()
    assert "RUNNING -> STOPPING" not in log_moved.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    numbers = (moved.read_text() + path.read_text()).split()
    assert numbers == [str(number + 1) for number in range(len(numbers))]


def test_the_pid_file_names_the_daemon_and_is_gone_after_it(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"
    assert daemon.status().pid == daemon.pid
    assert int(daemon.ask("pid")) == daemon.pid
    daemon.process_ends(signal.SIGTERM)
    assert not daemon.pidfile.exists()


def test_a_pid_file_that_was_left_behind_is_written_anew(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.save(daemon.pidfile, "1234567890 something longer than a pid\n")
    daemon.start()
    assert daemon.pidfile.read_text() == f"{daemon.pid}\n"


def test_a_link_in_place_of_the_pid_file_is_not_followed(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    precious = daemon.save(daemon.place / "precious", "precious")
    daemon.pidfile.symlink_to(precious)
    done = daemon.supervisord()
    assert done.returncode == 1
    assert str(daemon.pidfile) in done.stderr
    assert precious.read_text() == "precious"


def test_daemon_and_holder_have_sessions_of_their_own(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start_in_foreground()
    found = stat_of(daemon.pid)
    assert found is not None
    assert (found.session, found.parent) == (daemon.pid, daemon.holder)
