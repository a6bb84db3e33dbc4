"""What a peer may make us build, and which of our methods it may call.

Knows the types that travel and how Perspective Broker writes them; knows no verb and no user. Both
directions are written out here: what Twisted offers looks types up in a registry that any library
of the process can widen, and writes a value that occurs twice in one message (an empty tuple does)
in a form that we refuse to read.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from twisted.spread import jelly, pb

from supervisortw.core.limits import LIMITS, Limits

Refer = Callable[[int], object]  # makes what stands for the peer's object of that number
Register = Callable[[pb.Referenceable], int]  # the number by which the peer will know our object

LARGEST_INTEGER = 2**63 - 1
SMALLEST_INTEGER = -(2**63)


class Violation(Exception):
    """A peer broke a rule of the protocol; the text is for our log and holds nothing it sent."""


class Unsendable(Exception):
    """A value of ours that the protocol does not carry, or that the peer would have to refuse."""


class BadCall(pb.Error):
    """A call of something that cannot be called, or with arguments that do not fit."""


class StrictSecurity(jelly.SecurityOptions):
    """The types that may travel: a fixed list, not widened by any library that registers a class.

    The names with a dot are those that jelly asks for when it writes such a value; reading one of
    them gives nothing, as no module and no class is allowed.
    """

    WRITTEN = frozenset(
        f"builtins.{name}".encode()
        for name in ("NoneType", "bool", "str", "bytes", "int", "float", "list", "tuple", "dict")
    )
    READ = frozenset((b"None", b"boolean", b"unicode", b"list", b"tuple", b"dictionary", b"remote"))

    def isTypeAllowed(self, typeName: bytes | str) -> bool:
        """Tell whether a value of this type may be read or written."""
        name = typeName.encode() if isinstance(typeName, str) else typeName
        return name in self.READ or name in self.WRITTEN

    def isModuleAllowed(self, moduleName: object) -> bool:
        """No module is named by a peer."""
        return False

    def isClassAllowed(self, klass: object) -> bool:
        """No class is named by a peer."""
        return False


def to_jelly(value: object, register: Register, limits: Limits = LIMITS) -> Any:
    """Return what Perspective Broker sends for ``value``. Raises Unsendable if it cannot travel.

    Lengths are not looked at here; the broker does that when it has the bytes.
    """
    return _write(value, register, limits.broker_depth - 1)  # it is one item of a message


def _write(value: object, register: Register, levels: int) -> Any:
    """Return ``value`` as at most so many levels of lists, byte strings and numbers."""
    kind = type(value)
    if kind in _RAW:
        return _RAW[kind](value)
    if levels < 1:
        raise Unsendable("a value is nested too deeply")
    if kind in _ATOMS:
        return _ATOMS[kind](value)
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        name = b"list" if kind is list else b"tuple"
        return [name, *(_write(item, register, levels - 1) for item in value)]
    if isinstance(value, dict) and kind is dict:
        if levels < 2 or not all(type(key) is str for key in value):
            raise Unsendable("a dictionary has a key that is no text, or is nested too deeply")
        pairs = ([key, item] for key, item in value.items())
        return [b"dictionary", *([_write(x, register, levels - 2) for x in p] for p in pairs)]
    if isinstance(value, pb.Referenceable):
        return [b"remote", register(value)]
    raise Unsendable(f"a value of type {kind.__name__} does not travel")


def _write_text(value: Any) -> list[bytes]:
    try:
        return [b"unicode", value.encode("utf-8")]
    except UnicodeEncodeError:
        raise Unsendable("a text is not valid Unicode") from None


def _write_integer(value: Any) -> Any:
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Unsendable("an integer is too large")
    return value


def _write_float(value: Any) -> Any:
    if not math.isfinite(value):
        raise Unsendable("a number is not finite")
    return value


_RAW: dict[type, Callable[[Any], Any]] = {
    bytes: lambda value: value,
    int: _write_integer,
    float: _write_float,
}
_ATOMS: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: [b"None"],
    bool: lambda value: [b"boolean", b"true" if value else b"false"],
    str: _write_text,
}


def from_jelly(sexp: Any, refer: Refer) -> Any:
    """Return the value that a peer wrote as ``sexp``, which came out of a bounded decoder.

    ``refer`` is called for each reference to an object of the peer. Raises Violation for
    everything that is not one of the few types, exactly as they are written.
    """
    if type(sexp) is not list:
        return sexp
    if not sexp or type(sexp[0]) is not bytes:
        raise Violation("a value does not say of which type it is")
    reader = _READERS.get(sexp[0])
    if reader is None:
        raise Violation("a value is of a type that does not travel here")
    return reader(sexp, refer)


def _read_none(sexp: list[Any], refer: Refer) -> None:
    if len(sexp) != 1:
        raise Violation("a None has contents")


def _read_boolean(sexp: list[Any], refer: Refer) -> bool:
    if len(sexp) != 2 or sexp[1] not in (b"true", b"false"):
        raise Violation("a boolean is neither true nor false")
    return bool(sexp[1] == b"true")


def _read_text(sexp: list[Any], refer: Refer) -> str:
    if len(sexp) != 2 or type(sexp[1]) is not bytes:
        raise Violation("a text has no bytes")
    try:
        return sexp[1].decode("utf-8")
    except UnicodeDecodeError:
        raise Violation("a text is not valid UTF-8") from None


def _read_list(sexp: list[Any], refer: Refer) -> list[Any]:
    return [from_jelly(item, refer) for item in sexp[1:]]


def _read_tuple(sexp: list[Any], refer: Refer) -> tuple[Any, ...]:
    return tuple(_read_list(sexp, refer))


def _read_dictionary(sexp: list[Any], refer: Refer) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in sexp[1:]:
        if type(pair) is not list or len(pair) != 2:
            raise Violation("a dictionary is not made of pairs")
        key = from_jelly(pair[0], refer)
        if type(key) is not str or key in found:
            raise Violation("a dictionary has a key that is no text, or that it has already")
        found[key] = from_jelly(pair[1], refer)
    return found


def _read_remote(sexp: list[Any], refer: Refer) -> object:
    if len(sexp) != 2 or type(sexp[1]) is not int or sexp[1] < 1:
        raise Violation("a reference is not a number")
    return refer(sexp[1])


_READERS: dict[bytes, Callable[[list[Any], Refer], Any]] = {
    b"None": _read_none,
    b"boolean": _read_boolean,
    b"unicode": _read_text,
    b"list": _read_list,
    b"tuple": _read_tuple,
    b"dictionary": _read_dictionary,
    b"remote": _read_remote,
}


def call_verb(
    verbs: Mapping[str, Callable[..., object]],
    broker: pb.Broker,
    message: str,
    args: Any,
    kw: Any,
) -> Any:
    """Call what ``verbs`` has under the name ``message`` and return its answer, ready to be sent.

    Meant to be the whole body of a ``remoteMessageReceived`` or ``perspectiveMessageReceived``.
    Raises BadCall if there is no such verb, or the arguments do not fit its signature.
    """
    given = broker.unserialize(args)
    named = broker.unserialize(kw)
    verb = verbs.get(message)
    if verb is None:
        raise BadCall("no such verb")
    try:
        call = inspect.signature(verb).bind(*given, **named)
    except TypeError:
        raise BadCall("arguments that do not fit") from None
    return broker.serialize(verb(*call.args, **call.kwargs))
