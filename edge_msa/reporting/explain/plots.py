"""Plot of the mean attention of AHL: inline SVG, with heat maps as images inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_msa.data.dataset import FloatArray
from edge_msa.reporting.canvas import STYLE, figure_to_svg

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
