from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.modalities import Subset


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: (path.stat().st_mtime_ns, file_sha256(path)) for path in paths}


def test_opening_a_bundle_does_not_change_it(shared_bundle: Path) -> None:
    before = _snapshot(shared_bundle)
    bundle = open_bundle(str(shared_bundle))
    assert bundle.manifest.target == "laptop-x86"
    assert bundle.precisions("openvino") == ("fp32",)
    assert _snapshot(shared_bundle) == before


def test_a_graph_is_found_by_its_key(shared_bundle: Path) -> None:
    bundle = open_bundle(shared_bundle)
    spec = bundle.graph("onnxruntime", "fp32", GraphKey.window(Subset.LA))
    assert spec is not None
    assert spec.file == "graphs/window-la.onnx"
    assert bundle.graph("onnxruntime", "int8", GraphKey.window(Subset.LA)) is None
    assert bundle.graph("onnxruntime", "fp32", GraphKey.window(Subset.LA, 3)) is None


@pytest.mark.parametrize("name", ["graphs/fuse.onnx", "graphs/window-l.onnx", "golden.npz", "manifest.json"])
def test_a_changed_file_is_refused_with_both_digests(bundle_path: Path, name: str) -> None:
    expected = file_sha256(bundle_path / name)
    _flip_a_bit(bundle_path / name)
    actual = file_sha256(bundle_path / name)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle_path)
    assert str(caught.value) == (
        f"{name} has changed: its SHA-256 must start with {expected[:12]}, got {actual[:12]}. Copy the bundle again."
    )


@pytest.mark.parametrize("name", ["graphs/fuse.onnx", "golden.npz", "manifest.json", "manifest.sha256"])
def test_a_missing_file_is_refused(bundle_path: Path, name: str) -> None:
    (bundle_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(bundle_path)


@pytest.mark.case("F31")
@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "graphs/.DS_Store",
        "graphs/._fuse.onnx",
        "graphs/fuse.onnx~",
        "graphs/#fuse.onnx#",
        "graphs/.fuse.onnx.swp",
        "graphs/fuse.onnx.bak",
        "README.md~",
        "manifest.json.orig",
        "Thumbs.db",
        "desktop.ini",
        ".mypy_cache/3.12/builtins.data.json",
        ".git/hooks/post-checkout.py",
        "__MACOSX/graphs/._fuse.onnx",
        "graphs/@eaDir/fuse.onnx@SynoEAStream",
        "__pycache__/x.cpython-312.pyc",
        "notes.txt",
        "papers/figure.png",
        "old/graphs/fuse.onnx",
        "bell\a.txt",
    ],
)
def test_clutter_is_ignored_with_a_note(bundle_path: Path, name: str) -> None:
    (bundle_path / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_path / name).write_bytes(b"clutter")
    bundle = open_bundle(bundle_path)
    assert bundle.notes == (f"Ignored, because the manifest does not list them: {ascii(name)[1:-1]}",)
    _flip_a_bit(bundle_path / "graphs/fuse.onnx")
    with pytest.raises(BundleError, match=r"graphs/fuse\.onnx has changed"):
        open_bundle(bundle_path)


@pytest.mark.case("F31")
def test_many_ignored_files_are_one_note(bundle_path: Path) -> None:
    for number in range(9):
        (bundle_path / f"{number}.txt").touch()
    assert open_bundle(bundle_path).notes == (
        "Ignored, because the manifest does not list them: 0.txt, 1.txt, 2.txt and 6 more",
    )


@pytest.mark.case("F31")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("graphs/more.onnx", "looks like a part of the bundle"),
        ("graphs/w.bin", "looks like a part of the bundle"),
        ("graphs/deep/w.bin", "looks like a part of the bundle"),
        ("numpy.py", "is code"),
        ("edge_msa_runtime/__init__.py", "is code"),
        ("graphs/onnxruntime.SO", "is code"),
    ],
)
def test_an_unlisted_file_that_could_be_used_is_refused(bundle_path: Path, name: str, reason: str) -> None:
    (bundle_path / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_path / name).write_bytes(b"")
    with pytest.raises(BundleError, match=rf"manifest\.json does not list '{re.escape(name)}', which {reason}"):
        open_bundle(bundle_path)


@pytest.mark.case("F31")
def test_an_unlisted_file_that_is_not_a_regular_file_is_refused(bundle_path: Path) -> None:
    os.mkfifo(bundle_path / ".pipe")
    with pytest.raises(BundleError, match=r"does not list '\.pipe', which is a link or not a regular file"):
        open_bundle(bundle_path)


@pytest.mark.parametrize("name", ["edge_msa_runtime/__init__.py", "x.so"])
def test_listed_code_is_refused(bundle_path: Path, seal: Callable[..., None], name: str) -> None:
    (bundle_path / name).parent.mkdir(exist_ok=True)
    (bundle_path / name).write_bytes(b"")
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, name: hashlib.sha256(b"").hexdigest()}})
    with pytest.raises(BundleError, match="which is code"):
        open_bundle(bundle_path)


@pytest.mark.parametrize("name", ["../x", "/etc/hosts", "graphs/../../x", "C:x", "a\\b", "./x", ""])
def test_a_path_outside_the_bundle_is_refused(bundle_path: Path, seal: Callable[..., None], name: str) -> None:
    (bundle_path.parent / "x").write_bytes(b"")
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, name: hashlib.sha256(b"").hexdigest()}})
    with pytest.raises(BundleError, match="is not a path inside the bundle"):
        open_bundle(bundle_path)


def test_a_link_out_of_the_bundle_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    shutil.move(bundle_path / "graphs/fuse.onnx", outside)
    (bundle_path / "graphs/fuse.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"graphs/fuse\.onnx is a link to a file outside the bundle"):
        open_bundle(bundle_path)


def test_a_linked_folder_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    (bundle_path / "linked").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(BundleError, match=r"does not list 'linked', which is a link"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backends": []}, "backends must be some of onnxruntime, openvino, tensorrt, got none"),
        ({"backends": ["../../etc/passwd"]}, "backends must be some of onnxruntime, openvino, tensorrt, got ../../etc"),
        ({"modalities": {}}, "modalities must be some of language, audio, vision, got none"),
        ({"files": {}}, "files must list graphs/"),
    ],
)
def test_an_inconsistent_manifest_is_refused(
    changes: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    seal(bundle_path, changes)
    with pytest.raises(BundleError, match=rf"{re.escape(message)}.*Export the bundle again"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": []}, "modalities.language.states must contain tokens, got none"),
    ],
)
def test_an_inconsistent_modality_is_refused(
    changes: dict[str, Any], message: str, bundle_path: Path, seal: Callable[..., None]
) -> None:
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    modalities["language"].update(changes)
    seal(bundle_path, {"modalities": modalities})
    with pytest.raises(BundleError, match=re.escape(message)):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[]", ": the document must be an object, got []"),
    ],
)
def test_a_manifest_that_is_not_a_json_object_is_refused(bundle_path: Path, content: bytes, message: str) -> None:
    (bundle_path / "manifest.json").write_bytes(content)
    digest = file_sha256(bundle_path / "manifest.json")
    (bundle_path / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    with pytest.raises(BundleError, match=rf"manifest\.json ?{re.escape(message)}.* Export the bundle again"):
        open_bundle(bundle_path)


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No folder at .*nowhere"):
        open_bundle(tmp_path / "nowhere")


def test_a_folder_without_a_manifest_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a bundle. It has no manifest\.json"):
        open_bundle(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="It is a run"):
        open_bundle(tmp_path)
