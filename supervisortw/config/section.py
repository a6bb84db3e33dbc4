"""One section while it is read, and what it says once it is closed.

ZConfig's matchers convert values at the end of a section and stop at the first bad one, without its
key. These convert each value when it comes, report what is wrong, and go on without it. At the end of
the section only the defaults are missing, which are the same for every section of a type.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ZConfig.matcher import SchemaMatcher, SectionMatcher

from supervisortw.config.problems import COMMAND_LINE, Place, Problems
from supervisortw.config.wording import did_you_mean, nearest, quoted, shown

# Names that supervisor 4 and the old documents use, with ours for the same thing. None: there is
# none, and a key that only looks like it would mislead.
OTHER_NAMES: dict[str, str | None] = {
    "program": "command",
    # [program:x]
    "numprocs": "processes",
    "numprocs_start": "first-number",
    "process_name": "process-name",
    "autostart": "auto-start",
    "autorestart": "auto-restart",
    "startsecs": "start-seconds",
    "startretries": "start-retries",
    "exitcodes": "exit-codes",
    "stopsignal": "stop-signal",
    "stopwaitsecs": "stop-wait-seconds",
    "stopasgroup": "stop-scope",
    "killasgroup": "stop-scope",
    "redirect_stderr": "stderr-logfile",
    "stdout_logfile": "logfile",
    "stderr_logfile": "stderr-logfile",
    "stdout_logfile_maxbytes": "logfile-size",
    "stdout_logfile_backups": "logfile-backups",
    "stdout_capture_maxbytes": None,
    "stdout_events_enabled": None,
    "stdout_syslog": "logfile",
    "stderr_logfile_maxbytes": "logfile-size",
    "stderr_logfile_backups": "logfile-backups",
    "stderr_capture_maxbytes": None,
    "stderr_events_enabled": None,
    "stderr_syslog": "stderr-logfile",
    # [fcgi-program:x]
    "socket": "sockets",
    "socket_backlog": "backlog",
    "socket_owner": "owner",
    "socket_mode": "mode",
    # [supervisord], [unix_http_server], [inet_http_server] and [supervisorctl]
    "childlogdir": "state-directory",
    "logfile_maxbytes": "logfile-size",
    "logfile_backups": "logfile-backups",
    "minfds": None,
    "minprocs": None,
    "nocleanup": None,
    "strip_ansi": None,
    "identifier": None,
    "file": "socket-name",
    "port": "socket-name",
    "chmod": "socket-mode",
    "chown": "socket-chown",
    "serverurl": "socket-name",
    "username": None,
    "password": None,
}

# Keys whose values may be secrets, and are not repeated in messages.
SECRET = frozenset({"environment"})

# Keys of which only one can be given, because they are names for the same thing.
ALIASES = {"socket_chmod": "socket_mode"}


# The sections inside one that have a name, by what they share their names with and the name.
Names = dict[tuple[str, str], "Section"]


class Section(SectionMatcher):  # type: ignore[misc]  # ZConfig has no annotations
    """One section of a configuration, opened at ``opened``.

    ``counts`` is false for a section that is read only in order to find what is wrong in it.
    ``seen`` tells for each key that was given, good or bad, where it stands first, and ``places``
    where each of its good values stands.
    """

    def __init__(self, info: Any, type_: Any, name: str, opened: Place, problems: Problems) -> None:
        super().__init__(info, type_, name or "(no name)", [])
        self.given_name = name
        self.label = f"<{type_.name} {shown(name)}>" if name else f"<{type_.name}>"
        self.opened = opened
        self.counts = True
        self.names: Names = {}
        self.seen: dict[str, Place] = {}
        self.places: dict[str, list[Place]] = {}
        self._problems = problems

    def addValue(self, key: str, value: str | None, place: Place) -> None:
        """Take one line of the file. ``value`` None: the line has a value, but it is unknown."""
        info = self._known(key, place)
        if info is None:
            return
        attribute = info.attribute
        if attribute in self.seen and not info.ismulti():
            where = self.seen[attribute].seen_from(place)
            self._problems.add(place, f"{quoted(key)} is given twice in {self.label} ({where})")
            return
        self.seen.setdefault(attribute, place)
        if value is None:
            return
        try:
            converted = info.datatype(value)
        except ValueError as error:
            hint = "; a comment needs a line of its own" if " #" in value else ""
            told = "" if attribute in SECRET else f" {quoted(value)}"
            what = f"{told} for {quoted(key)} in {self.label}"
            self._problems.add(place, f"bad value{what}: {error}{hint}")
            return
        self.places.setdefault(attribute, []).append(place)
        if info.ismulti():
            self._values[attribute].append(converted)
        else:
            self._values[attribute] = converted

    def addSection(self, type_: str, name: str, value: Any) -> None:
        """Take a section that was closed. Its name may be that of a key, which ZConfig forbids."""
        for _, info in self.type:
            if info.issection() and info.sectiontype.name == type_:
                self._values[info.attribute].append(value)

    def override(self, values: Mapping[str, Sequence[str]]) -> None:
        """Let what was given on the command line win over what the file says."""
        for key in values:
            self._forget(key)
        for key, texts in values.items():
            for text in texts:
                self.addValue(key, text, COMMAND_LINE)

    def finish(self) -> Any:
        """Return the converted values with their defaults, or what can be made of them."""
        for key, info in self.type:
            if not info.minOccurs or info.issection():
                continue
            if info.attribute not in self.seen:
                self._problems.add(self.opened, f"{self.label} has no {quoted(key)}")
            if not self._values[info.attribute]:
                # The load has failed. The schema's example keeps the rest of the section alive, so
                # that what else is wrong in it is found as well.
                example = info.datatype(info.example)
                self._values[info.attribute] = [example] if info.ismulti() else example
        for attribute, default in _defaults(self.type).items():
            if self._values[attribute] is None:
                self._values[attribute] = default
        return self.createValue()

    def _known(self, key: str, place: Place) -> Any:
        keys = key_infos(self.type)
        info = keys.get(key.lower())
        if info is None:
            self._problems.add(place, self._unknown(key, keys))
            return None
        other = _alias(info.attribute)
        if other in self.seen:
            where = self.seen[other].seen_from(place)
            names = " and ".join(quoted(name.replace("_", "-")) for name in (info.attribute, other))
            self._problems.add(place, f"{names} are the same; one of them is enough ({where})")
            return None
        return info

    def _unknown(self, key: str, keys: Mapping[str, Any]) -> str:
        name, equals, _ = key.partition("=")
        message = f"unknown key {quoted(name + equals)} in {self.label}"
        if equals:
            message += "; between a key and its value stands a space, not '='"
            if name.lower() in keys:
                return message
        return message + self._hint(name.lower(), keys)

    def _hint(self, name: str, keys: Mapping[str, Any]) -> str:
        ours = OTHER_NAMES.get(name, name)
        if ours is None:
            return "; there is nothing like it here"
        if ours in keys:
            return did_you_mean(ours)
        types = [type_ for type_, info in self.type.itertypes() if ours in key_infos(info)]
        if not types:
            return did_you_mean(nearest(name, keys))
        where = " or ".join(f"<{type_}>" for type_ in types)
        return f"; {'it' if ours == name else quoted(ours)} belongs in {where}"

    def _forget(self, key: str) -> None:
        info = key_infos(self.type).get(key.lower())
        if info is None:
            return
        for attribute in (info.attribute, _alias(info.attribute)):
            if attribute is not None:
                self.seen.pop(attribute, None)
                self.places.pop(attribute, None)
                self._values[attribute] = [] if info.ismulti() else None


class Root(SchemaMatcher):  # type: ignore[misc]  # ZConfig has no annotations
    """What is outside of all sections: room for exactly one section of the schema's type."""

    label = "the file"

    def __init__(self, schema: Any, top: str, problems: Problems) -> None:
        super().__init__(schema)
        self.top = top
        self.names: Names = {}
        # Where the one section begins, or what was taken for it.
        self.first: Place | None = None
        self._problems = problems

    def addValue(self, key: str, value: str | None, place: Place) -> None:
        """Refuse a key, for there are none outside."""
        self._problems.add(place, f"{quoted(key)} stands outside of <{self.top}>")

    def finish(self) -> Any:
        """Return the values of the one section, or None if there is none that can be used."""
        if self._values["top"] is None:
            return None
        return super().finish().top


