"""One palette for every picture: a region keeps its colour, whatever else is shown."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Array

# Okabe and Ito's palette ("Color Universal Design", 2008), which colour-blind readers can tell apart. A region keeps
# its colour in every picture: it goes by the label, never by what else is shown.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
GREY = "#9AA0A6"
INK = "#222222"
# Labels beyond the palette walk through hue and lightness by steps which never fall near each other again soon, in one
# direction or in two: powers of the inverse plastic number (Roberts, "The unreasonable effectiveness of quasirandom
# sequences", 2018), and the golden ratio.
HUE_STEP, LIGHTNESS_STEP, GOLDEN = 0.7548776662466927, 0.5698402909980532, 0.6180339887498949
# Of OKLCH: from where ink is still seen on it to where it is still seen on white.
DARKEST, LIGHTEST, CHROMA = 0.48, 0.80, 0.15

Rgb = tuple[float, float, float]


def region_colour(label: int) -> Rgb:
    """Return the colour of a region, by its label: the palette's up to seven, then ever new hues and lightnesses."""
    if label == 0:
        return rgb(GREY)
    beyond = label - 1 - len(PALETTE)
    if beyond < 0:
        return rgb(PALETTE[label - 1])
    hue, lightness = beyond * HUE_STEP % 1, beyond * LIGHTNESS_STEP % 1
    return _from_oklch(DARKEST + (LIGHTEST - DARKEST) * lightness, CHROMA, hue)


def interface_colours(sides: Array) -> dict[tuple[int, int], Rgb]:
    """Return the colour of every interface: that of the region behind it, in another shade for each further one."""
    count: dict[int, int] = {}
    colours = {}
    for behind, front in np.unique(sides, axis=0).tolist():
        shade = 1 - 0.55 * (count.get(behind, 0) * GOLDEN % 1)
        red, green, blue = region_colour(behind)
        colours[behind, front] = (shade * red, shade * green, shade * blue)
        count[behind] = count.get(behind, 0) + 1
    return colours


def _from_oklch(lightness: float, chroma: float, hue: float) -> Rgb:
    """Return sRGB of a colour whose lightness looks the same in every hue (Ottosson, "OKLab", 2020).

    Where a screen has no such colour, of less chroma: hues would run together at the edge.
    """
    a, b = np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)
    while True:
        cones = np.array(_LMS) @ (lightness, chroma * a, chroma * b)
        linear = np.array(_RGB) @ cones**3
        if chroma < 1e-3 or (linear.min() >= 0 and linear.max() <= 1):
            break
        chroma *= 0.95
    linear = np.clip(linear, 0, 1)
    red, green, blue = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear).tolist()
    return red, green, blue


# OKLab to the cube roots of cone responses, and cone responses to linear sRGB.
_LMS = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def rgb(text: str) -> Rgb:
    """Turn "#RRGGBB" into three numbers from 0 to 1."""
    red, green, blue = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue
