"""The holder with small daemons: it starts them again, and keeps what it was given and what it saw."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from functional_holder import Held
from functional_processes import (
    descriptors_of,
    is_alive,
    nothing_left_behind,
    stat_of,
    status_of,
    ticks_of,
    wait_until,
    wait_until_gone,
)
from leaving_out import leave_out

from supervisortw.daemon.holder import OWN_DESCRIPTORS

pytestmark = pytest.mark.needs_linux

CODE = 256  # in a status, one exit code
MOST_MEMORY = 12 * 1024  # KiB
QUIET_SECONDS = 2

Hold = Callable[..., Held]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Return a function that starts a holder with the daemon that it is given."""
    with nothing_left_behind(), ExitStack() as stack:

        def start(body: str, **options: object) -> Held:
            held = Held(tmp_path, body, **options)  # type: ignore[arg-type]
            stack.callback(held.close)
            return held

        yield start


def limited(soft: int, hard: int) -> list[str]:
    """Return what to run a command by, with limits of open files."""
    return ["sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh"]


class TestTheNextDaemon:
    def test_it_follows_one_that_was_killed(self, hold: Hold) -> None:
        held = hold(
            """
            say("parent", os.getppid(), os.getsid(0) == os.getpid())
            say("last", os.environ.get("SUPERVISOR_LAST_END"))
            tell("ready")
            say("ready")
            if generation == 3:
                tell("final 0")
            else:
                wait_for_ever()
            """
        )
        for generation in range(3):
            held.wait_for(f"{generation} ready")
            held.kill_daemon(generation)
        assert held.exit_code() == 0
        assert len({held.daemon(generation) for generation in range(4)}) == 4
        for generation in range(4):
            assert held.wait_for(f"{generation} parent") == f"{held.pid} True"
        assert held.wait_for("0 last") == "None"
        assert [held.wait_for(f"{number} last") for number in (1, 2, 3)] == ["signal 9"] * 3
        assert held.stderr().count("the daemon has ended: signal 9\n") == 3

    def test_it_follows_at_once_the_first_time_and_then_later(self, hold: Hold) -> None:
        held = hold(
            """
            say("begins", time.monotonic())
            say("last", os.environ.get("SUPERVISOR_LAST_END"))
            tell("ready")
            if generation == 2:
                tell("final 0")
            say("ends", time.monotonic())
            sys.exit(3)
            """,
            early=60,
        )
        assert held.exit_code() == 0
        pause = float(held.wait_for("2 begins")) - float(held.wait_for("1 ends"))
        assert pause >= 1
        assert held.wait_for("2 last") == "exit code 3"
        told = [line for line in held.stderr().splitlines() if "the next one" in line]
        assert told == [f"supervisord: the next one is started in {n} s" for n in (0, 1)]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ('tell("ready"); tell("final 7")', 7),
            ('tell("final 7"); sys.exit(3)', 7),
            ('tell("ready"); tell("final 0"); os.kill(os.getpid(), 9)', 0),
            ("sys.exit(3)", 3),
            ("sys.exit(0)", 1),
            ("os.kill(os.getpid(), 9)", 1),
            ('tell("ready"); generation and tell("final 5")', 5),
            ('generation == 1 or tell("ready"); generation and tell("final %d" % generation)', 2),
        ],
        ids=[
            *("announced", "announced before ready", "announced and killed", "failed before ready"),
            *("gone before ready", "killed before ready", "announced by the next one"),
            "the next one has failed before ready",
        ],
    )
    def test_the_exit_code(self, hold: Hold, body: str, code: int) -> None:
        assert hold(body).exit_code() == code

    def test_a_daemon_that_cannot_be_run(self, hold: Hold) -> None:
        held = hold("", python="/nowhere/python")
        assert held.exit_code() == 127
        assert held.stderr().splitlines() == [
            "supervisord: cannot start /nowhere/python: No such file or directory",
            "supervisord: the daemon has ended: exit code 127",
        ]

    def test_it_has_the_limit_of_files_that_the_holder_had(self, hold: Hold) -> None:
        held = hold(
            """
            say("limit", *resource.getrlimit(resource.RLIMIT_NOFILE))
            tell("ready")
            if generation:
                tell("final 0")
            """,
            wrapped=limited(50, 90),
        )
        assert held.exit_code() == 0
        assert held.wait_for("0 limit") == held.wait_for("1 limit") == "50 90"

    def test_it_inherits_nothing_but_what_is_for_it(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                tell("ready")
                for number in range(20):
                    tell("keep %d" % number, 0)
                sys.exit(3)
            os.close(report)
            found = sorted(map(int, os.listdir("/proc/self/fd")))
            report = os.open(PLACE + "/report", os.O_WRONLY | os.O_APPEND)
            say("open", len(found))
            say("kept", len(fetch()))
            tell("ready")
            tell("final 0")
            """
        )
        assert held.exit_code() == 0
        assert held.wait_for("1 open") == "5"  # three streams, the channel, the directory itself
        assert held.wait_for("1 kept") == "20"


class TestSignals:
    HANDLERS = """
        for number in (1, 2, 12, 15):
            signal.signal(number, lambda number, frame: say("signal", number))
        """

    def test_they_are_passed_on(self, hold: Hold) -> None:
        held = hold(
            self.HANDLERS + '\n        tell("ready"); say("ready")\n        wait_for_ever()'
        )
        held.wait_for("0 ready")
        for number in (1, 2, 12, 15):
            held.signal(number)
            held.wait_for(f"0 signal {number}")

    def test_they_are_remembered_until_the_next_one_is_ready(self, hold: Hold) -> None:
        held = hold(
            self.HANDLERS
            + """
        if generation == 0:
            tell("ready")
            os.kill(os.getpid(), 9)
        wait_for_file("go")
        say("going")
        tell("ready")
        while not os.path.exists(PLACE + "/end"):
            time.sleep(0.01)
        tell("final 0")
        """
        )
        held.daemon(1)
        for number in (1, 15, 1, 12):
            held.signal(number)
        held.make_file("go")
        for number in (1, 12, 15):
            held.wait_for(f"1 signal {number}")
        held.make_file("end")
        assert held.exit_code() == 0
        assert [line for line in held.lines() if "signal" in line] == [
            f"1 signal {number}" for number in sorted((1, 12, 15))
        ]
        assert held.lines().index("1 going") < held.lines().index("1 signal 1")

    def test_a_shutdown_goes_on_in_the_next_one(self, hold: Hold) -> None:
        held = hold(
            self.HANDLERS
            + """
        tell("ready")
        say("ready")
        if generation == 0:
            wait_for_ever()
        wait_for_file("end")
        tell("final 0")
        """
        )
        held.wait_for("0 ready")
        held.signal(signal.SIGTERM)
        held.wait_for("0 signal 15")
        held.kill_daemon()
        held.wait_for("1 signal 15")
        held.make_file("end")
        assert held.exit_code() == 0

    def test_it_gives_up_if_nobody_can_be_asked_to_end_everything(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                say("program", child(wait_for_ever))
                tell("ready")
                os.kill(os.getpid(), 9)
            wait_for_ever()
            """
        )
        program = int(held.wait_for("0 program"))
        killed = held.daemon(1)
        held.signal(signal.SIGTERM)
        # Passed over to the holder before the daemon's end, since it takes signals first.
        os.kill(killed, signal.SIGKILL)
        assert held.exit_code() == 1
        assert f"cannot end the programs; left alone: {program}" in held.stderr()
        assert is_alive(program)
        os.kill(program, signal.SIGKILL)


