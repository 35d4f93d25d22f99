from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.text.frame_encoder import text_frames
from edge_msa.training.text.teacher_outputs import TeacherOutputs, compute_outputs, compute_table
from edge_msa.training.text.train import predict_texts
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import (
    QUICK,
    make_encoder_input,
)


def test_table_rows_of_similar_tokens_are_close() -> None:
    tokenizer = TextTokenizer(train_wordpiece_tokenizer(["aa bb cc"] * 3), 16, special=False)
    tokens = ("aa", "bb", "cc", "elsewhere")
    means = np.array([[1, 0, 5], [1.1, 0, 5], [-1, 0.5, 5], [0, 0, 5]], np.float32)
    outputs = TeacherOutputs(np.zeros((1, 1), np.float32), tokens, means, np.array([5, 5, 5, 1]))
    rows = compute_table(outputs, tokenizer, 2)
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
    index = outputs.tokens.index("it")
    assert outputs.counts[index] == 2
    assert_close_to_scale(torch.from_numpy(outputs.means[index]), torch.from_numpy((frames[0, 2] + frames[1, 1]) / 2))
