"""Find what an ONNX graph reads from other files, before any backend sees it.

A backend follows every reference: ONNX Runtime and OpenVINO read any file, and OpenVINO takes the location
`*/_ORT_MEM_ADDR_/*` as an address in its own memory. Only references into the bundle's weights file may reach them.

The scanner walks the protobuf encoding of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and visits every
tensor: initializers, attributes of nodes, subgraphs, functions, sparse tensors and training graphs. It refuses unknown
fields, wrong types, and repeated fields that may occur only once. Otherwise a backend could find other content in a
file than this scanner does.
"""

from __future__ import annotations

import itertools
from typing import Iterator, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_DEPTH = 60  # nested messages: this project's graphs have 4, protobuf accepts 100
_MAX_RANK = 64  # dimensions of a tensor
_MAX_DIGITS = 18  # integers of this length fit in int64
_MAX_SHOWN = 60
_TRUNCATED = "it ends within a field"
# Bits per element by TensorProto.DataType. Strings cannot be in another file.
_ELEMENT_BITS: dict[int, int] = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # uint8, int8, bool, float8
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((1, 6, 12), 32),  # float, int32, uint32
    **dict.fromkeys((7, 11, 13, 14), 64),  # int64, double, uint64, complex64
    **dict.fromkeys((21, 22, 23), 4),  # uint4, int4, float4
    15: 128,  # complex128
}


class ExternalData(NamedTuple):
    """A tensor in another file: its name, the file's location, and the range of bytes in it."""

    tensor: str
    location: str
    offset: int
    length: int


class _Message(NamedTuple):
    """The fields of a message by tag (number << 3 | wire type), with the name of the message that each contains.

    Fields with other values have an empty name. `single` are the messages that must not be repeated, because a parser
    would merge them.
    """

    fields: dict[int, str]
    single: tuple[int, ...]


def _message(
    *,
    varints: tuple[int, ...] = (),
    texts: tuple[int, ...] = (),
    numbers: tuple[int, ...] = (),
    one: dict[int, str] | None = None,
    many: dict[int, str] | None = None,
) -> _Message:
    """Describe a message by field numbers. `numbers` may be repeated, one by one or in one block."""
    fields = {number << 3 | _VARINT: "" for number in varints}
    fields.update({number << 3 | _BYTES: "" for number in texts})
    fields.update({number << 3 | wire: "" for number in numbers for wire in (_VARINT, _FIXED64, _BYTES, _FIXED32)})
    fields.update({number << 3 | _BYTES: name for number, name in {**(one or {}), **(many or {})}.items()})
    return _Message(fields, tuple(number << 3 | _BYTES for number in one or {}))


_MESSAGES: dict[str, _Message] = {
    "model": _message(
        varints=(1, 5),
        texts=(2, 3, 4, 6, 8, 14, 26),
        one={7: "graph"},
        many={20: "training", 25: "function"},
    ),
    "graph": _message(texts=(2, 10, 11, 12, 13, 14, 16), many={1: "node", 5: "tensor", 15: "sparse tensor"}),
    "node": _message(texts=(1, 2, 3, 4, 6, 7, 8, 9, 10), many={5: "attribute"}),
    "attribute": _message(
        varints=(3, 20),
        texts=(1, 4, 9, 13, 14, 15, 21),
        numbers=(2, 7, 8),
        one={5: "tensor", 6: "graph", 22: "sparse tensor"},
        many={10: "tensor", 11: "graph", 23: "sparse tensor"},
    ),
    "function": _message(texts=(1, 4, 5, 6, 8, 9, 10, 12, 13, 14), many={7: "node", 11: "attribute"}),
    "training": _message(texts=(3, 4), one={1: "graph", 2: "graph"}),
    "sparse tensor": _message(numbers=(3,), one={1: "tensor", 2: "tensor"}),
    "tensor": _message(
        varints=(2, 14),
        texts=(3, 6, 8, 9, 12, 16),
        numbers=(1, 4, 5, 7, 10, 11),
        many={13: "entry"},
    ),
    "entry": _message(texts=(1, 2)),
}
_DIMS = (1 << 3 | _VARINT, 1 << 3 | _BYTES)
_DATA_TYPE, _NAME, _ENTRY, _LOCATION = 2 << 3 | _VARINT, 8 << 3 | _BYTES, 13 << 3 | _BYTES, 14 << 3 | _VARINT
_KEY, _VALUE = 1 << 3 | _BYTES, 2 << 3 | _BYTES
# The fields of a tensor that hold its values inside the graph.
_VALUES = frozenset(
    number << 3 | wire for number in (4, 5, 6, 7, 9, 10, 11) for wire in (_VARINT, _FIXED64, _BYTES, _FIXED32)
)


def find_external_data(content: bytes) -> list[ExternalData]:
    """Return every reference of an ONNX graph to another file.

    Args:
        content: the file of the graph.

    Raises:
        ValueError: the file is not a well-formed ONNX graph, or a reference is incomplete or ambiguous.
    """
    scanner = _Scanner(content)
    try:
        scanner.scan(0, len(content), "model", 0)
    except IndexError:
        raise ValueError(_TRUNCATED) from None
    return scanner.found


