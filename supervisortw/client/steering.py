"""The commands that steer: what changes programs, their number, or the daemon."""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.client.command import Command, UsageError, Words, none, some
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.client.render import reload_lines
from supervisortw.core.status import Outcome
from supervisortw.remote.connection import Session

ALL_OF_IT = "--all-of-it"


async def _start(desk: Desk, words: Sequence[str]) -> ExitCode:
    wanted = some(words, "start")
    return await desk.steer(lambda session: session.start(wanted))


async def _stop(desk: Desk, words: Sequence[str]) -> ExitCode:
    all_of_it = ALL_OF_IT in words
    wanted = some([word for word in words if word != ALL_OF_IT], "stop")
    return await desk.steer(lambda session: session.stop(wanted, all_of_it=all_of_it))


async def _restart(desk: Desk, words: Sequence[str]) -> ExitCode:
    wanted = some(words, "restart")
    return await desk.steer(lambda session: session.restart(wanted))


async def _scale(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) != 2 or not words[1].isascii() or not words[1].isdigit():
        raise UsageError("scale needs the name of a program and a number of processes")
    name, count = words[0], int(words[1][:9])
    return await desk.steer(lambda session: session.scale(name, count))


async def _write(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) < 2:
        raise UsageError("write needs the name of a program and a text")
    line = " ".join(words[1:]).encode("utf-8", "surrogateescape") + b"\n"
    return await desk.steer(lambda session: session.write_stdin(line, words[:1]))


async def _signal(desk: Desk, words: Sequence[str]) -> ExitCode:
    if len(words) < 2:
        raise UsageError("signal needs a signal and the names of programs")
    return await desk.steer(lambda session: session.signal(words[0], words[1:]))


async def _reload(desk: Desk, words: Sequence[str]) -> ExitCode:
    none(words)
    answers, worst = await desk.each(lambda session: session.reload())
    for host, answer in answers:
        desk.say(reload_lines(answer, done=True), host)
        if not all(outcome.good for outcome in answer.outcomes):
            worst = max(worst, ExitCode.SOME_FAILED)
    return worst


async def _reread(desk: Desk, words: Sequence[str]) -> ExitCode:
    none(words)
    answers, worst = await desk.each(lambda session: session.reread())
    for host, answer in answers:
        desk.say(reload_lines(answer, done=False), host)
    return worst


async def _shutdown(desk: Desk, words: Sequence[str]) -> ExitCode:
    none(words)
    daemons = " and ".join(desk.hosts.names)
    if not await desk.confirm(f"Stop all programs, and supervisord at {daemons}?"):
        return ExitCode.REFUSED

    async def shut_down(session: Session) -> list[Outcome]:
        session.expect_end()
        return await session.shutdown()

    answers, worst = await desk.each(shut_down)
    worst = max(worst, desk.tell(answers))
    for host, _ in answers:
        desk.say(["supervisord has shut down"], host)
    return worst


COMMANDS = (
    Command(
        name="start",
        arguments="NAME ...|all|up|down",
        summary="start programs, and wait until they are up",
        details=(
            "Answers for each program once it is up, or with the reason why it is not. A "
            "program that is up already is left alone. Lower priority numbers are started "
            "first, and what a program depends on is started before it. NAME is a program (all of "
            "its processes), one process, a group, or GROUP:*."
        ),
        words=Words.PROGRAMS,
        run=_start,
    ),
    Command(
        name="stop",
        arguments="[--all-of-it] NAME ...|all|up|down",
        summary="stop programs, and wait until they are gone",
        details=(
            "Every process in the session of the program is sent SIGTERM, and SIGKILL if it is "
            "still there after stop-wait-seconds. Answers once all of them are gone. Lower "
            "priority numbers are stopped last, and dependants before what they depend on. A "
            "stopped program stays down until somebody starts it. Processes that have left the "
            "session are named; --all-of-it ends them as well."
        ),
        words=Words.PROGRAMS,
        run=_stop,
    ),
    Command(
        name="restart",
        arguments="NAME ...|all|up|down",
        summary="stop and start programs, and wait until they are up",
        details=(
            "One request and one step inside the daemon for each program: if this client goes "
            "away in the middle, the program comes up all the same. A program that is down is "
            "started."
        ),
        words=Words.PROGRAMS,
        run=_restart,
    ),
    Command(
        name="scale",
        arguments="NAME NUMBER",
        summary="have so many processes of a program",
        details=(
            "Starts processes that are missing, or stops those with the highest numbers; the others "
            "are not touched. For programs that have the key processes. Holds until the daemon ends, "
            "or until that key is changed and the file is read again."
        ),
        words=Words.ONE_PROGRAM,
        run=_scale,
    ),
    Command(
        name="write",
        arguments="NAME TEXT ...",
        summary="write a line to the standard input of a program",
        details="For programs that have 'stdin pipe' in their configuration.",
        words=Words.ONE_PROGRAM,
        run=_write,
    ),
    Command(
        name="signal",
        arguments="SIGNAL NAME ...|all|up|down",
        summary="send a signal to programs",
        details=(
            "SIGNAL is a name such as HUP or SIGUSR1, or a number. It goes to the main process "
            "of each program that is up."
        ),
        words=Words.SIGNAL_THEN_PROGRAMS,
        run=_signal,
    ),
    Command(
        name="reload",
        arguments="",
        summary="read the configuration again and apply what has changed",
        details=(
            "The file is read and checked as a whole first: if anything is wrong with it, the "
            "errors are shown and nothing changes. Only programs that changed are touched. What "
            "was stopped by hand stays stopped; new programs with auto-start are started."
        ),
        run=_reload,
    ),
    Command(
        name="reread",
        arguments="",
        summary="show what a reload would do, and do nothing",
        details="Reads and checks the configuration like reload, and prints the same plan.",
        run=_reread,
    ),
    Command(
        name="shutdown",
        arguments="",
        summary="stop all programs and the daemon itself",
        details="Answers once everything is stopped. At the prompt you are asked first.",
        run=_shutdown,
    ),
)
