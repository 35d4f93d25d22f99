"""A trained network's insides over a split, as arrays: the batches, devices and modes of `predict`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import Split
from edge_msa.models.almt import Almt
from edge_msa.models.hrlf import Hrlf
from edge_msa.models.internals import almt_attention, almt_streams, hrlf_attention, read_vectors, student_attention
from edge_msa.models.student import Student
from edge_msa.training.predict import Readable
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_runtime.modalities import Subset

Arrays = dict[str, NDArray[np.float32]]
_BATCH = 64  # attention over 500 frames is 8 MB a modality


@dataclass(frozen=True)
class AttentionMaps:
    """Where a network looked, for N samples; heads are kept apart.

    `frames` by modality: of ALMT (N, heads, tokens, tokens + T), of HRLF (N, heads, T), of a student
    (N, tokens, T). `guided` of audio and vision:
    ALMT's (N, scales, heads, tokens, tokens); empty of others.
    """

    frames: Arrays
    guided: Arrays


def attention_maps_of(model: Readable, split: Split) -> AttentionMaps:
    """Where a network attention maps in whole samples of a normalized split."""
    if isinstance(model, Almt):
        almt: Almt = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            found = almt_attention(almt, batch.frames, batch.valid)
            return found.embedding | {f"guided {name}": item for name, item in found.guided.items()}

    elif isinstance(model, Hrlf):
        hrlf: Hrlf = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            return hrlf_attention(hrlf, batch.frames, batch.valid)

    else:
        student: Student = model

        def weights(batch: Batch) -> Mapping[str, Tensor]:
            return student_attention(student, batch.frames, batch.valid)

    arrays = _over(model, split, Subset.LAV, weights)
    guided = {name.removeprefix("guided "): item for name, item in arrays.items() if name.startswith("guided ")}
    return AttentionMaps({name: item for name, item in arrays.items() if not name.startswith("guided ")}, guided)


def representations(model: Readable, split: Split, subset: Subset) -> NDArray[np.float32]:
    """The joint representation of each sample of a normalized split, (N, width), from that subset alone."""

    def vectors(batch: Batch) -> Mapping[str, Tensor]:
        return {"joint": read_vectors(model, batch.frames, batch.valid)}

    return _over(model, split, subset, vectors)["joint"]


def streams_of(model: Almt, split: Split) -> Arrays:
    """ALMT's modalities and hyper-modality for each sample of a normalized split, (N, 128) by name."""
    return _over(model, split, Subset.LAV, lambda batch: almt_streams(model, batch.frames, batch.valid))


def _over(model: Readable, split: Split, subset: Subset, ask: Callable[[Batch], Mapping[str, Tensor]]) -> Arrays:
    device = next(model.parameters()).device
    tensors = SplitTensors(split, model.config.dims, device)
    training = model.training
    model.eval()
    parts = [
        {name: value.cpu().numpy() for name, value in ask(batch.restricted(subset.modalities)).items()}
        for batch in tensors.batches(_BATCH)
    ]
    model.train(training)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
