"""Programs that depend on others: nobody starts too early, and whoever cannot start says why."""

from __future__ import annotations

import re

import pytest
from functional_daemon import Daemon
from functional_processes import is_alive, wait_until

# Runs only while there is a file of its name.
MOODY = """
    #! /bin/sh
    test -e {place}/$1 || {{ echo "no file $1"; exit 3; }}
    exec sleep 1000
    """


@pytest.fixture
def moody(daemon: Daemon) -> Daemon:
    """Return a daemon whose program db runs only if there is a file db; web depends on it."""
    path = daemon.script("moody", MOODY.format(place=daemon.place))
    daemon.write(f"""
        <program web>
          command sleep 1000
          processes 2
          depends-on db
        </program>
        <program db>
          command {path} db
          start-retries 0
        </program>
        """)
    return daemon


@pytest.fixture
def running(moody: Daemon) -> Daemon:
    moody.save(moody.place / "db", "")
    moody.start()
    _wait_for_web(moody)
    return moody


WEB = ["web:web_0", "web:web_1"]


def _wait_for_web(daemon: Daemon) -> None:
    for name in WEB:
        daemon.wait_for(name, "RUNNING")


def _changes(daemon: Daemon) -> list[str]:
    """Return who came to which state, in the order of the log."""
    return re.findall(r" info (\S+: \w+ -> \w+)", daemon.log_text())


def _in_order(daemon: Daemon, *changes: str) -> bool:
    found = _changes(daemon)
    assert set(changes) <= set(found), found
    places = [found.index(change) for change in changes]
    return places == sorted(places)


def test_at_boot_it_waits_until_what_it_needs_is_ready(running: Daemon) -> None:
    for name in WEB:
        assert _in_order(running, "db: STARTING -> RUNNING", f"{name}: WAITING -> STARTING")
    assert running.status().up == (*WEB, "db")


def test_start_brings_up_what_is_needed(running: Daemon) -> None:
    running.ask("stop", "all")
    assert running.status().up == ()
    answers = running.ask("start", "web").splitlines()
    assert [line.split(",")[0] for line in answers] == [
        *(f"{name}: started" for name in WEB),
        "db: started",
    ]
    assert running.status().up == (*WEB, "db")


def test_what_is_needed_and_up_is_left_alone(running: Daemon) -> None:
    before = running.pid_of("db")
    running.ask("restart", "web")
    running.ask("stop", "web")
    assert len(running.ask("start", "web").splitlines()) == 2
    assert running.pid_of("db") == before


def test_restart_of_both_ends_the_dependants_first(running: Daemon) -> None:
    before = running.status().programs
    size = len(_changes(running))
    answers = running.ask("restart", "db", "web").splitlines()
    assert [line.split(",")[0] for line in answers] == [
        f"{name}: restarted" for name in ("db", *WEB)
    ]
    after = running.status().programs
    assert all(after[name].pid not in (0, before[name].pid) for name in before)
    changes = _changes(running)[size:]
    db_ends = changes.index("db: RUNNING -> STOPPING")
    db_is_ready = changes.index("db: STARTING -> RUNNING")
    for name in WEB:
        ended = [place for place, change in enumerate(changes) if f"{name}: STOPPING ->" in change]
        begun = [place for place, change in enumerate(changes) if change.endswith(" -> STARTING")]
        begun = [place for place in begun if changes[place].startswith(f"{name}:")]
        assert ended[0] < db_ends < db_is_ready < begun[0], changes


def test_stop_all_stops_the_dependants_first(running: Daemon) -> None:
    answers = running.ask("stop", "all").splitlines()
    assert [line.split(":")[0] for line in answers] == ["web", "web", "db"]
    for name in WEB:
        assert _in_order(running, f"{name}: STOPPING -> STOPPED", "db: RUNNING -> STOPPING")


def test_shutdown_stops_the_dependants_first(running: Daemon) -> None:
    running.ask("shutdown")
    for name in WEB:
        assert _in_order(running, f"{name}: STOPPING -> STOPPED", "db: RUNNING -> STOPPING")


