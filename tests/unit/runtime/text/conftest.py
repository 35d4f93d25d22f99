"""TextTokenizer at the device: a toy tokenizer, a table of twelve rows, and an encoder whose frames depend on every word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edge_msa_runtime.bundle.hashing import file_sha256

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "i", "love", "it", "hate", "film", "##s", "!", "not", "the"]
MAX_TOKENS, DIM = 10, 4
RNG = np.random.default_rng(2)
ROWS = RNG.integers(-127, 128, size=(len(VOCABULARY), DIM)).astype(np.int8)
SCALES = RNG.uniform(0.01, 0.03, size=len(VOCABULARY)).astype("f4")
FLOATS = (ROWS * SCALES[:, None]).astype("f4")


class Toy:
    """What the toy text encoders are made of: int8 `rows` (12, 4) with `scales`, as `floats`; texts of `max_tokens` tokens."""

    rows, scales, floats, max_tokens, dim = ROWS, SCALES, FLOATS, MAX_TOKENS, DIM

    @staticmethod
    def ids(text: str, *, special: bool = False) -> list[int]:
        """The ids of a text."""
        made = _tokenizer()
        made.no_padding()
        ids: list[int] = made.encode(text, add_special_tokens=special).ids
        return ids

    @staticmethod
    def encoded(ids: list[int]) -> Any:
        """The encoder's frames of some ids."""
        return FLOATS[ids] + 0.1 * FLOATS[ids].sum(axis=0)


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def make(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> Callable[..., Path]:
    """The usual bundle of language and audio, which reads words by a `table` or a `graph`."""

    def write(text_encoder: str, names: tuple[str, ...] = ("language", "audio")) -> Path:
        folder = make_bundle(names=names)
        (folder / "language").mkdir()
        _tokenizer().save(str(folder / "language/tokenizer.json"))
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        added = ["language/tokenizer.json"]
        if text_encoder == "table":
            np.savez(folder / "language/table.npz", rows=ROWS, scales=SCALES)
            added.append("language/table.npz")
        for length in (6, MAX_TOKENS) if text_encoder == "graph" else ():
            added.append(f"graphs/text_encoder.{length}.onnx")
            _write_text_encoder(folder / added[-1], length)
            manifest["graphs"] += [
                {
                    **manifest["graphs"][0],
                    "backend": backend,
                    "role": "text_encoder",
                    "modalities": ["language"],
                    "length": length,
                    "file": added[-1],
                }
                for backend in manifest["backends"]
            ]
        seal(
            folder,
            {
                "graphs": manifest["graphs"],
                "files": {**manifest["files"], **{name: file_sha256(folder / name) for name in added}},
                "language": {
                    "tokenizer": added[0],
                    "text_encoder": text_encoder,
                    "table": "language/table.npz" if text_encoder == "table" else "",
                    "max_tokens": MAX_TOKENS,
                    "parity": 0.0,
                },
            },
        )
        return folder

    return write


def _tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token=VOCABULARY[0]))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    made.enable_padding(length=MAX_TOKENS)  # a file may ask for padding, which nobody here wants
    return made


def _write_text_encoder(path: Path, length: int) -> None:
    """Rows of the table plus a tenth of the sum of all valid ones."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Unsqueeze", ["valid", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"]),
        helper.make_node("Mul", ["sum", "tenth"], ["part"]),
        helper.make_node("Add", ["rows", "part"], ["frames"]),
    ]
    values = {"table": FLOATS, "last": np.array([2]), "middle": np.array([1]), "tenth": np.array(0.1, "f4")}
    told = [("ids", TensorProto.INT64, [1, length]), ("valid", TensorProto.FLOAT, [1, length])]
    graph = helper.make_graph(
        nodes,
        "text_encoder",
        [helper.make_tensor_value_info(*item) for item in told],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, length, DIM])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
