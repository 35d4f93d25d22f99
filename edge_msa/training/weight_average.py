"""An exponential moving average of the weights of a training (EMA)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The moving average of the trainable weights of a module. Buffers are not averaged.

    Step t, counted from 0, has the decay min(decay, (1 + t) / (10 + t)), so that the average of a short training does
    not consist of the initial weights. With several processes, every process computes the same average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._average = {name: value.detach().clone() for name, value in self._weights.items()}

    def update(self, step: int) -> None:
        """Include the weights after a step, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self._average.values()), list(self._weights.values()), step)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module the averaged weights until the context ends."""
        current = {name: value.detach().clone() for name, value in self._weights.items()}
        self._set(self._average)
        try:
            yield
        finally:
            self._set(current)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights by name."""
        return self._average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from the averaged weights of an earlier process."""
        for name, value in state.items():
            self._average[name].copy_(value)

    def _set(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self._weights[name].copy_(value)
