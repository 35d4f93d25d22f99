"""Colors of classes and emotions, the same in the page, the annotated video and the page of the server."""

from __future__ import annotations

import colorsys

# Paul Tol's "bright" scheme, which people who are color-blind can tell apart.
_BRIGHT = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
_STEP = 67 / 360
"""Difference of the hues of further colors."""


def label_color(number: int) -> str:
    """Return the color of the label with a number, such as `#4477aa`."""
    if number < len(_BRIGHT):
        return _BRIGHT[number]
    red, green, blue = colorsys.hls_to_rgb(number * _STEP % 1, 0.5, 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def label_rgb(number: int) -> tuple[int, int, int]:
    """Return the color of the label with a number as red, green and blue, 0 to 255."""
    color = label_color(number)
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
