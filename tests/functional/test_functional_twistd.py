"""The same service under twistd, without a holder."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from functional_daemon import Daemon, installed
from functional_processes import wait_until

SLEEPER = """
    <program sleeper>
      command /bin/sh -c 'echo up; exec sleep 1000'
    </program>
    """

NOTE = "runs under twistd, without a holder: nothing starts it again if it dies"


def _twistd(daemon: Daemon, *options: str) -> list[str]:
    return [installed("twistd"), *options, "supervisor", "-c", str(daemon.config)]


def _start(daemon: Daemon) -> subprocess.Popen[bytes]:
    said = daemon.said = open(daemon.place / "said", "wb")  # noqa: SIM115  # closed by stop()
    command = _twistd(daemon, "-n", "--pidfile=")
    process = daemon.foreground = daemon.begin(command, stdout=said, stderr=subprocess.STDOUT)

    def ready() -> bool:
        assert process.poll() is None, _said(daemon)
        return daemon.socket.exists() and daemon.output("sleeper") == "up\n"

    wait_until(ready, lambda: _said(daemon))
    return process


def _said(daemon: Daemon) -> str:
    return (daemon.place / "said").read_text()


def test_it_runs_programs_and_says_that_nothing_protects_it(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    process = _start(daemon)
    status = daemon.status()
    assert status.up == ("sleeper",)
    assert status.pid == process.pid
    assert NOTE in status.notes
    assert not daemon.pidfile.exists()
    assert "sleeper: STARTING -> RUNNING" in _said(daemon)

    assert daemon.ask("restart", "sleeper").startswith("sleeper: restarted, pid ")
    daemon.write(SLEEPER + SLEEPER.replace("sleeper", "second"))
    assert "second: added, to be started\n" in daemon.ask("reload")
    assert daemon.ask("tail", "second") == "up\n"
    done = daemon.ctl("logtail")
    assert done.returncode == 4
    assert done.stderr == "its output goes to the log of twistd and is not kept\n"
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM  # twistd ends by the signal it was sent
    assert not daemon.socket.exists()


def test_shutdown_ends_it(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    process = _start(daemon)
    assert daemon.ask("shutdown").endswith("supervisord has shut down\n")
    assert process.wait(10) == 0


def test_hup_reloads_here_too(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    process = _start(daemon)
    daemon.status()  # it is ready for signals
    daemon.write(SLEEPER + SLEEPER.replace("sleeper", "second"))
    process.send_signal(signal.SIGHUP)
    daemon.wait_for_output("second", "up")


def test_it_detaches_as_twistd_does(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    options = [f"--pidfile={daemon.place}/twistd.pid", f"--logfile={daemon.place}/twistd.log"]
    done = daemon.run(_twistd(daemon, *options))
    assert done.returncode == 0, done.stderr
    daemon.wait_for_output("sleeper", "up")
    daemon.pid = int((daemon.place / "twistd.pid").read_text())
    assert daemon.status().pid == daemon.pid
    wait_until(lambda: os.path.exists(daemon.socket), "the socket is there")


def test_it_takes_the_same_lock(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    process = _start(daemon)
    done = daemon.supervisord()
    assert done.returncode == 1
    assert f"(pid {process.pid})" in done.stderr
    assert "state-directory" in done.stderr
    done = daemon.run(_twistd(daemon, "-n", "--pidfile="))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"another supervisord (pid {process.pid}) is running" in said
    assert daemon.status().pid == process.pid


@pytest.mark.parametrize("kind", ["broken", "missing"])
def test_a_bad_configuration_is_told_without_a_traceback(daemon: Daemon, kind: str) -> None:
    if kind == "broken":
        daemon.save(daemon.config, "<supervisord>\n  nonsense 1\n</supervisord>\n")
    done = daemon.run(_twistd(daemon, "-n", "--pidfile="))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    expected = ":2: unknown key 'nonsense'" if kind == "broken" else ": cannot be read: "
    assert f"{daemon.config}{expected}" in said


def test_another_daemon_in_the_way_is_told_without_a_traceback(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    done = daemon.run(_twistd(daemon, "-n", "--pidfile="))
    assert done.returncode != 0
    assert f"(pid {daemon.pid})" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_sockets_and_readiness_are_there_too(daemon: Daemon) -> None:
    listening = daemon.place / "http.listen"
    program = daemon.python(
        "program",
        """
        import os, signal, socket
        print("up", os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"], flush=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(b"READY=1\\nSTATUS=well", os.environ["NOTIFY_SOCKET"])
        while True:
            signal.pause()
        """,
    )
    daemon.write(f"""
        {SLEEPER}
        <socket http>
          address {listening}
        </socket>
        <program talker>
          command {program}
          sockets http
          notify yes
        </program>
        """)
    process = _start(daemon)
    wait_until(lambda: "talker: STARTING -> RUNNING" in _said(daemon), lambda: _said(daemon))
    assert daemon.status().programs["talker"].detail == "well"
    daemon.wait_for_output("talker", "up 1 http\n")
    assert listening.is_socket()
    assert daemon.ask("shutdown").endswith("supervisord has shut down\n")
    assert process.wait(10) == 0
    assert not listening.exists()


def test_the_end_of_an_essential_program_ends_it(daemon: Daemon) -> None:
    job = f"""
        <program job>
          command /bin/sh -c 'while test ! -e {daemon.place}/end; do sleep 0.05; done; exit 7'
          essential yes
          auto-restart false
        </program>
        """
    daemon.write(SLEEPER + job)
    process = _start(daemon)
    daemon.save(daemon.place / "end", "")
    assert process.wait(15) == 0  # twistd takes no other code from a service
    assert "job is essential and has ended: exited with code 7" in _said(daemon)
    assert not daemon.socket.exists()
