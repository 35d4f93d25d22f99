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
