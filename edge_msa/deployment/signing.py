"""Sign bundles with the library of OpenSSF model signing, and make keys for it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from edge_msa.errors import UsageError
from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.bundle.signature import HASHES, RELEASE_NAME, SIGNATURE_NAME, Release, key_id
from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.vendor_packages import import_package

PUBLIC_SUFFIX = ".pub"
_OWNER_ONLY = 0o600


def create_key(path: Path, password: str | None = None) -> str:
    """Write a new private key for ECDSA on P-256 to `path` (PKCS 8 in PEM), and its public key to `path` + `.pub`.

    Only the owner can read the private key. Existing files are kept.

    Args:
        path: The file of the private key.
        password: Encrypts the private key; None: it is not encrypted.

    Returns:
        The id of the key.

    Raises:
        UsageError: One of the files exists.
        PackageImportError: The package cryptography is not installed.
    """
    ec = import_package("cryptography.hazmat.primitives.asymmetric.ec")
    serialization = import_package("cryptography.hazmat.primitives.serialization")
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for file in (path, public_path):
        if file.exists():
            raise UsageError(f"{file} exists, and a key is never replaced. Choose another path.")
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password.encode())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as file_object:
        file_object.write(private)
    write_file(public_path, public)
    return key_id(key.public_key())


def load_private_key(path: Path, password: str | None = None) -> Any:
    """Return a private key.

    Raises:
        UsageError: The file cannot be read, is no private key for ECDSA, or the password is wrong or missing.
        PackageImportError: The package cryptography is not installed.
    """
    serialization = import_package("cryptography.hazmat.primitives.serialization")
    unsupported = import_package("cryptography.exceptions").UnsupportedAlgorithm
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None if password is None else password.encode())
    except OSError as error:
        raise UsageError(f"Cannot read the key {path}: {error.strerror}. Make one with edge-msa keygen.") from None
    except TypeError:
        reason = (
            "needs a password. Pass --password-file" if password is None else "has no password. Omit --password-file"
        )
        raise UsageError(f"The key {path} {reason}.") from None
    except (ValueError, unsupported) as error:
        raise UsageError(
            f"{path} is not a private key, or the password is wrong ({str(error)[:80]}). Pass the file that "
            "edge-msa keygen wrote."
        ) from None
    if not hasattr(key, "curve") or key.key_size not in HASHES:
        raise UsageError(f"{path} must be a key for ECDSA on P-256, P-384 or P-521. Make one with edge-msa keygen.")
    return key


def sign_folder(
    folder: Path, release: Release, key: Path | None, password: str | None = None, oidc_token: str | None = None
) -> None:
    """Write the release and the signature of a folder, in place of earlier ones.

    Args:
        folder: The folder of a bundle or cascade.
        release: Its name, version and expiry.
        key: File of the private key; None signs with an account that Sigstore confirms over the network.
        password: Password of the key.
        oidc_token: OpenID Connect token for signing without a key (default: from the environment of a CI service,
            or else from a login in the browser).

    Raises:
        PackageImportError: The package model_signing is not installed.
        EdgeMsaError: Sigstore could not be reached, or refused.
    """
    signing = import_package("model_signing.signing")
    hashing = import_package("model_signing.hashing")
    (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    write_file(folder / RELEASE_NAME, json.dumps(release.to_json(), indent=1).encode() + b"\n")
    config = signing.Config().set_hashing_config(
        hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE_NAME], ignore_git_paths=False)
    )
    if key is not None:
        config.use_elliptic_key_signer(private_key=key, password=None if password is None else password.encode())
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as temporary:
        path = Path(temporary) / SIGNATURE_NAME
        try:
            if key is None:
                config.use_sigstore_signer(identity_token=oidc_token, use_ambient_credentials=oidc_token is None)
            config.sign(folder, path)
        except Exception as error:
            raise EdgeMsaError(
                f"Cannot sign {folder} ({type(error).__name__}: {str(error)[:200]}). Nothing is signed."
            ) from error
        write_file(folder / SIGNATURE_NAME, path.read_bytes())
