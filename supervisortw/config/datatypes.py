"""From the text of a value to what it means.

Each function takes the text as it stands in the file and returns the value, or raises ValueError
with a message in plain words that ends a sentence about the key. The schemas name these functions.
They look at nothing but the text: no file, no user, no clock.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import unicodedata

from supervisortw.config.wording import quoted
from supervisortw.core.envfile import variable
from supervisortw.core.fingerprint import parse_fingerprint
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import (
    DAEMON_STREAMS,
    DISCARD,
    INSECURE_REMOTE,
    SYSLOG,
    Address,
    AutoRestart,
    LogFormat,
    OnDaemonDeath,
    Stdin,
    StopScope,
    TcpAddress,
    UnixAddress,
)
from supervisortw.core.signals import signal_number
from supervisortw.core.srp import user_name
from supervisortw.core.syslog import FACILITIES, PORT, SyslogAddress, Transport

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_SECONDS = re.compile(r"(?=\.?[0-9])[0-9]{0,9}(\.[0-9]{0,9})?\Z")
_TAG = re.compile(r"[!-9;-Z\\-~]{1,200}\Z")
_OCTAL = re.compile(r"[0-7]{1,4}\Z")
_VARIABLE = re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*\Z")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")

# Control characters, line and paragraph separators, and what stands for undecodable bytes.
_NOT_IN_PATHS = frozenset({"Cc", "Zl", "Zp", "Cs"})

# The five levels there are, by the words and numbers that configurations use for them.
_LEVELS = {
    "critical": "critical",
    "fatal": "critical",
    "error": "error",
    "warn": "warn",
    "warning": "warn",
    "info": "info",
    "debug": "debug",
    "blather": "debug",
    "trace": "debug",
    "all": "debug",
    "notset": "debug",
}
_SIZE = re.compile(r"([0-9]{1,12})\s*([kmg]b?|b?)\Z", re.IGNORECASE)
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\Z")
_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMG", 1):
    _UNITS[_letter] = _UNITS[f"{_letter}B"] = 1024**_power
_LEVEL_NUMBERS = ((15, "debug"), (20, "info"), (30, "warn"), (40, "error"), (50, "critical"))


def boolean(text: str) -> bool:
    """Return what a yes/no value says."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("expected true or false (yes, no, on and off work too)")


def auto_restart(text: str) -> AutoRestart:
    """Return when a program that ended is started again."""
    word = text.lower()
    if word == AutoRestart.UNEXPECTED.value:
        return AutoRestart.UNEXPECTED
    if word in _TRUE:
        return AutoRestart.ALWAYS
    if word in _FALSE:
        return AutoRestart.NEVER
    raise ValueError("expected true, false or unexpected")


def whole_number(text: str) -> int:
    """Return any whole number."""
    if not _WHOLE.match(text):
        raise ValueError("expected a whole number")
    return int(text)


def positive_number(text: str) -> int:
    """Return a whole number that is 1 or more."""
    return _at_least(1, text)


