"""reload: all or nothing, and only what changed is touched."""

from __future__ import annotations

import pytest
from functional_daemon import Daemon, Status
from functional_processes import command_of, is_alive, wait_until

pytestmark = pytest.mark.needs_linux

BROKEN = """\
<supervisord>
  <program alpha>
    command sleep 1
    auto-strat no
  <program beta>
    priority x
  </program>
</supervisord>
"""


def _program(name: str, *keys: str, command: str = "sleep 1000") -> str:
    return "\n".join([f"<program {name}>", f"command {command}", *keys, "</program>\n"])


ALPHA, BETA, GAMMA = _program("alpha"), _program("beta"), _program("gamma")


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    daemon.write(ALPHA + BETA)
    daemon.start()
    daemon.wait_for("beta", "RUNNING")
    return daemon


def _pids(status: Status) -> dict[str, int]:
    return {name: row.pid for name, row in status.programs.items()}


def test_a_broken_file_is_refused_with_its_errors_and_nothing_is_touched(running: Daemon) -> None:
    before = running.status()
    running.save(running.config, BROKEN)
    done = running.ctl("reload")
    assert done.returncode == 4
    first, *errors = done.stderr.splitlines()
    assert first == "the configuration was left as it is:"
    assert [error.split(": ")[0] for error in errors] == [
        f"{running.config}:{line}" for line in (2, 4, 5, 6)
    ]
    after = running.status()
    assert _pids(after) == _pids(before)
    assert after.pid == before.pid
    assert "STOPPING" not in running.log_text()
    running.write(ALPHA + BETA)
    assert running.ask("reload") == f"nothing has changed in {running.config}\n"


def test_a_file_that_is_gone_is_refused_too(running: Daemon) -> None:
    before = _pids(running.status())
    running.config.rename(running.place / "elsewhere")
    done = running.ctl("reload")
    assert done.returncode == 4
    assert str(running.config) in done.stderr
    assert _pids(running.status()) == before


def test_an_unchanged_file_changes_nothing(running: Daemon) -> None:
    before = _pids(running.status())
    text = running.config.read_text()
    running.save(running.config, f"# a comment\n{text}\n\n# another one\n")
    for verb in ("reload", "reread"):
        assert running.ask(verb) == f"nothing has changed in {running.config}\n"
    assert _pids(running.status()) == before


def test_only_what_changed_is_restarted(running: Daemon) -> None:
    before = _pids(running.status())
    running.write(ALPHA + _program("beta", command="sleep 2000"))
    plan, outcome = running.ask("reload").splitlines()
    assert plan == "beta: to be restarted (command changed)"
    after = _pids(running.status())
    assert outcome == f"beta: restarted, pid {after['beta']} (was {before['beta']})"
    assert after["alpha"] == before["alpha"]
    assert after["beta"] not in (0, before["beta"])
    assert not is_alive(before["beta"])


def test_what_is_removed_is_stopped_and_what_is_added_is_started(running: Daemon) -> None:
    before = _pids(running.status())
    running.write(ALPHA + GAMMA + _program("idle", "auto-start false"))
    lines = running.ask("reload").splitlines()
    after = running.status()
    assert lines[:3] == [
        "beta: removed, to be stopped",
        "gamma: added, to be started",
        "idle: added, not started",
    ]
    assert lines[3].startswith("beta: stopped; ended by SIGTERM after ")
    assert lines[4:] == [f"gamma: started, pid {after.programs['gamma'].pid}"]
    assert after.up == ("alpha", "gamma")
    assert after.down == ("idle",)
    assert after.programs["alpha"].pid == before["alpha"]
    assert not is_alive(before["beta"])


def test_what_was_stopped_by_hand_stays_stopped_even_if_it_changed(running: Daemon) -> None:
    running.ask("stop", "alpha")
    running.write(_program("alpha", "priority 3", command="sleep 2000") + BETA)
    assert running.ask("reload") == "alpha: updated in place (command, priority changed)\n"
    assert running.status().programs["alpha"].state == "STOPPED"
    pid = int(running.ask("start", "alpha").split()[-1])
    assert command_of(pid).split() == [f"{pid}:", "sleep", "2000"]


def test_what_was_given_up_is_not_tried_again_by_a_reload(daemon: Daemon) -> None:
    daemon.write(ALPHA + _program("hopeless", command="/no/such/command"))
    daemon.start()
    daemon.wait_for("hopeless", "FATAL")
    daemon.write(ALPHA + _program("hopeless", command="sleep 1000"))
    assert daemon.ask("reload") == "hopeless: updated in place (command changed)\n"
    assert daemon.ask("start", "hopeless").startswith("hopeless: started, pid ")


NOT_SEEN = {
    "priority": 3,
    "exit-codes": 5,
    "start-retries": 9,
    "auto-restart": "false",
    "start-seconds": 7,
    "auto-start": "false",
}


def test_what_the_process_cannot_see_does_not_restart_it(running: Daemon) -> None:
    before = _pids(running.status())
    for key, value in NOT_SEEN.items():
        running.write(ALPHA + _program("beta", f"{key} {value}"))
        answer = running.ask("reload")
        assert answer.startswith("beta: updated in place (")
        assert key in answer
    assert _pids(running.status()) == before


