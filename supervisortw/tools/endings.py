"""Which of the processes that end decides how pid-proxy ends. Knows numbers, no system calls.

Three kinds of process matter. The *launcher* is COMMAND itself. The *real process* is the one that
the pid file names. The *branch* is the child of ours that the real process descends from; mostly
it is the real process itself, since orphans become our children. A parent that stays between us
and the real process collects its exit code, so the parent's own code then stands for it.
"""

from __future__ import annotations


class Endings:
    """Collects what ended, and tells the exit code.

    ``outcome`` is the code to end with unless the pid file soon names another process; None as long
    as there is nothing to decide.
    """

    def __init__(self, launcher: int) -> None:
        self.launcher = launcher
        self.launcher_runs = True
        self.branch: int | None = None
        self.outcome: int | None = None
        self._last: int | None = None

    def found(self, branch: int) -> None:
        """The real process is known, or is another one, or has another parent."""
        self.branch = branch
        self.outcome = None

    def ended(self, pid: int, code: int, *, together: bool = False) -> None:
        """A child of ours has ended with ``code``; ``together``: nobody can say if after the last."""
        # A program that detaches and fails at once ends together with its launcher and whatever
        # was between them. Their 0 must not hide its code.
        if self._last is None or (pid != self.launcher and (code != 0 or not together)):
            self._last = code
        if pid == self.branch:
            self.branch = None
            self.outcome = code
        elif pid == self.launcher and code != 0 and self.branch is None and self.outcome is None:
            # Nothing will come of a launcher that failed. After one that did not, the pid file may
            # take its time.
            self.outcome = code
        if pid == self.launcher:
            self.launcher_runs = False

    def final(self) -> int:
        """Return the exit code now that no child is left."""
        return self.outcome if self.outcome is not None else self._last or 0