def count(text: str) -> int:
    """Return a whole number that is 0 or more."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not _WHOLE.match(text) or int(text) < least:
        raise ValueError(f"expected a whole number, {least} or more")
    return int(text)


def processes(text: str) -> int:
    """Return how many processes a program has."""
    most = LIMITS.processes_per_program
    return _between(0, most, text)


def time_of_day(text: str) -> int:
    """A time such as 23:30, as minutes since midnight."""
    found = _TIME_OF_DAY.match(text.strip())
    if found is None:
        raise ValueError("expected a time from 00:00 to 23:59, such as 03:30")
    return int(found[1]) * 60 + int(found[2])


def backups(text: str) -> int:
    """A number of older files of a log."""
    return _between(0, 999, text)


def nice(text: str) -> int:
    """Return a niceness: the higher, the more a process stands back for others."""
    return _between(-20, 19, text)


def backlog(text: str) -> int:
    """Return how many connections may wait at a socket to be accepted."""
    return _between(1, 65535, text)


def _between(least: int, most: int, text: str) -> int:
    if not _WHOLE.match(text) or not least <= int(text) <= most:
        raise ValueError(f"expected a whole number from {least} to {most}")
    return int(text)


def seconds(text: str) -> float:
    """Return a span of time in seconds, 0 or more."""
    if not _SECONDS.match(text):
        raise ValueError("expected a number of seconds, 0 or more, such as 10 or 2.5")
    return float(text)


def some_seconds(text: str) -> float:
    """Return a span of time in seconds that is not nothing."""
    if not _SECONDS.match(text) or float(text) == 0:
        raise ValueError("expected a number of seconds, more than 0, such as 10 or 2.5")
    return float(text)


def size(text: str) -> int:
    """A number of bytes, with KB, MB or GB (1024 each) behind it or not."""
    found = _SIZE.match(text.strip())
    if found is None:
        raise ValueError("expected a number of bytes, such as 50MB, 64KB or 0")
    return int(found[1]) * _UNITS[found[2].upper()]


def fraction(text: str) -> float:
    """Return a number from 0 to 1."""
    if not _SECONDS.match(text) or float(text) > 1:
        raise ValueError("expected a number from 0 to 1, such as 0.1")
    return float(text)


def stop_step(text: str) -> tuple[int, float | None]:
    """Return the signal of one step of a stop, and the seconds after it if they are given."""
    name, _, wait = text.partition(" ")
    return signal_number(name), seconds(wait.strip()) if wait else None


def stop_scope(text: str) -> StopScope:
    """Return which processes a stop ends."""
    try:
        return StopScope(text.lower())
    except ValueError:
        raise ValueError("expected session or leader") from None


def on_daemon_death(text: str) -> OnDaemonDeath:
    """Return what becomes of a program whose daemon has died."""
    try:
        return OnDaemonDeath(text.lower())
    except ValueError:
        raise ValueError("expected keep or stop") from None


def stdin(text: str) -> Stdin:
    """Return what a program reads from."""
    try:
        return Stdin(text.lower())
    except ValueError:
        raise ValueError("expected null or pipe") from None


def assignment(text: str) -> tuple[str, str]:
    """Return the name and the value of an environment variable."""
    return variable(text)


def optional_path(text: str) -> tuple[bool, str]:
    """Return whether a file may be missing (a minus stands before it), and its path."""
    return text.startswith("-"), path(text.removeprefix("-"))


def insecure_remote(text: str) -> str:
    """Return ``text`` if it is the one phrase that nobody writes by mistake."""
    if text != INSECURE_REMOTE:
        raise ValueError(f"if it has to be, write {INSECURE_REMOTE}")
    return text


def exit_codes(text: str) -> frozenset[int]:
    """Return a set of exit codes; an empty text means none."""
    codes = set()
    for word in text.replace(",", " ").split():
        if not _WHOLE.match(word) or not 0 <= int(word) <= 255:
            raise ValueError(
                "expected exit codes from 0 to 255, with commas or spaces between them"
            )
        codes.add(int(word))
    return frozenset(codes)


def mode(text: str) -> int:
    """Return permission bits from an octal number, 0 to 0777."""
    if not _OCTAL.match(text) or int(text, 8) > 0o777:
        raise ValueError("expected an octal number from 0 to 777, such as 022 or 0600")
    return int(text, 8)


def log_level(text: str) -> str:
    """Return one of critical, error, warn, info and debug; older words and numbers are mapped."""
    word = text.lower()
    if word in _LEVELS:
        return _LEVELS[word]
    if _WHOLE.match(word) and 0 <= int(word) <= 50:
        return next(level for highest, level in _LEVEL_NUMBERS if int(word) <= highest)
    raise ValueError("expected critical, error, warn, info or debug")


def prompt(text: str) -> str:
    """Return the word that an interactive prompt begins with."""
    if not text or not text.isprintable() or len(text) > LIMITS.prompt_characters:
        longest = LIMITS.prompt_characters
        raise ValueError(f"expected a short text of at most {longest} printable characters")
    return text


def user(text: str) -> str:
    """Return the name or number of a user. Whether there is one is not looked at."""
    odd = any(c.isspace() or not c.isprintable() or c in "/:" for c in text)
    if not text or odd or len(text) > LIMITS.user_characters:
        raise ValueError("expected the name or the number of a user")
    return text


def login_name(text: str) -> str:
    """Return the name of a user of a password file."""
    return user_name(text)


def host_name(text: str) -> str:
    """Return the name or the address of a host."""
    if text.count(":") > 1:
        return _ipv6(text)
    if not _HOST.match(text):
        raise ValueError("expected the name or the address of a host")
    return text.lower()


def fingerprint_of(text: str) -> tuple[TcpAddress, bytes]:
    """Return the TCP address of a daemon, and the SHA-256 of its certificate."""
    where, _, told = text.partition(" ")
    found = address(where)
    if not isinstance(found, TcpAddress):
        raise ValueError("a fingerprint is for a daemon at HOST:PORT")  # noqa: TRY004
    return found, parse_fingerprint(told.strip())


def owner(text: str) -> tuple[str, str | None]:
    """Return user and group of ``user``, ``user:group`` or ``user.group``.

    A name with a dot in it needs the colon.
    """
    mark = ":" if ":" in text else "."
    name, _, group = text.partition(":") if mark == ":" else _last_dot(text)
    try:
        return user(name), (user(group) if mark in text else None)
    except ValueError:
        raise ValueError("expected user, user:group or user.group") from None


def _last_dot(text: str) -> tuple[str, str, str]:
    if "." not in text:
        return text, "", ""
    return text.rpartition(".")


def path(text: str) -> str:
    """Return a path as it was written; the loader makes it absolute."""
    if not text:
        raise ValueError("expected a path")
    if text.startswith("~"):
        raise ValueError("'~' is not expanded; write the whole path")
    if any(unicodedata.category(c) in _NOT_IN_PATHS for c in text):
        raise ValueError("a path cannot hold control characters, or bytes that are not UTF-8")
    return text


def daemon_log(text: str) -> str:
    """Return the path of the daemon's own log."""
    if text.lower() == "none":
        raise ValueError("the daemon's own log cannot be switched off; expected a path")
    return path(text)