class Values:
    """What a closed section says: its converted values by attribute, and where they stand."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._section: Section = value.getSectionMatcher()
        self.name: str = self._section.name
        self.label: str = self._section.label
        self.opened: Place = self._section.opened

    def sections(self, attribute: str) -> list[Values]:
        """Return what the sections of one type say that stand in this one."""
        return [Values(value) for value in getattr(self._value, attribute)]

    def get(self, attribute: str) -> Any:
        """Return the value of a key: what was given, else the default, else None (or nothing)."""
        return getattr(self._value, attribute)

    def key(self, attribute: str) -> str:
        """Return how a key is written."""
        infos = key_infos(self._section.type)
        return next(key for key, info in infos.items() if info.attribute == attribute)

    def is_given(self, attribute: str) -> bool:
        """True if the key stands in the file or on the command line."""
        return attribute in self._section.places

    def place(self, attribute: str) -> Place:
        """Return where the key stands; where it is left out, where its section begins."""
        return self._section.seen.get(attribute, self.opened)

    def places(self, attribute: str) -> list[Place]:
        """Return where each value of a key stands that may be given several times."""
        return self._section.places.get(attribute, [])

    def each(self, attribute: str) -> Iterator[tuple[Any, Place]]:
        """Return each value that was given to a key, with where it stands."""
        value = self.get(attribute)
        values = value if isinstance(value, list) else [value]
        return zip(values, self.places(attribute), strict=False)  # what is a default has no place

    def words(self, attribute: str) -> Iterator[tuple[str, Place]]:
        """Return each word of a key that may be given several times, with where it stands."""
        for words, place in self.each(attribute):
            yield from ((word, place) for word in words)


@functools.cache  # of the few types that the schemas have
def key_infos(type_: Any) -> Mapping[str, Any]:
    """Return what the schema knows of each key of a section type."""
    return {key: info for key, info in type_ if not info.issection()}


@functools.cache
def _defaults(type_: Any) -> Mapping[str, Any]:
    """Return the value of each key of a section type that has one where the key is left out.

    A key that may be given several times has none in our schemas.
    """
    defaults = ((info, info.getdefault()) for info in key_infos(type_).values())
    return {info.attribute: default.convert(info.datatype) for info, default in defaults if default}


def section_info(type_: Any, name: str) -> Any:
    """Return what the schema knows of sections of type ``name`` inside ``type_``, or None."""
    found = (info for _, info in type_ if info.issection() and info.sectiontype.name == name)
    return next(found, None)


def _alias(attribute: str) -> str | None:
    """Return the other name of the same thing."""
    return {**ALIASES, **{new: old for old, new in ALIASES.items()}}.get(attribute)