def test_a_changed_time_holds_for_the_process_that_runs(running: Daemon) -> None:
    running.write(
        ALPHA + _program("beta", command="/bin/sh -c 'trap \"\" TERM; echo up; sleep 1000'")
    )
    running.ask("reload")
    running.wait_for_output("beta", "up")
    text = running.config.read_text()
    running.save(running.config, text.replace("stop-wait-seconds 10", "stop-wait-seconds 0.1"))
    assert "stop-wait-seconds changed" in running.ask("reload")
    assert "ended by SIGKILL" in running.ask(
        "stop",
        "beta",
    )


def test_reread_shows_the_same_plan_and_does_nothing(running: Daemon) -> None:
    before = running.status()
    running.write(ALPHA + GAMMA, "loglevel debug")
    plan = running.ask("reread")
    assert plan.splitlines() == [
        "beta: removed, to be stopped",
        "gamma: added, to be started",
        "supervisord: loglevel changed",
    ]
    assert _pids(running.status()) == _pids(before)
    assert running.ask("reread") == plan
    assert running.ask("reload").startswith(plan)


def test_the_log_level_is_applied_at_once(running: Daemon) -> None:
    running.write(ALPHA + BETA, "loglevel error")
    assert running.ask("reload") == "supervisord: loglevel changed\n"
    size = len(running.log_text())
    running.ask("restart", "alpha")
    assert len(running.log_text()) == size
    running.write(ALPHA + BETA)
    running.ask("reload")
    running.ask("restart", "alpha")
    assert "alpha: RUNNING -> STOPPING" in running.log_text()[size:]


def test_the_log_file_is_changed_at_once(running: Daemon) -> None:
    new = running.place / "new.log"
    running.write(ALPHA + BETA, f"logfile {new}")
    assert running.ask("reload") == "supervisord: logfile changed\n"
    old_text = running.log_text()
    running.ask("restart", "alpha")
    assert running.log_text() == old_text
    assert "alpha: RUNNING -> STOPPING" in new.read_text()
    assert running.ask("logtail") in new.read_text()


def test_a_log_file_that_cannot_be_opened_is_told_and_the_old_one_goes_on(running: Daemon) -> None:
    new = running.directory("new.log")
    running.write(ALPHA + BETA + GAMMA, f"logfile {new}")
    done = running.ctl("reload")
    assert f"warning: cannot write {new}: is a directory\n" in done.stdout
    assert done.stderr == ""
    assert running.status().up == ("alpha", "beta", "gamma")
    assert "STOPPED -> STARTING" in running.log_text()


def test_the_sockets_are_changed_at_once_and_the_session_stays(running: Daemon) -> None:
    new = running.place / "new.sock"
    running.write(ALPHA + BETA, f"socket-name {new}\nsocket-mode 0640")
    done = running.ctl(input="reload\nlist\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "supervisord: socket-mode changed\nsupervisord: socket-name changed\nalpha\nbeta\n"
    )
    assert new.stat().st_mode & 0o777 == 0o640
    assert not running.socket.exists()
    running.socket = new
    status = running.status()
    assert status.sockets == f"'{new}'"
    assert status.up == ("alpha", "beta")
    new.unlink()
    wait_until(new.exists, "the new socket is watched, too", seconds=1)


def test_what_needs_a_new_daemon_is_named(running: Daemon) -> None:
    running.write(ALPHA + BETA, f"pidfile {running.place}/new.pid\numask 077")
    later = "changed; it takes effect when supervisord is started anew"
    assert running.ask("reload").splitlines() == [
        "supervisord: umask changed",
        f"supervisord: pidfile {later}",
    ]
    assert running.pidfile.exists()


def test_a_changed_log_of_a_program_gets_its_next_process(running: Daemon) -> None:
    log = running.place / "new.log"
    running.write(ALPHA + _program("beta", f"logfile {log}", command="sh -c 'echo hi; sleep 99'"))
    running.ask("reload")
    wait_until(lambda: log.exists() and log.read_text() == "hi\n", running.log_text)
    assert running.ask("tail", "beta") == "hi\n"


def test_included_files_are_read_again(daemon: Daemon) -> None:
    parts = daemon.directory("conf.d")
    daemon.save(parts / "alpha.conf", ALPHA)
    daemon.write("%include conf.d/*.conf")
    daemon.start()
    daemon.save(parts / "gamma.conf", GAMMA)
    assert daemon.ask("reload").startswith("gamma: added, to be started\n")
    (parts / "alpha.conf").unlink()
    assert daemon.ask("reload").startswith("alpha: removed, to be stopped\n")
    assert daemon.status().up == ("gamma",)


def test_warnings_come_with_the_answer(running: Daemon) -> None:
    running.write(ALPHA + BETA + "%include conf.d/*.conf")
    nothing, warning = running.ask("reload").splitlines()
    assert nothing == f"nothing has changed in {running.config}"
    assert warning.startswith("warning: ")
    assert "no file matches" in warning
