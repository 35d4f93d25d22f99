"""Random generators that depend only on a key, so that an interrupted training does not have to save their state."""

from __future__ import annotations

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """Return a well-mixed 63-bit seed for a key such as (seed, epoch, purpose)."""
    return int(np.random.SeedSequence([part % 2**64 for part in key]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*key: int) -> torch.Generator:
    """Return a CPU generator for a key. The numbers do not depend on the device of the model."""
    return torch.Generator().manual_seed(seed_of(*key))
