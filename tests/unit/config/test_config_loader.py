"""What a configuration means, key by key, and what cannot stand together."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGTERM

import pytest
from config_fixture_types import Complain, Load, Write

from supervisortw.config import places
from supervisortw.config.loader import load_client, load_daemon
from supervisortw.config.typed import parse_address
from supervisortw.core.model import (
    DISCARD,
    AutoRestart,
    ClientSettings,
    Program,
    Settings,
    StopStep,
    TcpAddress,
    UnixAddress,
)
from supervisortw.errors import ConfigError, Problem

STATE = "/home/me/.local/state/supervisortw"


def test_five_kinds_of_errors_are_reported_together(write: Write) -> None:
    included = write('<program three>\n  command sh -c "echo $HOME"\n</program>\n', "d/x.conf")
    path = write("""\
        <supervisord>
          loglvel info
          <program one>
            command /bin/true
            priority high
          </program>
          <program two>
            command /bin/true
          <program one>
            command /bin/false
          </program>
          %include d/*.conf
        </supervisord>
        """)
    with pytest.raises(ConfigError) as caught:
        load_daemon(path)
    assert list(caught.value.problems) == [
        Problem(path, 2, "unknown key 'loglvel' in <supervisord>; did you mean 'loglevel'?"),
        Problem(
            path,
            5,
            "bad value 'high' for 'priority' in <program one>: expected a whole number",
        ),
        Problem(path, 7, "<program two> is never closed"),
        Problem(path, 9, "a second program 'one'; the first is at line 3"),
        Problem(
            included,
            2,
            "in the value of 'command': '$HOME' is not defined; write '$$' for a plain '$',"
            " '$(HOME)' for an environment variable, or define it above by '%define HOME VALUE'",
        ),
    ]


def test_defaults(load: Load) -> None:
    found = load("<supervisord>\n<program web>\ncommand run\n</program>\n</supervisord>\n")
    assert found.settings == Settings(
        sockets=(UnixAddress(path=f"{STATE}/run/supervisord.sock"),),
        state_directory=STATE,
        logfile=f"{STATE}/supervisord.log",
        pidfile=f"{STATE}/run/supervisord.pid",
    )
    assert dict(found.programs) == {
        "web": Program(name="web", command=("run",), logfile=f"{STATE}/log/web.log")
    }
    assert found.files == (found.source,)
    assert found.warnings == ()


def test_default_places_can_be_those_of_another_user(write: Write) -> None:
    found = load_daemon(write("<supervisord>\n</supervisord>\n"), uid=0)
    assert found.settings.state_directory == "/var/lib/supervisortw"
    assert found.settings.logfile == "/var/lib/supervisortw/supervisord.log"
    assert found.settings.pidfile == f"{places.runtime_directory(uid=0)}/supervisord.pid"


def test_every_key(load: Load) -> None:
    found = load("""\
        <supervisord>
          socket-name s/main.sock
          socket-name LOCALHOST:9001
          socket-mode 0660
          socket-chown me.staff
          state-directory state
          logfile log
          loglevel warning
          pidfile ../pid
          nodaemon on
          directory /
          umask 027
          user daemon
          exit-codes 2
          backoff-limit 4
          forever true
          start-seconds 2
          start-retries 7
          stop-wait-seconds 20
          pass-environment A B
          pass-environment C_*
          <program web>
            command bin/run "a b"
            priority -1
            auto-start no
            auto-restart unexpected
            user www
            logfile none
            exit-codes
            backoff-limit 5
            forever false
            start-seconds 0.5
            start-retries 0
            stop-wait-seconds 0
            pass-environment B D
          </program>
          <program api>
            command api
            logfile /dev/stdout
          </program>
        </supervisord>
        """)
    root = os.path.dirname(found.source)
    assert found.settings == Settings(
        sockets=(
            UnixAddress(path=f"{root}/s/main.sock"),
            TcpAddress(host="localhost", port=9001),
        ),
        socket_mode=0o660,
        socket_chown=("me", "staff"),
        state_directory=f"{root}/state",
        logfile=f"{root}/log",
        loglevel="warn",
        pidfile=f"{os.path.dirname(root)}/pid",
        nodaemon=True,
        directory="/",
        umask=0o027,
        user="daemon",
    )
    assert list(found.programs.values()) == [
        Program(
            name="web",
            command=(f"{root}/bin/run", "a b"),
            priority=-1,
            auto_start=False,
            auto_restart=AutoRestart.UNEXPECTED,
            user="www",
            logfile=DISCARD,
            exit_codes=frozenset(),
            backoff_limit=5,
            forever=False,
            start_seconds=0.5,
            start_retries=0,
            stop_steps=(StopStep(signal=SIGTERM, wait=0.0),),
            pass_environment=("A", "B", "C_*", "D"),
        ),
        Program(
            name="api",
            command=("api",),
            logfile="/dev/stdout",
            exit_codes=frozenset({2}),
            backoff_limit=4,
            forever=True,
            start_seconds=2.0,
            start_retries=7,
            stop_steps=(StopStep(signal=SIGTERM, wait=20.0),),
            pass_environment=("A", "B", "C_*"),
        ),
    ]


@pytest.mark.parametrize(
    ("daemon", "program", "seconds"),
    [
        ("", "", 10.0),
        ("backoff-limit 3", "", 3.0),
        ("backoff-limit 3", "backoff-limit 5", 5.0),
        ("backoff-limit 3\nstop-wait-seconds 7", "backoff-limit 5", 7.0),
        ("stop-wait-seconds 7", "stop-wait-seconds 2.5\nbackoff-limit 5", 2.5),
    ],
)
def test_stop_wait_seconds(load: Load, daemon: str, program: str, seconds: float) -> None:
    found = load(
        f"<supervisord>\n{daemon}\n<program web>\ncommand x\n{program}\n</program>\n</supervisord>\n"
    )
    assert found.programs["web"].stop_steps == (StopStep(signal=SIGTERM, wait=seconds),)


@pytest.mark.parametrize("command", ["run x", "/usr/bin/run x", "'./a b' x", "bin/../run x"])
def test_first_word_of_a_command(load: Load, command: str) -> None:
    found = load(f"<supervisord>\n<program web>\ncommand {command}\n</program>\n</supervisord>\n")
    root = os.path.dirname(found.source)
    first = found.programs["web"].command[0]
    assert first in {"run", "/usr/bin/run", f"{root}/a b", f"{root}/run"}


def test_socket_chmod_is_another_name_for_socket_mode(load: Load, complain: Complain) -> None:
    found = load("<supervisord>\nsocket-chmod 0660\n</supervisord>\n")
    assert found.settings.socket_mode == 0o660
    assert complain("<supervisord>\nsocket-chmod 600\nsocket-mode 600\n</supervisord>\n") == [
        (3, "'socket-mode' and 'socket-chmod' are the same; one of them is enough (line 2)")
    ]


def test_sockets_are_given_once(complain: Complain) -> None:
    found = complain(
        "<supervisord>\nsocket-name /a/b\nsocket-name X:1\nsocket-name /a/../a/b\n"
        "socket-name x:1\nsocket-name /a/c\n</supervisord>\n"
    )
    assert found == [
        (4, "the socket /a/b is given twice (line 2)"),
        (5, "the socket x:1 is given twice (line 3)"),
    ]


def test_the_path_of_a_socket_is_bounded(load: Load, complain: Complain) -> None:
    fits = "/" + "x" * 102 + "\u00fcyz"
    assert len(os.fsencode(fits)) == 107
    found = load(f"<supervisord>\nsocket-name {fits}\n</supervisord>\n")
    assert found.settings.sockets == (UnixAddress(path=fits),)
    [(line, message)] = complain(f"<supervisord>\nsocket-name {fits}!\n</supervisord>\n")
    assert line == 2
    assert "at most 107 bytes" in message
    assert "has 108" in message


def test_the_default_socket_can_be_too_long(
    complain: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 100)
    [(line, message)] = complain("\n<supervisord>\n</supervisord>\n")
    assert line == 2
    assert "choose a shorter one with 'socket-name'" in message


@pytest.mark.parametrize(
    ("daemon", "one", "two", "expected"),
    [
        ("", "/x/a", "/x/../x/a", (9, "<program two> cannot be /x/a: that is the log of <progr")),
        ("logfile /x/a", "/x/a", "none", (5, "cannot be /x/a: that is the daemon's log (line 2)")),
        ("pidfile /x/a", "none", "/x/a", (9, "cannot be /x/a: that is the pid file (line 2)")),
        ("socket-name /a", "/a", "none", (5, "cannot be /a: that is a control socket (line 2)")),
        ("", f"{STATE}/log/two.log", None, (7, "the log of <program two> cannot be")),
        ("", "/dev/null", "/dev/null", None),
        ("", "/dev/stdout", "/dev/stdout", None),
        ("logfile /dev/stderr", "/dev/stderr", "none", None),
    ],
)
def test_files_that_two_would_write_to(
    write: Write, daemon: str, one: str, two: str | None, expected: tuple[int, str] | None
) -> None:
    lines = ["<supervisord>", daemon]
    for name, log in (("one", one), ("two", two)):
        lines += [f"<program {name}>", "command x", f"logfile {log}" if log else "", "</program>"]
    path = write("\n".join([*lines, "</supervisord>"]))
    if expected is None:
        load_daemon(path)
        return
    with pytest.raises(ConfigError) as caught:
        load_daemon(path)
    [problem] = caught.value.problems
    line, message = expected
    assert problem.line == line
    assert message in problem.message


def test_shared_logs_are_found_beside_other_problems(complain: Complain) -> None:
    found = complain(
        "<supervisord>\n<program a>\nlogfile x\n</program>\n"
        "<program b>\ncommand 'x\nlogfile x\n</program>\n</supervisord>\n"
    )
    assert [line for line, _ in found] == [2, 6, 7]


def test_a_prompt_is_warned_about(load: Load) -> None:
    found = load("<supervisord>\nprompt x\n</supervisord>\n")
    [prompt] = found.warnings
    assert "supervisord.conf:2: 'prompt' has no effect here" in prompt


# Passwords, and listening on TCP.


def test_all_about_tcp_can_be_said(load: Load) -> None:
    lines = [
        *("passwdfile passwd", "peer-login no", "tls no", "tls-certificate c.pem", "tls-key k.pem"),
        *("insecure-plaintext yes", "insecure-anonymous yes"),
        "insecure-remote anyone-can-run-commands-as-me",
    ]
    found = load("\n".join(["<supervisord>", *lines, "</supervisord>", ""]))
    own, here = found.settings, os.path.dirname(found.source)
    assert own.passwdfile == os.path.join(here, "passwd")
    assert own.tls_certificate == os.path.join(here, "c.pem")
    assert own.tls_key == os.path.join(here, "k.pem")
    assert (own.peer_login, own.tls) == (False, False)
    assert (own.insecure_plaintext, own.insecure_anonymous, own.insecure_remote) == (True,) * 3
    assert found.warnings == ()


def test_nothing_about_tcp_needs_to_be_said(load: Load) -> None:
    own = load("<supervisord>\n</supervisord>\n").settings
    assert (own.peer_login, own.tls) == (True, True)
    assert (own.insecure_plaintext, own.insecure_anonymous, own.insecure_remote) == (False,) * 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("peer-login no", "so it needs 'passwdfile'"),
        ("tls-key k.pem", "'tls-certificate' and 'tls-key' belong together"),
        ("tls-certificate c.pem", "'tls-certificate' and 'tls-key' belong together"),
        ("insecure-remote yes", "if it has to be, write anyone-can-run-commands-as-me"),
        ("insecure-remote Anyone-can-run-commands-as-me", "if it has to be, write"),
    ],
)
def test_half_a_saying_about_tcp_is_refused(complain: Complain, line: str, reason: str) -> None:
    [(number, text)] = complain(f"<supervisord>\n{line}\n</supervisord>\n")
    assert number == 2
    assert reason in text


def test_certificate_and_key_can_be_one_file(load: Load) -> None:
    found = load("<supervisord>\ntls-key a.pem\ntls-certificate a.pem\n</supervisord>\n")
    assert found.settings.tls_certificate == found.settings.tls_key


# The command line.


def test_the_command_line_wins(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = load(
        "<supervisord>\nsocket-name /a\nsocket-name /b\nsocket-chmod 0660\nlogfile log\n"
        "pidfile pid\nbackoff-limit 9\n<program web>\ncommand x\n</program>\n</supervisord>\n",
        {
            "socket-name": ["x/s", "9001"],
            "socket-mode": ["0600"],
            "logfile": ["$x"],
            "Backoff-Limit": ["5"],
        },
    )
    own = found.settings
    assert own.sockets == (UnixAddress(path=f"{elsewhere}/x/s"), TcpAddress(host="", port=9001))
    assert own.socket_mode == 0o600
    assert own.logfile == f"{elsewhere}/$x"
    assert own.pidfile == f"{tmp_path}/pid"
    assert found.programs["web"].backoff_limit == 5
    assert found.programs["web"].stop_steps[0].wait == 5.0


def test_problems_of_the_command_line(write: Write) -> None:
    path = write("<supervisord>\numask 9\n</supervisord>\n")
    with pytest.raises(ConfigError) as caught:
        load_daemon(
            path,
            {
                "umask": ["8"],
                "user": ["a", "b"],
                "lgfile": ["x"],
                "pidfile": ["/x"],
                "logfile": ["/x"],
            },
        )
    command_line = [
        problem.message for problem in caught.value.problems if problem.file == "command line"
    ]
    assert command_line == [
        "bad value '8' for 'umask' in <supervisord>: expected an octal number from 0 to 777, such as"
        " 022 or 0600",
        "'user' is given twice in <supervisord> (on the command line)",
        "unknown key 'lgfile' in <supervisord>; did you mean 'logfile'?",
        "the pid file cannot be /x: that is the daemon's log (on the command line)",
    ]
    assert [(p.file, p.line) for p in caught.value.problems[4:]] == [(path, 2)]


def test_a_working_directory_that_is_gone(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("<supervisord>\n</supervisord>\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load_daemon(path).source == path
    with pytest.raises(ConfigError, match="the working directory is gone"):
        load_daemon("x.conf")


# The client.


def test_client(write: Write) -> None:
    path = write("<supervisorctl>\n</supervisorctl>\n", "supervisorctl.conf")
    default = UnixAddress(path=os.path.join(places.runtime_directory(), places.SOCKET_NAME))
    assert load_client(path) == ClientSettings(sockets=(default,))
    path = write(
        "<supervisorctl>\nsocket-name ../s\nsocket-name web7:9001\nprompt >\nnoauth yes\nuser me\n"
        "</supervisorctl>\n",
        "etc/supervisorctl.conf",
    )
    root = os.path.dirname(os.path.dirname(path))
    assert load_client(path, {"prompt": ["x"]}) == ClientSettings(
        sockets=(UnixAddress(path=f"{root}/s"), TcpAddress(host="web7", port=9001)),
        prompt="x",
        noauth=True,
        user="me",
    )


def test_problems_of_the_client(write: Write) -> None:
    path = write("<supervisorctl>\nsocket-name x\nnoath yes\n</supervisorctl>\n")
    with pytest.raises(ConfigError) as caught:
        load_client(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_addresses_that_somebody_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_address("x/../s/t") == UnixAddress(path=f"{tmp_path}/s/t")
    assert parse_address("Web7:9001") == TcpAddress(host="web7", port=9001)
    with pytest.raises(ConfigError, match="command line: 'web7' is no socket: a port is needed"):
        parse_address("web7")
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        parse_address("/" + "x" * 107)


def test_a_user_without_a_home(complain: Complain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr("os.geteuid", lambda: 4_123_456)
    assert complain("<supervisord>\n</supervisord>\n") == [
        (1, "user 4123456 has no home directory, so the place of files has to be given")
    ]


def test_the_restart_policy_of_a_program(load: Load) -> None:
    found = load("""\
        <supervisord>
          restart-delay 0.5
          restart-limit 5
          <program web>
            command run
            restart-delay-max 10
            restart-jitter 0
            restart-period 600
          </program>
          <program job>
            command run
            forever yes
          </program>
        </supervisord>
        """)
    web, job = found.programs["web"], found.programs["job"]
    assert (web.restart_delay, web.restart_delay_max, web.restart_jitter) == (0.5, 10.0, 0.0)
    assert (web.restart_limit, web.restart_period) == (5, 600.0)
    assert job.restart_limit is None


def test_a_limit_of_restarts_contradicts_forever(complain: Complain) -> None:
    text = """\
        <supervisord>
          forever yes
          <program web>
            command run
            restart-limit 3
            restart-jitter 1.5
          </program>
        </supervisord>
        """
    assert complain(text) == [
        (5, "restart-limit contradicts forever in <program web>: give one of them"),
        (
            6,
            "bad value '1.5' for 'restart-jitter' in <program web>: "
            "expected a number from 0 to 1, such as 0.1",
        ),
    ]
