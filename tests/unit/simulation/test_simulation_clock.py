"""Simulated time: what is due comes in order, and spans of time are exact."""

from __future__ import annotations

from supervisortw.simulation.clock import SimulatedClock


def run(clock: SimulatedClock) -> None:
    while clock.next_due() is not None:
        clock.step()


def test_calls_come_by_their_times_and_those_of_one_time_in_the_order_of_asking() -> None:
    clock, made = SimulatedClock(), []
    for delay, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        clock.callLater(delay, lambda each: made.append((clock.seconds(), each)), name)
    run(clock)
    assert made == [(1, "a"), (1, "b"), (2, "c"), (2, "d")]
    assert clock.calls == 4


def test_what_is_asked_for_at_once_comes_in_the_same_moment_but_not_before_the_others() -> None:
    clock, made = SimulatedClock(), []
    clock.callLater(1, lambda: clock.callLater(0, made.append, "later"))
    clock.callLater(1, made.append, "first")
    run(clock)
    assert (made, clock.seconds()) == (["first", "later"], 1)


def test_a_cancelled_call_is_not_made_and_not_waited_for() -> None:
    clock, made = SimulatedClock(), []
    clock.callLater(1, made.append, "a").cancel()
    later = clock.callLater(2, made.append, "b")
    assert clock.next_due() == 2
    run(clock)
    later.cancel()  # too late, and no harm
    assert (made, clock.calls) == (["b"], 1)


def test_a_span_is_exact_wherever_it_begins() -> None:
    clock, spans = SimulatedClock(), []

    def begin() -> None:
        began = clock.seconds()
        clock.callLater(3, lambda: spans.append(clock.seconds() - began))

    clock.callLater(1.1, begin)  # 1.1 + 3 - 1.1 is less than 3 in plain numbers
    clock.callLater(1e9 + 0.3, begin)
    run(clock)
    assert spans == [3, 3]


def test_time_passes_only_forwards() -> None:
    clock = SimulatedClock()
    clock.go_to(5)
    clock.go_to(3)
    assert clock.seconds() == 5
