from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.data.tasks import MOSI
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.text.frame_encoder import text_frames
from edge_msa.training.text.text_input import load_text_input_files, write_text_input
from edge_msa.training.text.train import predict_texts
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import (
    QUICK,
    make_encoder_input,
    make_table_input,
)


def test_frames_give_the_predictions_of_the_texts(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI))).eval()
    texts = ["i love it", "", "not"]
    frames = text_frames(text_input)(texts)
    assert frames.valid.sum(axis=1).tolist() == [5, 0, 3]
    with torch.no_grad():
        predictions = model.student(
            {"language": torch.from_numpy(frames.take())}, {"language": torch.from_numpy(frames.valid)}
        )
    assert_close_to_scale(predictions, torch.from_numpy(predict_texts(model, text_input, texts)))


@pytest.mark.parametrize("kind", ["table", "encoder"])
def test_text_encoder_is_restored_from_its_files(kind: str, toy_encoder: Path, tmp_path: Path) -> None:
    if kind == "table":
        text_input = make_table_input()
        texts = ["good film"]
    else:
        text_input = make_encoder_input(toy_encoder, layers=1)
        texts = ["i love it"]
    digest = write_text_input(tmp_path, text_input)
    restored = load_text_input_files(tmp_path, digest)
    np.testing.assert_array_equal(text_frames(restored)(texts).take(), text_frames(text_input)(texts).take())
