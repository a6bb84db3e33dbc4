"""What happens to log files, and to the disk that they are on: the program goes on, and nothing hides."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from functional_daemon import Daemon
from functional_processes import wait_until

MARK = re.compile(r"-- supervisord: (\d+) bytes are missing here: (.*) --\n")

# Prints numbered lines, and says how far it is in a file, so that one can see that nothing stops it.
PRINTER = """
    import os, sys, time

    number = 0
    while True:
        number += 1
        print("line", number, "x" * 100, flush=True)
        if number % 10 == 0:
            with open(sys.argv[1] + ".new", "w") as file:
                file.write(str(number))
            os.rename(sys.argv[1] + ".new", sys.argv[1])
        time.sleep(0.002)
    """


class Printer:
    """A daemon with one program that prints all the time into a log in ``place``."""

    def __init__(self, daemon: Daemon, place: Path, *keys: str) -> None:
        self.daemon = daemon
        self.place = place
        self.log = place / "printer.log"
        self.progress = daemon.place / "progress"
        lines = "".join(f"  {key}\n" for key in (f"logfile {self.log}", *keys))
        command = daemon.python("printer", PRINTER)
        daemon.write(f"<program printer>\n  command {command} {self.progress}\n{lines}</program>\n")
        daemon.start()
        self.go_on()

    def number(self) -> int:
        return int(self.progress.read_text()) if self.progress.exists() else 0

    def go_on(self, lines: int = 50) -> int:
        """Wait until the program has printed some more; return how far it is."""
        before = self.number()
        wait_until(lambda: self.number() >= before + lines, "the program to go on")
        return self.number()

    def notes(self) -> str:
        return "\n".join(self.daemon.status().notes)

    def wait_for_note(self, text: str) -> str:
        wait_until(lambda: text in self.notes(), self.notes)
        return self.notes()

    def wait_until_written(self, number: int, *files: Path) -> list[int]:
        """Wait until a line is in the last of these files; return the numbers that are in all."""

        def numbers() -> list[int]:
            return numbers_of("".join(each.read_text() for each in files))

        wait_until(
            lambda: files[-1].exists() and bool(numbers()) and numbers()[-1] >= number, numbers
        )
        return numbers()


def numbers_of(text: str) -> list[int]:
    """Return the numbers of all whole lines; there are no others, but for marks.

    Before a mark there may be the beginning of a line: the disk was full in the middle of it.
    """
    whole = text[: text.rfind("\n") + 1]
    lines = re.sub(rf"(line .*\n)?{MARK.pattern}", "", whole).splitlines()
    found = [re.fullmatch(r"line (\d+) x{100}", line) for line in lines]
    torn = [line for line, match in zip(lines, found, strict=True) if match is None]
    assert not torn, torn
    return [int(match[1]) for match in found if match is not None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.needs_root
@pytest.mark.needs_linux
def test_a_full_disk(daemon: Daemon, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 128 * 1024)
    printer = Printer(daemon, small_disk)
    note = printer.wait_for_note("its output is being lost")
    assert re.search(
        rf"printer: its output is being lost, \d+ bytes so far: {printer.log}: No space left on",
        note,
    )
    ballast.unlink()
    number = printer.go_on(1000)
    numbers = printer.wait_until_written(number, printer.log)
    [(lost, reason)] = MARK.findall(printer.log.read_text())
    assert reason == "No space left on device"
    assert int(lost) > 0
    gap = next(n for n, after in enumerate(numbers[1:]) if after != numbers[n] + 1)
    assert numbers[: gap + 1] == list(range(1, gap + 2))
    assert numbers[gap + 1 :] == list(range(numbers[gap + 1], numbers[-1] + 1))
    assert f"printer: {lost} bytes of its output were lost" in printer.notes()
    assert f" error output is lost: {printer.log}: No space left on device\n" in daemon.log_text()


def test_a_directory_that_is_removed(daemon: Daemon) -> None:
    place = daemon.directory("logs")
    printer = Printer(daemon, place)
    shutil.rmtree(place)
    printer.wait_for_note("its output is being lost")
    printer.go_on()
    place.mkdir(0o700)
    number = printer.go_on(1000)
    numbers = printer.wait_until_written(number, printer.log)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert MARK.match(printer.log.read_text())


def _move(log: Path) -> Path:
    moved = log.with_name("moved.log")
    log.rename(moved)
    return moved


def _copy_and_truncate(log: Path) -> Path:
    """Do as `logrotate` with copytruncate, which may lose what is written in between."""
    moved = log.with_name("moved.log")
    shutil.copy(log, moved)
    with log.open("r+b") as file:
        file.truncate(0)
    return moved


@pytest.mark.parametrize("act", [_move, _copy_and_truncate])
def test_others_who_rotate_are_followed(daemon: Daemon, act: Callable[[Path], Path]) -> None:
    printer = Printer(daemon, daemon.directory("logs"))
    moved = act(printer.log)
    number = printer.go_on()
    numbers = printer.wait_until_written(number, printer.log)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    before = numbers_of(moved.read_text())
    assert before == list(range(1, before[-1] + 1))
    if act is _move:
        assert numbers[0] == before[-1] + 1


def test_it_is_rotated_and_no_line_is_lost_or_cut(daemon: Daemon) -> None:
    printer = Printer(daemon, daemon.directory("logs"), "logfile-size 20KB", "logfile-backups 3")
    older = [printer.log.with_name(f"printer.log.{number}") for number in (3, 2, 1)]
    wait_until(older[0].exists, "three older files")
    daemon.ask("stop", "printer")
    files = [*older, printer.log]
    numbers = [numbers_of(each.read_text()) for each in files]
    whole = [number for each in numbers for number in each]
    assert whole == list(range(whole[0], whole[-1] + 1))
    assert all(each.stat().st_size <= 20 * 1024 for each in files)
    assert not printer.log.with_name("printer.log.4").exists()
    assert daemon.ask("tail", "-500", "printer").splitlines()[0].split()[1] == str(whole[-500])
