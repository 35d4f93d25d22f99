"""Find what an OpenVINO IR (`.xml`) reads from its weights file, before any backend sees it.

Only versions 10 and 11 of the format are read, with operators of numbered opsets: an operator of an extension, and an
attribute that names a file or path, could make OpenVINO read something else.
"""

from __future__ import annotations

import re
from typing import Mapping
from xml.parsers import expat

_MAX_DEPTH = 100
_MAX_DIGITS = 18  # integers of this length fit in int64
_VERSIONS = ("10", "11")
_OPSET = re.compile(r"opset\d{1,3}")
_SHAPE = re.compile(r"\s*|\s*\d{1,18}\s*(,\s*\d{1,18}\s*)*")
_FILE_NAMES = re.compile("path|file|location", re.IGNORECASE)
# Elements of older versions that refer to the weights file.
_OLD_REFERENCES = ("weights", "biases", "blobs", "custom")
_ELEMENT_BITS: Mapping[str, int] = {
    **dict.fromkeys(("u1",), 1),
    **dict.fromkeys(("u4", "i4", "nf4", "f4e2m1"), 4),
    **dict.fromkeys(("u8", "i8", "boolean", "f8e4m3", "f8e5m2", "f8e8m0"), 8),
    **dict.fromkeys(("u16", "i16", "f16", "bf16"), 16),
    **dict.fromkeys(("u32", "i32", "f32"), 32),
    **dict.fromkeys(("u64", "i64", "f64"), 64),
}


def find_constant_ranges(content: bytes) -> list[tuple[str, int, int]]:
    """Return the name, offset and length of every constant of an OpenVINO IR in its weights file.

    Args:
        content: the `.xml` file.

    Raises:
        ValueError: the file is not a well-formed IR, a constant is invalid, or the file refers to anything else.
    """
    if b"\0" in content:  # in UTF-16 and UTF-32, but never in XML in UTF-8
        raise ValueError("its encoding must be UTF-8")
    scanner = _Scanner()
    parser = expat.ParserCreate("UTF-8")
    parser.StartElementHandler = scanner.start
    parser.EndElementHandler = scanner.end
    parser.StartDoctypeDeclHandler = scanner.refuse_doctype
    parser.XmlDeclHandler = scanner.check_declaration
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not valid XML: {error}") from error
    return scanner.ranges


class _Scanner:
    def __init__(self) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self._open: list[tuple[str, dict[str, str]]] = []

    def refuse_doctype(self, *_: object) -> None:
        raise ValueError("it has a document type, which can refer to other files")

    def check_declaration(self, _: str, encoding: str | None, __: int) -> None:
        # expat reads UTF-8 here, whatever the file declares; OpenVINO must not read it in another way.
        if (encoding or "utf-8").lower() != "utf-8":
            raise ValueError(f"its encoding must be UTF-8, got {encoding}")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._open and (tag != "net" or attributes.get("version") not in _VERSIONS):
            raise ValueError(f"it must be an OpenVINO IR of version {' or '.join(_VERSIONS)}")
        if len(self._open) >= _MAX_DEPTH:
            raise ValueError(f"its elements are nested more than {_MAX_DEPTH} deep")
        for name in (tag, *attributes):
            if _FILE_NAMES.search(name):
                raise ValueError(f"{name} could refer to another file")
        if tag in _OLD_REFERENCES:
            raise ValueError(f"{tag} could refer to another file")
        parent, layer = self._open[-1] if self._open else ("", {})
        if tag == "layer":
            self._check_layer(attributes)
        elif tag == "data" and parent == "layer":
            self._add_data(layer, attributes)
        self._open.append((tag, attributes))

    def end(self, _: str) -> None:
        self._open.pop()

    def _check_layer(self, layer: Mapping[str, str]) -> None:
        if not _OPSET.fullmatch(layer.get("version", "")):
            raise ValueError(f"layer {_name(layer)} must be of a numbered opset, got {layer.get('version', '')[:60]!a}")
        kind = layer.get("type", "")
        if kind != "Const" and kind.lower() in ("const", "constant"):
            raise ValueError(f"layer {_name(layer)} has the unknown type {kind!a}")

    def _add_data(self, layer: Mapping[str, str], data: Mapping[str, str]) -> None:
        if layer.get("type") != "Const":
            if "offset" in data and "size" in data:
                raise ValueError(f"layer {_name(layer)} is not a constant, but reads from the weights file")
            return
        numbers = [data.get(key, "") for key in ("offset", "size")]
        if not all(re.fullmatch(rf"[0-9]{{1,{_MAX_DIGITS}}}", number) for number in numbers):
            raise ValueError(f"offset and size of constant {_name(layer)} must be non-negative integers, got {numbers}")
        bits = _ELEMENT_BITS.get(data.get("element_type", ""))
        shape = data.get("shape", "")
        if bits is None or not _SHAPE.fullmatch(shape):
            raise ValueError(f"constant {_name(layer)} has an invalid type or shape")
        for size in shape.split(",") if shape.strip() else ():
            bits = min(bits * int(size), 1 << 70)
        offset, length = (int(number) for number in numbers)
        if (bits + 7) // 8 != length:
            raise ValueError(f"constant {_name(layer)} needs {(bits + 7) // 8} bytes, but refers to {length}")
        self.ranges.append((layer.get("name", ""), offset, length))


def _name(layer: Mapping[str, str]) -> str:
    return ascii(layer.get("name", "")[:60])
