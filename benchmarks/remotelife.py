"""The processes of a run: a daemon with a port, many hosts, clients of both; all end with it."""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from environments import Environment
from processes import Failed
from waiting import Deadline

from supervisortw.auth.powmod import powmod
from supervisortw.core.passwd import Passwd, Record, written
from supervisortw.core.roles import Role
from supervisortw.core.srp import BLIND_BITS, GROUP, SALT_BYTES, SCRYPT, private_key, stretch

HERE = Path(__file__).resolve().parent
USER, PASSWORD = "alice", "a long password"  # of nothing else
ADDRESS, UNIX = "127.0.0.1", "unix"
REALM = bytes(SALT_BYTES)
BOOT_SECONDS = 60.0
CLIENT_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 0.02


@functools.cache
def stretched() -> str:
    """Return the stretched password of the daemon's user, for a client that is not to wait for it."""
    return stretch(PASSWORD.encode(), USER, SCRYPT, REALM).hex()


class Daemon:
    """A supervisord as it is installed, with a UNIX socket, a port, a user, and sleeping programs."""

    def __init__(self, environment: Environment, place: Path, *, programs: int) -> None:
        self._environment = environment
        self._directory = Path(tempfile.mkdtemp(prefix="daemon-", dir=place))
        self._programs = programs
        self._port = _free_port()
        self.pid = 0

    def address(self, kind: str) -> str:
        """Return the address of its port or of its socket."""
        return f"{ADDRESS}:{self._port}" if kind == ADDRESS else str(self._directory / "socket")

    def __enter__(self) -> Daemon:
        here = self._directory
        passwd = here / "passwd"
        passwd.touch(0o600)
        passwd.write_text(written(_users()))
        lines = [
            "<supervisord>",
            f"  socket-name {here}/socket",
            f"  socket-name {ADDRESS}:{self._port}",
            f"  passwdfile {passwd}",
            f"  state-directory {here}/state",
            f"  pidfile {here}/pid",
        ]
        for number in range(self._programs):
            lines += [f"  <program p{number:03}>", "    command sleep 86400", "  </program>"]
        config = here / "supervisord.conf"
        config.write_text("\n".join([*lines, "</supervisord>", ""]))
        command = [self._environment.program("supervisord"), "-n", "-c", str(config)]
        with (here / "said").open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=_variables(here)
            )
        deadline = Deadline(BOOT_SECONDS)
        while not (here / "pid").exists() or not (here / "pid").read_text().endswith("\n"):
            if self._process.poll() is not None:
                raise Failed(f"the daemon ended: {(here / 'said').read_text()}")
            time.sleep(min(LOOK_AGAIN_SECONDS, deadline.left()))
        self.pid = int((here / "pid").read_text())
        time.sleep(3)  # until all programs count as up
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(BOOT_SECONDS)

    def check(self, *, uses_gmpy2: bool) -> None:
        """Raise Failed unless it takes its powers in the way that the table says."""
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        if ("/gmpy2" in maps) != uses_gmpy2:
            raise Failed("the daemon uses gmpy2 where it should not, or does not where it should")


def _users() -> Passwd:
    salt = secrets.token_bytes(SALT_BYTES)
    key = private_key(bytes.fromhex(stretched()), salt)
    record = Record(
        user=USER,
        role=Role.ADMIN,
        kdf=SCRYPT,
        realm=REALM,
        salt=salt,
        verifier=GROUP.verifier(key, powmod, secrets.randbits(BLIND_BITS)),
        changed="2026-11-28T00:00:00Z",
    )
    return Passwd(secret=secrets.token_bytes(32), realm=REALM).put(record)


class Hosts:
    """Many hosts in one process, see ``remotehosts.py``."""

    def __init__(
        self, environment: Environment, place: Path, number: int, realms: int, delay: float
    ) -> None:
        self._environment = environment
        self._place = place
        self._wanted = {
            "user": USER,
            "password": PASSWORD,
            "hosts": number,
            "realms": realms,
            "delay": delay,
        }
        self.ports: list[int] = []

    def __enter__(self) -> Hosts:
        self._process = subprocess.Popen(
            [self._environment.python, str(HERE / "remotehosts.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_variables(self._place),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin as given:
            given.write(json.dumps(self._wanted).encode())
        self.ports = json.loads(self._process.stdout.readline() or b"[]")
        if not self.ports:
            raise Failed("the hosts did not begin")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()


@dataclass(frozen=True)
class Opening:
    """One run of supervisorctl; of each stretching of a password, how long it took, and the thread."""

    seconds: float
    processor_seconds: float
    stretches: list[tuple[float, float]]


def opened(environment: Environment, place: Path, home: Path, ports: list[int]) -> Opening:
    """Ask the hosts at all of these ports for something small, by one supervisorctl."""
    counted = home / "scrypt.json"
    addresses = [word for port in ports for word in ("-s", f"{ADDRESS}:{port}")]
    command = [environment.program("supervisorctl"), "-u", USER, "--password-fd", "0", *addresses]
    began = time.monotonic()
    client = subprocess.Popen(
        [*command, "pid"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=place,
        env=_variables(home) | {"COUNT_SCRYPT": str(counted)},
    )
    assert client.stdin is not None
    assert client.stdout is not None
    with client.stdin as given:
        given.write(PASSWORD.encode() + b"\n")
    with client.stdout as output:
        printed = output.read().decode("utf-8", "replace")
    _, status, used = os.wait4(client.pid, 0)
    taken = time.monotonic() - began
    client.returncode = os.waitstatus_to_exitcode(status)
    if client.returncode != 0 or len(printed.splitlines()) != len(ports):
        raise Failed(f"supervisorctl: exit code {client.returncode}: {printed[-500:]}")
    stretches = [tuple(each) for each in json.loads(counted.read_text())]
    return Opening(taken, used.ru_utime + used.ru_stime, stretches)


def asked(environment: Environment, place: Path, **what: Any) -> dict[str, Any]:
    """Have a client do something, see ``remoteclient.py``; return what it tells."""
    done = subprocess.run(
        [environment.python, str(HERE / "remoteclient.py")],
        input=json.dumps(what).encode(),
        capture_output=True,
        timeout=CLIENT_SECONDS,
        env=_variables(place),
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"the client failed: {done.stderr.decode('utf-8', 'replace')[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _variables(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}
