"""The command line of supervisord: read once by the program, and handed on to the daemon."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from supervisortw import __version__

# Option, its key in the configuration file, whether its value is a path, and its help.
KEYS: tuple[tuple[str, str, str, bool, str], ...] = (
    ("-b", "--backoff-limit", "backoff-limit", False, "seconds, and number, of quick deaths"),
    ("-u", "--user", "user", False, "the user to run as (needs root)"),
    ("-m", "--umask", "umask", False, "file mode creation mask, in octal"),
    ("-x", "--exit-codes", "exit-codes", False, "exit codes that end supervision of a program"),
    ("-d", "--directory", "directory", True, "where to change to when detaching"),
    ("-l", "--logfile", "logfile", True, "supervisord's own log"),
    ("-e", "--loglevel", "loglevel", False, "how much goes into it"),
    ("-j", "--pidfile", "pidfile", True, "where to write the daemon's pid"),
    ("-s", "--socket-name", "socket-name", True, "the control socket"),
    ("-p", "--socket-mode", "socket-mode", False, "its mode bits, in octal"),
    ("-o", "--socket-chown", "socket-chown", False, "its owner, USER.GROUP"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. ``overrides`` maps keys of the file to the values that win."""

    config: str | None = None
    foreground: bool = False
    strict: bool = False
    check: bool = False
    fingerprint: bool = False
    sample_config: bool = False
    overrides: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def arguments(self, config: str) -> list[str]:
        """Return the command line that says the same about ``config`` from any directory."""
        arguments = ["-c", config]
        if self.foreground:
            arguments.append("-n")
        if self.strict:
            arguments.append("--strict")
        for _, option, key, _, _ in KEYS:
            arguments += [f"{option}={value}" for value in self.overrides.get(key, ())]
        if "forever" in self.overrides:
            arguments.append("-f")
        return arguments


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line; prints what is wrong with it and exits with code 2."""
    given = vars(_parser().parse_args(arguments))
    overrides: dict[str, tuple[str, ...]] = {}
    for _, option, key, is_path, _ in KEYS:
        value = given[_attribute(option)]
        if value is not None:
            if is_path and ("/" in value or not _may_be_a_port(key)):
                value = os.path.abspath(value)
            overrides[key] = (value,)
    if given["forever"]:
        overrides["forever"] = ("yes",)
    return Options(
        config=given["config"] and os.path.abspath(given["config"]),
        foreground=given["nodaemon"],
        strict=given["strict"],
        check=given["check"],
        fingerprint=given["fingerprint"],
        sample_config=given["sample_config"],
        overrides=overrides,
    )


class _Once(argparse.Action):
    """An option that may be given once: which of two values is meant, nobody can tell."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"conflicting command line options: {option} is given twice")
        setattr(namespace, self.dest, values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="supervisord",
        description="Start the programs of a configuration file and keep them running.",
        epilog="An option wins over the key of the same name in the configuration file.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-c", "--config", metavar="FILE", action=_Once, help="the configuration file")
    add("-n", "--nodaemon", action="store_true", help="stay in the foreground")
    add("-f", "--forever", action="store_true", help="never give a program up")
    for short, option, _, is_path, text in KEYS:
        metavar = "PATH" if is_path else "VALUE"
        add(short, option, dest=_attribute(option), metavar=metavar, action=_Once, help=text)
    add("--strict", action="store_true", help="start nothing if any listener is refused")
    add("--check", action="store_true", help="check the configuration and exit with 0 or 2")
    add(
        "--fingerprint", action="store_true", help="print how clients tell its certificate and exit"
    )
    add("--sample-config", action="store_true", help="print a commented sample and exit")
    add("--version", action="version", version=f"supervisord {__version__} (supervisortw)")
    return parser


def _attribute(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


def _may_be_a_port(key: str) -> bool:
    return key == "socket-name"
