"""The command line of pid-proxy; what it does to processes is tested with real ones."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from supervisortw import __version__
from supervisortw.tools import pidproxy
from supervisortw.tools.endings import Endings
from supervisortw.tools.pidproxy import PidProxy, main


def test_help_tells_what_cannot_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: pid-proxy PIDFILE COMMAND [ARGUMENT]...\n")
    assert "KILL cannot be passed on" in output
    assert max(len(line) for line in output.splitlines()) <= 80


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pid-proxy {__version__}\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "PIDFILE and COMMAND are needed"),
        (["/run/x.pid"], "PIDFILE and COMMAND are needed"),
        (["", "true"], "PIDFILE and COMMAND are needed"),
        (["--", "/run/x.pid"], "PIDFILE and COMMAND are needed"),
        (["--pidfile", "/run/x.pid", "true"], "unknown option --pidfile"),
        (["-x"], "unknown option -x"),
    ],
)
def test_wrong_usage(capfd: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    assert main(words) == 2
    assert capfd.readouterr().err == f"pid-proxy: {problem}\n{pidproxy.USAGE}\n"


def test_the_words_of_the_process_are_the_default(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pid-proxy", "--nonsense"])
    assert main() == 2
    assert "unknown option --nonsense" in capfd.readouterr().err


def test_other_systems_are_told_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main(["--", "/run/x.pid", "true"]) == 69
    assert capfd.readouterr().err.startswith("pid-proxy: needs Linux; darwin lets no process")


@pytest.mark.needs_linux
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not come that far")
def test_an_old_kernel_is_told_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("os.pidfd_open", refuse)
    assert main(["/run/x.pid", "true"]) == 69
    assert capfd.readouterr().err == (
        "pid-proxy: needs Linux 5.3 or later, and /proc: Function not implemented\n"
    )


@pytest.mark.needs_linux
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not come that far")
def test_a_proc_of_another_namespace_is_told_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.readlink", lambda path: "1")
    assert main(["/run/x.pid", "true"]) == 69
    assert "needs a /proc that belongs to its own pid namespace" in capfd.readouterr().err


@pytest.mark.needs_linux
@pytest.mark.skipif(sys.platform != "linux", reason="needs pidfds")
def test_a_successor_that_is_found_stops_the_clock(tmp_path: Path) -> None:
    child = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    try:
        proxy = PidProxy(str(tmp_path / "x.pid"), ["sleep", "60"])
        proxy._endings = Endings(child)
        proxy._end_at = proxy._notice_at = 1.0
        assert str(proxy._look()).endswith("does not exist")
        assert [proxy._end_at, proxy._notice_at] == [1.0, 1.0]
        (tmp_path / "x.pid").write_text(f"{child}\n")
        assert proxy._look() is None
        assert [proxy._end_at, proxy._notice_at] == [None, None]
        assert proxy._real is not None
        proxy._real.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_is_said_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    pidproxy._say("a\nb\x1b\udcff é")
    assert capfd.readouterr().err == "pid-proxy: a\\nb\\x1b\\udcff é\n"
