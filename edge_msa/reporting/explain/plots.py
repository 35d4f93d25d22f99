"""The page's pictures of predictions and attention: inline SVG, heat maps as images inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa.data.dataset import FloatArray
from edge_msa.reporting.canvas import GRID, INK, MUTED, REFERENCE, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.explain.attention import AttendedFrames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Okabe and Ito's colors, told apart with any color vision and on light and dark paper; shapes say it again.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a8a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STREAMS = ("language", "audio", "vision", "hyper-modality")
WIDE = 10.0
_HEAT = "cividis"
_MOST_WORDS = 60


@dataclass(frozen=True)
class Line:
    """One line of the picture of predictions: its name, the label if known, predictions by what was read."""

    name: str
    label: float | None
    predictions: Mapping[str, float]


@dataclass(frozen=True)
class Panel:
    """One heat map: its title, what its rows and columns are, and the words of its columns where they are known."""

    title: str
    rows: str
    columns: str
    spread: AttendedFrames
    words: tuple[str, ...] = ()


def predictions_picture(lines: Sequence[Line], unit: str) -> str:
    """Each line's label and its prediction with everything and without each modality, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(WIDE, 1.2 + 0.36 * len(lines))
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        names = list(dict.fromkeys(name for line in lines for name in line.predictions))
        offsets = np.linspace(0.24, -0.24, len(names)) if len(names) > 1 else [0.0]
        for name, offset in zip(names, offsets, strict=True):
            places = [
                (line.predictions[name], at + offset) for at, line in enumerate(lines) if name in line.predictions
            ]
            across, down = zip(*places, strict=True)
            axes.scatter(across, down, s=46, label=name, zorder=3, **_look(name))
        for at, line in enumerate(lines):
            if line.label is not None:
                axes.vlines(line.label, at - 0.38, at + 0.38, color=REFERENCE, linewidth=2.4, label="label" * (not at))
            axes.axhline(at + 0.5, color=GRID, linewidth=0.8)
        _rows(axes, [line.name for line in lines])
        axes.set_xlabel(unit)
        axes.margins(x=0.06)
        handles, _ = axes.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower left", ncols=5, handletextpad=0.4, columnspacing=1.6)
        return figure_to_svg(
            figure, "predictions", "Predictions with all modalities and without each, beside the label"
        )


def guided_picture(maps: Mapping[str, FloatArray]) -> str:
    """AHL's mean weights (scales, tokens, tokens) by modality, in multiples of an even share, as SVG."""
    import matplotlib as mpl

    scales, tokens = next(iter(maps.values())).shape[:2]
    with mpl.rc_context(STYLE):
        figure = _figure(0.6 + 2.3 * len(maps))
        grid = figure.subplots(len(maps), scales, squeeze=False)
        most = _most([values.reshape(-1) for values in maps.values()])
        for across, (name, values) in zip(grid, maps.items(), strict=True):
            for scale, (axes, weights) in enumerate(zip(across, values, strict=True)):
                image = _heat(axes, weights, most)
                axes.set_title(f"{name}, scale {scale + 1}", loc="left", fontsize=10)
                axes.set_xlabel(f"{name} token", fontsize=9)
                _numbered(axes, tokens)
            across[0].set_ylabel("language token", fontsize=9)
        _bar(figure, image, list(grid.flat))
        return figure_to_svg(figure, "ahl", "Mean attention of language tokens over audio and vision tokens, by scale")


def spreads_picture(rows: Sequence[Sequence[Panel]], prefix: str) -> str:
    """Heat maps over frames of one sample, a row of panels each, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        heights = [2.0 if any(panel.words for panel in row) else 1.6 for row in rows]
        figure = _figure(sum(heights) + 0.3)
        grid = figure.add_gridspec(len(rows), max(map(len, rows)), height_ratios=heights)
        most = _most([panel.spread.weights.reshape(-1) for row in rows for panel in row])
        drawn = []
        for down, row in enumerate(rows):
            for across, panel in enumerate(row):
                place = grid[down, :] if len(row) == 1 else grid[down, across]
                drawn.append(figure.add_subplot(place))
                image = _heat(drawn[-1], panel.spread.weights, most)
                _annotate(drawn[-1], panel, first=not across)
        _bar(figure, image, drawn)
        return figure_to_svg(figure, prefix, "Attention over the frames of one sample")


def _annotate(axes: Axes, panel: Panel, *, first: bool) -> None:
    axes.set_title(panel.title, loc="left", fontsize=8)
    count, frames = panel.spread.weights.shape
    axes.set_yticks([0, count - 1], ["1", str(count)], fontsize=8)
    if first:
        axes.set_ylabel(panel.rows, fontsize=9)
    if panel.words and frames <= _MOST_WORDS:
        labels = axes.set_xticks(range(frames), panel.words, rotation=90, fontsize=8)
        for tick in labels:
            tick.label1.set_parse_math(False)  # a $ in what was said is no formula
        return
    axes.set_xlabel(panel.columns, fontsize=9)
    places = np.unique(np.linspace(0, frames - 1, min(frames, 5)).round().astype(int))
    axes.set_xticks(places, [str(place + 1) for place in places], fontsize=8)


def _heat(axes: Axes, weights: FloatArray, most: float) -> AxesImage:
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    from matplotlib.colors import TwoSlopeNorm

    even_in_the_middle = TwoSlopeNorm(1.0, vmin=0.0, vmax=most)
    return axes.imshow(weights, cmap=_HEAT, norm=even_in_the_middle, aspect="auto", interpolation="nearest")


def _most(values: Sequence[FloatArray]) -> float:
    """Where the colors end: at the largest but for the last half percent, and never below twice an even share."""
    return max(2.0, float(np.quantile(np.concatenate(values), 0.995)))


def _bar(figure: Figure, image: AxesImage, places: Sequence[Axes]) -> None:
    bar = figure.colorbar(image, ax=list(places), extend="max", location="right", pad=0.02, fraction=0.04)
    bar.set_label("times an even share", fontsize=9)
    most = image.get_clim()[1] or 2.0
    ticks = [0.0, 0.5, 1.0, (1.0 + most) / 2, most]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=8, length=0)


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, height), layout="constrained")
    figure.patch.set_visible(False)
    return figure


def _numbered(axes: Axes, tokens: int) -> None:
    places = sorted({0, tokens // 2, tokens - 1})
    axes.set_xticks(places, [str(place + 1) for place in places], fontsize=8)
    axes.set_yticks(places, [str(place + 1) for place in places], fontsize=8)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for tick in axes.yaxis.get_major_ticks():
        tick.label1.set_parse_math(False)


def _look(name: str) -> dict[str, Any]:
    """A prediction's color and shape: everything in ink, else those of the modality that is gone."""
    if name == "all":
        return {"color": INK, "marker": "o"}
    at = STREAMS.index(name.removeprefix("without "))
    return {"color": COLORS[at], "marker": MARKERS[at + 1], "edgecolors": MUTED, "linewidths": 0.4}
