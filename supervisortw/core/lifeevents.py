"""What happens in the life of a program, and what is to be done about it, as plain records.

Events tell what has happened (past participles), effects say what to do (imperatives). Times are
seconds. `supervisortw.core.lifecycle` leads from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisortw.core.restart import Moment

# Events.


@dataclass(frozen=True, slots=True)
class StartAsked:
    """Somebody wants the program up (an operator, or the daemon at its start)."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the program down; ``by`` is who."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """Somebody wants the program up, in a new process; ``by`` is who."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Nothing stands in the way of the program's next process any more."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process that a Spawn asked for exists."""


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be made; ``permanent`` if trying again cannot help."""

    permanent: bool
    moment: Moment = Moment()


@dataclass(frozen=True, slots=True)
class Exited:
    """The main process was reaped.

    ``code`` is None after a signal or if it is unknown; ``uptime`` is how long it lived, in seconds;
    ``others_left`` is true unless it is known that nobody of its session is left. ``again`` is true if it
    was to end, and another is to be started in its place.
    """

    code: int | None
    uptime: float
    others_left: bool = False
    moment: Moment = Moment()
    again: bool = False


@dataclass(frozen=True, slots=True)
class SessionEmptied:
    """The last of the processes that outlived their leader is gone."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The program says that it has come up."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """The program says that it is alive."""


@dataclass(frozen=True, slots=True)
class Extended:
    """The program asks for ``seconds`` from now on for what it is doing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StopCommandEnded:
    """The stop command is over; ``good`` if it has asked the program to end, as it should."""

    good: bool


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time of the last SetTimer is over; ``uptime`` is how long the process has lived."""

    uptime: float = 0.0
    moment: Moment = Moment()


@dataclass(frozen=True, slots=True)
class Adopted:
    """A later daemon is in charge now; whatever runs goes on running.

    ``remaining`` is how many seconds are left of the timer that the former one had set.
    """

    remaining: float


Event = (
    StartAsked
    | StopAsked
    | RestartAsked
    | Admitted
    | Spawned
    | SpawnFailed
    | Exited
    | SessionEmptied
    | Ready
    | Pinged
    | Extended
    | StopCommandEnded
    | TimedOut
    | Adopted
)


# Effects.


@dataclass(frozen=True, slots=True)
class Await:
    """Send Admitted as soon as the program may have its process."""


@dataclass(frozen=True, slots=True)
class CancelAwait:
    """Do not send the Admitted that an Await asked for."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process; the answer is Spawned or SpawnFailed."""


@dataclass(frozen=True, slots=True)
class RunStopCommand:
    """Run the program's stop command; the answer, if it comes in time, is StopCommandEnded."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to every process that the stop is for."""

    number: int


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send TimedOut after ``seconds``, in place of any timer that was set before."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ExtendTimer:
    """Let the timer that is set last for ``seconds`` from now, if that is later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer."""


Effect = (
    Await | CancelAwait | Spawn | RunStopCommand | Signal | SetTimer | ExtendTimer | CancelTimer
)
