"""Predictions of a trained model over a split, for one subset of the modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_msa.console import activity
from edge_msa.data.dataset import Split
from edge_msa.errors import RunError
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa.models.hrlf import Hrlf, HrlfConfig
from edge_msa.models.student import Student
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import Subset

COMPLETE_PREFIX = "complete."
"""Prefix of the weights of HRLF's teacher on complete samples, which are stored with those of the robust network."""

Model = Hrlf | Almt | Student
"""A network that maps frames and their validity by modality to outputs, whichever modalities are missing."""

ModelType = TypeVar("ModelType", bound=nn.Module)


def weights_to_numpy(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a module as arrays, by their torch names."""
    return {name: value.detach().cpu().numpy().astype(np.float32) for name, value in module.state_dict().items()}


def hrlf_from_weights(
    config: HrlfConfig, weights: Mapping[str, NDArray[np.float32]], *, complete: bool = False
) -> Hrlf:
    """Return an HRLF network in evaluation mode on the CPU.

    Args:
        config: Sizes of the network.
        weights: Weights returned by `train_hrlf`.
        complete: Whether to return the teacher on complete samples instead of the robust network.

    Raises:
        RunError: The weights do not fit the network.
    """
    selected = {name: value for name, value in weights.items() if name.startswith(COMPLETE_PREFIX) == complete}
    return _load_weights(Hrlf(config), {name.removeprefix(COMPLETE_PREFIX): value for name, value in selected.items()})


def almt_from_weights(config: AlmtConfig, weights: Mapping[str, NDArray[np.float32]]) -> Almt:
    """Return an ALMT network in evaluation mode on the CPU, with weights from `train_almt` or `import_almt`.

    Raises:
        RunError: The weights do not fit the network.
    """
    return _load_weights(Almt(config), weights)


def _load_weights(network: ModelType, weights: Mapping[str, NDArray[np.float32]]) -> ModelType:
    try:
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"The weights do not fit the network: {reason}. Train it again.") from error
    return network.eval()


def predict(model: Model, split: Split, subset: Subset, batch_size: int = 512) -> NDArray[np.float32]:
    """Return the outputs for every sample, (N, outputs): scores, or logits of emotions.

    Args:
        model: Model on any device. It is evaluated without dropout and keeps its training mode.
        split: Normalized split.
        subset: The visible modalities. For a sample that has none of them, the prediction is the model's output without
            any valid frame.
        batch_size: Number of samples per forward pass.
    """
    device = next(model.parameters()).device
    modalities = {name: frames for name, frames in split.modalities.items() if name in subset.modalities}
    tensors = SplitTensors(replace(split, modalities=modalities), model.config.dims, device)
    training = model.training
    model.eval()
    with torch.no_grad(), activity(f"Predicting {len(split)} samples from {subset.value}"):
        parts = []
        for batch in tensors.batches(batch_size):
            outputs: torch.Tensor = model(batch.frames, batch.valid)
            parts.append(outputs.cpu().numpy())
    model.train(training)
    return np.concatenate(parts)
