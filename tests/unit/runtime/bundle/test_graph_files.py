"""Graphs that refer to anything but their own weights are refused before a backend sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from edge_msa_runtime import BundleError, load
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.onnx_files import _MESSAGES, find_external_data
from tests.tolerances import assert_close_to_scale

pytestmark = pytest.mark.case("D1")

FILE, WEIGHTS = "graphs/fuse.onnx", "graphs/w.bin"
WEIGHTS_BYTES = 4096
Seal = Callable[..., None]


def external(**entries: str) -> onnx.TensorProto:
    """Return a float constant (4,) in another file."""
    tensor = TensorProto()
    tensor.name, tensor.data_type, tensor.data_location = "secret", TensorProto.FLOAT, TensorProto.EXTERNAL
    tensor.dims.extend([4])
    for key, value in {"location": "w.bin", "offset": "0", "length": "16", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def with_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.initializer.append(tensor)


def with_attribute(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def with_attribute_list(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="list", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.append(tensor)


def with_subgraph(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["secret"], ["out"])], "body", [], [], [tensor])
    inner = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=body)], "outer", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], else_branch=inner))


def with_function(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    model.functions.append(helper.make_function("local", "f", [], ["y"], [node], [helper.make_opsetid("", 17)]))


def with_function_attribute(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    function = model.functions.add(name="f", domain="local")
    function.attribute_proto.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)


def with_sparse_values(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.sparse_initializer.add(dims=[9]).values.CopyFrom(tensor)


def with_sparse_indices(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.indices.CopyFrom(tensor)


def with_training(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [
    with_initializer,
    with_attribute,
    with_attribute_list,
    with_subgraph,
    with_function,
    with_function_attribute,
    with_sparse_values,
    with_sparse_indices,
    with_training,
]


def change_graph(folder: Path, seal: Seal, content: bytes, *, weights: str = WEIGHTS, file: str = FILE) -> None:
    """Replace a graph, add the weights, and make the bundle consistent with its manifest."""
    (folder / file).write_bytes(content)
    (folder / WEIGHTS).write_bytes(bytes(WEIGHTS_BYTES))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    files = {**manifest["files"], **{name: file_sha256(folder / name) for name in (file, WEIGHTS)}}
    graphs = [{**graph, "weights": weights} if graph["file"] == FILE else graph for graph in manifest["graphs"]]
    graphs = [{**graph, "file": file} if graph["file"] == FILE else graph for graph in graphs]
    seal(folder, {"files": files, "graphs": graphs})


def changed_model(folder: Path, change: Callable[..., None], tensor: onnx.TensorProto) -> bytes:
    model = onnx.load(folder / FILE)
    change(model, tensor)
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "*/_ORT_MEM_ADDR_/*", "offset": "140737488355328"}, "refers to '*/_ORT_MEM_ADDR_/*'"),
        ({"location": "../manifest.json"}, "refers to '../manifest.json', but a graph may only refer to w.bin"),
        ({"offset": "4084"}, "refers to bytes 4084 to 4100 of graphs/w.bin, which has 4096 bytes"),
    ],
)
def test_a_reference_outside_the_weights_is_refused_wherever_it_is(
    bundle_path: Path, seal: Seal, place: Callable[..., None], entries: dict[str, str], message: str
) -> None:
    change_graph(bundle_path, seal, changed_model(bundle_path, place, external(**entries)))
    with pytest.raises(BundleError) as caught:
        load(bundle_path, "onnxruntime")
    assert str(caught.value).startswith(f"{FILE} cannot be used: constant 'secret' ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("Do not use the bundle; export it again.")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "/etc/hostname"}, "refers to '/etc/hostname'"),
        ({"location": ""}, "refers to ''"),
        ({"location": "W.BIN"}, "refers to 'W.BIN'"),
        ({"location": "w.bin\0"}, r"refers to 'w.bin\x00'"),
        ({"location": "./w.bin"}, "refers to './w.bin'"),
        ({"location": "fuse.onnx"}, "refers to 'fuse.onnx'"),
        ({"offset": "-16"}, "offset of constant 'secret' must be a non-negative integer, got '-16'"),
        ({"offset": "18446744073709551600"}, "must be a non-negative integer, got '18446744073709551600'"),
        ({"offset": "999999999999999999"}, "refers to bytes 999999999999999999"),
        ({"offset": "0x10"}, "must be a non-negative integer, got '0x10'"),
        ({"offset": "\u0661"}, r"must be a non-negative integer, got '\u0661'"),
        ({"offset": " 1"}, "must be a non-negative integer, got ' 1'"),
        ({"length": "0"}, "needs 16 bytes, but refers to 0"),
        ({"length": "32"}, "needs 16 bytes, but refers to 32"),
        ({"basepath": "/etc"}, "has the unknown entry 'basepath'"),
    ],
)
def test_an_ambiguous_reference_is_refused(
    bundle_path: Path, seal: Seal, entries: dict[str, str], message: str
) -> None:
    change_graph(bundle_path, seal, changed_model(bundle_path, with_initializer, external(**entries)))
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle_path)
    assert message in str(caught.value)


def _without_location(tensor: onnx.TensorProto) -> None:
    del tensor.external_data[0]


def _with_two_offsets(tensor: onnx.TensorProto) -> None:
    tensor.external_data.add(key="offset", value="1000000")


def _with_no_flag(tensor: onnx.TensorProto) -> None:
    tensor.data_location = TensorProto.DEFAULT
    tensor.external_data[0].value = "/etc/hostname"


def _with_values(tensor: onnx.TensorProto) -> None:
    tensor.raw_data = bytes(16)


def _with_a_negative_shape(tensor: onnx.TensorProto) -> None:
    tensor.dims[:] = [-4]


def _with_an_overflowing_shape(tensor: onnx.TensorProto) -> None:
    tensor.dims[:] = [1 << 32, 1 << 31, 4]


def _with_strings(tensor: onnx.TensorProto) -> None:
    tensor.data_type = TensorProto.STRING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_location, "has no location"),
        (_with_two_offsets, "has 'offset' twice"),
        (_with_no_flag, "refers to '/etc/hostname'"),
        (_with_values, "is both in the graph and in another file"),
        (_with_a_negative_shape, "has an invalid shape"),
        (_with_an_overflowing_shape, "has an invalid shape"),
        (_with_strings, "of type 8 cannot be in another file"),
    ],
)
def test_an_inconsistent_constant_is_refused(
    bundle_path: Path, seal: Seal, change: Callable[[onnx.TensorProto], None], message: str
) -> None:
    tensor = external()
    change(tensor)
    change_graph(bundle_path, seal, changed_model(bundle_path, with_initializer, tensor))
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle_path)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def _nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        length = len(content)
        size = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
        content = b"\x32" + size + content  # a subgraph
        length = len(content)
        content = b"\x2a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + content
        length = len(content)
        content = b"\x0a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + content
    length = len(content)
    return b"\x3a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x3a\x05\x0a", "it ends within a field"),
        (b"\x08", "it ends within a field"),
        (b"\x08" + b"\xff" * 11, "more than 10 bytes"),
        (b"<?xml version='1.0'?><net/>", "unknown field 7 of wire type 4"),
        (_field(7, b"") * 2, "field 7 of a model occurs twice"),
        (_field(7, _field(1, _field(5, _field(5, b"") * 2))), "field 5 of a attribute occurs twice"),
        (_field(15, b""), "unknown field 15"),
        (_nested(40), "nested more than 60 deep"),
    ],
)
def test_a_malformed_graph_is_refused(bundle_path: Path, seal: Seal, content: bytes, message: str) -> None:
    change_graph(bundle_path, seal, content)
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("file", "weights", "message"),
    [
        (FILE, "golden.npz", "its weights must be graphs/w.bin, got golden.npz"),
        ("graphs/fuse.ort", WEIGHTS, "must be an .onnx file"),
        ("graphs/fuse.xml", WEIGHTS, "must be an .onnx file"),
    ],
)
def test_other_kinds_of_files_are_refused(bundle_path: Path, seal: Seal, file: str, weights: str, message: str) -> None:
    change_graph(bundle_path, seal, (bundle_path / FILE).read_bytes(), weights=weights, file=file)
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle_path)


def test_a_reference_without_weights_in_the_manifest_is_refused(bundle_path: Path, seal: Seal) -> None:
    change_graph(bundle_path, seal, changed_model(bundle_path, with_initializer, external()), weights="")
    with pytest.raises(BundleError, match="nothing, because the manifest names no weights"):
        open_bundle(bundle_path)


def test_a_reference_within_the_weights_is_loaded(
    bundle_path: Path, seal: Seal, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    model = onnx.load(bundle_path / FILE)
    (position,) = (index for index, tensor in enumerate(model.graph.initializer) if tensor.name == "language.weight")
    tensor = model.graph.initializer[position]
    values = onnx.numpy_helper.to_array(tensor)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "64", "length": str(values.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    change_graph(bundle_path, seal, model.SerializeToString())
    (bundle_path / WEIGHTS).write_bytes(bytes(64) + np.ascontiguousarray(values).tobytes())
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, WEIGHTS: file_sha256(bundle_path / WEIGHTS)}})
    with load(bundle_path, "onnxruntime") as session:
        stream = session.create_stream()
        stream.push("language", frames("language", 5))
        outputs = stream.predict().outputs
    assert_close_to_scale(outputs, expected({"language": frames("language", 5)}))


def test_the_scanner_knows_every_field_of_onnx() -> None:
    kinds: dict[str, Any] = {
        "model": onnx.ModelProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "function": onnx.FunctionProto,
        "training": onnx.TrainingInfoProto,
        "sparse tensor": onnx.SparseTensorProto,
        "tensor": onnx.TensorProto,
        "entry": onnx.StringStringEntryProto,
    }
    names = {kind.DESCRIPTOR.name: name for name, kind in kinds.items() if name != "entry"}
    for name, kind in kinds.items():
        nested = {tag >> 3: inner for tag, inner in _MESSAGES[name].fields.items()}
        for field in kind.DESCRIPTOR.fields:
            assert field.number in nested, (name, field.name)
            inner = names.get(field.message_type.name, "") if field.message_type else ""
            assert nested[field.number] in (inner, "entry"), (name, field.name)


def test_random_changes_never_hide_a_reference_from_the_scanner(bundle_path: Path) -> None:
    content = changed_model(bundle_path, with_subgraph, external(location="elsewhere"))
    generator = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        changed[generator.integers(len(changed))] = generator.integers(256)
        try:
            found = {item.location for item in find_external_data(bytes(changed))}
        except ValueError:
            continue
        model = onnx.ModelProto()
        try:
            model.ParseFromString(bytes(changed))
        except DecodeError:
            continue
        body = next((item.g for item in model.graph.node[-1].attribute if item.name == "else_branch"), None)
        if body is not None and body.node and body.node[0].attribute:
            inner = body.node[0].attribute[0].g.initializer
            entries = [entry for item in inner for entry in item.external_data if entry.key == "location"]
            assert found == {_text(entry.value) for entry in entries}


def _text(value: str | bytes) -> str:
    """Return a string of protobuf, which is bytes if it is not valid UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
