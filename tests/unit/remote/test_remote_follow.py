"""A log that is followed over a session, in front of a daemon that pretends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes.asking import Asked
from fakes.control import FakeControl
from fakes.network import Network
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from supervisortw.client.amount import Amount
from supervisortw.client.render import LogWriter
from supervisortw.client.shownlog import ShownLog
from supervisortw.core.limits import LIMITS
from supervisortw.core.status import LogPiece
from supervisortw.errors import Refused
from supervisortw.interfaces import Cancel
from supervisortw.remote.connection import Session

WINDOW = LIMITS.chunks_unacknowledged
LINE = b"x" * 10_000_000 + b"\n"


class Reader:
    """A client that says for each piece when it has dealt with it."""

    def __init__(self, control: FakeControl) -> None:
        self.network = Network(control, Clock())
        self.session: Session = self.network.log_in()
        self.pieces: list[LogPiece] = []
        self.pending: list[Deferred[None]] = []
        self.refusals: list[Refused] = []

    def follow(self, offset: int = 0, epoch: str = "") -> Cancel:
        following = Asked(
            self.session.follow(
                "web", offset, self._received, epoch=epoch, refused=self.refusals.append
            )
        )
        self.network.pass_time()
        return following.answer

    def _received(self, piece: LogPiece) -> Deferred[None]:
        self.pieces.append(piece)
        self.pending.append(Deferred())
        return self.pending[-1]

    def acknowledge(self) -> None:
        self.pending.pop(0).callback(None)
        self.network.pass_time()

    def read_all(self) -> None:
        while self.pending:
            self.acknowledge()

    @property
    def data(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    @property
    def end(self) -> int:
        return self.pieces[-1].offset + len(self.pieces[-1].data)


@pytest.fixture
def control() -> FakeControl:
    return FakeControl(Clock(), ["web"])


class TestWindow:
    def test_of_a_line_of_10_mb_no_more_is_under_way_than_the_window_has(
        self, control: FakeControl
    ) -> None:
        control.write("web", LINE)
        reader = Reader(control)
        reader.follow()
        assert len(reader.data) == WINDOW * LIMITS.piece_bytes
        while reader.pending:
            assert len(reader.pending) <= WINDOW
            reader.acknowledge()
        assert reader.data == LINE

    def test_who_stops_reading_and_comes_back_costs_nothing_meanwhile(
        self, control: FakeControl
    ) -> None:
        first = Reader(control)
        first.follow()
        for number in range(1000):
            control.write("web", b"%d\n" % number)
        first.network.pass_time()
        assert len(first.pieces) == WINDOW
        first.session.close()
        first.network.pass_time(1)
        assert control.programs["web"].log.watchers == []
        second = Reader(control)
        second.follow(first.end, first.pieces[-1].epoch)
        second.read_all()
        assert first.data + second.data == b"".join(b"%d\n" % number for number in range(1000))

    def test_unfollowed_nothing_more_comes(self, control: FakeControl) -> None:
        reader = Reader(control)
        stop = reader.follow()
        stop()
        reader.network.pass_time()
        control.write("web", b"unseen\n")
        reader.network.pass_time()
        assert reader.pieces == []


class TestComingBack:
    @pytest.mark.parametrize(
        ("epoch", "expected"), [("e1", b"second\n"), ("e0", b"first\nsecond\n"), ("", b"second\n")]
    )
    def test_the_epoch_tells_whether_it_is_the_same_log(
        self, control: FakeControl, epoch: str, expected: bytes
    ) -> None:
        control.write("web", b"first\nsecond\n")
        reader = Reader(control)
        reader.follow(len(b"first\n"), epoch)
        assert reader.data == expected
        assert reader.pieces[-1].epoch == "e1"

    def test_a_program_that_is_removed_ends_it(self, control: FakeControl) -> None:
        reader = Reader(control)
        reader.follow()
        control.programs.pop("web").log.tell()
        reader.network.pass_time()
        [refusal] = reader.refusals
        assert str(refusal) == "web: no such program; none is configured"
        assert reader.pieces == []


@pytest.mark.parametrize("mark", ["", "web | "])
def test_the_client_holds_no_more_of_a_line_of_10_mb_than_a_part(
    control: FakeControl, mark: str
) -> None:
    control.write("web", b"begin\n")
    network = Network(control, Clock())
    held, shown = 0, 0

    def write(text: str) -> None:
        nonlocal held, shown
        held = max(held, len(writer._line), len(text))
        shown += text.count("x")

    writer = LogWriter(write, mark)
    log = ShownLog("web", Amount(), writer, _fail)
    following = Asked(log.go_on(network.log_in()))
    network.pass_time()
    assert following.answer is None
    control.write("web", LINE)
    network.pass_time()
    assert shown == 10_000_000
    assert held < 2 * LIMITS.piece_bytes
    log.stop()
    network.pass_time()
    assert control.programs["web"].log.watchers == []


def test_what_was_on_its_way_when_it_was_stopped_is_not_shown(control: FakeControl) -> None:
    network = Network(control, Clock())
    shown: list[str] = []
    log = ShownLog("web", Amount(), LogWriter(shown.append), _fail)
    Asked(log.go_on(network.log_in()))
    network.pass_time()
    control.write("web", b"shown\n")
    network.pass_time()
    control.write("web", b"too late\n")
    gone = control.programs.pop("web").log
    gone.tell()
    log.refused = lambda error: pytest.fail("too late as well")
    log.stop()
    network.pass_time()
    assert shown == ["shown\n"]
    assert gone.watchers == []


_fail: Callable[[str], None] = pytest.fail
