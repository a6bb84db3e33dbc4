"""Which password is used where, who is asked for it, and what it is stretched to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes.asking import Asked
from fakes.passwordserver import KDF, REALM, stretched
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred

from supervisortw.client.passwords import NotSoon, Password, Passwords, Stretching
from supervisortw.core.limits import LIMITS
from supervisortw.errors import Denied, LocalError, PasswordWanted

A, B = "a:9001", "b:9001"
OTHER = b"another realm 16"


class Person:
    """Somebody who is asked, and answers when the test says so."""

    def __init__(self, **settings: object) -> None:
        self.there = True
        self.questions: list[tuple[str, bool]] = []
        self.answers: list[Deferred[str]] = []
        self.passwords = Passwords(lambda: self.ask if self.there else None, **settings)  # type: ignore[arg-type]

    async def ask(self, question: str, hidden: bool) -> str:
        self.questions.append((question, hidden))
        answer: Deferred[str] = Deferred()
        self.answers.append(answer)
        return await answer

    def says(self, text: str) -> None:
        self.answers.pop(0).callback(text)

    def gives_up(self) -> None:
        self.answers.pop(0).errback(EOFError())

    def wanted(self, where: str = A, failed: Password | None = None) -> Asked[Password]:
        return Asked(self.passwords.password(where, failed))


def test_who_is_asked_names_a_user_and_a_password() -> None:
    person = Person(usual_user="root")
    asked = person.wanted()
    assert person.questions == [("a:9001: user [root]: ", False)]
    person.says("alice")
    assert person.questions[1:] == [("a:9001: password of alice: ", True)]
    person.says("pässword123")
    assert (asked.answer.user, asked.answer.text) == ("alice", "pässword123".encode())


def test_the_memory_is_closed_before_there_is_a_password() -> None:
    closed: list[int] = []
    person = Person(beware=lambda: closed.append(len(person.questions)))
    person.wanted()
    assert closed == []
    person.says("alice")
    assert closed == [1]


def test_so_many_can_wait_for_one_answer() -> None:
    person = Person(user="alice")
    asked = [person.wanted(f"host{number}:9001") for number in range(1000)]
    assert len(person.questions) == 1
    person.says("pässword123")
    assert len({each.answer for each in asked}) == 1
    assert len(person.questions) == 1


def test_the_usual_user_needs_no_typing() -> None:
    person = Person(usual_user="root")
    asked = person.wanted()
    person.says("")
    person.says("x")
    assert asked.answer.user == "root"


def test_a_user_that_cannot_be_one() -> None:
    person = Person()
    asked = person.wanted()
    person.says("a b")
    with pytest.raises(Denied, match=r"^a:9001: a user name has up to 64"):
        assert asked.answer


def test_a_password_that_cannot_be_one() -> None:
    person = Person(user="alice")
    asked = person.wanted()
    person.says("x\x07y")
    with pytest.raises(Denied, match=r"^a:9001: a password cannot hold control characters"):
        assert asked.answer


def test_it_is_asked_for_once() -> None:
    person = Person(user="alice")
    first, second = person.wanted(A), person.wanted(B)
    assert len(person.questions) == 1
    person.says("secret")
    assert first.answer is second.answer
    person.passwords.works(A, first.answer)
    assert person.wanted(A).answer is first.answer
    assert len(person.questions) == 1


def test_after_a_wrong_one_it_is_asked_again_and_says_so() -> None:
    person = Person(user="alice")
    asked = person.wanted()
    person.says("wrong")
    again = person.wanted(A, asked.answer)
    expected = "a:9001: wrong password, or somebody in between; password of alice: "
    assert person.questions[-1] == (expected, True)
    person.says("right")
    assert again.answer.text == b"right"


def test_one_better_password_is_tried_at_all_daemons() -> None:
    person = Person(user="alice")
    first = person.wanted(A)
    person.says("wrong")
    wrong = first.answer
    at_a, at_b = person.wanted(A, wrong), person.wanted(B, wrong)
    person.says("right")
    assert at_a.answer is at_b.answer
    assert len(person.questions) == 2


def test_each_daemon_keeps_the_password_that_it_has_taken() -> None:
    person = Person(user="alice")
    first = person.wanted(A)
    person.says("one")
    one = first.answer
    person.passwords.works(A, one)
    second = person.wanted(B, one)
    person.says("two")
    person.passwords.works(B, second.answer)
    assert person.wanted(A).answer is one
    assert person.wanted(B).answer is second.answer
    changed = person.wanted(A, one)
    assert changed.answer is second.answer, "the latest is tried first"
    person.wanted(A, second.answer)
    assert len(person.questions) == 3


@pytest.mark.parametrize("how", [Person.gives_up, lambda person: person.says("")])
def test_who_gives_up_is_not_asked_for_all_the_others(how: Callable[[Person], None]) -> None:
    person = Person(user="alice")
    waiting = [person.wanted(where) for where in (A, B, "c:1")]
    how(person)
    for asked in waiting:
        with pytest.raises(PasswordWanted, match="no password was given"):
            assert asked.answer
    assert len(person.questions) == 1
    later = person.wanted()
    assert len(person.questions) == 2
    person.says("secret")
    assert later.answer.text == b"secret"


def test_ctrl_c_while_asked() -> None:
    person = Person(user="alice")
    waiting = Deferred.fromCoroutine(person.passwords.password(A))
    results: list[object] = []
    waiting.addErrback(lambda failure: results.append(failure.check(CancelledError)))
    other = person.wanted(B)
    waiting.cancel()
    assert results == [CancelledError]
    person.answers.pop(0)
    person.says("secret")
    assert other.answer.text == b"secret"


def test_nobody_is_there_to_be_asked() -> None:
    person = Person(user="alice")
    person.there = False
    assert not person.passwords.asks
    with pytest.raises(
        PasswordWanted, match=r"^a:9001: .*--password-fd N, or with 'password-file'"
    ):
        assert person.wanted().answer
    nobody = Person()
    nobody.there = False
    with pytest.raises(PasswordWanted, match=r"^a:9001: name a user, with -u NAME"):
        assert nobody.wanted().answer


def test_who_was_given_one_is_not_asked() -> None:
    person = Person(user="alice", given=b"secret")
    assert person.wanted().answer.text == b"secret"
    assert not person.passwords.asks
    assert person.questions == []


def test_a_password_does_not_show() -> None:
    password = Password("alice", b"canary")
    assert repr(password) == str(password) == f"{password}" == "<the password of alice>"
    assert not hasattr(password, "__dict__")


class Threads:
    """Threads that are done when the test says so."""

    def __init__(self) -> None:
        self.running: list[tuple[Callable[[], bytes], Deferred[bytes]]] = []
        self.stretching = Stretching(self.run)

    def run(self, work: Callable[[], bytes]) -> Deferred[bytes]:
        done: Deferred[bytes] = Deferred()
        self.running.append((work, done))
        return done

    def one_is_done(self) -> None:
        work, done = self.running.pop(0)
        done.callback(work())


@pytest.fixture
def threads() -> Threads:
    return Threads()


def password(text: str = "secret") -> Password:
    return Password("alice", text.encode())


def test_a_password_is_stretched_in_a_thread_once(threads: Threads) -> None:
    mine = password()
    first = Asked(threads.stretching.stretched(mine, KDF, REALM))
    second = Asked(threads.stretching.stretched(mine, KDF, REALM))
    assert len(threads.running) == 1
    assert not first.done
    threads.one_is_done()
    assert first.answer == second.answer == stretched("secret", "alice")
    assert Asked(threads.stretching.stretched(mine, KDF, REALM)).done
    assert threads.running == []


@pytest.mark.parametrize("error", [MemoryError(), ValueError("memory limit exceeded")])
def test_too_little_memory_is_told(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def stretch(*_: object) -> bytes:
        raise error

    monkeypatch.setattr("supervisortw.client.passwords.stretch", stretch)
    stretching = Stretching(maybeDeferred)
    with pytest.raises(LocalError, match=r"^not enough memory: 16 MiB are needed"):
        assert Asked(stretching.stretched(password(), KDF, REALM)).answer


def test_another_realm_or_password_is_another_one(threads: Threads) -> None:
    mine = password()
    for each, realm in ((mine, REALM), (mine, OTHER), (password("x"), REALM)):
        asked = Asked(threads.stretching.stretched(each, KDF, realm))
        threads.one_is_done()
        assert asked.done
    values = {*mine.stretched.values()}
    assert len(values) == 2


def test_few_are_stretched_at_once(threads: Threads) -> None:
    mine = password()
    realms = [bytes([number]) * 16 for number in range(5)]
    asked = [Asked(threads.stretching.stretched(mine, KDF, realm)) for realm in realms]
    assert len(threads.running) == LIMITS.stretched_at_once
    threads.one_is_done()
    assert len(threads.running) == LIMITS.stretched_at_once
    while threads.running:
        threads.one_is_done()
    assert all(each.done for each in asked)


def test_so_many_can_wait_for_the_same(threads: Threads) -> None:
    mine = password()
    asked = [Asked(threads.stretching.stretched(mine, KDF, REALM)) for _ in range(1000)]
    threads.one_is_done()
    assert {each.answer for each in asked} == {stretched("secret", "alice")}
    assert threads.running == []


def test_who_cannot_wait_long_waits_for_one_that_has_begun(threads: Threads) -> None:
    mine = password()
    realms = [bytes([number]) * 16 for number in range(LIMITS.stretched_at_once + 1)]
    asked = [Asked(threads.stretching.stretched_soon(mine, KDF, realm)) for realm in realms]
    with pytest.raises(NotSoon):
        assert asked.pop().answer
    asked.append(Asked(threads.stretching.stretched_soon(mine, KDF, realms[0])))
    queued = Asked(threads.stretching.stretched(mine, KDF, realms[-1]))
    assert len(threads.running) == LIMITS.stretched_at_once
    with pytest.raises(NotSoon):
        assert Asked(threads.stretching.stretched_soon(mine, KDF, realms[-1])).answer
    while threads.running:
        threads.one_is_done()
    assert all(each.done for each in [*asked, queued])
    assert Asked(threads.stretching.stretched_soon(mine, KDF, realms[-1])).answer == queued.answer


def test_who_goes_away_leaves_the_place_to_others(threads: Threads) -> None:
    mine = password()
    leaving = Deferred.fromCoroutine(threads.stretching.stretched(mine, KDF, REALM))
    leaving.addErrback(lambda failure: failure.trap(CancelledError))
    staying = Asked(threads.stretching.stretched(mine, KDF, OTHER))
    leaving.cancel()
    threads.running.pop(0)
    threads.one_is_done()
    assert staying.done
    asked = Asked(threads.stretching.stretched(mine, KDF, REALM))
    threads.one_is_done()
    assert asked.done
