"""Plots of predictions and attention: inline SVG, with heat maps as images inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa.data.dataset import FloatArray
from edge_msa.reporting.canvas import GRID, INK, MUTED, REFERENCE, STYLE, create_figure, figure_to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# The colors of Okabe and Ito are distinguishable with any color vision. Shapes repeat the information.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STREAMS = ("language", "audio", "vision", "hyper-modality")
"""Colors and markers belong to these streams, in this order."""
WIDTH = 10.0
"""Width of the figures, in inches."""
_COLORMAP = "cividis"
_MAX_WORDS = 60


@dataclass(frozen=True)
class PredictionRow:
    """One row of the predictions plot.

    Attributes:
        title: Name of the row.
        label: The label, if known.
        predictions: Predictions from `all` modalities and `without <modality>`.
    """

    title: str
    label: float | None
    predictions: Mapping[str, float]


@dataclass(frozen=True)
class Panel:
    """One heat map of attention.

    Attributes:
        title: Title above the heat map.
        row_label: What a row is.
        column_label: What a column is.
        weights: (rows, columns). 1 is uniform attention.
        words: Words of the columns, if known.
    """

    title: str
    row_label: str
    column_label: str
    weights: FloatArray
    words: tuple[str, ...] = ()


def predictions_plot(rows: Sequence[PredictionRow], axis_label: str) -> str:
    """Return a plot of each row's label and predictions, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(WIDTH, 1.2 + 0.36 * len(rows))
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        names = list(dict.fromkeys(name for row in rows for name in row.predictions))
        offsets = np.linspace(0.24, -0.24, len(names)) if len(names) > 1 else [0.0]
        for name, offset in zip(names, offsets, strict=True):
            x = [row.predictions[name] for row in rows if name in row.predictions]
            y = [position + offset for position, row in enumerate(rows) if name in row.predictions]
            axes.scatter(x, y, s=46, label=name, zorder=3, **_marker_style(name))
        legend_label = "label"
        for position, row in enumerate(rows):
            if row.label is not None:
                low, high = position - 0.38, position + 0.38
                axes.vlines(row.label, low, high, color=REFERENCE, linewidth=2.4, label=legend_label)
                legend_label = ""
            axes.axhline(position + 0.5, color=GRID, linewidth=0.8)
        _label_rows(axes, [row.title for row in rows])
        axes.set_xlabel(axis_label)
        axes.margins(x=0.06)
        handles, _ = axes.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower left", ncols=5, handletextpad=0.4, columnspacing=1.6)
        title = "Predictions from all modalities and without each, next to the label"
        return figure_to_svg(figure, "predictions", title)


def guided_weights_plot(weights: Mapping[str, FloatArray]) -> str:
    """Return heat maps of AHL's mean weights (scales, tokens, tokens) by modality, as SVG."""
    import matplotlib as mpl

    scales, tokens = next(iter(weights.values())).shape[:2]
    with mpl.rc_context(STYLE):
        figure = _create_wide_figure(0.6 + 2.3 * len(weights))
        grid = figure.subplots(len(weights), scales, squeeze=False)
        limit = _color_limit([values.reshape(-1) for values in weights.values()])
        for row, (name, values) in zip(grid, weights.items(), strict=True):
            for scale, (axes, mean_weights) in enumerate(zip(row, values, strict=True), 1):
                image = _draw_heat_map(axes, mean_weights, limit)
                axes.set_title(f"{name}, scale {scale}", loc="left", fontsize=10)
                axes.set_xlabel(f"{name} token", fontsize=9)
                _number_tokens(axes, tokens)
            row[0].set_ylabel("language token", fontsize=9)
        _add_colorbar(figure, image, list(grid.flat))
        return figure_to_svg(figure, "ahl", "Mean attention of language tokens over audio and vision tokens, by scale")


def attention_plot(rows: Sequence[Sequence[Panel]], prefix: str) -> str:
    """Return heat maps of one sample, with several panels per row, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        heights = [2.0 if any(panel.words for panel in row) else 1.6 for row in rows]
        figure = _create_wide_figure(sum(heights) + 0.3)
        grid = figure.add_gridspec(len(rows), max(map(len, rows)), height_ratios=heights)
        limit = _color_limit([panel.weights.reshape(-1) for row in rows for panel in row])
        drawn = []
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                drawn.append(figure.add_subplot(grid[i, :] if len(row) == 1 else grid[i, j]))
                image = _draw_heat_map(drawn[-1], panel.weights, limit)
                _label_panel(drawn[-1], panel, is_first=j == 0)
        _add_colorbar(figure, image, drawn)
        return figure_to_svg(figure, prefix, "Attention over the frames of one sample")


def _label_panel(axes: Axes, panel: Panel, *, is_first: bool) -> None:
    axes.set_title(panel.title, loc="left", fontsize=8)
    count, frames = panel.weights.shape
    axes.set_yticks([0, count - 1], ["1", str(count)], fontsize=8)
    if is_first:
        axes.set_ylabel(panel.row_label, fontsize=9)
    if panel.words and frames <= _MAX_WORDS:
        labels = axes.set_xticks(range(frames), panel.words, rotation=90, fontsize=8)
        for tick in labels:
            tick.label1.set_parse_math(False)  # A $ in a word does not start a formula.
        return
    axes.set_xlabel(panel.column_label, fontsize=9)
    positions = np.unique(np.linspace(0, frames - 1, min(frames, 5)).round().astype(int))
    axes.set_xticks(positions, [str(position + 1) for position in positions], fontsize=8)


def _draw_heat_map(axes: Axes, weights: FloatArray, limit: float) -> AxesImage:
    """Draw weights with the color of uniform attention in the middle of the color scale."""
    from matplotlib.colors import TwoSlopeNorm

    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=limit)
    return axes.imshow(weights, cmap=_COLORMAP, norm=norm, aspect="auto", interpolation="nearest")


def _color_limit(weights: Sequence[FloatArray]) -> float:
    """Return the end of the color scale: the 99.5 % quantile, but at least twice uniform attention."""
    return max(2.0, float(np.quantile(np.concatenate(weights), 0.995)))


def _add_colorbar(figure: Figure, image: AxesImage, axes: Sequence[Axes]) -> None:
    bar = figure.colorbar(image, ax=list(axes), extend="max", location="right", pad=0.02, fraction=0.04)
    bar.set_label("attention (1 = uniform)", fontsize=9)
    limit = image.get_clim()[1] or 2.0
    ticks = [0.0, 0.5, 1.0, (1.0 + limit) / 2, limit]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=8, length=0)


def _create_wide_figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    return figure


def _number_tokens(axes: Axes, tokens: int) -> None:
    positions = sorted({0, tokens // 2, tokens - 1})
    numbers = [str(position + 1) for position in positions]
    axes.set_xticks(positions, numbers, fontsize=8)
    axes.set_yticks(positions, numbers, fontsize=8)


def _label_rows(axes: Axes, titles: Sequence[str]) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.5, -0.5)
    for tick in axes.yaxis.get_major_ticks():
        tick.label1.set_parse_math(False)


def _marker_style(name: str) -> dict[str, Any]:
    """Return color and shape of a prediction: ink for all modalities, else those of the removed modality."""
    if name == "all":
        return {"color": INK, "marker": "o"}
    index = STREAMS.index(name.removeprefix("without "))
    return {"color": COLORS[index], "marker": MARKERS[index + 1], "edgecolors": MUTED, "linewidths": 0.4}
