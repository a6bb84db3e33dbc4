"""Which way output goes, from a program's setting to where it arrives."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.daemon import process
from fakes.logdirectory import FakeLogDirectory
from fakes.reactor import FakeReactor
from fakes.store import FakeStore
from twisted.internet.defer import Deferred, fail

from supervisortw.core.limits import LIMITS
from supervisortw.core.model import DISCARD, SYSLOG, Keeping, LogFormat, Process
from supervisortw.core.syslog import SyslogAddress, Transport
from supervisortw.daemon.destinations import Destinations
from supervisortw.daemon.logfile import LogFile
from supervisortw.daemon.logpipe import LogPipes
from supervisortw.daemon.output import Output, PassedOn, ProgramLog
from supervisortw.daemon.sharedlog import SharedLog
from supervisortw.daemon.stamps import Stamps
from supervisortw.daemon.targets import Targets
from supervisortw.errors import Refused, SpawnError

US = os.geteuid()
TEXT, JSON = LogFormat.TEXT, LogFormat.JSON


class Bench:
    """Everything between a program and where its output goes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.reactor = FakeReactor()
        self.store = FakeStore()
        self.directory = FakeLogDirectory(place)
        self.outputs: list[Output] = []
        self.begin()

    def begin(self) -> None:
        stamps = Stamps(lambda: 0.0)
        self.targets = Targets(self.reactor, _no_thread, stamps)
        pipes = LogPipes(self.reactor, self.store)
        self.destinations = Destinations(pipes, self.targets, self._file, stamps)

    def _file(self, process: Process, name: str, path: str) -> LogFile:
        return LogFile(path, self.directory.visit, Keeping(), self.reactor)

    def output(self, path: str, name: str = "web", **keys: object) -> Output:
        made = self.destinations.output(process("web", **keys), name, path)
        self.outputs.append(made)
        return made

    def say(self, output: Output, data: bytes) -> None:
        writer = output.writer(US)
        os.write(writer, data)
        os.close(writer)
        self.reactor.read()

    def close(self) -> None:
        for output in self.outputs:
            output.close()
        assert self.reactor.readers == self.reactor.writers == []
        assert self.reactor.getDelayedCalls() == []
        assert self.store.kept == {}


def _no_thread(*_: object) -> Deferred[object]:
    return fail(OSError("no names are looked up here"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


class TestWhich:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            (DISCARD, PassedOn),
            (SYSLOG, SharedLog),
            ("/dev/stdout", SharedLog),
            ("/dev/null", SharedLog),
            ("/var/log/web.log", ProgramLog),
        ],
    )
    def test_kinds(self, bench: Bench, path: str, kind: type[Output]) -> None:
        assert isinstance(bench.output(path), kind)

    @pytest.mark.parametrize(
        ("path", "where"),
        [
            (DISCARD, "nowhere (logfile none)"),
            ("/dev/stderr", "supervisord's /dev/stderr"),
            ("/dev/null", "/dev/null"),
            (SYSLOG, "syslog at /dev/log"),
        ],
    )
    def test_what_is_in_no_file_cannot_be_read_back(
        self, bench: Bench, path: str, where: str
    ) -> None:
        output = bench.output(path)
        asked: list[Callable[[], object]] = [
            lambda: output.tail(1),
            lambda: output.read(0, 1),
            lambda: output.watch(lambda: None),
            output.clear,
        ]
        for ask in asked:
            with pytest.raises(Refused) as caught:
                ask()
            assert str(caught.value) == f"its output goes to {where} and is not kept"

    def test_nothing_of_ours_is_in_between_where_it_is_thrown_away(self, bench: Bench) -> None:
        writer = bench.output(DISCARD).writer(US)
        assert os.path.samestat(os.fstat(writer), os.stat(os.devnull))
        os.close(writer)


