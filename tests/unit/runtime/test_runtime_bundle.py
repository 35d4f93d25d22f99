from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.bundle.reader import digest, open_bundle
from edge_msa_runtime.errors import BundleError, UsageError


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: (path.stat().st_mtime_ns, digest(path)) for path in paths}


def test_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert digest(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_whole_bundle_opens_and_nothing_in_it_changes(shared_bundle: Path) -> None:
    before = _state(shared_bundle)
    bundle = open_bundle(str(shared_bundle))
    assert bundle.manifest.target == "laptop-x86"
    assert bundle.precisions("openvino") == ("fp32",)
    window = bundle.graph("onnxruntime", "fp32", "window", "la")
    assert window is not None
    assert window.file == "graphs/window.la.onnx"
    assert _state(shared_bundle) == before


@pytest.mark.parametrize("name", ["graphs/fuse.onnx", "graphs/window.l.onnx", "golden.npz", "manifest.json"])
def test_a_changed_byte_is_refused_by_the_file_s_name_and_both_digests(bundle_path: Path, name: str) -> None:
    wanted = digest(bundle_path / name)
    _flip(bundle_path / name)
    found = digest(bundle_path / name)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle_path)
    for part in (name, wanted[:12], found[:12], "copy the bundle again"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["graphs/fuse.onnx", "golden.npz", "manifest.json", "manifest.sha256"])
def test_a_missing_file_is_refused(bundle_path: Path, name: str) -> None:
    (bundle_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(bundle_path)


def test_a_file_that_the_manifest_does_not_list_is_refused(bundle_path: Path) -> None:
    (bundle_path / "graphs" / "more.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"graphs/more\.onnx is in the bundle and not in its manifest"):
        open_bundle(bundle_path)


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "graphs/../../x", "C:x", "a\\b", "./x", ""])
def test_a_name_that_leaves_the_bundle_is_refused(bundle_path: Path, seal: Callable[..., None], name: str) -> None:
    (bundle_path.parent / "x").write_bytes(b"")
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, name: hashlib.sha256(b"").hexdigest()}})
    with pytest.raises(BundleError, match="no plain name"):
        open_bundle(bundle_path)


def test_a_link_out_of_the_bundle_is_refused_even_with_the_right_bytes(bundle_path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    shutil.move(bundle_path / "graphs/fuse.onnx", outside)
    (bundle_path / "graphs/fuse.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"graphs/fuse\.onnx is a link out of the bundle"):
        open_bundle(bundle_path)


def test_a_linked_folder_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    (bundle_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(BundleError, match="linked is in the bundle"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 9}, "schema is 9, this runtime reads 2; install the edge-msa-runtime wheel"),
        ({"surprise": 1}, "surprise.*; export the bundle again"),
        ({"modalities": {}}, "modalities.*; export the bundle again"),
        ({"graphs": [["not", "a", "graph"]]}, "cannot be read.*; export the bundle again"),
    ],
)
def test_only_another_schema_asks_for_the_wheel(
    bundle_path: Path, seal: Callable[..., None], changes: dict[str, Any], said: str
) -> None:
    seal(bundle_path, changes)
    with pytest.raises(BundleError, match=said):
        open_bundle(bundle_path)


def test_a_normalization_of_another_width_is_refused(bundle_path: Path, seal: Callable[..., None]) -> None:
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    modalities["language"]["mean"] = [0.0]
    seal(bundle_path, {"modalities": modalities})
    with pytest.raises(BundleError, match="dim 4, 1 means"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "is no JSON"), (b"\xff", "is no JSON"), (b"[]", ": manifest schema is 'list'")]
)
def test_a_manifest_that_is_no_json_object_is_refused(bundle_path: Path, content: bytes, said: str) -> None:
    (bundle_path / "manifest.json").write_bytes(content)
    (bundle_path / "manifest.sha256").write_text(digest(bundle_path / "manifest.json") + "  manifest.json\n")
    with pytest.raises(BundleError, match=rf"manifest\.json ?{said}.*; export the bundle again"):
        open_bundle(bundle_path)


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bundle folder at"):
        open_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backends": 3}, "backends is '3', wanted is tuple"),
        ({"backends": []}, "is for backends []"),
        ({"backends": ["../../etc/passwd"]}, "is for backends ['../../etc/passwd']"),
        ({"graphs": 1.5}, "cannot be read"),
        ({"files": []}, "files is '()', wanted is Mapping"),
        ({"name": None}, "name is 'None', wanted is str"),
        ({"task": {"kind": "mosi", "outputs": True, "labels": [], "edges": []}}, "outputs is 'True', wanted is int"),
        ({"task": {"kind": "mosi", "outputs": 1, "labels": [3], "edges": []}}, "wanted is tuple[str, ...]"),
        (
            {"task": {"kind": "mosi", "outputs": 1, "labels": [], "edges": [float("inf")]}},
            "wanted is tuple[float, ...]",
        ),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(
    changes: dict[str, Any], said: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    seal(bundle_path, changes)
    with pytest.raises(BundleError, match=re.escape(said)) as caught:
        open_bundle(bundle_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no bundle, it has no manifest\.json"):
        open_bundle(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="it is a run"):
        open_bundle(tmp_path)
