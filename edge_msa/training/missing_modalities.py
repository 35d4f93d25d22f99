"""Modality stochastic missing (MSM): whole modalities and individual frames are dropped at random during training.

The reference (HRLF, arXiv 2411.02793) defines both kinds of missingness and the ratios, but not the probabilities.
Three further kinds imitate live streams: bursts of missing frames, modalities that are absent during a part of the
utterance, and utterances of which only the beginning has arrived.
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
    if config.outage:
        thinned = {
            name: mask & _outside_outage(valid[name], config.outage, generator) for name, mask in thinned.items()
        }
    if config.prefix:
        share = torch.rand(len(kept), 1, generator=generator)
        share[torch.rand(len(kept), generator=generator) >= config.prefix] = 1.0
        thinned = {name: mask & _in_prefix(valid[name], share) for name, mask in thinned.items()}
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
        config: Probabilities; uses `intra`, `ratios`, `bursts` and `burst_length`.
        generator: Generator on the CPU.

    Returns:
        (N, T) bool. A drawn sample loses exactly round(ratio * number of valid frames) frames, possibly all.
    """
    drops = torch.rand(len(valid), generator=generator) < config.intra
    ratio = torch.tensor(config.ratios)[torch.randint(len(config.ratios), (len(valid),), generator=generator)]
    scores = torch.rand(valid.shape, generator=generator)
    if config.bursts:
        in_bursts = torch.rand(len(valid), 1, generator=generator) < config.bursts
        scores = torch.where(in_bursts, _burst_scores(valid, config.burst_length, generator), scores)
    rank = scores.masked_fill(~valid, 2.0).argsort(dim=1).argsort(dim=1)
    dropped = torch.round(ratio * valid.sum(dim=1)) * drops
    return valid & (rank >= dropped[:, None])


def _burst_scores(valid: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Return scores (N, T) in [0, 1) in whose order frames are dropped: burst by burst, each from its first frame.

    Bursts are `length` consecutive valid frames. The first one may be shorter, so that a burst can begin anywhere.
    """
    count, frames = valid.shape
    phase = torch.randint(length, (count, 1), generator=generator)
    order = valid.cumsum(dim=1) - 1
    burst = (order.clamp(min=0) + phase) // length
    draws = torch.rand(count, frames + 1, generator=generator, dtype=torch.float64)
    rank = draws.argsort(dim=1).argsort(dim=1).gather(1, burst)
    return ((rank * frames + order.clamp(min=0)) / ((frames + 1) * frames)).float()


def _outside_outage(valid: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return which frames (N, T) are outside of the part in which the modality is absent."""
    order, count = valid.cumsum(dim=1) - 1, valid.sum(dim=1, keepdim=True)
    draws = torch.rand(len(valid), 4, generator=generator)
    first = (draws[:, :1] * count).long()
    last = torch.where(draws[:, 1:2] < 0.5, first + (draws[:, 2:3] * (count - first)).long(), count)
    return (order < first) | (order > last) | (draws[:, 3:] >= probability)


def _in_prefix(valid: Tensor, share: Tensor) -> Tensor:
    """Return which frames (N, T) are in the first `share` (N, 1) of the valid frames, rounded up."""
    return valid.cumsum(dim=1) <= torch.ceil(share * valid.sum(dim=1, keepdim=True)).clamp(min=1)


def _subsets(count: int) -> Tensor:
    """Return all non-empty subsets of `count` elements, (2**count - 1, count) bool."""
    codes = torch.arange(1, 2**count)
    return (codes[:, None] >> torch.arange(count)[None] & 1).bool()
