"""Charts of the layers of a graph: the order of the layers in time, their times, and the roofline of the machine.

Like the other charts of the page, they are SVG in relative units with the colors of the page.
"""

from __future__ import annotations

from markupsafe import Markup

from edge_msa.reporting.charts import Axis, line_element, plot_element, precision_class, text_element
from edge_msa.reporting.figures import LayerTime, LayerTimes
from edge_msa.reporting.layers import share_name
from edge_msa.text_tables import format_number
from edge_msa_runtime.wording import format_count


def layer_strip(item: LayerTimes, index: int) -> Markup:
    """Return all layers in the order in which they run, as one bar. The width of each is its time.

    Args:
        item: The layers.
        index: Their position in the figures.
    """
    parts, start = [], 0.0
    for number, layer in enumerate(item.layers):
        width = 100.0 * layer.time_us / item.total_us if item.total_us else 0.0
        template = Markup(
            '<g class="layer {}" data-figure="layers.{}.layers.{}" data-tip="{}">'
            '<rect x="{:.3f}%" y="0" width="{:.3f}%" height="100%"/></g>'
        )
        parts.append(template.format(_color(layer), index, number, describe_layer(layer), start, width))
        start += width
    shares = ", ".join(f"{share.name} {100 * share.time:.0f} % of the time" for share in item.shares)
    label = f"{format_count(len(item.layers), 'layer')} in the order in which they run: {shares}"
    template = Markup('<svg class="strip" width="100%" height="36" role="img" aria-label="{}">{}</svg>')
    return template.format(label, Markup("").join(parts))


def layer_bar(item: LayerTimes, layer: LayerTime, path: str) -> Markup:
    """Return the bar of a layer for a row of a table, with a mark at its bound.

    Args:
        item: The layers, whose slowest one determines the scale.
        layer: The layer.
        path: Where the figures contain it.
    """
    longest = max(other.time_us for other in item.layers) or 1.0
    template = Markup(
        '<svg class="bar {}" width="100%" height="22" aria-hidden="true" focusable="false" data-figure="{}" '
        'data-tip="{}"><rect x="0" y="20%" width="{:.2f}%" height="60%"/>'
        '<line class="bound" x1="{:.2f}%" x2="{:.2f}%" y1="5%" y2="95%"/></svg>'
    )
    bound = 100.0 * layer.bound_us / longest
    return template.format(_color(layer), path, describe_layer(layer), 100.0 * layer.time_us / longest, bound, bound)


def roofline_chart(item: LayerTimes, index: int) -> Markup:
    """Return MACs per second against MACs per byte of each layer with products, below the measured peaks.

    The peaks bound every layer (Williams et al. 2009, "Roofline: an insightful visual performance model").

    Args:
        item: The layers.
        index: Their position in the figures.

    Returns:
        The chart, "" if no layer has MACs.
    """
    layers = [
        (number, layer)
        for number, layer in enumerate(item.layers)
        if layer.macs and layer.bytes and layer.time_us and not layer.is_reformat
    ]
    if not layers:
        return Markup("")
    ridges = [peak / item.bytes_per_second for peak in item.macs_per_second.values()]
    used = {layer.precision for _, layer in layers}
    peaks = {name: peak for name, peak in item.macs_per_second.items() if name in used} or item.macs_per_second
    ridges = [peak / item.bytes_per_second for peak in peaks.values()]
    intensities = [layer.macs / layer.bytes for _, layer in layers]
    speeds = [layer.macs / layer.time_us / 1e3 for _, layer in layers]
    x = Axis(min([*intensities, *ridges]) / 2, max([*intensities, *ridges]) * 2, is_log=True)
    y = Axis(min(speeds) / 2, max(peak / 1e9 for peak in peaks.values()) * 2, is_log=True)
    parts = []
    for value in y.ticks(5):
        top = y.position(value)
        parts.append(line_element(0, top, 100, top, "grid"))
        parts.append(text_element("0", f"{100 - top:.2f}%", format_tick(value), dx="-8", dy=".35em", anchor="end"))
    for value in x.ticks(5):
        left = x.position(value)
        parts.append(line_element(left, 0, left, -1, "tick-mark"))
        parts.append(text_element(f"{left:.2f}%", "100%", format_tick(value), dy="1.5em"))
    bandwidth = item.bytes_per_second / 1e9
    # The bandwidth line starts at the lower edge of the chart, or at the left one.
    start = max(x.low, y.low / bandwidth)
    end = max(ridges)
    parts.append(
        line_element(
            x.position(start), y.position(start * bandwidth), x.position(end), y.position(end * bandwidth), "roof"
        )
    )
    for name, peak in peaks.items():
        ridge, height = peak / item.bytes_per_second, y.position(peak / 1e9)
        parts.append(line_element(x.position(ridge), height, 100, height, f"roof {precision_class(name)}"))
        parts.append(
            text_element(
                "100%", f"{100 - height:.2f}%", f"{name} {format_number(peak / 1e9)}", dy="-.4em", anchor="end"
            )
        )
    for (number, layer), intensity, speed in zip(layers, intensities, speeds, strict=True):
        template = Markup(
            '<g class="mark {}" data-figure="layers.{}.layers.{}" data-tip="{}">'
            '<svg x="{:.2f}%" y="{:.2f}%" overflow="visible"><path d="M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z"/></svg></g>'
        )
        place = x.position(intensity), 100 - y.position(speed)
        parts.append(template.format(_color(layer), index, number, describe_layer(layer), *place))
    label = f"Roofline of the machine, and {format_count(len(layers), 'layer')} with multiply-accumulate operations"
    return plot_element(parts, "plot roofline", label, role="img")


def format_tick(value: float) -> str:
    """Return a round value of an axis."""
    return f"{value:g}" if value < 10_000 else f"{value:,.0f}"


def describe_layer(layer: LayerTime) -> str:
    """Return a layer with its figures."""
    kind = f"{layer.precision}, reformat" if layer.is_reformat else layer.precision
    kernel = f", kernel {layer.kernel}" if layer.kernel else ""
    return (
        f"{layer.name}, {kind}: {layer.time_us:.1f} us, bound {format_number(layer.bound_us)} us, "
        f"{layer.macs:,} MACs, {layer.bytes:,} bytes{kernel}"
    )


def _color(layer: LayerTime) -> str:
    """Return the CSS classes of the color of a layer."""
    return "reformat" if layer.is_reformat else precision_class(share_name(layer))
