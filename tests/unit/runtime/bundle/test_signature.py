from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import logging
import os
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.signature import RELEASE_NAME, SIGNATURE_NAME, Signature, read_release, verify_signature
from edge_msa_runtime.errors import SignatureError, UsageError
from tests.unit.runtime.bundle.signatures import envelope, list_files, make_key, sign, statement

pytest.importorskip("cryptography")

Modify = Callable[[Any], object]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def key(keys: Path) -> Any:
    return make_key(keys)


@pytest.fixture
def signed(bundle_path: Path, key: Any) -> Path:
    sign(bundle_path, key, version=3)
    return bundle_path


def verify(folder: Path, keys: Path, **options: Any) -> Signature:
    return verify_signature(folder, [keys], **options)


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_a_signed_bundle_is_verified_and_loaded(curve: str, bundle_path: Path, keys: Path) -> None:
    make_key(keys, "another")
    sign(bundle_path, make_key(keys, "ours", curve), version=3, expires="2999-12-31")
    signature = verify(bundle_path, keys)
    assert (signature.key_name, signature.release.version) == ("ours.pub", 3)
    assert str(signature).endswith("small, version 3, expires on 2999-12-31.")
    assert open_bundle(bundle_path).notes == ()
    with load(bundle_path, trusted_keys=[keys / "ours.pub"]) as session:
        assert session.bundle.path == bundle_path.resolve()


def test_any_changed_file_is_named(signed: Path, keys: Path) -> None:
    for name in list_files(signed):
        content = (signed / name).read_bytes()
        (signed / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SignatureError, match=f"^{name} was changed after it was signed"):
            verify(signed, keys)
        (signed / name).write_bytes(content)
    verify(signed, keys)


def test_any_changed_byte_of_the_signature_is_refused_or_harmless(signed: Path, keys: Path) -> None:
    path = signed / SIGNATURE_NAME
    content = path.read_bytes()
    before = verify(signed, keys)
    accepted = 0
    for index in range(0, len(content), 7):
        path.write_bytes(content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :])
        with contextlib.suppress(SignatureError):
            assert verify(signed, keys) == before  # e.g. in the media type, which is not signed and not used
            accepted += 1
    assert accepted < 20


@pytest.mark.parametrize("name", ["extra.txt", "graphs/extra.onnx", ".hidden", "model.sig.bak", "graphs/model.sig"])
def test_an_added_file_is_named(name: str, signed: Path, keys: Path) -> None:
    (signed / name).write_text("more")
    with pytest.raises(SignatureError, match=f"{name} was added after it was signed"):
        verify(signed, keys)


def test_a_missing_file_is_named(signed: Path, keys: Path) -> None:
    (signed / "golden.npz").unlink()
    with pytest.raises(SignatureError, match=r"^golden\.npz was removed after it was signed"):
        verify(signed, keys)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="the system has no links")
def test_links_are_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    (signed / "golden.npz").rename(tmp_path / "golden.npz")
    (signed / "golden.npz").symlink_to(tmp_path / "golden.npz")
    with pytest.raises(SignatureError, match=r"'golden.npz' is a link"):
        verify(signed, keys)


def test_a_bundle_without_signature_is_refused(bundle_path: Path, keys: Path) -> None:
    make_key(keys)
    with pytest.raises(SignatureError, match=r"is not signed: it has no model\.sig"):
        load(bundle_path, trusted_keys=[keys])
    with load(bundle_path):
        pass


def test_an_unknown_key_is_refused(signed: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "others", "other")
    with pytest.raises(SignatureError, match=r"which is not trusted\. Trusted: other\.pub \("):
        verify(signed, tmp_path / "others")


def test_a_signature_of_another_key_under_a_trusted_id_is_refused(signed: Path, keys: Path, tmp_path: Path) -> None:
    trusted = json.loads((signed / SIGNATURE_NAME).read_text())["verificationMaterial"]
    forged = envelope(json.dumps(statement(list_files(signed))).encode(), make_key(tmp_path / "others"))
    (signed / SIGNATURE_NAME).write_text(json.dumps({**forged, "verificationMaterial": trusted}))
    with pytest.raises(SignatureError, match=r"is not a signature by release\.pub"):
        verify(signed, keys)


