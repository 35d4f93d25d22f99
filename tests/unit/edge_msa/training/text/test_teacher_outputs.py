from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextModel, TransformerTextEncoder
from edge_msa.training.text.frame_encoder import text_frames
from edge_msa.training.text.teacher_outputs import (
    TokenRows,
    compute_outputs,
    compute_table,
    load_or_compute_mean_frames,
    token_embeddings,
)
from edge_msa.training.text.train import predict_texts
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import (
    QUICK,
    make_encoder_input,
    make_table_input,
)


def test_table_rows_of_similar_tokens_are_close() -> None:
    tokenizer = TextTokenizer(train_wordpiece_tokenizer(["aa bb cc"] * 3), 16, special=False)
    tokens = ("aa", "bb", "cc", "elsewhere")
    means = np.array([[1, 0, 5], [1.1, 0, 5], [-1, 0.5, 5], [0, 0, 5]], np.float32)
    rows = compute_table(TokenRows(tokens, means, np.array([5, 5, 5, 1])), tokenizer, 2)
    by_token = {token: rows[tokenizer.vocabulary.index(token)] for token in ("aa", "bb", "cc")}
    assert np.linalg.norm(by_token["aa"] - by_token["bb"]) < 0.2 * np.linalg.norm(by_token["aa"] - by_token["cc"])
    assert not rows[tokenizer.unknown].any()


def test_teacher_outputs_contain_predictions_and_mean_frames(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    texts = ["love it", "it"]
    outputs = compute_outputs(model, text_input, texts)
    assert_close_to_scale(
        torch.from_numpy(outputs.predictions), torch.from_numpy(predict_texts(model, text_input, texts))
    )
    frames = text_frames(text_input)(texts).take()
    index = outputs.mean_frames.tokens.index("it")
    assert outputs.mean_frames.counts[index] == 2
    mean = torch.from_numpy((frames[0, 2] + frames[1, 1]) / 2)
    assert_close_to_scale(torch.from_numpy(outputs.mean_frames.rows[index]), mean)


def test_teacher_outputs_in_bf16_are_close_to_those_in_float32(toy_encoder: Path) -> None:
    text_input, texts = make_encoder_input(toy_encoder), ["love it", "it"]
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    exact = compute_outputs(model, text_input, texts)
    rounded = compute_outputs(model, text_input, texts, batch_size=2, precision="bf16")
    assert not np.array_equal(exact.mean_frames.rows, rounded.mean_frames.rows)
    for first, second in ((exact.predictions, rounded.predictions), (exact.mean_frames.rows, rounded.mean_frames.rows)):
        assert np.abs(first - second).max() < 0.05 * np.abs(first).max()


def test_mean_frames_of_an_encoder_are_those_of_a_teacher_and_cached(toy_encoder: Path, tmp_path: Path) -> None:
    text_input, texts = make_encoder_input(toy_encoder), ["love it", "it"]
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    expected = compute_outputs(model, text_input, texts).mean_frames
    for name in ("first", "second"):
        rows = load_or_compute_mean_frames(text_input, name, "digest", texts, tmp_path, torch.device("cpu"))
        assert rows.tokens == expected.tokens
        np.testing.assert_array_equal(rows.rows, expected.rows)
        np.testing.assert_array_equal(rows.counts, expected.counts)
        assert len(list(tmp_path.iterdir())) == 1
    load_or_compute_mean_frames(text_input, "other", "other digest", texts, tmp_path, torch.device("cpu"))
    assert len(list(tmp_path.iterdir())) == 2


def test_token_embeddings_are_rows_of_the_encoder_and_of_a_table(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    assert isinstance(text_input.text_encoder, TransformerTextEncoder)
    rows = token_embeddings(text_input, ["love it", "it"])
    index = rows.tokens.index("it")
    word = text_input.tokenizer.vocabulary.index("it")
    assert rows.counts[index] == 2
    weights = text_input.text_encoder.encoder.embeddings.word_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(rows.rows[index], weights[word])
    table = make_table_input()
    assert isinstance(table.text_encoder, EmbeddingTableEncoder)
    assert len(token_embeddings(table, ["good film"]).rows) == 2
