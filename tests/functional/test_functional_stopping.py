"""How a program is made to end: by a command that asks it, and by signals in steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until_gone

pytestmark = pytest.mark.needs_linux

MakeDaemon = Callable[..., Daemon]


def _write(daemon: Daemon, *keys: str, command: str = "sleep 1000") -> None:
    lines = "\n".join(keys)
    daemon.write(f"<program server>\ncommand {command}\n{lines}\n</program>\n")


def _started(daemon: Daemon, *keys: str, command: str = "sleep 1000") -> int:
    _write(daemon, *keys, command=command)
    daemon.start()
    return daemon.wait_for("server", "RUNNING").pid


# Ends when it is asked to by USR2, and says so. It takes no notice of TERM.
POLITE = """
    import os, signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    def bye(*_):
        print("bye", flush=True)
        os._exit(0)
    signal.signal(signal.SIGUSR2, bye)
    print("up", flush=True)
    while True:
        signal.pause()
    """


def test_a_stop_command_asks_as_the_program_itself(
    make_daemon: MakeDaemon, anybody: Account
) -> None:
    daemon = make_daemon(anybody)
    place = daemon.directory("place")
    ask = daemon.script(
        "ask",
        """
        #! /bin/sh
        echo asked $SUPERVISOR_PID by $(id -un) in $(pwd) with $GIVEN and $1
        kill -USR2 $SUPERVISOR_PID
        """,
    )
    pid = _started(
        daemon,
        f"stop-command {ask} %(program_name)s",
        f"directory {place}",
        "environment GIVEN=something",
        command=daemon.python("polite", POLITE),
    )
    daemon.wait_for_output("server", "up\n")
    assert daemon.ask("stop", "server").startswith("server: stopped; exited with code 0 after ")
    assert not is_alive(pid)
    said = daemon.output("server").splitlines()
    assert said[:2] == ["up", f"asked {pid} by {anybody.name} in {place} with something and server"]
    assert "bye" in said


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/bin/false", "server: its stop-command exited with code 1 after "),
        ("/no/such/command", "server: stop-command: command not found: /no/such/command"),
    ],
)
def test_where_a_stop_command_fails_the_signal_comes_at_once(
    daemon: Daemon, command: str, told: str
) -> None:
    _started(daemon, f"stop-command {command}", "stop-wait-seconds 1000")
    # It would wait a thousand seconds otherwise.
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGTERM after ")
    assert told in daemon.log_text()


def test_a_stop_command_that_hangs_is_killed_and_the_signal_comes(daemon: Daemon) -> None:
    ask = daemon.script("ask", f"#! /bin/sh\necho $$ > {daemon.place}/pid\nexec sleep 1000\n")
    _started(daemon, f"stop-command {ask}", "stop-wait-seconds 1")
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGTERM after ")
    wait_until_gone(int((daemon.place / "pid").read_text()))
    assert "server: its stop-command ended by SIGKILL after " in daemon.log_text()


def test_a_stop_command_that_does_nothing_is_followed_by_the_signal(daemon: Daemon) -> None:
    _started(daemon, "stop-command /bin/true", "stop-wait-seconds 1")
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGTERM after ")
    assert "stop-command" not in daemon.log_text()


def test_restart_and_shutdown_ask_too(daemon: Daemon) -> None:
    ask = daemon.script("ask", "#! /bin/sh\necho asked\nkill $SUPERVISOR_PID\n")
    pid = _started(daemon, f"stop-command {ask}")
    assert f"(was {pid})" in daemon.ask("restart", "server")
    assert daemon.output("server") == "asked\n"
    assert "server: stopped; " in daemon.ask("shutdown")
    assert daemon.output("server") == "asked\nasked\n"


# Writes down each signal.
STUBBORN = """
    import signal
    def tell(number, _):
        print(signal.Signals(number).name, flush=True)
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, tell)
    print("up", flush=True)
    while True:
        signal.pause()
    """


def test_a_ladder_of_signals_is_climbed_to_the_end(daemon: Daemon) -> None:
    command = daemon.python("stubborn", STUBBORN)
    ladder = ["stop-signal INT 0.3", "stop-signal SIGUSR1 0.3", "stop-signal 15 0.3"]
    _started(daemon, *ladder, command=command)
    daemon.wait_for_output("server", "up\n")
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGKILL after ")
    assert daemon.output("server").splitlines() == ["up", "SIGINT", "SIGUSR1", "SIGTERM"]


def test_a_ladder_is_left_where_the_program_ends(daemon: Daemon) -> None:
    command = daemon.python("stubborn", STUBBORN)
    _started(daemon, "stop-signal INT 0.3", "stop-signal HUP", command=command)
    daemon.wait_for_output("server", "up\n")
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGHUP after ")
    assert daemon.output("server").splitlines() == ["up", "SIGINT"]


def test_a_command_comes_before_the_ladder(daemon: Daemon) -> None:
    ask = daemon.script("ask", "#! /bin/sh\necho asked\n")
    command = daemon.python("stubborn", STUBBORN)
    keys = [f"stop-command {ask}", "stop-signal INT 0.3", "stop-wait-seconds 1"]
    _started(daemon, *keys, command=command)
    daemon.wait_for_output("server", "up\n")
    assert daemon.ask("stop", "server").startswith("server: stopped; ended by SIGKILL after ")
    assert daemon.output("server").splitlines() == ["up", "asked", "SIGINT"]
