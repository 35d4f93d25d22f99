"""Signatures: who made a bundle or a cascade, and which release it is.

`model.sig` in the folder is a signature in the format of OpenSSF model signing 1.0 by an ECDSA key: a Sigstore bundle
with a DSSE envelope around an in-toto statement, which lists the SHA-256 of every file of the folder. One of these
files is `release.json`, with the name, the version and the expiry of the release. `edge-msa sign` writes both.

Verifying needs only the package cryptography. Tools of OpenSSF can verify the same signature.

Sources: https://github.com/sigstore/model-transparency (format), https://github.com/secure-systems-lab/dsse (envelope).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Collection, Iterable, Iterator, Mapping

from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.errors import SignatureError, UsageError
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.log_notes import LOGGER
from edge_msa_runtime.vendor_packages import import_package

SIGNATURE_NAME = "model.sig"
RELEASE_NAME = "release.json"
SIGNATURE_FILES = (SIGNATURE_NAME, RELEASE_NAME)
STATE_VARIABLE = "EDGE_MSA_STATE"
VERSIONS_NAME = "bundle-versions.json"
MAX_VERSION = 10**15
HASHES = {256: "SHA256", 384: "SHA384", 521: "SHA512"}
"""Name of the hash for ECDSA, by the size of the key in bits."""

_KEY_SUFFIX = ".pub"
_MAX_BYTES = 4 << 20
"""Largest size of the files in JSON that this module reads."""
_MAX_KEY_BYTES = 1 << 16
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_SHOWN = 3
_SHOWN_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Release:
    """The content of `release.json`.

    Attributes:
        name: name of the bundle or cascade. Versions are compared between releases of one name.
        version: number of the release, from 1 to 10^15. Later releases have larger numbers.
        expires: last day, in UTC, on which the release may be loaded; None if it does not expire.
    """

    name: str
    version: int
    expires: dt.date | None = None

    @classmethod
    def from_json(cls, value: Any) -> Release:
        """Return the release in a JSON value.

        Raises:
            ValueError: a field is missing, unknown or invalid.
        """
        fields = JsonFields(value, "", ("name", "version", "expires"))
        version = fields.integer("version")
        if not 1 <= version <= MAX_VERSION:
            raise ValueError(f"version must be from 1 to {MAX_VERSION}, got {version}")
        expires = None if fields.raw("expires") is None else dt.date.fromisoformat(fields.text("expires"))
        return cls(fields.text("name"), version, expires)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**dataclasses.asdict(self), "expires": None if self.expires is None else self.expires.isoformat()}


@dataclasses.dataclass(frozen=True)
class Signature:
    """A verified signature.

    Attributes:
        key: id of the key that signed: the SHA-256 of its public key in PEM.
        key_name: name of the file of the trusted key.
        release: what was signed.
    """

    key: str
    key_name: str
    release: Release

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"key": self.key, "key_name": self.key_name, **self.release.to_json()}

    def __str__(self) -> str:
        """Return one line for people."""
        release = self.release
        expires = "does not expire" if release.expires is None else f"expires on {release.expires}"
        key = f"{self.key_name} ({self.key[:_SHOWN_DIGITS]})"
        return f"Signed with {key}: {release.name}, version {release.version}, {expires}."


def verify_signature(
    folder: str | os.PathLike[str],
    trusted_keys: Iterable[str | os.PathLike[str]],
    *,
    minimum_version: int = 0,
    versions: str | os.PathLike[str] | None = None,
    today: dt.date | None = None,
) -> Signature:
    """Verify that one of the trusted keys signed a bundle or cascade as it is now: no file changed, added or removed.

    Args:
        folder: the folder of the bundle or cascade.
        trusted_keys: files with public keys in PEM, or folders with such files (`*.pub`).
        minimum_version: refuse releases with a smaller version.
        versions: JSON file in which the largest verified version of each name is remembered. A smaller version is then
            refused. The file is created if it does not exist. None: nothing is remembered.
        today: the day on which the release must not have expired; None for today in UTC, by this device's clock.

    Raises:
        UsageError: a key cannot be read, or there is none.
        SignatureError: there is no signature, or it is not valid; its key is not trusted; a file was changed, added or
            removed; or the release has expired or is too old.
        PackageImportError: the package cryptography is not installed.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"There is no folder at {str(folder)!r}. Pass the folder of a bundle.")
    keys = load_trusted_keys(trusted_keys)
    if not (root / SIGNATURE_NAME).is_file():
        raise SignatureError(
            f"{root} is not signed: it has no {SIGNATURE_NAME}. Get a signed copy from those who made it, or sign it "
            "with edge-msa sign."
        )
    envelope, hint = _read_envelope(root / SIGNATURE_NAME)
    key_name, key = _find_key(keys, hint)
    payload = _verify_envelope(envelope, key, key_name)
    try:
        _check_files(root, _signed_files(payload))
        release = _read_release(root / RELEASE_NAME)
    except OSError as error:
        raise SignatureError(f"Cannot read {error.filename}: {error.strerror}. Copy the folder again.") from error
    _check_release(release, today or dt.datetime.now(dt.timezone.utc).date(), minimum_version)
    if versions is not None:
        _remember(Path(versions), release)
    return Signature(hint, key_name, release)


