"""``supervisorctl passwd``: which file is meant, what one command does, and the prompt."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.stranger import STRANGER
from fakes.terminal import Terminal
from passwords_given import EMPTY, ONE, TWO, put, record

from supervisortw.client import main as client
from supervisortw.core.passwd import Passwd
from supervisortw.core.roles import Role
from supervisortw.errors import ConfigNotFound, LocalError
from supervisortw.passwords import main, prompt
from supervisortw.passwords.passwdfile import PasswdFile

WELL, NOT_WELL, USAGE, INTERRUPTED = 0, 1, 2, 5


@pytest.fixture(autouse=True)
def secrecy(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Keep this process as it is."""
    kept: list[bool] = []
    monkeypatch.setattr(main, "keep_memory_secret", lambda: kept.append(True))
    return kept


@dataclass
class Shell:
    """Runs `main`; what it printed comes back."""

    path: Path
    captured: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def run(self, *words: str, input: bytes = b"") -> tuple[int, str, str]:
        reader, writer = os.pipe()
        os.write(writer, input)
        os.close(writer)
        self.patch.setattr("sys.stdin", open(reader, encoding="utf-8"))  # noqa: SIM115
        self.patch.setattr(main, "Piped", lambda number: Given(reader if number == 0 else number))
        try:
            code = main.main(words)
        finally:
            sys.stdin.close()
        out, err = self.captured.readouterr()
        return code, out, err

    @property
    def passwd(self) -> Passwd:
        return PasswdFile(str(self.path)).read()


Given = main.Piped


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    put(tmp_path / "passwd", TWO)
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path / "passwd", capsys, monkeypatch)


class TestOneCommand:
    def test_is_saved_at_once(self, shell: Shell) -> None:
        assert shell.run("./passwd", "del", "bob") == (WELL, "bob deleted\n", "")
        assert shell.passwd == ONE

    def test_what_changes_nothing_writes_nothing(self, shell: Shell) -> None:
        before = shell.path.stat()
        for words in (["list"], ["check"], ["realm"], ["help"], ["enable", "bob"]):
            assert shell.run("./passwd", *words)[0] == WELL
        assert shell.path.stat() == before
        assert list(shell.path.parent.iterdir()) == [shell.path]

    def test_a_password_from_standard_input(self, shell: Shell) -> None:
        words = ["./passwd", "add", "eve", "--role", "operator", "--password-stdin"]
        code, out, err = shell.run(*words, "--comment", "on call", input=b"correct horse\n")
        assert (code, out, err) == (WELL, "eve added as operator\n", "")
        eve = shell.passwd.records["eve"]
        assert (eve.role, eve.comment) == (Role.OPERATOR, "on call")

    def test_a_password_from_a_descriptor(self, shell: Shell) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"correct horse")
        os.close(writer)
        code, _, _ = shell.run("./passwd", "passwd", "bob", "--password-fd", str(reader))
        os.close(reader)
        assert code == WELL
        assert shell.passwd.records["bob"].verifier != TWO.records["bob"].verifier

    def test_a_password_that_is_made_is_all_that_a_script_reads(self, shell: Shell) -> None:
        code, out, err = shell.run("./passwd", "add", "eve", "--role", "admin", "-g")
        assert (code, err) == (WELL, "eve added as admin\n")
        assert len(out.strip().split("-")) == 4

    def test_one_that_could_not_be_saved_is_not_told(self, shell: Shell) -> None:
        shell.patch.setattr(PasswdFile, "write", _full)
        code, out, err = shell.run("./passwd", "add", "eve", "--role", "admin", "-g")
        assert (code, out) == (NOT_WELL, "")
        assert "the disk is full" in err

    def test_check_tells_by_its_code(self, shell: Shell) -> None:
        put(shell.path, EMPTY.put(record("bob")))
        assert shell.run("./passwd", "check")[:2] == (NOT_WELL, "no enabled user is an admin\n")

    def test_a_realm_is_shared(self, shell: Shell) -> None:
        other = shell.path.with_name("other")
        assert shell.run("./other", "--realm-from", "passwd")[0] == WELL
        found = PasswdFile(str(other)).read()
        assert (found.realm, found.kdf) == (TWO.realm, TWO.kdf)
        assert found.secret != TWO.secret

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (["./passwd", "add", "eve", "-g"], "which role? Add --role"),
            (
                ["./passwd", "add", "eve", "--role", "boss", "-g"],
                "expected observer, operator, admin",
            ),
            (["./passwd", "list", "-g"], "for the commands add USER and passwd USER only"),
            (["./passwd", "--password-stdin"], "for the commands add USER and passwd USER only"),
            (["./passwd", "add", "eve", "--password-stdin", "-g"], "only one of them"),
            (["./passwd", "add", "eve", "--password-fd", "-1"], "--password-fd"),
            (["./passwd", "add", "eve", "--password-fd", "x"], "invalid"),
            (["./passwd", "add", "eve", "hunter22"], "usage: add USER"),
            (["./passwd", "passwd", "bob", "hunter22"], "usage: passwd USER"),
            (["./passwd", "add", "eve", "--comment", "\x1b", "-g"], "printable"),
            (["./passwd", "add", "eve", "--gen"], "unrecognized arguments: --gen"),
            (["./passwd", "quit"], "no such command: quit"),
            (["lsit"], "no such command: lsit; did you mean list? (a file of that name: ./lsit)"),
            (["save"], "it is for the prompt"),
            (["del"], "usage: del USER (a file of that name: ./del)"),
            (["./passwd", "list", "--daemon-config", "x"], "two files"),
        ],
    )
    def test_what_is_not_understood(self, shell: Shell, words: list[str], why: str) -> None:
        code, out, err = shell.run(*words)
        assert (code, out) == (USAGE, "")
        assert why in err
        assert shell.passwd == TWO

    @pytest.mark.parametrize("words", [["list"], ["check"], ["realm"], ["del", "bob"]])
    def test_a_file_that_is_not_there_is_not_made_by_a_look(
        self, shell: Shell, words: list[str]
    ) -> None:
        code, _, err = shell.run("./nowhere", *words)
        assert code == NOT_WELL
        assert err.endswith("/nowhere\n")
        assert "does not exist; the first user makes it: supervisorctl passwd" in err

    def test_ctrl_c_saves_nothing(self, shell: Shell) -> None:
        words = ["./passwd", "passwd", "bob", "--password-fd", "9"]
        shell.patch.setattr(main, "_ask", _interrupted)
        assert main.main(words) == INTERRUPTED
        assert shell.passwd == TWO

    def test_no_core_is_left(self, shell: Shell, secrecy: list[bool]) -> None:
        shell.run("./passwd", "list")
        assert secrecy == [True]


