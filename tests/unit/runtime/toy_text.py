"""Toy text encoders: a tokenizer, a table of twelve rows, and a graph whose frames depend on all words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_msa_runtime.bundle.hashing import file_sha256
from tests.unit.runtime.fake_bundles import DIMS, seal

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "i", "love", "it", "hate", "film", "##s", "!", "not", "the"]
MAX_TOKENS, SHORT_LENGTH = 10, 6
RNG = np.random.default_rng(2)
ROWS = RNG.integers(-127, 128, size=(len(VOCABULARY), DIMS["language"])).astype(np.int8)
SCALES = RNG.uniform(0.01, 0.03, size=len(VOCABULARY)).astype("f4")
FLOATS = (ROWS * SCALES[:, None]).astype("f4")


def token_ids(text: str, *, special: bool = False) -> list[int]:
    """Return the token ids of a text, not cut off."""
    tokenizer = _tokenizer()
    tokenizer.no_padding()
    ids: list[int] = tokenizer.encode(text, add_special_tokens=special).ids
    return ids


def encode_text(text: str, text_encoder: str, earlier: Sequence[str] = ()) -> Any:
    """Return the frames (n, d) that a `table` or an `encoder` computes from a text.

    `earlier` are the utterances that the encoder reads, the newest last.
    """
    ids = token_ids(text, special=text_encoder == "encoder")
    rows = FLOATS[ids]
    if text_encoder == "table":
        return rows
    read = [token for item in reversed(earlier) for token in (*token_ids(item), VOCABULARY.index("[SEP]"))]
    return rows + 0.1 * FLOATS[[*ids, *read]].sum(axis=0)


def add_text_encoder(folder: Path, text_encoder: str, context: int = 0) -> None:
    """Add a text encoder, a `table` or an `encoder`, to a fake bundle with the language modality.

    An encoder reads `context` earlier utterances.
    """
    (folder / "language").mkdir()
    _tokenizer().save(str(folder / "language/tokenizer.json"))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    added = ["language/tokenizer.json"]
    if text_encoder == "table":
        np.savez(folder / "language/table.npz", rows=ROWS, scales=SCALES)
        added.append("language/table.npz")
    for length in (SHORT_LENGTH, MAX_TOKENS) if text_encoder == "encoder" else ():
        added.append(f"graphs/text_encoder-{length}.onnx")
        _write_text_encoder(folder / added[-1], length)
        key = {"role": "text_encoder", "modalities": ["language"], "length": length, "batch": 1}
        manifest["graphs"] += [
            {**manifest["graphs"][0], "backend": backend, **key, "file": added[-1]} for backend in manifest["backends"]
        ]
    language = {
        "tokenizer": added[0],
        "text_encoder": text_encoder,
        "table": "language/table.npz" if text_encoder == "table" else "",
        "max_tokens": MAX_TOKENS,
        "parity": 0.0,
        **({"context": context} if context else {}),
    }
    files = {**manifest["files"], **{name: file_sha256(folder / name) for name in added}}
    seal(folder, {"graphs": manifest["graphs"], "files": files, "language": language})


def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=VOCABULARY[0]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.enable_padding(length=MAX_TOKENS)  # a file may enable padding, which the runtime must disable
    return tokenizer


def _write_text_encoder(path: Path, length: int) -> None:
    """Write a graph that adds a tenth of the sum of all valid rows to each row of the table."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Unsqueeze", ["valid", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sum"]),
        helper.make_node("Mul", ["sum", "tenth"], ["part"]),
        helper.make_node("Add", ["rows", "part"], ["frames"]),
    ]
    values = {"table": FLOATS, "last": np.array([2]), "middle": np.array([1]), "tenth": np.array(0.1, "f4")}
    inputs = [("ids", TensorProto.INT64, [1, length]), ("valid", TensorProto.FLOAT, [1, length])]
    graph = helper.make_graph(
        nodes,
        "text_encoder",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, length, DIMS["language"]])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
