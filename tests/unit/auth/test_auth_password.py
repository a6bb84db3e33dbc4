"""The daemon's side of a login by password: challenges, and who is believed."""

from dataclasses import replace

import pytest
from fakes.passwords import ALICE, PASSWORD, FakeAccounts, PasswordClient, passwd_of, record
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from supervisortw.auth.accounts import NoAccounts
from supervisortw.auth.password import (
    Challenges,
    ISrpProof,
    SrpChecker,
    SrpProof,
    is_current,
)
from supervisortw.auth.users import User
from supervisortw.core.roles import Role
from supervisortw.core.srp import GROUP, UNBOUND, UNIX, SrpError
from supervisortw.remote.frames import fields
from supervisortw.remote.passwords import PasswordLogin, read_hello


class Powers:
    """Takes powers, and remembers of which size the numbers were."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, base, exponent, modulus) -> int:
        self.asked.append((base.bit_length() > 3000, exponent.bit_length() > 240, modulus))
        return pow(base, exponent, modulus)


class Login:
    """One login from C1 to the checker."""

    def __init__(self, user="alice", password=PASSWORD, accounts=None, binding=UNIX) -> None:
        self.accounts = accounts or FakeAccounts()
        self.powers = Powers()
        challenges = Challenges(self.accounts, self.powers)
        self.client = PasswordClient(user, password)
        hello = read_hello(fields(self.client.hello()[2:]))
        self.challenge = challenges.challenge(hello.user, hello.client)
        begun = PasswordLogin(hello, self.challenge)
        [told] = fields(self.client.proof(begun.second)[2:])
        self.second = begun.second
        self.credentials: SrpProof = begun.credentials(told, binding)

    def answer(self) -> User | str:
        """Return the user, or why nobody is let in."""
        asked: Deferred[User] = SrpChecker(self.accounts).requestAvatarId(self.credentials)
        answers: list = []
        asked.addCallbacks(answers.append, answers.append)
        [answer] = answers
        if isinstance(answer, User):
            return answer
        assert answer.check(UnauthorizedLogin)
        return str(answer.value)


def test_who_knows_the_password_is_let_in_and_hears_that_the_daemon_knows_it() -> None:
    login = Login()
    assert ISrpProof.providedBy(login.credentials)
    user = User(name="alice", via="srp", role=Role.ADMIN, verifier=ALICE.verifier)
    assert login.answer() == user
    assert login.credentials.answer == login.client.proofs.server
    assert str(ALICE.verifier) not in repr(user)


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        ("alice", "wrong", "a wrong password"),
        ("nobody", PASSWORD, "no such user"),
        ("locked", PASSWORD, "a locked user"),
        ("locked", "wrong", "a locked user"),
    ],
)
def test_everybody_else_is_refused(user, password, why) -> None:
    assert Login(user, password).answer() == why


def test_another_channel_is_a_wrong_password() -> None:
    login = Login(binding=UNBOUND)
    assert login.answer() == "a wrong password"
    assert login.credentials.answer == b""


def test_a_challenge_is_for_one_proof() -> None:
    login = Login()
    assert login.credentials.is_right()
    with pytest.raises(AssertionError):
        login.credentials.is_right()


def test_the_same_is_computed_whoever_asks() -> None:
    logins = [
        *(Login(), Login("alice", "wrong"), Login("nobody"), Login("locked")),
        Login("locked", "wrong"),
    ]
    for login in logins:
        login.answer()
    [powers] = {tuple(login.powers.asked) for login in logins}
    assert len(powers) == 3
    assert {login.accounts.asked for login in logins} == {2}
    assert len({len(login.second) for login in logins}) == 1


def test_a_user_that_there_is_not_looks_the_same_each_time_and_unlike_others() -> None:
    accounts = FakeAccounts()
    first, again, other = (Login(user, accounts=accounts) for user in ("nobody", "nobody", "noone"))
    assert first.challenge.record.salt == again.challenge.record.salt
    assert first.challenge.record.salt != other.challenge.record.salt
    assert first.challenge.server != again.challenge.server
    assert (first.challenge.record.kdf, first.challenge.record.realm) == (ALICE.kdf, ALICE.realm)


def test_each_challenge_is_fresh_and_has_a_long_secret() -> None:
    first, again = Login(), Login()
    assert first.challenge.server != again.challenge.server
    assert first.challenge._secret.bit_length() == 256
    few = Challenges(FakeAccounts(), random=lambda bits: 1).challenge("alice", 2)
    assert few._secret.bit_length() == 256


def test_whoever_changes_meanwhile_is_refused() -> None:
    for now, why in (
        (passwd_of(), "no such user"),
        (passwd_of(replace(ALICE, locked=True)), "a locked user"),
        (passwd_of(replace(ALICE, role=Role.OBSERVER)), "a user who was changed meanwhile"),
        (passwd_of(record("alice", password="new")), "a user who was changed meanwhile"),
        (None, "no usable password file"),
    ):
        login = Login()
        login.accounts.now = now
        assert login.answer() == why


def test_without_accounts_there_is_no_challenge() -> None:
    assert Challenges(NoAccounts()).challenge("alice", 2) is None


def test_a_public_value_that_leaves_nothing_secret_is_no_password(monkeypatch) -> None:
    login = Login()

    def degenerate(*_: object) -> int:
        raise SrpError("")

    monkeypatch.setattr(type(GROUP), "server_shared", degenerate)
    assert login.answer() == "a wrong password"


@pytest.mark.parametrize(
    ("found", "current"),
    [
        (ALICE, True),
        (replace(ALICE, comment="on call"), True),
        (None, False),
        (replace(ALICE, locked=True), False),
        (replace(ALICE, role=Role.OPERATOR), False),
        (record("alice", password="new"), False),
    ],
)
def test_a_session_is_current_as_long_as_its_user_is_the_same(found, current) -> None:
    user = User(name="alice", via="srp", role=Role.ADMIN, verifier=ALICE.verifier)
    assert is_current(user, found) is current
