"""From intensities to labels, and labels made clean."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from meshcell.core.arrays import Array
from meshcell.core.hints import require
from meshcell.core.types import Volume
from meshcell.geometry.voxels import component_numbers, components
from meshcell.imaging.filters import sheetness, voxel_steps
from meshcell.imaging.label_shares import greatest_shares
from meshcell.imaging.pixel_classifier import Classifier
from meshcell.imaging.unet import UNet

METHODS = ("otsu", "multiotsu", "hysteresis", "watershed", "membrane", "classifier", "unet")


def segment(
    volume: Volume,
    *,
    method: str = "otsu",
    classes: int = 2,
    low: float | None = None,
    high: float | None = None,
    width: float = 1.5,
    dark: bool = False,
    classifier: Classifier | None = None,
    unet: UNet | None = None,
    names: dict[int, str] | None = None,
) -> Volume:
    """Turn intensities into labels.

    Parameters
    ----------
    volume : Volume
    method : str
        "otsu", one threshold; "multiotsu", `classes` of brightness, the darkest outside; "hysteresis", what is above
        `low` and connected with something above `high`; "watershed", Otsu's foreground parted into bodies at its
        necks; "membrane", sheets about `width` voxels thick; "classifier" and "unet", by what was trained.
    classes : int
        For "multiotsu", outside included.
    low, high : float, optional
        For "hysteresis"; by default Otsu's threshold, and a quarter of the way from it to the mean of what is below.
    width : float, voxels
        For "membrane", and the least distance between bodies' middles for "watershed".
    dark : bool
        What is sought is dark, not bright.
    classifier : Classifier, optional
        From `classifier.train`.
    unet : UNet, optional
        From `unet.train_unet`.
    names : dict[int, str], optional

    Returns
    -------
    Volume
        Labels, 0 outside.

    Raises
    ------
    TypeError
        Labels instead of intensities.
    ValueError
        An unknown method, a constant volume, a missing classifier.

    Examples
    --------
    >>> picture = np.zeros((6, 6, 6)); picture[2:4, 2:4, 2:4] = 1.0
    >>> int(segment(Volume(picture, 0.01)).data.sum())
    8
    """
    require(volume, Volume, "segment(volume)")
    if volume.is_labels:
        raise TypeError(
            f"segment needs intensities (floats); got {volume.data.dtype} labels; nothing is to be done, unless "
            'these are grey values: load(..., kind="intensities"), or Volume(data.astype(np.float32), ...)'
        )
    if method not in METHODS:
        raise ValueError(f"method should be one of {', '.join(METHODS)}; got {method!r}")
    if method in ("classifier", "unet"):
        return _learned(volume, method, {"classifier": classifier, "unet": unet}[method], names)
    if volume.data.min() == volume.data.max():
        raise ValueError(f"a volume should have contrast to be segmented; all voxels are {volume.data.flat[0]}")
    data = -volume.data if dark else volume.data
    labels: Array
    if method == "multiotsu":
        labels = np.digitize(data, _thresholds(data, classes))
    elif method == "hysteresis":
        weak, strong = _limits(data)
        labels = _hysteresis(data, weak if low is None else low, strong if high is None else high)
    elif method == "membrane":
        sheets = sheetness(volume, width=width, dark=dark).data
        labels = _hysteresis(sheets, *_limits(sheets))
    elif method == "watershed":
        labels = _parted(data > _thresholds(data, 2)[0], volume, width)
    else:
        labels = data > _thresholds(data, 2)[0]
    return Volume(
        labels.astype(np.uint8 if labels.max() < 256 else np.int32), volume.spacing, volume.origin, names or {}
    )


def clean(labels: Volume, *, smallest: int = 27, holes: int = 27, smooth: float = 0.0) -> Volume:
    """Make labels fit for meshing: smooth ragged borders, drop specks, fill small holes.

    Parameters
    ----------
    labels : Volume
    smallest : int
        Pieces of a label with fewer voxels go to what surrounds them.
    holes : int
        Pieces of outside with fewer voxels that are enclosed go to what surrounds them.
    smooth : float, voxels
        Standard deviation of the Gaussian by which every label's share is smoothed; a voxel takes the greatest. Parts
        thinner than about twice that are lost.

    Returns
    -------
    Volume

    Notes
    -----
    A voxel that goes takes the label of the nearest voxel that stays.

    Examples
    --------
    >>> data = np.zeros((9, 9, 9), int); data[2:7, 2:7, 2:7] = 1; data[4, 4, 4] = 0; data[0, 0, 0] = 2
    >>> clean(Volume(data, 0.01)).counts
    {0: 604, 1: 125}
    """
    require(labels, Volume, "clean(labels)")
    labels.require_labels("clean")
    if smallest < 0 or holes < 0 or smooth < 0:
        raise ValueError(f"smallest, holes and smooth should be >= 0; got {smallest}, {holes}, {smooth}")
    data = greatest_shares(labels, smooth) if smooth else labels.data
    current = Volume(data, labels.spacing, labels.origin, labels.names)
    pieces = components(current)
    small = (pieces.sizes < smallest) & (pieces.labels != 0)
    small |= (pieces.sizes < holes) & (pieces.labels == 0) & ~pieces.touching
    if not small.any() or small.all():
        return current
    rows, _ = component_numbers(current)
    gone = small[rows]
    nearest = ndimage.distance_transform_edt(gone, labels.spacing, return_distances=False, return_indices=True)
    return Volume(data[tuple(nearest)], labels.spacing, labels.origin, labels.names)


def _learned(volume: Volume, method: str, trained: Classifier | UNet | None, names: dict[int, str] | None) -> Volume:
    if trained is None:
        maker = {"classifier": "classifier.train", "unet": "unet.train_unet"}[method]
        raise ValueError(f'method="{method}" needs {method}=, from meshcell.{maker}')
    found = trained.predict(volume)
    return Volume(found.data, volume.spacing, volume.origin, names or found.names)


def _thresholds(data: Array, classes: int) -> list[float]:
    from skimage.filters import threshold_multiotsu, threshold_otsu

    if classes == 2:
        return [float(threshold_otsu(data))]
    if int(classes) != classes or not 2 < classes < 6:
        raise ValueError(f"classes should be 2 to 5; got {classes!r}")
    return [float(limit) for limit in threshold_multiotsu(np.asarray(data), classes)]


def _limits(data: Array) -> tuple[float, float]:
    strong = _thresholds(data, 2)[0]
    return strong - (strong - float(data[data <= strong].mean())) / 4, strong


def _hysteresis(data: Array, low: float, high: float) -> Array:
    if not low <= high:
        raise ValueError(f"low should not be above high; got {low} and {high}")
    from skimage.filters import apply_hysteresis_threshold

    return np.asarray(apply_hysteresis_threshold(data, low, high))


def _parted(mask: Array, volume: Volume, apart: float) -> Array:
    """Part touching bodies where they are narrow: a watershed of the distance to outside."""
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    depth: Any = ndimage.distance_transform_edt(mask, volume.spacing)
    # Smoothed a little: the raster makes many equal peaks.
    depth = ndimage.gaussian_filter(depth, 1 / voxel_steps(volume)) * mask
    peaks = peak_local_max(depth, min_distance=max(1, round(apart)), labels=ndimage.label(mask)[0])
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, markers, mask=mask))
