"""What a process is given beside its output: sockets, stdin, a place to say that it is ready, limits."""

from __future__ import annotations

import os
from signal import SIGTERM

import pytest
from fakes.asking import Asked
from fakes.daemon import FakeDaemon, program
from fakes.given import SOCKET

from supervisortw.core.model import Limit, OnDaemonDeath, Stdin, StopStep
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.core.status import Result
from supervisortw.errors import Refused
from supervisortw.interfaces import SpawnRequest

NOFILE = Limit(name="nofile", soft=10, hard=20)


def booted(**keys: object) -> FakeDaemon:
    daemon = FakeDaemon(program("web", **keys))
    daemon.sockets.open["http"] = SOCKET
    daemon.supervisor.boot()
    return daemon


def given(**keys: object) -> SpawnRequest:
    [request] = booted(**keys).spawner.requests
    return request


def test_limits_nice_directory_and_the_rest_are_passed_on() -> None:
    request = given(limits=(NOFILE,), nice=5, directory="/srv", no_new_privileges=True)
    assert (request.limits, request.nice, request.directory) == ((NOFILE,), 5, "/srv")
    assert request.no_new_privileges
    assert given(cgroup=True).cgroup == "/sys/fs/cgroup/web"


def test_a_death_signal_is_for_those_that_are_to_end_with_the_daemon() -> None:
    assert given(on_daemon_death=OnDaemonDeath.STOP).death_signal == SIGTERM
    assert given().death_signal is None


def test_a_stop_command_has_no_death_signal() -> None:
    steps = (StopStep(signal=None, wait=5.0),)
    daemon = booted(
        on_daemon_death=OnDaemonDeath.STOP, stop_steps=steps, stop_command=("bin/stop",)
    )
    daemon.pass_time(60)
    Asked(daemon.supervisor.stop(["web"]))
    assert [each.death_signal for each in daemon.spawner.requests] == [SIGTERM, None]


def test_sockets_come_with_their_names() -> None:
    assert given(sockets=("http",)).listening == (("http", SOCKET),)
    assert given(stdin_socket="http").stdin not in {None, SOCKET}, "one that the process can have"
    assert given().stdin is None


def test_a_socket_that_is_not_there_is_tried_again() -> None:
    daemon = booted(sockets=("other",))
    assert daemon.stand("web").state is State.BACKOFF
    assert daemon.stand("web").detail.startswith("socket other: in use; next try in")
    daemon.sockets.open["other"] = SOCKET
    daemon.pass_time(2)
    assert daemon.stand("web").state is State.RUNNING


def test_stdin_can_be_written_to() -> None:
    daemon = booted(stdin=Stdin.PIPE)
    [written] = Asked(daemon.supervisor.write_stdin(b"hello\n", ["web"])).answer
    assert (written.result, written.text) == (Result.WRITTEN, "6 bytes written")
    assert daemon.stdin.written == {"web": b"hello\n"}


def test_stdin_that_is_no_pipe_cannot() -> None:
    [written] = Asked(booted().supervisor.write_stdin(b"x", ["web"])).answer
    assert (written.result, written.text) == (Result.FAILED, "its standard input is no pipe")


def test_nothing_is_written_to_what_is_down() -> None:
    daemon = FakeDaemon(program("web", stdin=Stdin.PIPE))
    [written] = Asked(daemon.supervisor.write_stdin(b"x", ["web"])).answer
    assert (written.result, written.text) == (Result.FAILED, "not up, nothing written")


def test_where_to_say_that_it_is_ready() -> None:
    daemon = booted(notify=True, watchdog_seconds=2.5)
    [request] = daemon.spawner.requests
    assert request.environment["NOTIFY_SOCKET"] == "/run/notify/web"
    assert request.environment["WATCHDOG_USEC"] == "2500000"
    daemon.notices.heard["web"](Notice(ready=True, status="serving\x1b[2J"), 1)
    assert daemon.stand("web").state is State.RUNNING
    assert daemon.stand("web").detail == "serving\\x1b[2J"


