"""Modality stochastic missing (MSM): whole modalities and individual frames are dropped at random during training.

The reference (HRLF, arXiv 2411.02793) defines both kinds of missingness and the ratios, but not the probabilities.
Masks are drawn on the CPU for all samples of an epoch at once and depend on seed and epoch only. The mask of a sample
therefore does not depend on its batch, on the device, or on interruptions of the training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edge_msa.config.training import MsmConfig
from edge_msa.training.randomness import generator_of

_PURPOSE = 0x4D534D  # separates these draws from others with the same seed and epoch


def draw_missing(valid: Mapping[str, Tensor], config: MsmConfig, *, seed: int, epoch: int) -> dict[str, Tensor]:
    """Return masks of the frames that remain visible in an epoch.

    Args:
        valid: (N, T) bool by modality, on the CPU, for all N samples of the split in its order. T may differ between
            modalities.
        config: Probabilities.
        seed: Seed of the training.
        epoch: Epoch, counted from 0.

    Returns:
        (N, T) bool by modality, never True where `valid` is False. A sample with a valid frame keeps at least one.
    """
    generator = generator_of(seed, epoch, _PURPOSE)
    kept = keep_modalities(torch.stack([mask.any(dim=1) for mask in valid.values()], dim=1), config.inter, generator)
    undropped = {name: mask & kept[:, index, None] for index, (name, mask) in enumerate(valid.items())}
    thinned = {name: drop_frames(mask, config, generator) for name, mask in undropped.items()}
    # If dropping frames leaves a sample without any, it keeps all frames of its remaining modalities.
    seen = torch.stack([mask.any(dim=1) for mask in thinned.values()], dim=1).any(dim=1, keepdim=True)
    return {name: torch.where(seen, thinned[name], undropped[name]) for name in valid}


def keep_modalities(present: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Draw the modalities that each sample keeps.

    Args:
        present: Modalities of each sample, (N, n) bool.
        probability: Probability that a sample loses modalities.
        generator: Generator on the CPU.

    Returns:
        (N, n) bool: `present`, or a uniformly drawn non-empty proper subset of it.
    """
    count = present.shape[1]
    loses = torch.rand(len(present), generator=generator) < probability
    subsets = _subsets(count)
    proper = (subsets[None] & ~present[:, None]).any(dim=2).logical_not() & (
        subsets.sum(dim=1)[None] < present.sum(dim=1, keepdim=True)
    )
    # The eligible subset with the largest uniform number is uniformly distributed over the eligible subsets.
    scores = torch.rand(len(present), len(subsets), generator=generator) * proper
    chosen = subsets[scores.argmax(dim=1)]
    return torch.where((loses & proper.any(dim=1))[:, None], chosen, present)


def drop_frames(valid: Tensor, config: MsmConfig, generator: torch.Generator) -> Tensor:
    """Drop a fraction of the valid frames of some samples.

    Args:
        valid: (N, T) bool.
        config: Probabilities; uses `intra` and `ratios`.
        generator: Generator on the CPU.

    Returns:
        (N, T) bool. A drawn sample loses exactly round(ratio * number of valid frames) frames, possibly all.
    """
    drops = torch.rand(len(valid), generator=generator) < config.intra
    ratio = torch.tensor(config.ratios)[torch.randint(len(config.ratios), (len(valid),), generator=generator)]
    scores = torch.rand(valid.shape, generator=generator).masked_fill(~valid, 2.0)
    rank = scores.argsort(dim=1).argsort(dim=1)
    dropped = torch.round(ratio * valid.sum(dim=1)) * drops
    return valid & (rank >= dropped[:, None])


def _subsets(count: int) -> Tensor:
    """Return all non-empty subsets of `count` elements, (2**count - 1, count) bool."""
    codes = torch.arange(1, 2**count)
    return (codes[:, None] >> torch.arange(count)[None] & 1).bool()
