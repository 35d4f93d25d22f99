"""`edge-msa keygen` and `edge-msa sign`: sign bundles, so that devices load only what a trusted key signed."""

from __future__ import annotations

import datetime as dt
import shlex
from dataclasses import dataclass
from pathlib import Path

from edge_msa.arguments import AnyPath, path_of
from edge_msa.console import print_output, print_result
from edge_msa.deployment.signing import PUBLIC_SUFFIX, create_key, load_private_key, sign_folder
from edge_msa.errors import UsageError
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.signature import MAX_VERSION, Release, key_id, read_release
from edge_msa_runtime.cascade.loader import is_cascade, open_cascade
from edge_msa_runtime.vendor_packages import import_package


@dataclass(frozen=True)
class SigningKey:
    """A key that `keygen` made."""

    path: Path
    """File of the private key. Keep it secret."""
    public: Path
    """File of the public key, for the devices."""
    key_id: str
    """SHA-256 of the public key in PEM."""


@dataclass(frozen=True)
class SignedBundle:
    """A bundle or cascade that `sign` signed. It is a path-like object."""

    path: Path
    """The folder."""
    release: Release
    """Name, version and expiry, which the signature covers."""
    key_id: str
    """Id of the key; empty if the bundle was signed without a key."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        """Return one line for people."""
        expires = "" if self.release.expires is None else f", expires on {self.release.expires}"
        key = f"the key {self.key_id[:12]}" if self.key_id else "an account at Sigstore"
        return f"Signed {self.release.name} with {key}: version {self.release.version}{expires}."


@api
def keygen(
    path: AnyPath, *, password: str | None = None, verbose: bool = False, on_progress: OnProgress | None = None
) -> SigningKey:
    """Make a key for signing bundles: ECDSA on P-256.

    Args:
        path: File of the private key, which only you can read. The public key is written beside it, with the suffix
            `.pub`. Existing files are never replaced.
        password: Encrypts the private key.
        verbose: Whether to print progress.
        on_progress: Not used.

    Returns:
        The files and the id of the key.

    Raises:
        UsageError: One of the files exists, or the password is empty.
        BackendUnavailableError: The package model_signing is not installed.

    Examples:
        >>> key = em.keygen("release-key.pem")
        >>> key.public.name
        'release-key.pem.pub'
    """
    private = path_of(path, "path")
    if password == "":
        raise UsageError("The password must not be empty. Choose one, or leave it out.")
    identifier = create_key(private, password)
    public = private.with_name(private.name + PUBLIC_SUFFIX)
    print_output("private key", private)
    print_output("public key", public, next_step(f"edge-msa sign BUNDLE --key {shlex.quote(str(private))}"))
    return SigningKey(private, public, identifier)


@api
def sign(
    bundle: AnyPath,
    *,
    key: AnyPath | None = None,
    keyless: bool = False,
    oidc_token: str | None = None,
    version: int | None = None,
    expires: str | dt.date | None = None,
    password: str | None = None,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> SignedBundle:
    """Sign a bundle or a cascade, in the format of OpenSSF model signing.

    Writes `release.json` and `model.sig` into the folder. They replace earlier ones. The signature covers every file of
    the folder, so nothing in it may change afterwards.

    Args:
        bundle: The folder of a bundle or a cascade.
        key: File of the private key.
        keyless: Sign with an account that Sigstore confirms over the network, instead of a key. Devices cannot verify
            such a signature; the tools of OpenSSF can.
        oidc_token: With `keyless`, a token of OpenID Connect (default: that of the CI service, or a login in the
            browser).
        version: Number of the release. Devices refuse a smaller one than they have seen (default: the time in UTC as
            YYYYMMDDhhmmss).
        expires: Last day, in UTC, on which devices load the bundle, such as `2027-12-31` (default: it does not expire).
        password: Password of the key.
        verbose: Whether to print progress.
        on_progress: Not used.

    Returns:
        The folder and its release.

    Raises:
        UsageError: `key` and `keyless` are both given or both missing; the key cannot be used; or `version` or
            `expires` is not valid.
        BundleError: The bundle is damaged.
        BackendUnavailableError: The package model_signing is not installed.

    Examples:
        >>> em.sign("bundle", key="release-key.pem", version=1).release.version
        1
    """
    folder = path_of(bundle, "bundle")
    if (key is None) != keyless:
        raise UsageError("Pass either --key FILE or --keyless.")
    name = open_cascade(folder).manifest.name if is_cascade(folder) else open_bundle(folder).manifest.name
    release = Release(name, _version(version), _date(expires))
    _check_newer(folder, release)
    path = None if key is None else path_of(key, "key")
    identifier = "" if path is None else key_id(load_private_key(path, password).public_key())
    sign_folder(folder, release, path, password, oidc_token)
    signed = SignedBundle(folder, release, identifier)
    print_result(str(signed))
    suggested = next_step(f"edge-msa-run verify {folder} --trusted-keys {shlex.quote(f'{path}{PUBLIC_SUFFIX}')}")
    print_output("bundle", folder, suggested if path is not None else None)
    return signed


def check_key(key: AnyPath) -> None:
    """Check that a private key can sign without a password, before slow work.

    Raises:
        UsageError: It cannot.
        BackendUnavailableError: The package model_signing is not installed.
    """
    load_private_key(path_of(key, "sign"))
    import_package("model_signing.signing")


def _version(version: int | None) -> int:
    if version is None:
        return int(dt.datetime.now(dt.timezone.utc).strftime("%Y%m%d%H%M%S"))
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= MAX_VERSION:
        raise UsageError(f"--version must be from 1 to {MAX_VERSION}, got {version!r}.")
    return version


def _date(expires: str | dt.date | None) -> dt.date | None:
    if expires is None:
        return None
    try:
        day = dt.date.fromisoformat(expires) if isinstance(expires, str) else expires
        day = day.date() if isinstance(day, dt.datetime) else day
    except ValueError:
        raise UsageError(f"--expires must be a day such as 2027-12-31, got {expires!r}.") from None
    today = dt.datetime.now(dt.timezone.utc).date()
    if day < today:
        raise UsageError(f"--expires must not be in the past, got {day}; today is {today}.")
    return day


def _check_newer(folder: Path, release: Release) -> None:
    previous = read_release(folder)
    if previous is not None and release.version < previous.version:
        raise UsageError(
            f"--version must be at least {previous.version}, the version that {folder} has already, got "
            f"{release.version}. Devices would refuse the older one."
        )
