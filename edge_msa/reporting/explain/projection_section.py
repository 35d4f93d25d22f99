"""t-SNE of representations in pictures and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.reporting.explain.projection_plots import Coloring, MapPanel, maps_picture, streams_picture
from edge_msa.reporting.explain.projections import FEWEST, NEIGHBORS, classes_of, middle_of, neighbor_share, plane_of
from edge_msa.reporting.explain.removal import nothing_left
from edge_msa.reporting.explain.samples import present
from edge_msa_runtime.modalities import MODALITIES, Subset

Represent = Callable[[Split, Subset], NDArray[np.float32]]
"""Joint representations (N, width) of a split's samples from a subset."""


@dataclass(frozen=True)
class Maps:
    """A picture as SVG ("" where there is none), lines about it, and by map how many neighbors are of one class."""

    svg: str
    notes: tuple[str, ...]
    shares: Mapping[str, float]


def subset_maps(represent: Represent, split: Split, task: Task) -> Maps:
    """A map of the joint representation from every subset that the split has, the fullest first."""
    coloring, (classes, names) = colouring_of(split, task), classes_of(split, task)
    panels, notes, shares, baseline = [], [], {}, 0.0
    for subset in sorted(Subset, key=lambda item: -len(item.value)):
        rows = np.flatnonzero(~nothing_left(split, subset))
        if not len(rows) or not all(present(split, name).any() for name in subset.modalities):
            continue
        kept = split.select(rows)
        vectors = represent(kept, subset)
        plane = plane_of(vectors)
        if plane is None:
            notes.append(f"{subset.value} is left out: of {len(rows)} samples fewer than {FEWEST} read differently.")
            continue
        share = neighbor_share(vectors, classes[rows], kept.groups)
        if share is not None:
            shares[subset.value], baseline = share[0], max(baseline, share[1])
        title = subset.value if share is None else f"{subset.value}: {100 * share[0]:.0f} %"
        panels.append(MapPanel(title, plane, coloring.of(rows)))
    if not panels:
        return Maps("", tuple(notes), {})
    if shares:
        notes.insert(0, _neighbors(names, baseline))
    notes.insert(
        0,
        "l is language, a audio, v vision. Each map was made alone: compare how well colors part, not where they lie.",
    )
    return Maps(maps_picture(panels, "joint", "t-SNE of the joint representation by subset"), tuple(notes), shares)


def stream_maps(streams: Mapping[str, NDArray[np.float32]], split: Split, task: Task) -> Maps:
    """ALMT's hyper-modality beside the modalities, in one map; of each modality the samples that have it."""
    coloring, (classes, names) = colouring_of(split, task), classes_of(split, task)
    has = {name: present(split, name) if name in MODALITIES else np.ones(len(split), np.bool_) for name in streams}
    kept = {name: np.flatnonzero(rows) for name, rows in has.items() if rows.any()}
    plane = plane_of(np.concatenate([streams[name][rows] for name, rows in kept.items()]), len(kept))
    if plane is None:
        return Maps("", (f"The streams' map is left out: fewer than {FEWEST} of their vectors differ.",), {})
    ends = np.cumsum([len(rows) for rows in kept.values()])
    planes = dict(zip(kept, np.split(plane, ends[:-1]), strict=True))
    found = {
        name: neighbor_share(streams[name][rows], classes[rows], split.select(rows).groups)
        for name, rows in kept.items()
    }
    shares = {name: share[0] for name, share in found.items() if share is not None}
    notes = []
    if shares:
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        notes.append(f"{_neighbors(names, max(share[1] for share in found.values() if share))} By stream: {told}.")
    picture = streams_picture(planes, {name: coloring.of(rows) for name, rows in kept.items()})
    return Maps(picture, tuple(notes), shares)


def colouring_of(split: Split, task: Task) -> Coloring:
    """How points of that split say their label."""
    if not np.isfinite(split.labels).all():
        return Coloring()
    if not task.is_score:
        classes, names = classes_of(split, task)
        return Coloring(classes=classes, names=names)
    middle = middle_of(split, task)
    reach = max(abs(task.low or 0.0), abs(task.high or 0.0)) or float(np.abs(split.labels - middle).max())
    return Coloring(split.labels, middle, reach or 1.0)


def _neighbors(names: tuple[str, ...], baseline: float) -> str:
    kinds = " or ".join(names)
    return (
        f"Percent: how often the {NEIGHBORS} nearest samples of other videos, in the vectors' own space, are mostly "
        f"of a sample's own class ({kinds}); always naming the larger class would give {100 * baseline:.0f} %."
    )
