"""Modality stochastic missing (MSM): whole modalities and single frames go missing at random while a model trains.

The reference (HRLF, arXiv 2411.02793) names both kinds of missingness and the ratios, not the probabilities: those are
ours. Masks are drawn on the CPU for all samples of an epoch at once, keyed by seed and epoch, so that a sample's
mask depends neither on the batch it lands in, nor on the device, nor on how often training was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_msa.errors import UsageError
from edge_msa.training.randomness import generator_of

_PURPOSE = 0x4D534D  # keeps these draws apart from others of the same seed and epoch


@dataclass(frozen=True)
class MsmConfig:
    """Probabilities of MSM (ours: the paper prints none)."""

    inter: float = 0.75
    """Probability that a sample loses modalities. What stays is uniform over the non-empty proper subsets of the
    modalities that the sample has, so the six test conditions are met equally often and the complete one stays common
    enough to be remembered."""
    intra: float = 0.3
    """Probability, for each modality that stayed, that frames of it are dropped."""
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Shares of a modality's valid frames that are dropped then, drawn uniformly: the paper's p."""

    def __post_init__(self) -> None:
        for name, value in (("inter", self.inter), ("intra", self.intra)):
            if not 0 <= value <= 1:
                raise UsageError(f"msm.{name} is {value}; a probability lies between 0 and 1")
        if not self.ratios or not all(0 < ratio <= 1 for ratio in self.ratios):
            raise UsageError(f"msm.ratios is {list(self.ratios)}; give one or more shares within (0, 1]")


def draw_missing(valid: Mapping[str, Tensor], config: MsmConfig, *, seed: int, epoch: int) -> dict[str, Tensor]:
    """Masks of what stays visible in that epoch.

    Args:
        valid: (N, T) bool by modality, on the CPU; T may differ. All N samples of the split, in its order.
        config: the probabilities.
        seed: of the training.
        epoch: counted from 0.

    Returns:
        (N, T) bool by modality, never True where `valid` is False. A sample that had a frame keeps at least one.
    """
    generator = generator_of(seed, epoch, _PURPOSE)
    kept = keep_modalities(torch.stack([mask.any(dim=1) for mask in valid.values()], dim=1), config.inter, generator)
    whole = {name: mask & kept[:, index, None] for index, (name, mask) in enumerate(valid.items())}
    thinned = {name: drop_frames(mask, config, generator) for name, mask in whole.items()}
    # Where dropping frames would have left nothing at all, the sample keeps all frames of the modalities it kept.
    seen = torch.stack([mask.any(dim=1) for mask in thinned.values()], dim=1).any(dim=1, keepdim=True)
    return {name: torch.where(seen, thinned[name], whole[name]) for name in valid}


def keep_modalities(present: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Which modalities each sample keeps.

    Args:
        present: (N, n) bool, the modalities that it has.
        probability: that it loses any.
        generator: on the CPU.

    Returns:
        (N, n) bool: `present`, or a uniformly drawn non-empty proper subset of it.
    """
    count = present.shape[1]
    loses = torch.rand(len(present), generator=generator) < probability
    subsets = _subsets(count)
    proper = (subsets[None] & ~present[:, None]).any(dim=2).logical_not() & (
        subsets.sum(dim=1)[None] < present.sum(dim=1, keepdim=True)
    )
    # The uniformly drawn one of a sample's eligible subsets is the eligible one with the largest uniform number.
    scores = torch.rand(len(present), len(subsets), generator=generator) * proper
    chosen = subsets[scores.argmax(dim=1)]
    return torch.where((loses & proper.any(dim=1))[:, None], chosen, present)


def drop_frames(valid: Tensor, config: MsmConfig, generator: torch.Generator) -> Tensor:
    """Drop a share of the valid frames of some samples.

    Args:
        valid: (N, T) bool.
        config: `intra` and `ratios`.
        generator: on the CPU.

    Returns:
        (N, T) bool; exactly round(ratio * valid frames) fewer for a sample that was drawn, which may leave none.
    """
    drops = torch.rand(len(valid), generator=generator) < config.intra
    ratio = torch.tensor(config.ratios)[torch.randint(len(config.ratios), (len(valid),), generator=generator)]
    scores = torch.rand(valid.shape, generator=generator).masked_fill(~valid, 2.0)
    rank = scores.argsort(dim=1).argsort(dim=1)
    dropped = torch.round(ratio * valid.sum(dim=1)) * drops
    return valid & (rank >= dropped[:, None])


def _subsets(count: int) -> Tensor:
    """All non-empty subsets of `count` things, (2**count - 1, count) bool."""
    codes = torch.arange(1, 2**count)
    return (codes[:, None] >> torch.arange(count)[None] & 1).bool()
