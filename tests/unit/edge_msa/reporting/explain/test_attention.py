from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Frames, Split
from edge_msa.reporting.explain.attention import (
    embedding_spread,
    fitted_mask,
    frame_spread,
    guided_spreads,
    mean_shares,
)
from edge_msa.reporting.explain.attention_section import almt_sample, frames_sample, guided_means
from edge_msa.reporting.explain.plots import guided_picture

SCALES, HEADS, TOKENS, FRAMES = 3, 2, 2, 4


def softmaxed(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    weights = np.exp(np.random.default_rng(seed).normal(size=shape))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def test_composed_weights_are_ahl_times_embedding_and_shares_add_up() -> None:
    guided = np.zeros((1, HEADS, TOKENS, TOKENS), np.float32)
    guided[0, :, 0, 0] = guided[0, :, 1, 1] = 1  # each language token hears the audio token of its own number
    embedding = np.zeros((HEADS, TOKENS, TOKENS + FRAMES), np.float32)
    embedding[:, 0, TOKENS + 1] = 0.75  # which attended frame 2, and a little of the first learned token
    embedding[:, 0, 0] = 0.25
    embedding[:, 1, TOKENS + 3] = 1.0  # and the other padding alone
    valid = np.array([True, True, True, False])
    (spread,) = guided_spreads(guided, embedding, valid)
    expected = np.array([[0, 0.75, 0], [0, 0, 0]]) * (TOKENS + FRAMES)
    np.testing.assert_allclose(spread.weights, expected)
    assert (spread.frames, spread.learned, spread.padding) == pytest.approx((0.375, 0.125, 0.5))


def test_an_even_spread_is_one_everywhere() -> None:
    even = np.full((HEADS, TOKENS, TOKENS + FRAMES), 1 / (TOKENS + FRAMES), np.float32)
    valid = np.array([True, True, True, False])
    np.testing.assert_allclose(embedding_spread(even, valid).weights, 1, rtol=1e-5)
    heads = np.where(valid, 1 / 3, 0).astype(np.float32)[None].repeat(HEADS, axis=0)
    spread = frame_spread(heads, valid, gaps=True)
    np.testing.assert_allclose(spread.weights, 1, rtol=1e-5)
    assert spread.padding == pytest.approx(0, abs=1e-6)


def test_an_even_share_counts_gaps_only_where_they_are_heard() -> None:
    valid = np.array([True, False, True, False])
    tokens = np.array([[0.5, 0, 0.5, 0]], np.float32)
    np.testing.assert_allclose(frame_spread(tokens, valid, gaps=False).weights, [[1, 0, 1]])
    heads = np.array([[0.25, 0.5, 0.25, 0]], np.float32)
    spread = frame_spread(heads, valid, gaps=True)
    np.testing.assert_allclose(spread.weights, [[0.75, 1.5, 0.75]])
    assert (spread.frames, spread.padding) == (0.5, 0.5)


def test_a_mask_is_cut_and_filled_to_the_networks_positions() -> None:
    mask = np.array([True, False, True])
    assert fitted_mask(mask, 2).tolist() == [True, False]
    assert fitted_mask(mask, 5).tolist() == [True, False, True, False, False]


def toy() -> Split:
    """Two samples of four words; the second lacks audio, and vision is one frame."""
    valid = {
        "language": np.ones((2, FRAMES), np.bool_),
        "audio": np.array([[True, True, True, False], [False] * 4]),
        "vision": np.ones((2, 1), np.bool_),
    }
    frames = {name: Frames(mask, np.zeros((*mask.shape, 2), np.float32)) for name, mask in valid.items()}
    texts = ("costs $5 <b>not</b> $6", "four words are here")
    return Split(("one", "two"), ("one", "two"), np.zeros(2, np.float32), frames, texts)


def almt_weights() -> tuple[dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], ...]:
    lengths = {"language": FRAMES, "audio": FRAMES, "vision": 1}
    embedding = {name: softmaxed(2, HEADS, TOKENS, TOKENS + length) for name, length in lengths.items()}
    return embedding, {name: softmaxed(2, SCALES, HEADS, TOKENS, TOKENS) for name in ("audio", "vision")}


def test_a_picture_has_the_words_as_they_were_said_and_nothing_of_what_is_missing() -> None:
    embedding, guided = almt_weights()
    whole = almt_sample(embedding, guided, toy(), 0, 0)
    assert ">$5</text>" in whole.svg
    assert "&lt;b&gt;not&lt;/b&gt;" in whole.svg
    assert "<b>" not in whole.svg
    assert "audio, scale 3" in whole.svg
    assert "vision, scale" not in whole.svg
    assert whole.notes == ("Of vision this sample has a single frame: there is nothing to choose among.",)
    assert "audio, scale" not in (lacking := almt_sample(embedding, guided, toy(), 1, 1)).svg
    assert "This sample lacks audio." in lacking.notes


def test_without_ahl_the_embeddings_are_still_shown() -> None:
    embedding, _ = almt_weights()
    picture = almt_sample(embedding, {}, toy(), 0, 0)
    assert "audio: what its tokens are made of" in picture.svg


def test_rows_over_frames_are_shown_under_their_own_name() -> None:
    frames = {"language": softmaxed(2, HEADS, FRAMES), "audio": softmaxed(2, HEADS, FRAMES)}
    picture = frames_sample(frames, toy(), 0, 0, rows_are="head", gaps=True)
    assert ">head</text>" in picture.svg
    assert "audio frame (number)" in picture.svg
    nothing = frames_sample({"vision": np.ones((2, HEADS, 1), np.float32)}, toy(), 0, 0, rows_are="head", gaps=True)
    assert nothing.svg == ""


def test_means_are_over_the_samples_that_have_the_modality() -> None:
    _, guided = almt_weights()
    means = guided_means(guided, toy(), np.array([0, 1]))
    np.testing.assert_allclose(means["audio"], guided["audio"][0].mean(axis=1) * TOKENS, rtol=1e-5)
    np.testing.assert_allclose(means["vision"].mean(axis=2), 1, rtol=1e-5)
    assert guided_picture(means).count("scale 2") == 2


def test_shares_of_a_modality_stand_beside_an_even_spread() -> None:
    embedding, _ = almt_weights()
    even = {name: np.full_like(weights, 1 / weights.shape[3]) for name, weights in embedding.items()}
    language, audio, vision = mean_shares(even, toy().modalities, [0, 1])
    assert (language.frames, language.learned, language.padding) == pytest.approx((4 / 6, 2 / 6, 0), abs=1e-6)
    assert (audio.frames, audio.learned, audio.padding) == pytest.approx(audio.even, abs=1e-6)
    assert audio.even == pytest.approx((3 / 6, 2 / 6, 1 / 6))
    assert vision.even == pytest.approx((1 / 3, 2 / 3, 0), abs=1e-6)
