"""What outlives the daemon, its holder, and both of them: each promise by itself."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from functional_daemon import Daemon, Row
from functional_processes import (
    PATIENCE,
    descendants_of,
    environment_of,
    is_alive,
    stat_of,
    wait_until,
    wait_until_gone,
)
from functional_survivor import Survivor

pytestmark = pytest.mark.needs_linux

MakeDaemon = Callable[..., Survivor]

SLEEPER = "<program {0}>\n  command sleep 1000\n  {1}\n</program>\n"
# Exits with code 7 as soon as its file is there.
LEAVER = """
<program leaver>
  command /bin/sh -c 'until [ -e {place}/leave ]; do sleep 0.05; done; exit 7'
  auto-restart no
</program>
"""
CROWD = 500
CROWD_SECONDS = 10.0  # ten times what is promised, for a machine that is busy with something else
CUTS = 8


def _sleepers(*names: str, keys: str = "") -> str:
    return "".join(SLEEPER.format(name, keys) for name in names)


@pytest.fixture
def survivor(make_daemon: MakeDaemon) -> Survivor:
    return make_daemon(kind=Survivor)


def _kill_daemon(survivor: Survivor) -> None:
    survivor.kill_daemon()
    survivor.wait_until_adopted()


def _kill_both(survivor: Survivor) -> None:
    survivor.kill_both()
    survivor.again()


@pytest.fixture(params=[_kill_daemon, _kill_both], ids=["the daemon", "both"])
def kill(request: pytest.FixtureRequest) -> Callable[[Survivor], None]:
    """Return what kills the daemon, or holder and daemon, and waits until there is one again."""
    act: Callable[[Survivor], None] = request.param
    return act


@contextlib.contextmanager
def _nobody_there(survivor: Survivor) -> Iterator[None]:
    """Kill the daemon, and keep the holder from starting another one meanwhile."""
    os.kill(survivor.holder, signal.SIGSTOP)
    try:
        survivor.kill_daemon()
        yield
    finally:
        os.kill(survivor.holder, signal.SIGCONT)
    survivor.wait_until_adopted()


def _rows(survivor: Survivor) -> dict[str, Row]:
    return survivor.status().programs


def _wait_for_row(survivor: Survivor, name: str, state: str) -> Row:
    def look() -> Row | None:
        row = _rows(survivor)[name]
        return row if row.state == state else None

    return wait_until(look, lambda: f"{name} {state}: {_rows(survivor)[name]}")


def _wait_until_up(survivor: Survivor, *names: str) -> dict[str, Row]:
    for name in names:
        _wait_for_row(survivor, name, "RUNNING")
    return _rows(survivor)


class TestPrograms:
    def test_their_pids_uptimes_counters_and_stops_go_on(
        self, survivor: Survivor, kill: Callable[[Survivor], None]
    ) -> None:
        names = ["quiet", "restarted", "stopped"]
        survivor.write(_sleepers(*names, keys="restart-delay 0.1"))
        survivor.start()
        before = _wait_until_up(survivor, *names)
        os.kill(before["restarted"].pid, signal.SIGKILL)
        wait_until(
            lambda: "1 restart" in _rows(survivor)["restarted"].detail,
            lambda: str(_rows(survivor)),
        )
        survivor.ask("stop", "stopped")
        wait_until(lambda: _rows(survivor)["quiet"].seconds > 3, "some time")
        before = _wait_until_up(survivor, "quiet", "restarted")
        daemon = survivor.pid
        kill(survivor)
        after = _rows(survivor)
        for name in ("quiet", "restarted"):
            assert (after[name].state, after[name].pid) == ("RUNNING", before[name].pid)
            assert after[name].seconds >= before[name].seconds
        assert after["restarted"].detail == "1 restart"
        assert after["stopped"].state == "STOPPED"
        assert survivor.status().pid == int(survivor.pidfile.read_text()) != daemon

    def test_they_are_steered_as_before(
        self, survivor: Survivor, kill: Callable[[Survivor], None]
    ) -> None:
        names = ["killed", "stopped", "restarted"]
        survivor.write(_sleepers(*names, keys="restart-delay 0.1"))
        survivor.start()
        before = _wait_until_up(survivor, *names)
        kill(survivor)
        os.kill(before["killed"].pid, signal.SIGKILL)
        survivor.ask("stop", "stopped")
        assert not is_alive(before["stopped"].pid)
        survivor.ask("restart", "restarted")
        assert not is_alive(before["restarted"].pid)
        after = _wait_until_up(survivor, "killed", "restarted")
        assert after["killed"].pid != before["killed"].pid
        assert after["killed"].detail == "1 restart"
        assert after["stopped"].state == "STOPPED"
        assert after["stopped"].detail.startswith(
            ("stopped; ended by SIGTERM", "stopped; ended for")
        )

    def test_one_that_prints_goes_on(self, survivor: Survivor) -> None:
        survivor.write(
            "<program printer>\n"
            "  command /bin/sh -c 'while echo line; do sleep 0.02; done'\n"
            "</program>"
        )
        survivor.start()
        before = _wait_until_up(survivor, "printer")
        with _nobody_there(survivor):
            time.sleep(0.3)  # it prints meanwhile
        size = len(survivor.output("printer"))
        wait_until(lambda: len(survivor.output("printer")) > size, "more lines")
        assert _rows(survivor)["printer"].pid == before["printer"].pid

    def test_one_that_is_scaled_stays_so(
        self, survivor: Survivor, kill: Callable[[Survivor], None]
    ) -> None:
        survivor.write(_sleepers("pool", keys="processes 2"))
        survivor.start()
        survivor.ask("scale", "pool", "4")
        names = [f"pool:pool_{number}" for number in range(4)]
        before = _wait_until_up(survivor, *names)
        kill(survivor)
        after = _rows(survivor)
        assert {name: row.pid for name, row in after.items()} == {
            name: row.pid for name, row in before.items()
        }

    def test_one_that_dies_meanwhile_comes_back(
        self, survivor: Survivor, kill: Callable[[Survivor], None]
    ) -> None:
        survivor.write(_sleepers("sleeper", keys="restart-delay 0.1"))
        survivor.start()
        before = _wait_until_up(survivor, "sleeper")
        if kill is _kill_daemon:
            with _nobody_there(survivor):
                os.kill(before["sleeper"].pid, signal.SIGKILL)
        else:
            survivor.kill_both()
            os.kill(before["sleeper"].pid, signal.SIGKILL)
            survivor.again()
        wait_until(
            lambda: _rows(survivor)["sleeper"].pid not in {0, before["sleeper"].pid},
            survivor.log_text,
        )
        assert _wait_until_up(survivor, "sleeper")["sleeper"].detail == "1 restart"

    def test_one_that_is_being_stopped_is_stopped(self, survivor: Survivor) -> None:
        deaf = survivor.python(
            "deaf.py",
            """
            import signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", flush=True)
            time.sleep(1000)
            """,
        )
        survivor.write(f"<program deaf>\n  command {deaf}\n  stop-wait-seconds 4\n</program>")
        survivor.start()
        survivor.wait_for_output("deaf", "deaf")
        pid = _wait_until_up(survivor, "deaf")["deaf"].pid
        survivor.begin(survivor.ctl_command("stop", "deaf"))
        survivor.wait_for("deaf", "STOPPING")
        _kill_daemon(survivor)
        row = _wait_for_row(survivor, "deaf", "STOPPED")
        assert not is_alive(pid)
        assert "SIGKILL" in row.detail


class TestExitCodes:
    @pytest.fixture
    def leaver(self, survivor: Survivor) -> int:
        survivor.write(LEAVER.format(place=survivor.place))
        survivor.start()
        return _wait_until_up(survivor, "leaver")["leaver"].pid

    def test_the_holder_has_learnt_it_when_no_daemon_was_there(
        self, survivor: Survivor, leaver: int
    ) -> None:
        with _nobody_there(survivor):
            (survivor.place / "leave").touch()
            wait_until_gone(leaver)
        assert "exited with code 7 after" in _wait_for_row(survivor, "leaver", "EXITED").detail

    def test_it_is_learnt_of_one_that_was_adopted(self, survivor: Survivor, leaver: int) -> None:
        _kill_daemon(survivor)
        (survivor.place / "leave").touch()
        assert "exited with code 7 after" in _wait_for_row(survivor, "leaver", "EXITED").detail

    def test_it_is_not_guessed_when_nobody_was_there(self, survivor: Survivor, leaver: int) -> None:
        survivor.kill_both()
        (survivor.place / "leave").touch()
        wait_until_gone(leaver)
        survivor.again()
        detail = _wait_for_row(survivor, "leaver", "EXITED").detail
        assert "exited with code 7" in detail or "for an unknown reason" in detail

    def test_it_is_remembered(
        self, survivor: Survivor, leaver: int, kill: Callable[[Survivor], None]
    ) -> None:
        (survivor.place / "leave").touch()
        assert "exited with code 7 after" in _wait_for_row(survivor, "leaver", "EXITED").detail
        kill(survivor)
        row = _rows(survivor)["leaver"]
        assert row.state == "EXITED"
        assert "exited with code 7 after" in row.detail


class TestWhatProgramsAreGiven:
    def test_a_listening_socket_never_refuses(self, survivor: Survivor) -> None:
        path = survivor.place / "app.sock"
        _start_server(survivor, path)
        before = _wait_until_up(survivor, "server")["server"].pid
        assert _answer(path) == str(before)
        with _nobody_there(survivor):
            assert _answer(path) == str(before)
            os.kill(before, signal.SIGKILL)
            wait_until_gone(before)
            waiting = _connection(path)
        with waiting:
            answer = waiting.recv(100).decode()
        after = _wait_until_up(survivor, "server")["server"].pid
        assert answer == str(after) != str(before)
        assert _answer(path) == str(after)

    @pytest.mark.parametrize("cut_short", [False, True])
    def test_a_socket_that_only_a_program_has_is_taken_back(
        self, survivor: Survivor, cut_short: bool
    ) -> None:
        path = survivor.place / "app.sock"
        _start_server(survivor, path)
        before = _wait_until_up(survivor, "server")["server"].pid
        survivor.kill_both()
        if cut_short:  # as if they had died before the start was over
            _forget_that_it_was_made(survivor.state / "journal", "server")
        survivor.again()
        assert _wait_until_up(survivor, "server")["server"].pid == before
        survivor.ask("stop", "server")
        with _connection(path) as waiting:
            survivor.ask("start", "server")
            answer = waiting.recv(100).decode()
        assert answer == str(_rows(survivor)["server"].pid) != str(before)

    def test_a_standard_input_stays_open(self, survivor: Survivor) -> None:
        survivor.write("<program cat>\n  command cat\n  stdin pipe\n</program>")
        survivor.start()
        before = _wait_until_up(survivor, "cat")["cat"].pid
        survivor.ask("write", "cat", "first")
        survivor.wait_for_output("cat", "first\n")
        _kill_daemon(survivor)
        survivor.ask("write", "cat", "second")
        survivor.wait_for_output("cat", "second\n")
        assert _rows(survivor)["cat"].pid == before

    def test_it_is_heard_what_a_program_says_meanwhile(self, survivor: Survivor) -> None:
        talker = survivor.python(
            "talker.py",
            """
            import os, signal, socket, sys, time
            while not os.path.exists(sys.argv[1]):
                time.sleep(0.05)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                for text in (b"STATUS=well", b"READY=1"):
                    channel.sendto(text, os.environ["NOTIFY_SOCKET"])
            open(sys.argv[1] + ".told", "w").close()
            signal.pause()
            """,
        )
        told = survivor.place / "ready.told"
        survivor.write(
            f"<program talker>\n  command {talker} {survivor.place}/ready\n  notify yes\n</program>"
        )
        survivor.start()
        before = survivor.wait_for("talker", "STARTING").pid
        with _nobody_there(survivor):
            (survivor.place / "ready").touch()
            wait_until(told.exists, lambda: survivor.output("talker"))
        row = _wait_until_up(survivor, "talker")["talker"]
        assert (row.pid, row.detail) == (before, "well")

    def test_the_watchdog_goes_on(self, survivor: Survivor) -> None:
        pinger = survivor.python(
            "pinger.py",
            """
            import os, signal, socket, sys, time
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                text = b"READY=1"
                while not os.path.exists(sys.argv[1]):
                    channel.sendto(text, os.environ["NOTIFY_SOCKET"])
                    text = b"WATCHDOG=1"
                    time.sleep(0.2)
            signal.pause()
            """,
        )
        keys = "notify yes\n  watchdog-seconds 5\n  restart-delay 0.1"
        command = f"command {pinger} {survivor.place}"
        survivor.write(
            f"<program well>\n  {command}/nothing\n  {keys}\n</program>\n"
            f"<program hung>\n  {command}/hung\n  {keys}\n</program>\n"
        )
        survivor.start()
        before = _wait_until_up(survivor, "well", "hung")
        with _nobody_there(survivor):
            (survivor.place / "hung").touch()
        wait_until_gone(before["hung"].pid, seconds=2 * PATIENCE)
        assert _rows(survivor)["well"].pid == before["well"].pid
        wait_until(lambda: "(watchdog)" in survivor.log_text(), survivor.log_text)


def _start_server(survivor: Survivor, path: Path) -> None:
    """Start a daemon with a program that tells its pid to whoever connects to ``path``."""
    server = survivor.python(
        "server.py",
        """
        import os, socket
        listening = socket.socket(fileno=3)
        while True:
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(b"%d" % os.getpid())
        """,
    )
    survivor.write(
        f"<socket app>\n  address {path}\n</socket>\n"
        f"<program server>\n  command {server}\n  sockets app\n  restart-delay 0.1\n</program>"
    )
    survivor.start()


def _forget_that_it_was_made(journal: Path, name: str) -> None:
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    [*_, last] = [line for line in lines if line.get("process") == name]
    last.update(state="STARTING", pid=0)
    for key in ("born", "spawned", "before"):
        del last[key]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _connection(path: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(2 * PATIENCE)
    caller.connect(str(path))
    return caller


def _answer(path: Path) -> str:
    with _connection(path) as caller:
        return caller.recv(100).decode()


def test_a_start_that_was_cut_makes_no_second_process(survivor: Survivor) -> None:
    names = [f"plain{number}" for number in range(5)] + [f"nice{number}" for number in range(5)]
    survivor.write(
        _sleepers(*names[:5]) + _sleepers(*names[5:], keys="nice 1") + "forever yes\n",
    )
    survivor.start()
    chance = random.Random(CUTS)  # noqa: S311  # the same moments every time
    for number in range(CUTS):
        _wait_until_up(survivor, *names)
        if number % 3 == 2:
            survivor.kill_both()
            survivor.again()  # so that the holder does not wait before it starts the next one
            _wait_until_up(survivor, *names)
        shell = survivor.open_shell()
        shell.attempt(["status"])
        shell.begin(["restart", "all"])
        time.sleep(chance.uniform(0, 0.05))
        _kill_daemon(survivor)
        status = _wait_until_up(survivor, *names)
        assert _living_by_name(survivor) == Counter(names)
        assert {row.pid for row in status.values()} <= descendants_of(survivor.init.pid)


def _living_by_name(survivor: Survivor) -> Counter[str]:
    """Count the living processes of each program by the mark that they carry."""
    found: Counter[str] = Counter()
    for pid in descendants_of(survivor.init.pid):
        with contextlib.suppress(OSError):
            mark = environment_of(pid).get("SUPERVISOR_SPAWN_ID", "")
            if mark:
                found[mark.split(":", 1)[1].rpartition(":")[0]] += 1
    return found


class TestDeathOfTheHolder:
    def test_status_and_log_say_so_and_all_goes_on(self, survivor: Survivor) -> None:
        survivor.write(_sleepers("one", "two", keys="restart-delay 0.1"))
        survivor.start()
        before = _wait_until_up(survivor, "one", "two")
        assert survivor.status().notes == ()
        survivor.kill_holder()
        wait_until(lambda: any("holder" in note for note in survivor.status().notes), "a note")
        assert "holder" in survivor.log_text()
        assert survivor.status().pid == survivor.pid
        os.kill(before["one"].pid, signal.SIGKILL)
        wait_until(lambda: _rows(survivor)["one"].detail == "1 restart", survivor.log_text)
        assert _rows(survivor)["two"].pid == before["two"].pid
        survivor.ask("restart", "two")

    def test_whoever_is_orphaned_then_belongs_to_the_daemon(self, survivor: Survivor) -> None:
        command = "/bin/sh -c '(setsid sleep 1000 & echo $$!) ; exec sleep 1000'"
        survivor.write(f"<program parent>\n  command {command}\n  auto-start no\n</program>")
        survivor.start()
        survivor.kill_holder()
        wait_until(lambda: any("holder" in note for note in survivor.status().notes), "a note")
        survivor.ask("start", "parent")
        survivor.wait_for_output("parent", "\n")
        orphan = int(survivor.output("parent").split()[-1])

        def parent() -> int:
            stat = stat_of(orphan)
            return stat.parent if stat else 0

        wait_until(lambda: parent() == survivor.pid, lambda: f"{parent()} is its parent")
        survivor.ask("stop", "--all-of-it", "parent")
        wait_until_gone(orphan)

    def test_supervisord_can_be_started_again_with_a_holder_then(self, survivor: Survivor) -> None:
        survivor.write(_sleepers("one"))
        survivor.start()
        before = _wait_until_up(survivor, "one")["one"].pid
        survivor.kill_holder()
        refused = survivor.supervisord()
        assert refused.returncode == 1
        survivor.kill_daemon()
        survivor.again()
        assert survivor.holder
        assert _rows(survivor)["one"].pid == before
        assert survivor.status().notes == ()


def test_one_that_ends_with_the_daemon_does_and_is_started_again(survivor: Survivor) -> None:
    survivor.write(
        _sleepers("keeper", keys="on-daemon-death keep")
        + _sleepers("mortal", keys="on-daemon-death stop\n  restart-delay 0.1")
    )
    survivor.start()
    before = _wait_until_up(survivor, "keeper", "mortal")
    with _nobody_there(survivor):
        wait_until_gone(before["mortal"].pid)
    after = _wait_until_up(survivor, "keeper", "mortal")
    assert after["keeper"].pid == before["keeper"].pid
    assert after["mortal"].pid != before["mortal"].pid


class TestConfiguration:
    def test_the_one_in_force_stays_in_force(self, survivor: Survivor) -> None:
        survivor.write(_sleepers("old", "both"))
        survivor.start()
        before = _wait_until_up(survivor, "old", "both")
        survivor.write(_sleepers("new", "both"))
        _kill_daemon(survivor)
        status = survivor.status()
        assert set(status.programs) == {"old", "both"}
        assert status.programs["old"].pid == before["old"].pid
        assert any("reload" in note for note in status.notes), status.notes
        survivor.ask("reload")
        status = survivor.status()
        assert set(status.programs) == {"new", "both"}
        assert status.programs["both"].pid == before["both"].pid
        assert not is_alive(before["old"].pid)
        assert status.notes == ()

    def test_a_broken_one_keeps_nobody_from_going_on(self, survivor: Survivor) -> None:
        survivor.write(_sleepers("one"))
        survivor.start()
        before = _wait_until_up(survivor, "one")["one"].pid
        survivor.save(survivor.config, "<supervisord>\n")
        _kill_daemon(survivor)
        assert _rows(survivor)["one"].pid == before

    def test_a_new_supervisord_applies_the_file_as_a_reload_does(self, survivor: Survivor) -> None:
        survivor.write(_sleepers("old", "both"))
        survivor.start()
        before = _wait_until_up(survivor, "old", "both")
        survivor.write(_sleepers("new", "both"))
        _kill_both(survivor)
        _wait_until_up(survivor, "new")
        wait_until_gone(before["old"].pid)
        status = survivor.status()
        assert set(status.programs) == {"new", "both"}
        assert status.programs["both"].pid == before["both"].pid


class TestJournal:
    @pytest.mark.parametrize(
        "text", [b"", b"\0" * 5000, b"nonsense\n", b"[]\n", b'{"foreign": true}\n', b"\xff\xfe{"]
    )
    def test_a_foreign_one_is_set_aside(self, survivor: Survivor, text: bytes) -> None:
        survivor.write(_sleepers("one"))
        survivor.start()
        _wait_until_up(survivor, "one")
        survivor.ask("shutdown")
        wait_until_gone(survivor.pid, survivor.holder)
        survivor.hang_up()
        journal = survivor.state / "journal"
        journal.write_bytes(text)
        survivor.again()
        _wait_until_up(survivor, "one")
        if text:
            kept = [each for each in survivor.state.glob("journal*") if each != journal]
            assert text in [each.read_bytes() for each in kept]
            assert "journal" in survivor.log_text()

    @pytest.mark.parametrize("cut", [1, 7, 40])
    def test_one_that_ends_in_the_middle_of_a_line_is_read_so_far(
        self, survivor: Survivor, cut: int
    ) -> None:
        names = ["one", "two", "three"]
        survivor.write(_sleepers(*names))
        survivor.start()
        _wait_until_up(survivor, *names)
        survivor.kill_both()
        journal = survivor.state / "journal"
        os.truncate(journal, max(0, journal.stat().st_size - cut))
        survivor.again()
        _wait_until_up(survivor, *names)
        assert _living_by_name(survivor) == Counter(names)

    def test_what_lives_is_not_killed_by_a_number_alone(self, survivor: Survivor) -> None:
        """A process that has got the number of one of ours is none of ours."""
        survivor.write(_sleepers("one", keys="restart-delay 0.1"))
        survivor.start()
        pid = _wait_until_up(survivor, "one")["one"].pid
        survivor.kill_both()
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)
        stranger = survivor.begin(["sleep", "1000"])
        journal = survivor.state / "journal"
        text = journal.read_text("utf-8")
        assert str(pid) in text
        survivor.save(journal, text.replace(str(pid), str(stranger.pid)), 0o600)
        survivor.again()
        assert _wait_until_up(survivor, "one")["one"].pid != stranger.pid
        survivor.ask("restart", "one")
        survivor.ask("stop", "one")
        assert stranger.poll() is None


def test_only_who_is_to_be_remembered_stays_stopped_when_all_begins_anew(
    survivor: Survivor,
) -> None:
    names = ["remembered", "forgotten", "running"]
    survivor.write(_sleepers("remembered", "running", keys="remember yes") + _sleepers("forgotten"))
    survivor.start()
    _wait_until_up(survivor, *names)
    survivor.ask("stop", "remembered", "forgotten")
    survivor.ask("shutdown")
    wait_until_gone(survivor.pid, survivor.holder)
    survivor.hang_up()
    survivor.again()
    rows = _wait_until_up(survivor, "forgotten", "running")
    assert rows["remembered"].state == "STOPPED"
    survivor.ask("start", "remembered")
    survivor.ask("shutdown")
    wait_until_gone(survivor.pid, survivor.holder)
    survivor.hang_up()
    survivor.again()
    _wait_until_up(survivor, *names)


def test_many_are_adopted_at_once(survivor: Survivor) -> None:
    survivor.write(_sleepers("crowd", keys=f"processes {CROWD}"))
    survivor.start()

    def all_up() -> bool:
        return all(row.state == "RUNNING" for row in _rows(survivor).values())

    wait_until(all_up, survivor.log_text, 4 * PATIENCE)
    before = {name: row.pid for name, row in _rows(survivor).items()}
    shell = survivor.open_shell()
    shell.attempt(["status"])  # gets ready
    began = time.monotonic()
    os.kill(survivor.pid, signal.SIGKILL)
    answer = wait_until(lambda: shell.attempt(["status"])[0], survivor.log_text, 2 * PATIENCE)
    took = time.monotonic() - began
    print(f"{len(before)} programs adopted, and told of, {took:.2f} s after the kill")
    survivor.hang_up()
    after = {name: row.pid for name, row in survivor.status().programs.items()}
    assert answer
    assert after == before
    assert len(after) == CROWD
    assert took < CROWD_SECONDS


def test_in_the_foreground_the_holder_stays_too(daemon: Daemon) -> None:
    daemon.write(_sleepers("one"))
    holder = daemon.start_in_foreground()
    before = daemon.wait_for("one", "RUNNING").pid
    os.kill(daemon.pid, signal.SIGKILL)
    wait_until_gone(daemon.pid)
    daemon.hang_up()

    def is_back() -> bool:
        done = daemon.ctl("status")
        return done.returncode == 0 and f"supervisord_pid={daemon.pid}\n" not in done.stdout

    wait_until(is_back, daemon.log_text, 2 * PATIENCE)
    assert daemon.status("one").programs["one"].pid == before
    assert holder.poll() is None
    daemon.note_pids(daemon.status().pid)
    daemon.ask("shutdown")
    assert holder.wait(2 * PATIENCE) == 0
    assert not is_alive(before)
