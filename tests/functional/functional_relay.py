"""Somebody between a client and a daemon: passes on what comes, and keeps a copy of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

Identity = tuple[Path, Path]  # the files of a certificate and its key


class Relay:
    """Listens on a port of its own, and passes everything on to that of the daemon.

    With an ``identity`` it is a man in the middle: it ends the client's TLS with that certificate, and
    speaks TLS of its own to the daemon. ``to_daemon`` and ``to_client`` are what it has seen.
    """

    def __init__(self, target: int, identity: Identity | None = None) -> None:
        self.to_daemon = b""
        self.to_client = b""
        self.connections = 0
        self.port = 0
        self._target = target
        self._server_side = self._client_side = None
        if identity is not None:
            self._server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server_side.load_cert_chain(*identity)
            self._client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._client_side.check_hostname = False
            self._client_side.verify_mode = ssl.CERT_NONE

    async def _serve(self, ready: threading.Event, ended: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._server_side)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task

    async def _connected(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        from_daemon, to_daemon = await asyncio.open_connection(
            "127.0.0.1", self._target, ssl=self._client_side
        )

        async def forth() -> None:
            with contextlib.suppress(OSError):
                while data := await from_client.read(65536):
                    self.to_daemon += data
                    to_daemon.write(data)
            to_daemon.close()

        async def back() -> None:
            with contextlib.suppress(OSError):
                while data := await from_daemon.read(65536):
                    self.to_client += data
                    to_client.write(data)
            to_client.close()

        await asyncio.gather(forth(), back())


@contextlib.contextmanager
def relay(target: int, identity: Identity | None = None) -> Iterator[Relay]:
    """Run a relay in a thread until the end of the block."""
    relay = Relay(target, identity)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: None)  # connections end as they like
    ended = asyncio.Event()
    work = threading.Thread(target=lambda: loop.run_until_complete(relay._serve(ready, ended)))
    work.start()
    assert ready.wait(10)
    try:
        yield relay
    finally:
        loop.call_soon_threadsafe(ended.set)
        work.join(10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
