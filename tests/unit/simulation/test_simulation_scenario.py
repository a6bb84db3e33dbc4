"""How people write what is to happen, and what they are told where it makes no sense."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.core.limits import LIMITS
from supervisortw.simulation.options import read
from supervisortw.simulation.scenario import (
    Crash,
    Death,
    Request,
    Scenario,
    Wait,
    crash,
    request,
    span,
    wait,
)


def code(number: int) -> int:
    return number << 8


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("2.5", 2.5),
        ("0s", 0),
        ("500ms", 0.5),
        ("3s", 3),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("10y", 10 * 365 * 86_400),
        ("1m30.5s", 90.5),
    ],
)
def test_spans(text: str, seconds: float) -> None:
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1 s", "1w", "5m3", "1.2.3", ".5", "1e3", "nan"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; expected a time such as 3s, 500ms") as caught:
        span(text)
    assert f"'{text}'" in str(caught.value)


def test_a_simulation_has_its_longest_time() -> None:
    assert span("100y") == LIMITS.simulated_seconds
    with pytest.raises(ValueError, match="'101y' is too long; a simulation covers 100y at most"):
        span("101y")


class TestCrash:
    def test_times(self) -> None:
        deaths = tuple(Death(after=after, status=code(1)) for after in (0, 3, 7))
        assert crash("web@0s,3s,7s") == Crash(name="web", deaths=deaths)

    @pytest.mark.parametrize("again", ["...", "*"])
    def test_the_last_one_again_and_again(self, again: str) -> None:
        found = crash(f"web@1s,2s,{again}")
        assert found.repeats
        assert [each.after for each in found.deaths] == [1, 2]

    @pytest.mark.parametrize(
        ("text", "statuses"),
        [
            ("a@1s", [code(1)]),
            ("a@1s:0", [code(0)]),
            ("a@1s,2s,3s:SEGV", [signal.SIGSEGV] * 3),
            ("a@1s:2,2s", [code(2), code(1)]),
            ("a@1s:KILL,2s,3s:0", [signal.SIGKILL, code(0), code(0)]),
            ("a@1s:sigterm,...", [signal.SIGTERM]),
            ("a@1s:255", [code(255)]),
        ],
    )
    def test_an_end_holds_for_those_before_it(self, text: str, statuses: list[int]) -> None:
        assert [each.status for each in crash(text).deaths] == statuses

    @pytest.mark.parametrize("name", ["web", "group:web_1", "group:*", "user@host", "a@1s"])
    def test_names_may_have_marks_of_their_own(self, name: str) -> None:
        assert crash(f"{name}@3s:9").name == name

    def test_starts_after_the_last_one_live_or_end_like_it(self) -> None:
        once, again = crash("web@1s,2s"), crash("web@1s,2s,...")
        assert [each and each.after for each in map(once.death, range(3))] == [1, 2, None]
        assert [each and each.after for each in map(again.death, range(4))] == [1, 2, 2, 2]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("web", "'web': expected NAME@TIME, or NAME@TIME,TIME,..., such as web@0s,3s,7s"),
            ("@3s", "'@3s': expected NAME@TIME"),
            ("web@", "'web@': expected NAME@TIME"),
            ("web@soon", "web@soon: 'soon' is no time"),
            ("web@1s,,2s", "web@1s,,2s: '' is no time"),
            ("web@1s:256", "'256' is neither an exit code from 0 to 255 nor a signal such as SEGV"),
            ("web@1s:999", "'999' is neither"),
            ("web@1s:SIGNONE", "'SIGNONE' is neither"),
            ("web@1s:", "'' is neither"),
            ("web@...", "web@...: '...' stands once, at the end, after a time to be repeated"),
            ("web@...,1s", "'...' stands once"),
            ("web@1s,...,...", "'...' stands once"),
        ],
    )
    def test_what_is_wrong(self, text: str, told: str) -> None:
        with pytest.raises(ValueError) as caught:
            crash(text)
        assert told in str(caught.value)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.sampled_from("web@:,.*0123smhKILLSEGV- "), max_size=30))
    def test_anything_is_read_or_refused(self, text: str) -> None:
        try:
            found = crash(text)
        except ValueError:
            return
        assert found.name
        assert found.deaths
        assert all(0 <= each.after <= LIMITS.simulated_seconds for each in found.deaths)


class TestOthers:
    def test_waits(self) -> None:
        assert wait("web@15s") == Wait(name="web", seconds=15)
        assert wait("web@never") == Wait(name="web", seconds=None)

    def test_requests(self) -> None:
        assert request("stop", "all@1m") == Request(verb="stop", name="all", at=60)

    @pytest.mark.parametrize("text", ["web", "web@", "@1s", "web@x"])
    def test_what_is_wrong(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected"):
            wait(text)
        with pytest.raises(ValueError, match="expected"):
            request("stop", text)


class TestOptions:
    def test_all_of_them(self) -> None:
        words = (
            "-c x.conf --crash a@1s --crash b@2s --until=5m --exec-fails c --stop-takes a@never"
            " --ready-takes b@3s --start a@1s --stop=b@2s --restart all@3s --seed 7"
        )
        assert read(words.split()) == (
            "x.conf",
            Scenario(
                until=300,
                crashes=(crash("a@1s"), crash("b@2s")),
                exec_fails=("c",),
                stop_takes=(wait("a@never"),),
                ready_takes=(wait("b@3s"),),
                requests=(
                    request("start", "a@1s"),
                    request("stop", "b@2s"),
                    request("restart", "all@3s"),
                ),
                seed=7,
            ),
        )

    def test_none_of_them(self) -> None:
        assert read([]) == (None, Scenario())

    def test_a_value_may_begin_with_what_an_option_begins_with(self) -> None:
        assert read(["--config=-x"]) == ("-x", Scenario())
        assert read(["-c", "-x"]) == ("-x", Scenario())

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ("web", "unexpected: web"),
            ("--nonsense", "unknown option: --nonsense"),
            ("--crahs web@1s", "unknown option: --crahs; did you mean --crash?"),
            ("--crash", "--crash needs a value"),
            ("--until=", "--until needs a value"),
            ("--until soon", "--until 'soon' is no time; expected a time such as 3s"),
            ("--crash web@x", "--crash web@x: 'x' is no time"),
            ("--stop web", "--stop 'web': expected NAME@TIME, such as web@10s"),
            ("--seed x", "--seed 'x' is no number; expected a whole number, 0 or more"),
            ("-c a --config b", "--config is given twice"),
        ],
    )
    def test_what_is_wrong(self, words: str, told: str) -> None:
        with pytest.raises(ValueError) as caught:
            read(words.split())
        assert str(caught.value).startswith(told)
