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


def test_hashes_come_without_openssl() -> None:
    run(
        """
        import sys
        from supervisortw.absence import lean, own_hashes
        with lean(), own_hashes():
            import supervisortw.tap
        import hashlib, hmac
        digest = "6afa9046a9579cad143a384c1b564b9a250d27d6f6a63f9f20bf3a7594c9e2c6"
        assert hmac.digest(b"key", b"text", "sha256").hex() == digest
        assert hmac.new(b"key", b"text", "sha256").hexdigest() == digest
        assert hashlib.new("sha256", b"text").digest() == hashlib.sha256(b"text").digest()
        libraries = open("/proc/self/maps").read() if sys.platform == "linux" else ""
        assert "_hashlib" not in sys.modules and "libcrypto" not in libraries
        """
    )


def test_tls_can_be_had_beside_own_hashes() -> None:
    run(
        """
        from supervisortw.absence import lean, own_hashes
        with lean(), own_hashes():
            import supervisortw.tap
        import OpenSSL.SSL, hashlib, twisted.internet.ssl
        from supervisortw.remote import tls
        assert not hasattr(hashlib, "scrypt")
        """
    )


def test_a_python_without_hashes_of_its_own_keeps_those_of_openssl() -> None:
    run(
        """
        import sys
        from supervisortw import absence
        absence.OWN_HASHES = (*absence.OWN_HASHES, "_nosuch")
        with absence.own_hashes():
            import hashlib
        assert "_hashlib" in sys.modules
        """
    )


def test_openssl_that_is_there_stays() -> None:
    run(
        """
        import _hashlib, sys
        from supervisortw.absence import own_hashes
        with own_hashes():
            import hashlib
        assert sys.modules["_hashlib"] is _hashlib
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
