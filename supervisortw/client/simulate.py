"""The command that tries out a configuration: no daemon is asked, and nothing is started.

The simulation brings in the code of the daemon, which no other command pays for.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError
from twisted.internet.task import cooperate

from supervisortw.absence import lean
from supervisortw.client.command import Command, UsageError
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode
from supervisortw.config.places import find
from supervisortw.core.text import one_line, seconds
from supervisortw.errors import ConfigError


async def _simulate(desk: Desk, words: Sequence[str]) -> ExitCode:
    with lean():
        from supervisortw.config.loader import load_daemon  # noqa: PLC0415  # brings ZConfig
        from supervisortw.simulation.options import read  # noqa: PLC0415  # see the top
        from supervisortw.simulation.report import report  # noqa: PLC0415  # see the top
        from supervisortw.simulation.simulation import Simulation  # noqa: PLC0415  # see the top

    try:
        path, scenario = read(words)
        configuration = load_daemon(path or find("supervisord"))
        simulation = Simulation(configuration, scenario)
    except ConfigError as error:
        desk.complain(str(error))
        return ExitCode.USAGE
    except ValueError as error:
        raise UsageError(one_line(str(error))) from None
    for warning in configuration.warnings:
        desk.complain(f"warning: {warning}")
    running = cooperate(simulation.run())
    try:
        await running.whenDone()
    except CancelledError:  # Ctrl-C
        running.stop()
        desk.say(report(simulation))
        desk.complain(f"interrupted at {seconds(simulation.seconds)} of the simulation")
        return ExitCode.INTERRUPTED
    desk.say(report(simulation))
    return ExitCode.SOME_FAILED if simulation.cut_short else ExitCode.OK


COMMANDS = (
    Command(
        name="simulate",
        arguments="[-c FILE] [--crash NAME@TIME,...] [--until TIME] [OPTION ...]",
        summary="show what a configuration would do, without starting anything",
        details=(
            "Reads the supervisord.conf FILE as supervisord does, and prints which program would be "
            "in which state when, from the start of the daemon until TIME after it (10m). "
            "--crash web@0s,3s,7s: the first process of web ends at once, the second 3 s after its "
            "start, the third after 7 s, with exit code 1; later ones live. ',...' at the end repeats "
            "the last one for ever; web@3s:0 and web@3s:SEGV end it with that exit code or signal. "
            "--exec-fails NAME: it cannot be started. --stop-takes NAME@TIME: how long it takes to end "
            "when it is asked to, or 'never'. --ready-takes NAME@TIME: when it says READY=1, if it has "
            "the key notify. --start, --stop, --restart NAME@TIME: what an operator asks for. --seed "
            "NUMBER: draw the jitter of restarts, which is left out otherwise. All but -c, --until and "
            "--seed may be repeated; of several for one program, the last one holds."
        ),
        run=_simulate,
    ),
)
