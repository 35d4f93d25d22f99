"""An OpenVINO IR may read nothing but the constants in its own weights file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.openvino_files import find_constant_ranges
from edge_msa_runtime.errors import BundleError

pytestmark = pytest.mark.case("D1")

CONSTANT = '<data element_type="f32" shape="2, 3" offset="8" size="24" />'


def ir(
    data: str = CONSTANT,
    *,
    head: str = '<?xml version="1.0"?>',
    layer: str = 'type="Const" version="opset1"',
    more: str = "",
    net: str = 'version="11"',
) -> bytes:
    """Return an IR with one constant `w`."""
    return (
        f'{head}<net name="n" {net}><layers><layer id="0" name="w" {layer}>{data}</layer>{more}</layers></net>'.encode()
    )


def test_the_ranges_of_constants_are_found() -> None:
    scalar = CONSTANT.replace("f32", "i64").replace('"2, 3"', '""').replace('"8"', '"0"').replace('"24"', '"8"')
    inner = f'<layer id="1" name="s" type="Const" version="opset1">{scalar}</layer>'
    body = f'<layer id="2" name="t" type="If" version="opset8"><then_body><layers>{inner}</layers></then_body></layer>'
    assert find_constant_ranges(ir(more=body)) == [("w", 8, 24), ("s", 0, 8)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ir(CONSTANT.replace('"8"', '"-8"')), "must be non-negative integers"),
        (ir(CONSTANT.replace('"8"', '"18446744073709551608"')), "must be non-negative integers"),
        (ir(CONSTANT.replace('offset="8" ', "")), "must be non-negative integers"),
        (ir(CONSTANT.replace('"24"', '"2400"')), "needs 24 bytes, but refers to 2400"),
        (ir(CONSTANT.replace("2, 3", "2, -3")), "invalid type or shape"),
        (ir(CONSTANT.replace("2, 3", "999999999999999999,999999999999999999,9")), "but refers to 24"),
        (ir(CONSTANT.replace("f32", "string")), "invalid type or shape"),
        (ir(CONSTANT.replace("offset", 'offset="8" offset')), "duplicate attribute"),
        (ir(layer='type="Constant" version="opset1"'), "unknown type 'Constant'"),
        (ir(layer='type="Result" version="opset1"'), "is not a constant, but reads from the weights file"),
        (ir(layer='type="Const" version="extension"'), "must be of a numbered opset, got 'extension'"),
        (ir(net='version="7"'), "must be an OpenVINO IR of version 10 or 11"),
        (ir(more="<weights/>"), "weights could refer to another file"),
        (
            ir(more='<rt_info><__weights_path value="/etc/passwd"/></rt_info>'),
            "__weights_path could refer to another file",
        ),
        (ir(more='<data model_file="/etc/passwd"/>'), "model_file could refer to another file"),
        (ir(head='<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>'), "has a document type"),
        (ir(head='<?xml version="1.0" encoding="latin-1"?>'), "encoding must be UTF-8, got latin-1"),
        (ir().decode().encode("utf-16"), "encoding must be UTF-8"),
        (ir()[:-9], "not valid XML"),
        (ir(more="<a>" * 200 + "</a>" * 200), "nested more than 100 deep"),
        (b"", "not valid XML"),
    ],
)
def test_any_other_reference_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_constant_ranges(content)


@pytest.mark.parametrize(
    ("backend", "size", "weights", "message"),
    [
        ("openvino", 32, "graphs/fuse.bin", ""),
        ("openvino", 31, "graphs/fuse.bin", "'w' refers to bytes 8 to 32 of graphs/fuse.bin, which has 31 bytes"),
        ("openvino", 32, "", "its weights must be graphs/fuse.bin, got none"),
        ("openvino", 32, "graphs/other.bin", "its weights must be graphs/fuse.bin, got graphs/other.bin"),
        ("onnxruntime", 32, "graphs/fuse.bin", "must be an .onnx file"),
    ],
)
def test_constants_must_be_within_the_weights(
    make_bundle: Callable[..., Path], seal: Callable[..., None], backend: str, size: int, weights: str, message: str
) -> None:
    folder = make_bundle(names=("language",), backends=(backend,))
    (folder / "graphs/fuse.onnx").unlink()
    contents = {"graphs/fuse.xml": ir(), "graphs/fuse.bin": bytes(size), "graphs/other.bin": bytes(size)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    files = {**manifest["files"], **{name: file_sha256(folder / name) for name in contents}}
    del files["graphs/fuse.onnx"]
    (graph,) = (graph for graph in manifest["graphs"] if graph["role"] == "fuse")
    graph.update(file="graphs/fuse.xml", weights=weights)
    seal(folder, {"files": files, "graphs": manifest["graphs"]})
    if not message:
        open_bundle(folder)
        return
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)