def program_log(text: str) -> str:
    """Return the path of a program's log, or one of the words for what is no file."""
    return text.lower() if text.lower() in {DISCARD, SYSLOG} else path(text)


def log_format(text: str) -> LogFormat:
    """Return how the lines of a log are written down."""
    try:
        return LogFormat(text.lower())
    except ValueError:
        raise ValueError("expected raw, text or json") from None


def syslog_address(text: str) -> SyslogAddress:
    """Return where a syslog server is: on a host, or at the absolute path of a local socket."""
    if text.startswith("/"):
        return SyslogAddress(path=path(text))
    word, _, rest = text.partition(":")
    transports = {each.value: each for each in (Transport.UDP, Transport.TCP)}
    if word.lower() not in transports or not rest:
        raise ValueError("expected udp:HOST:PORT, tcp:HOST:PORT or the path of a socket")
    has_port = rest.rpartition("]")[2].count(":") == 1
    found = address(rest if has_port else f"{rest}:{PORT}")
    if not isinstance(found, TcpAddress) or not found.host:
        raise ValueError("expected udp:HOST:PORT or tcp:HOST:PORT, with the name of a host")
    return SyslogAddress(transport=transports[word.lower()], host=found.host, port=found.port)


def syslog_facility(text: str) -> str:
    """Return the name of a facility of syslog(3)."""
    word = text.lower().removeprefix("log_")
    if word not in FACILITIES:
        raise ValueError(f"expected one of {', '.join(FACILITIES)}")
    return word


def syslog_tag(text: str) -> str:
    """Return what messages to syslog are marked with."""
    if not _TAG.match(text):
        raise ValueError("expected a word of printable ASCII characters, without : and [")
    return text


def name(text: str) -> str:
    """Return a name as it was written. Whether there is something of that name is not looked at."""
    if len(text.split()) != 1:
        raise ValueError("expected one name")
    return text


def names(text: str) -> tuple[str, ...]:
    """Return names, of which there is at least one."""
    words = tuple(text.replace(",", " ").split())
    if not words:
        raise ValueError("expected names with spaces between them")
    return words


def variables(text: str) -> tuple[str, ...]:
    """Return names of environment variables; ``*`` in a name stands for anything."""
    words = text.split()
    wrong = next((word for word in words if not _VARIABLE.match(word)), None)
    if wrong is not None:
        raise ValueError(
            f"{quoted(wrong)} cannot be the name of an environment variable;"
            " expected names with spaces between them, in which * stands for anything"
        )
    if not words:
        raise ValueError("expected names of environment variables")
    return tuple(words)


def command(text: str) -> tuple[str, ...]:
    """Return the words of a command, split and unquoted as a shell would, without a shell."""
    if "\0" in text:
        raise ValueError("a command cannot hold a NUL character")
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        if "escape" in str(error):
            raise ValueError("the '\\' at the end has nothing to stand before") from None
        raise ValueError("a quote is opened and not closed; quotes work as in a shell") from None
    if not words or not words[0]:
        raise ValueError("expected a command to run")
    if "/" in words[0]:
        path(words[0])
    return words


def address(text: str) -> Address:
    """Return a UNIX socket for a text with a ``/`` in it (path as written), else a TCP port."""
    if "://" in text:
        raise ValueError("expected a path or host:port, not a URL")
    if "/" in text or text.startswith("~"):
        return UnixAddress(path=path(text))
    host, colon, port = _host_and_port(text)
    if not _PORT.match(port) or not 1 <= int(port) <= 65535:
        if not colon and not port.isdigit():
            raise ValueError(
                "a port is needed, as in host:9001, :9001 or 9001;"
                " the path of a UNIX socket has a '/' in it"
            )
        raise ValueError("expected a port from 1 to 65535")
    return TcpAddress(host=host, port=int(port))


def _host_and_port(text: str) -> tuple[str, str, str]:
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError("expected [IPv6 address]:port")
        return _ipv6(inner), ":", rest[1:]
    if text.count(":") > 1:
        raise ValueError("an IPv6 address needs brackets, as in [::1]:9001")
    host, colon, port = text.rpartition(":")
    if host and not _HOST.match(host):
        raise ValueError(f"{quoted(host)} cannot be the name or the address of a host")
    return host.lower(), colon, port


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text.lower()))
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IPv6 address") from None


def is_shared(file: str) -> bool:
    """True if many may have ``file``, an absolute path or a word for no file, at once without harm."""
    return file in {*DAEMON_STREAMS, DISCARD, SYSLOG} or file.startswith("/dev/")
