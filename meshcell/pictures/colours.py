"""One palette for every picture: a region keeps its colour, whatever else is shown."""

from __future__ import annotations

import numpy as np

from meshcell.core.arrays import Array

# Okabe and Ito's palette ("Color Universal Design", 2008), which colour-blind readers can tell apart. A region keeps
# its colour in every picture: it goes by the label, never by what else is shown.
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")
GREY = "#9AA0A6"
INK = "#222222"

Rgb = tuple[float, float, float]


def region_colour(label: int) -> Rgb:
    """Return the colour of a region, by its label; lighter from the eighth label on, where the palette begins again."""
    if label == 0:
        return _rgb(GREY)
    turn, index = divmod(label - 1, len(PALETTE))
    light = 1 - 0.7**turn
    red, green, blue = _rgb(PALETTE[index])
    return red + (1 - red) * light, green + (1 - green) * light, blue + (1 - blue) * light


def interface_colours(sides: Array) -> dict[tuple[int, int], Rgb]:
    """Return the colour of every interface: that of the region behind it, darker for each further one it has."""
    shade: dict[int, float] = {}
    colours = {}
    for behind, front in np.unique(sides, axis=0).tolist():
        factor = shade.get(behind, 1.0)
        red, green, blue = region_colour(behind)
        colours[behind, front] = (factor * red, factor * green, factor * blue)
        shade[behind] = 0.7 * factor
    return colours


def _rgb(text: str) -> Rgb:
    red, green, blue = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue
