"""Attention maps and representations of all samples of a split, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import Split
from edge_msa.models.almt import Almt
from edge_msa.models.hrlf import Hrlf
from edge_msa.models.introspection import (
    almt_attention,
    almt_mean_tokens,
    hrlf_attention,
    joint_representation,
    student_attention,
)
from edge_msa.training.predict import Model
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_runtime.modalities import Subset

Arrays = dict[str, NDArray[np.float32]]
_BATCH = 64  # attention over 500 frames takes 8 MB per modality
_GUIDED_PREFIX = "guided "


@dataclass(frozen=True)
class AttentionMaps:
    """Attention weights of a network for N samples, separately for each head."""

    frames: Arrays
    """By modality: (N, heads, tokens, tokens + T) for ALMT, (N, heads, T) for HRLF, (N, tokens, T) for a student."""
    guided: Arrays
    """For audio and vision of ALMT, (N, scales, heads, tokens, tokens); empty for other networks."""


def compute_attention_maps(model: Model, split: Split) -> AttentionMaps:
    """Return the attention maps of a network on all modalities of a normalized split."""
    if isinstance(model, Almt):
        almt: Almt = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            attention = almt_attention(almt, batch.frames, batch.valid)
            return attention.embedding | {_GUIDED_PREFIX + name: item for name, item in attention.guided.items()}

    elif isinstance(model, Hrlf):
        hrlf: Hrlf = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            return hrlf_attention(hrlf, batch.frames, batch.valid)

    else:
        student = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            return student_attention(student, batch.frames, batch.valid)

    arrays = _compute_batches(model, split, Subset.LAV, weights)
    guided = {name: item for name, item in arrays.items() if name.startswith(_GUIDED_PREFIX)}
    return AttentionMaps(
        {name: item for name, item in arrays.items() if name not in guided},
        {name.removeprefix(_GUIDED_PREFIX): item for name, item in guided.items()},
    )


def compute_representations(model: Model, split: Split, subset: Subset) -> NDArray[np.float32]:
    """Return the joint representation of each sample of a normalized split, computed from a subset, (N, width)."""

    def represent(batch: Batch) -> Mapping[str, Tensor]:
        return {"joint": joint_representation(model, batch.frames, batch.valid)}

    return _compute_batches(model, split, subset, represent)["joint"]


def compute_mean_tokens(model: Almt, split: Split) -> Arrays:
    """Return ALMT's mean token of each modality and of the hyper-modality for a normalized split, (N, 128) each."""
    return _compute_batches(model, split, Subset.LAV, lambda batch: almt_mean_tokens(model, batch.frames, batch.valid))


def _compute_batches(
    model: Model, split: Split, subset: Subset, compute: Callable[[Batch], Mapping[str, Tensor]]
) -> Arrays:
    """Concatenate the results of `compute` over batches, with the model in evaluation mode."""
    device = next(model.parameters()).device
    tensors = SplitTensors(split, model.config.dims, device)
    training = model.training
    model.eval()
    parts = [
        {name: value.cpu().numpy() for name, value in compute(batch.restricted(subset.modalities)).items()}
        for batch in tensors.batches(_BATCH)
    ]
    model.train(training)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
