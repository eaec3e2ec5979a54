"""Lengths as microscopes and programs spell them, and voxel sizes that no microscope has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# um per unit. With both letters for micro, and as ImageJ escapes them.
_MICRO = (
    "µm",
    "μm",
    "\\u00b5m",
    "\\u03bcm",
    "um",
    "micron",
    "microns",
    "micrometer",
    "micrometers",
    "micrometre",
    "micrometres",
)
LENGTHS = {
    **dict.fromkeys(("å", "\\u00c5", "\\u00e5", "angstrom", "angstroms", "ang", "a"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-3),
    **dict.fromkeys(_MICRO, 1.0),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 1e4),
    **dict.fromkeys(("inch", "inches", "in", '"'), 25400.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e6),
}
# um: below an atom's radius; above what resolves a cell. Programs write 1 mm, or 72 dots an inch, unless told better.
SMALLEST, LARGEST = 1e-5, 100.0


def um_per(unit: Any) -> float | None:
    """Return how many um a unit has, whatever its spelling; None where it is no length, such as a pixel.

    Examples
    --------
    >>> um_per("micron"), um_per("NM"), um_per("\\u00b5m"), um_per("pixel")
    (1.0, 0.001, 1.0, None)
    """
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return LENGTHS.get(text.strip().strip("\0").casefold())


def unlikely(spacing: Sequence[float]) -> str:
    """Say why a voxel size in um is no microscope's; an empty text where it may be one."""
    if not all(size > 0 for size in spacing):
        return "which is no size"
    if max(spacing) >= LARGEST:
        return f"so {max(spacing) / 1e3:.4g} mm, which programs write when they do not know it"
    if min(spacing) < SMALLEST:
        return f"so {min(spacing) * 1e4:.3g} A, less than an atom"
    return ""
