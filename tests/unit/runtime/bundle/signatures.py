"""Sign folders in tests, with cryptography alone, so that signatures can also be wrong on purpose."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.signature import RELEASE_NAME, SIGNATURE_NAME, key_id

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def make_key(folder: Path, name: str = "release", curve: str = "SECP256R1") -> Any:
    """Return a new private key, whose public key is in a file in `folder`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(getattr(ec, curve)())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pub").write_bytes(public)
    return key


def list_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file but the signature, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    names.pop(SIGNATURE_NAME, None)
    return names


def statement(files: dict[str, str]) -> dict[str, Any]:
    """Return the in-toto statement about files."""
    total = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "bundle", "digest": {"sha256": total}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": {"method": "files", "hash_type": "sha256"}, "resources": resources},
    }


def envelope(payload: bytes, key: Any, kind: str = PAYLOAD_TYPE) -> dict[str, Any]:
    """Return a Sigstore bundle with a signed payload."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    algorithms: dict[int, Any] = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
    signature = key.sign(signed, ec.ECDSA(algorithms[key.key_size]()))
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key_id(key.public_key())}},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def sign(folder: Path, key: Any, version: int = 1, expires: str | None = None, name: str = "small") -> None:
    """Write a release and a signature into a folder."""
    (folder / RELEASE_NAME).write_text(json.dumps({"name": name, "version": version, "expires": expires}))
    payload = json.dumps(statement(list_files(folder))).encode()
    (folder / SIGNATURE_NAME).write_text(json.dumps(envelope(payload, key)))
