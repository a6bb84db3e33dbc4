"""The tutorial, typed as it says: from its test program to the end of its tour of supervisorctl."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from functional_account import Account
from functional_daemon import Daemon
from functional_processes import command_of, everybody, is_alive, wait_until, wait_until_gone
from functional_terminal import Terminal, terminal

pytestmark = pytest.mark.needs_linux

# The tutorial's script, that does not sleep for 10 seconds.
SCRIPT = """
    #! /bin/sh
    echo starting to sleep...
    sleep 1.2
    """

CONFIGURATION = """\
<supervisord>

   <program test>
     command {place}/sleep-test
     auto-start false
     auto-restart true
     logfile {place}/test-output.log
   </program>

   backoff-limit 1
   start-seconds 0.2
   logfile {place}/supervisord.log
   pidfile {place}/s.pid
   socket-name {place}/s.sock
   state-directory {place}/state
   # passwdfile {place}/passwd
   # peer-login no
</supervisord>
"""

SECOND = """
   <program second>
     command sleep 1000
   </program>
"""

PASSWORD = "correct horse battery"

Supervisorctl = Callable[[], AbstractContextManager[Terminal]]


@pytest.fixture
def daemon(make_daemon: Callable[[Account], Daemon], anybody: Account) -> Daemon:
    """Return the daemon of the tutorial, configured and not yet started."""
    daemon = make_daemon(anybody)
    daemon.log = daemon.place / "supervisord.log"
    daemon.script("sleep-test", SCRIPT)
    daemon.save(daemon.config, CONFIGURATION.format(place=daemon.place))
    client = f"<supervisorctl>\n  socket-name {daemon.socket}\n</supervisorctl>\n"
    daemon.save(daemon.place / "supervisorctl.conf", client)
    return daemon


@pytest.fixture(params=["xterm", "dumb"])
def supervisorctl(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Supervisorctl]:
    """Return a way to run it at a terminal that can do everything, and at one that can do nothing."""
    return partial(terminal, daemon, request.param, "-c", str(daemon.place / "supervisorctl.conf"))


def test_the_tutorial_from_its_test_program_to_the_end_of_its_tour(
    daemon: Daemon, supervisorctl: Supervisorctl
) -> None:
    started = daemon.start()
    assert f"pid            {daemon.pid}\n" in started.stdout
    assert is_alive(daemon.pid)

    with supervisorctl() as shell:
        shell.wait_for_prompt()
        assert shell.command("status")[:4] == [
            f"socket='{daemon.socket}'",
            f"supervisord_pid={daemon.pid}",
            "up=",
            "down=test",
        ]
        (answer,) = shell.command("start test")
        pid = _number(r"test: started, pid (\d+)", answer)
        shell.type("\x04")
        shell.ends_with(0)
    assert is_alive(pid)
    assert _starts(daemon) == 1

    # The script ends by itself, and it stays running all the same.
    wait_until(lambda: _starts(daemon) >= 2, daemon.log_text)
    assert not is_alive(pid)

    with supervisorctl() as shell:
        shell.wait_for_prompt()
        (answer,) = shell.command("stop test")
        assert answer.startswith("test: stopped; ")
        assert shell.command("status")[2:4] == ["up=", "down=test"]
        shell.type("quit\r")
        shell.ends_with(0)
    running = [command_of(stat.pid) for stat in everybody()]
    assert not [command for command in running if str(daemon.place / "sleep-test") in command]
    assert _starts(daemon) < 20


def test_the_quick_tour_through_supervisorctl(daemon: Daemon, supervisorctl: Supervisorctl) -> None:
    daemon.start()
    with supervisorctl() as shell:
        shell.wait_for_prompt()

        commands = [line.split()[0] for line in shell.command("help")]
        tour = ["help", "reload", "shutdown", "start", "stop", "restart", "list", "open", "close"]
        assert {*tour, "status", "logtail", "quit"} <= set(commands)
        usage, summary, *rest = shell.command("help start")
        assert usage.startswith("start NAME")
        assert summary.strip() == "start programs, and wait until they are up"
        assert len(" ".join(rest)) > 100

        first = _number(r"test: started, pid (\d+)", shell.command("start test")[0])
        (answer,) = shell.command("restart test")
        second = _number(r"test: restarted, pid (\d+)(?: \(was \d+\))?", answer)
        assert second != first
        assert shell.command("list") == ["test"]

        text = daemon.config.read_text()
        daemon.save(daemon.config, text.replace("\n   backoff", f"{SECOND}   backoff"))
        added, outcome = shell.command("reload")
        assert added == "second: added, to be started"
        pid = _number(r"second: started, pid (\d+)", outcome)
        assert shell.command("list") == ["test", "second"]

        logged = "\n".join(shell.command("logtail"))
        assert f"second: STARTING -> RUNNING (pid {pid})" in logged

        shell.type("shutdown\r")
        shell.expect("[y/N]")
        shell.type("y\r")
        assert shell.wait_for_prompt()[-1] == "supervisord has shut down"
        assert not is_alive(pid)
        wait_until_gone(daemon.pid, daemon.holder)
        shell.type("\x04")
        shell.ends_with(0)
    assert not daemon.socket.exists()
    assert not daemon.pidfile.exists()


def test_the_password_section(daemon: Daemon, supervisorctl: Supervisorctl) -> None:
    daemon.start()
    with supervisorctl() as shell:
        shell.wait_for_prompt()

        # "First, uncomment the 'passwdfile' line."
        text = daemon.config.read_text()
        daemon.save(
            daemon.config, text.replace("# passwdfile", "passwdfile").replace("# peer", "peer")
        )
        _add_user(daemon)

        # "Now restart 'supervisord' by running 'supervisorctl' and typing 'reload' at the prompt."
        assert shell.command("reload") == [
            "supervisord: passwdfile changed",
            "supervisord: peer-login changed",
        ]
        assert "down=test" in shell.command("status")  # who is inside stays there

        # "Now, if you exit supervisorctl and run it again, you should be prompted."
        with supervisorctl() as another:
            another.look()
            _ask_for_status(another)
            _log_in(another, "user", "not the password")
            another.expect("wrong password, or somebody in between; password of user:")
            another.type(f"{PASSWORD}\r")
            assert "down=test" in another.wait_for_prompt()
            (answer,) = another.command("start test")
            _number(r"test: started, pid (\d+)", answer)
            assert PASSWORD not in another.look()
            another.type("quit\r")
            another.ends_with(0)
        assert "up=test" in shell.command("status")
        shell.type("quit\r")
        shell.ends_with(0)
    assert PASSWORD not in daemon.log_text()
    assert PASSWORD not in (daemon.place / "passwd").read_text()


def _add_user(daemon: Daemon) -> None:
    """At the 'SRP>' prompt, type 'add user', 'save' and 'quit'."""
    words = ("passwd", str(daemon.place / "passwd"))
    with terminal(daemon, "xterm", *words) as shell:
        for ask, answer in (
            ("SRP>", "add user"),
            ("[admin]:", ""),
            ("password of user:", PASSWORD),
            ("the same again:", PASSWORD),
            ("SRP>", "save"),
            ("SRP>", "quit"),
        ):
            shell.expect(ask)
            shell.enter(answer)
        assert PASSWORD not in "\n".join(shell.ends_with(0))


def _ask_for_status(shell: Terminal) -> None:
    """A terminal that can do nothing has a prompt at once, and the others the status before it."""
    if shell.kind == "dumb":
        shell.wait_for_prompt()
        shell.type("status\r")


def _log_in(shell: Terminal, user: str, password: str) -> None:
    shell.expect("]:")  # user [somebody]:
    shell.type(f"{user}\r")
    shell.expect(f"password of {user}:")
    shell.type(f"{password}\r")


def _number(pattern: str, line: str) -> int:
    found = re.fullmatch(pattern, line)
    assert found, line
    return int(found[1])


def _starts(daemon: Daemon) -> int:
    return (daemon.place / "test-output.log").read_text().count("starting to sleep...\n")
