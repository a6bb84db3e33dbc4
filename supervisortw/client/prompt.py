"""The prompt: line editing, history and completion, by prompt_toolkit on the asyncio reactor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, FileHistory, History, InMemoryHistory
from twisted.internet.defer import Deferred

from supervisortw.client.amount import log_arguments
from supervisortw.client.command import Leave, UsageError, Words
from supervisortw.client.commands import TABLE
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.interrupts import Interrupts
from supervisortw.client.lines import run_line
from supervisortw.config.places import state_directory
from supervisortw.core.text import printable
from supervisortw.errors import SupervisorError

GROUPS = ("all", "up", "down")
STDERR = "stderr"
SIGNALS = tuple(sorted(each.name.removeprefix("SIG") for each in signal.Signals))


class PromptInterrupt(Exception):
    """Ctrl-C at the prompt: the line is dropped."""


async def run_prompt(desk: Desk, name: str, interrupts: Interrupts) -> ExitCode:
    """Read and carry out commands until the user leaves; the exit code is always 0."""
    completer = CommandCompleter(desk)
    session: PromptSession[str] = PromptSession(
        history=_history(),
        complete_while_typing=False,
        interrupt_exception=PromptInterrupt,
    )

    def notice(text: str) -> None:
        if session.app.is_running:
            run_in_terminal(lambda: desk.complain(text))
        else:
            desk.complain(text)

    async def shown(prompt: Coroutine[Any, Any, str]) -> str:
        prompting = asyncio.ensure_future(prompt)
        with interrupts.ending_with(prompting.cancel):  # it has the terminal in another mode
            return await Deferred.fromFuture(prompting)

    async def ask(text: str, completer: Completer | None) -> str:
        return await shown(session.prompt_async(text, completer=completer, handle_sigint=False))

    async def ask_for(question: str, hidden: bool) -> str:
        if session.app.is_running:  # completion wants to know something; nobody looks at that
            raise EOFError
        asking: PromptSession[str] = PromptSession(
            history=DummyHistory(), interrupt_exception=EOFError
        )
        return await shown(asking.prompt_async(question, is_password=hidden, handle_sigint=False))

    async def confirm(question: str) -> bool:
        try:
            answer = await ask(f"{question} [y/N] ", None)
        except PromptInterrupt:
            return False
        return answer.strip().lower() in ("y", "yes")

    desk.notice = notice
    desk.confirm = confirm
    desk.ask = ask_for
    desk.say(["supervisorctl: 'help' shows the commands, Tab completes, Ctrl-D leaves"])
    await run_line(desk, "status", interrupts)
    try:
        while True:
            try:
                line = await ask(_prompt(desk, name), completer)
            except PromptInterrupt:
                continue
            await run_line(desk, line, interrupts)
    except (EOFError, Leave):
        return ExitCode.OK


def _prompt(desk: Desk, name: str) -> str:
    count = len(desk.hosts.names)
    return f"{name}> " if count == 1 else f"{name}[{count} open]> "


def _history() -> History:
    """Return the history of this user; kept in memory if there is no place to write it."""
    try:
        directory = state_directory()
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, "history")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    except (OSError, SupervisorError):
        return InMemoryHistory()
    return FileHistory(path)


class CommandCompleter(Completer):
    """Completes commands, and what they take: names come from the daemons that are open now."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Return nothing: completion has to ask, and that is done asynchronously."""
        return ()

    async def get_completions_async(
        self, document: Document, event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Give the words that may stand where the cursor is."""
        before = document.text_before_cursor
        words = before.split()
        begun = "" if before.endswith(" ") or not words else words.pop()
        for candidate in await self.candidates(words):
            if candidate.startswith(begun):
                yield Completion(candidate, start_position=-len(begun))

    async def candidates(self, words: list[str]) -> list[str]:
        """Return everything that may follow ``words``."""
        if not words:
            return list(TABLE)
        command = TABLE.get(words[0])
        kind = command.words if command else Words.NOTHING
        if kind is Words.COMMANDS:
            return list(TABLE)
        if kind is Words.GROUPS:
            return list(GROUPS)
        if kind is Words.HOSTS:
            return self._desk.hosts.names
        if kind is Words.SIGNAL_THEN_PROGRAMS and len(words) == 1:
            return list(SIGNALS)
        if kind is Words.ONE_PROGRAM:
            named = [word for word in words[1:] if not word.startswith("-")]
            return [] if named else await self._programs(groups=False)
        if kind is Words.LOGS:
            return await self._logs(words[1:])
        if kind in (Words.PROGRAMS, Words.SIGNAL_THEN_PROGRAMS):
            return [*await self._programs(groups=True), *GROUPS]
        return []

    async def _logs(self, words: list[str]) -> list[str]:
        try:
            _, _, named = log_arguments(words)
        except UsageError:  # the number is not there yet
            return []
        if named[-1:] == [STDERR]:
            return []
        return [*await self._programs(groups=True), *GROUPS, *([STDERR] if named else [])]

    async def _programs(self, *, groups: bool) -> list[str]:
        """Return what processes and programs are called, and where wanted also their groups."""
        asking = Deferred.fromCoroutine(self._desk.hosts.each(lambda each: each.status(["all"])))
        answers = await asking.asFuture(asyncio.get_running_loop())
        names: set[str] = set()
        for _, status in answers:
            if not isinstance(status, SupervisorError):
                for each in status.programs:
                    names.update((each.name, each.program))
                    if groups and each.name != each.group:  # it is not alone in it
                        names.update((each.group, f"{each.group}:*"))
        return sorted(map(printable, names))