def test_a_release_expires(bundle_path: Path, keys: Path, key: Any) -> None:
    sign(bundle_path, key, expires="2027-03-01")
    assert verify(bundle_path, keys, today=dt.date(2027, 3, 1)).release.expires == dt.date(2027, 3, 1)
    with pytest.raises(SignatureError, match=r"'small', version 1, expired on 2027-03-01; today is 2027-03-02"):
        verify(bundle_path, keys, today=dt.date(2027, 3, 2))


def test_an_older_version_is_refused(signed: Path, keys: Path, key: Any, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"'small' must have at least version 4, got 3"):
        verify(signed, keys, minimum_version=4)
    versions = tmp_path / "state" / "versions.json"
    verify(signed, keys, versions=versions)
    verify(signed, keys, versions=versions)
    sign(signed, key, version=2)
    with pytest.raises(
        SignatureError, match=r"'small', version 2, is older than version 3, which this device has verified"
    ):
        load(signed, trusted_keys=[keys], versions=versions)
    sign(signed, key, version=1, name="another")
    verify(signed, keys, versions=versions)
    assert json.loads(versions.read_text()) == {"another": 1, "small": 3}


def test_a_refused_release_is_not_remembered(signed: Path, keys: Path, tmp_path: Path) -> None:
    (signed / "golden.npz").write_bytes(b"")
    with pytest.raises(SignatureError):
        verify(signed, keys, versions=tmp_path / "versions.json")
    assert not (tmp_path / "versions.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"small": "three"}', "\x00"])
def test_a_damaged_list_of_versions_is_refused(content: str, signed: Path, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text(content)
    with pytest.raises(
        SignatureError, match=r"the list of verified versions, cannot be read \(.+\)\. Restore or delete it"
    ):
        verify(signed, keys, versions=tmp_path / "versions.json")


def test_versions_that_cannot_be_written_are_warned_of(
    signed: Path, keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "edge_msa_runtime"):
        verify(signed, keys, versions=tmp_path / "file" / "versions.json")
    assert "an older release would not be noticed" in caplog.text


def _set(*path: Any) -> Modify:
    *parents, last, value = path

    def modify(statement: Any) -> None:
        for name in parents:
            statement = statement[name]
        statement[last] = value

    return modify


@pytest.mark.parametrize(
    ("modify", "reason"),
    [
        (_set("_type", "other"), "its types must be"),
        (_set("predicateType", "https://model_signing/Digests/v0.1"), "its types must be"),
        (_set("predicate", "serialization", "method", "shards"), "it must list the SHA-256 of files"),
        (_set("predicate", "serialization", "hash_type", "blake3"), "it must list the SHA-256 of files"),
        (_set("predicate", "resources", []), "the digest of all files does not match"),
        (_set("predicate", "resources", 3), "a field is missing"),
        (_set("predicate", "resources", 0, "algorithm", "md5"), "a file is listed twice, or with another hash"),
        (_set("predicate", "resources", 0, "digest", "xyz"), "non-hexadecimal"),
        (_set("subject", []), "not enough values"),
        (_set("subject", 0, "digest", "sha256", "0" * 64), "the digest of all files does not match"),
        (lambda value: value.clear(), "a field is missing"),
    ],
)
def test_a_signed_statement_of_another_form_is_refused(
    modify: Modify, reason: str, signed: Path, keys: Path, key: Any
) -> None:
    value = statement(list_files(signed))
    modify(value)
    (signed / SIGNATURE_NAME).write_text(json.dumps(envelope(json.dumps(value).encode(), key)))
    with pytest.raises(SignatureError, match=rf"^model.sig is not valid: .*{reason}"):
        verify(signed, keys)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_no_statement_is_refused(payload: bytes, signed: Path, keys: Path, key: Any) -> None:
    (signed / SIGNATURE_NAME).write_text(json.dumps(envelope(payload, key)))
    with pytest.raises(SignatureError, match=r"model\.sig is not valid"):
        verify(signed, keys)


def test_another_payload_type_is_refused(signed: Path, keys: Path, key: Any) -> None:
    payload = json.dumps(statement(list_files(signed))).encode()
    (signed / SIGNATURE_NAME).write_text(json.dumps(envelope(payload, key, kind="text/plain")))
    with pytest.raises(SignatureError, match=r"its payload must be application/vnd\.in-toto"):
        verify(signed, keys)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not valid JSON"),
        ("[]", "it is no Sigstore bundle"),
        ('{"verificationMaterial": 3, "dsseEnvelope": {}}', "it is no Sigstore bundle"),
        ('{"verificationMaterial": {"publicKey": {}}, "dsseEnvelope": {}}', "it is no Sigstore bundle"),
        ("[" * 100_000, "it is not valid JSON"),
    ],
)
def test_a_file_that_is_no_signature_is_refused(content: str, reason: str, signed: Path, keys: Path) -> None:
    (signed / SIGNATURE_NAME).write_text(content)
    with pytest.raises(SignatureError, match=reason):
        verify(signed, keys)


