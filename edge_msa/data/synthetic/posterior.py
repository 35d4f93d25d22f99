"""The exact posterior of the embedded default's label, given what a model sees: frames and masks, never the labels.

Given the label y and the speaker's manner s the modalities are independent, so p(y | seen) is proportional to
p(y) * sum_s p(s) * product over modalities of p(its frames | y, s). Each factor is the likelihood of a hidden Markov
chain, computed by the forward algorithm; a frame that is not valid is summed over, its position being known. Padding
behind an utterance is no different: it multiplies by one. A model that cannot see where a dropped frame was knows less,
so for such a model this is a bound that it cannot quite reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.data.synthetic.world import GRID, SAID, Array, Expression, Language, world
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES, Subset

CHUNK = 512  # samples at a time: bounds memory to some 100 MB


def posterior(split: Split, subset: Subset, valid: Mapping[str, BoolArray] | None = None) -> Array:
    """Posterior of the label on `GRID`.

    Args:
        split: of the synthetic dataset, not normalized.
        subset: the modalities that are looked at.
        valid: (N, T) bool by modality; frames outside it are dropped. A modality that is left out keeps all it has.

    Returns:
        (N, 61), rows sum to 1. A sample of which nothing is seen has the prior.

    Raises:
        DataError: the split is not of this task, or a mask has another shape than the frames.
    """
    return combine(likelihoods(split, subset.modalities, valid), subset)


def likelihoods(
    split: Split, modalities: Iterable[str] = MODALITIES, valid: Mapping[str, BoolArray] | None = None
) -> dict[str, Array]:
    """Log p(frames of one modality | y, s), up to a constant a sample, by modality: what all subsets share.

    Args:
        split: as in `posterior`.
        modalities: which.
        valid: as in `posterior`.

    Returns:
        (N, 2, 61): blunt, polite; the label.

    Raises:
        DataError: as in `posterior`.
    """
    return {name: _in_chunks(name, split, None if valid is None else valid.get(name)) for name in modalities}


def combine(logs: Mapping[str, Array], subset: Subset) -> Array:
    """Posterior (N, 61) of one subset from what `likelihoods` gave for its modalities at least."""
    total = sum((logs[name] for name in subset.modalities), np.log(world().prior))
    weight = np.exp(total - total.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _in_chunks(name: str, split: Split, kept: BoolArray | None) -> Array:
    frames = split.modalities.get(name)
    if frames is None:
        return np.zeros((len(split), 2, len(GRID)))
    _check(name, frames, kept)
    rows = np.arange(len(split))
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    return np.concatenate(
        [_likelihood(name, frames.select(chunk), True if kept is None else kept[chunk]) for chunk in chunks]
    )


def _check(name: str, frames: Frames, kept: BoolArray | None) -> None:
    task = world()
    if name == "language":
        fits = frames.ids is not None and frames.table is not None and len(frames.table) == len(task.language.table)
    else:
        fits = frames.values is not None and frames.dim == len(_expression(name).basis)
    if not fits:
        raise DataError(f"{name} is not the synthetic task's: its posterior is known for `--data synthetic` alone")
    if kept is not None and kept.shape != frames.valid.shape:
        raise DataError(f"the mask of {name} has shape {kept.shape}, its frames have {frames.valid.shape}")


def _likelihood(name: str, frames: Frames, kept: BoolArray | bool) -> Array:
    seen = frames.valid & kept
    if name == "language":
        assert frames.ids is not None  # noqa: S101 - held by _check
        said = language_likelihood(world().language, frames.ids, seen)
        return said[:, SAID]
    assert frames.values is not None  # noqa: S101 - held by _check
    return expression_likelihood(_expression(name), frames.values, seen)


def _expression(name: str) -> Expression:
    task = world()
    return task.audio if name == "audio" else task.vision


def language_likelihood(language: Language, ids: NDArray[np.integer], seen: BoolArray) -> Array:
    """Log p(tokens | what is said), (N, 61): forward algorithm over the four states.

    Args:
        language: the chain.
        ids: tokens (N, T).
        seen: (N, T); a token that is not seen is summed over.
    """
    unseen = language.joint.sum(axis=0)
    ways = np.concatenate([language.joint, unseen[None]])
    tokens = np.where(seen, ids, len(language.joint))
    forward = np.zeros((len(ids), len(unseen), language.joint.shape[-1]))
    forward[:, 0] = 1.0
    log = np.zeros((len(ids), language.joint.shape[-1]))
    for position in range(ids.shape[1]):
        forward = np.einsum("nig,nijg->njg", forward, ways[tokens[:, position]])
        forward, log = _rescaled(forward, log)
    return log


def expression_likelihood(expression: Expression, values: FloatArray, seen: BoolArray) -> Array:
    """Log p(frames | label, manner), (N, 2, 61), up to a constant a sample: forward algorithm over the two states.

    Args:
        expression: the chain and what frames look like.
        values: frames (N, T, d).
        seen: (N, T); a frame that is not seen is summed over.
    """
    density = _densities(expression, values.astype(np.float64) @ expression.basis[:3].T)
    state = np.empty((len(values), 2, 2 * len(GRID)))
    state[:, 0], state[:, 1] = 1.0 - expression.informative, expression.informative
    log = np.zeros((len(values), 2 * len(GRID)))
    for position in range(values.shape[1]):
        forward = state * np.where(seen[:, position, None, None], density[:, position], 1.0)
        forward, log = _rescaled(forward, log)
        state = np.einsum("nig,ij->njg", forward, expression.chain)
    return log.reshape(len(values), 2, len(GRID))


def _densities(expression: Expression, axes: Array) -> Array:
    """Density of frames whose first three coordinates are `axes` (N, T, 3), scaled to at most 1 a frame.

    Returns:
        (N, T, 2, 122): not informative, informative; the label while blunt, then while polite.
    """
    mark, shown, manner = (axes[..., index, None] for index in range(3))
    variance = 1.0 + expression.clutter**2
    beside = -0.5 * (mark**2 + shown**2 / variance + np.log(variance))
    informative = -0.5 * ((mark - expression.marker) ** 2 + (shown - expression.curve) ** 2)
    states = np.stack(np.broadcast_arrays(beside, informative), axis=2)
    manners = [-0.5 * (manner - mean)[..., None] ** 2 for mean in (-expression.manner, expression.manner)]
    log = np.concatenate([states + each for each in manners], axis=3)
    return np.asarray(np.exp(log - log.max(axis=(2, 3), keepdims=True)))


def _rescaled(forward: Array, log: Array) -> tuple[Array, Array]:
    """Forward probabilities (N, states, M) that sum to 1 over states, and the logarithm (N, M) of what came off."""
    total = forward.sum(axis=1)
    return forward / total[:, None], log + np.log(total)
