"""What supervisord does before it starts anything."""

from __future__ import annotations

import hashlib
import os
import pwd
import sys
from pathlib import Path

import pytest
from fakes.daemon import SETTINGS
from fakes.tcp import PEM

from supervisortw import supervisord
from supervisortw.config.sample import sample
from supervisortw.core.model import Configuration
from supervisortw.errors import AlreadyRunning, ConfigError, LocalError, Problem
from supervisortw.options import Options, parse

GOOD = """\
<supervisord>
  state-directory /var/lib/x
  <program web>
    command /bin/web
  </program>
</supervisord>
"""


class Started:
    """What would have been started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configurations: list[Configuration] = []
        self.outcome: int | Exception = 0
        monkeypatch.setattr(supervisord, "_start", self.start)
        monkeypatch.setattr(supervisord, "refuse_unsafe_files", lambda files: None)

    def start(self, options: Options, configuration: Configuration) -> int:
        self.configurations.append(configuration)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "supervisord.conf"
    path.write_text(GOOD)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["supervisord", *arguments])
    return supervisord.main()


def test_a_good_configuration_is_started(
    path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    started.outcome = 5
    assert run(monkeypatch, "-c", str(path)) == 5
    [configuration] = started.configurations
    assert list(configuration.programs) == ["web"]


def test_check_starts_nothing(
    path: Path,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--check", "-c", str(path)) == 0
    assert capsys.readouterr().out == f"{path}: no problems, 1 program\n"
    assert started.configurations == []


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_every_problem_is_told_and_the_code_is_2(
    path: Path,
    arguments: tuple[str, ...],
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path.write_text("<supervisord>\n  nonsense 1\n  rubbish 2\n</supervisord>\n")
    assert run(monkeypatch, "-c", str(path), *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(" ")[0] for line in told.err.splitlines()] == [f"{path}:2:", f"{path}:3:"]
    assert started.configurations == []


def test_the_sample_can_be_used(
    path: Path,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--sample-config") == 0
    printed = capsys.readouterr().out
    assert printed == sample()
    path.write_text(printed)
    assert run(monkeypatch, "--check", "-c", str(path)) == 0


@pytest.mark.parametrize(
    "error", [AlreadyRunning("another supervisord (pid 7) runs"), LocalError("no\x1b[2J space")]
)
def test_what_goes_wrong_on_this_machine_is_code_1(
    path: Path,
    error: LocalError,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started.outcome = error
    assert run(monkeypatch, "-c", str(path)) == 1
    told = capsys.readouterr().err
    assert told.startswith("supervisord: ")
    assert "\x1b" not in told


def test_files_that_root_does_not_believe_are_code_2(
    path: Path,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(files: object) -> None:
        raise ConfigError([Problem(str(path), None, "others can write it")])

    monkeypatch.setattr(supervisord, "refuse_unsafe_files", refuse)
    assert run(monkeypatch, "-c", str(path)) == 2
    assert capsys.readouterr().err == f"{path}: others can write it\n"
    assert started.configurations == []


class TestUserToBecome:
    def test_nobody_in_particular(self) -> None:
        assert supervisord._user_to_become(None) is None

    def test_ourselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        me = pwd.struct_passwd(("me", "x", os.geteuid(), 1001, "", "/home/me", "/bin/sh"))
        monkeypatch.setattr(pwd, "getpwnam", {"me": me}.__getitem__)
        assert supervisord._user_to_become("me") is None

    def test_root_can_become_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        alice = pwd.struct_passwd(("alice", "x", 1001, 1001, "", "/home/alice", "/bin/sh"))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(pwd, "getpwnam", {"alice": alice}.__getitem__)
        monkeypatch.setattr(pwd, "getpwuid", {1001: alice}.__getitem__)
        assert supervisord._user_to_become("alice") == alice
        assert supervisord._user_to_become("1001") == alice

    def test_others_cannot_and_go_on_as_they_are(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1001)
        assert supervisord._user_to_become("root") is None
        expected = "warning: only root can become user root; going on as uid 1001\n"
        assert capsys.readouterr().err == expected

    @pytest.mark.parametrize("name", ["nobody-of-that-name", "²", "99999999999999999999"])
    def test_nobody_of_that_name(self, name: str) -> None:
        with pytest.raises(LocalError) as caught:
            supervisord._user_to_become(name)
        assert str(caught.value) == f"no such user: {name} (key user)"


def test_the_holder_is_isolated_and_gets_the_command_line_of_the_daemon(path: Path) -> None:
    options = parse(["-c", str(path), "-n", "--strict", "-e", "debug"])
    configuration = Configuration(source=str(path), settings=SETTINGS)
    command = supervisord._holder_command(options, configuration, 7)
    end = command.index("--")
    assert command[:4] == [sys.executable, "-I", "-S", "-E"]
    assert command[4].endswith("/supervisortw/daemon/holder.py")
    assert command[5:end] == ["--lock-fd=7"]
    assert command[end + 1 : end + 3] == [sys.executable, "-I"]
    assert command[end + 3].endswith("/supervisortw/launch.py")
    assert all(os.path.isabs(each) for each in (command[4], command[end + 3]))
    assert parse(command[end + 4 :]) == options


def test_the_fingerprint_starts_nothing(
    path: Path,
    started: Started,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    state = Path(os.path.realpath(tmp_path)) / "state"
    path.write_text(GOOD.replace("/var/lib/x", str(state)))
    assert run(monkeypatch, "--fingerprint", "-c", str(path)) == 1
    assert "it is made when the first TCP port is opened" in capsys.readouterr().err
    (state / "tls").mkdir(parents=True)
    (state / "tls" / "certificate.pem").write_bytes(PEM % b"bWFkZQ==")
    assert run(monkeypatch, "--fingerprint", "-c", str(path)) == 0
    assert capsys.readouterr().out == f"SHA256:{hashlib.sha256(b'made').hexdigest()}\n"
    assert started.configurations == []
