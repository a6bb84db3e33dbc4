"""What programs load: one command of supervisorctl does not pay for the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from functional_daemon import Daemon, installed

SLEEPER = """
    <program sleeper>
      command sleep 1000
    </program>
    """

# What Twisted would import for TLS, which nobody speaks here, and what brings it along.
TLS = ("_ssl", "OpenSSL.crypto", "cryptography", "twisted.internet.endpoints")
THE_DAEMON = ("supervisortw.daemon", "supervisortw.simulation", "ZConfig")
THE_PROMPT = ("prompt_toolkit", "twisted.internet.asyncioreactor", "supervisortw.client.prompt")


def _imported(daemon: Daemon, program: str, *words: str, input: str | None = None) -> set[str]:
    """Run an installed program under ``python -X importtime``; return the modules it imports."""
    with open(installed(program), encoding="utf-8") as script:
        interpreter = script.readline().removeprefix("#!").split()
    done = daemon.run([*interpreter, "-X", "importtime", installed(program), *words], input)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


@pytest.mark.parametrize("lines", [None, "status\n"], ids=["one command", "lines of a pipe"])
def test_commands_without_a_terminal_do_not_import_the_prompt(
    daemon: Daemon, lines: str | None
) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    words = ["-s", str(daemon.socket), *([] if lines else ["status"])]
    imported = _imported(daemon, "supervisorctl", *words, input=lines)
    assert "twisted.spread.pb" in imported
    assert not imported & {*THE_PROMPT, *THE_DAEMON, *TLS}


def test_a_simulation_does_not_import_the_prompt(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    imported = _imported(daemon, "supervisorctl", "simulate", "-c", str(daemon.config))
    assert imported >= {*THE_DAEMON}
    assert not imported & {*THE_PROMPT, *TLS}


def test_a_password_file_is_edited_without_a_reactor(daemon: Daemon) -> None:
    words = ["passwd", str(daemon.place / "passwd"), "help"]
    imported = _imported(daemon, "supervisorctl", *words)
    assert "supervisortw.passwords.prompt" in imported
    assert not [name for name in imported if name.endswith("reactor")]
    assert not imported & {*THE_PROMPT, *TLS}


@pytest.mark.needs_linux
def test_a_daemon_without_tls_does_not_carry_it(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    daemon.start()
    mapped = Path(f"/proc/{daemon.pid}/maps").read_text(encoding="utf-8")
    assert "/libc" in mapped
    assert "cryptography" not in mapped


def test_a_check_starts_no_reactor(daemon: Daemon) -> None:
    daemon.write(SLEEPER)
    imported = _imported(daemon, "supervisord", "--check", "-c", str(daemon.config))
    assert "ZConfig" in imported
    assert not {each for each in imported if each.startswith("twisted.internet.")}
