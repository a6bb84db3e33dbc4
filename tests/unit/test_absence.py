"""Leaving modules out of a process, and having them after all; each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent


def run(text: str) -> None:
    command = [sys.executable, "-W", "error", "-c", dedent(text)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_reactor_comes_without_tls() -> None:
    run(
        """
        import sys
        from supervisortw.absence import without_tls
        with without_tls():
            import supervisortw.tap
            from twisted.internet import reactor
        unwanted = {"OpenSSL", "cryptography", "ssl", "_ssl", "twisted.internet.endpoints"}
        assert not unwanted & set(sys.modules)
        """
    )


def test_tls_can_be_had_later() -> None:
    run(
        """
        from supervisortw.absence import without_tls
        with without_tls():
            from twisted.internet import reactor
        from twisted.internet.endpoints import wrapClientTLS
        from twisted.internet.protocol import Factory, Protocol
        from twisted.internet.ssl import optionsForClientTLS
        from twisted.internet.testing import StringTransport
        from twisted.protocols.tls import TLSMemoryBIOFactory
        plain = Factory.forProtocol(Protocol)
        factory = TLSMemoryBIOFactory(optionsForClientTLS("host.example"), True, plain)
        transport = StringTransport()
        factory.buildProtocol(None).makeConnection(transport)
        assert transport.value().startswith(b"\\x16\\x03"), "a handshake of TLS"
        wrapClientTLS(optionsForClientTLS("host.example"), None)
        """
    )


def test_what_is_imported_already_stays() -> None:
    run(
        """
        import sys
        import OpenSSL
        from supervisortw.absence import without_tls
        with without_tls():
            from twisted.protocols import tls
        assert sys.modules["OpenSSL"] is OpenSSL
        """
    )


def test_http_comes_when_it_is_used() -> None:
    run(
        """
        import sys
        from supervisortw.absence import http_later, without_tls
        with without_tls(), http_later():
            import supervisortw.tap
            from twisted.internet import reactor
            import urllib
            from http import cookiejar
        assert not {"urllib.request", "http.cookiejar", "http.client", "email"} & set(sys.modules)
        from supervisortw.config.schema import schema
        schema("supervisord")
        assert "email" not in sys.modules
        assert urllib.request.Request.__name__ == "Request"
        import urllib.request, http.cookiejar
        assert type(urllib.request) is type(http.cookiejar) is type(sys)
        assert cookiejar.CookieJar is http.cookiejar.CookieJar
        assert not hasattr(cookiejar, "nosuch")
        """
    )


def test_http_that_is_there_stays() -> None:
    run(
        """
        import http.cookiejar, sys, urllib.request
        from supervisortw.absence import http_later
        before = urllib.request, http.cookiejar
        with http_later():
            assert (urllib.request, sys.modules["http.cookiejar"]) == before
        assert (urllib.request, sys.modules["http.cookiejar"]) == before
        """
    )


def test_a_client_brings_nothing_that_only_some_commands_need() -> None:
    run(
        """
        import sys
        import supervisortw.client.main
        assert not {"ZConfig", "ssl", "prompt_toolkit", "email"} & set(sys.modules)
        """
    )
