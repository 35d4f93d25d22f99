"""`edge-msa pretrained`: list and describe pretrained models, get their bundles, and publish bundles."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_msa.arguments import AnyPath, path_of
from edge_msa.artifacts.requests import check_may_replace_file
from edge_msa.console import print_note, print_output
from edge_msa.deployment.hub import HubReference, Upload, download_bundle, upload_bundle
from edge_msa.errors import UsageError
from edge_msa.evaluation.metrics import describe
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.export import ExportedBundle
from edge_msa.workflows.outputs import output_folder
from edge_msa_export.bundle.write import is_bundle
from edge_msa_export.folders import atomic_folder, check_destination
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GOLDEN_NAME
from edge_msa_runtime.bundle.signature import read_release
from edge_msa_runtime.pretrained import PretrainedModel, find_model, load_index, pretrained_bundle

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, repr=False)
class PretrainedModels(Table):
    """The pretrained models of the installed index."""

    models: tuple[PretrainedModel, ...]
    """The models, in the order of the index."""

    def __repr__(self) -> str:
        """Return the names."""
        return f"<PretrainedModels: {', '.join(model.name for model in self.models)}>"

    def __str__(self) -> str:
        """Return a table for people."""
        rows = [
            [model.name, f"{model.size / 1e6:.2f}", "installed" if model.folder else f"hub: {model.hub}", model.title]
            for model in self.models
        ]
        return text_table(["model", "MB", "bundle", "predicts"], rows, left=1, texts=2)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per model."""
        return tuple(
            {
                "model": model.name,
                "title": model.title,
                "bytes": model.size,
                "installed": model.folder is not None,
                "hub": model.hub,
                "sha256": model.sha256,
            }
            for model in self.models
        )


@dataclass(frozen=True, repr=False)
class PretrainedCard:
    """The statements of a model card: training data, terms, accuracy, and what the model must not be used for."""

    model: PretrainedModel
    """The model."""

    def __repr__(self) -> str:
        """Return the name of the model."""
        return f"<PretrainedCard of {self.model.name}>"

    def __str__(self) -> str:
        """Return the card for people."""
        return "\n".join(_format_card(self.model))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model.name,
            "title": self.model.title,
            "bytes": self.model.size,
            "folder": None if self.model.folder is None else str(self.model.folder),
            "hub": self.model.hub,
            "sha256": self.model.sha256,
            **self.model.card,
        }


@api
def list_pretrained(*, verbose: bool = False, on_progress: OnProgress | None = None) -> PretrainedModels:
    """List the pretrained models of the installed package `edge-msa-pretrained`. Nothing is downloaded.

    Args:
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Raises:
        PackageImportError: The package is not installed.
        BundleError: Its index is damaged.
    """
    return PretrainedModels(tuple(load_index().values()))


@api
def describe_pretrained(name: str, *, verbose: bool = False, on_progress: OnProgress | None = None) -> PretrainedCard:
    """Return the model card of a pretrained model. Nothing is downloaded.

    Args:
        name: Name of the model, such as `text-nano`.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Raises:
        UsageError: There is no such model.
        PackageImportError: The package `edge-msa-pretrained` is not installed.
        BundleError: Its index is damaged.
    """
    return PretrainedCard(find_model(name))


