"""Scatter plots of t-SNE projections: points as images inside SVG, so that the page stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.reporting.canvas import STYLE, figure_to_svg
from edge_msa.reporting.explain.plots import COLORS, MARKERS, STREAMS, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Plane = NDArray[np.float32]
"""Positions, (n, 2)."""
Classes = NDArray[np.int64]
"""Class of each sample, (n,); -1 for none."""

# Gray in the middle instead of white, so that neutral samples are visible on light and dark pages.
_SCORE_COLORS = ("#c2570c", "#e0a06a", "#9a9a9a", "#7aa6d8", "#2166c4")
_UNLABELED_COLOR = "#9a9a9a"
# Different from the colors and shapes of the streams.
_CLASS_COLORS = ("#d55e00", "#56b4e9", "#9467bd", "#8c8c1a", "#b0216a", "#2a8a57")
_CLASS_MARKERS = ("v", "P", "X", "p", "h", "*")


@dataclass(frozen=True)
class Coloring:
    """How the labels of samples determine colors. Without values and classes, all points are gray.

    Attributes:
        values: Scores, (n,).
        middle: Score of the middle color.
        reach: Distance of the outer colors' scores from the middle.
        classes: Class of each sample, (n,).
        names: Names of the classes.
    """

    values: FloatArray | None = None
    middle: float = 0.0
    reach: float = 1.0
    classes: Classes | None = None
    names: tuple[str, ...] = ()

    def select(self, rows: NDArray[np.integer]) -> Coloring:
        """Return the coloring of some of the samples."""
        values = None if self.values is None else self.values[rows]
        classes = None if self.classes is None else self.classes[rows]
        return Coloring(values, self.middle, self.reach, classes, self.names)


@dataclass(frozen=True)
class ProjectionPanel:
    """One scatter plot."""

    title: str
    plane: Plane
    coloring: Coloring


def projections_plot(panels: Sequence[ProjectionPanel], prefix: str, title: str) -> str:
    """Return scatter plots colored by label, four per row, as SVG."""
    import matplotlib as mpl

    columns = min(4, len(panels))
    with mpl.rc_context(STYLE):
        figure, axes = _create_figure(-(-len(panels) // columns), columns)
        for panel_axes, panel in zip(axes, panels, strict=False):
            _draw_panel(panel_axes, panel)
        for unused in axes[len(panels) :]:
            unused.set_visible(False)
        _add_label_legend(figure, axes[: len(panels)], panels[0].coloring)
        return figure_to_svg(figure, prefix, title)


def streams_plot(planes: Mapping[str, Plane], colorings: Mapping[str, Coloring]) -> str:
    """Return ALMT's streams in one projection, colored by stream and again by label, as SVG."""
    import matplotlib as mpl
    from matplotlib.lines import Line2D

    with mpl.rc_context(STYLE):
        figure, (left, right) = _create_figure(1, 2, height=4.2)
        handles = []
        for index, name in enumerate(STREAMS):
            if name in planes:
                style: dict[str, Any] = {"color": COLORS[index], "marker": MARKERS[index]}
                _draw_points(left, planes[name], **style)
                _draw_panel(right, ProjectionPanel("the same points, by label", planes[name], colorings[name]))
                handles.append(Line2D([], [], linestyle="", label=name, **style))
        _label_axes(left, "by stream")
        _add_legend_below(left, handles)
        _add_label_legend(figure, [right], next(iter(colorings.values())))
        return figure_to_svg(figure, "streams", "t-SNE of the hyper-modality, language, audio and vision")


def _create_figure(rows: int, columns: int, height: float | None = None) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height or 0.5 + 2.6 * rows), layout="constrained", dpi=160)
    figure.patch.set_visible(False)
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for panel_axes in axes:
        panel_axes.set_xticks([])
        panel_axes.set_yticks([])
        panel_axes.patch.set_visible(False)
    return figure, axes


def _draw_panel(axes: Axes, panel: ProjectionPanel) -> None:
    coloring = panel.coloring
    if coloring.classes is not None:
        for number in range(-1, len(coloring.names)):
            _draw_points(axes, panel.plane[coloring.classes == number], **_class_style(number))
    elif coloring.values is not None:
        _draw_points(axes, panel.plane, c=_score_colors(coloring))
    else:
        _draw_points(axes, panel.plane, color=_UNLABELED_COLOR)
    _label_axes(axes, panel.title)


def _draw_points(axes: Axes, plane: Plane, **style: Any) -> None:
    axes.scatter(plane[:, 0], plane[:, 1], s=11, linewidths=0, rasterized=True, **style)


def _label_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("t-SNE 1 (no unit)", fontsize=8)
    axes.set_ylabel("t-SNE 2 (no unit)", fontsize=8)


def _add_legend_below(axes: Axes, handles: Sequence[Line2D]) -> None:
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.07),
        ncols=3,
        fontsize=10,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _score_colors(coloring: Coloring) -> NDArray[np.float64]:
    colormap, norm = _score_scale(coloring)
    values = np.nan_to_num(np.asarray(coloring.values, np.float64), nan=coloring.middle)
    return np.asarray(colormap(norm(values)))


def _score_scale(coloring: Coloring) -> tuple[Colormap, Normalize]:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    low, high = coloring.middle - coloring.reach, coloring.middle + coloring.reach
    return LinearSegmentedColormap.from_list("scores", _SCORE_COLORS), Normalize(low, high)


def _class_style(number: int) -> dict[str, Any]:
    if number < 0:
        return {"color": _UNLABELED_COLOR, "marker": "."}
    index = number % len(_CLASS_COLORS)
    return {"color": _CLASS_COLORS[index], "marker": _CLASS_MARKERS[index]}


def _add_label_legend(figure: Figure, axes: Sequence[Axes], coloring: Coloring) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    if coloring.classes is not None:
        names = [*enumerate(coloring.names), (-1, "several or none")]
        handles = [Line2D([], [], linestyle="", label=name, **_class_style(number)) for number, name in names]
        if len(axes) == 1:
            _add_legend_below(axes[0], handles)
        else:
            figure.legend(handles=handles, loc="outside lower left", ncols=7, handletextpad=0.3, columnspacing=1.4)
    elif coloring.values is not None:
        colormap, norm = _score_scale(coloring)
        bar = figure.colorbar(ScalarMappable(norm, colormap), ax=axes, location="right", pad=0.02, fraction=0.05)
        bar.set_label("label (score)", fontsize=9)
        bar.ax.tick_params(labelsize=8, length=0)
