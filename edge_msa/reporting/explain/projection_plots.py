"""The page's t-SNE pictures: points as images inside SVG, so that a thousand of them stay small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.reporting.canvas import STYLE, figure_to_svg
from edge_msa.reporting.explain.plots import COLORS, MARKERS, STREAMS, WIDE
from edge_msa.reporting.explain.projections import Classes, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Grey in the middle rather than white, so that neutral samples are there on light and on dark paper.
_SIGNED = ("#c2570c", "#e0a06a", "#9a9a9a", "#7aa6d8", "#2166c4")
_NONE = "#9a9a9a"
# Emotions' own, so that none is taken for a stream.
_CLASS_COLORS = ("#d55e00", "#56b4e9", "#9467bd", "#8c8c1a", "#b0216a", "#2a8a57")
_CLASS_MARKERS = ("v", "P", "X", "p", "h", "*")


@dataclass(frozen=True)
class Coloring:
    """How points say their label: `values` (N,) with a `middle` and `reach` around it, or `classes` with names."""

    values: FloatArray | None = None
    middle: float = 0.0
    reach: float = 1.0
    classes: Classes | None = None
    names: tuple[str, ...] = ()

    def of(self, rows: NDArray[np.integer]) -> Coloring:
        """That of some of the samples."""
        values = None if self.values is None else self.values[rows]
        classes = None if self.classes is None else self.classes[rows]
        return Coloring(values, self.middle, self.reach, classes, self.names)


@dataclass(frozen=True)
class MapPanel:
    """One map: its title, places (n, 2) and their coloring."""

    title: str
    plane: Plane
    coloring: Coloring


def maps_picture(panels: Sequence[MapPanel], prefix: str, title: str) -> str:
    """Maps side by side, four in a row, coloured by label, as SVG."""
    import matplotlib as mpl

    across = min(4, len(panels))
    with mpl.rc_context(STYLE):
        figure, places = _plots(-(-len(panels) // across), across)
        for axes, panel in zip(places, panels, strict=False):
            _map(axes, panel)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        _label_legend(figure, places[: len(panels)], panels[0].coloring)
        return figure_to_svg(figure, prefix, title)


def streams_picture(planes: Mapping[str, Plane], coloring: Mapping[str, Coloring]) -> str:
    """ALMT's streams in one map, as SVG: coloured by stream, and again by label."""
    import matplotlib as mpl
    from matplotlib.lines import Line2D

    with mpl.rc_context(STYLE):
        figure, (left, right) = _plots(1, 2, height=4.2)
        for name, plane in planes.items():
            at = STREAMS.index(name)
            _points(left, plane, color=COLORS[at], marker=MARKERS[at])
            _map(right, MapPanel("the same points by label", plane, coloring[name]))
        _name(left, "by stream")
        marks = [
            Line2D([], [], color=COLORS[at], marker=MARKERS[at], linestyle="", label=name)
            for at, name in enumerate(STREAMS)
            if name in planes
        ]
        _below(left, marks)
        first = next(iter(coloring.values()))
        _label_legend(figure, [right], first)
        return figure_to_svg(figure, "streams", "t-SNE of the hyper-modality beside language, audio and vision")


def _plots(down: int, across: int, height: float | None = None) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, height or 0.5 + 2.6 * down), layout="constrained", dpi=160)
    figure.patch.set_visible(False)
    places = list(np.ravel(figure.subplots(down, across, squeeze=False)))
    for axes in places:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.patch.set_visible(False)
    return figure, places


def _map(axes: Axes, panel: MapPanel) -> None:
    coloring = panel.coloring
    if coloring.classes is not None:
        for at in range(-1, len(coloring.names)):
            chosen = panel.plane[coloring.classes == at]
            _points(axes, chosen, **_class_look(at))
    elif coloring.values is not None:
        _points(axes, panel.plane, c=_shades(coloring))
    else:
        _points(axes, panel.plane, color=_NONE)
    _name(axes, panel.title)


def _points(axes: Axes, plane: Plane, **look: Any) -> None:
    axes.scatter(plane[:, 0], plane[:, 1], s=11, linewidths=0, rasterized=True, **look)


def _name(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("t-SNE 1 (no unit)", fontsize=8)
    axes.set_ylabel("t-SNE 2 (no unit)", fontsize=8)


def _below(axes: Axes, marks: Sequence[Line2D]) -> None:
    """A legend under its own axes, two rows of it at most."""
    axes.legend(
        handles=marks,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.07),
        ncols=3,
        fontsize=10,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _shades(coloring: Coloring) -> NDArray[np.float64]:
    map_, norm = _scale(coloring)
    values = np.nan_to_num(np.asarray(coloring.values, np.float64), nan=coloring.middle)
    return np.asarray(map_(norm(values)))


def _scale(coloring: Coloring) -> tuple[Colormap, Normalize]:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    low, high = coloring.middle - coloring.reach, coloring.middle + coloring.reach
    return LinearSegmentedColormap.from_list("signed", _SIGNED), Normalize(low, high)


def _class_look(at: int) -> dict[str, Any]:
    return (
        {"color": _NONE, "marker": "."}
        if at < 0
        else {"color": _CLASS_COLORS[at % 6], "marker": _CLASS_MARKERS[at % 6]}
    )


def _label_legend(figure: Figure, places: Sequence[Axes], coloring: Coloring) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    if coloring.classes is not None:
        names = [(at, name) for at, name in enumerate(coloring.names)] + [(-1, "several or none")]
        marks = [Line2D([], [], linestyle="", label=name, **_class_look(at)) for at, name in names]
        if len(places) == 1:
            _below(places[0], marks)
        else:
            figure.legend(handles=marks, loc="outside lower left", ncols=7, handletextpad=0.3, columnspacing=1.4)
    elif coloring.values is not None:
        map_, norm = _scale(coloring)
        bar = figure.colorbar(ScalarMappable(norm, map_), ax=places, location="right", pad=0.02, fraction=0.05)
        bar.set_label("label (score)", fontsize=9)
        bar.ax.tick_params(labelsize=8, length=0)
