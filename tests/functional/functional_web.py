"""A web server of a test: nginx, which passes every request on to a program."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from functional_daemon import Daemon
from functional_processes import PATIENCE, wait_until
from leaving_out import leave_out

# Where it is for those who do not administer machines, too.
SEARCH = os.pathsep.join([os.environ["PATH"], "/usr/local/sbin", "/usr/sbin"])

# One process, which needs nothing outside of its directory. "@" stands for the protocol.
CONFIGURATION = """
    daemon off;
    master_process off;
    pid {place}/nginx.pid;
    events {{ }}
    http {{
      access_log off;
      client_body_temp_path {place}/body;
      proxy_temp_path {place}/proxy;
      fastcgi_temp_path {place}/fastcgi;
      scgi_temp_path {place}/scgi;
      uwsgi_temp_path {place}/uwsgi;
      server {{
        listen unix:{place}/web.sock;
        location / {{
          @_param SCGI 1;
          @_param REQUEST_METHOD $request_method;
          @_param SCRIPT_NAME "";
          @_param PATH_INFO $uri;
          @_param QUERY_STRING $query_string;
          @_param SERVER_NAME localhost;
          @_param SERVER_PORT 80;
          @_param SERVER_PROTOCOL $server_protocol;
          @_pass unix:{socket};
        }}
      }}
    }}
    """


class Answer(NamedTuple):
    """What the web server has answered."""

    code: int
    text: str


class WebServer:
    """An nginx that speaks ``protocol`` (scgi or fastcgi) to the socket ``passed_to``."""

    def __init__(self, daemon: Daemon, protocol: str, passed_to: Path) -> None:
        program = shutil.which("nginx", path=SEARCH)
        if program is None:
            leave_out("needs nginx")
        self.socket = daemon.place / "web.sock"
        self.complaints = daemon.place / "nginx.log"
        text = dedent(CONFIGURATION).format(place=daemon.place, socket=passed_to)
        config = daemon.save(daemon.place / "nginx.conf", text.replace("@", protocol))
        with open(self.complaints, "wb") as complaints:
            self.process = daemon.begin(
                [program, "-p", daemon.place, "-e", "stderr", "-c", config],
                stdout=complaints,
                stderr=subprocess.STDOUT,
            )
        wait_until(self.listens, self.complaints.read_text)

    def listens(self) -> bool:
        """True if somebody can connect to it."""
        assert self.process.poll() is None, self.complaints.read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def get(self, path: str = "/") -> Answer:
        """Ask for ``path``; return what comes."""
        connection = _Connection("localhost", timeout=2 * PATIENCE)
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(2 * PATIENCE)
            connection.sock.connect(str(self.socket))
            connection.request("GET", path)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode())


class _Connection(http.client.HTTPConnection):
    """A connection that somebody else has made."""

    sock: socket.socket