@pytest.mark.parametrize("signatures", [None, [], [{}], [{"sig": "!"}], [{"sig": ""}, {"sig": ""}]])
def test_an_envelope_without_exactly_one_signature_is_refused(signatures: Any, signed: Path, keys: Path) -> None:
    value = json.loads((signed / SIGNATURE_NAME).read_text())
    value["dsseEnvelope"]["signatures"] = signatures
    (signed / SIGNATURE_NAME).write_text(json.dumps(value))
    with pytest.raises(SignatureError, match=r"not exactly one signature|not a signature by"):
        verify(signed, keys)


def test_a_signature_without_a_key_says_where_it_can_be_verified(signed: Path, keys: Path) -> None:
    value = json.loads((signed / SIGNATURE_NAME).read_text())
    value["verificationMaterial"] = {"certificate": {"rawBytes": ""}}
    (signed / SIGNATURE_NAME).write_text(json.dumps(value))
    with pytest.raises(SignatureError, match=r"signed without a key \(with certificate\)\. Verify it on a workstation"):
        verify(signed, keys)


def test_a_huge_signature_is_not_read(signed: Path, keys: Path) -> None:
    with (signed / SIGNATURE_NAME).open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(SignatureError, match=r"model\.sig must have at most 4194304 bytes, got more"):
        verify(signed, keys)


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ("[]", "the document must be an object"),
        ('{"name": "a", "version": 0, "expires": null}', "version must be from 1 to"),
        ('{"name": "a", "version": 1, "expires": "soon"}', "soon"),
        ('{"name": "a", "version": 1}', "expires is missing"),
    ],
)
def test_a_signed_release_that_is_not_valid_is_refused(
    release: str, reason: str, signed: Path, keys: Path, key: Any
) -> None:
    (signed / RELEASE_NAME).write_text(release)
    payload = json.dumps(statement(list_files(signed))).encode()
    (signed / SIGNATURE_NAME).write_text(json.dumps(envelope(payload, key)))
    with pytest.raises(SignatureError, match=f"release.json is not valid: .*{reason}"):
        verify(signed, keys)
    assert read_release(signed) is None


def test_a_signature_must_cover_the_release(signed: Path, keys: Path, key: Any) -> None:
    (signed / RELEASE_NAME).unlink()
    payload = json.dumps(statement(list_files(signed))).encode()
    (signed / SIGNATURE_NAME).write_text(json.dumps(envelope(payload, key)))
    with pytest.raises(SignatureError, match=r"it does not cover release\.json"):
        verify(signed, keys)


def test_keys_that_cannot_be_used_are_named(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    for path, message in (
        (tmp_path / "none", "There is no trusted key at"),
        (tmp_path / "empty", r"There is no trusted key: no file \*\.pub"),
        (tmp_path / "damaged.pub", "is not a public key for ECDSA in PEM"),
    ):
        with pytest.raises(UsageError, match=message):
            verify(signed, path)
    with pytest.raises(UsageError, match=r"minimum_version and versions need trusted_keys"):
        load(signed, minimum_version=2)
    with pytest.raises(UsageError, match=r"There is no folder at"):
        verify(tmp_path / "nothing", tmp_path)


def test_a_key_of_another_kind_is_refused(signed: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pub").write_bytes(pem)
    with pytest.raises(UsageError, match=r"it is of another kind"):
        verify(signed, tmp_path / "other.pub")


def test_the_payload_is_what_was_signed_not_what_is_said(signed: Path, keys: Path) -> None:
    value = json.loads((signed / SIGNATURE_NAME).read_text())
    payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
    payload["predicate"]["resources"].pop()
    value["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (signed / SIGNATURE_NAME).write_text(json.dumps(value))
    with pytest.raises(SignatureError, match=r"the file was changed or forged"):
        verify(signed, keys)
