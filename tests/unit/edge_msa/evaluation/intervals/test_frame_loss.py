from __future__ import annotations

import numpy as np

from edge_msa.data.dataset import Frames, Split
from edge_msa.evaluation.intervals.frame_loss import draw_kept, lose_frames

COUNT = 2000


def test_frames_are_lost_as_in_streams_and_at_least_one_stays() -> None:
    rng = np.random.default_rng(0)
    valid = {name: np.arange(20) < rng.integers(0, 21, size=(COUNT, 1)) for name in ("audio", "vision")}
    kept = draw_kept(valid, np.random.default_rng(1))
    shares = []
    for name, mask in kept.items():
        assert not (mask & ~valid[name]).any()
        present = valid[name].any(axis=1)
        assert (mask.any(axis=1) == present).all()
        shares.append(mask[present].sum(axis=1) / valid[name][present].sum(axis=1))
    assert 0.5 < np.mean(shares[0]) < 0.75
    assert np.ptp(shares[0]) > 0.9
    same = draw_kept(valid, np.random.default_rng(1))
    assert all(np.array_equal(same[name], kept[name]) for name in kept)


def test_a_text_loses_words() -> None:
    text = "one two three four five six seven eight"
    language = Frames(np.ones((COUNT, 1), np.bool_), values=np.zeros((COUNT, 1, 2), np.float32))
    audio = Frames(np.ones((COUNT, 5), np.bool_), values=np.zeros((COUNT, 5, 2), np.float32))
    names = tuple(map(str, range(COUNT)))
    split = Split(
        names, names, np.zeros(COUNT, np.float32), {"language": language, "audio": audio}, (text,) * (COUNT - 1) + ("",)
    )
    lossy = lose_frames(split, np.random.default_rng(0), words=True)
    words = [item.split() for item in lossy.texts]
    assert all(0 < len(item) <= 8 for item in words[:-1])
    assert words[-1] == []
    assert len({tuple(item) for item in words}) > 50
    assert all(set(item) <= set(text.split()) for item in words)
    assert lossy.modalities["audio"].valid.sum() < split.modalities["audio"].valid.sum()
