"""Several daemons in one client: each line says where it comes from, and a dead one hinders nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from functional_daemon import Completed, Daemon, Status, installed

MakeDaemon = Callable[[], Daemon]


@pytest.fixture
def two(make_daemon: MakeDaemon) -> tuple[Daemon, Daemon]:
    """Return two daemons: one program has the same name in both."""
    daemons = make_daemon(), make_daemon()
    for daemon, own in zip(daemons, ("left", "right"), strict=True):
        daemon.write(f"""
            <program {own}>
              command sleep 1000
            </program>
            <program both>
              command /bin/sh -c 'echo from {own}; exec sleep 1000'
            </program>
            """)
        daemon.start()
        daemon.wait_for_output("both", f"from {own}")
    return daemons


def _both(one: Daemon, other: Daemon, *words: str, input: str | None = None) -> Completed:
    sockets = ["-s", str(one.socket), "-s", str(other.socket)]
    return one.run([installed("supervisorctl"), *sockets, *words], input)


def _lines_of(daemon: Daemon, text: str) -> list[str]:
    """Return the lines that are marked as this daemon's, without the mark."""
    mark = f"{daemon.socket} |"
    return [
        line.removeprefix(mark).removeprefix(" ")
        for line in text.splitlines()
        if line.startswith(mark)
    ]


def test_open_and_close(two: tuple[Daemon, Daemon]) -> None:
    one, other = two
    done = one.ctl(
        input=f"list\nopen {other.socket}\nlist\nopen {other.socket}\nclose {other.socket}\nlist\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["left", "both"]
    assert lines[2].startswith("connected to supervisord ")
    assert lines[2].endswith(f", pid {other.pid}, {other.socket}")
    assert lines[3:7] == [
        f"{one.socket} | left",
        f"{one.socket} | both",
        f"{other.socket} | right",
        f"{other.socket} | both",
    ]
    assert lines[7:] == [
        f"{other.socket} is open already",
        f"closed {other.socket}",
        "left",
        "both",
    ]


def test_close_without_a_name_closes_the_last_one(two: tuple[Daemon, Daemon]) -> None:
    one, other = two
    done = one.ctl(input=f"open {other.socket}\nclose\nlist\nclose\nlist\n")
    assert done.returncode == 6
    *_, closed, left, both, closed_too = done.stdout.splitlines()
    assert (closed, left, both) == (f"closed {other.socket}", "left", "both")
    assert closed_too == f"closed {one.socket}"
    assert done.stderr == "no daemon is open; 'open ADDRESS' connects to one\n"


def test_an_address_where_nobody_is_is_not_opened(two: tuple[Daemon, Daemon]) -> None:
    one, _ = two
    nowhere = one.place / "nowhere.sock"
    done = one.ctl(input=f"open {nowhere}\nlist\n")
    assert done.returncode == 6
    assert done.stdout == "left\nboth\n"
    assert done.stderr == f"{nowhere}: no such socket; is supervisord running?\n"


def test_status_of_both(two: tuple[Daemon, Daemon]) -> None:
    done = _both(*two, "status")
    assert (done.returncode, done.stderr) == (0, "")
    for daemon, up in zip(two, (("left", "both"), ("right", "both")), strict=True):
        status = Status.parse("\n".join(_lines_of(daemon, done.stdout)))
        assert status.pid == daemon.pid
        assert status.up == up


def test_the_sockets_of_the_clients_file_are_all_opened(two: tuple[Daemon, Daemon]) -> None:
    one, other = two
    config = one.save(
        one.place / "supervisorctl.conf",
        f"<supervisorctl>\n  socket-name {one.socket}\n  socket-name {other.socket}\n"
        "</supervisorctl>\n",
    )
    done = one.run([installed("supervisorctl"), "-c", str(config), "list"])
    assert [_lines_of(daemon, done.stdout) for daemon in two] == [
        ["left", "both"],
        ["right", "both"],
    ]


def test_a_name_counts_as_unknown_only_if_nobody_knows_it(two: tuple[Daemon, Daemon]) -> None:
    done = _both(*two, "restart", "left")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{two[0].socket} | left: restarted, pid ")
    done = _both(*two, "restart", "neither")
    assert done.returncode == 1
    assert "neither: no such program" in done.stderr
    done = _both(*two, "stop", "both")
    assert done.returncode == 0
    assert [len(_lines_of(daemon, done.stdout)) for daemon in two] == [1, 1]
    assert [daemon.status().down for daemon in two] == [("both",), ("both",)]


def test_logs_of_both_are_marked_with_daemon_and_program(two: tuple[Daemon, Daemon]) -> None:
    done = _both(*two, "tail", "both")
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{daemon.socket}:both | from {own}"
        for daemon, own in zip(two, ("left", "right"), strict=True)
    )


def test_one_that_is_dead_hinders_nobody(two: tuple[Daemon, Daemon]) -> None:
    dead, alive = two
    dead.stop()
    done = _both(dead, alive, input="status\nrestart both\n")
    assert done.returncode == 6
    assert done.stderr == f"{dead.socket}: no such socket; is supervisord running?\n" * 2
    *status, restarted = _lines_of(alive, done.stdout)
    assert Status.parse("\n".join(status)).up == ("right", "both")
    assert restarted.startswith("both: restarted, pid ")
    assert _lines_of(dead, done.stdout) == []


def test_one_that_comes_back_is_found_again(two: tuple[Daemon, Daemon]) -> None:
    one, other = two
    client = one.begin(
        [installed("supervisorctl"), "-s", str(one.socket), "-s", str(other.socket)],
        stdin=-1,
        stdout=-1,
        stderr=-1,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    assert client.stderr is not None

    def ask(line: str, answers: int) -> list[str]:
        client.stdin.write(line.encode() + b"\n")
        client.stdin.flush()
        return [client.stdout.readline().decode() for _ in range(answers)]

    assert len(ask("list", 4)) == 4
    other.stop()
    assert client.stderr.readline().decode().endswith("the connection to supervisord was lost\n")
    other.start()
    assert ask("list", 4)[2:] == [f"{other.socket} | right\n", f"{other.socket} | both\n"]
    client.stdin.close()
    assert client.wait(5) == 0
