from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey, Manifest
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import MODALITIES, Subset

TASK: dict[str, Any] = {"kind": "mosi", "outputs": 1, "labels": [], "edges": [], "low": None, "high": None}


def _manifest(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return value


def test_a_manifest_is_the_same_after_json(shared_bundle: Path) -> None:
    manifest = open_bundle(shared_bundle).manifest
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_a_graph_has_role_modalities_and_length_in_json(shared_bundle: Path) -> None:
    fields = {(graph["role"], *graph["modalities"], graph["length"]) for graph in _manifest(shared_bundle)["graphs"]}
    assert {("step", "audio", None), ("fuse", *MODALITIES, None)} < fields
    assert {("window", "language", 5), ("window", "language", None), ("window", *MODALITIES, None)} < fields


@pytest.mark.parametrize(
    ("key", "file_stem", "text"),
    [
        (GraphKey.step("audio"), "step-audio", "step audio"),
        (GraphKey.fuse(["audio", "language"]), "fuse", "fuse"),
        (GraphKey.window(Subset.LAV), "window-lav", "window lav"),
        (GraphKey.window(Subset.L, 16), "window-l-16", "window l 16"),
        (GraphKey.text_encoder(32), "text_encoder-32", "text_encoder 32"),
    ],
)
def test_a_graph_key_names_a_file(key: GraphKey, file_stem: str, text: str) -> None:
    assert (key.file_stem, str(key)) == (file_stem, text)


def test_the_order_of_modalities_does_not_change_a_key() -> None:
    assert GraphKey.fuse(["vision", "language"]) == GraphKey.fuse(["language", "vision"])
    assert GraphKey.fuse(["vision", "language"]).subset is Subset.LV


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 10}, "schema must be 9, got 10. Install the edge-msa-runtime wheel from the bundle."),
        ({"schema": 2}, "schema must be 9, got 2. Install the edge-msa-runtime wheel from the bundle."),
        ({"surprise": 1}, "surprise is not a known field. Export the bundle again."),
        ({"backends": 3}, "backends must be an array, got 3."),
        ({"modalities": 1.5}, "modalities must be an object, got 1.5."),
        ({"graphs": 1.5}, "graphs must be an array, got 1.5."),
        ({"graphs": [["not", "a", "graph"]]}, "graphs[0] must be an object, got ['not', 'a', 'graph']."),
        ({"graphs": [{}]}, "graphs[0].backend is missing."),
        ({"int8": {"a": {"layers": 3, "all_layers": 2, "macs": 0}}}, "int8.a.layers must be 0 to 2, got 3."),
        ({"int8": {"a": {"layers": 1, "all_layers": 2, "macs": 80}}}, "int8.a.macs must be 0 to 1, got 80."),
        ({"int8": {"a": 3}}, "int8.a must be an object, got 3."),
        ({"files": []}, "files must be an object, got []."),
        ({"files": {"x": 3}}, "files.x must be a string, got 3."),
        ({"name": None}, "name must be a string, got null."),
        ({"task": {**TASK, "outputs": True}}, "task.outputs must be an integer, got true."),
        ({"task": {**TASK, "outputs": 1.0}}, "task.outputs must be an integer, got 1.0."),
        ({"task": {**TASK, "labels": [3]}}, "task.labels[0] must be a string, got 3."),
        ({"task": {**TASK, "edges": [0.5, float("inf")]}}, "task.edges[1] must be a finite number, got inf."),
        ({"task": {**TASK, "edges": [True]}}, "task.edges[0] must be a finite number, got true."),
        ({"task": {"kind": "mosi"}}, "task.outputs is missing."),
    ],
)
def test_an_invalid_field_is_refused_by_name(
    changes: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    seal(bundle_path, changes)
    with pytest.raises(BundleError, match=re.escape(f"manifest.json: {message}")) as caught:
        open_bundle(bundle_path)
    assert "\n" not in str(caught.value)


def test_a_gap_frame_has_one_number_per_feature(bundle_path: Path, seal: Callable[..., None]) -> None:
    language = _manifest(bundle_path)["modalities"]["language"]
    for gap_frame, message in (
        ([1.0, 2.0], "modalities.language.gap_frame must have 4 values, got 2"),
        ([0.0, 0.0, 0.0, None], "modalities.language.gap_frame[3] must be a finite number, got null"),
        (0.0, "modalities.language.gap_frame must be an array, got 0.0"),
    ):
        seal(bundle_path, {"modalities": {"language": {**language, "gap_frame": gap_frame}}})
        with pytest.raises(BundleError, match=re.escape(f"manifest.json: {message}")):
            open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "whole"}, "graphs[0].role must be one of step, fuse, window, text_encoder, got 'whole'."),
        ({"modalities": "la"}, "graphs[0].modalities must be an array, got 'la'."),
        ({"role": "fuse", "modalities": []}, "graphs[0].modalities of a fuse graph cannot be []."),
        ({"role": "step", "modalities": ["language", "audio"]}, "graphs[0].modalities of a step graph cannot be"),
        ({"role": "window", "modalities": ["audio", "language"]}, "graphs[0].modalities of a window graph cannot be"),
        ({"role": "window", "modalities": ["smell"]}, "graphs[0].modalities of a window graph cannot be ['smell']."),
        ({"role": "window", "length": 0}, "graphs[0].length of a window graph cannot be 0."),
        ({"role": "window", "length": 2.0}, "graphs[0].length must be an integer, got 2.0."),
        ({"role": "step", "length": 4}, "graphs[0].length of a step graph cannot be 4."),
        ({"role": "step", "batch": 0}, "graphs[0].batch of a step graph cannot be 0."),
        ({"role": "window", "batch": 8}, "graphs[0].batch of a window graph cannot be 8."),
        ({"role": "text_encoder"}, "graphs[0].length of a text_encoder graph cannot be None."),
        (
            {"role": "text_encoder", "modalities": ["audio"], "length": 4},
            "graphs[0].modalities of a text_encoder graph must be ['language'], got ['audio'].",
        ),
    ],
)
def test_an_invalid_graph_key_is_refused_by_name(
    changes: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    first, *others = _manifest(bundle_path)["graphs"]
    seal(bundle_path, {"graphs": [{**first, **changes}, *others]})
    with pytest.raises(BundleError, match=re.escape(message)):
        open_bundle(bundle_path)


@pytest.mark.parametrize("name", ["task", "graphs", "language", "license", "files"])
def test_a_missing_field_is_refused_by_name(bundle_path: Path, seal: Callable[..., None], name: str) -> None:
    value = _manifest(bundle_path)
    del value[name]
    (bundle_path / "manifest.json").write_text(json.dumps(value), encoding="utf-8")
    seal(bundle_path)
    with pytest.raises(BundleError, match=rf"manifest\.json: {name} is missing"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"rate_hz": -1}, "modalities.language.features.rate_hz must be a positive number in Hz, got -1."),
        ({"names": ["F0"]}, "modalities.language.features.names must be 4 texts, one per feature, got 1."),
        ({"extractor": "\x1b[2J"}, "modalities.language.features.extractor must be printable text, got '\\x1b[2J'."),
    ],
)
def test_invalid_features_of_a_modality_are_refused(
    features: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    modalities = _manifest(bundle_path)["modalities"]
    seal(bundle_path, {"modalities": {**modalities, "language": {**modalities["language"], "features": features}}})
    with pytest.raises(BundleError, match=re.escape(f"manifest.json: {message}")):
        open_bundle(bundle_path)
