"""One process slot as operators see it: how it stands, what they ask of it, and who waits for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from supervisortw.core import lifeevents
from supervisortw.core.model import Process
from supervisortw.core.restart import is_expected
from supervisortw.core.signals import signal_name
from supervisortw.core.states import ALIVE, UNSETTLED, State
from supervisortw.core.status import Outcome, ProgramStatus, Result
from supervisortw.daemon.admission import Prospect
from supervisortw.daemon.ended import told_ending, told_escaped
from supervisortw.daemon.inherited import InheritedSlot
from supervisortw.daemon.slot import Means


class ManagedProcess(InheritedSlot):
    """Keeps one process as operators want it to be."""

    def __init__(self, program: Process, means: Means) -> None:
        super().__init__(program, means)
        self.removed = False  # is down for ever: another slot may have its name now
        self._ending_escaped = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def up(self) -> bool:
        """True if the main process is alive."""
        return self.pid != 0

    @property
    def going_up(self) -> bool:
        """True if it is up to stay, or will be: not if it ended, nor while it is stopped."""
        return self._to_be in {State.WAITING, State.STARTING, State.RUNNING, State.BACKOFF}

    @property
    def _to_be(self) -> State:
        """The state that follows, where it is clear already."""
        return self.life.next if self.life.state is State.STOPPING else self.life.state

    @property
    def prospect(self) -> Prospect:
        """How it stands for those who depend on it."""
        state = self.life.state
        if self.program.oneshot:
            ready = state is State.EXITED and self._ended_well
            coming = self.going_up
        else:
            ready = state is State.RUNNING
            coming = self.going_up and not (
                state is State.WAITING and self._means.admission.is_hopeless(self)
            )
        name = self.program.name
        return Prospect(ready=ready, coming=coming, text=f"{name} ({state.value})", name=name)

    @property
    def waits_for(self) -> str:
        """The name of the process that it waits for, empty if there is none."""
        return self._means.admission.blocker(self) if self.life.state is State.WAITING else ""

    @property
    def exit_code(self) -> int:
        """The code that its last process ended with, as a shell tells it; 1 if there was none."""
        last = self.memory.last
        return 1 if last is None or self.memory.spawn_error else last.exit_code

    @property
    def _ended_well(self) -> bool:
        return self.memory.last is not None and is_expected(self.program, self.memory.last.code)

    def status(self) -> ProgramStatus:
        """Tell how the process stands now."""
        return ProgramStatus(
            name=self.program.name,
            program=self.program.program,
            group=self.program.group,
            state=self.life.state,
            wanted=self.life.wanted,
            pid=self.pid,
            since=self._clock.seconds() - (self.memory.started if self.pid else self.memory.since),
            restarts=self.memory.restarts,
            detail=self.detail,
        )

    # What operators ask for.

    async def start(self) -> Outcome:
        """Have it up, and wait until it is, or has failed."""
        await self._when(self._is_free)
        if self.removed:
            return self._outcome(Result.FAILED, "was removed meanwhile")
        if self.life.state is State.RUNNING and not self.program.oneshot:
            return self._outcome(Result.ALREADY_UP, f"already up, pid {self.pid}")
        self.handle(lifeevents.StartAsked())
        await self.settled()
        return self._came_up(Result.STARTED, f"started, pid {self.pid}")

    async def restart(self, by: str = "") -> Outcome:
        """Have it up in a new process, since ``by`` asks; wait until it is, or has failed."""
        await self._when(self._is_free)
        if self.removed:
            return self._outcome(Result.FAILED, "was removed meanwhile")
        old = self.pid
        self.handle(lifeevents.RestartAsked(by))
        await self.settled()
        was = f" (was {old})" if old else ""
        return self._came_up(Result.RESTARTED, f"restarted, pid {self.pid}{was}")

    async def stop(self, by: str = "") -> Outcome:
        """Have it down, since ``by`` asks; wait until all of its processes are gone."""
        was_down = self.life.state not in ALIVE and not self.going_up
        self.handle(lifeevents.StopAsked(by))
        if was_down:
            return self._outcome(Result.ALREADY_DOWN, "already down")
        await self.settled()
        if self.life.state in ALIVE or self.life.wanted:
            return self._outcome(Result.SUPERSEDED, "somebody else started it meanwhile")
        return self._outcome(Result.STOPPED, self.detail)

    async def find_escaped(self) -> Sequence[str]:
        """Return in words who has left its session and is still there. Raises LocalError."""
        if self.memory.spawn is None:
            return ()
        found = await self._means.sessions.find_escaped(self.memory.spawn, self._sid_now)
        return told_escaped(found, self.program.stop_scope)

    async def end_escaped(self) -> tuple[bool, Sequence[str]]:
        """End who has left its session; return whether all are gone, and what came of it in words.

        Raises LocalError.
        """
        if self.memory.spawn is None:
            return True, ()
        steps = self.program.stop_steps
        wait = steps[-1].wait if steps else 0.0
        self._ending_escaped = True
        try:
            ending = await self._means.sessions.end_escaped(self.memory.spawn, self._sid_now, wait)
        finally:
            self._ending_escaped = False
            self.prospects_changed()
        return not ending.left, told_ending(ending, self.program.stop_scope)

    @property
    def _sid_now(self) -> int:
        return self.memory.sid if self.life.state in ALIVE else 0

    def signal(self, number: int, by: str = "") -> Outcome:
        """Send a signal to the main process, since ``by`` asks."""
        trouble = self.signal_leader(number)
        if trouble:
            return self._outcome(Result.FAILED, trouble)
        self._sent = number, by
        return self._outcome(Result.SIGNALLED, f"sent {signal_name(number)} to pid {self.pid}")

    def settled(self) -> Deferred[None]:
        """Fire once nothing is under way, or nothing will come of it; at once if that is so now."""
        return self._when(self._is_settled)

    def ended(self) -> Deferred[None]:
        """Fire once no stop is under way; at once if there is none."""
        return self._when(lambda: self.life.state is not State.STOPPING)

    def _when(self, is_so: Callable[[], bool]) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        if is_so():
            waiter.callback(None)
        else:
            self._waiting.append((is_so, waiter))
        return waiter

    def prospects_changed(self) -> None:
        """Let those go who wait for something that is over, or that will not come."""
        if not self._waiting or self._handling:
            return
        over = [waiter for is_so, waiter in self._waiting if is_so()]
        self._waiting = [each for each in self._waiting if each[1] not in over]
        for waiter in over:
            waiter.callback(None)

    def _is_free(self) -> bool:
        """True unless what has escaped from it is being ended, which a new process could be taken for."""
        return not self._ending_escaped

    def _is_settled(self) -> bool:
        state = self.life.state
        if state is State.WAITING:
            return self._means.admission.is_hopeless(self)
        return state not in UNSETTLED and not (self.program.oneshot and state is State.RUNNING)

    def _came_up(self, result: Result, text: str) -> Outcome:
        state = self.life.state
        if state is State.RUNNING:
            return self._outcome(result, text)
        if state is State.STOPPED:
            return self._outcome(Result.SUPERSEDED, "somebody else stopped it meanwhile")
        if state is State.EXITED and self._ended_well:
            return self._outcome(Result.ENDED, self.detail)
        return self._outcome(Result.FAILED, self.detail)

    def _outcome(self, result: Result, text: str) -> Outcome:
        return Outcome(name=self.program.name, result=result, text=text)
