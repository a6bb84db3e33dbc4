"""Signals by name and by number, and which one a program is due."""

from __future__ import annotations

import signal

from supervisortw.core.model import OnDaemonDeath, Program


def signal_number(text: str) -> int:
    """Return the number of a signal given as ``HUP``, ``SIGHUP``, ``hup`` or ``1``.

    Raises ValueError with a sentence for people.
    """
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and len(name) < 4 and 0 < int(name) < signal.NSIG:
        return int(name)
    try:
        return signal.Signals[f"SIG{name}"].value
    except KeyError:
        raise ValueError(f"no such signal: {text}") from None


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15; a number without a name stands for itself."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def death_signal(program: Program) -> int | None:
    """Return what a program is sent when the daemon dies, or None if it is to live on."""
    if program.on_daemon_death is OnDaemonDeath.KEEP:
        return None
    ladder = (step.signal for step in program.stop_steps)
    return next((number for number in ladder if number is not None), int(signal.SIGTERM))
