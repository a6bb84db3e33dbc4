"""Tells twistd of ``twistd supervisor``."""

from twisted.application.service import ServiceMaker

supervisor = ServiceMaker(
    "supervisor",
    "supervisortw.tap",
    "A process supervisor: starts, stops and restarts long-running programs.",
    "supervisor",
)
