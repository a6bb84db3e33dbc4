"""What programs have to do with each other: groups, dependencies, sockets."""

from __future__ import annotations

import os

import pytest
from config_fixture_types import Complain, Load

from supervisortw.config import relations
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import ListeningSocket, TcpAddress, UnixAddress


def program(name: str, depends_on: str = "") -> str:
    return f"<program {name}>\ncommand x\n{depends_on and f'depends-on {depends_on}'}\n</program>\n"


def group(name: str, members: str, more: str = "") -> str:
    return f"<group {name}>\nprograms {members}\n{more}\n</group>\n"


def socket(name: str, address: str, more: str = "") -> str:
    return f"<socket {name}>\naddress {address}\n{more}\n</socket>\n"


def around(*parts: str) -> str:
    return f"<supervisord>\n{''.join(parts)}</supervisord>\n"


# Groups.


def test_groups(load: Load) -> None:
    found = load(
        around(
            group("Site", "web", "programs db\npriority -2"),
            *(program(name) for name in ("web", "db", "x", "y")),
            group("site", "y"),
        )
    ).programs
    assert list(found) == ["web", "db", "x", "y"]
    assert {name: (each.group, each.group_priority) for name, each in found.items()} == {
        "web": ("Site", -2),
        "db": ("Site", -2),
        "x": ("x", None),
        "y": ("site", None),
    }


WEB, DB = program("web"), program("db")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (WEB + group("g", "wbe"), 7, "no program 'wbe' for <group g>; did you mean 'web'?"),
        (WEB + group("g", "Wbe xyzzy"), 7, None),
        (WEB + group("g", "web") + group("h", "web"), 11, "it is in <group g> already (line 7)"),
        (
            WEB + group("g", "web web"),
            7,
            "program 'web' cannot be in <group g>: it is in <group g>",
        ),
        (WEB + group("g", "web") + group("h", "g"), 11, "'g' in <group h> is a group; groups hold"),
        (WEB + group("web", "web"), 6, "a group cannot have the name of a program: <program web>"),
        (group("web", "web") + WEB, 6, "a program cannot have the name of a group: <group web> is"),
        (WEB + group("g", "web") + group("g", "web"), 10, "a second group 'g'; the first is at li"),
        (WEB + group("all", "web"), 6, "'all' cannot name a group; it stands for many"),
        (WEB + group("a:b", "web"), 6, "bad group name 'a:b': expected up to 64 of letters"),
        (WEB + group("g", ""), 7, "expected names with spaces between them"),
    ],
)
def test_problems_of_groups(complain: Complain, text: str, line: int, message: str | None) -> None:
    found = complain(around(text))
    if message is None:
        assert [where for where, _ in found] == [line, line]
        return
    [(where, what)] = found
    assert where == line
    assert message in what


def test_a_program_and_a_socket_may_have_one_name(load: Load) -> None:
    found = load(around(WEB, socket("web", "80")))
    assert list(found.programs) == list(found.sockets) == ["web"]


# Dependencies.


def test_a_group_stands_for_its_programs(load: Load) -> None:
    found = load(
        around(
            program("web", "c stores\ndepends-on a db"),
            *(program(name) for name in ("a", "b", "c")),
            DB,
            group("stores", "b a"),
        )
    ).programs
    assert found["web"].depends_on == ("c", "b", "a", "db")
    assert found["a"].depends_on == ()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            program("web", "dbb") + DB,
            4,
            "<program web> depends on 'dbb', which is no program or group; did you mean 'db'?",
        ),
        (program("web", "web"), 4, "<program web> cannot depend on itself"),
        (
            program("web", "g") + DB + group("g", "db web"),
            4,
            "<program web> cannot depend on group 'g', which it is in",
        ),
        (
            program("web", "db") + program("db", "web"),
            4,
            "depends-on goes in a circle: web -> db -> web",
        ),
        (
            program("x", "web")
            + program("web", "x1\ndepends-on g")
            + program("x1")
            + program("db", "web")
            + group("g", "db"),
            9,
            "depends-on goes in a circle: web -> db -> web",
        ),
    ],
)
def test_problems_of_dependencies(complain: Complain, text: str, line: int, message: str) -> None:
    assert complain(around(text)) == [(line, message)]


def test_a_long_chain(load: Load) -> None:
    chain = [program(f"p{number}", f"p{number + 1}") for number in range(2000)]
    found = load(around(*chain, program("p2000"))).programs
    assert found["p0"].depends_on == ("p1",)


def test_not_everything_unknown_is_guessed_at(
    complain: Complain, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(relations, "nearest", lambda word, known: asked.append(word))
    found = complain(around(program("web", " ".join(f"x{n}" for n in range(50)))))
    assert len(found) == 50
    assert len(asked) == LIMITS.names_looked_for


# Sockets.


def test_sockets(load: Load) -> None:
    found = load(
        around(
            socket("http", "LocalHost:80", "backlog 5"),
            socket("unix", "run/s", "mode 0660\nowner www:www-data"),
            socket("all", "8080").replace("all", "every"),
        )
    )
    root = os.path.dirname(found.source)
    assert dict(found.sockets) == {
        "http": ListeningSocket(
            name="http", address=TcpAddress(host="localhost", port=80), backlog=5
        ),
        "unix": ListeningSocket(
            name="unix",
            address=UnixAddress(path=f"{root}/run/s"),
            mode=0o660,
            owner=("www", "www-data"),
        ),
        "every": ListeningSocket(name="every", address=TcpAddress(host="", port=8080)),
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (socket("a", "80", "mode 0600"), 4, "'mode' is for UNIX sockets, and <socket a> is a TCP"),
        (socket("a", "80", "owner root"), 4, "'owner' is for UNIX sockets, and <socket a> is a"),
        (socket("a", "80") + socket("a", "81"), 6, "a second socket 'a'; the first is at line 2"),
        (socket("a", "/s") + socket("b", "/x/../s"), 7, "<socket b> cannot be /s: that is <socket"),
        (
            socket("a", "localhost:80") + socket("b", "LOCALHOST:80"),
            7,
            "<socket b> cannot be localhost:80: that is <socket",
        ),
        ("socket-name /s\n" + socket("a", "/s"), 4, "cannot be /s: that is a control socket (line"),
        ("socket-name 80\n" + socket("a", ":80"), 4, "cannot be :80: that is a control socket"),
        ("logfile /s\n" + socket("a", "/s"), 4, "cannot be /s: that is the daemon's log (line 2)"),
        (
            socket("a", "/s") + "<program x>\ncommand x\nlogfile /s\n</program>\n",
            8,
            "the log of <program x> cannot be /s: that is <socket a> (line 3)",
        ),
        (socket("a", "www.example.com:80"), 3, "'www.example.com' in <socket a>: give the address"),
        (socket("a", "/" + "x" * 107), 3, "choose a shorter one with 'address'"),
        (socket("a", "80", "backlog 0"), 4, "expected a whole number from 1 to 65535"),
        (socket("a", "0") + socket("b", "0"), 3, "expected a port from 1 to 65535"),
    ],
)
def test_problems_of_sockets(complain: Complain, text: str, line: int, message: str) -> None:
    found = complain(around(text))
    assert found[0][0] == line
    assert message in found[0][1]
    assert len(found) == text.count("address 0") or len(found) == 1
