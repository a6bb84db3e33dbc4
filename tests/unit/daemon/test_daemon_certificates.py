"""The files of certificate and key: made once, kept, and refused where others could have them."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.daemon import SETTINGS
from fakes.tcp import PEM

from supervisortw.core.fingerprint import digest_of
from supervisortw.core.limits import LIMITS
from supervisortw.core.model import Settings
from supervisortw.daemon.certificates import Pair, fingerprint_of, pair_of, read_pair
from supervisortw.daemon.places import owners
from supervisortw.errors import LocalError, UnsafePath

NOBODY = 65534


class Place:
    """A state directory, and what makes certificates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tls = path / "tls"
        self.certificate, self.key = self.tls / "certificate.pem", self.tls / "key.pem"
        self.settings = replace(SETTINGS, state_directory=str(path))
        self.made: list[str] = []

    def make(self, host: str) -> tuple[bytes, bytes]:
        self.made.append(host)
        return PEM % b"bWFkZQ==", b"a key"

    def pair(self) -> Pair:
        return pair_of(self.settings, self.make)

    def configured(self, mode: int = 0o600) -> Settings:
        """Settings with files that there are."""
        certificate, key = self.path / "c.pem", self.path / "k.pem"
        certificate.write_bytes(PEM % b"Zm91bmQ=")
        key.write_bytes(b"its key")
        certificate.chmod(0o644)
        key.chmod(mode)
        return replace(self.settings, tls_certificate=str(certificate), tls_key=str(key))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(Path(os.path.realpath(tmp_path)))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestOwn:
    def test_they_are_made_for_us_alone(self, place: Place) -> None:
        old = os.umask(0o777)
        try:
            pair = place.pair()
        finally:
            os.umask(old)
        assert pair.is_new
        assert pair.digest == digest_of(pair.certificate)
        assert [mode(each) for each in (place.tls, place.certificate, place.key)] == [
            *(0o700, 0o600, 0o600)
        ]
        assert place.key.read_bytes() == pair.key == b"a key"
        assert sorted(each.name for each in place.path.iterdir()) == ["tls"]

    def test_they_are_made_once(self, place: Place) -> None:
        first, second = place.pair(), place.pair()
        assert second == replace(first, is_new=False)
        assert len(place.made) == 1

    def test_what_a_daemon_has_left_that_died_meanwhile_is_removed(self, place: Place) -> None:
        half = place.path / "tls.new"
        half.mkdir()
        (half / "key.pem").write_bytes(b"a key without a certificate")
        assert place.pair().key == b"a key"
        assert not half.exists()

    @pytest.mark.parametrize("lost", ["certificate.pem", "key.pem"])
    def test_one_that_is_lost_is_not_replaced(self, place: Place, lost: str) -> None:
        place.pair()
        (place.tls / lost).unlink()
        with pytest.raises(LocalError) as refusal:
            place.pair()
        assert f"{place.tls / lost}: No such file" in str(refusal.value)
        assert f"remove {place.tls}: then a new certificate is made" in str(refusal.value)
        assert len(place.made) == 1

    def test_a_damaged_one_is_not_replaced(self, place: Place) -> None:
        place.pair()
        place.certificate.write_text("x")
        with pytest.raises(LocalError, match="there is no certificate in it"):
            place.pair()
        assert len(place.made) == 1

    def test_a_key_that_others_can_read_is_refused(self, place: Place) -> None:
        place.pair()
        place.key.chmod(0o640)
        with pytest.raises(
            LocalError, match=re.escape(f"{place.key} can be used by others; chmod")
        ):
            read_pair(place.settings)

    def test_a_directory_that_others_can_change_is_refused(self, place: Place) -> None:
        place.path.chmod(0o777)
        with pytest.raises(UnsafePath):
            place.pair()

    def test_nothing_of_the_key_is_shown(self, place: Place) -> None:
        assert "a key" not in repr(place.pair())


class TestConfigured:
    def test_they_are_read(self, place: Place) -> None:
        pair = pair_of(place.configured(), place.make)
        assert (pair.certificate, pair.key) == (PEM % b"Zm91bmQ=", b"its key")
        assert not pair.is_new
        assert place.made == []

    def test_those_that_are_not_there_are_not_made(self, place: Place) -> None:
        settings = replace(place.settings, tls_certificate="/nowhere/c", tls_key="/nowhere/k")
        with pytest.raises(LocalError, match="/nowhere") as refusal:
            pair_of(settings, place.make)
        assert "new certificate" not in str(refusal.value)
        assert place.made == []

    @pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
    def test_a_key_that_others_can_use_is_refused(self, place: Place, bits: int) -> None:
        with pytest.raises(UnsafePath, match=r"k\.pem can be (used|written) by others; chmod"):
            read_pair(place.configured(bits))

    def test_a_certificate_that_others_can_write_is_refused(self, place: Place) -> None:
        settings = place.configured()
        Path(str(settings.tls_certificate)).chmod(0o622)
        with pytest.raises(UnsafePath, match=r"c\.pem can be written by others"):
            read_pair(settings)

    def test_links_of_ours_are_followed(self, place: Place) -> None:
        settings = place.configured()
        link = place.path / "live.pem"
        link.symlink_to("k.pem")
        assert read_pair(replace(settings, tls_key=str(link))).key == b"its key"

    @pytest.mark.needs_root
    def test_links_of_others_are_not(self, place: Place) -> None:
        settings = place.configured()
        link = place.path / "live.pem"
        link.symlink_to("k.pem")
        os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
        with pytest.raises(UnsafePath, match=r"live\.pem belongs to uid 65534"):
            read_pair(replace(settings, tls_key=str(link)))

    @pytest.mark.needs_root
    def test_a_key_of_another_user_is_refused(self, place: Place) -> None:
        settings = place.configured()
        os.chown(str(settings.tls_key), NOBODY, NOBODY)
        with pytest.raises(UnsafePath, match=r"k\.pem belongs to uid 65534"):
            read_pair(settings)

    def test_a_fifo_is_refused(self, place: Place) -> None:
        settings = place.configured()
        os.unlink(str(settings.tls_key))
        os.mkfifo(str(settings.tls_key), 0o600)
        with pytest.raises(UnsafePath, match="a FIFO, not a regular file"):
            read_pair(settings)

    def test_a_large_file_is_refused(self, place: Place) -> None:
        settings = place.configured()
        with open(str(settings.tls_key), "wb") as file:
            file.truncate(LIMITS.pem_bytes)
        assert len(read_pair(settings).key) == LIMITS.pem_bytes
        with open(str(settings.tls_key), "wb") as file:
            file.truncate(LIMITS.pem_bytes + 1)
        with pytest.raises(LocalError, match=f"more than {LIMITS.pem_bytes} bytes"):
            read_pair(settings)


class TestFingerprint:
    def test_it_is_that_of_the_certificate(self, place: Place) -> None:
        pair = place.pair()
        assert fingerprint_of(place.settings, owners()) == pair.fingerprint
        assert pair.fingerprint.startswith("SHA256:")

    def test_none_is_made_for_it(self, place: Place) -> None:
        with pytest.raises(LocalError, match="it is made when the first TCP port is opened"):
            fingerprint_of(place.settings, owners())
        assert list(place.path.iterdir()) == []

    def test_the_key_is_not_needed(self, place: Place) -> None:
        settings = replace(place.configured(), tls_key="/nowhere")
        assert fingerprint_of(settings, owners()).startswith("SHA256:")
