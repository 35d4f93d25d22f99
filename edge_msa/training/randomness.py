"""Randomness that is a function of a key, so that an interrupted training needs no saved generator state."""

from __future__ import annotations

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A well-mixed 63-bit seed for a key such as (seed, epoch, purpose)."""
    return int(np.random.SeedSequence([part % 2**64 for part in key]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*key: int) -> torch.Generator:
    """A CPU generator for that key: the same numbers whatever the device of the model is."""
    return torch.Generator().manual_seed(seed_of(*key))
