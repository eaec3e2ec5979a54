"""A volume as an electron microscope shows it, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from meshcell.core.arrays import Array
from meshcell.core.hints import require
from meshcell.core.types import Volume
from meshcell.core.validation import label_of
from meshcell.imaging.microscope import CTF, distort
from meshcell.imaging.projection import project, tilt_angles
from meshcell.imaging.reconstruction import reconstruct


def stain(
    labels: Volume, densities: Mapping[str, float], *, membrane: float | None = None, blur: float = 0.0
) -> Volume:
    """Give every region a density, as stain or mass does in a microscope.

    Parameters
    ----------
    labels : Volume
    densities : dict[str, float]
        Region name -> density; 0 for those left out.
    membrane : float, optional
        Density of the voxels on both sides of every interface.
    blur : float, voxels
        Standard deviation of a Gaussian over the edges.

    Raises
    ------
    ValueError
        A region that is not there.

    Examples
    --------
    >>> cell = Volume(np.array([[[0, 1, 2]]]), 0.01, names={1: "cytosol", 2: "er"})
    >>> stain(cell, {"er": 3.0, "cytosol": 1.0}).data.ravel().tolist()
    [0.0, 1.0, 3.0]
    """
    require(labels, Volume, "stain(labels)")
    labels.require_labels("stain")
    data = np.zeros(labels.data.shape, np.float32)
    for name, density in densities.items():
        data[labels.data == label_of(labels.names, name)] = density
    if membrane is not None:
        data[membranes(labels)] = membrane
    return Volume(ndimage.gaussian_filter(data, blur) if blur else data, labels.spacing, labels.origin)


def membranes(labels: Volume) -> Array:
    """Mark the voxels on both sides of every interface between regions, outside included.

    Examples
    --------
    >>> membranes(Volume(np.array([[[0, 0, 1, 1, 1, 1]]]), 0.01)).astype(int).ravel().tolist()
    [0, 1, 1, 0, 0, 0]
    """
    require(labels, Volume, "membranes(labels)")
    from skimage.segmentation import find_boundaries

    labels.require_labels("membranes")
    return np.asarray(find_boundaries(labels.data, connectivity=1, mode="thick"))


def tomogram(
    volume: Volume,
    angles: Any = None,
    *,
    axis: str = "y",
    snr: float | None = None,
    misalignment: float = 0.0,
    ctf: CTF | None = None,
    method: str = "wbp",
    rng: int | np.random.Generator,
    **options: Any,
) -> Volume:
    """Project intensities, distort the images and reconstruct: what an electron tomogram shows of a volume.

    Parameters
    ----------
    volume : Volume
        Cubic voxels.
    angles : (n,) floats, degrees, optional
        `tilt_angles(60, 3)` by default.
    axis, snr, misalignment, ctf : optional
        As in `project` and `distort`.
    method : str
    rng : int or Generator
    **options : optional
        As in `reconstruct`.

    Returns
    -------
    Volume
        On the grid of the given one.

    Examples
    --------
    >>> ball = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0) < 5
    >>> found = tomogram(Volume(ball.astype(float), 0.01), tilt_angles(90, 3), rng=0)
    >>> bool(found.data[8, 8, 8] > 0.9)
    True
    """
    require(volume, Volume, "tomogram(volume, angles)", angles)
    series = project(volume, tilt_angles() if angles is None else angles, axis=axis)
    seen = distort(series, snr=snr, misalignment=misalignment, ctf=ctf, rng=rng)
    x, y, z = volume.data.shape
    found = reconstruct(seen, (x, y, z), method=method, spacing=volume.spacing, **options)
    return Volume(found.data, volume.spacing, volume.origin)