def _full(*_: object) -> None:
    raise LocalError("the disk is full")


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class TestWhichFile:
    def configure(self, shell: Shell, text: str) -> str:
        config = shell.path.with_name("supervisord.conf")
        config.write_text(f"<supervisord>\n  {text}\n</supervisord>\n")
        return str(config)

    def test_the_one_of_the_daemon(self, shell: Shell) -> None:
        config = self.configure(shell, "passwdfile passwd")
        assert shell.run("del", "bob", "--daemon-config", config)[0] == WELL
        assert shell.passwd == ONE

    def test_that_of_the_daemon_that_is_found(self, shell: Shell) -> None:
        config = self.configure(shell, "passwdfile passwd")
        shell.patch.setattr(main, "find", lambda program: {"supervisord": config}[program])
        assert shell.run("list")[1].count("\n") == 3

    def test_a_daemon_without_one(self, shell: Shell) -> None:
        config = self.configure(shell, "")
        code, _, err = shell.run("list", "--daemon-config", config)
        assert code == NOT_WELL
        assert f"{config} does not say: add the line 'passwdfile PATH'" in err

    def test_no_daemon(self, shell: Shell) -> None:
        def nowhere(program: str) -> str:
            raise ConfigNotFound(program, ["/etc/here.conf", "/etc/there.conf"])

        shell.patch.setattr(main, "find", nowhere)
        code, _, err = shell.run("list")
        assert code == NOT_WELL
        assert "Say supervisorctl passwd FILE" in err
        assert err.endswith("\n    /etc/here.conf\n    /etc/there.conf\n")

    def test_a_configuration_with_errors(self, shell: Shell) -> None:
        config = self.configure(shell, "nonsense 1")
        code, _, err = shell.run("list", "--daemon-config", config)
        assert code == NOT_WELL
        assert "supervisord.conf:2" in err

    def test_a_name_that_is_also_a_command(self, shell: Shell) -> None:
        # 'passwd' lacks its user, so the file is meant; with a word behind it, it is the command.
        shell.patch.setattr(main, "find", lambda program: self.configure(shell, "passwdfile other"))
        assert shell.run("passwd") == (WELL, "", "")
        code, _, err = shell.run("passwd", "list")
        assert code == NOT_WELL
        assert "/other does not exist" in err

    @pytest.mark.needs_root
    def test_who_owns_it_keeps_it(self, shell: Shell) -> None:
        os.chown(shell.path, STRANGER, -1)
        assert shell.run("./passwd", "del", "bob")[0] == WELL
        found = shell.path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (STRANGER, 0o600)

    @pytest.mark.needs_root
    def test_a_new_one_is_made_for_whom_the_daemon_runs_as(self, shell: Shell) -> None:
        config = self.configure(shell, f"passwdfile new\n  user {STRANGER}")
        words = ["add", "eve", "--role", "admin", "-g", "--daemon-config", config]
        assert shell.run(*words)[0] == WELL
        assert shell.path.with_name("new").stat().st_uid == STRANGER


