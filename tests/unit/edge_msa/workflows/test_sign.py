from __future__ import annotations

import datetime as dt
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import edge_msa as em
from edge_msa_runtime.bundle.signature import RELEASE_NAME, SIGNATURE_NAME, verify_signature
from edge_msa_runtime.errors import SignatureError
from tests.unit.runtime.fake_bundles import write_bundle

PASSWORD = "long and secret"  # noqa: S105 - of keys that only these tests make


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose graphs need no student."""
    write_bundle(tmp_path / "small", names=("language",))
    return tmp_path / "small"


def test_a_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    key = em.keygen(tmp_path / "keys" / "release.pem")
    assert key.public == tmp_path / "keys" / "release.pem.pub"
    if os.name == "posix":
        assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    before = key.path.read_bytes()
    with pytest.raises(em.UsageError, match=r"release\.pem exists, and a key is never replaced"):
        em.keygen(key.path)
    key.path.rename(tmp_path / "moved.pem")
    with pytest.raises(em.UsageError, match=r"release\.pem\.pub exists, and a key is never replaced"):
        em.keygen(key.path)
    assert (tmp_path / "moved.pem").read_bytes() == before


def test_devices_and_openssf_verify_what_is_signed(bundle: Path, tmp_path: Path) -> None:
    from model_signing import verifying

    key = em.keygen(tmp_path / "release.pem")
    signed = em.sign(bundle, key=key.path, version=7, expires="2999-12-31")
    assert (signed.release.name, signed.release.version) == ("fake", 7)
    signature = verify_signature(bundle, [key.public])
    assert (signature.key, signature.release) == (key.key_id, signed.release)
    create_config: Any = verifying.Config
    create_config().use_elliptic_key_verifier(public_key=key.public).verify(bundle, bundle / SIGNATURE_NAME)
    (bundle / "more.txt").write_text("")
    with pytest.raises(ValueError, match=r"more\.txt"):
        create_config().use_elliptic_key_verifier(public_key=key.public).verify(bundle, bundle / SIGNATURE_NAME)
    with pytest.raises(SignatureError, match=r"more\.txt was added"):
        verify_signature(bundle, [key.public])


def test_later_signatures_replace_earlier_ones_and_have_larger_versions(bundle: Path, tmp_path: Path) -> None:
    first, second = em.keygen(tmp_path / "first.pem"), em.keygen(tmp_path / "second.pem")
    before = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%d%H%M%S")
    assert em.sign(bundle, key=first.path).release.version >= int(before)
    with pytest.raises(em.UsageError, match=r"version must be at least \d{14}, the version that .* has already, got 3"):
        em.sign(bundle, key=second.path, version=3)
    em.sign(bundle, key=second.path)
    assert verify_signature(bundle, [first.public, second.public]).key == second.key_id


def test_a_key_with_a_password_needs_it(bundle: Path, tmp_path: Path) -> None:
    key = em.keygen(tmp_path / "release.pem", password=PASSWORD)
    assert b"ENCRYPTED" in key.path.read_bytes()
    with pytest.raises(em.UsageError, match="needs a password"):
        em.sign(bundle, key=key.path)
    with pytest.raises(em.UsageError, match="or the password is wrong"):
        em.sign(bundle, key=key.path, password=PASSWORD[1:])
    assert not (bundle / RELEASE_NAME).exists()
    em.sign(bundle, key=key.path, password=PASSWORD)
    plain = em.keygen(tmp_path / "plain.pem")
    with pytest.raises(em.UsageError, match="has no password"):
        em.sign(bundle, key=plain.path, password=PASSWORD)


def test_bad_arguments_get_one_line(bundle: Path, tmp_path: Path) -> None:
    key = em.keygen(tmp_path / "release.pem")
    (tmp_path / "text.pem").write_text("no key")
    for arguments, message in (
        ({}, "Pass either"),
        ({"key": key.path, "keyless": True}, "Pass either"),
        ({"key": tmp_path / "none.pem"}, "Cannot read the key"),
        ({"key": tmp_path / "text.pem"}, "is not a private key"),
        ({"key": key.public}, "is not a private key"),
        ({"key": key.path, "version": 0}, "version must be from 1 to"),
        ({"key": key.path, "version": 10**16}, "version must be from 1 to"),
        ({"key": key.path, "expires": "tomorrow"}, "expires must be a day such as"),
        ({"key": key.path, "expires": "2020-01-01"}, "expires must not be in the past"),
    ):
        with pytest.raises(em.UsageError, match=message) as caught:
            em.sign(bundle, **arguments)
        assert "\n" not in str(caught.value)
    assert not (bundle / SIGNATURE_NAME).exists()


def test_a_damaged_bundle_is_not_signed(bundle: Path, tmp_path: Path) -> None:
    key = em.keygen(tmp_path / "release.pem")
    (bundle / "golden.npz").write_bytes(b"")
    with pytest.raises(em.EdgeMsaError, match=r"golden\.npz has changed"):
        em.sign(bundle, key=key.path)
    assert not (bundle / SIGNATURE_NAME).exists()
