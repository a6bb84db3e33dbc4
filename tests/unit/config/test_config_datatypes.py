"""What the text of each kind of value means, and what is said about a bad one."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.config import datatypes
from supervisortw.core.model import AutoRestart, TcpAddress, UnixAddress


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (datatypes.boolean, "true", True),
        (datatypes.boolean, "Yes", True),
        (datatypes.boolean, "0", False),
        (datatypes.boolean, "OFF", False),
        (datatypes.auto_restart, "on", AutoRestart.ALWAYS),
        (datatypes.auto_restart, "no", AutoRestart.NEVER),
        (datatypes.auto_restart, "Unexpected", AutoRestart.UNEXPECTED),
        (datatypes.whole_number, "-5", -5),
        (datatypes.whole_number, "+007", 7),
        (datatypes.positive_number, "1", 1),
        (datatypes.count, "0", 0),
        (datatypes.seconds, "0", 0.0),
        (datatypes.seconds, "2.5", 2.5),
        (datatypes.seconds, ".5", 0.5),
        (datatypes.seconds, "3.", 3.0),
        (datatypes.exit_codes, "", frozenset()),
        (datatypes.exit_codes, "0, 2", frozenset({0, 2})),
        (datatypes.exit_codes, "255 1,1 ,3", frozenset({255, 1, 3})),
        (datatypes.mode, "022", 0o022),
        (datatypes.mode, "0777", 0o777),
        (datatypes.mode, "0", 0),
        (datatypes.log_level, "Warning", "warn"),
        (datatypes.log_level, "fatal", "critical"),
        (datatypes.log_level, "blather", "debug"),
        (datatypes.log_level, "0", "debug"),
        (datatypes.log_level, "10", "debug"),
        (datatypes.log_level, "15", "debug"),
        (datatypes.log_level, "20", "info"),
        (datatypes.log_level, "30", "warn"),
        (datatypes.log_level, "40", "error"),
        (datatypes.log_level, "50", "critical"),
        (datatypes.prompt, "web 7", "web 7"),
        (datatypes.user, "www-data", "www-data"),
        (datatypes.user, "1000", "1000"),
        (datatypes.owner, "me", ("me", None)),
        (datatypes.owner, "me.staff", ("me", "staff")),
        (datatypes.owner, "me:staff", ("me", "staff")),
        (datatypes.owner, "jo.doe:staff", ("jo.doe", "staff")),
        (datatypes.owner, "jo.doe.staff", ("jo.doe", "staff")),
        (datatypes.path, "a b/ü", "a b/ü"),
        (datatypes.program_log, "None", None),
        (datatypes.program_log, "x.log", "x.log"),
        (datatypes.daemon_log, "x.log", "x.log"),
        (datatypes.variables, "A  B_1 AWS_* *", ("A", "B_1", "AWS_*", "*")),
        (datatypes.command, "sh -c 'a  \"b\"' # c", ("sh", "-c", 'a  "b"', "#", "c")),
        (datatypes.command, "./run ''", ("./run", "")),
        (datatypes.address, "x/y.sock", UnixAddress(path="x/y.sock")),
        (datatypes.address, "9001", TcpAddress(host="", port=9001)),
        (datatypes.address, ":9001", TcpAddress(host="", port=9001)),
        (datatypes.address, "LocalHost:1", TcpAddress(host="localhost", port=1)),
        (datatypes.address, "10.0.0.1:65535", TcpAddress(host="10.0.0.1", port=65535)),
        (datatypes.address, "[0:0::1]:9001", TcpAddress(host="::1", port=9001)),
    ],
)
def test_value(convert: Callable[[str], object], text: str, value: object) -> None:
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text", "message"),
    [
        (datatypes.boolean, "maybe", "expected true or false"),
        (datatypes.auto_restart, "always", "expected true, false or unexpected"),
        (datatypes.whole_number, "1.5", "expected a whole number"),
        (datatypes.whole_number, "", "expected a whole number"),
        (datatypes.whole_number, "1_000", "expected a whole number"),
        (datatypes.whole_number, "\u0663", "expected a whole number"),
        (datatypes.whole_number, "9" * 5000, "expected a whole number"),
        (datatypes.positive_number, "0", "expected a whole number, 1 or more"),
        (datatypes.count, "-1", "expected a whole number, 0 or more"),
        (datatypes.seconds, "-1", "expected a number of seconds"),
        (datatypes.seconds, ".", "expected a number of seconds"),
        (datatypes.seconds, "nan", "expected a number of seconds"),
        (datatypes.seconds, "inf", "expected a number of seconds"),
        (datatypes.seconds, "1e3", "expected a number of seconds"),
        (datatypes.exit_codes, "256", "from 0 to 255"),
        (datatypes.exit_codes, "none", "from 0 to 255"),
        (datatypes.mode, "888", "expected an octal number"),
        (datatypes.mode, "1777", "expected an octal number"),
        (datatypes.log_level, "loud", "expected critical, error"),
        (datatypes.log_level, "51", "expected critical, error"),
        (datatypes.prompt, "", "short text"),
        (datatypes.prompt, "a\x1b[1m", "printable"),
        (datatypes.prompt, "x" * 65, "at most 64"),
        (datatypes.user, "two words", "name or the number of a user"),
        (datatypes.user, "", "name or the number of a user"),
        (datatypes.owner, "me:", "expected user, user:group"),
        (datatypes.owner, ".staff", "expected user, user:group"),
        (datatypes.owner, "a:b:c", "expected user, user:group"),
        (datatypes.path, "", "expected a path"),
        (datatypes.path, "~/x", "'~' is not expanded"),
        (datatypes.path, "a\nb", "control characters"),
        (datatypes.path, "a\0b", "control characters"),
        (datatypes.path, "a\udcffb", "not UTF-8"),
        (datatypes.daemon_log, "none", "cannot be switched off"),
        (datatypes.variables, "", "expected names"),
        (datatypes.variables, "A,B", "'A,B' cannot be the name"),
        (datatypes.variables, "A=B", "'A=B' cannot be the name"),
        (datatypes.command, "", "expected a command"),
        (datatypes.command, "''", "expected a command"),
        (datatypes.command, "sh -c 'x", "a quote is opened and not closed"),
        (datatypes.command, "echo \\", "at the end has nothing to stand before"),
        (datatypes.command, "~/bin/x", "'~' is not expanded"),
        (datatypes.command, "a\0b", "NUL"),
        (datatypes.address, "localhost", "a port is needed"),
        (datatypes.address, "", "a port is needed"),
        (datatypes.address, "0", "from 1 to 65535"),
        (datatypes.address, "99999", "from 1 to 65535"),
        (datatypes.address, "localhost:", "from 1 to 65535"),
        (datatypes.address, "localhost:http", "from 1 to 65535"),
        (datatypes.address, "::1:9001", "needs brackets"),
        (datatypes.address, "[::1]", "expected .IPv6 address.:port"),
        (datatypes.address, "[::x]:1", "is not an IPv6 address"),
        (datatypes.address, "*:9001", "cannot be the name or the address of a host"),
        (datatypes.address, "unix:///run/x", "not a URL"),
        (datatypes.address, "~/x", "'~' is not expanded"),
    ],
)
def test_bad_value(convert: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        convert(text)
    for pythonism in ("invalid literal", "could not convert", "int()", "None"):
        assert pythonism not in str(caught.value)


WORDS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), min_size=1, max_size=5
)


@settings(deadline=None)
@given(WORDS)
def test_command_is_what_a_shell_would_make_of_it(words: list[str]) -> None:
    words = ["run", *words]
    assert datatypes.command(shlex.join(words)) == tuple(words)


@pytest.mark.parametrize(
    ("path", "shared"),
    [("/dev/null", True), ("/dev/stdout", True), ("/var/log/x", False), ("/devices", False)],
)
def test_shared_files(path: str, shared: bool) -> None:
    assert datatypes.is_shared(path) is shared
