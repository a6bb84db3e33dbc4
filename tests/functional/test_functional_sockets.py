"""Sockets that the daemon listens on for programs: real SCGI and FastCGI behind a real web server."""

from __future__ import annotations

import ctypes
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from functional_daemon import Daemon
from functional_processes import PATIENCE, descriptors_of, wait_until
from functional_web import Answer, WebServer
from leaving_out import leave_out

pytestmark = pytest.mark.needs_linux

# Programs of a library that knows nothing of us. They answer with their pid. Asked for /hold, one is
# busy until there is a file "release". The one for SCGI is told where its socket is, since nothing in
# that protocol says; FastCGI has it as its standard input anyway.
PROGRAMS = {
    "scgi": """
        import os, socket, time
        from flup.server.scgi_base import BaseSCGIServer, Connection
        from flup.server.singleserver import SingleServer

        {answer}

        class Server(BaseSCGIServer, SingleServer):
            def __init__(self):
                BaseSCGIServer.__init__(self, answer, scriptName="")
                SingleServer.__init__(self, jobClass=Connection, jobArgs=(self, None))

        os.set_blocking(0, False)  # two wake up for one request
        Server().run(socket.socket(fileno=0))
        """,
    "fastcgi": """
        import os, time
        from flup.server.fcgi_single import WSGIServer

        {answer}

        os.set_blocking(0, False)  # two wake up for one request
        WSGIServer(answer).run()
        """,
}
LIBSYSTEMD = "libsystemd.so.0"
ANSWER = """
        def answer(environ, start_response):
            if environ["PATH_INFO"] == "/hold":
                open("{place}/held", "w").close()
                while not os.path.exists("{place}/release"):
                    time.sleep(0.02)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(os.getpid()).encode()]
        """


class Site:
    """A program of two processes, whose standard input is a socket, and a web server before it."""

    def __init__(self, daemon: Daemon, protocol: str, more: str = "") -> None:
        self.daemon = daemon
        self.socket = daemon.place / "app.sock"
        text = PROGRAMS[protocol].replace("{answer}", ANSWER.strip())
        script = daemon.script("app.py", text.replace("{place}", str(daemon.place)))
        self.programs = f"""
            <socket app>
              address {self.socket}
              mode 0666
            </socket>
            <program app>
              command {sys.executable} -I {script}
              processes 2
              process-name app_%(process_num)d
              stdin-socket app
            </program>
            """
        daemon.write(self.programs)
        daemon.start()
        self.web = WebServer(daemon, protocol, self.socket)

    def pids(self) -> set[str]:
        """Return the pids of the program's processes that are up."""
        rows = self.daemon.status().programs
        return {str(row.pid) for name, row in rows.items() if "app" in name and row.pid}


@pytest.fixture(params=["scgi", "fastcgi"])
def site(request: pytest.FixtureRequest, daemon: Daemon) -> Site:
    return Site(daemon, request.param)


def test_two_processes_answer_what_comes_to_one_socket(site: Site) -> None:
    place = site.daemon.place
    with ThreadPoolExecutor() as pool:
        try:
            held = pool.submit(site.web.get, "/hold")
            wait_until((place / "held").exists, site.web.complaints.read_text)
            other = site.web.get()  # the first one is busy
        finally:
            (place / "release").touch()
        answers = [held.result(), other]
    assert {answer.code for answer in answers} == {200}
    assert {answer.text for answer in answers} == site.pids()


def test_no_request_is_refused_while_the_processes_are_restarted(site: Site) -> None:
    enough = Event()
    answers: list[Answer] = []

    def ask() -> None:
        while not enough.is_set():
            answers.append(site.web.get())

    before = site.pids()
    with ThreadPoolExecutor() as pool:
        try:
            asking = pool.submit(ask)
            wait_until(lambda: len(answers) > 10, site.web.complaints.read_text)
            for _ in range(3):
                site.daemon.ask("restart", "app")
            so_far = len(answers)
            wait_until(
                lambda: len(answers) > so_far + 10 or asking.done(), site.web.complaints.read_text
            )
        finally:
            enough.set()
        asking.result()
    assert {answer.code for answer in answers} == {200}
    answered = {answer.text for answer in answers}
    after = site.pids()
    assert len(after) == 2
    assert not after & before
    assert answered & before
    assert answered & after


def test_requests_wait_while_the_program_is_stopped_and_the_configuration_reloaded(
    site: Site,
) -> None:
    daemon = site.daemon
    daemon.ask("stop", "app")
    assert site.pids() == set()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(site.web.get)
        with socket.socket(socket.AF_UNIX) as direct:
            direct.connect(str(site.socket))  # is not refused
        daemon.write(f"{site.programs}\n<program other>\n  command sleep 1000\n</program>")
        daemon.ask("reload")
        daemon.wait_for("other", "RUNNING")
        assert not waiting.done()
        daemon.ask("start", "app")
        answer = waiting.result(2 * PATIENCE)
    assert answer.code == 200
    assert answer.text in site.pids()


