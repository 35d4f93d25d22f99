"""Compute the exact posterior of the label of synthetic samples from their frames and masks.

Given the label y and the manner s, the modalities are independent. The posterior p(y | frames) is therefore
proportional to p(y) * sum_s p(s) * prod_m p(frames of modality m | y, s). Each factor is the likelihood of a hidden
Markov chain, computed with the forward algorithm. A frame that is not valid is summed over at its known position;
padding contributes a factor of one. A model that does not know the positions of dropped frames has less information, so
it cannot fully reach this optimum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.data.synthetic.world import EXPRESSED_INDEX, GRID, Array, FrameChain, TokenChain, World, world
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES, Subset

_FRAMES_AT_ONCE = 512 * 20  # limits memory to about 100 MB


def log_likelihoods(
    split: Split,
    modalities: Iterable[str] = MODALITIES,
    valid: Mapping[str, BoolArray] | None = None,
    rows: NDArray[np.integer] | None = None,
    task: World | None = None,
) -> dict[str, Array]:
    """Return log p(frames | label, manner) of each modality, up to a constant per sample.

    Args:
        split: A split of the synthetic dataset, not normalized.
        modalities: The modalities to use.
        valid: Masks (N, T) by modality; other frames are dropped. Modalities without a mask keep all their frames.
        rows: The sample of each row of the masks, (M,), for several masks per sample (default: one mask per sample, in
            their order).
        task: The distributions that the samples were drawn from (default: those of `world()`).

    Returns:
        By modality, (N, 2, 61), or (M, 2, 61) with `rows`: manner (blunt, polite), label.

    Raises:
        DataError: The split is not synthetic, or a mask has the wrong shape.
    """
    samples = np.arange(len(split)) if rows is None else np.asarray(rows)
    task = task or world()
    masks = {} if valid is None else valid
    return {name: _in_chunks(name, task, split, masks.get(name), samples) for name in modalities}


def combine(logs: Mapping[str, Array], subset: Subset) -> Array:
    """Return the posterior of the label on `GRID` for one subset.

    Args:
        logs: Output of `log_likelihoods` for at least the modalities of the subset.
        subset: The modalities to use.

    Returns:
        Probabilities (N, 61); rows sum to 1. A sample without valid frames gets the prior.
    """
    return np.asarray(combine_with_manner(logs, subset).sum(axis=1))


def combine_with_manner(logs: Mapping[str, Array], subset: Subset) -> Array:
    """Return the joint posterior of manner and label for one subset, (N, 2, 61). The arguments are as in `combine`."""
    total = sum((logs[name] for name in subset.modalities), np.log(world().prior))
    weight = np.exp(total - total.max(axis=(1, 2), keepdims=True))
    return np.asarray(weight / weight.sum(axis=(1, 2), keepdims=True))


def _in_chunks(name: str, task: World, split: Split, mask: BoolArray | None, rows: NDArray[np.integer]) -> Array:
    frames = split.modalities.get(name)
    if frames is None:
        return np.zeros((len(rows), 2, len(GRID)))
    _check(name, task, frames, mask, len(rows))
    parts = []
    count = max(1, _FRAMES_AT_ONCE // max(1, frames.length))
    for start in range(0, len(rows), count):
        part = slice(start, start + count)
        # Masks of the same sample share the densities of its frames.
        samples, inverse = np.unique(rows[part], return_inverse=True)
        used = frames.select(samples)
        seen = used.valid[inverse] & (True if mask is None else mask[part])
        if name == "language":
            assert used.ids is not None  # noqa: S101 - checked by _check
            parts.append(language_likelihood(task.language, used.ids[inverse], seen)[:, EXPRESSED_INDEX])
        else:
            assert used.values is not None  # noqa: S101 - checked by _check
            chain = task.audio if name == "audio" else task.vision
            parts.append(_chain_likelihood(chain, _densities(chain, used.values), inverse, seen))
    return np.concatenate(parts)


def _check(name: str, task: World, frames: Frames, mask: BoolArray | None, count: int) -> None:
    if name == "language":
        fits = frames.ids is not None and frames.table is not None and len(frames.table) == len(task.language.table)
    else:
        chain = task.audio if name == "audio" else task.vision
        fits = frames.values is not None and frames.dim == len(chain.basis)
    if not fits:
        raise DataError(f"{name} is not synthetic. The posterior is known only for --data synthetic.")
    expected = (count, frames.valid.shape[1])
    if mask is not None and mask.shape != expected:
        raise DataError(f"The mask of {name} must have the shape {expected} of its frames, got {mask.shape}.")


def language_likelihood(language: TokenChain, ids: NDArray[np.integer], seen: BoolArray) -> Array:
    """Return log p(tokens | expressed sentiment), (N, 79), with the forward algorithm over the four states.

    Args:
        language: The chain.
        ids: Tokens (N, T).
        seen: Mask (N, T); tokens that are not seen are summed over.
    """
    unseen = language.joint.sum(axis=0)
    transitions = np.concatenate([language.joint, unseen[None]])
    tokens = np.where(seen, ids, len(language.joint))
    forward = np.zeros((len(ids), len(unseen), language.joint.shape[-1]))
    forward[:, 0] = 1.0
    log = np.zeros((len(ids), language.joint.shape[-1]))
    for position in range(ids.shape[1]):
        forward = np.einsum("nig,nijg->njg", forward, transitions[tokens[:, position]])
        forward, log = _rescale(forward, log)
    return log


def frames_likelihood(chain: FrameChain, values: FloatArray, seen: BoolArray) -> Array:
    """Return log p(frames | label, manner), (N, 2, 61), up to a constant per sample, with the forward algorithm.

    Args:
        chain: The chain of two states and the distribution of frames.
        values: Frames (N, T, d).
        seen: Mask (N, T); frames that are not seen are summed over.
    """
    return _chain_likelihood(chain, _densities(chain, values), np.arange(len(values)), seen)


def _chain_likelihood(chain: FrameChain, density: Array, rows: NDArray[np.integer], seen: BoolArray) -> Array:
    """Return the result of `frames_likelihood` for masks (M, T), from the densities (N, T, 2, 122) of the samples."""
    state = np.empty((len(rows), 2, 2 * len(GRID)))
    state[:, 0], state[:, 1] = 1.0 - chain.informative, chain.informative
    log = np.zeros((len(rows), 2 * len(GRID)))
    for position in range(density.shape[1]):
        forward = state * np.where(seen[:, position, None, None], density[rows, position], 1.0)
        forward, log = _rescale(forward, log)
        state = np.einsum("nig,ij->njg", forward, chain.transitions)
    return log.reshape(len(rows), 2, len(GRID))


def _densities(chain: FrameChain, values: FloatArray) -> Array:
    """Return the density of frames (N, T, d), scaled to at most 1 per frame.

    Returns:
        (N, T, 2, 122): not informative, informative; the labels for the blunt manner, then for the polite one.
    """
    axes = values.astype(np.float64) @ chain.basis[:3].T
    marker, label, manner = (axes[..., index, None] for index in range(3))
    variance = 1.0 + chain.clutter**2
    distractor = -0.5 * (marker**2 + label**2 / variance + np.log(variance))
    informative = -0.5 * ((marker - chain.marker) ** 2 + (label - chain.curve) ** 2)
    states = np.stack(np.broadcast_arrays(distractor, informative), axis=2)
    manners = [-0.5 * (manner - mean)[..., None] ** 2 for mean in (-chain.manner, chain.manner)]
    log = np.concatenate([states + manner_log for manner_log in manners], axis=3)
    return np.asarray(np.exp(log - log.max(axis=(2, 3), keepdims=True)))


def _rescale(forward: Array, log: Array) -> tuple[Array, Array]:
    """Scale forward probabilities (N, states, M) to sum to 1 over states; return them and the log scale (N, M)."""
    total = forward.sum(axis=1)
    return forward / total[:, None], log + np.log(total)
