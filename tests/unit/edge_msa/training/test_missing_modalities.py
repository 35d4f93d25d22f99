from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_msa.config.training import MsmConfig
from edge_msa.training.missing_modalities import draw_missing, drop_frames, keep_modalities
from edge_msa.training.randomness import generator_of

NAMES = ("language", "audio", "vision")


def complete(count: int, length: int = 10) -> dict[str, Tensor]:
    return {name: torch.ones(count, length, dtype=torch.bool) for name in NAMES}


def test_incomplete_subsets_are_equally_frequent() -> None:
    kept = keep_modalities(torch.ones(12000, 3, dtype=torch.bool), 0.6, generator_of(0))
    codes = (kept.long() * torch.tensor([1, 2, 4])).sum(dim=1)
    shares = torch.bincount(codes, minlength=8) / len(codes)
    assert shares[0] == 0
    assert shares[7].item() == pytest.approx(0.4, abs=0.02)
    assert all(share.item() == pytest.approx(0.1, abs=0.015) for share in shares[1:7])


def test_absent_modalities_stay_absent() -> None:
    present = torch.tensor([[True, True, False]]).expand(4000, 3)
    kept = keep_modalities(present, 1.0, generator_of(0))
    assert not kept[:, 2].any()
    assert (kept.sum(dim=1) == 1).all()
    assert kept[:, 0].float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_only_modality_of_a_sample_is_kept() -> None:
    present = torch.tensor([[False, True, False], [False, False, False]])
    assert torch.equal(keep_modalities(present, 1.0, generator_of(0)), present)


def test_exact_fraction_of_valid_frames_is_dropped() -> None:
    valid = torch.arange(20)[None].expand(500, 20) < 10
    left = drop_frames(valid, MsmConfig(intra=1.0, ratios=(0.3,)), generator_of(0))
    assert (left.sum(dim=1) == 7).all()
    assert not (left & ~valid).any()
    assert left[:, :10].float().mean(dim=0).std() < 0.05


def test_frames_are_dropped_with_the_given_probability() -> None:
    left = drop_frames(torch.ones(4000, 10, dtype=torch.bool), MsmConfig(intra=0.25, ratios=(0.5,)), generator_of(0))
    assert (left.sum(dim=1) < 10).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_every_sample_keeps_a_frame() -> None:
    valid = complete(500)
    valid["vision"][:100] = False
    valid["audio"][:50] = False
    drawn = draw_missing(valid, MsmConfig(inter=1.0, intra=1.0, ratios=(1.0,)), seed=0, epoch=0)
    assert torch.stack([mask.any(dim=1) for mask in drawn.values()]).any(dim=0).all()
    assert all(not (drawn[name] & ~valid[name]).any() for name in NAMES)


def test_masks_depend_on_seed_and_epoch_only() -> None:
    valid, config = complete(64), MsmConfig()
    first = draw_missing(valid, config, seed=1, epoch=2)
    torch.manual_seed(99)
    again = draw_missing(valid, config, seed=1, epoch=2)
    other_epoch = draw_missing(valid, config, seed=1, epoch=3)
    other_seed = draw_missing(valid, config, seed=2, epoch=2)
    assert all(torch.equal(first[name], again[name]) for name in NAMES)
    assert any(not torch.equal(first[name], other_epoch[name]) for name in NAMES)
    assert any(not torch.equal(first[name], other_seed[name]) for name in NAMES)


def test_probabilities_of_zero_drop_nothing() -> None:
    valid = complete(20)
    drawn = draw_missing(valid, MsmConfig(inter=0.0, intra=0.0), seed=0, epoch=0)
    assert all(torch.equal(drawn[name], valid[name]) for name in NAMES)


def longest_runs(missing: Tensor) -> Tensor:
    """Return the longest run of True in each row of (N, T)."""
    run, longest = torch.zeros(len(missing)), torch.zeros(len(missing))
    for column in missing.T:
        run = torch.where(column, run + 1, 0.0)
        longest = torch.maximum(longest, run)
    return longest


def count_runs(missing: Tensor) -> Tensor:
    starts = missing & ~torch.cat([torch.zeros(len(missing), 1, dtype=torch.bool), missing[:, :-1]], dim=1)
    return starts.sum(dim=1)


def test_bursts_have_the_stated_share_and_length() -> None:
    valid = torch.arange(30)[None].expand(2000, 30) < 24
    config = MsmConfig(intra=1.0, ratios=(0.25,), bursts=1.0, burst_length=3)
    missing = valid & ~drop_frames(valid, config, generator_of(0))
    assert (missing.sum(dim=1) == 6).all()  # a quarter of 24
    # Bursts of 3 consecutive frames: two whole ones, or three of which the first and the last one are shorter.
    runs = count_runs(missing)
    assert (runs <= 3).all()
    assert (6 / runs[longest_runs(missing) <= 3].float()).mean().item() == pytest.approx(3, abs=0.5)
    assert missing[:, :24].float().mean(dim=0).tolist() == pytest.approx([0.25] * 24, abs=0.06)


def test_bursts_skip_frames_that_are_not_valid() -> None:
    valid = torch.ones(500, 20, dtype=torch.bool)
    valid[:, ::2] = False
    config = MsmConfig(intra=1.0, ratios=(0.4,), bursts=1.0, burst_length=4)
    missing = (valid & ~drop_frames(valid, config, generator_of(0)))[:, 1::2]
    assert (missing.sum(dim=1) == 4).all()
    assert (longest_runs(missing) >= 2).all()


def test_scattered_and_bursty_frames_have_the_stated_shares() -> None:
    valid = torch.ones(4000, 20, dtype=torch.bool)
    config = MsmConfig(intra=1.0, ratios=(0.5,), bursts=0.4, burst_length=10)
    missing = ~drop_frames(valid, config, generator_of(0))
    assert (missing.sum(dim=1) == 10).all()
    # A burst of 10 frames begins anywhere, so that at most three parts are missing. Scattered frames rarely do that.
    assert (count_runs(missing) <= 3).float().mean().item() == pytest.approx(0.41, abs=0.03)


def test_modality_is_absent_during_one_part_of_the_utterance() -> None:
    drawn = draw_missing(complete(4000, 20), MsmConfig(inter=0.0, intra=0.0, outage=0.5), seed=0, epoch=0)
    missing = ~drawn["audio"]
    assert missing.any(dim=1).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (count_runs(missing) <= 1).all()
    affected = missing[missing.any(dim=1)]
    assert affected[:, -1].float().mean().item() == pytest.approx(0.5 + 0.5 * 0.18, abs=0.04)  # lasts until the end
    assert not torch.equal(missing, ~drawn["vision"])  # each modality has its own


def test_prefix_is_the_same_share_of_every_modality() -> None:
    valid = complete(3000, 20)
    valid["language"] = torch.arange(20)[None].expand(3000, 20) < 10
    drawn = draw_missing(valid, MsmConfig(inter=0.0, intra=0.0, prefix=0.6), seed=0, epoch=0)
    words, frames = drawn["language"].sum(dim=1), drawn["audio"].sum(dim=1)
    assert torch.equal(frames, drawn["vision"].sum(dim=1))
    assert ((frames + 1) // 2 == words).all()
    assert all((mask.cumsum(dim=1)[:, -1] == mask.int().cumprod(dim=1).sum(dim=1)).all() for mask in drawn.values())
    assert (frames < 20).float().mean().item() == pytest.approx(0.6 * 0.95, abs=0.03)
    assert frames.min() == 1