def test_the_socket_goes_with_the_configuration_and_with_the_daemon(daemon: Daemon) -> None:
    one, two = daemon.place / "one.sock", daemon.place / "two.sock"
    daemon.write(_socket("one", one))
    daemon.start()
    assert one.is_socket()
    daemon.write(_socket("two", two))
    daemon.ask("reload")
    assert not one.exists()
    assert two.is_socket()
    daemon.ask("shutdown")
    wait_until(lambda: not two.exists(), daemon.log_text)


def test_a_program_finds_its_sockets_where_systemd_would_put_them(
    daemon: Daemon, free_port: int
) -> None:
    path = daemon.place / "one.sock"
    child = daemon.python(
        "child.py",
        """
        import os, socket

        print("ours", os.environ["LISTEN_PID"] == str(os.getpid()))
        print("count", os.environ["LISTEN_FDS"])
        print("names", os.environ["LISTEN_FDNAMES"])
        print("blocking", os.get_blocking(3), os.get_blocking(4))
        try:
            os.fstat(5)
        except OSError:
            print("no more", flush=True)
        for descriptor in (3, 4):
            accepted, _ = socket.socket(fileno=descriptor).accept()
            accepted.sendall(b"from %d" % descriptor)
            accepted.close()
        """,
    )
    daemon.write(f"""
        {_socket("one", path)}
        {_socket("two", f"127.0.0.1:{free_port}")}
        <program child>
          command {child}
          sockets one two
        </program>
        <program bystander>
          command sleep 1000
        </program>
        """)
    daemon.start()
    said = daemon.wait_for_output("child", "no more")
    assert said.splitlines() == [
        *("ours True", "count 2", "names one:two", "blocking True True", "no more"),
    ]
    daemon.wait_for("bystander", "RUNNING")
    bystander = descriptors_of(daemon.pid_of("bystander"))
    assert not [each for each in bystander.values() if each.startswith("socket:")]
    with socket.socket(socket.AF_UNIX) as client:
        assert _said_by(client, str(path)) == b"from 3"
    with socket.socket() as client:
        assert _said_by(client, ("127.0.0.1", free_port)) == b"from 4"


def test_the_library_of_systemd_finds_them(daemon: Daemon, free_port: int) -> None:
    try:
        ctypes.CDLL(LIBSYSTEMD)
    except OSError as error:
        leave_out(f"needs the library of systemd: {error}")
    child = daemon.python(
        "child.py",
        f"""
        import ctypes, signal, socket

        systemd = ctypes.CDLL({LIBSYSTEMD!r})
        count = systemd.sd_listen_fds(0)
        are_listening = [
            systemd.sd_is_socket(3 + number, family, socket.SOCK_STREAM, 1)
            for number, family in enumerate((socket.AF_UNIX, socket.AF_INET))
        ]
        print("found", count, *are_listening, flush=True)
        signal.pause()
        """,
    )
    daemon.write(f"""
        {_socket("one", daemon.place / "one.sock")}
        {_socket("two", f"127.0.0.1:{free_port}")}
        <program child>
          command {child}
          sockets one two
        </program>
        <program bystander>
          command {child}
        </program>
        """)
    daemon.start()
    assert daemon.wait_for_output("child", "\n") == "found 2 1 1\n"
    assert daemon.wait_for_output("bystander", "\n").startswith("found 0 ")


def test_a_socket_that_is_taken_fails_the_program_that_needs_it_and_no_other(
    daemon: Daemon, free_port: int
) -> None:
    daemon.write(f"""
        {_socket("taken", f"127.0.0.1:{free_port}")}
        <program needy>
          command sleep 1000
          sockets taken
          backoff-limit 1
        </program>
        <program fine>
          command sleep 1000
        </program>
        """)
    reason = f"socket taken: cannot listen on 127.0.0.1:{free_port}: somebody listens there already"
    with closing(socket.create_server(("127.0.0.1", free_port))):
        daemon.start()
        daemon.wait_for("fine", "RUNNING")
        assert daemon.wait_for("needy", "FATAL").detail.startswith(reason)
        [note] = daemon.status().notes
        assert note.startswith(reason)
    daemon.ask("start", "needy")
    status = daemon.status()
    assert status.up == ("needy", "fine")
    assert status.notes == ()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _socket(name: str, address: Path | str) -> str:
    return f"<socket {name}>\n  address {address}\n</socket>"


def _said_by(client: socket.socket, address: str | tuple[str, int]) -> bytes:
    client.settimeout(PATIENCE)
    client.connect(address)
    return client.recv(100)
