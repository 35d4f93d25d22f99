"""Answers of a trained model over a split, for one subset of the modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_msa.data.dataset import Split
from edge_msa.errors import RunError
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa.models.hrlf import Hrlf, HrlfConfig
from edge_msa.models.student import Student
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import Subset

COMPLETE_PREFIX = "complete."
"""What the names of the complete teacher's weights begin with, beside the robust network's."""

Readable = Hrlf | Almt | Student
"""A model that `predict` can ask: frames and validity by modality in, outputs out, whatever is missing."""

ModelType = TypeVar("ModelType", bound=nn.Module)


def to_numpy(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Its weights by their torch names."""
    return {name: value.detach().cpu().numpy().astype(np.float32) for name, value in module.state_dict().items()}


def hrlf_from_weights(
    config: HrlfConfig, weights: Mapping[str, NDArray[np.float32]], *, complete: bool = False
) -> Hrlf:
    """The network in evaluation mode, on the CPU.

    Args:
        config: its sizes.
        weights: what `train_hrlf` returned.
        complete: whether the teacher on complete samples is wanted rather than the robust one.

    Raises:
        RunError: the weights are not this network's.
    """
    own = {name: value for name, value in weights.items() if name.startswith(COMPLETE_PREFIX) == complete}
    tensors = {name.removeprefix(COMPLETE_PREFIX): torch.from_numpy(np.array(value)) for name, value in own.items()}
    return _filled(Hrlf(config), tensors)


def almt_from_weights(config: AlmtConfig, weights: Mapping[str, NDArray[np.float32]]) -> Almt:
    """The network in evaluation mode, on the CPU; `weights` as `train_almt` or `import_almt` returned them.

    Raises:
        RunError: the weights are not this network's.
    """
    return _filled(Almt(config), {name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def _filled(network: ModelType, tensors: Mapping[str, torch.Tensor]) -> ModelType:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"the weights do not fit the network ({str(error).splitlines()[-1].strip()}): train it again"
        ) from error
    return network.eval()


def predict(model: Readable, split: Split, subset: Subset, batch_size: int = 512) -> NDArray[np.float32]:
    """Outputs for every sample, (N, outputs): scores, or logits of emotions.

    Args:
        model: on any device; evaluated without dropout, and left in the mode it was in.
        split: already normalized; modalities outside the subset are hidden.
        subset: which modalities are seen. A sample that really lacks them is read from what it has, maybe nothing.
        batch_size: samples a pass.

    A subset of which the model reads nothing gives what it says having seen nothing.
    """
    device = next(model.parameters()).device
    tensors = SplitTensors(split, model.config.dims, device)
    training = model.training
    model.eval()
    with torch.no_grad():
        parts = []
        for batch in tensors.batches(batch_size):
            seen = batch.restricted(subset.modalities)
            outputs: torch.Tensor = model(seen.frames, seen.valid)
            parts.append(outputs.cpu().numpy())
    model.train(training)
    return np.concatenate(parts)
