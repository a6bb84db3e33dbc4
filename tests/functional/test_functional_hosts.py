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
    nowhere = one.place / "nowhere.sock"
    done = one.ctl(
        input=f"""
            list
            open {other.socket}
            list
            open {other.socket}
            open {nowhere}
            close {other.socket}
            list
            open {other.socket}
            close
            close
            list
            """
    )
    lines = done.stdout.splitlines()
    opened = lines[2]
    assert opened.startswith("connected to supervisord ")
    assert opened.endswith(f", pid {other.pid}, {other.socket}")
    assert lines == [
        "left",
        "both",
        opened,
        f"{one.socket} | left",
        f"{one.socket} | both",
        f"{other.socket} | right",
        f"{other.socket} | both",
        f"{other.socket} is open already",
        f"closed {other.socket}",
        "left",
        "both",
        opened,
        f"closed {other.socket}",
        f"closed {one.socket}",
    ]
    assert done.returncode == 6
    assert done.stderr.splitlines() == [
        f"{nowhere}: no such socket; is supervisord running?",
        "no daemon is open; 'open ADDRESS' connects to one",
    ]


def test_each_line_of_both_is_marked(two: tuple[Daemon, Daemon]) -> None:
    one, other = two
    config = one.save(
        one.place / "supervisorctl.conf",
        f"<supervisorctl>\n  socket-name {one.socket}\n  socket-name {other.socket}\n"
        "</supervisorctl>\n",
    )
    done = one.run([installed("supervisorctl"), "-c", str(config), "status"])
    assert (done.returncode, done.stderr) == (0, "")
    for daemon, up in zip(two, (("left", "both"), ("right", "both")), strict=True):
        status = Status.parse("\n".join(_lines_of(daemon, done.stdout)))
        assert status.pid == daemon.pid
        assert status.up == up
    done = _both(*two, "tail", "both")
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{daemon.socket}:both | from {own}"
        for daemon, own in zip(two, ("left", "right"), strict=True)
    )


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
