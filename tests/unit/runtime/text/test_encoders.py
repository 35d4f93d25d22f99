from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import BundleError, UsageError, load
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import toy_text

MakeTextBundle = Callable[[str], Path]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_table_gives_the_rows_of_the_tokens(
    make_text_bundle: MakeTextBundle, expected: Callable[..., Any], backend: str
) -> None:
    pytest.importorskip(backend)
    with load(make_text_bundle("table"), backend) as session:
        for text in ("I love it!", "hate", "not the films", "unknown-of"):
            score = expected({"language": toy_text.encode_text(text, "table")})[0]
            assert_close_to_scale(session.predict(text=text).score, score)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_graph_encodes_the_text_with_special_tokens(
    make_text_bundle: MakeTextBundle, expected: Callable[..., Any], backend: str
) -> None:
    pytest.importorskip(backend)
    with load(make_text_bundle("encoder"), backend) as session:
        for text in ("i love it", "not the films at all !", "it"):  # the second needs the longer graph
            score = expected({"language": toy_text.encode_text(text, "encoder")})[0]
            assert_close_to_scale(session.predict(text=text).score, score)


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_a_list_of_words_equals_the_joined_text(make_text_bundle: MakeTextBundle, text_encoder: str) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        assert session.predict(text=["i", "love", "it"]).outputs == session.predict(text="i love it").outputs


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_text_and_frames_of_other_modalities_combine(
    make_text_bundle: MakeTextBundle,
    frames: Callable[..., Any],
    expected: Callable[..., Any],
    text_encoder: str,
) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        inputs = {"language": frames("language", 5), "audio": frames("audio", 6)}
        assert_close_to_scale(session.predict(**inputs).score, expected(inputs)[0])
        rows = toy_text.encode_text("i love it", text_encoder)
        prediction = session.predict(text="i love it", audio=inputs["audio"])
        assert_close_to_scale(prediction.score, expected({**inputs, "language": rows})[0])
        assert prediction.subset == "la"


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\x00\x01"])
def test_a_text_without_tokens_is_absent(
    make_text_bundle: MakeTextBundle, frames: Callable[..., Any], text_encoder: str, text: str
) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        assert session.predict(text=text, audio=frames("audio", 6)).subset == "a"
        with pytest.raises(UsageError, match="No modality has a valid frame, and text has no tokens"):
            session.predict(text=text)


def test_text_and_language_together_are_refused(make_text_bundle: MakeTextBundle, frames: Callable[..., Any]) -> None:
    message = "Pass text or language, not both"
    with load(make_text_bundle("table")) as session, pytest.raises(UsageError, match=message):
        session.predict(text="love", language=frames("language", 2))


@pytest.mark.parametrize("text", [b"love", 3, ["love", 3]])
def test_text_of_another_type_is_refused(make_text_bundle: MakeTextBundle, text: Any) -> None:
    with load(make_text_bundle("table")) as session:
        with pytest.raises(UsageError, match="text must be a string or a list of words"):
            session.predict(text=text)
        with pytest.raises(UsageError, match="text must be a string or a list of words"):
            session.create_stream().push_text(text)


def test_a_mask_for_text_is_refused(make_text_bundle: MakeTextBundle) -> None:
    message = "valid has a mask for 'language', which has no frames"
    with load(make_text_bundle("table")) as session, pytest.raises(UsageError, match=message):
        session.predict(text="love", valid={"language": np.ones(1, bool)})


def test_a_bundle_without_a_text_encoder_refuses_text(shared_bundle: Path) -> None:
    with load(shared_bundle) as session:
        with pytest.raises(UsageError, match=r"This bundle does not accept text. Pass frames of language"):
            session.predict(text="i love it")
        with pytest.raises(UsageError, match=r"This bundle does not accept text. Pass frames of language"):
            session.create_stream().push_text(["i"])
        with pytest.raises(UsageError, match=r"This bundle does not accept text. Pass frames of language"):
            session.count_tokens("i")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer.json", b"{}", "tokenizer.json is not a tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json is not a tokenizer"),
        ("table.npz", b"PK", r"table\.npz is not an \.npz archive, or is truncated\. Export the bundle again"),
        ("table.npz", {"rows": (12, 2)}, r"must have rows int8 \(V, 4\) and scales \(V,\), got rows int8 \(12, 2\)"),
        ("table.npz", {"dtype": "f4"}, "got rows float32"),
        ("table.npz", {"rows": (3, 4)}, "Token ids must be less than the 3 rows of the table, got 5"),
    ],
)
def test_a_damaged_text_file_is_refused_by_name(
    make_text_bundle: MakeTextBundle,
    seal: Callable[..., None],
    file: str,
    content: Any,
    message: str,
) -> None:
    folder = make_text_bundle("table")
    path = folder / "language" / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        rows = toy_text.ROWS.astype(content.get("dtype", "i1"))[tuple(slice(size) for size in content.get("rows", ()))]
        np.savez(path, rows=rows, scales=toy_text.SCALES[: len(rows)])
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, f"language/{file}": file_sha256(path)}})
    with pytest.raises(BundleError, match=message):
        load(folder).predict(text="i love it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_encoder": "other"}, r"language\.text_encoder must be one of table, encoder, got 'other'"),
        ({"table": ""}, r"language\.table must be set for a table"),
        ({"text_encoder": "encoder"}, r"language\.table must be set for a table and empty for an encoder"),
        ({"max_tokens": 0}, r"language\.max_tokens must be at least 1, got 0"),
        ({"tokenizer": "language/absent.json"}, r"files must list language/absent\.json"),
    ],
)
def test_an_inconsistent_text_spec_is_refused(
    make_text_bundle: MakeTextBundle, seal: Callable[..., None], changes: dict[str, Any], message: str
) -> None:
    folder = make_text_bundle("table")
    language = json.loads((folder / "manifest.json").read_text("utf-8"))["language"]
    seal(folder, {"language": {**language, **changes}})
    with pytest.raises(BundleError, match=rf"{message}.*Export the bundle again"):
        open_bundle(folder)
