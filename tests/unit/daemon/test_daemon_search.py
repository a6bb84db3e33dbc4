"""Who is found to have escaped, and who gets a signal, on a machine of the test's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from supervisortw.core.spawnid import SpawnId
from supervisortw.daemon import proc
from supervisortw.daemon.cgroups import Cgroups
from supervisortw.daemon.search import (
    NO_PERMISSION,
    NO_PIDFD,
    Found,
    Search,
    search_all,
    search_in_thread,
)
from supervisortw.interfaces import Escaped


class Machine:
    """Processes whose /proc is a directory of the test's; signals to them are recorded."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.sent: list[tuple[int, int]] = []
        self.looked_at: list[int] = []
        self.forbidden: set[int] = set()
        self.hidden: set[int] = set()
        self.opened: Callable[[int], None] = lambda pid: None
        self._sids: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self.cgroups = Cgroups("abc", str(place / "cgroup"))
        (place / "cgroup").mkdir()
        monkeypatch.setattr(proc, "DIRECTORY", str(place))
        monkeypatch.setattr(os, "getsid", self._getsid)
        monkeypatch.setattr(os, "pidfd_open", self._pidfd_open, raising=False)
        monkeypatch.setattr(signal, "pidfd_send_signal", self._send, raising=False)
        look = proc.Environments.value

        def value(environments: proc.Environments, pid: int, name: str) -> str | None:
            self.looked_at.append(pid)
            if pid in self.hidden:
                raise PermissionError
            return look(environments, pid, name)

        monkeypatch.setattr(proc.Environments, "value", value)

    def add(
        self, pid: int, mark: str = "", *, sid: int = 0, leaf: str = "", state: str = "S"
    ) -> None:
        place = self.place / str(pid)
        place.mkdir(exist_ok=True)
        environ = f"A=1\0SUPERVISOR_SPAWN_ID={mark}\0" if mark else "A=1\0"
        (place / "environ").write_text(environ)
        (place / "comm").write_text(f"cat{pid}\n")
        (place / "stat").write_text(f"{pid} (cat) {state}" + " 1" * 30)
        self._sids[pid] = sid or pid
        if leaf:
            directory = self.cgroups.directory_for(leaf)
            (place / "cgroup").write_text(f"0::/{os.path.basename(directory)}\n")
            with open(f"{directory}/cgroup.procs", "a", encoding="utf-8") as file:
                file.write(f"{pid}\n")

    def _getsid(self, pid: int) -> int:
        if pid not in self._sids:
            raise ProcessLookupError
        return self._sids[pid]

    def _pidfd_open(self, pid: int) -> int:
        self._getsid(pid)
        self.opened(pid)
        pidfd = os.open(os.devnull, os.O_RDONLY)
        self._pidfds[pidfd] = pid
        return pidfd

    def _send(self, pidfd: int, number: int) -> None:
        os.fstat(pidfd)
        if self._pidfds[pidfd] in self.forbidden:
            raise PermissionError(1, "Operation not permitted")
        self.sent.append((self._pidfds[pidfd], number))

    def search(
        self, number: int | None = None, *, sid: int = 100, ours: tuple[int, ...] = ()
    ) -> Found:
        [found] = search_all(self.cgroups, [wanted(number, sid=sid)], ours)
        return found


def wanted(number: int | None = None, *, sid: int = 100, name: str = "web") -> Search:
    return Search(spawn=SpawnId(daemon="abc", name=name, number=5), sid=sid, signal=number)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


