"""Names from the configuration turned into numbers of this machine."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from supervisortw.core.environment import Login
from supervisortw.daemon.identity import identity_of
from supervisortw.errors import SpawnError
from supervisortw.interfaces import Identity

ALICE = pwd.struct_passwd(("alice", "x", 1001, 1002, "", "/home/alice", "/bin/zsh"))
ROOTISH = pwd.struct_passwd(("rootish", "x", 1003, 0, "", "/", "/bin/sh"))
ROOT = pwd.struct_passwd(("root", "x", 0, 0, "", "/root", "/bin/sh"))
STAFF = grp.struct_group(("staff", "x", 50, ["alice"]))


class Machine:
    """A machine with these users, on which we are ``uid`` with the group of that user."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uid = 0
        self.users = {each.pw_uid: each for each in (ROOT, ALICE, ROOTISH)}
        names = {each.pw_name: each for each in self.users.values()}
        monkeypatch.setattr(os, "geteuid", lambda: self.uid)
        monkeypatch.setattr(os, "getegid", lambda: self.users[self.uid].pw_gid)
        monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 50])
        monkeypatch.setattr(pwd, "getpwnam", names.__getitem__)
        monkeypatch.setattr(pwd, "getpwuid", self.find)
        monkeypatch.setattr(grp, "getgrnam", {"staff": STAFF}.__getitem__)

    def find(self, uid: int) -> pwd.struct_passwd:
        if uid > 2**32:
            raise OverflowError("signed integer is greater than maximum")
        return self.users[uid]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def refusal(user: str | None, group: str | None = None) -> str:
    with pytest.raises(SpawnError) as caught:
        identity_of(user, group)
    assert caught.value.permanent
    return str(caught.value)


def test_nobody_in_particular_is_the_daemon_itself(machine: Machine) -> None:
    assert identity_of(None) is None


@pytest.mark.parametrize("user", ["alice", "1001"])
def test_root_can_be_anybody(machine: Machine, user: str) -> None:
    assert identity_of(user) == Identity(
        uid=1001,
        gid=1002,
        groups=(1002, 50),
        login=Login(name="alice", home="/home/alice", shell="/bin/zsh"),  # noqa: S604  # a record
    )


def test_who_the_daemon_is_already_needs_no_change(machine: Machine) -> None:
    machine.uid = 1001
    assert identity_of("alice") is None
    assert identity_of("1001") is None
    machine.uid = 0
    assert identity_of("root") is None


def test_another_group(machine: Machine) -> None:
    found = identity_of("alice", "staff")
    assert found is not None
    assert (found.uid, found.gid, found.groups) == (1001, 50, (50, 50))
    found = identity_of("alice", "4321")
    assert found is not None
    assert found.gid == 4321


def test_another_group_of_the_same_user(machine: Machine) -> None:
    found = identity_of(None, "staff")
    assert found is not None
    assert (found.uid, found.gid, found.login.name) == (0, 50, "root")
    assert identity_of(None, "0") is None


def test_others_cannot_become_anybody(machine: Machine) -> None:
    machine.uid = 1001
    assert refusal("root") == (
        "cannot run as user root: only root can, and supervisord runs as uid 1001"
    )
    assert refusal(None, "staff") == (
        "cannot run as user alice with group staff: only root can, and supervisord runs as uid 1001"
    )


def test_nobody_gets_the_group_of_root(machine: Machine) -> None:
    expected = "cannot run as user rootish: its group would be root's (gid 0)"
    assert refusal("rootish") == expected
    assert "gid 0" in refusal("alice", "0")


@pytest.mark.parametrize("user", ["nobody-here", "4242", "99999999999999999999", "²", "-1", ""])
def test_nobody_of_that_name(machine: Machine, user: str) -> None:
    if user:
        assert refusal(user) == f"no such user: {user}"


def test_no_group_of_that_name(machine: Machine) -> None:
    assert refusal("alice", "no-group") == "no such group: no-group"
    assert refusal("alice", "²") == "no such group: ²"


def test_a_daemon_without_an_entry_of_its_own(machine: Machine) -> None:
    machine.uid = 4242
    assert refusal(None, "staff") == "no such user: 4242"