class _Scanner:
    """Walks a message and its nested messages, and collects the references."""

    def __init__(self, content: bytes) -> None:
        self.found: list[ExternalData] = []
        self._content = content

    def scan(self, start: int, end: int, name: str, depth: int) -> None:
        """Walk the message `name` in the bytes from `start` to `end`."""
        if depth > _MAX_DEPTH:
            raise ValueError(f"its messages are nested more than {_MAX_DEPTH} deep")
        fields, single = _MESSAGES[name]
        seen = set()
        for tag, first, stop in self._fields(start, end, name):
            nested = fields[tag]
            if not nested:
                continue
            if nested == "tensor":
                self._scan_tensor(first, stop)
            else:
                self.scan(first, stop, nested, depth + 1)
            if tag in single:
                if tag in seen:
                    raise ValueError(f"field {tag >> 3} of a {name} occurs twice")
                seen.add(tag)

    def _scan_tensor(self, start: int, end: int) -> None:
        dims: list[int] = []
        entries: dict[str, str] = {}
        data_type, name, is_external, has_values = 0, "", False, False
        for tag, first, stop in self._fields(start, end, "tensor"):
            if tag == _ENTRY:
                self._add_entry(first, stop, entries)
            elif tag == _LOCATION:
                is_external = is_external or self._varint(first)[0] != 0
            elif tag == _DATA_TYPE:
                data_type = self._varint(first)[0]
            elif tag == _NAME:
                name = self._content[first:stop].decode("utf-8", "replace")
            elif tag in _DIMS:
                dims += itertools.islice(self._integers(first, stop), _MAX_RANK + 1)
            elif tag in _VALUES:
                has_values = True
        if is_external or entries:
            if has_values:
                raise ValueError(f"constant {_shown(name)} is both in the graph and in another file")
            self.found.append(_external_data(name, data_type, dims, entries))

    def _integers(self, start: int, end: int) -> Iterator[int]:
        while start < end:
            value, start = self._varint(start)
            yield value

    def _add_entry(self, start: int, end: int, entries: dict[str, str]) -> None:
        """Add a key and its value."""
        values = {}
        for tag, first, stop in self._fields(start, end, "entry"):
            if tag in values:
                raise ValueError("an entry of a reference to another file has two keys or values")
            values[tag] = self._content[first:stop].decode("utf-8", "backslashreplace")
        key, value = values.get(_KEY, ""), values.get(_VALUE, "")
        if key in entries:
            raise ValueError(f"a reference to another file has {_shown(key)} twice")
        entries[key] = value

    def _fields(self, position: int, end: int, name: str) -> Iterator[tuple[int, int, int]]:
        """Yield the tag of each field of a message, and where its value starts and ends."""
        content, fields = self._content, _MESSAGES[name].fields
        while position < end:
            tag = content[position]
            if tag < 0x80:
                position += 1
            else:
                tag, position = self._varint(position)
            if tag not in fields:
                raise ValueError(f"a {name} has the unknown field {tag >> 3} of wire type {tag & 7}")
            if tag & 7 == _BYTES and content[position] < 0x80:  # most fields are short
                start = position + 1
                position = start + content[position]
            else:
                start, position = self._skip(tag, position)
            if position > end:
                raise ValueError(_TRUNCATED)
            yield tag, start, position

    def _skip(self, tag: int, position: int) -> tuple[int, int]:
        """Return where the value of a field starts and ends."""
        wire = tag & 7
        start = position
        if wire == _BYTES:
            size, start = self._varint(position)
            position = start + size
        elif wire == _VARINT:
            position = self._varint(position)[1]
        else:
            position += 4 if wire == _FIXED32 else 8
        return start, position

    def _varint(self, position: int) -> tuple[int, int]:
        """Return an unsigned integer and the position after it."""
        content = self._content
        byte = content[position]
        if byte < 0x80:
            return byte, position + 1
        value = byte & 0x7F
        for shift in range(7, 70, 7):
            position += 1
            byte = content[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position + 1
        raise ValueError("it has an integer of more than 10 bytes")


def _external_data(name: str, data_type: int, dims: list[int], entries: dict[str, str]) -> ExternalData:
    """Return a reference whose range is exactly the size of its tensor."""
    for key in entries:
        if key not in ("location", "offset", "length"):
            raise ValueError(f"constant {_shown(name)} has the unknown entry {_shown(key)}")
    for key in ("location", "length"):
        if key not in entries:
            raise ValueError(f"constant {_shown(name)} is in another file, but has no {key}")
    offset, length = (_integer(name, key, entries.get(key, "0")) for key in ("offset", "length"))
    bits = _ELEMENT_BITS.get(data_type)
    if bits is None:
        raise ValueError(f"constant {_shown(name)} of type {data_type} cannot be in another file")
    for number, size in enumerate(dims):
        bits *= size
        if number >= _MAX_RANK or bits >= 1 << 63:  # a negative size is at least 2**63 in this encoding
            raise ValueError(f"constant {_shown(name)} has an invalid shape")
    if (bits + 7) // 8 != length:
        raise ValueError(
            f"constant {_shown(name)} needs {(bits + 7) // 8} bytes, but refers to {length} in another file"
        )
    return ExternalData(name, entries["location"], offset, length)


def _integer(name: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise ValueError(f"{key} of constant {_shown(name)} must be a non-negative integer, got {_shown(text)}")
    return int(text)


def _shown(text: str) -> str:
    """Return a text from the file for a message: short, with control characters escaped."""
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