def load_trusted_keys(paths: Iterable[str | os.PathLike[str]]) -> dict[str, tuple[str, Any]]:
    """Return the name and the public key of each trusted key, by its id.

    Raises:
        UsageError: a file is not a public key for ECDSA (P-256, P-384 or P-521), or there is none.
        PackageImportError: the package cryptography is not installed.
    """
    keys = {}
    for path in _key_files(paths):
        key = _load_public_key(path)
        keys[key_id(key)] = path.name, key
    if not keys:
        raise UsageError("There is no trusted key: no file *.pub. Pass a file with a public key, or its folder.")
    return keys


def key_id(key: Any) -> str:
    """Return the id of a public key: the SHA-256, in hexadecimal, of its PEM."""
    serialization = import_package("cryptography.hazmat.primitives.serialization")
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def read_release(folder: str | os.PathLike[str]) -> Release | None:
    """Return the release of a signed folder, without verifying it; None if there is none or it is not readable."""
    try:
        return _read_release(Path(folder) / RELEASE_NAME)
    except (OSError, SignatureError):
        return None


def versions_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the verified versions, in the folder `EDGE_MSA_STATE` or `~/.local/state/edge-msa`."""
    selected = environment.get(STATE_VARIABLE)
    return (Path(selected) if selected else Path("~/.local/state/edge-msa").expanduser()) / VERSIONS_NAME


def _key_files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    for item in paths:
        path = Path(item)
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix == _KEY_SUFFIX)
        elif path.exists():
            yield path
        else:
            raise UsageError(
                f"There is no trusted key at {path}. Pass a file with a public key, or a folder of such files."
            )


def _load_public_key(path: Path) -> Any:
    serialization = import_package("cryptography.hazmat.primitives.serialization")
    unsupported = import_package("cryptography.exceptions").UnsupportedAlgorithm
    reason = "it is of another kind"
    try:
        with path.open("rb") as file:
            key = serialization.load_pem_public_key(file.read(_MAX_KEY_BYTES))
        if hasattr(key, "curve") and key.key_size in HASHES:
            return key
    except OSError as error:
        raise UsageError(f"Cannot read the key {path}: {error.strerror}. Pass a file with a public key.") from None
    except (ValueError, unsupported) as error:
        reason = str(error)[:80]
    raise UsageError(
        f"{path} is not a public key for ECDSA in PEM ({reason}). Pass the .pub file that edge-msa keygen wrote."
    )


def _read_json(path: Path) -> Any:
    """Return the value of a JSON file, up to the limit."""
    if not path.is_file():
        raise SignatureError(f"{path.name} is missing. Copy the folder again.")
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise SignatureError(f"{path.name} must have at most {_MAX_BYTES} bytes, got more. Do not use the folder.")
    return _parse(content, path.name)


def _parse(content: bytes, name: str) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _invalid(name, f"it is not valid JSON ({error})") from None


def _invalid(name: str, reason: object) -> SignatureError:
    return SignatureError(f"{name} is not valid: {reason}. Copy the folder again, or sign it again.")


def _read_envelope(path: Path) -> tuple[Mapping[str, Any], str]:
    """Return the DSSE envelope of a signature file, and the id of the key that signed."""
    try:
        value = _read_json(path)
    except OSError as error:
        raise SignatureError(f"Cannot read {path}: {error.strerror}. Copy the folder again.") from error
    try:
        material, envelope = value["verificationMaterial"], value["dsseEnvelope"]
        if "publicKey" not in material:
            found = ", ".join(sorted(map(str, material))) or "nothing"
            raise SignatureError(
                f"{path.name} was signed without a key (with {found}). Verify it on a workstation with model_signing, "
                "or sign with a key."
            )
        return envelope, str(material["publicKey"]["hint"])
    except (KeyError, TypeError, AttributeError):
        raise _invalid(path.name, "it is no Sigstore bundle with a DSSE envelope") from None


def _find_key(keys: Mapping[str, tuple[str, Any]], hint: str) -> tuple[str, Any]:
    if hint not in keys:
        known = ", ".join(f"{name} ({key[:_SHOWN_DIGITS]})" for key, (name, _) in keys.items())
        raise SignatureError(
            f"The bundle was signed with the key {ascii(hint[:_SHOWN_DIGITS])[1:-1]}, which is not trusted. "
            f"Trusted: {known}. Do not use the bundle, or add the key of those who made it."
        )
    return keys[hint]


def _verify_envelope(envelope: Mapping[str, Any], key: Any, key_name: str) -> Mapping[str, Any]:
    """Return the payload of an envelope if the key signed it."""
    exceptions = import_package("cryptography.exceptions")
    ec = import_package("cryptography.hazmat.primitives.asymmetric.ec")
    hashes = import_package("cryptography.hazmat.primitives.hashes")
    try:
        kind = str(envelope["payloadType"])
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = (base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise _invalid(SIGNATURE_NAME, "it has no payload or not exactly one signature") from None
    try:
        key.verify(signature, _pre_authentication(kind, payload), ec.ECDSA(getattr(hashes, HASHES[key.key_size])()))
    except exceptions.InvalidSignature:
        raise SignatureError(
            f"{SIGNATURE_NAME} is not a signature by {key_name}: the file was changed or forged. Do not use the bundle."
        ) from None
    value = _parse(payload, SIGNATURE_NAME)
    if kind != _PAYLOAD_TYPE or not isinstance(value, Mapping):
        raise _invalid(SIGNATURE_NAME, f"its payload must be {_PAYLOAD_TYPE}, got {ascii(kind[:40])[1:-1]}")
    return value


def _pre_authentication(kind: str, payload: bytes) -> bytes:
    """Return what DSSE signs: PAE of the type and the payload."""
    name = kind.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _signed_files(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each signed file, by its path."""
    try:
        types = statement["_type"], statement["predicateType"]
        predicate, (subject,) = statement["predicate"], statement["subject"]
        method = predicate["serialization"]["method"], predicate["serialization"]["hash_type"]
        resources = [(str(item["name"]), item["algorithm"], str(item["digest"])) for item in predicate["resources"]]
        total = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, _, digest in resources)).hexdigest()
        stated = subject["digest"]["sha256"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        raise _invalid(SIGNATURE_NAME, f"a field is missing or of another kind{reason}") from None
    files = {name: digest.lower() for name, algorithm, digest in resources if algorithm == "sha256"}
    if types != (_STATEMENT_TYPE, _PREDICATE_TYPE):
        reason = f"its types must be {_STATEMENT_TYPE} and {_PREDICATE_TYPE}, got {ascii(types)[:120]}"
    elif method != ("files", "sha256"):
        reason = f"it must list the SHA-256 of files, got {ascii(method)[:60]}"
    elif len(files) != len(resources):
        reason = "a file is listed twice, or with another hash"
    elif stated != total:
        reason = "the digest of all files does not match the list"
    elif RELEASE_NAME not in files:
        reason = f"it does not cover {RELEASE_NAME}"
    else:
        return files
    raise _invalid(SIGNATURE_NAME, reason)


def _check_files(root: Path, signed: Mapping[str, str]) -> None:
    present = set()
    for folder, folders, names in os.walk(str(root)):
        for name in [*names, *(item for item in folders if (Path(folder) / item).is_symlink())]:
            path = Path(folder) / name
            relative = path.relative_to(root).as_posix()
            if relative == SIGNATURE_NAME:
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise SignatureError(f"{relative!a} is a link or not a regular file. Do not use the bundle.")
            present.add(relative)
    if added := present - set(signed):
        raise SignatureError(f"{_show(added)} added after it was signed. Copy the signed bundle again, as it is.")
    if missing := set(signed) - present:
        raise SignatureError(f"{_show(missing)} removed after it was signed. Copy the signed bundle again, as it is.")
    for name, digest in signed.items():
        actual = file_sha256(root / name)
        if actual != digest:
            raise SignatureError(
                f"{ascii(name)[1:-1]} was changed after it was signed: its SHA-256 must start with "
                f"{digest[:_SHOWN_DIGITS]}, got {actual[:_SHOWN_DIGITS]}. Copy the signed bundle again, as it is."
            )


def _show(names: Collection[str]) -> str:
    """Return names with `was` or `were`."""
    shown = ", ".join(ascii(name)[1:-1] for name in sorted(names)[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{shown}{more} {'was' if len(names) == 1 else 'were'}"


def _read_release(path: Path) -> Release:
    value = _read_json(path)
    try:
        return Release.from_json(value)
    except ValueError as error:
        raise _invalid(RELEASE_NAME, error) from None


def _check_release(release: Release, today: dt.date, minimum_version: int) -> None:
    if release.expires is not None and today > release.expires:
        raise SignatureError(
            f"{release.name!a}, version {release.version}, expired on {release.expires}; today is {today}. Get a newer "
            "release, or correct the clock of this device."
        )
    if release.version < minimum_version:
        raise SignatureError(
            f"{release.name!a} must have at least version {minimum_version}, got {release.version}. "
            "Get a newer release."
        )


def _remember(path: Path, release: Release) -> None:
    """Refuse a release that is older than the largest version that was verified here, and remember its version."""
    known: dict[str, int] = {}
    try:
        value = _read_json(path) if path.exists() else {}
        known = {str(name): int(version) for name, version in value.items()}
    except (OSError, AttributeError, TypeError, ValueError, SignatureError) as error:
        raise SignatureError(
            f"{path}, the list of verified versions, cannot be read ({error}). Restore or delete it."
        ) from None
    if release.version < known.get(release.name, 0):
        raise SignatureError(
            f"{release.name!a}, version {release.version}, is older than version {known[release.name]}, which this "
            f"device has verified before. Get the newer release; or, to go back on purpose, delete {path}."
        )
    if release.version > known.get(release.name, 0):
        known[release.name] = release.version
        try:
            write_file(path, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
        except OSError as error:
            LOGGER.warning(
                "Cannot remember the version in %s (%s), so an older release would not be noticed. Set %s to a folder "
                "that can be written, or pass a minimum version.",
                path,
                error.strerror,
                STATE_VARIABLE,
            )
