from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Frames, Split
from edge_msa.reporting.explain.attention import (
    AttentionKind,
    FrameAttention,
    attention_over_frames,
    embedding_attention,
    format_shares,
    guided_attention,
    masked_attention,
    mean_embedding_shares,
    mean_guided_weights,
    resize_mask,
)
from edge_msa.reporting.explain.plots import guided_weights_plot

SCALES, HEADS, TOKENS, FRAMES = 3, 2, 2, 4


def random_softmax(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    weights = np.exp(np.random.default_rng(seed).normal(size=shape))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def test_guided_attention_is_ahl_times_embedding() -> None:
    guided = np.zeros((1, HEADS, TOKENS, TOKENS), np.float32)
    guided[0, :, 0, 0] = guided[0, :, 1, 1] = 1  # Each language token attends to one audio token.
    embedding = np.zeros((HEADS, TOKENS, TOKENS + FRAMES), np.float32)
    embedding[:, 0, TOKENS + 1] = 0.75  # The first attends to frame 2, and to a learned token.
    embedding[:, 0, 0] = 0.25
    embedding[:, 1, TOKENS + 3] = 1.0  # The second attends only to padding.
    valid = np.array([True, True, True, False])
    (attention,) = guided_attention(guided, embedding, valid)
    expected = np.array([[0, 0.75, 0], [0, 0, 0]]) * (TOKENS + FRAMES)
    np.testing.assert_allclose(attention.weights, expected)
    assert (attention.frames, attention.learned, attention.padding) == pytest.approx((0.375, 0.125, 0.5))


def test_uniform_attention_is_one_everywhere() -> None:
    uniform = np.full((HEADS, TOKENS, TOKENS + FRAMES), 1 / (TOKENS + FRAMES), np.float32)
    valid = np.array([True, True, True, False])
    np.testing.assert_allclose(embedding_attention(uniform, valid).weights, 1, rtol=1e-5)
    heads = np.where(valid, 1 / 3, 0).astype(np.float32)[None].repeat(HEADS, axis=0)
    attention = masked_attention(heads, valid, attends_gaps=True)
    np.testing.assert_allclose(attention.weights, 1, rtol=1e-5)
    assert attention.padding == pytest.approx(0, abs=1e-6)


def test_gaps_count_only_if_they_are_attended() -> None:
    valid = np.array([True, False, True, False])
    tokens = np.array([[0.5, 0, 0.5, 0]], np.float32)
    np.testing.assert_allclose(masked_attention(tokens, valid, attends_gaps=False).weights, [[1, 0, 1]])
    heads = np.array([[0.25, 0.5, 0.25, 0]], np.float32)
    attention = masked_attention(heads, valid, attends_gaps=True)
    np.testing.assert_allclose(attention.weights, [[0.75, 1.5, 0.75]])
    assert (attention.frames, attention.padding) == pytest.approx((0.5, 0.5))


def test_a_mask_is_cut_or_filled_up() -> None:
    mask = np.array([True, False, True])
    assert resize_mask(mask, 2).tolist() == [True, False]
    assert resize_mask(mask, 5).tolist() == [True, False, True, False, False]


def toy() -> Split:
    """Two samples of four words; the second lacks audio, and vision is one frame."""
    valid = {
        "language": np.ones((2, FRAMES), np.bool_),
        "audio": np.array([[True, True, True, False], [False] * 4]),
        "vision": np.ones((2, 1), np.bool_),
    }
    frames = {name: Frames(mask, np.zeros((*mask.shape, 2), np.float32)) for name, mask in valid.items()}
    texts = ("four words are there", "four words are here")
    return Split(("one", "two"), ("one", "two"), np.zeros(2, np.float32), frames, texts)


def almt_weights() -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], ...]:
    lengths = {"language": FRAMES, "audio": FRAMES, "vision": 1}
    embedding = {name: random_softmax(2, HEADS, TOKENS, TOKENS + length) for name, length in lengths.items()}
    return embedding, {name: random_softmax(2, SCALES, HEADS, TOKENS, TOKENS) for name in ("audio", "vision")}


ALMT = AttentionKind(has_learned_tokens=True, attends_gaps=True)


def test_attention_of_almt_is_the_mean_over_tokens_and_scales() -> None:
    embedding, guided = almt_weights()
    attention = attention_over_frames(embedding, guided, toy(), 0, 0, ALMT)
    scales = guided_attention(guided["audio"][0], embedding["audio"][0], toy().modalities["audio"].valid[0])
    expected = np.mean([scale.weights.mean(axis=0) for scale in scales], axis=0)
    np.testing.assert_allclose(attention["audio"].weights[0], expected, rtol=1e-5)
    assert attention["audio"].weights.shape == (1, 3)  # Up to the last valid frame.
    item = attention["audio"]
    assert item.frames + item.learned + item.padding == pytest.approx(1)
    assert "audio" not in attention_over_frames(embedding, guided, toy(), 1, 1, ALMT)  # It has no audio.


def test_without_ahl_the_embeddings_attend() -> None:
    embedding, _ = almt_weights()
    attention = attention_over_frames(embedding, {}, toy(), 0, 0, ALMT)
    expected = embedding_attention(embedding["audio"][0], toy().modalities["audio"].valid[0])
    np.testing.assert_allclose(attention["audio"].weights[0], expected.weights.mean(axis=0), rtol=1e-5)


def test_attention_of_other_models_is_the_mean_over_rows() -> None:
    frames = {"language": random_softmax(2, HEADS, FRAMES), "vision": np.ones((2, HEADS, 1), np.float32)}
    kind = AttentionKind(has_learned_tokens=False, attends_gaps=True)
    attention = attention_over_frames(frames, {}, toy(), 0, 0, kind)
    np.testing.assert_allclose(attention["language"].weights[0], frames["language"][0].mean(axis=0) * FRAMES, rtol=1e-5)
    np.testing.assert_allclose(attention["vision"].weights, 1, rtol=1e-5)


def test_shares_are_stated_in_percent() -> None:
    assert format_shares(FrameAttention(np.ones((1, 1), np.float32), 0.5, 0.3, 0.2)) == (
        "50 % to frames, 30 % to learned tokens, 20 % to padding"
    )


def test_averages_skip_samples_without_the_modality() -> None:
    _, guided = almt_weights()
    means = mean_guided_weights(guided, toy(), np.array([0, 1]))
    np.testing.assert_allclose(means["audio"], guided["audio"][0].mean(axis=1) * TOKENS, rtol=1e-5)
    np.testing.assert_allclose(means["vision"].mean(axis=2), 1, rtol=1e-5)
    assert guided_weights_plot(means).count("scale 2") == 2


def test_uniform_attention_has_uniform_shares() -> None:
    embedding, _ = almt_weights()
    uniform = {name: np.full_like(weights, 1 / weights.shape[3]) for name, weights in embedding.items()}
    language, audio, vision = mean_embedding_shares(uniform, toy().modalities, [0, 1])
    assert (language.frames, language.learned, language.padding) == pytest.approx((4 / 6, 2 / 6, 0), abs=1e-6)
    assert (audio.frames, audio.learned, audio.padding) == pytest.approx(audio.uniform, abs=1e-6)
    assert audio.uniform == pytest.approx((3 / 6, 2 / 6, 1 / 6))
    assert vision.uniform == pytest.approx((1 / 3, 2 / 3, 0), abs=1e-6)
