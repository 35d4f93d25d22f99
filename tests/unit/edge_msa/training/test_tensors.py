from __future__ import annotations

import numpy as np
import torch

from edge_msa.data.dataset import Frames, Split
from edge_msa.training.tensors import SplitTensors

CPU = torch.device("cpu")


def split() -> Split:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(7, 3)).astype(np.float32)
    language = Frames(rng.random((5, 4)) < 0.7, ids=rng.integers(0, 7, (5, 4)).astype(np.int32), table=table)
    audio = Frames(rng.random((5, 6)) < 0.7, rng.normal(size=(5, 6, 2)).astype(np.float32))
    names = tuple(f"s{row}" for row in range(5))
    return Split(names, names, np.arange(5, dtype=np.float32), {"language": language, "audio": audio})


def test_batch_has_the_frames_of_its_samples() -> None:
    tensors = SplitTensors(split(), {"language": 3, "audio": 2}, CPU)
    batch = tensors.batch(torch.tensor([4, 1]))
    for name, frames in split().modalities.items():
        np.testing.assert_array_equal(batch.frames[name].numpy(), frames.take(np.array([4, 1])))
        np.testing.assert_array_equal(batch.valid[name].numpy(), frames.valid[[4, 1]])
    assert batch.labels.tolist() == [[4.0], [1.0]]
    assert tensors.modalities["language"].values is None


def test_modalities_are_those_of_the_model() -> None:
    batch = SplitTensors(split(), {"audio": 2, "vision": 9}, CPU).batch(torch.arange(5))
    assert batch.frames["vision"].shape == (5, 1, 9)
    assert not batch.valid["vision"].any()
    assert list(batch.frames) == ["audio", "vision"]


def test_masking_selects_the_rows_of_the_batch() -> None:
    tensors = SplitTensors(split(), {"audio": 2}, CPU)
    visible = torch.zeros(5, 6, dtype=torch.bool)
    visible[3, :2] = True
    masked = tensors.batch(torch.tensor([0, 3]), {"audio": visible})
    assert not masked.valid["audio"][0].any()
    assert torch.equal(masked.valid["audio"][1], tensors.valid["audio"][3] & visible[3])
    assert masked.frames["audio"][~masked.valid["audio"]].abs().sum() == 0


def test_restricted_modalities_have_no_valid_frame() -> None:
    batch = SplitTensors(split(), {"language": 3, "audio": 2}, CPU).batch(torch.arange(5)).restricted(("audio",))
    assert batch.frames["language"].abs().sum() == 0
    assert not batch.valid["language"].any()
    assert batch.valid["audio"].any()


def test_batches_contain_all_samples_in_order() -> None:
    rows = [batch.rows.tolist() for batch in SplitTensors(split(), {"audio": 2}, CPU).batches(2)]
    assert rows == [[0, 1], [2, 3], [4]]