class TestFile:
    def log(self, bench: Bench) -> list[str]:
        return (bench.place / "web.log").read_text().splitlines()

    def test_lines_are_formed_and_read_back(self, bench: Bench) -> None:
        output = bench.output(str(bench.place / "web.log"), log_format=TEXT)
        bench.say(output, b"one\ntwo\n")
        assert self.log(bench) == ["web | one", "web | two"]
        assert output.tail(1).data == b"web | two\n"

    def test_what_is_no_whole_line_is_there_when_the_process_has_ended(self, bench: Bench) -> None:
        output = bench.output(str(bench.place / "web.log"), log_format=TEXT)
        bench.say(output, b"last words")
        output.drain()
        assert self.log(bench) == ["web | last words"]

    def test_the_form_changes_in_place(self, bench: Bench) -> None:
        path = str(bench.place / "web.log")
        output = bench.output(path)
        writer = output.writer(US)
        for keys in ({}, {"log_format": TEXT}, {"log_format": JSON}, {}):
            output.keep(process("web", **keys))
            os.write(writer, b"one\n")
            bench.reactor.read()
        os.close(writer)
        first, second, third, fourth = self.log(bench)
        assert [first, second, fourth] == ["one", "web | one", "one"]
        assert json.loads(third)["line"] == "one"

    def test_what_is_no_whole_line_yet_ends_where_the_form_changes(self, bench: Bench) -> None:
        output = bench.output(str(bench.place / "web.log"), log_format=TEXT)
        writer = output.writer(US)
        os.write(writer, b"begun")
        bench.reactor.read()
        output.keep(process("web", log_format=TEXT))
        os.write(writer, b" and")
        bench.reactor.read()
        output.keep(process("web"))
        os.write(writer, b"ended\n")
        bench.reactor.read()
        os.close(writer)
        assert self.log(bench) == ["web | begun and", "ended"]

    def test_what_is_missing_is_told_in_the_same_form(self, bench: Bench) -> None:
        output = bench.output(str(bench.place / "web.log"), log_format=JSON)
        bench.say(output, b"one\n")
        (bench.place / "web.log").unlink()
        bench.directory.not_opened = "the directory was removed"
        writer = output.writer(US)
        os.write(writer, b"lost\n")
        bench.reactor.read()
        bench.directory.not_opened = ""
        bench.reactor.advance(LIMITS.log_retry_seconds)
        os.write(writer, b"two\n")
        bench.reactor.read()
        os.close(writer)
        mark, line = map(json.loads, self.log(bench))
        assert mark["stream"] == "supervisord"
        assert "bytes are missing here: the directory was removed" in mark["line"]
        assert line["line"] == "two"

    @pytest.mark.needs_linux
    @pytest.mark.parametrize(("form", "lines"), [(TEXT, 2), (LogFormat.RAW, 1)])
    def test_after_the_death_of_a_daemon_a_gap_is_told_where_there_may_be_one(
        self, bench: Bench, form: LogFormat, lines: int
    ) -> None:
        path = str(bench.place / "web.log")
        old = bench.output(path, log_format=form)
        writer = old.writer(US)
        bench.store.next_daemon()
        bench.reactor.removeAll()
        bench.begin()
        bench.output(path, log_format=form)
        os.write(writer, b"one\n")
        bench.reactor.read()
        os.close(writer)
        found = self.log(bench)
        assert len(found) == lines
        assert "supervisord died" in found[0] or lines == 1


@pytest.mark.needs_linux
class TestFifo:
    @pytest.fixture
    def fifo(self, tmp_path: Path) -> Path:
        os.mkfifo(tmp_path / "fifo")
        return tmp_path / "fifo"

    def read(self, fifo: Path) -> bytes:
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(reader, 1 << 20)
        finally:
            os.close(reader)

    def test_programs_share_it_line_by_line(self, bench: Bench, fifo: Path) -> None:
        web = bench.output(str(fifo), log_format=TEXT)
        bench.outputs.append(
            db := bench.destinations.output(process("db", log_format=TEXT), "db", str(fifo))
        )
        bench.say(web, b"one\ntw")
        bench.say(db, b"other\n")
        bench.say(web, b"o\n")
        assert self.read(fifo) == b"web | one\ndb | other\nweb | two\n"

    def test_lines_that_are_not_formed_are_whole_all_the_same(
        self, bench: Bench, fifo: Path
    ) -> None:
        web, db = bench.output(str(fifo)), bench.output(str(fifo), "db")
        bench.say(web, b"one\ntw")
        bench.say(db, b"other\n")
        bench.say(web, b"o\n")
        assert self.read(fifo) == b"one\nother\ntwo\n"

    def test_without_a_reader_the_program_goes_on_and_it_is_told(
        self, bench: Bench, fifo: Path
    ) -> None:
        web = bench.output(str(fifo), log_format=TEXT)
        writer = web.writer(US)
        os.set_blocking(writer, False)
        written = 0
        for _ in range(200):
            written += os.write(writer, b"x" * 999 + b"\n")
            bench.reactor.read()
        assert written == 200_000, "nobody ever waits"
        assert f"so far: {fifo}: it is not read fast enough" in web.note()
        found = b""
        while b"missing here" not in found:
            found += self.read(fifo)
            bench.reactor.write()
        os.write(writer, b"again\n")
        os.close(writer)
        bench.reactor.read()
        assert self.read(fifo) == b"web | again\n"
        kept, _, mark = found[:-1].rpartition(b"\n")
        lost = written - 1000 * (kept.count(b"\n") + 1)
        assert mark.startswith(b"web ! -- supervisord: %d bytes are missing here" % lost)
        assert web.note().startswith(f"{lost} bytes of its output were lost")

    def test_one_that_must_not_be_opened_means_no_process(self, bench: Bench, fifo: Path) -> None:
        fifo.parent.chmod(0o777)
        with pytest.raises(SpawnError, match="log not writable: ") as caught:
            bench.output(str(fifo)).writer(US)
        assert caught.value.permanent
        fifo.parent.chmod(0o700)

    def test_it_is_opened_anew_by_its_name(self, bench: Bench, fifo: Path) -> None:
        web = bench.output(str(fifo))
        bench.say(web, b"one\n")
        fifo.unlink()
        os.mkfifo(fifo)
        web.reopen()
        bench.say(web, b"two\n")
        assert self.read(fifo) == b"two\n"

    def test_it_is_closed_with_the_last_who_has_it(self, bench: Bench, fifo: Path) -> None:
        web, db = bench.output(str(fifo)), bench.output(str(fifo), "db")
        bench.say(web, b"one\n")
        bench.outputs.clear()
        web.close()
        bench.say(db, b"two\n")
        assert self.read(fifo) == b"one\ntwo\n"
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        db.close()
        assert os.read(reader, 1) == b"", "nobody has it"
        os.close(reader)

    def test_after_the_death_of_a_daemon_a_gap_is_told(self, bench: Bench, fifo: Path) -> None:
        writer = bench.output(str(fifo)).writer(US)
        bench.outputs.clear()
        bench.store.next_daemon()
        bench.reactor.removeAll()
        bench.begin()
        assert bench.output(str(fifo)).is_read()
        os.write(writer, b"one\n")
        os.close(writer)
        bench.reactor.read()
        gap = b"-- supervisord: output may be missing here: supervisord died --\n"
        assert self.read(fifo) == gap + b"one\n"


