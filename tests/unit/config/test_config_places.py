"""Where things are when nobody says otherwise."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from supervisortw.config import places
from supervisortw.errors import ConfigError, ConfigNotFound


def put(path: Path) -> str:
    path.parent.mkdir(parents=True)
    path.write_text("")
    return str(path)


def test_the_first_place_wins_and_is_not_for_root(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    shared = put(prefix / "etc/supervisortw/supervisord.conf")
    assert places.find("supervisord", uid=5, home=str(tmp_path), prefix=str(prefix)) == shared
    own = put(tmp_path / ".config/supervisortw/supervisord.conf")
    assert places.find("supervisord", uid=5, home=str(tmp_path), prefix=str(prefix)) == own
    assert places.find("supervisord", uid=0, home=str(tmp_path), prefix=str(prefix)) == shared


def test_all_places_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "x/supervisorctl.conf")
    monkeypatch.chdir(tmp_path / "x")
    monkeypatch.setattr("os.path.isfile", lambda _: False)
    with pytest.raises(ConfigNotFound) as caught:
        places.find("supervisorctl", uid=5, home="/home/you", prefix="/opt/venv")
    assert caught.value.places == (
        "/home/you/.config/supervisortw/supervisorctl.conf",
        "/opt/venv/etc/supervisortw/supervisorctl.conf",
        "/etc/supervisortw/supervisorctl.conf",
        "/usr/local/etc/supervisor/supervisorctl.conf",
    )
    for place in caught.value.places:
        assert place in str(caught.value)


def test_state_directory() -> None:
    assert places.state_directory(uid=0) == "/var/lib/supervisortw"
    assert places.state_directory() == "/home/me/.local/state/supervisortw"
    assert places.state_directory(uid=7, home="/h") == "/h/.local/state/supervisortw"


def test_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.runtime_directory() == "/home/me/.local/state/supervisortw/run"
    assert places.runtime_directory(uid=7, home="/h", xdg="x") == "/h/.local/state/supervisortw/run"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert places.runtime_directory() == "/run/user/7/supervisortw"
    monkeypatch.setattr("os.path.isdir", lambda path: path == "/run")
    assert places.runtime_directory(uid=0) == "/run/supervisortw"
    monkeypatch.setattr("os.path.isdir", lambda _: False)
    assert places.runtime_directory(uid=0) == "/var/run/supervisortw"


def test_home_comes_from_the_user_database_if_the_variable_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME")
    someone = pwd.getpwall()[0]
    expected = os.path.join(someone.pw_dir, ".local/state/supervisortw")
    assert places.state_directory(uid=someone.pw_uid or 1) == (
        expected if someone.pw_uid else places.state_directory(uid=1)
    )
    with pytest.raises(ConfigError, match="user 4123456 has no home directory"):
        places.state_directory(uid=4_123_456)
