"""The sockets that the daemon listens on for programs."""

from __future__ import annotations

import ipaddress

from supervisortw.config.paths import Claims, Directories, check_socket_path
from supervisortw.config.problems import Problems
from supervisortw.config.section import Values
from supervisortw.config.wording import quoted
from supervisortw.core.model import Address, ListeningSocket, UnixAddress


def listening_sockets(
    values: Values, directories: Directories, claims: Claims, problems: Problems
) -> dict[str, ListeningSocket]:
    """Return the sockets in the order of the file."""
    return {
        section.name: _socket(section, directories, claims, problems)
        for section in values.sections("sockets")
    }


def _socket(
    section: Values, directories: Directories, claims: Claims, problems: Problems
) -> ListeningSocket:
    place = section.place("address")
    address: Address = section.get("address")
    if isinstance(address, UnixAddress):
        address = UnixAddress(path=directories.absolute(address.path, place))
        check_socket_path(address.path, "address", place, problems)
    else:
        if section.is_given("address") and not _is_numeric(address.host):
            problems.add(
                place,
                f"{quoted(address.host)} in {section.label}: give the address of the interface, as"
                " 192.0.2.1 or [2001:db8::1], not a name; names may mean another one tomorrow",
            )
        for attribute in ("mode", "owner"):
            if section.is_given(attribute):
                problems.add(
                    section.place(attribute),
                    f"{quoted(attribute)} is for UNIX sockets, and {section.label} is a TCP port",
                )
    if section.is_given("address"):
        claims.claim(str(address), section.label, place)
    return ListeningSocket(
        name=section.name,
        address=address,
        backlog=section.get("backlog"),
        mode=section.get("mode"),
        owner=section.get("owner"),
    )


def _is_numeric(host: str) -> bool:
    """True for an address, for all of them (nothing), and for the one name that is the same anywhere."""
    if host in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
