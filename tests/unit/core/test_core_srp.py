"""SRP: known answers, and that nothing but the right password opens anything."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from fakes import srp_vectors as known
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.core.srp import (
    BLIND_BITS,
    GROUP,
    SCRYPT,
    SECRET_BITS,
    UNBOUND,
    UNIX,
    Binding,
    Group,
    Kdf,
    SrpError,
    fields,
    password_bytes,
    private_key,
    proofs,
    stretch,
    user_name,
)

BLIND = 1 << (BLIND_BITS - 1) | 12345
PRIME = GROUP.prime


def _digest(number: int) -> str:
    return hashlib.sha256(GROUP.packed(number)).hexdigest()[:32]


class TestPublishedVectors:
    def test_rfc_5054(self) -> None:
        group = known.RFC_GROUP
        assert group.multiplier == known.RFC_K
        assert group.verifier(known.RFC_X, pow, BLIND) == known.RFC_V
        client = group.client_public(known.CLIENT_SECRET, pow)
        assert client == known.RFC_A
        server = group.server_public(known.SERVER_SECRET, known.RFC_V, pow)
        assert server == known.RFC_B
        assert group.scrambler(client, server) == known.RFC_U
        shared = group.client_shared(
            known.CLIENT_SECRET, known.RFC_X, client, server, pow, blind=BLIND
        )
        assert shared == known.RFC_S
        shared = group.server_shared(known.SERVER_SECRET, known.RFC_V, client, server, pow)
        assert shared == known.RFC_S

    def test_the_private_key_of_rfc_5054(self) -> None:
        inner = hashlib.sha1(f"{known.USER}:{known.PASSWORD}".encode()).digest()  # noqa: S324
        key = hashlib.sha1(known.SALT + inner).digest()  # noqa: S324
        assert int.from_bytes(key, "big") == known.RFC_X

    def test_of_our_group(self) -> None:
        group = Group(PRIME, 5, "sha512")
        inner = hashlib.sha512(f"{known.USER}:{known.PASSWORD}".encode()).digest()
        key = int.from_bytes(hashlib.sha512(known.SALT + inner).digest(), "big")
        assert group.verifier(key, pow, BLIND) == known.HAP_V
        client = group.client_public(known.CLIENT_SECRET, pow)
        assert client == known.HAP_A
        server = group.server_public(known.SERVER_SECRET, known.HAP_V, pow)
        assert group.scrambler(client, server) == known.HAP_U


class TestOwnVectors:
    """What version 1 of our protocol says; a change here is another protocol."""

    KDF = Kdf(ln=14)
    REALM = bytes(range(16))
    BINDING = Binding(kind="tls-exporter", data=b"\x11" * 32, certificate=b"\x22" * 32)

    def stretched(self) -> bytes:
        return stretch(password_bytes("pässword123"), "alice", self.KDF, self.REALM)

    def test_the_multiplier(self) -> None:
        k = "081f4874fa543a371b49a670402fda59ecfab53a1b850fc42e1c357cc846111e"
        assert f"{GROUP.multiplier:064x}" == k
        assert (GROUP.width, GROUP.generator, PRIME.bit_length()) == (384, 5, 3072)

    def test_the_keys(self) -> None:
        stretched = self.stretched()
        slow = "90fd4e5bb6328b916891299d07925e383dda475e9156bfc96e5b31bf25a5a819"
        assert stretched.hex() == slow
        x = "bf1607c152b5c051240ebcb3bef20156ef2b325a153b59fbe65d1b58e9384841"
        assert f"{private_key(stretched, known.SALT):064x}" == x

    def test_a_login(self) -> None:
        a, b = known.CLIENT_SECRET, known.SERVER_SECRET
        key = private_key(self.stretched(), known.SALT)
        verifier = GROUP.verifier(key, pow, BLIND)
        client = GROUP.client_public(a, pow)
        server = GROUP.server_public(b, verifier, pow)
        assert _digest(client) == "71f46d1d2c9ec34bdc2f84272e74d959"
        assert _digest(server) == "8691fb9904dd5c0aa176b0d116549cfb"
        assert _digest(verifier) == "3470b5c9196ec3277345efcd3eb1768c"
        shared = GROUP.client_shared(a, key, client, server, pow, blind=BLIND)
        assert shared == GROUP.server_shared(b, verifier, client, server, pow)
        told = proofs(GROUP, shared, b"C1", b"S1", self.BINDING)
        m1 = "39360dc39f5a5cf5be6f94d972abed116c1a32ccdce6db27b29d8130ff903426"
        m2 = "64dda81cd75a68ea07ce1c5ad5c13d3e75e3498b2492ae315f9da081931e69c5"
        assert (told.client.hex(), told.server.hex()) == (m1, m2)
        assert told.session.hex() == "c770d1fade7f6df8"


SECRETS = st.integers(1 << (SECRET_BITS - 1), (1 << SECRET_BITS) - 1)
KEYS = st.integers(1, (1 << 256) - 1)
BLINDS = st.integers(1, (1 << BLIND_BITS) - 1)


@settings(max_examples=15, deadline=None)
@given(a=SECRETS, b=SECRETS, key=KEYS, blind=BLINDS, wrong=KEYS)
def test_both_sides_find_the_same_if_the_password_is_the_same(
    a: int, b: int, key: int, blind: int, wrong: int
) -> None:
    verifier = GROUP.verifier(key, pow, blind)
    assert verifier == pow(GROUP.generator, key, PRIME)
    client = GROUP.client_public(a, pow)
    server = GROUP.server_public(b, verifier, pow)
    found = GROUP.server_shared(b, verifier, client, server, pow)
    assert GROUP.client_shared(a, key, client, server, pow, blind=blind) == found
    assert (GROUP.client_shared(a, wrong, client, server, pow, blind=blind) == found) == (
        wrong == key
    )


class TestPublicValues:
    @pytest.mark.parametrize(
        "number",
        [0, 1, PRIME - 1, PRIME, PRIME + 1, (1 << 3072) - 1],
        ids=["0", "1", "N-1", "N", "N+1", "ff..ff"],
    )
    def test_those_that_give_secrets_away_are_refused(self, number: int) -> None:
        with pytest.raises(SrpError, match="no honest peer"):
            GROUP.unpacked(GROUP.packed(number))

    @pytest.mark.parametrize("data", [b"", b"\x02", bytes(383), b"\x02" * 385, bytes(385)])
    def test_those_of_another_width_are_refused(self, data: bytes) -> None:
        with pytest.raises(SrpError):
            GROUP.unpacked(data)

    @pytest.mark.parametrize("number", [2, PRIME - 2, 12345])
    def test_the_others_are_taken(self, number: int) -> None:
        assert GROUP.unpacked(GROUP.packed(number)) == number

    def test_a_multiple_of_the_prime_that_is_left_of_the_base_is_refused(self) -> None:
        verifier = GROUP.verifier(77, pow, BLIND)
        forced = GROUP.multiplier * verifier % PRIME  # g^b would be 0
        with pytest.raises(SrpError):
            GROUP.client_shared(known.CLIENT_SECRET, 77, 12345, forced, pow, blind=BLIND)

    def test_a_scrambler_of_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Group, "_hash", lambda *_: 0)
        with pytest.raises(SrpError):
            GROUP.scrambler(5, 7)


class TestProofs:
    BASE = (5, b"C1", b"S1", Binding(kind="tls-exporter", data=b"a" * 32, certificate=b"c" * 32))

    def test_depend_on_everything(self) -> None:
        shared, first, second, binding = self.BASE
        variants = [
            self.BASE,
            (6, first, second, binding),
            (shared, b"C2", second, binding),
            (shared, first, b"S2", binding),
            (shared, first, second, replace(binding, data=b"b" * 32)),
            (shared, first, second, replace(binding, certificate=b"d" * 32)),
            (shared, first, second, replace(binding, kind="none")),
            (shared, first, second, UNIX),
            (shared, first, second, UNBOUND),
            (shared, b"C1S", b"1", binding),  # the same bytes, in other fields
        ]
        made = [proofs(GROUP, *each) for each in variants]
        assert len({each.client for each in made}) == len(made)
        assert len({each.server for each in made}) == len(made)
        assert len({each.session for each in made}) == len(made)

    def test_those_of_the_two_sides_differ(self) -> None:
        told = proofs(GROUP, *self.BASE)
        assert told.client != told.server

    def test_are_not_in_the_text_of_what_holds_them(self) -> None:
        told = proofs(GROUP, *self.BASE)
        assert repr(told.client) not in repr(told)
        assert repr(told.server) not in repr(told)


def test_fields_cannot_be_taken_for_others() -> None:
    assert fields(b"ab", b"") == b"\0\0\0\2ab\0\0\0\0"
    assert fields(b"a", b"b") != fields(b"ab")


class TestStretching:
    LEAST = Kdf(ln=14)

    def test_depends_on_everything(self) -> None:
        made = {
            stretch(password, user, kdf, realm)
            for password, user, kdf, realm in [
                (b"password", "alice", self.LEAST, bytes(16)),
                (b"Password", "alice", self.LEAST, bytes(16)),
                (b"password", "bob", self.LEAST, bytes(16)),
                (b"password", "alice", Kdf(ln=15), bytes(16)),
                (b"password", "alice", Kdf(ln=14, p=2), bytes(16)),
                (b"password", "alice", self.LEAST, bytes(15) + b"\1"),
            ]
        }
        assert len(made) == 6
        assert {len(each) for each in made} == {32}

    def test_the_private_key_depends_on_the_salt(self) -> None:
        assert private_key(bytes(32), bytes(16)) != private_key(bytes(32), b"\1" * 16)

    def test_the_most_that_a_server_can_ask_for_is_allowed(self) -> None:
        # The memory that scrypt is allowed has to be enough for it; p does not count in it.
        assert len(stretch(b"x" * 8, "a", Kdf(ln=16, p=2), bytes(16))) == 32


class TestKdf:
    @pytest.mark.parametrize("ln", range(14, 19))
    @pytest.mark.parametrize("p", [1, 4])
    def test_what_is_written_is_read(self, ln: int, p: int) -> None:
        kdf = Kdf(ln=ln, p=p)
        assert Kdf.parse(str(kdf)) == kdf

    def test_by_default(self) -> None:
        assert str(SCRYPT) == "scrypt$ln=17,r=8,p=1"

    @pytest.mark.parametrize(
        "text",
        [
            *("", "scrypt", "scrypt$", "md5$", "md5$ln=17,r=8,p=1", "scrypt$ln=17,r=8"),
            *("scrypt$ln=30,r=8,p=1", "scrypt$ln=19,r=8,p=1", "scrypt$ln=13,r=8,p=1"),
            *("scrypt$ln=2,r=8,p=1", "scrypt$ln=17,r=9,p=1", "scrypt$ln=17,r=8,p=999"),
            *("scrypt$ln=17,r=8,p=0", "scrypt$ln=17,r=8,p=5", "scrypt$ln=17,r=08,p=1"),
            *("scrypt$ln=17,r=8,p=1\n", " scrypt$ln=17,r=8,p=1", "scrypt$ln=17,r=8,p=1,"),
            *("scrypt$ln=-7,r=8,p=1", "scrypt$ln=1\u0667,r=8,p=1", "scrypt$r=8,ln=17,p=1"),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(SrpError, match="scrypt"):
            Kdf.parse(text)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "alice", "a.b-c_d@example.org", "0", "x" * 64, "-"])
    def test_of_users(self, name: str) -> None:
        assert user_name(name) == name

    @pytest.mark.parametrize(
        "name", ["", "x" * 65, "a b", "a\n", "a\0", "älice", "../x", "a:b", "\u0430lice", "a/b"]
    )
    def test_that_no_user_has(self, name: str) -> None:
        with pytest.raises(SrpError, match="user name"):
            user_name(name)


class TestPasswords:
    def test_are_the_same_however_they_were_typed(self) -> None:
        assert password_bytes("pa\u0308ss") == password_bytes("p\u00e4ss") == "päss".encode()

    @pytest.mark.parametrize("text", ["\0", "a\nb", "a\x7f", "a\x85b", "tab\t"])
    def test_have_no_control_characters(self, text: str) -> None:
        with pytest.raises(SrpError, match="control"):
            password_bytes(text)

    def test_are_text(self) -> None:
        with pytest.raises(SrpError, match="UTF-8"):
            password_bytes("abc\udcff")

    def test_have_a_bound(self) -> None:
        assert len(password_bytes("x" * LIMITS.password_bytes)) == LIMITS.password_bytes
        for text in ("", "x" * (LIMITS.password_bytes + 1), "ä" * (LIMITS.password_bytes // 2 + 1)):
            with pytest.raises(SrpError, match="bytes"):
                password_bytes(text)
