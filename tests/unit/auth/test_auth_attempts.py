"""How often somebody may guess."""

from dataclasses import replace

import pytest

from supervisortw.auth.attempts import Attempts, source_of
from supervisortw.core.limits import LIMITS

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Time:
    def __init__(self, limits=LIMITS) -> None:
        self.now = 1000.0
        self.attempts = Attempts(lambda: self.now, limits)

    def fail(self, times=LIMITS.failures_per_source, source=HERE, user="alice") -> int:
        """Fail so many times; return for how long the last one locks the source out."""
        for _ in range(times):
            seconds = self.attempts.failed(source, user)
        return seconds

    def wait(self, source=HERE) -> int:
        return self.attempts.wait(source)


def test_the_fifth_failure_within_a_minute_locks_a_source_out() -> None:
    time = Time()
    assert time.fail(LIMITS.failures_per_source - 1) == 0
    assert time.wait() == 0
    time.now += 59.9
    assert time.fail(1) == 60
    assert time.wait() == 60
    assert time.wait(THERE) == 0
    time.now += 59.5
    assert time.wait() == 1
    time.now += 0.5
    assert time.wait() == 0


def test_who_fails_seldom_is_never_locked_out() -> None:
    time = Time()
    for _ in range(100):
        time.now += LIMITS.failures_per_source_seconds / (LIMITS.failures_per_source - 1)
        assert time.fail(1) == 0


def test_each_lockout_takes_twice_as_long_up_to_an_hour() -> None:
    time = Time()
    told = []
    for _ in range(9):
        told.append(time.fail())
        time.now += time.wait()
    assert told == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert max(told).to_bytes(2, "big")


def test_an_hour_without_a_failure_is_as_good_as_new() -> None:
    time = Time()
    time.fail()
    time.now += 60 + LIMITS.clean_seconds - 0.1
    assert time.fail() == 120
    time.now += 120 + LIMITS.clean_seconds
    assert time.fail() == 60


def test_a_long_lockout_is_not_forgotten_with_its_end() -> None:
    time = Time()
    for _ in range(7):
        time.fail()
        time.now += time.wait()
    assert time.fail() == 3600


def test_the_answer_for_a_user_who_is_guessed_at_takes_longer() -> None:
    time = Time()
    delays = []
    for number in range(14):
        delays.append(time.attempts.delay("alice"))
        time.fail(1, source=f"192.0.2.{number}")
    assert delays == [0] * 9 + [1, 2, 4, 8, 8]
    assert time.attempts.delay("bob") == 0
    time.now += LIMITS.failures_per_user_seconds
    assert time.attempts.delay("alice") == 0


def test_what_is_remembered_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    time = Time(replace(LIMITS, failing_remembered=3))
    time.fail(source="a")
    time.fail(source="b", times=1, user="u")
    time.fail(source="a", times=1)
    for number in range(2):
        time.fail(source=f"c{number}", times=1, user=f"user{number}")
    assert time.wait("a") == 60
    time.fail(source="d", times=1)
    time.fail(source="e", times=1)
    assert time.wait("a") == 0
    assert len(time.attempts._sources) == len(time.attempts._users) == 3


def test_a_user_who_is_always_guessed_at_takes_no_more_room() -> None:
    time = Time()
    time.fail(1000)
    assert len(time.attempts._users["alice"]) == 2 * LIMITS.failures_per_user
    assert len(time.attempts._sources[HERE].failures) < LIMITS.failures_per_source


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("no address", "no address"),
    ],
)
def test_a_network_of_one_site_is_one_source(host, source) -> None:
    assert source_of(host) == source
