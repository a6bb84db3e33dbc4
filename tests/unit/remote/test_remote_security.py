import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.spread import jelly, pb

from supervisortw.core.limits import LIMITS
from supervisortw.remote import security
from supervisortw.remote.security import (
    BadCall,
    StrictSecurity,
    Unsendable,
    Violation,
    call_verb,
    from_jelly,
    to_jelly,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)
REFUSED = [
    *("set", "frozenset", "decimal", "datetime", "date", "time", "timedelta"),
    *("reference", "dereference", "persistent", "unpersistable", "local", "copy"),
    *("cache", "cached", "lcache", "instance", "class", "module", "function", "method"),
    *("string", "str", "int", "long", "dict", "a.b", "os.system", "builtins.object"),
    "twisted.spread.pb.CopyableFailure",
]


def no_reference(value: object) -> int:
    raise AssertionError


@settings(deadline=None)
@given(plain)
def test_what_is_written_is_read_by_us_and_by_twisted(value) -> None:
    told = to_jelly(value, no_reference)
    assert from_jelly(told, no_reference) == value
    assert jelly.unjelly(told, StrictSecurity()) == value


@settings(deadline=None)
@given(plain)
def test_what_twisted_writes_is_read(value) -> None:
    told = jelly.jelly(value, StrictSecurity())
    if b"dereference" not in repr(told).encode():
        assert from_jelly(told, no_reference) == value


def test_a_value_may_occur_twice() -> None:
    names = ["a"]
    value = [(), (), names, names]
    assert from_jelly(to_jelly(value, no_reference), no_reference) == value


def test_the_list_of_types_is_closed() -> None:
    taster = StrictSecurity()
    assert frozenset(security._READERS) == taster.READ
    taster.allowTypes("set", "some.Class")
    taster.allowInstancesOf(dict)
    taster.allowModules("os")
    for name in REFUSED:
        assert not taster.isTypeAllowed(name)
        assert not taster.isTypeAllowed(name.encode())
    assert not taster.isModuleAllowed("os")
    assert not taster.isClassAllowed(dict)
    assert not StrictSecurity().isTypeAllowed(b"set")


def test_names_that_jelly_asks_for_cannot_be_read() -> None:
    for name in StrictSecurity.WRITTEN:
        with pytest.raises(jelly.InsecureJelly):
            jelly.unjelly([name, b"x"], StrictSecurity())
        with pytest.raises(Violation):
            from_jelly([name, b"x"], no_reference)


@pytest.mark.parametrize("name", [*REFUSED, "", "\x00", "__class__"])
def test_a_type_that_is_not_on_the_list_is_a_violation(name) -> None:
    with pytest.raises(Violation):
        from_jelly([b"list", [name.encode(), b"x"]], no_reference)


@pytest.mark.parametrize(
    "sexp",
    [
        [],
        [1],
        [1.5],
        [[b"list"]],
        [b"list", []],
        [b"None", 1],
        [b"boolean"],
        [b"boolean", b"yes"],
        [b"boolean", [b"true"]],
        [b"unicode"],
        [b"unicode", 5],
        [b"unicode", b"a", b"b"],
        [b"unicode", b"\xff"],
        [b"unicode", b"\xed\xa0\x80"],
        [b"dictionary", 5],
        [b"dictionary", []],
        [b"dictionary", [[b"unicode", b"a"]]],
        [b"dictionary", [[b"unicode", b"a"], 1, 2]],
        [b"dictionary", [b"a", 1]],
        [b"dictionary", [1, 1]],
        [b"dictionary", [[b"None"], 1]],
        [b"dictionary", [[b"list"], 1]],
        [b"dictionary", [[b"unicode", b"a"], 1], [[b"unicode", b"a"], 2]],
        [b"remote"],
        [b"remote", b"root"],
        [b"remote", 0],
        [b"remote", -1],
        [b"remote", 1.0],
        [b"remote", [b"list"]],
        [b"remote", 1, 2],
    ],
)
def test_a_value_is_written_exactly_or_is_a_violation(sexp) -> None:
    with pytest.raises(Violation):
        from_jelly(sexp, no_reference)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        {1},
        frozenset(),
        object(),
        2**63,
        -(2**63) - 1,
        math.nan,
        math.inf,
        "\udc80",
        {1: 2},
        {b"a": 1},
        Text("x"),
        bytearray(b"x"),
        pb.RemoteReference(None, None, 1, 0),
        pb.Copyable(),
        pb.Cacheable(),
        pb.Viewable(),
    ],
)
def test_what_the_peer_would_refuse_is_not_sent(value) -> None:
    with pytest.raises(Unsendable):
        to_jelly([value], no_reference)


def test_depth_is_that_of_the_decoder() -> None:
    def nested(depth: int, innermost: object) -> object:
        return [nested(depth - 1, innermost)] if depth else innermost

    room = LIMITS.broker_depth - 1
    assert to_jelly(nested(room, 1), no_reference)
    assert to_jelly(nested(room - 1, "text"), no_reference)
    assert to_jelly(nested(room - 3, {"key": 1}), no_reference)
    for depth, innermost in ((room + 1, 1), (room, "text"), (room - 1, {"key": 1})):
        with pytest.raises(Unsendable):
            to_jelly(nested(depth, innermost), no_reference)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(Unsendable):
        to_jelly(endless, no_reference)


class Broker:
    serialize = staticmethod(lambda value: ("sent", value))
    unserialize = staticmethod(lambda sexp: from_jelly(sexp, no_reference))


def test_a_verb_is_called_through_the_table_and_no_other_way() -> None:
    def start(names, *, wait=True):
        return names, wait

    def call(message, args, kw=()):
        return call_verb(
            {"start": start},
            Broker(),
            message,
            to_jelly(tuple(args), no_reference),
            to_jelly(dict(kw), no_reference),
        )

    assert call("start", ["web"]) == ("sent", ("web", True))
    assert call("start", ["web"], {"wait": False}) == ("sent", ("web", False))
    for message, args, kw in [
        ("stop", [], {}),
        ("__class__", [], {}),
        ("start", [], {}),
        ("start", ["a", "b"], {}),
        ("start", ["a"], {"names": "b"}),
        ("start", ["a"], {"user": "root"}),
        ("start", ["a"], {f"k{n}": n for n in range(1000)}),
    ]:
        with pytest.raises(BadCall):
            call(message, args, kw)