class TestPrompt:
    def test_lines_of_a_pipe(self, shell: Shell) -> None:
        lines = b"\nadd eve -g --role admin\nlist\ndel bob\nsave\nquit\n"
        code, out, err = shell.run("./passwd", input=lines)
        assert (code, err) == (WELL, "")
        assert "eve added as admin\n" in out
        assert out.endswith(f"bob deleted\nsaved to {shell.path}\n")
        assert set(shell.passwd.records) == {"alice", "eve"}

    def test_nothing_is_saved_by_itself(self, shell: Shell) -> None:
        for lines in (b"del bob\n", b"del bob\nquit\n", b"del bob\nquit\nquit\n"):
            code, _, err = shell.run("./passwd", input=lines)
            assert code == NOT_WELL
            assert "not saved: 'save' writes them, 'quit!' drops them" in err
        assert shell.run("./passwd", input=b"del bob\nquit!\nsave\n")[0] == WELL
        assert shell.passwd == TWO

    def test_a_mistake_is_remembered_and_does_not_end_it(self, shell: Shell) -> None:
        lines = b'nonsense\ndel "bob\nadd\nsave now\ndel bob --nonsense\ndel bob\nsave\n'
        code, _, err = shell.run("./passwd", input=lines)
        assert code == NOT_WELL
        assert len(err.splitlines()) == 5
        assert "No closing quotation" in err
        assert shell.passwd == ONE

    def test_the_next_line_is_not_taken_for_a_role(self, shell: Shell) -> None:
        code, _, err = shell.run("./passwd", input=b"add eve -g\nadmin\n")
        assert code == NOT_WELL
        assert err.splitlines()[0].startswith("which role? Add --role ROLE")
        assert shell.passwd == TWO

    def test_bytes_that_are_no_text(self, shell: Shell) -> None:
        code, _, err = shell.run("./passwd", input=b"\xff\n")
        assert (code, err) == (NOT_WELL, "this is not UTF-8 text\n")

    def test_trouble_with_the_disk_does_not_end_it(self, shell: Shell) -> None:
        shell.patch.setattr(PasswdFile, "write", _full)
        code, _, err = shell.run("./passwd", input=b"del bob\nsave\nquit!\n")
        assert (code, err) == (NOT_WELL, "the disk is full\n")


class TestAtATerminal:
    @pytest.fixture
    def typed(self, shell: Shell) -> Iterator[list[str | BaseException]]:
        """Give a list of what is typed next; afterwards the terminal is closed."""
        lines: list[str | BaseException] = []

        def next_line(shown: str) -> str:
            assert shown == "SRP> "
            line = lines.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        shell.patch.setattr("builtins.input", next_line)
        shell.patch.setattr(prompt, "at_terminal", lambda: bool(lines))
        yield lines
        assert lines == []

    def test_ctrl_d_refuses_to_lose_changes(
        self, shell: Shell, typed: list[str | BaseException]
    ) -> None:
        typed += ["del bob", EOFError(), "save", EOFError()]
        code, out, err = shell.run("./passwd")
        assert code == WELL
        assert err == f"{prompt.UNSAVED}\n"
        assert out.startswith(f"{shell.path} has 2 users; 'help' shows the commands\n")
        assert shell.passwd == ONE

    def test_a_terminal_that_was_closed_ends_it(
        self, shell: Shell, typed: list[str | BaseException]
    ) -> None:
        typed += ["del bob", EOFError()]
        assert shell.run("./passwd")[0] == NOT_WELL
        assert shell.passwd == TWO

    def test_ctrl_c_drops_the_line(self, shell: Shell, typed: list[str | BaseException]) -> None:
        typed += ["nonsense", KeyboardInterrupt(), "del bob", "save", "quit"]
        assert shell.run("./passwd")[0] == WELL
        assert shell.passwd == ONE

    def test_a_new_file(self, shell: Shell, typed: list[str | BaseException]) -> None:
        typed += ["quit"]
        code, out, _ = shell.run("./new")
        assert (code, out.split("; ")[0]) == (WELL, f"{shell.path.with_name('new')} is a new file")
        assert not shell.path.with_name("new").exists()
        typed += ["save", "quit"]
        assert shell.run("./new")[0] == WELL
        assert PasswdFile(str(shell.path.with_name("new"))).read().enabled == 0

    def test_where_there_is_no_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert not prompt.at_terminal()


class TestThroughTheClient:
    @pytest.fixture
    def edited(self, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        given: list[list[str]] = []
        edit: Callable[[list[str]], int] = lambda words: given.append(words) or 42  # noqa: E731
        monkeypatch.setattr(main, "main", edit)
        return given

    def run(self, patch: pytest.MonkeyPatch, *words: str) -> int:
        patch.setattr("sys.argv", ["supervisorctl", *words])
        return client.main()

    def test_all_words_are_handed_on(
        self, edited: list[list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.run(monkeypatch, "passwd", "-g", "FILE", "--help", "-c", "x") == 42
        assert edited == [["-g", "FILE", "--help", "-c", "x"]]

    def test_it_is_no_command_of_the_prompt(self) -> None:
        terminal = Terminal()
        assert terminal.run("passwd list") == USAGE
        assert "in a shell on the daemon's machine" in terminal.desk.complaints()[0]
        assert terminal.run("help passwd") == WELL

    def test_no_daemon_is_steered(
        self,
        edited: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert self.run(monkeypatch, "-s", "/run/x", "passwd", "list") == USAGE
        assert "--daemon-config" in capsys.readouterr().err
        assert edited == []
