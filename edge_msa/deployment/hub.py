"""Upload and download bundles on the Hugging Face hub. Only these functions open a connection.

A repository on the hub has exactly the files of a bundle. `HF_ENDPOINT` names another hub, `HF_TOKEN` a token.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.console import activity, is_verbose
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa_export.bundle.write import is_bundle
from edge_msa_export.folders import atomic_folder
from edge_msa_runtime import __version__
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import check_file_name, open_bundle
from edge_msa_runtime.bundle.manifest import DIGEST_NAME, MANIFEST_NAME
from edge_msa_runtime.errors import BundleError, first_line
from edge_msa_runtime.pretrained import check_bundle_digest

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class HubReference:
    """A repository on the hub, and optionally a revision: `OWNER/NAME@REVISION`."""

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubReference:
        """Return the reference that a text names.

        Raises:
            UsageError: It has another form.
        """
        repository, _, revision = text.partition("@")
        if not _REPOSITORY.fullmatch(repository) or ("@" in text and not revision):
            raise UsageError(f"A name on the hub must be OWNER/NAME or OWNER/NAME@REVISION, got {text!r}.")
        return cls(repository, revision or None)

    def __str__(self) -> str:
        """Return the form that `parse` takes."""
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def download_bundle(reference: HubReference, output_dir: Path, sha256: str | None = None) -> HubReference:
    """Download a bundle, verify it, and then move it to `output_dir`.

    Only the files that the manifest lists are downloaded, all of the same commit.

    Args:
        reference: The repository.
        output_dir: Folder to write. A bundle there is replaced.
        sha256: SHA-256 of the bundle's manifest (default: not known, so that any bundle is accepted).

    Returns:
        The repository and the commit that was downloaded.

    Raises:
        BackendUnavailableError: huggingface_hub is not installed, or the hub does not answer or has no such bundle.
        BundleError: The bundle is damaged, or has another digest.
        OutputError: `output_dir` contains something that is not a bundle.
    """
    hub, api = _open_hub()
    with atomic_folder(output_dir, is_bundle) as folder, activity(f"Downloading {reference}"):
        # Errors of other kinds are those of connections, which depend on the version of huggingface_hub.
        try:
            commit = str(api.model_info(reference.repository, revision=reference.revision, timeout=30).sha)
        except Exception as error:  # noqa: BLE001
            raise _unavailable("download", reference, error) from None

        def download(name: str) -> None:
            try:
                hub.hf_hub_download(
                    reference.repository, name, revision=commit, local_dir=folder, endpoint=api.endpoint
                )
            except Exception as error:  # noqa: BLE001
                raise _unavailable("download", f"{name} of {reference}", error) from None

        download(MANIFEST_NAME)
        if sha256 is not None:
            check_bundle_digest(folder, sha256)
        names = _list_files(folder / MANIFEST_NAME, reference)
        for name in names:
            check_file_name(name)
        for name in (DIGEST_NAME, *names):
            download(name)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # huggingface_hub keeps notes on its downloads there
        open_bundle(folder)
    return HubReference(reference.repository, commit)


@dataclass(frozen=True)
class Upload:
    """A bundle on the hub."""

    reference: HubReference
    """The repository and the commit."""
    sha256: str
    """SHA-256 of the bundle's manifest, with which a download can be checked."""
    url: str
    """Page of the commit."""


def upload_bundle(bundle: Path, repository: str, *, private: bool = False) -> Upload:
    """Upload a bundle in one commit. The repository is created if it does not exist.

    Args:
        bundle: The bundle. Files that its manifest does not list are not uploaded.
        repository: `OWNER/NAME`.
        private: Whether a new repository is private.

    Raises:
        UsageError: The folder is not a bundle, or the name of the repository has another form.
        BundleError: The bundle is damaged.
        BackendUnavailableError: huggingface_hub is not installed, or the hub does not accept the bundle.
    """
    reference = HubReference.parse(repository)
    if reference.revision is not None:
        raise UsageError(f"A bundle is uploaded to OWNER/NAME, without a revision, got {repository!r}.")
    opened = open_bundle(bundle)
    digest = file_sha256(opened.path / MANIFEST_NAME)
    hub, api = _open_hub()
    operations = [
        hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(opened.path / name))
        for name in (*opened.manifest.files, MANIFEST_NAME, DIGEST_NAME)
    ]
    with activity(f"Uploading {bundle.name} to {reference}"):
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.create_commit(repository, operations, commit_message=f"Upload {opened.manifest.name}")
        except Exception as error:  # noqa: BLE001
            raise _unavailable("upload to", reference, error) from None
    return Upload(HubReference(repository, str(commit.oid)), digest, str(commit.commit_url))


def _list_files(manifest: Path, reference: HubReference) -> list[str]:
    """Return the names of the files that a manifest lists.

    Raises:
        BundleError: It is not a manifest.
    """
    try:
        names = list(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{reference} is not a bundle: {MANIFEST_NAME} is not a manifest ({error!r}).") from error
    return [str(name) for name in names]


def _open_hub() -> tuple[Any, Any]:
    """Return huggingface_hub and a client of the hub that the environment names. No connection is opened."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
        utils: Any = importlib.import_module("huggingface_hub.utils")
    except ImportError:
        raise BackendUnavailableError(
            "The hub needs the huggingface_hub package. Install it with pip install 'edge-msa[hub]'."
        ) from None
    (utils.enable_progress_bars if is_verbose() else utils.disable_progress_bars)()
    endpoint = os.environ.get("HF_ENDPOINT") or None
    return hub, hub.HfApi(endpoint, library_name="edge-msa", library_version=__version__)


def _unavailable(action: str, what: object, error: Exception) -> BackendUnavailableError:
    reason = first_line(error).rstrip(".")
    return BackendUnavailableError(
        f"Cannot {action} {what}: {reason}. Check the name and the connection. For a private repository, set HF_TOKEN."
    )
