"""Several daemons side by side: opened, lost, opened again, left."""

from __future__ import annotations

import pytest
from fakes.asking import Asked, answer
from fakes.session import FakeSession
from fakes.terminal import Terminal
from twisted.internet.defer import Deferred

from supervisortw.client.daemons import greeting
from supervisortw.client.exitcodes import ExitCode
from supervisortw.core.model import UnixAddress
from supervisortw.core.status import DaemonStatus
from supervisortw.errors import Denied, SupervisorError, Unreachable

A, B, C = "/run/a", "/run/b", "/run/c"


@pytest.fixture
def one() -> Terminal:
    terminal = Terminal(A)
    terminal.network.add(B, "web")
    return terminal


@pytest.fixture
def two() -> Terminal:
    return Terminal(A, B)


def pids(terminal: Terminal) -> list[tuple[str, object]]:
    """Ask every daemon for its pid."""

    async def ask(session: FakeSession) -> int:
        status: DaemonStatus = await session.status([])
        return status.pid

    return list(answer(terminal.desk.hosts.each(ask)))  # type: ignore[arg-type]


class TestHosts:
    def test_nobody_is_connected_to_before_somebody_asks(self, two: Terminal) -> None:
        assert two.desk.hosts.names == [A, B]
        assert two.network.sessions == {}

    def test_answers_come_in_the_order_of_the_hosts(self, two: Terminal) -> None:
        assert pids(two) == [(A, 4000), (B, 4001)]

    def test_the_same_daemon_twice_is_one(self, two: Terminal) -> None:
        two.desk.hosts.add(UnixAddress(path=A))
        assert two.desk.hosts.names == [A, B]

    def test_a_session_is_kept(self, two: Terminal) -> None:
        pids(two)
        before = dict(two.network.sessions)
        pids(two)
        assert two.network.sessions == before

    def test_what_goes_wrong_with_one_is_its_own_answer(self, two: Terminal) -> None:
        error = Unreachable("/run/a: nobody listens there")
        two.network.refusals[A] = error
        assert pids(two) == [(A, error), (B, 4001)]

    def test_a_slow_one_is_waited_for(self, two: Terminal) -> None:
        two.network.connecting[A] = Deferred()
        asked = Asked(two.desk.hosts.each(lambda session: session.status([])))
        assert B in two.network.sessions
        assert not asked.done
        two.network.connecting[A].callback(None)
        assert [host for host, _ in asked.answer] == [A, B]

    def test_a_lost_session_is_told_once_and_opened_again_when_it_is_needed(
        self, two: Terminal
    ) -> None:
        pids(two)
        lost = two.session(A)
        lost.lose()
        assert two.desk.complaints() == [f"{A}: the connection to supervisord was lost"]
        assert two.session(A) is lost
        assert pids(two) == [(A, 4000), (B, 4001)]
        assert two.session(A) is not lost
        two.session(A).lose()
        assert two.desk.complaints() == [f"{A}: the connection to supervisord was lost"]

    def test_one_that_is_lost_for_good_stays_in_the_list(self, two: Terminal) -> None:
        pids(two)
        two.session(A).lose()
        del two.network.daemons[A]
        [(_, gone), (_, there)] = pids(two)
        assert isinstance(gone, SupervisorError)
        assert there == 4001
        assert two.desk.hosts.names == [A, B]

    def test_who_is_left_is_closed_and_not_called_lost(self, two: Terminal) -> None:
        pids(two)
        two.desk.hosts.close(A)
        assert two.session(A).closed
        two.session(A).lose()
        assert two.desk.complaints() == []
        assert two.desk.hosts.names == [B]
        with pytest.raises(KeyError):
            two.desk.hosts.close(A)

    def test_all_are_left_also_those_that_were_never_asked(self, two: Terminal) -> None:
        two.network.refusals[B] = Unreachable("no")
        pids(two)
        two.desk.hosts.close_all()
        assert two.session(A).closed
        assert two.desk.hosts.names == []
        assert pids(two) == []

    def test_a_mistake_of_ours_is_no_answer(self, two: Terminal) -> None:
        async def fail(session: object) -> None:
            raise KeyError("a mistake of ours")

        asked = Asked(two.desk.hosts.each(fail))
        with pytest.raises(Exception, match="a mistake of ours"):
            assert asked.answer


