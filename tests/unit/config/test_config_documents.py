"""The schemas, the documentation and the shipped files say the same."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from config_fixture_types import Write

from supervisortw.config.loader import load_client, load_daemon
from supervisortw.config.sample import sample
from supervisortw.config.schema import schema
from supervisortw.config.section import OTHER_NAMES, key_infos
from supervisortw.core.expand import processes_of
from supervisortw.core.model import (
    ClientSettings,
    ListeningSocket,
    Program,
    Settings,
    UnixAddress,
)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/configuration.rst").read_text(encoding="utf-8")
ENTRY = re.compile(
    r"^``(?P<key>[^`]+)``\n"
    r"    :Type: (?P<type>.+)\n"
    r"    :Default: (?P<default>.+)\n"
    r"    :Meaning: (?P<meaning>.+)\n"
    r"    :Example: ``(?P<example>.+)``$",
    re.MULTILINE,
)
TITLES = {
    "supervisord": "Keys of <supervisord>",
    "program": "Keys of <program NAME>",
    "group": "Keys of <group NAME>",
    "socket": "Keys of <socket NAME>",
    "supervisorctl": "Keys of <supervisorctl>",
}


def keys_of(section: str) -> dict[str, Any]:
    owner = "supervisorctl" if section == "supervisorctl" else "supervisord"
    return key_infos(schema(owner).gettype(section))


def entries_of(section: str) -> dict[str, dict[str, str]]:
    after = PAGE.split(f"\n{TITLES[section]}\n", 1)[1]
    part = re.split(r"\n\n[^\n]+\n=====", after.split("\n", 1)[1])[0]
    found = [entry.groupdict() for entry in ENTRY.finditer(part)]
    assert part.count(":Type:") == len(found), "an entry is not in the format of the others"
    return {entry["key"]: entry for entry in found}


def default_of(info: Any) -> str:
    if info.minOccurs:
        return "(required)"
    if info.metadefault is not None:
        return str(info.metadefault)
    text = info.getdefault().value
    return f"``{text}``" if text else "(empty)"


# What an example needs beside it in its section.
BESIDE = {
    ("program", "process-name"): "processes 2",
    ("program", "first-number"): "processes 2",
    ("program", "watchdog-seconds"): "notify yes",
    ("program", "ready-seconds"): "notify yes",
    ("program", "log-time"): "log-format text",
    ("program", "syslog-address"): "logfile syslog",
    ("program", "syslog-facility"): "logfile syslog",
    ("program", "syslog-tag"): "logfile syslog",
    ("supervisord", "tls-certificate"): "tls-key /etc/supervisortw/tls/key.pem",
    ("supervisord", "tls-key"): "tls-certificate /etc/supervisortw/tls/certificate.pem",
    ("group", "priority"): "programs web",
    ("socket", "backlog"): "address 80",
    ("socket", "mode"): "address ./s",
    ("socket", "owner"): "address ./s",
}
# What the examples of programs and groups name, and a key without which a program is none.
NAMED = "".join(
    f"<program {name}>\ncommand x\n</program>\n" for name in ("web", "worker", "database", "cache")
)
HTTP = "<socket http>\naddress 1\n</socket>\n"


SECTIONS = pytest.mark.parametrize("section", list(TITLES))


@SECTIONS
def test_the_page_has_the_keys_of_the_schema_with_their_defaults(section: str) -> None:
    documented = {key: entry["default"] for key, entry in entries_of(section).items()}
    assert documented == {key: default_of(info) for key, info in keys_of(section).items()}


@SECTIONS
def test_the_page_has_the_order_of_the_schema(section: str) -> None:
    assert list(entries_of(section)) == list(keys_of(section))


@SECTIONS
def test_examples_of_the_page_can_be_loaded(section: str, write: Write) -> None:
    examples = {key: entry["example"] for key, entry in entries_of(section).items()}
    for key, example in examples.items():
        assert example.split()[0] == key
        if section == "supervisorctl":
            load_client(write(f"<supervisorctl>\n{example}\n</supervisorctl>\n"))
        elif section == "supervisord":
            beside = BESIDE.get((section, key), "")
            load_daemon(write(f"<supervisord>\n{example}\n{beside}\n</supervisord>\n"))
        else:
            lines = [example, BESIDE.get((section, key), "")]
            if section == "program" and key != "command":
                lines.append("command x")
            text = "\n".join([f"<{section} x>", *lines, f"</{section}>", ""])
            found = load_daemon(write(f"<supervisord>\n{NAMED}{HTTP}{text}</supervisord>\n"))
            assert found.warnings == ()


def test_the_page_has_the_names_of_supervisor_4() -> None:
    part = PAGE.split("\nComing from supervisor 4\n", 1)[1].split("\nKeys of", 1)[0]
    rows = re.findall(r"^(``\w+``(?:, ``\w+``)*) +(none|``[a-z-]+``)", part, re.MULTILINE)
    documented = {
        theirs: None if ours == "none" else ours.strip("`")
        for names, ours in rows
        for theirs in re.findall(r"\w+", names)
    }
    assert {"program": "command", **documented} == OTHER_NAMES


def test_blocks_of_the_page_can_be_loaded(write: Write) -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n)+)", PAGE)
    found = [
        load_daemon(
            write(block if "<supervisord>" in block else f"<supervisord>\n{block}</supervisord>\n")
        )
        for block in blocks
    ]
    _, define, include, several, container, groups, order, sockets, tcp = found
    assert define.programs["web"].command[-1] == "exec /srv/site/bin/web --pid $$"
    assert include.warnings
    processes = processes_of(several.programs["web"])
    assert [process.name for process in processes] == [f"web:web_{n}" for n in range(4)]
    assert [process.command[-1] for process in processes] == ["8000", "8001", "8002", "8003"]
    assert {program.logfile for program in container.programs.values()} == {"/dev/stdout"}
    assert {program.group for program in groups.programs.values()} == {"site"}
    assert order.programs["web"].depends_on == ("migration",)
    assert sockets.programs["web"].sockets == tuple(sockets.sockets) == ("http",)
    assert [str(address) for address in tcp.settings.sockets][1:] == [":9001"]


@SECTIONS
def test_the_schema_explains_every_key(section: str) -> None:
    for key, info in keys_of(section).items():
        assert info.description, key
        assert info.metadefault or info.getdefault() or info.minOccurs, key


@pytest.mark.parametrize(
    ("section", "record"),
    [
        ("supervisord", Settings),
        ("supervisord", Program),
        ("program", Program),
        ("socket", ListeningSocket),
        ("supervisorctl", ClientSettings),
    ],
)
def test_defaults_of_the_schema_are_those_of_the_model(section: str, record: Any) -> None:
    compared = 0
    for info in keys_of(section).values():
        if record is Program and section == "supervisord" and hasattr(Settings, info.attribute):
            continue  # it is the daemon's own, and a program's only by default
        field = record.__dataclass_fields__.get(info.attribute)
        default = info.getdefault()
        if field is not None and default:
            assert default.convert(info.datatype) == field.default, info.attribute
            compared += 1
    assert compared


def test_the_sample_can_be_loaded(write: Write) -> None:
    found = load_daemon(write(sample()))
    assert found.warnings == ()
    assert list(found.programs) == ["ticker", "once"]


def test_keys_that_the_sample_mentions_exist(write: Write) -> None:
    uncommented = re.sub(r"^( *)# (?=[a-z%-]+ [^ ]+$)", r"\1", sample(), flags=re.MULTILINE)
    assert "\n  passwdfile /etc" in uncommented
    found = load_daemon(write(uncommented))
    assert found.settings.loglevel == "debug"
    assert not found.settings.peer_login
    assert len(found.warnings) == 1


def test_the_shipped_files_belong_together() -> None:
    daemon = load_daemon(str(ROOT / "etc/supervisord.conf"))
    client = load_client(str(ROOT / "etc/supervisorctl.conf"))
    assert daemon.warnings == ()
    assert client.sockets == daemon.settings.sockets
    assert 2 <= len(daemon.programs) <= 3
    assert all(program.command[0] == "/bin/sh" for program in daemon.programs.values())
    var = f"{ROOT}{os.sep}var{os.sep}"
    own = daemon.settings
    [socket] = own.sockets
    assert isinstance(socket, UnixAddress)
    for path in (own.state_directory, own.logfile, own.pidfile, socket.path):
        assert path.startswith(var)