class TestEnds:
    def test_children_of_a_dead_daemon_and_orphans_are_told_of(self, hold: Hold) -> None:
        held = hold(
            """
            def exit_later(name, code):
                say(name, os.getpid())
                wait_for_file(name)
                return code

            if generation == 0:
                child(lambda: exit_later("first", 3))
                child(lambda: exit_later("second", 4))
                orphan(lambda: exit_later("orphan", 5))
                tell("ready")
                say("heard", channel.recv(65536).decode().strip())
                wait_for_ever()
            elif generation == 1:
                found = ended()
                say("ended", *("%d:%d" % each for each in sorted(found.items())))
                tell("ready")
                say("heard", channel.recv(65536).decode().strip())
                for pid in found:
                    tell("forget %d" % pid)
                say("forgot")
                wait_for_ever()
            else:
                say("ended", *("%d:%d" % each for each in ended().items()))
                tell("ready")
                tell("final 0")
            """
        )
        first, second, orphan = (
            int(held.wait_for(f"0 {n}")) for n in ("first", "second", "orphan")
        )
        held.make_file("orphan")
        assert held.wait_for("0 heard") == f"ended {orphan} {5 * CODE}"
        held.signal(signal.SIGSTOP)  # nobody is there while the first one ends
        held.kill_daemon()
        held.make_file("first")
        wait_until_gone(first)
        held.signal(signal.SIGCONT)
        told = sorted([(orphan, 5 * CODE), (first, 3 * CODE)])
        assert held.wait_for("1 ended") == " ".join(f"{pid}:{status}" for pid, status in told)
        parent = stat_of(second)
        assert parent is not None
        assert parent.parent == held.pid
        held.make_file("second")
        assert held.wait_for("1 heard") == f"ended {second} {4 * CODE}"
        held.wait_for("1 forgot")
        held.kill_daemon(1)
        assert held.wait_for("2 ended") == f"{second}:{4 * CODE}"
        assert held.exit_code() == 0

    def test_a_daemon_that_does_not_listen_is_not_waited_for(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                def make_orphans():
                    wait_for_file("go")
                    for number in range(600):
                        orphan(lambda: 7)
                    say("made")
                say("maker", child(make_orphans))
                tell("ready")
                say("ready")
                wait_for_ever()
            found = ended()
            say("ended", len(found), sorted(set(found.values())))
            tell("ready")
            tell("final 0")
            """
        )
        held.wait_for("0 ready")
        daemon = held.daemon()
        os.kill(daemon, signal.SIGSTOP)
        held.make_file("go")
        held.wait_for("0 made")
        wait_until(lambda: children_of(held.pid) == {daemon}, "all orphans are reaped")
        assert is_idle(held.pid)
        held.kill_daemon()
        # All orphans, and the one who has made them.
        assert held.wait_for("1 ended") == f"601 [0, {7 * CODE}]"
        assert held.exit_code() == 0

    def test_a_daemon_that_listens_late_hears_everything(self, hold: Hold) -> None:
        held = hold(
            """
            tell("ready")
            for number in range(600):
                orphan(lambda: 7)
            children = "/proc/%d/task/%d/children" % (os.getppid(), os.getppid())
            while len(open(children).read().split()) > 1:
                time.sleep(0.01)
            lines = []
            while len(lines) < 600:
                lines += channel.recv(65536).decode().splitlines()
            say("heard", len({line.split()[1] for line in lines}))
            tell("final 0")
            """
        )
        assert held.exit_code() == 0
        assert held.wait_for("0 heard") == "600"

    def test_a_daemon_that_has_closed_its_end_costs_no_time(self, hold: Hold) -> None:
        held = hold(
            """
            tell("ready")
            channel.close()
            say("closed")
            wait_for_ever()
            """
        )
        held.wait_for("0 closed")
        assert is_idle(held.pid)


def children_of(pid: int) -> set[int]:
    """Return the children of a process, zombies included."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def is_idle(pid: int) -> bool:
    """True if a process has nothing to do for a while."""
    before = ticks_of(pid)
    time.sleep(1)  # there is nothing to wait for: it must not be busy
    return ticks_of(pid) - before < 20


class TestStore:
    def test_what_is_under_way_when_the_daemon_is_killed_is_kept(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                tell("ready")
                say("ready")
                wait_for_file("go")
                for number in range(150):
                    read, write = os.pipe()
                    os.write(write, b"%d" % number)
                    tell("keep %d" % number, read)
                say("sent")
                wait_for_ever()
            found = fetch()
            say("found", all(os.read(fd, 9) == name.encode() for name, fd in found.items()))
            say("number", len(found))
            tell("ready")
            tell("final 0")
            """
        )
        held.wait_for("0 ready")
        held.signal(signal.SIGSTOP)
        held.make_file("go")
        held.wait_for("0 sent")
        held.kill_daemon()
        held.signal(signal.SIGCONT)
        assert held.exit_code() == 0
        assert held.wait_for("1 number") == "150"
        assert held.wait_for("1 found") == "True"

    def test_a_name_is_kept_anew_or_dropped(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                tell("ready")
                for text in (b"old", b"new", b"other"):
                    read, write = os.pipe()
                    os.write(write, text)
                    tell("keep b" if text == b"other" else "keep a", read)
                tell("drop b")
                tell("drop c")
                sys.exit(3)
            found = fetch()
            say("found", *found)
            say("read", os.read(found["a"], 9).decode())
            say("again", os.read(os.dup(found["a"]), 9).decode() or "end")
            tell("ready")
            tell("final 0")
            """
        )
        assert held.exit_code() == 0
        assert held.wait_for("1 found") == "a"
        assert held.wait_for("1 read") == "new"
        assert held.wait_for("1 again") == "end"  # the writing end is the dead daemon's

    def test_there_are_more_than_a_message_takes_and_all_outlive_two_daemons(
        self, hold: Hold
    ) -> None:
        held = hold(
            """
            if generation == 0:
                tell("ready")
                for number in range(600):
                    read, write = os.pipe()
                    os.write(write, b"%d." % number)
                    tell("keep output/%d" % number, read)
                    os.close(read)
                    os.close(write)
                sys.exit(3)
            resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
            found = fetch()
            say("names", list(found) == ["output/%d" % number for number in range(600)])
            if generation == 2:
                right = [os.read(fd, 9) == b"%s." % name[7:].encode() for name, fd in found.items()]
                say("right", len(right), all(right))
                tell("final 0")
            tell("ready")
            """,
            wrapped=limited(1000, 1000),
        )
        assert held.exit_code() == 0
        assert held.wait_for("1 names") == "True"
        assert held.wait_for("2 right") == "600 True"

    def test_it_is_as_large_as_the_limit_of_open_files(self, hold: Hold) -> None:
        held = hold(
            """
            if generation == 0:
                tell("ready")
                for number in range(300):
                    tell("keep %d" % number, 0)
                tell("drop 0")
                tell("keep last", 0)
                tell("keep one too many", 0)
                tell("keep 1", 0)
                sys.exit(3)
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            found = list(fetch())
            say("found", len(found), *found[:1], *found[-2:])
            tell("ready")
            tell("final 0")
            """,
            wrapped=limited(40, 100),
        )
        assert held.exit_code() == 0
        assert held.wait_for("1 found") == f"{100 - OWN_DESCRIPTORS} 2 last 1"
        assert held.stderr().count("pipes and sockets are kept") == 1

    def test_500_pipes_take_little_memory_and_no_time(self, hold: Hold) -> None:
        held = hold(
            """
            tell("ready")
            for number in range(500):
                read, write = os.pipe()
                tell("keep output/program:program_%d/stderr" % number, read)
                os.close(read)
                os.close(write)
            say("kept")
            wait_for_ever()
            """,
            wrapped=limited(1000, 1000),
        )
        held.wait_for("0 kept")
        wait_until(lambda: len(descriptors_of(held.pid)) > 500, "all are kept")
        assert is_idle(held.pid)
        before = status_of(held.pid)
        assert int(before["VmRSS"].split()[0]) < MOST_MEMORY
        time.sleep(QUIET_SECONDS)  # there is nothing to wait for: that is the point
        after = status_of(held.pid)
        switches = "voluntary_ctxt_switches"
        assert after[switches] == before[switches]


class TestTheDaemonsLink:
    """The project's own, with a reactor, on the other side of a holder."""

    def test_a_holder_that_is_stopped_is_not_waited_for(self, hold: Hold) -> None:
        held = hold(
            """
            from supervisortw.daemon.link import HolderLink

            link = HolderLink.inherited(os.environ)
            say("link", link.generation, link.last_end, link.pid == os.getppid())
            read, write = os.pipe()
            if generation == 0:
                link.ready()
                say("ready")
                wait_for_file("go")
                for number in range(900):
                    link.keep("output/%d" % number, read)
                say("kept")
                while link._waits:
                    link._send_waiting()
                    time.sleep(0.01)
                say("sent")
                wait_for_ever()
            link.fetch()
            taken = [link.take("output/%d" % number) for number in range(899)]
            say("taken", len([each for each in taken if each is not None]))
            link.drop_untaken()
            link.fetch()
            say("left", link.take("output/0") is not None, link.take("output/899"))
            say("ended", link.ended_now())
            link.ready()
            link.final(6)
            """,
            own_channel=False,
        )
        held.wait_for("0 ready")
        held.signal(signal.SIGSTOP)
        held.make_file("go")
        held.wait_for("0 kept")
        held.signal(signal.SIGCONT)
        held.wait_for("0 sent")
        held.kill_daemon()
        assert held.exit_code() == 6
        assert held.wait_for("0 link") == "0 None True"
        assert held.wait_for("1 link") == "1 signal 9 True"
        assert held.wait_for("1 taken") == "899"
        assert held.wait_for("1 left") == "True None"
        assert held.wait_for("1 ended") == "{}"

    def test_a_reactor_says_what_had_to_wait_and_hears_of_ends_and_has_a_last_word(
        self, hold: Hold
    ) -> None:
        held = hold(
            """
            from twisted.internet import reactor

            from supervisortw.daemon.link import HolderLink

            link = HolderLink.inherited(os.environ)
            link.ready()
            read, write = os.pipe()

            def heard(pid, status):
                say("ended", status)
                link.forget(pid)
                if generation:
                    reactor.stop()

            def begin():
                wait_for_file("go")
                for number in range(900):
                    link.keep("output/%d" % number, read)
                say("kept", bool(link._waiting))
                look()

            def look():
                if link._waits:
                    reactor.callLater(0.01, look)
                else:
                    say("sent")
                    orphan(lambda: 3)

            link.fetch()
            say("found", len(link._fetched))
            link.listen(reactor, heard, lambda: say("lost"))
            if generation == 0:
                reactor.callWhenRunning(begin)
            else:
                reactor.callWhenRunning(orphan, lambda: 4)
            say("runs")
            reactor.run()
            link.final(6)
            """,
            own_channel=False,
        )
        held.wait_for("0 runs")
        held.signal(signal.SIGSTOP)
        held.make_file("go")
        assert held.wait_for("0 kept") == "True"
        held.signal(signal.SIGCONT)
        held.wait_for("0 sent")
        assert held.wait_for("0 ended") == str(3 * CODE)
        held.kill_daemon()
        assert held.wait_for("1 ended") == str(4 * CODE)
        assert held.exit_code() == 6
        assert held.wait_for("1 found") == "900"

    def test_the_end_of_the_holder_is_noticed(self, hold: Hold) -> None:
        held = hold(
            """
            from twisted.internet import reactor

            from supervisortw.daemon.link import HolderLink

            def lost():
                say("lost", link.alive)
                reactor.stop()

            link = HolderLink.inherited(os.environ)
            link.listen(reactor, lambda pid, status: None, lost)
            link.ready()
            reactor.callWhenRunning(say, "runs")
            reactor.run()
            link.keep("output/web", 0)
            link.final(6)
            say("ended")
            """,
            own_channel=False,
        )
        held.wait_for("0 runs")
        held.signal(signal.SIGKILL)
        assert held.wait_for("0 lost") == "False"
        held.wait_for("0 ended")


@pytest.mark.needs_root
def test_as_process_1_it_reaps_whatever_is_left_to_it(hold: Hold) -> None:
    if shutil.which("unshare") is None:
        leave_out("needs unshare")
    held = hold(
        """
        say("parent", os.getppid())
        if generation == 0:
            tell("ready")
            orphan(lambda: orphan(lambda: 5))
            while 5 * 256 not in ended().values():
                time.sleep(0.01)
            say("zombies", sum(") Z " in open("/proc/%s/stat" % name).read()
                               for name in os.listdir("/proc") if name.isdigit()))
            os.kill(os.getpid(), 9)
        tell("ready")
        tell("final 4")
        """,
        wrapped=["unshare", "--pid", "--fork", "--mount-proc"],
    )
    assert held.exit_code() == 4
    assert held.wait_for("0 parent") == held.wait_for("1 parent") == "1"
    assert held.wait_for("0 zombies") == "0"