class TestOpen:
    def test_one_more(self, one: Terminal) -> None:
        assert one.run(f"open {B}") is ExitCode.OK
        assert one.desk.printed() == [f"connected to supervisord 1.2.3, pid 4001, {B}"]
        assert one.desk.hosts.names == [A, B]

    def test_from_then_on_it_is_asked_too(self, one: Terminal) -> None:
        one.run(f"open {B}")
        one.desk.printed()
        one.run("pid")
        assert one.desk.printed() == ["/run/a | 4000", "/run/b | 4001"]

    def test_what_is_open_already_stays(self, one: Terminal) -> None:
        assert one.run(f"open {A}") is ExitCode.OK
        assert one.desk.printed() == ["/run/a is open already"]
        assert one.network.sessions == {}

    def test_one_that_is_not_there_is_not_added(self, one: Terminal) -> None:
        assert one.run(f"open {C}") is ExitCode.UNREACHABLE
        assert one.desk.complaints() == [f"{C}: no such socket; is supervisord running?"]
        assert one.desk.hosts.names == [A]

    def test_one_that_does_not_let_us_in(self, one: Terminal) -> None:
        one.network.refusals[B] = Denied(f"{B}: use sudo")
        assert one.run(f"open {B}") is ExitCode.DENIED
        assert one.desk.hosts.names == [A]

    @pytest.mark.parametrize("line", ["open", "open /run/b /run/c", "open nonsense"])
    def test_it_takes_one_address(self, one: Terminal, line: str) -> None:
        assert one.run(line) is ExitCode.USAGE
        assert one.desk.complaints()[-1] == "usage: open ADDRESS"

    def test_a_greeting_is_one_line(self) -> None:
        session = Terminal(A).network
        session.add(C)
        made = answer(session.connect(UnixAddress(path=C)))
        made.hello["version"] = "1\n\x1b[2J"
        assert greeting(made) == (  # type: ignore[arg-type]
            "connected to supervisord 1\\n\\x1b[2J, pid 4001, /run/c"
        )


class TestClose:
    def test_by_name(self, two: Terminal) -> None:
        assert two.run(f"close {A}") is ExitCode.OK
        assert two.desk.printed() == [f"closed {A}"]
        assert two.desk.hosts.names == [B]

    def test_without_a_name_the_last_one(self, two: Terminal) -> None:
        two.run("close")
        assert two.desk.hosts.names == [A]

    def test_what_is_not_open(self, two: Terminal) -> None:
        assert two.run(f"close {C}") is ExitCode.USAGE
        assert two.desk.complaints()[0] == f"not open: {C}; open are: {A}, {B}"

    def test_nothing_is_open(self, one: Terminal) -> None:
        one.run("close")
        assert one.run("close") is ExitCode.USAGE
        assert one.desk.complaints()[0] == "not open: any daemon; open are: none"

    def test_it_takes_one_address(self, two: Terminal) -> None:
        assert two.run(f"close {A} {B}") is ExitCode.USAGE
        assert two.desk.hosts.names == [A, B]


class TestUnknownNames:
    def test_one_that_some_daemon_knows_is_known(self) -> None:
        terminal = Terminal(A, names=("db:db_0",))
        terminal.network.add(B, "web")
        terminal.desk.hosts.add(UnixAddress(path=B))
        assert terminal.run("start db") is ExitCode.OK
        assert terminal.run("status db") is ExitCode.OK
        assert terminal.desk.complaints() == []
        assert terminal.run("start bd") is ExitCode.SOME_FAILED
        assert len(terminal.desk.complaints()) == 2
