"""The lines of one file: ZConfig's grammar, without its habit of stopping at the first mistake.

What differs from ZConfig's own parser: every mistake is noted and reading goes on; the names of
sections keep their case; a section that is never closed is reported where it was opened; there is no
``%import``; and ``%include`` takes only files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from ZConfig import SubstitutionReplacementError, SubstitutionSyntaxError
from ZConfig.cfgparser import ZConfigParser
from ZConfig.substitution import isname

from supervisortw.config.problems import Place, Problems
from supervisortw.config.wording import did_you_mean, nearest, quoted, shown
from supervisortw.core.limits import LIMITS

# A value that is longer was not written by a person. It also ends definitions that double
# themselves.

_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_DOLLAR_HINT = "write '$$' for a plain '$'"


class Context(Protocol):
    """What a parser needs of the load that it is part of."""

    problems: Problems
    # Names from %define, in lower case, with their values; None: defined, but by a broken line.
    defines: dict[str, str | None]

    def start(self, parent: Any, type_: str, name: str, place: Place) -> Any:
        """Return a new section in ``parent``, or None if what is in it cannot be understood."""

    def end(self, parent: Any, section: Any) -> None:
        """Close ``section``, which ``start`` returned for ``parent``."""

    def allows(self, section: Any, type_: str) -> bool:
        """True if sections of that type may stand in ``section``."""

    def include(self, section: Any, name: str, place: Place) -> None:
        """Read a file, or the files that a pattern matches, as if they stood here."""


@dataclass(frozen=True, slots=True)
class Open:
    """A section that was opened in this file; ``section`` None: what is in it is passed over."""

    type_: str
    name: str
    place: Place
    section: Any
    parent: Any

    def __str__(self) -> str:
        return shown(f"<{self.type_} {self.name}>" if self.name else f"<{self.type_}>")


class Parser(ZConfigParser):  # type: ignore[misc]  # ZConfig has no annotations
    """Reads one file, whose lines stand at ``order`` among those of all files."""

    context: Context
    stack: list[Open]

    def __init__(self, resource: Any, context: Context, order: tuple[int, ...]) -> None:
        super().__init__(resource, context, context.defines)
        self.problems = context.problems
        self._order = order
        self._outer: Any = None

    def parse(self, section: Any) -> None:
        """Read all lines into ``section``, which stays open."""
        self._outer = section
        done, line = self.nextline()
        while not done:
            self._read(line)
            done, line = self.nextline()
        self._close_down_to(0)

    def _read(self, line: str) -> None:
        if line[:1] in ("", "#"):
            return
        if line.startswith("</"):
            self._end_section(self._between(line, 2))
        elif line.startswith("<"):
            self._start_section(self._between(line, 1))
        elif line.startswith("%"):
            self._directive(line)
        else:
            self._key_and_value(line)

    @property
    def place(self) -> Place:
        """Where the line stands that is being read."""
        return Place(self.url, self.lineno, (*self._order, self.lineno))

    def _section(self) -> Any:
        return self.stack[-1].section if self.stack else self._outer

    def _between(self, line: str, start: int) -> str:
        if line.endswith(">"):
            return line[start:-1]
        self.problems.add(self.place, f"{quoted(line)} has no '>' at its end")
        return line[start:]

    def _start_section(self, text: str) -> None:
        is_empty = text.endswith("/")
        words = text.removesuffix("/").split(None, 1)
        if not words:
            self.problems.add(self.place, "a section needs a type, as in <program NAME>")
            return
        type_, name = words[0].lower(), (words[1].rstrip() if len(words) > 1 else "")
        self._close_what_cannot_hold(type_)
        parent = self._section()
        section = None
        if parent is not None:
            section = self.context.start(parent, type_, name, self.place)
        self.stack.append(Open(type_, name, self.place, section, parent))
        if is_empty:
            self._close()

    def _close_what_cannot_hold(self, type_: str) -> None:
        """Close sections in which the new one cannot stand, if it can stand in one around them.

        Then they were most likely meant to be closed before.
        """
        around = [self._outer, *(opened.section for opened in self.stack)]
        for depth in range(len(around) - 1, -1, -1):
            if around[depth] is None:
                return
            if self.context.allows(around[depth], type_):
                self._close_down_to(depth)
                return

    def _end_section(self, text: str) -> None:
        words = text.split(None, 1)
        type_ = words[0].lower() if words else ""
        line = quoted(f"</{text}>")
        if len(words) > 1:
            self.problems.add(self.place, f"{line} has a name; write </{shown(type_)}>")
        if not self.stack:
            self.problems.add(self.place, f"{line} closes nothing that was opened in this file")
            return
        depths = [depth for depth, opened in enumerate(self.stack) if opened.type_ == type_]
        if depths:
            self._close_down_to(depths[-1] + 1)
            self._close()
            return
        last = self.stack[-1]
        message = f"{line} does not close {last}, opened in line {last.place.line}"
        self.problems.add(self.place, message)
        if nearest(type_, [last.type_]):
            self._close()

    def _close_down_to(self, depth: int) -> None:
        """Close the sections beyond the first ``depth`` ones, none of which has an end of its own."""
        for opened in self.stack[depth:]:
            self.problems.add(opened.place, f"{opened} is never closed")
        while len(self.stack) > depth:
            self._close()

    def _close(self) -> None:
        opened = self.stack.pop()
        if opened.section is not None:
            self.context.end(opened.parent, opened.section)

    def _key_and_value(self, line: str) -> None:
        section = self._section()
        if section is None:
            return
        key, *rest = line.split(None, 1)
        text = rest[0] if rest else ""
        if text.startswith("="):
            self.problems.add(self.place, f"write '{shown(key)} VALUE', without the '='")
            section.addValue(key, None, self.place)
            return
        section.addValue(key, self._replaced(text, key), self.place)

    def _directive(self, line: str) -> None:
        name, argument = [*line[1:].split(None, 1), "", ""][:2]
        if name == "import":
            self.problems.add(self.place, "%import is not allowed; there is nothing to import")
        elif name not in ("define", "include"):
            guess = nearest(name, ("define", "include"))
            hint = did_you_mean(guess and f"%{guess}")
            self.problems.add(self.place, f"unknown directive {quoted('%' + name)}{hint}")
        elif not argument:
            what = "NAME VALUE" if name == "define" else "FILE"
            self.problems.add(self.place, f"%{name} needs more: %{name} {what}")
        elif name == "define":
            self._define(argument)
        else:
            file = self._replaced(argument, "%include")
            if file is not None:
                self.context.include(self._section(), file, self.place)

    def _define(self, text: str) -> None:
        name, value = [*text.split(None, 1), ""][:2]
        if not isname(name):
            self.problems.add(
                self.place,
                f"{quoted(name)} cannot be defined; a name has letters, digits and '_'",
            )
            return
        new = self._replaced(value, f"%define {name}")
        old = self.defines.get(name.lower(), new)
        if new is not None and old is not None and new != old:
            self.problems.add(self.place, f"{quoted(name)} is defined already, as {quoted(old)}")
            return
        self.defines[name.lower()] = new

    def _replaced(self, text: str, key: str) -> str | None:
        """Return ``text`` with what ``$`` stands for, or None after noting why that cannot be."""
        names = [name.lower() for name in _REFERENCE.findall(text)]
        length = len(text) + sum(len(self.defines.get(name) or "") for name in names)
        if length > LIMITS.value_characters:
            limit = f"more than {LIMITS.value_characters} characters"
            self.problems.add(self.place, f"the value of {quoted(key)} has {limit}")
            return None
        try:
            value: str = self.replace(text)
        except SubstitutionReplacementError as error:
            self._undefined(error.name, text, key)
        except SubstitutionSyntaxError:
            self.problems.add(
                self.place,
                f"a '$' in the value of {quoted(key)} is followed by no name; {_DOLLAR_HINT}",
            )
        else:
            return value
        return None

    def _undefined(self, name: str, text: str, key: str) -> None:
        if f"$({name})" in text:
            message = f"the environment variable {quoted(name)} is not set; {_DOLLAR_HINT}"
        elif name.lower() in self.defines:
            return  # its own line is wrong, and was reported there
        else:
            message = (
                f"'${name}' is not defined; {_DOLLAR_HINT}, '$({name})' for an environment"
                f" variable, or define it above by '%define {name} VALUE'"
            )
        self.problems.add(self.place, f"in the value of {quoted(key)}: {message}")
