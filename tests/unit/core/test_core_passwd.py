"""The password file as text: what is written is read, and what is not right is refused as a whole."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.core.passwd import (
    GENERATED_BYTES,
    Passwd,
    PasswdError,
    Record,
    comment,
    generated,
    parse,
    realm_of,
    written,
)
from supervisortw.core.roles import Role
from supervisortw.core.srp import GROUP, Kdf

ALICE = Record(
    user="alice",
    role=Role.OPERATOR,
    kdf=Kdf(),
    realm=bytes(range(16)),
    salt=bytes(range(16, 32)),
    verifier=GROUP.prime - 2,
    changed="2026-11-22T07:00:00Z",
    comment="on call",
)
BOB = replace(ALICE, user="bob", role=Role.ADMIN, comment="", verifier=2, locked=True)
EMPTY = Passwd(secret=bytes(range(32)), realm=bytes(16))
FILE = EMPTY.put(ALICE).put(BOB)
TEXT = written(FILE)
HEAD, ALICES, BOBS = TEXT.splitlines()

names = st.from_regex(r"[A-Za-z0-9._@-]{1,64}", fullmatch=True)
salts = st.binary(min_size=16, max_size=16)
kdfs = st.builds(Kdf, ln=st.integers(14, 18), p=st.integers(1, 4))
comments = st.text(max_size=200).filter(lambda text: text.isprintable() and text == text.strip())
records = st.builds(
    Record,
    user=names,
    role=st.sampled_from(Role),
    kdf=kdfs,
    realm=salts,
    salt=salts,
    verifier=st.integers(2, GROUP.prime - 2),
    changed=st.just("2026-11-22T07:00:00Z"),
    comment=comments,
    locked=st.booleans(),
)
files = st.builds(
    Passwd,
    secret=st.binary(min_size=32, max_size=32),
    realm=salts,
    kdf=kdfs,
    records=st.lists(records, max_size=4, unique_by=lambda record: record.user).map(
        lambda each: MappingProxyType({record.user: record for record in each})
    ),
)


@given(passwd=files)
def test_what_is_written_is_read(passwd: Passwd) -> None:
    assert parse(written(passwd)) == passwd


def test_the_form_is_the_one_of_version_1() -> None:
    assert HEAD == (
        "#supervisortw-passwd 1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 "
        "AAAAAAAAAAAAAAAAAAAAAA scrypt$ln=17,r=8,p=1"
    )
    start = "alice srp1 operator rfc5054-3072 scrypt$ln=17,r=8,p=1 AAECAwQFBgcICQoLDA0ODw "
    assert ALICES.startswith(f"{start}EBESExQVFhcYGRobHB0eHw ")
    assert ALICES.endswith(" 2026-11-22T07:00:00Z on call")
    assert BOBS.startswith("bob !srp1 admin ")
    assert BOBS.endswith("2026-11-22T07:00:00Z")


# Text that differs from a file in one place, and is one all the same, says something else in a field
# that may say it, and keeps the form: a comment, a time, a digit. All else is noticed.
@settings(max_examples=300)
@given(at=st.integers(0, len(TEXT) - 1), letter=st.sampled_from(" \n\0\tAz09#!=,$~é"))
def test_damage_is_refused_or_says_something_that_can_be_said(at: int, letter: str) -> None:
    damaged = TEXT[:at] + letter + TEXT[at + 1 :]
    try:
        passwd = parse(damaged)
    except PasswdError:
        return
    assert written(passwd) == damaged


@given(end=st.integers(0, len(TEXT) - 1))
def test_a_file_that_is_cut_off_is_refused_but_at_a_line_end(end: int) -> None:
    if end in (len(HEAD) + 1, len(HEAD) + len(ALICES) + 2):
        assert parse(TEXT[:end]).records.keys() < FILE.records.keys()
        return
    with pytest.raises(PasswdError):
        parse(TEXT[:end])


@given(text=st.text(max_size=300))
def test_anything_can_be_refused(text: str) -> None:
    with pytest.raises(PasswdError):
        parse(text)


def _field(number: int, value: str) -> str:
    fields = ALICES.split(" ")
    fields[number] = value
    return f"{HEAD}\n{' '.join(fields)}\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "not a password file|cut off"),
        ("\n", 1, "not a password file"),
        (f"{ALICES}\n", 1, "not a password file"),
        (HEAD, 1, "cut off"),
        (f"{TEXT}x", 4, "cut off"),
        (HEAD.replace(" 1 ", " 2 ") + "\n", 1, "another version"),
        (f"{HEAD} more\n", 1, "5 fields"),
        (HEAD.rpartition(" ")[0] + "\n", 1, "5 fields"),
        (HEAD.replace("AAAAAA scrypt", "AAAAAB scrypt") + "\n", 1, "16 bytes"),
        (HEAD.replace("ln=17", "ln=13") + "\n", 1, "scrypt"),
        (f"{HEAD}\n\n{ALICES}\n", 2, "9 fields"),
        (f"{HEAD}\n# a remark\n", 2, "9 fields"),
        (f"{HEAD}\r\n", 1, "scrypt"),
        (f"{TEXT}{ALICES}\n", 4, "second line for user alice"),
        (_field(0, "al/ce"), 2, "user name"),
        (_field(0, ""), 2, "user name"),
        (_field(1, "srp2"), 2, "unknown scheme"),
        (_field(2, "root"), 2, "expected observer, operator, admin"),
        (_field(2, "ADMIN"), 2, "expected observer"),
        (_field(3, "rfc5054-1024"), 2, "unknown group"),
        (_field(4, "md5$"), 2, "scrypt"),
        (_field(5, "AAAA"), 2, "16 bytes"),
        (_field(6, "AAECAwQFBgcICQoLDA0ODw=="), 2, "16 bytes"),
        (_field(6, "AAECAwQFBgcICQoLDA0OD/"), 2, "16 bytes"),
        (_field(7, "AA"), 2, "384 bytes"),
        (_field(7, "A" * 512), 2, "belongs to no password"),
        (_field(7, "A" * 511 + "B"), 2, "belongs to no password"),
        (_field(7, "_" * 512), 2, "belongs to no password"),
        (_field(8, "yesterday"), 2, "a time such as"),
        (_field(8, "2026-11-22T07:00:00Z\v"), 2, "a time such as"),
        (_field(9, "\x1b[2J"), 2, "printable"),
        (_field(9, "x" * 201), 2, "200"),
        (_field(9, "\u202etxt"), 2, "printable"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(PasswdError, match=reason) as caught:
        parse(text)
    assert caught.value.line == line


def test_no_error_repeats_what_stands_in_a_record() -> None:
    secret = ALICES.split(" ")[7]
    for number in range(10):
        with pytest.raises(PasswdError) as caught:
            parse(_field(number, f"{secret}\0"))
        assert secret not in str(caught.value)


def test_there_is_a_bound_for_users() -> None:
    many = [replace(BOB, user=f"user{number}") for number in range(LIMITS.passwd_users)]
    full = replace(EMPTY, records=MappingProxyType({record.user: record for record in many}))
    text = written(full)
    assert parse(text) == full
    assert len(text) < LIMITS.passwd_bytes
    with pytest.raises(PasswdError, match=f"more than {LIMITS.passwd_users}"):
        parse(text + ALICES + "\n")


class TestPasswd:
    def test_users_can_be_put_in_and_taken_out(self) -> None:
        assert FILE.enabled == 1
        assert FILE.put(replace(BOB, locked=False)).enabled == 2
        assert FILE.without("alice").enabled == 0
        assert FILE.put(ALICE) == FILE
        assert EMPTY.enabled == 0
        with pytest.raises(KeyError):
            EMPTY.without("alice")

    def test_a_stranger_looks_like_a_user(self) -> None:
        once, again = FILE.stranger("eve", 5), FILE.stranger("eve", 7)
        assert once.salt == again.salt
        assert once.salt != FILE.stranger("eva", 5).salt
        assert (len(once.salt), once.kdf, once.realm) == (16, FILE.kdf, FILE.realm)
        assert once.locked
        assert once.role is Role.OBSERVER
        other = replace(FILE, secret=bytes(32))
        assert other.stranger("eve", 5).salt != once.salt

    def test_nothing_secret_is_in_its_text(self) -> None:
        text = repr(FILE)
        for secret in (FILE.secret, ALICE.salt, ALICE.realm):
            assert repr(secret) not in text
        assert str(ALICE.verifier) not in text


class TestGenerated:
    def test_of_all_bits(self) -> None:
        assert generated(bytes(GENERATED_BYTES)) == "0000-0000-0000-0000"
        assert generated(b"\xff" * GENERATED_BYTES) == "zzzz-zzzz-zzzz-zzzz"

    @given(st.binary(min_size=GENERATED_BYTES, max_size=GENERATED_BYTES))
    def test_different_bytes_give_different_passwords(self, random: bytes) -> None:
        made = generated(random)
        assert re.fullmatch(r"([0-9a-hjkmnp-tv-z]{4}-){3}[0-9a-hjkmnp-tv-z]{4}", made)
        number = int.from_bytes(random, "big") ^ 1
        assert generated(number.to_bytes(GENERATED_BYTES, "big")) != made


class TestSmallThings:
    def test_realms(self) -> None:
        assert realm_of("00" * 15 + "fF") == bytes(15) + b"\xff"
        for text in ("", "0" * 31, "0" * 33, "g" * 32, "0" * 32 + "\n", "\u0660" * 32):
            with pytest.raises(ValueError, match="32 hexadecimal"):
                realm_of(text)

    def test_comments(self) -> None:
        assert comment("on call, Ünit 3") == "on call, Ünit 3"
        for text in (" x", "x ", "a\nb", "a\tb", "x" * 201, "\x1b"):
            with pytest.raises(ValueError, match="printable"):
                comment(text)
