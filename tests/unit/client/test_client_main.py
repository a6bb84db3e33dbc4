"""The options of supervisorctl, and which daemons it steers."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisortw.client import main
from supervisortw.client.commands import TABLE
from supervisortw.core.model import TcpAddress, UnixAddress
from supervisortw.errors import ConfigError, ConfigNotFound

CONFIG = """\
<supervisorctl>
  socket-name /run/one
  socket-name /run/two
  prompt steer
</supervisorctl>
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "supervisorctl.conf"
    path.write_text(CONFIG)
    return str(path)


def not_found(program: str) -> str:
    raise ConfigNotFound(f"{program}.conf", ["/etc"])


class TestSettings:
    def test_of_the_file_that_is_named(self, config: str) -> None:
        settings = main._settings(config, None)
        assert settings.sockets == (UnixAddress(path="/run/one"), UnixAddress(path="/run/two"))
        assert settings.prompt == "steer"

    def test_of_the_file_that_is_found(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(main, "find", lambda program: config)
        assert main._settings(None, None).prompt == "steer"

    def test_sockets_of_the_command_line_win(self, config: str) -> None:
        settings = main._settings(config, ["/run/three", "9001"])
        assert settings.sockets == (
            UnixAddress(path="/run/three"),
            TcpAddress(host="", port=9001),
        )
        assert settings.prompt == "steer"

    def test_without_a_file_the_usual_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(main, "find", not_found)
        monkeypatch.setattr(main, "runtime_directory", lambda: "/run/supervisortw")
        [socket] = main._settings(None, None).sockets
        assert str(socket) == "/run/supervisortw/supervisord.sock"
        assert main._settings(None, ["/run/x"]).sockets == (UnixAddress(path="/run/x"),)

    def test_a_file_that_was_named_has_to_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError):
            main._settings(str(tmp_path / "gone"), ["/run/x"])

    def test_what_is_no_socket(self, config: str) -> None:
        with pytest.raises(ConfigError, match="nonsense"):
            main._settings(config, ["nonsense"])


class TestOptions:
    def test_the_command_takes_the_rest_of_the_line(self) -> None:
        options = main._parser().parse_args(["-s", "/a", "-s", "/b", "tail", "-f", "-5", "web"])
        assert options.socket == ["/a", "/b"]
        assert options.command == ["tail", "-f", "-5", "web"]

    def test_without_a_command(self) -> None:
        options = main._parser().parse_args(["-c", "x.conf"])
        assert (options.config, options.command, options.socket) == ("x.conf", [], None)

    def test_help_shows_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main._parser().parse_args(["--help"])
        assert caught.value.code == 0
        told = capsys.readouterr().out
        assert all(command.summary in told for command in TABLE.values())

    @pytest.mark.parametrize("arguments", [["--nosuch"], ["-s"], ["--sock", "/x"]])
    def test_what_is_wrong_is_code_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main._parser().parse_args(arguments)
        assert caught.value.code == 2


def test_a_mistake_in_the_file_is_code_2_and_connects_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "supervisorctl.conf"
    path.write_text("<supervisorctl>\n  nonsense 1\n</supervisorctl>\n")
    monkeypatch.setattr("sys.argv", ["supervisorctl", "-c", str(path), "status"])
    monkeypatch.setattr(main, "_run", lambda *arguments: pytest.fail("connected"))
    assert main.main() == 2
    assert capsys.readouterr().err.startswith(f"{path}:2: ")