class TestByEnvironment:
    def test_who_is_in_another_session(self, machine: Machine) -> None:
        machine.add(100, "abc:web:5", sid=100)
        machine.add(101, "abc:web:5", sid=100)
        machine.add(102, "abc:web:5")
        machine.add(103, "abc:web:4", sid=102)
        found = machine.search()
        assert found.escaped == {pid: Escaped(pid=pid, command=f"cat{pid}") for pid in (102, 103)}
        assert machine.sent == []

    @pytest.mark.parametrize(
        "mark",
        [
            "",
            "abd:web:5",  # another daemon's
            "abc:web2:5",
            "abc:we:5",
            "abc:group:web:5",
            "abc:web:6",  # started after the question was asked
            "abc:web:",
            "abc:web:5 ",
            "xabc:web:5",
        ],
    )
    def test_whose_mark_is_another_one_is_not_meant(self, machine: Machine, mark: str) -> None:
        machine.add(102, mark)
        assert machine.search(SIGKILL).escaped == {}
        assert machine.sent == []

    def test_a_program_that_is_down_has_no_session(self, machine: Machine) -> None:
        machine.add(101, "abc:web:5", sid=100)
        assert machine.search(sid=0).escaped.keys() == {101}

    def test_what_has_ended_is_not_meant(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5", state="Z")
        assert machine.search(SIGTERM).escaped == {}

    def test_we_and_our_parent_are_never_meant(self, machine: Machine) -> None:
        machine.add(os.getpid(), "abc:web:5", leaf="web")
        machine.add(os.getppid(), "abc:web:5", leaf="web")
        assert machine.search(SIGKILL, sid=0).escaped == {}
        assert machine.sent == []

    def test_who_is_in_a_session_of_ours_is_not_looked_at(self, machine: Machine) -> None:
        machine.add(100, "abc:web:5", sid=100)
        machine.add(200, "abc:db:5", sid=200)
        machine.add(300)
        machine.search(ours=(200,))
        assert machine.looked_at == [300]

    def test_each_search_has_its_own_answer_from_one_walk(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5")
        machine.add(202, "abc:g:db:1")
        machine.add(302, "abc:other:1")
        searches = [wanted(), wanted(SIGTERM, name="g:db", sid=0), wanted(name="nobody")]
        found = search_all(machine.cgroups, searches)
        assert [each.escaped.keys() for each in found] == [{102}, {202}, set()]
        assert machine.sent == [(202, SIGTERM)]
        assert sorted(machine.looked_at)[-1:] == [302]
        assert machine.looked_at.count(302) == 1

    def test_whom_we_may_not_look_at_is_counted(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5")
        machine.hidden = {102}
        found = machine.search()
        assert (found.escaped, found.hidden) == ({}, 1)


class TestSignal:
    def test_each_gets_it(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5")
        machine.add(103, "abc:web:5")
        machine.search(SIGTERM)
        assert sorted(machine.sent) == [(102, SIGTERM), (103, SIGTERM)]

    def test_who_is_spared_gets_none_and_is_found(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5")
        spawn = SpawnId(daemon="abc", name="web", number=5)
        search = Search(spawn=spawn, sid=0, signal=SIGTERM, spared=frozenset({102}))
        [found] = search_all(machine.cgroups, [search])
        assert found.escaped.keys() == {102}
        assert machine.sent == []

    @pytest.mark.parametrize(
        ("mark", "sid"), [("", 0), ("abd:web:5", 0), ("abc:web:6", 0), ("abc:web:5", 100)]
    )
    def test_whose_number_means_another_process_by_now_gets_none(
        self, machine: Machine, mark: str, sid: int
    ) -> None:
        machine.add(102, "abc:web:5")
        machine.opened = lambda pid: machine.add(pid, mark, sid=sid)
        assert machine.search(SIGKILL).escaped == {}
        assert machine.sent == []

    def test_who_is_gone_before_it_gets_it_is_not_told(self, machine: Machine) -> None:
        def end(pid: int) -> None:
            raise ProcessLookupError

        machine.add(102, "abc:web:5")
        machine.opened = end
        assert machine.search(SIGKILL) == Found()

    def test_who_may_not_be_signalled_is_told(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5")
        machine.add(103, "abc:web:5")
        machine.forbidden = {102}
        found = machine.search(SIGKILL)
        assert found.escaped.keys() == {102, 103}
        assert found.trouble == {102: NO_PERMISSION}

    def test_without_pidfds_nobody_is_signalled(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "pidfd_open")
        machine.add(102, "abc:web:5")
        assert machine.search(SIGKILL).trouble == {102: NO_PIDFD}

    def test_no_descriptor_is_left_open(self, machine: Machine) -> None:
        for pid in range(102, 110):
            machine.add(pid, "abc:web:5")
        machine.forbidden = {104}
        machine.search(SIGKILL)
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        machine.search(SIGKILL)
        again = os.open(os.devnull, os.O_RDONLY)
        os.close(again)
        assert free == again


class TestByCgroup:
    def test_who_has_wiped_its_environment(self, machine: Machine) -> None:
        machine.add(100, "abc:web:5", sid=100, leaf="web")
        machine.add(102, leaf="web")
        machine.add(202, leaf="db")
        assert machine.search(SIGTERM).escaped.keys() == {102}
        assert machine.sent == [(102, SIGTERM)]

    def test_one_whom_we_may_not_look_at(self, machine: Machine) -> None:
        machine.add(102, "abc:web:5", leaf="web")
        machine.hidden = {102}
        assert machine.search(SIGTERM).escaped.keys() == {102}

    def test_one_that_was_started_later_is_not_meant(self, machine: Machine) -> None:
        machine.add(102, "abc:web:6", leaf="web")
        machine.add(103, leaf="web")
        kill = Path(machine.cgroups.directory_for("web"), "cgroup.kill")
        kill.touch()
        assert machine.search(SIGKILL, sid=0).escaped.keys() == {103}
        assert (machine.sent, kill.read_text()) == ([(103, SIGKILL)], "")

    def test_another_supervisor_in_it_belongs_to_it(self, machine: Machine) -> None:
        machine.add(102, "abd:inner:1", leaf="web")
        assert machine.search().escaped.keys() == {102}

    def test_who_has_left_it_meanwhile_gets_no_signal(self, machine: Machine) -> None:
        machine.add(102, leaf="web")
        machine.opened = lambda pid: (machine.place / str(pid) / "cgroup").unlink()
        assert machine.search(SIGTERM).escaped == {}
        assert machine.sent == []

    def test_all_are_killed_at_once(self, machine: Machine) -> None:
        machine.add(102, leaf="web")
        machine.add(103, "abc:web:5", leaf="web")
        kill = Path(machine.cgroups.directory_for("web"), "cgroup.kill")
        kill.touch()
        assert machine.search(SIGKILL, sid=0).escaped.keys() == {102, 103}
        assert kill.read_text() == "1"

    def test_where_the_program_is_up_they_are_killed_one_by_one(self, machine: Machine) -> None:
        machine.add(100, "abc:web:5", sid=100, leaf="web")
        machine.add(102, leaf="web")
        kill = Path(machine.cgroups.directory_for("web"), "cgroup.kill")
        kill.touch()
        machine.search(SIGKILL)
        assert (machine.sent, kill.read_text()) == ([(102, SIGKILL)], "")

    def test_an_old_kernel_kills_them_one_by_one(self, machine: Machine) -> None:
        machine.add(102, leaf="web")
        assert machine.search(SIGKILL, sid=0).escaped.keys() == {102}
        assert machine.sent == [(102, SIGKILL)]


def test_where_there_is_no_proc_nothing_is_found(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "DIRECTORY", "/nowhere")
    assert machine.search() == Found()


def test_a_walk_that_cannot_be_made_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OSError, match="Too many open files"):
        machine.search()


def test_it_is_made_in_a_thread(machine: Machine) -> None:
    asked: list[tuple[object, ...]] = []
    search = search_in_thread(
        lambda *question: asked.append(question), machine.cgroups, lambda: [7, 8]
    )
    search([wanted()])
    assert asked == [(search_all, machine.cgroups, (wanted(),), frozenset({7, 8}))]