def test_a_trigger_is_the_end_of_a_watched_program() -> None:
    daemon = booted(notify=True, watchdog_seconds=60.0)
    daemon.notices.heard["web"](Notice(ready=True), 1)
    daemon.notices.heard["web"](Notice(trigger=True), 1)
    assert daemon.stand("web").state is State.STOPPING
    assert daemon.stand("web").detail == "silent for 1:00 (watchdog); ending it"


def test_what_is_said_of_a_program_that_is_gone_means_nothing() -> None:
    daemon = booted(notify=True)
    heard = daemon.notices.heard["web"]
    Asked(daemon.supervisor._renewal.remove_all(["web"]))
    daemon.pass_time(60)
    heard(Notice(ready=True), 1)
    assert "web" not in daemon.supervisor.roster
    assert daemon.notices.heard == {}


def test_what_the_last_process_said_is_not_told_of_the_next() -> None:
    daemon = booted(notify=True)
    daemon.notices.heard["web"](Notice(ready=True, status="old news"), 1)
    daemon.pass_time(60)
    daemon.spawner.exit(daemon.pid("web"))
    daemon.pass_time(1)
    assert daemon.stand("web").detail == ""


def test_a_log_of_its_own_for_errors() -> None:
    daemon = booted(stderr_logfile="/var/log/web.err")
    [request] = daemon.spawner.requests
    assert request.stdout != request.stderr
    assert daemon.supervisor.outputs.find("web/stderr") is daemon.outputs["web"][1]
    [cleared] = Asked(daemon.supervisor.clear(["web"])).answer
    assert cleared.result is Result.CLEARED


def test_logs_have_the_names_that_their_pipes_are_kept_by() -> None:
    daemon = booted(stderr_logfile="/var/log/web.err")
    assert [each.name for each in daemon.outputs["web"]] == [
        "web in /var/log/web.log",
        "web/stderr in /var/log/web.err",
    ]


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        pytest.param(None, os.geteuid(), id="ours"),
        pytest.param("65534", 65534, id="another", marks=pytest.mark.needs_root),
    ],
)
def test_the_user_of_the_program_owns_the_pipes(user: str | None, owner: int) -> None:
    daemon = booted(user=user, stderr_logfile="/var/log/web.err")
    assert [each.owners for each in daemon.outputs["web"]] == [[owner], [owner]]


def test_what_a_process_has_written_is_taken_in_from_all_of_its_logs() -> None:
    daemon = booted(stderr_logfile="/var/log/web.err")
    record = daemon.supervisor.roster["web"].program
    daemon.supervisor.outputs.drain(record)
    assert [each.drained for each in daemon.outputs["web"]] == [1, 1]
    daemon.supervisor.outputs.remove(record)
    daemon.supervisor.outputs.drain(record)
    assert [each.drained for each in daemon.outputs["web"]] == [1, 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("web/stderr", "web: has no log of its own for stderr"),
        ("wbe", "wbe: no such program; did you mean web?"),
        ("wbe/stderr", "wbe: no such program; did you mean web?"),
    ],
)
def test_logs_that_are_not_there(name: str, reason: str) -> None:
    with pytest.raises(Refused, match="^" + reason.replace("?", r"\?")):
        booted().supervisor.outputs.find(name)


def test_it_is_said_for_what_descriptors_are_needed() -> None:
    daemon = FakeDaemon(program("web", processes=3, logfile="none"))
    daemon.supervisor.boot()
    Asked(daemon.supervisor.scale("web", 5))
    assert daemon.room.made == [3, 5]


def test_what_was_opened_for_a_start_that_comes_to_nothing_is_closed() -> None:
    daemon = booted(stdin=Stdin.PIPE)
    daemon.output("web").not_writable = "No space left on device"
    daemon.spawner.exit(daemon.pid("web"))
    before = os.listdir("/dev/fd")
    daemon.pass_time(10)
    assert "log not writable" in daemon.stand("web").detail
    assert os.listdir("/dev/fd") == before