class TestSyslog:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.bind(str(tmp_path / "log"))
            made.setblocking(False)
            yield made

    def test_messages_arrive_with_tag_and_severity(
        self, bench: Bench, server: socket.socket, tmp_path: Path
    ) -> None:
        keys = {"syslog_address": SyslogAddress(path=str(tmp_path / "log")), "syslog_tag": "tag"}
        out, err = bench.output(SYSLOG, **keys), bench.output(SYSLOG, "web/stderr", **keys)
        bench.say(out, b"one\n")
        bench.say(err, b"two\n")
        found = [server.recv(1000), server.recv(1000)]
        assert [message[:4] for message in found] == [b"<30>", b"<27>"]
        assert [message.partition(b" tag: ")[2] for message in found] == [b"one", b"two"]

    def test_it_changes_in_place(self, bench: Bench, server: socket.socket, tmp_path: Path) -> None:
        nowhere = SyslogAddress(path=str(tmp_path / "nothing"))
        output = bench.output(SYSLOG, syslog_address=nowhere)
        writer = output.writer(US)
        os.write(writer, b"lost\nbeg")
        bench.reactor.read()
        assert output.note().startswith(f"its output is waiting: syslog at {nowhere}: No such file")
        address = SyslogAddress(path=str(tmp_path / "log"))
        output.keep(process("web", syslog_address=address, syslog_tag="new"))
        os.write(writer, b"un\n")
        bench.reactor.advance(LIMITS.log_retry_seconds)
        bench.reactor.read()
        os.close(writer)
        first, second = server.recv(1000), server.recv(1000)
        assert b"bytes are missing here: No such file" in first
        assert second.endswith(b" new: begun")
        with pytest.raises(Refused, match=f"syslog at {address}"):
            output.tail(1)

    def test_one_connection_to_an_address(self, bench: Bench, tmp_path: Path) -> None:
        one, two = (
            bench.targets.outlet(
                name,
                SYSLOG,
                process(name, syslog_address=SyslogAddress(path=str(tmp_path / "log"))),
            )
            for name in ("one", "two")
        )
        other = bench.targets.outlet("web", SYSLOG, process("web"))
        assert one.target is two.target
        assert one.target is not other.target
        for outlet in (one, two, other):
            bench.targets.release(outlet)

    def test_each_transport_has_its_target(self, bench: Bench) -> None:
        for transport in (Transport.UDP, Transport.TCP):
            address = SyslogAddress(transport=transport, host="127.0.0.1", port=1)
            outlet = bench.targets.outlet("web", SYSLOG, process("web", syslog_address=address))
            assert outlet.target.where == f"syslog at {transport.value}:127.0.0.1:1"
            bench.targets.release(outlet)


class TestEnd:
    def test_the_daemon_waits_for_nothing_if_nothing_waits(self, bench: Bench) -> None:
        finished = bench.targets.finish()
        bench.reactor.advance(0)
        assert finished.called
        bench.output("/dev/null")
        assert bench.targets.finish().called

    @pytest.mark.needs_linux
    def test_it_does_not_wait_for_ever(self, bench: Bench, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        web = bench.output(str(tmp_path / "fifo"))
        bench.say(web, b"x" * 60_000 + b"\n")
        bench.say(web, b"x" * 60_000 + b"\n")
        finished = bench.targets.finish()
        assert not finished.called
        bench.reactor.advance(LIMITS.target_last_seconds)
        assert finished.called
