"""`edge-msa keygen` and `edge-msa sign`: sign bundles for devices that load only what a trusted key signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.paths import FILE, INPUT, Output

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File with the password of the private key, on its first line.",
        show_default="the key has no password",
    ),
    INPUT,
]


def keygen(
    path: Annotated[
        Path,
        typer.Argument(metavar="KEY", help="File of the private key. The public key is written to KEY.pub."),
        Output(FILE),
    ],
    password_file: PasswordFile = None,
) -> None:
    """Make a key for signing bundles.

    Only you can read the private key: keep it secret. Copy the public key to the devices.

    Example:
        edge-msa keygen release-key.pem
    """
    from edge_msa.workflows.sign import keygen as run

    run(path, password=_password(password_file))


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle or cascade."), INPUT],
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Private key that edge-msa keygen wrote.", show_default="--keyless"),
        INPUT,
    ] = None,
    keyless: Annotated[
        bool,
        typer.Option(
            "--keyless",
            help="Sign with an account that Sigstore confirms over the network, instead of a key. "
            "Devices cannot verify it.",
        ),
    ] = False,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            metavar="N",
            help="Number of the release. Devices refuse a smaller one than they have verified.",
            show_default="the time as YYYYMMDDhhmmss",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="DAY",
            help="Last day, in UTC, on which devices load the bundle, such as 2027-12-31.",
            show_default="never",
        ),
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Sign a bundle, so that devices can verify who made it.

    Writes release.json and model.sig into the folder. The signature covers every file of the folder, in the format of
    OpenSSF model signing.

    Example:
        edge-msa sign bundle-laptop --key release-key.pem --expires 2027-12-31
    """
    from edge_msa.workflows.sign import sign as run

    run(bundle, key=key, keyless=keyless, version=version, expires=expires, password=_password(password_file))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    from edge_msa.errors import UsageError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the password in {path} ({error}). Pass a text file.") from None
    if not lines or not lines[0]:
        raise UsageError(f"{path} must have the password on its first line, which is empty.")
    return lines[0]
