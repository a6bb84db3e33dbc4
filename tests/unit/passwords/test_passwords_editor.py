"""The commands that change a password file: what they change, what they say, what they refuse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from passwords_given import EMPTY, ONE, TWO, put, record

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import Passwd, Record
from supervisortw.core.roles import Role
from supervisortw.core.srp import GROUP, Kdf, SrpError, password_bytes, private_key, stretch
from supervisortw.errors import LocalError
from supervisortw.passwords import making
from supervisortw.passwords.asking import UsageError
from supervisortw.passwords.editor import COMMANDS, Editor, Options, help_lines
from supervisortw.passwords.findings import findings
from supervisortw.passwords.making import new_passwd, new_password, new_record
from supervisortw.passwords.passwdfile import PasswdFile

GOOD = "correct horse battery"


class Person:
    """Answers what is asked."""

    def __init__(self) -> None:
        self.types = GOOD
        self.offered: list[Role] = []

    def password(self, user: str) -> str:
        return self.types

    def role(self, user: str, offered: Role) -> Role:
        self.offered.append(offered)
        return offered


class Bench:
    def __init__(self, path: Path) -> None:
        self.person = Person()
        self.said: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.file = PasswdFile(str(path), lenient=True)
        self.editor = Editor(
            self.file, self.person, self.said.append, lambda *each: self.told.append(each)
        )

    def run(self, line: str, **options: object) -> list[str]:
        """Give a command, and return what was said."""
        self.said.clear()
        assert self.editor.run(line.split(), Options(**options))  # type: ignore[arg-type]
        return list(self.said)

    def refuses(self, line: str, why: str, kind: type[Exception] = UsageError) -> None:
        before = self.editor.passwd
        with pytest.raises(kind, match=why):
            self.editor.run(line.split(), Options())
        assert self.editor.passwd is before

    @property
    def users(self) -> dict[str, Record]:
        return dict(self.editor.passwd.records)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    put(tmp_path / "passwd", TWO)
    return tmp_path / "passwd"


@pytest.fixture
def bench(path: Path) -> Bench:
    return Bench(path)


def opens(record: Record, password: str) -> bool:
    """Tell whether this is the password of a user."""
    stretched = stretch(password_bytes(password), record.user, record.kdf, record.realm)
    key = private_key(stretched, record.salt)
    return pow(GROUP.generator, key, GROUP.prime) == record.verifier


class TestAdding:
    def test_a_user(self, bench: Bench) -> None:
        assert bench.run("add carl", comment="on call") == ["carl added as observer"]
        carl = bench.users["carl"]
        assert (carl.role, carl.comment, carl.locked) == (Role.OBSERVER, "on call", False)
        assert (carl.kdf, carl.realm) == (EMPTY.kdf, EMPTY.realm)
        assert opens(carl, GOOD)
        assert not opens(carl, GOOD + "x")
        assert bench.editor.unsaved

    def test_the_first_one_is_offered_all(self, path: Path) -> None:
        put(path, EMPTY)
        bench = Bench(path)
        bench.run("add alice")
        bench.run("add bob")
        assert bench.person.offered == [Role.ADMIN, Role.OBSERVER]

    def test_with_a_role_nobody_is_asked(self, bench: Bench) -> None:
        bench.run("add carl", role=Role.OPERATOR)
        assert bench.person.offered == []
        assert bench.users["carl"].role is Role.OPERATOR

    def test_with_a_password_that_is_made(self, bench: Bench) -> None:
        bench.person.types = "not asked for"
        bench.run("add carl", generate=True)
        [(user, password)] = bench.told
        assert user == "carl"
        assert opens(bench.users["carl"], password)

    def test_the_same_password_looks_different_for_each(self, bench: Bench) -> None:
        bench.run("add carl")
        bench.run("add dora")
        assert bench.users["carl"].salt != bench.users["dora"].salt
        assert bench.users["carl"].verifier != bench.users["dora"].verifier

    def test_what_is_refused(self, bench: Bench) -> None:
        bench.refuses("add alice", "there is a user alice already")
        bench.refuses("add al/ice", "a user name has", SrpError)
        bench.refuses("add", "usage: add USER")
        bench.refuses("add carl secret", "usage: add USER")

    @pytest.mark.parametrize(
        ("password", "why"),
        [
            ("x" * (LIMITS.password_characters_least - 1), "at least 8 characters"),
            ("", "1 to 1024 bytes"),
            ("x" * (LIMITS.password_bytes + 1), "1 to 1024 bytes"),
            ("tab\tin the middle", "control characters"),
            ("not text \udcff", "UTF-8"),
        ],
    )
    def test_passwords_that_are_refused(self, bench: Bench, password: str, why: str) -> None:
        bench.person.types = password
        bench.refuses("add carl", why, SrpError)
        bench.refuses("passwd alice", why, SrpError)

    def test_passwords_that_are_warned_about(self, bench: Bench) -> None:
        for length in (LIMITS.password_characters_least, LIMITS.password_characters_advised - 1):
            bench.person.types = "x" * length
            [warning, _] = bench.run(f"add user{length}")
            assert "warning: fewer than 12 characters" in warning
        bench.person.types = "x" * LIMITS.password_characters_advised
        assert len(bench.run("add carl")) == 1

    def test_there_is_a_bound(self, bench: Bench) -> None:
        many = {f"user{number}": record(f"user{number}") for number in range(LIMITS.passwd_users)}
        bench.editor.passwd = replace(EMPTY, records=MappingProxyType(many))
        bench.refuses("add carl", f"at most {LIMITS.passwd_users} users")

    def test_memory_can_be_short(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def short(*_: object) -> bytes:
            raise MemoryError

        monkeypatch.setattr(making, "stretch", short)
        bench.refuses("add carl", "not enough memory: 16 MiB are needed", LocalError)


class TestChanging:
    def test_a_new_password_changes_nothing_else(self, bench: Bench, path: Path) -> None:
        old = record("bob", Role.OPERATOR, comment="on call", locked=True, realm=b"r" * 16)
        bench.editor.passwd = TWO.put(old)
        assert bench.run("passwd bob") == ["bob has a new password, and is disabled"]
        new = bench.users["bob"]
        assert opens(new, GOOD)
        assert (new.realm, new.kdf) == (EMPTY.realm, EMPTY.kdf)
        assert new.salt != old.salt
        assert (new.role, new.comment, new.locked) == (old.role, old.comment, True)
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", new.changed)

    def test_roles(self, bench: Bench) -> None:
        bench.run("role bob admin")
        assert bench.users["bob"] == replace(TWO.records["bob"], role=Role.ADMIN)
        bench.refuses("role bob root", "no such role: root; expected observer, operator, admin")
        bench.refuses("role bobb admin", "no such user: bobb; did you mean bob")
        bench.refuses("role bob", "usage: role USER ROLE")

    def test_who_is_disabled_stays_there(self, bench: Bench) -> None:
        bench.run("disable bob")
        assert bench.users["bob"] == replace(TWO.records["bob"], locked=True)
        bench.run("enable bob")
        assert bench.editor.passwd == TWO
        assert not bench.editor.unsaved

    def test_who_is_deleted_is_gone(self, bench: Bench) -> None:
        bench.run("del bob")
        assert bench.editor.passwd == ONE
        for command in ("del", "disable", "enable", "passwd"):
            bench.refuses(f"{command} bob", "no such user: bob")

    def test_what_is_no_command(self, bench: Bench) -> None:
        bench.refuses("lst", "no such command: lst; did you mean list")
        bench.refuses("\x1b[2J", r"no such command: \\x1b\[2J")


class TestRealms:
    REALM = "00112233445566778899aabbccddeeff"

    def test_are_shown_and_set(self, bench: Bench) -> None:
        assert bench.run("realm") == ["00" * 16]
        said = bench.run(f"realm {self.REALM}")
        assert said == [
            f"the realm is {self.REALM}",
            "it holds for new passwords; 2 users need one: alice bob",
        ]
        assert bench.run("realm") == [self.REALM]
        assert bench.users == dict(TWO.records)
        bench.refuses("realm 0011", "32 hexadecimal digits")

    def test_of_another_daemon(self, bench: Bench, path: Path) -> None:
        other = path.with_name("other")
        theirs = replace(EMPTY, secret=b"s" * 32, realm=b"r" * 16, kdf=Kdf(ln=15))
        put(other, theirs, mode=0o644)
        bench.editor.share(PasswdFile(str(other), lenient=True))
        mine = bench.editor.passwd
        assert (mine.realm, mine.kdf) == (theirs.realm, theirs.kdf)
        assert (mine.secret, mine.records) == (TWO.secret, TWO.records)


class TestShowing:
    def test_a_list_has_nothing_that_helps_to_guess(self, bench: Bench) -> None:
        bench.run("disable bob")
        bench.editor.passwd = bench.editor.passwd.put(record("carl", comment="on call"))
        assert bench.run("list") == [
            "USER   ROLE      STATE     PASSWORD SET  COMMENT",
            "alice  admin     enabled   2026-11-22",
            "bob    operator  disabled  2026-11-22",
            "carl   operator  enabled   2026-11-22    on call",
        ]

    def test_an_empty_list(self, path: Path) -> None:
        put(path, EMPTY)
        assert Bench(path).run("list") == ["no users"]

    def test_help_names_every_command(self, bench: Bench) -> None:
        lines = bench.run("help")
        assert lines == help_lines()
        assert [line.split()[0] for line in lines] == [*COMMANDS, "save", "quit"]


class TestSaving:
    def test_what_was_changed_is_there(self, bench: Bench, path: Path) -> None:
        bench.run("del bob")
        assert PasswdFile(str(path)).read() == TWO
        bench.editor.save()
        assert not bench.editor.unsaved
        assert PasswdFile(str(path)).read() == ONE

    def test_a_new_file(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "passwd"
        bench = Bench(path)
        assert bench.editor.is_new
        assert not bench.editor.unsaved
        bench.editor.save()
        assert not bench.editor.is_new
        assert PasswdFile(str(path)).read() == bench.editor.passwd


class TestFindings:
    def test_nothing(self, bench: Bench) -> None:
        assert findings(TWO, 0o600) == []
        assert bench.run("check") == ["nothing to complain about"]

    @pytest.mark.parametrize(
        ("passwd", "mode", "said"),
        [
            (TWO.put(record("eve", realm=b"r" * 16)), 0o600, "eve has another realm than the file"),
            (TWO.put(record("eve", kdf=Kdf(ln=15))), 0o600, r"eve has other parameters \(scrypt"),
            (TWO.put(record("eve", locked=True)), 0o600, "eve is disabled"),
            (EMPTY, 0o600, "nobody can log in"),
            (EMPTY.put(record("bob")), 0o600, "no enabled user is an admin"),
            (TWO, 0o640, "the file has mode 0640"),
        ],
    )
    def test_each(self, passwd: Passwd, mode: int, said: str) -> None:
        [line] = findings(passwd, mode)
        assert re.match(said, line)

    def test_several(self) -> None:
        admin = record("eve", Role.ADMIN, locked=True, realm=b"r" * 16, kdf=Kdf(ln=15))
        found = findings(EMPTY.put(admin), 0o600)
        assert len(found) == 3
        assert found[0].startswith(
            "eve has another realm and other parameters (scrypt$ln=15,r=8,p=1)"
        )

    def test_who_asks_is_told_that_there_is_something(self, bench: Bench) -> None:
        bench.editor.passwd = TWO.put(record("eve", locked=True))
        assert bench.editor.run(["check"], Options()) is False


class TestMaking:
    def test_nothing_comes_twice(self) -> None:
        assert new_passwd().secret != new_passwd().secret
        assert new_passwd().realm != new_passwd().realm
        assert new_password() != new_password()

    def test_by_default_with_the_parameters_of_the_design(self) -> None:
        assert str(new_passwd().kdf) == "scrypt$ln=17,r=8,p=1"

    def test_a_record_of_known_randomness(self) -> None:
        def known(count: int) -> bytes:
            return b"\x77" * count

        made = new_record(EMPTY, "alice", GOOD, role=Role.ADMIN, now=1795503600.0, random=known)
        assert made.salt == b"\x77" * 16
        assert made.changed == "2026-11-24T07:00:00Z"
        assert opens(made, GOOD)
