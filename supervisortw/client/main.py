"""The ``supervisorctl`` program: reads its options, then carries out one command, or many.

One command on the command line; lines of commands from standard input that is no terminal; or a
prompt. The prompt brings in prompt_toolkit and the asyncio reactor; one command must not pay for them.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from supervisortw import __version__
from supervisortw.absence import lean
from supervisortw.config.places import SOCKET_NAME, find, runtime_directory
from supervisortw.config.typed import parse_address
from supervisortw.core.model import Address, ClientSettings, UnixAddress
from supervisortw.core.text import printable
from supervisortw.errors import ConfigNotFound, SupervisorError
from supervisortw.secrecy import keep_memory_secret

with lean():  # a control socket does not speak either
    from twisted.internet.defer import Deferred

    from supervisortw.client import passwd
    from supervisortw.client.asking import AskingLines
    from supervisortw.client.command import Leave
    from supervisortw.client.commands import help_lines, run
    from supervisortw.client.desk import Desk
    from supervisortw.client.exitcodes import ExitCode
    from supervisortw.client.interrupts import Interrupted, Interrupts
    from supervisortw.client.lines import run_lines
    from supervisortw.client.login import Credentials, access
    from supervisortw.client.typed import StandardInput
    from supervisortw.remote.connection import Session

Work = Callable[[Desk, Interrupts, StandardInput], Coroutine[Deferred[Any], Any, ExitCode]]


def main() -> int:
    """Run supervisorctl; return the exit code."""
    options = _parser().parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what the terminal has no letters for
    if options.command[:1] == [passwd.NAME]:
        return _passwd(options)
    try:
        settings = _settings(options.config, options.socket)
        if options.password_fd is not None or settings.password_file is not None:
            keep_memory_secret()
        credentials = Credentials.read(settings, options)
    except SupervisorError as error:
        print(printable(str(error)), file=sys.stderr)
        return ExitCode.USAGE
    interactive = not options.command and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        with lean():
            from twisted.internet import asyncioreactor  # noqa: PLC0415  # see the top

        asyncioreactor.install()
        from supervisortw.client.prompt import run_prompt  # noqa: PLC0415  # see the top

        async def work(desk: Desk, interrupts: Interrupts, typed: StandardInput) -> ExitCode:
            return await run_prompt(desk, settings.prompt, interrupts)

    elif options.command:

        async def work(desk: Desk, interrupts: Interrupts, typed: StandardInput) -> ExitCode:
            return await interrupts.guard(run(desk, options.command))

    else:

        async def work(desk: Desk, interrupts: Interrupts, typed: StandardInput) -> ExitCode:
            prompt = f"{settings.prompt}> " if interactive else ""
            return await run_lines(desk, typed, prompt, interrupts)

    with lean():
        from twisted.internet import reactor  # noqa: PLC0415  # only an entry point names it

    return _run(reactor, work, settings, credentials)


def _passwd(options: argparse.Namespace) -> int:
    """Edit a password file: that asks no daemon, and needs no reactor."""
    with lean():
        from supervisortw.passwords.main import main as edit  # noqa: PLC0415  # brings ZConfig

    if options.config or options.socket:
        reason = "no daemon is asked; --daemon-config after passwd names its supervisord.conf"
        print(f"passwd takes neither -c nor -s: {reason}", file=sys.stderr)
        return ExitCode.USAGE
    return edit(options.command[1:])


def _run(reactor: Any, work: Work, settings: ClientSettings, credentials: Credentials) -> int:
    """Let the reactor run until ``work`` is done; return its exit code."""
    codes: list[int] = []

    async def connect_to(address: Address) -> Session:
        return await opening.connect(address)

    desk = Desk(connect_to, parse_address, reactor)
    opening = access(reactor, desk, credentials)
    desk.begin_anew = opening.begin_anew
    for address in settings.sockets:
        desk.hosts.add(address)
    interrupts = Interrupts(reactor.callFromThread)
    typed = StandardInput(reactor)
    if sys.stdin.isatty() and sys.stderr.isatty():
        desk.ask = AskingLines(typed, interrupts)

    async def everything() -> None:
        interrupts.install()
        try:
            codes.append(await work(desk, interrupts, typed))
        except Interrupted as interrupted:
            desk.complain(str(interrupted))
            codes.append(ExitCode.INTERRUPTED)
        except Leave:
            codes.append(ExitCode.OK)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
                codes.append(ExitCode.OK)
            else:
                desk.complain(f"cannot write: {error.strerror}")
                codes.append(ExitCode.SOME_FAILED)
        finally:
            desk.hosts.close_all()
            reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(everything()))
    reactor.run()
    return codes[0]


def _settings(config: str | None, sockets: list[str] | None) -> ClientSettings:
    """Return what the options and the configuration file say; without either, the usual socket."""
    try:
        path = config or find("supervisorctl")
    except ConfigNotFound:
        socket = UnixAddress(path=os.path.join(runtime_directory(), SOCKET_NAME))
        settings = ClientSettings(sockets=(socket,))
    else:
        with lean():
            from supervisortw.config.loader import load_client  # noqa: PLC0415  # brings ZConfig

        settings = load_client(path)
    if sockets:
        addresses = tuple(parse_address(text) for text in sockets)
        settings = replace(settings, sockets=addresses)
    return settings


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(help_lines())
    parser = argparse.ArgumentParser(
        prog="supervisorctl",
        description="Steer supervisord: with a command, or from a prompt without one.",
        epilog=f"commands:\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-c", "--config", metavar="FILE", help="the configuration file of supervisorctl")
    add(
        "-s",
        "--socket",
        metavar="SOCKET",
        action="append",
        help="steer the daemon at SOCKET, or at HOST:PORT",
    )
    add("-u", "--user", metavar="NAME", help="log in as NAME by password, wherever it is")
    add("--password-fd", metavar="N", type=int, help="read the password from the descriptor N")
    add("--insecure", action="store_true", help="speak to TCP addresses without TLS")
    add(
        "--accept-new-certificate",
        action="store_true",
        help="take another certificate than last time, if the login proves it",
    )
    add("--version", action="version", version=f"supervisorctl {__version__} (supervisortw)")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to do, see below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
