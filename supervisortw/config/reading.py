"""One reading of a configuration file together with all files that it includes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from ZConfig.loader import Resource

from supervisortw.config import files
from supervisortw.config.parser import Parser
from supervisortw.config.problems import Place, Problems
from supervisortw.config.schema import SCHEMA_FILES, schema
from supervisortw.config.section import Root, Section, Values, section_info
from supervisortw.config.wording import NAME_EXPECTED, did_you_mean, nearest, quoted, shown
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import RESERVED_NAMES, is_program_name

INI_MESSAGE = (
    "this is a file for supervisor 3 or 4, in INI style; supervisortw has another style:"
    " <supervisord> ... </supervisord> around <program NAME> ... </program>, lines of a key, a space"
    " and a value without '=', and comments only on lines that begin with '#'"
    " (supervisord --sample-config prints an example)"
)


# The types of sections that have a name of their own, and which of them share their names.
NAMED = {"program": "programs", "group": "programs", "socket": "sockets"}


class Reading:
    """Reads the configuration of ``program`` (supervisord or supervisorctl) from ``disk``.

    ``files`` are the absolute paths of all files read so far. ``overrides`` are laid over the one
    section on the outside.
    """

    def __init__(
        self,
        program: str,
        overrides: Mapping[str, Sequence[str]],
        disk: files.FileSource,
        problems: Problems,
    ) -> None:
        self.problems = problems
        self.defines: dict[str, str | None] = {}
        self.files: list[str] = []
        self._program = program
        self._schema = schema(program)
        self._overrides = overrides
        self._disk = disk
        # The files that are being read now, each included by the one before it.
        self._chain: list[files.Source] = []
        self._opened = 0

    def read(self, path: str) -> Values | None:
        """Return what the file says, or None after noting why it cannot be used at all."""
        root = Root(self._schema, self._program, self.problems)
        here = Place(path, None)
        source = self._source(path, here, "cannot be read")
        if source is None:
            return None
        self._parse(source, root, ())
        if root.first is None:
            self.problems.add(here, f"there is no <{self._program}> section in it")
        value = root.finish()
        return Values(value) if value is not None else None

    def start(self, parent: Any, type_: str, name: str, place: Place) -> Section | None:
        """Open a section; see `parser.Context`."""
        if isinstance(parent, Root) and self._is_for_the_other(parent, type_, place):
            return None
        info = section_info(parent.type, type_)
        counts = info is not None
        if info is None:
            info = self._instead(parent, type_, place)
            if info is None:
                return None
        section = Section(info, info.sectiontype, name, place, self.problems)
        section.counts = counts and getattr(parent, "counts", True)
        if section.type.name in NAMED:
            self._check_name(parent, section, name)
        elif name:
            self.problems.add(place, f"<{type_}> takes no name")
        if isinstance(parent, Root) and section.type.name == parent.top:
            if parent.first is None:
                parent.first = place
            else:
                where = parent.first.seen_from(place)
                self.problems.add(place, f"a second <{parent.top}>; the first is at {where}")
                section.counts = False
        return section

    def end(self, parent: Any, section: Section) -> None:
        """Close a section; see `parser.Context`."""
        if section.type.name == self._program and section.counts:
            section.override(self._overrides)
        value = section.finish()
        if section.counts:
            parent.addSection(section.type.name, section.given_name, value)

    def allows(self, section: Any, type_: str) -> bool:
        """True if sections of that type may stand in ``section``."""
        return section_info(section.type, type_) is not None

    def include(self, section: Any, name: str, place: Place) -> None:
        """Read further files; see `parser.Context`."""
        if files.is_url(name):
            self.problems.add(place, f"{quoted(name)} is no file; only files can be included")
            return
        if name.startswith("~"):
            self.problems.add(place, "'~' is not expanded; write the whole path")
            return
        directory = os.path.dirname(self._chain[-1].path)
        if files.is_pattern(name):
            found = self._disk.matching(directory, name)
            if not found:
                self.problems.warn(place, f"no file matches {quoted(name)}")
        else:
            found = (files.resolved(directory, name),)
        for number, path in enumerate(found):
            self._include_file(section, path, place, number)

    def _include_file(self, section: Any, path: str, place: Place, number: int) -> None:
        if len(self._chain) > LIMITS.include_depth:
            limit = f"files are included in each other more than {LIMITS.include_depth} levels deep"
            self.problems.add(place, limit)
            return
        source = self._source(path, place, f"{shown(path)} cannot be included", number)
        if source is not None:
            self._parse(source, section, (*place.order, number))

    def _source(
        self, path: str, asked: Place, failure: str, number: int | None = None
    ) -> files.Source | None:
        """Open a file, or note at ``asked`` that it ``failure``, or in the file what is bad there."""
        if self._opened >= LIMITS.files:
            self.problems.add(asked, f"more than {LIMITS.files} files are included")
            return None
        self._opened += 1
        order = asked.order if number is None else (*asked.order, number)
        try:
            source = self._disk.read(path)
        except files.Unreadable as error:
            if error.line is None:
                self.problems.add(asked, f"{failure}: {error}")
            else:
                self.problems.add(Place(path, error.line, (*order, error.line)), str(error))
            return None
        if any(source.identity == other.identity for other in self._chain):
            self.problems.add(asked, f"{failure}: it is being read already, so it includes itself")
            return None
        if path not in self.files:
            self.files.append(path)
        line = files.line_of_ini(source.text)
        if line is not None:
            self.problems.add(Place(path, line, (*order, line)), INI_MESSAGE)
            return None
        return source

    def _parse(self, source: files.Source, section: Any, order: tuple[int, ...]) -> None:
        self._chain.append(source)
        with Resource(StringIO(source.text), source.path) as resource:
            Parser(resource, self, order).parse(section)
        self._chain.pop()

    def _is_for_the_other(self, root: Root, type_: str, place: Place) -> bool:
        if type_ not in SCHEMA_FILES or type_ == self._program:
            return False
        root.first = root.first or place
        self.problems.add(
            place, f"this is a file for {type_}; {self._program} has a file of its own"
        )
        return True

    def _instead(self, parent: Any, type_: str, place: Place) -> Any:
        """Note that a section cannot stand here; return as what it is best read all the same."""
        if type_ in self._schema.gettypenames():
            outside = isinstance(parent, Root)
            where = f"outside of <{self._program}>" if outside else f"in {parent.label}"
            self.problems.add(place, f"<{type_}> cannot stand {where}")
            return self._anywhere(type_)
        allowed = [info.sectiontype.name for _, info in parent.type if info.issection()]
        guess = nearest(type_, allowed)
        self.problems.add(
            place,
            f"unknown section type {quoted(type_)} in {parent.label}{did_you_mean(guess)}",
        )
        return section_info(parent.type, guess) if guess else None

    def _anywhere(self, type_: str) -> Any:
        everywhere = [self._schema, *(inner for _, inner in self._schema.itertypes())]
        found = (section_info(outer, type_) for outer in everywhere)
        return next(info for info in found if info is not None)

    def _check_name(self, parent: Any, section: Section, name: str) -> None:
        place = section.opened
        type_ = section.type.name
        first = parent.names.get((NAMED[type_], name))
        if not name:
            self.problems.add(place, f"a {type_} needs a name: <{type_} NAME>")
        elif name in RESERVED_NAMES:
            self.problems.add(place, f"{quoted(name)} cannot name a {type_}; it stands for many")
        elif not is_program_name(name):
            self.problems.add(place, f"bad {type_} name {quoted(name)}: {NAME_EXPECTED}")
        elif first is None:
            parent.names[NAMED[type_], name] = section
            return
        elif first.type.name == type_:
            where = first.opened.seen_from(place)
            self.problems.add(place, f"a second {type_} {quoted(name)}; the first is at {where}")
        else:
            where = first.opened.seen_from(place)
            self.problems.add(
                place,
                f"a {type_} cannot have the name of a {first.type.name}: {first.label} is at {where}",
            )
            return  # it is one all the same, for those who name it
        section.counts = False
