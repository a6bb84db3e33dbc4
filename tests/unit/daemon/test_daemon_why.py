"""What is written down of each end, who has stopped what, and how it is told."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fakes.asking import Asked, answer
from fakes.bench import Bench
from fakes.daemon import DAYBREAK, FakeDaemon, configuration, program
from fakes.network import Network

from supervisortw.core.exits import (
    NOT_READY,
    RELOAD,
    SHUTDOWN,
    WATCHDOG,
    Exit,
    Oom,
)
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, AutoRestart, Program
from supervisortw.core.notify import Notice
from supervisortw.core.states import State
from supervisortw.core.status import Why
from supervisortw.daemon.asked import AskedBy
from supervisortw.errors import Refused

WEB = program("web")


def booted(*programs: Program, **keys: object) -> FakeDaemon:
    daemon = FakeDaemon(*programs, **keys)  # type: ignore[arg-type]
    daemon.supervisor.boot()
    daemon.pass_time(5)
    return daemon


def explain(daemon: FakeDaemon, name: str) -> Why:
    [found] = answer(daemon.supervisor.why([name])).programs
    return found


def exits(daemon: FakeDaemon, name: str) -> tuple[Exit, ...]:
    return explain(daemon, name).exits


def tell(exit: Exit) -> tuple[int | None, int | None, bool, str]:
    return exit.ended.code, exit.ended.signal, exit.expected, exit.stopped_by


class TestExits:
    def test_each_end_is_written_down_once_with_the_time_of_day(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.pass_time(9)
        bench.exit(3)
        [exit] = bench.exits
        assert (exit.when, exit.ended.code, exit.ended.uptime) == (DAYBREAK + 10, 3, 10)
        assert tell(exit) == (3, None, False, "")
        bench.pass_time(5)
        bench.exit(signal=11, core=True)
        assert (len(bench.exits), bench.exits[1].ended.core) == (2, True)

    def test_an_end_is_written_down_before_anything_follows(self) -> None:
        bench = Bench()
        bench.come_up()
        bench.pass_time(9)
        bench.spawner.hold = True
        bench.exit(3)
        assert bench.state is State.STARTING
        assert len(bench.exits) == 1

    def test_a_code_that_ends_supervision_is_expected(self) -> None:
        bench = Bench(exit_codes=frozenset({7}))
        bench.come_up()
        bench.exit(7)
        assert tell(bench.exits[0]) == (7, None, True, "")

    def test_a_start_that_makes_no_process_is_no_end(self) -> None:
        bench = Bench()
        bench.fail()
        bench.start()
        assert bench.exits == []

    def test_no_more_than_some_are_kept(self) -> None:
        daemon = booted(program("web", auto_restart=AutoRestart.ALWAYS, start_seconds=0.0))
        for code in range(1, LIMITS.exits_kept + 3):
            daemon.pass_time(60)
            daemon.spawner.exit(daemon.pid("web"), code=code)
        codes = [exit.ended.code for exit in exits(daemon, "web")]
        assert codes == list(range(3, LIMITS.exits_kept + 3))

    def test_who_is_removed_is_forgotten(self) -> None:
        daemon = booted(WEB)
        daemon.spawner.exit(daemon.pid("web"), code=1)
        daemon.pass_time(5)
        for programs in ([], [WEB]):
            daemon.next = configuration(*programs)
            Asked(daemon.supervisor.reload())
            daemon.pass_time(20)
        assert exits(daemon, "web") == ()


class TestWhoStoppedIt:
    def test_a_user(self) -> None:
        daemon = booted(WEB)
        Asked(AskedBy(daemon.supervisor, "alice").stop(["web"]))
        daemon.pass_time(5)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 15, True, "alice")]
        assert explain(daemon, "web").cause == (
            "web is STOPPED: alice stopped it 5.0 s ago; it ended by SIGTERM after 5.0 s"
        )

    def test_a_user_at_the_other_end_of_a_connection(self) -> None:
        daemon = booted(WEB)
        network = Network(daemon.supervisor, daemon.clock)
        Asked(network.log_in().restart(["web"]))
        network.pass_time(5)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 15, True, "root")]
        assert explain(daemon, "web").cause.endswith(
            "last end: ended by SIGTERM after 5.0 s, stopped by root"
        )

    def test_a_name_is_one_line_and_not_too_long(self) -> None:
        daemon = booted(WEB)
        Asked(AskedBy(daemon.supervisor, "a\nb" + "x" * 1000).stop(["web"]))
        daemon.pass_time(5)
        [exit] = exits(daemon, "web")
        assert exit.stopped_by.startswith("a\\nbx")
        assert len(exit.stopped_by) == LIMITS.stopped_by_characters

    def test_a_reload(self) -> None:
        daemon = booted(WEB)
        daemon.next = configuration(program("web", directory="/tmp"))
        Asked(daemon.supervisor.reload())
        daemon.pass_time(20)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 15, True, RELOAD)]

    def test_the_shutdown(self) -> None:
        daemon = booted(WEB)
        Asked(daemon.supervisor.shutdown())
        daemon.pass_time(20)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 15, True, SHUTDOWN)]
        assert "the shutdown of supervisord stopped it" in explain(daemon, "web").cause

    def test_nobody(self) -> None:
        daemon = booted(WEB)
        daemon.spawner.exit(daemon.pid("web"), signal=15)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 15, False, "")]

    def test_somebody_who_has_sent_that_signal(self) -> None:
        daemon = booted(WEB)
        asked = AskedBy(daemon.supervisor, "alice")
        Asked(asked.signal("HUP", ["web"]))
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        daemon.pass_time(5)
        Asked(asked.signal("KILL", ["web"]))
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        daemon.pass_time(5)
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        assert [each.stopped_by for each in exits(daemon, "web")] == ["", "alice", ""]
        assert not any(each.expected for each in exits(daemon, "web"))

    def test_supervisord_since_it_was_not_ready(self) -> None:
        bench = Bench(obedient=True, notify=True, ready_seconds=5.0)
        bench.start()
        bench.pass_time(6)
        assert tell(bench.exits[0]) == (None, 15, False, NOT_READY)

    def test_supervisord_since_it_was_silent(self) -> None:
        bench = Bench(obedient=True, notify=True, watchdog_seconds=5.0)
        bench.start()
        bench.process.heard(Notice(ready=True))
        bench.pass_time(6)
        assert tell(bench.exits[0]) == (None, 15, False, WATCHDOG)

    def test_the_first_of_two(self) -> None:
        bench = Bench()
        bench.come_up()
        Asked(bench.process.stop("alice"))
        Asked(bench.process.stop("bob"))
        bench.exit(signal=15)
        assert bench.exits[0].stopped_by == "alice"

    def test_who_stops_what_another_one_restarts(self) -> None:
        bench = Bench()
        bench.come_up()
        Asked(bench.process.restart("alice"))
        Asked(bench.process.stop("bob"))
        bench.exit(signal=15)
        assert bench.exits[0].stopped_by == "bob"

    @pytest.mark.parametrize("state", [State.BACKOFF, State.WAITING])
    def test_who_ends_the_wait_for_the_next_process(self, state: State) -> None:
        daemon = booted(program("db"), program("web", depends_on=("db",), backoff_limit=10))
        if state is State.WAITING:
            daemon.pass_time(30)
            Asked(daemon.supervisor.stop(["db"]))
            daemon.pass_time(5)
        daemon.spawner.exit(daemon.pid("web"), code=1)
        assert daemon.stand("web").state is state
        Asked(AskedBy(daemon.supervisor, "alice").stop(["web"]))
        assert explain(daemon, "web").cause == (
            f"web is STOPPED: alice stopped it 0.0 s ago, when it was {state.value}"
        )

    def test_the_next_process_knows_nothing_of_that(self) -> None:
        bench = Bench()
        bench.come_up()
        Asked(bench.process.stop("alice"))
        bench.exit(signal=15)
        assert bench.recorded[-1]["stopped_by"] == "alice"
        bench.come_up()
        bench.exit(signal=15)
        assert bench.exits[-1].stopped_by == ""
        assert "stopped_by" not in bench.recorded[-1]


class TestLackOfMemory:
    @pytest.fixture
    def vmstat(self, tmp_path: Path) -> Path:
        path = tmp_path / "vmstat"
        path.write_text("oom_kill 0\n")
        return path

    def test_it_is_likely_if_the_kernel_has_killed_somebody(self, vmstat: Path) -> None:
        daemon = booted(WEB, vmstat=str(vmstat))
        vmstat.write_text("oom_kill 1\n")
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        assert [each.oom for each in exits(daemon, "web")] == [Oom.PERHAPS]

    def test_it_is_certain_if_the_cgroup_says_so(self, vmstat: Path, tmp_path: Path) -> None:
        events = tmp_path / "memory.events"
        events.write_text("oom_kill 4\n")
        daemon = FakeDaemon(program("web", cgroup=True), vmstat=str(vmstat))
        daemon.cgroups.events["web"] = str(events)
        daemon.supervisor.boot()
        daemon.pass_time(5)
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        daemon.pass_time(5)
        events.write_text("oom_kill 5\n")
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGKILL)
        assert [each.oom for each in exits(daemon, "web")] == [Oom.NO, Oom.YES]

    def test_what_we_have_killed_ourselves_is_not_looked_at(self, vmstat: Path) -> None:
        daemon = booted(WEB, program("db"), vmstat=str(vmstat), obedient=False)
        vmstat.write_text("oom_kill 1\n")
        Asked(daemon.supervisor.stop(["web"], by="alice"))
        Asked(daemon.supervisor.signal("KILL", ["db"], by="alice"))
        daemon.spawner.exit(daemon.pid("db"), signal=signal.SIGKILL)
        daemon.pass_time(20)
        assert [tell(each) for each in exits(daemon, "web")] == [(None, 9, True, "alice")]
        assert {each.oom for name in ("web", "db") for each in exits(daemon, name)} == {Oom.NO}

    def test_other_signals_have_other_reasons(self, vmstat: Path) -> None:
        daemon = booted(WEB, vmstat=str(vmstat))
        vmstat.write_text("oom_kill 1\n")
        daemon.spawner.exit(daemon.pid("web"), signal=signal.SIGTERM)
        assert [each.oom for each in exits(daemon, "web")] == [Oom.NO]


class TestWaitingForOthers:
    def test_the_whole_chain_is_told(self) -> None:
        daemon = FakeDaemon(
            program("db"),
            program("api", depends_on=("db",)),
            program("web", depends_on=("api",)),
        )
        daemon.spawner.broken["db"] = "no such command: db"
        daemon.supervisor.boot()
        daemon.pass_time(5)
        why = explain(daemon, "web")
        assert why.cause == (
            "web is WAITING for api, which is WAITING for db, which is FATAL: no such command: db"
        )
        assert [(each.name, each.state) for each in why.waits_for] == [
            ("api", State.WAITING),
            ("db", State.FATAL),
        ]
        assert explain(daemon, "db").waits_for == ()

    def test_it_is_cut_where_it_is_too_long(self) -> None:
        names = [f"p{number}" for number in range(LIMITS.waits_told + 3)]
        programs = [
            program(name, depends_on=tuple(names[number - 1 : number]))
            for number, name in enumerate(names)
        ]
        daemon = FakeDaemon(*programs)
        daemon.spawner.broken["p0"] = "no such command"
        daemon.supervisor.boot()
        daemon.pass_time(5)
        why = explain(daemon, names[-1])
        assert len(why.waits_for) == LIMITS.waits_told
        assert why.cause.endswith("which is WAITING: waiting for p1 (WAITING)")

    def test_a_restart_is_named(self) -> None:
        daemon = booted(program("db"), program("web", depends_on=("db",)))
        daemon.supervisor.roster.to_be_restarted.append({"db"})
        daemon.spawner.exit(daemon.pid("web"), code=1)
        why = explain(daemon, "web")
        assert why.cause.startswith("web is WAITING for the restart of db; last end: ")
        assert why.waits_for == ()


class TestAnswers:
    def test_the_log_is_the_one_for_errors(self) -> None:
        daemon = booted(
            WEB,
            program("two", stderr_logfile="/var/log/two.err"),
            program("one", stderr_logfile=DISCARD),
            program("none", logfile=DISCARD),
        )
        logs = {
            each.status.name: each.log for each in answer(daemon.supervisor.why(["all"])).programs
        }
        assert logs == {"web": "web", "two": "two/stderr", "one": "one", "none": ""}

    def test_there_are_only_so_many_at_once(self) -> None:
        most = LIMITS.explained_at_once
        daemon = booted(program("web", processes=most + 1, logfile=DISCARD))
        with pytest.raises(Refused, match=f"at most {most} processes"):
            answer(daemon.supervisor.why(["web"]))
        daemon.next = configuration(program("web", processes=most, logfile=DISCARD))
        Asked(daemon.supervisor.reload())
        daemon.pass_time(20)
        assert len(answer(daemon.supervisor.why(["web"])).programs) == most
