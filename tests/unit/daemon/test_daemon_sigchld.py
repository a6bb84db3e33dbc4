"""Hearing of SIGCHLD by a pipe; no reactor, so the test says when it is read."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fakes.logged import log_lines
from fakes.readers import FakeReaders
from fakes.signals import handled_signals
from twisted.python.failure import Failure

from supervisortw.daemon.sigchld import on_sigchld


class TestOnSigchld:
    @pytest.fixture(autouse=True)
    def handled(self) -> Iterator[None]:
        with handled_signals():
            yield

    def test_it_is_called_for_no_other_signal(self) -> None:
        readers, calls = FakeReaders(), []
        stop = on_sigchld(readers, lambda: calls.append(1))
        signal.raise_signal(signal.SIGUSR1)
        readers.read()
        assert calls == []
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGCHLD)
        readers.read()
        assert calls == [1]
        [reader] = readers.readers
        assert reader.logPrefix() == "SIGCHLD"
        stop()

    def test_it_is_called_also_where_nobody_has_handled_the_signal(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        readers, calls = FakeReaders(), []
        stop = on_sigchld(readers, lambda: calls.append(1))
        signal.raise_signal(signal.SIGCHLD)
        readers.read()
        assert calls == [1]
        stop()

    def test_who_was_told_before_is_told_afterwards(self) -> None:
        readers, calls = FakeReaders(), []
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        stop_first = on_sigchld(readers, lambda: calls.append("first"))
        stop_second = on_sigchld(readers, lambda: calls.append("second"))
        signal.raise_signal(signal.SIGCHLD)
        signal.raise_signal(signal.SIGUSR1)
        readers.read()
        assert calls == ["second", "first"]
        assert os.read(reading, 100) == bytes([signal.SIGCHLD, signal.SIGUSR1])
        stop_second()
        stop_first()
        assert signal.set_wakeup_fd(-1) == writing
        os.close(reading)
        os.close(writing)

    def test_who_does_not_read_keeps_nobody_up(self) -> None:
        readers, calls = FakeReaders(), []
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(4096))
        signal.set_wakeup_fd(writing)
        stop = on_sigchld(readers, lambda: calls.append(1))
        signal.raise_signal(signal.SIGCHLD)
        readers.read()
        assert calls == [1]
        stop()
        os.close(reading)
        os.close(writing)

    def test_what_fails_is_logged_and_the_next_one_is_heard(self) -> None:
        readers, calls = FakeReaders(), []

        def fail() -> None:
            calls.append(1)
            raise RuntimeError("oh")

        stop = on_sigchld(readers, fail)
        with log_lines() as lines:
            for _ in range(2):
                signal.raise_signal(signal.SIGCHLD)
                readers.read()
        assert calls == [1, 1]
        assert "the end of a child came to nothing" in "".join(lines)
        stop()

    def test_a_lost_pipe_is_let_go(self) -> None:
        readers = FakeReaders()
        on_sigchld(readers, lambda: None)
        [reader] = readers.readers
        reader.connectionLost(Failure(OSError()))
        assert readers.readers == []
