"""What the text of each kind of value means, and what is said about a bad one."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.config import datatypes, rlimits
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import (
    DISCARD,
    SYSLOG,
    AutoRestart,
    Limit,
    LogFormat,
    Stdin,
    StopScope,
    TcpAddress,
    UnixAddress,
)
from supervisortw.core.syslog import SyslogAddress, Transport


def _syslog(transport: Transport, host: str, port: int) -> SyslogAddress:
    return SyslogAddress(transport=transport, host=host, port=port)


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
        (datatypes.processes, "0", 0),
        (datatypes.processes, str(LIMITS.processes_per_program), LIMITS.processes_per_program),
        (datatypes.nice, "-20", -20),
        (datatypes.nice, "19", 19),
        (datatypes.backlog, "65535", 65535),
        (datatypes.stdin, "Pipe", Stdin.PIPE),
        (datatypes.stop_scope, "session", StopScope.SESSION),
        (datatypes.stop_scope, "Leader", StopScope.LEADER),
        (datatypes.some_seconds, "0.1", 0.1),
        (datatypes.name, "web", "web"),
        (datatypes.names, "web  db,x , y", ("web", "db", "x", "y")),
        (rlimits.limit, "nofile 4096", Limit(name="nofile", soft=4096, hard=4096)),
        (rlimits.limit, "NPROC  100 : 200", Limit(name="nproc", soft=100, hard=200)),
        (rlimits.limit, "core unlimited", Limit(name="core", soft=None, hard=None)),
        (rlimits.limit, "core 0:Unlimited", Limit(name="core", soft=0, hard=None)),
        (rlimits.limit, "core 5:5", Limit(name="core", soft=5, hard=5)),
        (datatypes.size, "0", 0),
        (datatypes.size, "1234", 1234),
        (datatypes.size, "50MB", 50 * 1024 * 1024),
        (datatypes.size, "64 kb", 64 * 1024),
        (datatypes.size, "2G", 2 * 1024**3),
        (datatypes.time_of_day, "00:00", 0),
        (datatypes.time_of_day, "23:59", 23 * 60 + 59),
        (datatypes.backups, "999", 999),
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
        (datatypes.program_log, "None", DISCARD),
        (datatypes.program_log, "x.log", "x.log"),
        (datatypes.program_log, "Syslog", SYSLOG),
        (datatypes.log_format, "JSON", LogFormat.JSON),
        (datatypes.syslog_address, "/run/log", SyslogAddress(path="/run/log")),
        (datatypes.syslog_address, "udp:Log.example:99", _syslog(Transport.UDP, "log.example", 99)),
        (datatypes.syslog_address, "tcp:10.0.0.1", _syslog(Transport.TCP, "10.0.0.1", 514)),
        (datatypes.syslog_address, "tcp:[::1]", _syslog(Transport.TCP, "::1", 514)),
        (datatypes.syslog_address, "UDP:[::1]:99", _syslog(Transport.UDP, "::1", 99)),
        (datatypes.syslog_facility, "LOG_LOCAL7", "local7"),
        (datatypes.syslog_tag, "a-%(process_num)02d", "a-%(process_num)02d"),
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
        (datatypes.size, "-1", "expected a number of bytes, such as 50MB"),
        (datatypes.size, "50 TB", "expected a number of bytes, such as 50MB"),
        (datatypes.size, "1.5MB", "expected a number of bytes, such as 50MB"),
        (datatypes.time_of_day, "24:00", "expected a time from 00:00 to 23:59"),
        (datatypes.time_of_day, "7:30", "expected a time from 00:00 to 23:59"),
        (datatypes.log_format, "xml", "expected raw, text or json"),
        (datatypes.syslog_address, "log", "expected udp:HOST:PORT, tcp:HOST:PORT or the path"),
        (datatypes.syslog_address, "udp:", "expected udp:HOST:PORT, tcp:HOST:PORT or the path"),
        (datatypes.syslog_address, "udp::514", "with the name of a host"),
        (datatypes.syslog_address, "udp:a/b", "with the name of a host"),
        (datatypes.syslog_address, "tcp:host:0", "expected a port from 1 to 65535"),
        (datatypes.syslog_address, "tcp:::1", "an IPv6 address needs brackets"),
        (datatypes.syslog_facility, "kern", "expected one of user, mail"),
        (datatypes.syslog_tag, "a b", "expected a word of printable ASCII"),
        (datatypes.syslog_tag, "a:b", "ASCII characters, without : and"),
        (datatypes.backups, "1000", "expected a whole number from 0 to 999"),
        (datatypes.auto_restart, "always", "expected true, false or unexpected"),
        (datatypes.whole_number, "1.5", "expected a whole number"),
        (datatypes.whole_number, "", "expected a whole number"),
        (datatypes.whole_number, "1_000", "expected a whole number"),
        (datatypes.whole_number, "\u0663", "expected a whole number"),
        (datatypes.whole_number, "9" * 5000, "expected a whole number"),
        (datatypes.positive_number, "0", "expected a whole number, 1 or more"),
        (datatypes.count, "-1", "expected a whole number, 0 or more"),
        (datatypes.processes, "-1", "expected a whole number from 0 to 10000"),
        (datatypes.processes, str(LIMITS.processes_per_program + 1), "from 0 to 10000"),
        (datatypes.nice, "-21", "from -20 to 19"),
        (datatypes.nice, "20", "from -20 to 19"),
        (datatypes.backlog, "0", "from 1 to 65535"),
        (datatypes.backlog, "65536", "from 1 to 65535"),
        (datatypes.stdin, "tty", "expected null or pipe"),
        (datatypes.some_seconds, "0.0", "more than 0"),
        (datatypes.some_seconds, "x", "more than 0"),
        (datatypes.name, "", "expected one name"),
        (datatypes.name, "a b", "expected one name"),
        (datatypes.names, "", "expected names with spaces"),
        (datatypes.names, " , ", "expected names with spaces"),
        (rlimits.limit, "", "unknown limit ''; there are as, core, cpu, data"),
        (rlimits.limit, "nofiles 5", "unknown limit 'nofiles'; did you mean 'nofile'"),
        (rlimits.limit, "xyz 5", "unknown limit 'xyz'; there are as, core, cpu, data"),
        (rlimits.limit, "nofile", "such as nofile 4096 or nproc 100:200"),
        (rlimits.limit, "nofile -1", "such as nofile 4096"),
        (rlimits.limit, "nofile 4k", "such as nofile 4096"),
        (rlimits.limit, "nofile :5", "such as nofile 4096"),
        (rlimits.limit, "nofile 5:", "such as nofile 4096"),
        (rlimits.limit, "nofile 5:6:7", "such as nofile 4096"),
        (rlimits.limit, "nofile 6:5", "the soft limit, before the colon, is above the hard one"),
        (rlimits.limit, "nofile unlimited:5", "is above the hard one"),
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