@api
def get_pretrained(
    name: str,
    *,
    output_dir: AnyPath | None = None,
    sha256: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportedBundle:
    """Write the bundle of a pretrained model, verified: a copy from the installed package, or a download from the hub.

    Args:
        name: Name of a model of the index, or a bundle on the Hugging Face hub as `OWNER/NAME` or
            `OWNER/NAME@REVISION`. Only then, and for models of the index that are on the hub, a connection is opened.
        output_dir: Folder to write (default: the name of the model).
        sha256: SHA-256 that the manifest of a bundle on the hub must have (default: that of the index, if it is there).
        overwrite: Whether to replace another bundle in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Raises:
        UsageError: There is no such model, or an argument is invalid.
        PackageImportError: The package `edge-msa-pretrained` is not installed.
        BundleError: The bundle is damaged, or has another digest.
        BackendUnavailableError: huggingface_hub is not installed, or the hub does not answer or has no such bundle.
        OutputError: `output_dir` contains something that may not be replaced.
    """
    model = None if "/" in name else find_model(name)
    if sha256 is not None and (model is not None or not _SHA256.fullmatch(sha256)):
        raise UsageError(
            f"--sha256 must be 64 hexadecimal digits, for a bundle on the hub, got {sha256!r} for {name}. The index "
            "has the digests of its own models."
        )
    reference = None
    if model is None or model.hub is not None:
        reference = HubReference.parse(name if model is None else str(model.hub))
    default = name if reference is None or model is not None else reference.repository.partition("/")[2]
    output = output_folder(default if output_dir is None else output_dir, "output_dir")
    check_may_replace_file(output)
    check_destination(output, is_bundle)
    if reference is None:
        source = pretrained_bundle(name)
        with atomic_folder(output, is_bundle) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            open_bundle(folder)
        origin = f"{name}, from the installed package"
    else:
        found = download_bundle(reference, output, sha256 if model is None else model.sha256)
        origin = str(found)
        if model is None and sha256 is None:
            print_note(
                f"Nothing shows who made {found.repository}: it is not in the index, and --sha256 was not passed. Use "
                "bundles of people you trust."
            )
    print_output(f"bundle {origin}", output, next_step(f"edge-msa-run info {output}"))
    return ExportedBundle.of(output)


@api
def push_bundle(
    bundle: AnyPath,
    *,
    repo: str,
    private: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Upload:
    """Upload a bundle to the Hugging Face hub, in one commit. The token is that of `hf auth login` or `HF_TOKEN`.

    Args:
        bundle: The bundle.
        repo: Repository on the hub, `OWNER/NAME`. It is created if it does not exist.
        private: Whether a new repository is private.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Returns:
        The commit, and the digest with which a download can be checked.

    Raises:
        UsageError: `bundle` is not a bundle, or `repo` has another form.
        BundleError: The bundle is damaged.
        BackendUnavailableError: huggingface_hub is not installed, or the hub does not accept the bundle.
    """
    path = path_of(bundle, "bundle", "the path of a bundle")
    files = open_bundle(path).manifest.files
    if GOLDEN_NAME in files:
        print_note(f"{GOLDEN_NAME} of a bundle from `export` has a validation sample. Check that you may publish it.")
    if read_release(path) is not None:
        print_note("The signature is not uploaded. Sign the bundle again after you get it.")
    return upload_bundle(path, repo, private=private)


def _format_card(model: PretrainedModel) -> Iterator[str]:
    card = model.card
    yield f"{model.name}: {model.title}, {model.size / 1e6:.2f} MB"
    yield f"  bundle    {model.folder or f'on the hub: {model.hub}'}"
    yield f"  sha256    {model.sha256}"
    if "model" in card:
        yield f"  model     {card['model']}"
    for name, precision in card.get("backends", {}).items():
        yield f"  backend   {name} {precision}"
    for item in card.get("tested", ()):
        yield f"\n{item['data']} test split, {item['samples']} sentences of {item['groups']} {item['unit']}:"
        yield from (f"  {line}" for line in _format_metrics(item).split("\n"))
    for title, key in (("Training data", "data"), ("It must not be used for", "not_for")):
        if card.get(key):
            yield f"\n{title}:"
            yield from (f"- {line}" for line in card[key])
    yield f"\nTerms: {card.get('terms', 'not stated')}"


def _format_metrics(tested: Mapping[str, Any]) -> str:
    rows = []
    for name, (value, low, high) in tested["metrics"].items():
        metric = describe(name)
        rows.append(
            [
                metric.title,
                metric.format(value),
                f"{metric.format(low)} to {metric.format(high)}",
                metric.format(tested["baseline"][name]),
            ]
        )
    return text_table(["metric", "value", "95 % interval", "best constant"], rows, left=1)