def test_while_it_cannot_start_start_answers_and_status_tells_why(moody: Daemon) -> None:
    moody.start()
    moody.wait_for("db", "FATAL")
    done = moody.ctl("start", "web")
    assert done.returncode == 1
    assert done.stdout == ""
    *waiting, db = done.stderr.splitlines()
    assert waiting == [f"{name}: waiting for db (FATAL)" for name in WEB]
    assert re.fullmatch(r"db: given up after 1 quick death; exited with code 3 after \d+\.\d s", db)
    for name in WEB:
        row = moody.status().programs[name]
        assert (row.state, row.pid, row.detail) == ("WAITING", 0, "waiting for db (FATAL)")


def test_it_starts_by_itself_once_what_it_needs_is_ready(moody: Daemon) -> None:
    moody.start()
    moody.wait_for("db", "FATAL")
    moody.save(moody.place / "db", "")
    assert moody.ask("start", "db").startswith("db: started, pid ")
    _wait_for_web(moody)


def test_what_waits_can_be_stopped_and_then_waits_no_longer(moody: Daemon) -> None:
    moody.start()
    moody.wait_for("db", "FATAL")
    assert moody.ask("stop", "web").splitlines() == [f"{name}: stopped" for name in WEB]
    moody.save(moody.place / "db", "")
    moody.ask("start", "db")
    assert moody.status().up == ("db",)
    assert {moody.status().programs[name].state for name in WEB} == {"STOPPED"}


def test_the_death_of_what_it_needs_does_not_end_it(running: Daemon) -> None:
    before = running.status().programs
    (running.place / "db").unlink()
    running.ask("signal", "KILL", "db")
    running.wait_for("db", "FATAL")
    assert all(is_alive(before[name].pid) for name in WEB)
    running.ask("signal", "KILL", "web:web_0")
    wait_until(
        lambda: running.status().programs["web:web_0"].detail == "waiting for db (FATAL)",
        running.log_text,
    )
    running.save(running.place / "db", "")
    running.ask("start", "db")
    running.wait_for("web:web_0", "RUNNING")
    assert running.pid_of("web:web_1") == before["web:web_1"].pid


def _migrating(daemon: Daemon, *keys: str) -> None:
    path = daemon.script(
        "migrate",
        f"""
        #! /bin/sh
        echo run >> {daemon.place}/runs
        while test ! -e {daemon.place}/go; do sleep 0.05; done
        exit $(cat {daemon.place}/go)
        """,
    )
    lines = "\n".join(keys)
    daemon.write(f"""
        <program app>
          command sleep 1000
          depends-on migration
        </program>
        <program migration>
          command {path}
          oneshot yes
          {lines}
        </program>
        """)
    daemon.start()
    wait_until((daemon.place / "runs").exists, daemon.log_text)


def _runs(daemon: Daemon) -> int:
    return (daemon.place / "runs").read_text().count("run")


def test_after_a_migration_has_ended_well_the_app_starts(daemon: Daemon) -> None:
    _migrating(daemon)
    assert daemon.status().programs["app"].detail.startswith("waiting for migration (")
    daemon.save(daemon.place / "go", "0")
    daemon.wait_for("app", "RUNNING")
    assert daemon.status().programs["migration"].state == "EXITED"
    daemon.ask("restart", "app")
    assert _runs(daemon) == 1
    done = daemon.ctl("start", "migration")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"migration: exited with code 0 after \d+\.\d s\n", done.stdout)
    assert _runs(daemon) == 2


def test_after_a_migration_that_failed_the_app_waits(daemon: Daemon) -> None:
    _migrating(daemon)
    daemon.save(daemon.place / "go", "4")
    daemon.wait_for("migration", "EXITED")
    assert daemon.status().programs["app"].detail == "waiting for migration (EXITED)"
    done = daemon.ctl("start", "app")
    assert done.returncode == 1
    app, migration = done.stderr.splitlines()
    assert app == "app: waiting for migration (EXITED)"
    assert migration.startswith("migration: exited with code 4 after ")
    assert _runs(daemon) == 2  # to start the app is to try it again
    daemon.save(daemon.place / "go", "0")
    daemon.ask("start", "app")
    assert daemon.status().up == ("app",)


def test_a_circle_is_shown_and_refused(daemon: Daemon) -> None:
    daemon.write("""
        <program one>
          command sleep 1000
          depends-on two
        </program>
        <program two>
          command sleep 1000
          depends-on three
        </program>
        <program three>
          command sleep 1000
          depends-on one
        </program>
        """)
    for options in (["--check"], []):
        done = daemon.supervisord(*options)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{daemon.config}:")
        for name in ("one", "two", "three"):
            assert name in line
