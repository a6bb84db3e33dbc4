"""What is asked of the forker, and what the operator reads when it was in vain."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from supervisortw.core.environment import Login
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Limit
from supervisortw.daemon.birth import StepFailed
from supervisortw.daemon.forker import MAX_DESCRIPTORS, MAX_MESSAGE
from supervisortw.daemon.spawnorder import encode, refusal, search
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity, SpawnRequest

BOB = Identity(
    uid=7,
    gid=8,
    groups=(8, 9),
    login=Login(name="bob", home="/", shell="/bin/sh"),  # noqa: S604  # a record
)


def request(*command: str, **keys: Any) -> SpawnRequest:
    keys.setdefault("environment", {})
    return SpawnRequest(command=command or ("/bin/x",), stdout=1, stderr=2, **keys)


class TestSearch:
    def test_a_path_is_a_path(self) -> None:
        assert search(request("./x", environment={"PATH": "/a"})) == ["./x"]

    def test_a_name_is_in_one_of_the_directories_of_its_own_path(self) -> None:
        assert search(request("x", environment={"PATH": "/a:/b/c"})) == ["/a/x", "/b/c/x"]

    def test_places_that_depend_on_where_one_is_are_left_out(self) -> None:
        assert search(request("x", environment={"PATH": ":bin:/a:.:"})) == ["/a/x"]

    def test_without_a_path_the_usual_places(self) -> None:
        assert search(request("x")) == [os.path.join(p, "x") for p in os.defpath.split(":")]


class TestMessage:
    def test_everything(self) -> None:
        asked = request(
            "x",
            "a b",
            "",
            environment={"A": "1=2", "B": "ü"},
            directory="/d",
            umask=0o22,
            cgroup="/c",
            limits=(Limit(name="core", soft=0, hard=None),),
            nice=-3,
            identity=BOB,
            no_new_privileges=True,
            death_signal=15,
            listening=(("web", 5), ("api", 6)),
        )
        assert encode(asked, ["/a/x", "/b/x"]).decode().split("\0") == [
            "path /a/x",
            "path /b/x",
            "args 3",
            "x",
            "a b",
            "",
            "env 2",
            "A=1=2",
            "B=ü",
            "directory /d",
            "umask 18",
            "cgroup /c",
            "limit core 0 unlimited",
            "nice -3",
            "uid 7",
            "gid 8",
            "groups 8 9",
            "no-new-privileges yes",
            "death-signal 15",
            "listen web",
            "listen api",
        ]

    def test_what_is_the_daemons_own_is_not_in_it(self) -> None:
        assert encode(request(), ["/bin/x"]) == b"path /bin/x\0args 1\0/bin/x\0env 0\0directory /"

    def test_original_limits_give_way_to_its_own(self) -> None:
        original = [Limit(name="nofile", soft=1, hard=2)]
        assert b"\0limit nofile 1 2" in encode(request(), [], original)
        own = request(limits=(Limit(name="nofile", soft=3, hard=4),))
        assert b"\0limit nofile 3 4" in encode(own, [], original)
        assert b"limit nofile 1" not in encode(own, [], original)

    @pytest.mark.parametrize("name", ["", "A=B"])
    def test_a_name_that_no_variable_can_have(self, name: str) -> None:
        with pytest.raises(ValueError, match="illegal environment variable name"):
            encode(request(environment={name: "x"}), [])

    @pytest.mark.parametrize(
        "keys",
        [
            {"environment": {"A": "secret\0uid 0"}},
            {"directory": "/\0uid 0"},
            {"listening": (("a\0uid 0", 0),)},
        ],
    )
    def test_no_text_can_bring_in_words(self, keys: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"^embedded null byte\Z"):
            encode(request(**keys), [])

    def test_the_largest(self) -> None:
        room = LIMITS.spawn_request_bytes - len(encode(request("x", ""), []))
        assert len(encode(request("x", "y" * room), [])) == MAX_MESSAGE
        with pytest.raises(SpawnError) as caught:
            encode(request("x", "y" * (room + 1)), [])
        assert str(caught.value) == (
            "command and environment are too large (131073 bytes, at most 131072)"
        )
        assert caught.value.permanent

    def test_sockets_fit_beside_the_streams_and_the_report(self) -> None:
        assert LIMITS.spawn_sockets + 4 <= MAX_DESCRIPTORS


@pytest.mark.parametrize(
    ("number", "step", "told"),
    [
        (errno.EAGAIN, "clone", "Resource temporarily unavailable"),
        (errno.ENOENT, "cgroup", "cannot put it into /c: No such file or directory"),
        (errno.EPERM, "limit nofile", "cannot set its limit nofile: Operation not permitted"),
        (errno.EPERM, "nice", "cannot set its nice value to -3: Operation not permitted"),
        (errno.EPERM, "identity", "cannot become bob: Operation not permitted"),
        (errno.EINVAL, "root", "bob could become root again"),
        (errno.EACCES, "directory", "its directory /d: Permission denied"),
        (errno.EINVAL, "no-new-privileges", "cannot forbid new privileges: Invalid argument"),
        (
            errno.EPERM,
            "death-signal",
            "cannot have it end with the daemon: Operation not permitted",
        ),
        (errno.EPERM, "session", "session: Operation not permitted"),
        (errno.ENOEXEC, "exec", "not a program (a script needs a first line like #!/bin/sh)"),
        (errno.E2BIG, "exec", "Argument list too long"),
    ],
)
def test_each_step_has_its_words(number: int, step: str, told: str) -> None:
    asked = request("/bin/sh", cgroup="/c", nice=-3, identity=BOB, directory="/d")
    error = refusal(StepFailed(number, step), ["/bin/sh"], asked)
    assert str(error) == f"cannot start /bin/sh: {told}"
    assert error.permanent == (number != errno.EAGAIN)


class TestExec:
    def told(self, number: int, *paths: str, **keys: Any) -> str:
        return str(refusal(StepFailed(number, "exec"), paths, request("tool", **keys)))

    def test_a_name_that_is_nowhere(self) -> None:
        told = self.told(errno.ENOENT, "/a/tool", environment={"PATH": "/a"})
        assert told == "command not found: tool (looked in /a)"

    def test_a_name_without_any_place_to_look(self) -> None:
        told = self.told(errno.ENOENT, environment={"PATH": ""})
        assert told == "command not found: tool (looked in )"

    def test_of_several_the_one_that_is_there(self, tmp_path: Path) -> None:
        tool = tmp_path / "tool"
        tool.write_text("#!/no/such\n")
        paths = ("/no/such/tool", str(tool))
        assert self.told(errno.ENOENT, *paths) == (
            f"cannot start {tool}: the interpreter in its first line is missing"
        )
        assert self.told(errno.EACCES, *paths, identity=BOB) == (
            f"cannot start {tool}: not executable by bob"
        )
