"""How well two pictures agree: the Dice family and distances for labels, instances, and correlation for intensities.

Everywhere the first volume is the truth and the second the prediction; lengths are in um.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from scipy import ndimage

from meshcell.core.arrays import Array, Floats
from meshcell.core.hints import require
from meshcell.core.types import Volume
from meshcell.core.units import convert
from meshcell.core.validation import name_of


@dataclass(frozen=True)
class Overlap:
    """A Dice score with its two parts.

    Parameters
    ----------
    dice : float
        Harmonic mean of precision and sensitivity; 1 for two empty pictures.
    precision : float
        TP: the share of the prediction (or of its skeleton) that lies within the truth.
    sensitivity : float
        TS: the share of the truth (or of its skeleton) that lies within the prediction.
    """

    dice: float
    precision: float
    sensitivity: float


def dice(truth: Volume, predicted: Volume, *, label: int = 1) -> float:
    """Return 2 |A and B| / (|A| + |B|) of one label; 1 where both are empty.

    Parameters
    ----------
    truth, predicted : Volume
        Labels on one grid.
    label : int

    Returns
    -------
    float

    Examples
    --------
    >>> a, b = Volume(np.array([[[1, 1, 0, 0]]]), 1.0), Volume(np.array([[[0, 1, 1, 0]]]), 1.0)
    >>> dice(a, a), dice(a, b)
    (1.0, 0.5)
    """
    a, b = _masks(truth, predicted, label)
    return 2 * float((a & b).sum()) / total if (total := int(a.sum() + b.sum())) else 1.0


def cl_dice(truth: Volume, predicted: Volume, *, label: int = 1, tolerance: Any = 0.0) -> Overlap:
    """Compare filaments: the share of each one's centreline that lies within the other.

    Parameters
    ----------
    truth, predicted : Volume
    label : int
    tolerance : float or text, um
        A skeleton's voxel also counts when the other body is no farther away than this.

    Returns
    -------
    Overlap

    Notes
    -----
    Shit et al. 2021, CVPR, eq. 1-2, in three dimensions as Martinez-Sanchez et al. use it; skeletons after Lee et al.
    1994.

    Examples
    --------
    >>> line = np.zeros((3, 3, 8), int); line[1, 1] = 1
    >>> cl_dice(Volume(line, 1.0), Volume(line, 1.0)).dice
    1.0
    """
    from skimage.morphology import skeletonize

    a, b = _masks(truth, predicted, label)
    return _overlap(skeletonize(a), skeletonize(b), a, b, truth, tolerance)


def surface_dice(truth: Volume, predicted: Volume, *, label: int = 1, tolerance: Any = 0.0) -> Overlap:
    """Compare membranes: the share of each one's border voxels that lies within `tolerance` of the other's border.

    Parameters
    ----------
    truth, predicted : Volume
        Labels on one grid.
    label : int
    tolerance : float or text, um

    Returns
    -------
    Overlap

    Notes
    -----
    Border voxels have a face neighbour of another label; the box's faces are no border. For a membrane one voxel
    thick this compares medial sheets. With a tolerance of 0, a shift of a whole body by a voxel leaves only what
    slides along itself; state the tolerance with the figure. Nikolov et al. 2021, J. Med. Internet Res. 23, e26151.

    Examples
    --------
    >>> a, b = np.zeros((9, 9, 9), int), np.zeros((9, 9, 9), int)
    >>> a[4], b[5] = 1, 1
    >>> [surface_dice(Volume(a, 1.0), Volume(b, 1.0), tolerance=reach).dice for reach in (0, 1)]
    [0.0, 1.0]
    """
    a, b = (_border(mask) for mask in _masks(truth, predicted, label))
    return _overlap(a, b, a, b, truth, tolerance)


def point_dice(truth: Any, predicted: Any, *, tolerance: Any) -> Overlap:
    """Compare places of particles: matched one to one within `tolerance`, as many pairs as there can be.

    Parameters
    ----------
    truth, predicted : (n, 3) and (m, 3) floats, um
    tolerance : float or text, um

    Returns
    -------
    Overlap

    Examples
    --------
    >>> point_dice([[0, 0, 0], [5, 0, 0]], [[0.5, 0, 0], [0.2, 0, 0], [9, 0, 0]], tolerance=1)
    Overlap(dice=0.4, precision=0.3333333333333333, sensitivity=0.5)
    """
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from scipy.spatial import cKDTree

    a, b = (np.asarray(points, float).reshape(-1, 3) for points in (truth, predicted))
    reach = _tolerance(tolerance)
    if not len(a) or not len(b):
        return _scored(float(not len(b)), float(not len(a)))
    near = cKDTree(a).sparse_distance_matrix(cKDTree(b), reach, output_type="coo_matrix")
    # A distance of zero is no entry to a sparse matrix; what counts is that the pair is there.
    near.data[:] = 1
    pairs = int((maximum_bipartite_matching(near.tocsr(), perm_type="column") >= 0).sum())
    return _scored(pairs / len(b), pairs / len(a))


def boundary_distance(truth: Volume, predicted: Volume, *, label: int = 1) -> dict[str, float]:
    """Measure how far the borders of a label lie apart, um: mean, 95th percentile and greatest, both ways together.

    Raises
    ------
    ValueError
        The label is missing in one of them.
    """
    a, b = (_border(mask) for mask in _masks(truth, predicted, label))
    if not a.any() or not b.any():
        raise ValueError(f"label {label} should have a border in both volumes; it has voxels {a.sum()} and {b.sum()}")
    far = np.concatenate([_distance(b, truth)[a], _distance(a, truth)[b]])
    return {"mean": float(far.mean()), "percentile 95": float(np.percentile(far, 95)), "greatest": float(far.max())}


def variation_of_information(truth: Volume, predicted: Volume) -> tuple[float, float]:
    """Return the entropies in bits H(predicted | truth), splits, and H(truth | predicted), merges; 0 is perfect.

    Notes
    -----
    Instances are labels, "outside" one of them. Meila 2003; Nunez-Iglesias et al. 2013, PLoS ONE 8, e71715.

    Examples
    --------
    >>> a, b = Volume(np.array([[[1, 1, 1, 1]]]), 1.0), Volume(np.array([[[1, 1, 2, 2]]]), 1.0)
    >>> variation_of_information(a, b), variation_of_information(b, a)
    ((1.0, 0.0), (0.0, 1.0))
    """
    joint, a, b = _contingency(truth, predicted)
    n = joint.sum()
    return _entropy(joint, n) - _entropy(a, n), _entropy(joint, n) - _entropy(b, n)


def rand_index(truth: Volume, predicted: Volume) -> float:
    """Return the adjusted Rand index of instances: 1 for the same parts, 0 on average for random ones.

    Notes
    -----
    Hubert and Arabie 1985, J. Classification 2, 193, eq. 5.

    Examples
    --------
    >>> a = Volume(np.array([[[1, 1, 2, 2]]]), 1.0)
    >>> rand_index(a, Volume(np.array([[[7, 7, 3, 3]]]), 1.0))
    1.0
    """
    joint, a, b = (_pairs(counts) for counts in _contingency(truth, predicted))
    expected = a * b / _pairs(np.array([truth.data.size]))
    if (a + b) / 2 == expected:
        return 1.0
    return (joint - expected) / ((a + b) / 2 - expected)


def fsc(first: Volume, second: Volume) -> tuple[Floats, Floats]:
    """Correlate two intensity volumes shell by shell in Fourier space.

    Returns
    -------
    (k,) floats, 1/um
        Frequencies, the middle of every shell, up to Nyquist's of the coarsest axis.
    (k,) floats
        Fourier shell correlation; 1 for equal volumes.
    """
    _same_grid(first, second)
    f, g = (scipy.fft.fftn(volume.data.astype(np.float64)) for volume in (first, second))
    axes = [scipy.fft.fftfreq(n, h) for n, h in zip(first.data.shape, first.spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    step = max(1 / (n * h) for n, h in zip(first.data.shape, first.spacing, strict=True) if n > 1)
    # Rounding must not lose the last one.
    n_shells = int(0.5 / max(first.spacing) / step + 1e-9)
    shell = np.round(radius / step).astype(int).ravel()

    def sums(values: Array) -> Array:
        return np.bincount(shell, values.ravel(), minlength=n_shells + 1)[: n_shells + 1]

    power = np.sqrt(sums(np.abs(f) ** 2) * sums(np.abs(g) ** 2))
    ratio = np.divide(sums(np.real(f * g.conj())), power, out=np.zeros(n_shells + 1), where=power > 0)
    return step * np.arange(n_shells + 1), ratio


def snr(clean: Any, noisy: Any) -> float:
    """Return the variance of the clean picture over the variance of the difference.

    Examples
    --------
    >>> snr(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
    1.0
    """
    signal, recorded = np.asarray(clean, np.float64), np.asarray(noisy, np.float64)
    return float(signal.var() / (recorded - signal).var())


def scores(truth: Volume, predicted: Volume, *, tolerance: Any = 0.0) -> str:
    """Write a table of the scores of every region of the truth, and of the whole as instances.

    Parameters
    ----------
    truth, predicted : Volume
    tolerance : float or text, um
        For the surfaces: how far apart what counts as found may lie.

    Examples
    --------
    >>> a = Volume(np.array([[[0, 1, 1, 0]]]), 1.0, names={1: "er"})
    >>> print(scores(a, a))
    region        Dice  surface   TP      TS      distance um
    er            1.000   1.000   1.000   1.000   0
    surface, TP, TS within 0 um; variation of information 0 + 0 bits; adjusted Rand index 1
    """
    lines = ["region        Dice  surface   TP      TS      distance um"]
    for label in truth.regions:
        border = surface_dice(truth, predicted, label=label, tolerance=tolerance)
        there = bool((predicted.data == label).any())
        apart = f"{boundary_distance(truth, predicted, label=label)['mean']:.3g}" if there else "missing"
        lines.append(
            f"{name_of(truth.names, label):12}{dice(truth, predicted, label=label):7.3f} {border.dice:7.3f} "
            f"{border.precision:7.3f} {border.sensitivity:7.3f}   {apart}"
        )
    splits, merges = variation_of_information(truth, predicted)
    lines.append(
        f"surface, TP, TS within {_tolerance(tolerance):.4g} um; variation of information {splits:.3g} + {merges:.3g} "
        f"bits; adjusted Rand index {rand_index(truth, predicted):.3g}"
    )
    return "\n".join(lines)


def _same_grid(truth: Volume, predicted: Volume) -> None:
    for volume in (truth, predicted):
        require(volume, Volume, "comparing volumes")
    if truth.data.shape != predicted.data.shape or not np.allclose(truth.spacing, predicted.spacing, rtol=1e-5):
        raise ValueError(
            f"both volumes should lie on one grid; got {truth.data.shape} of {truth.spacing} um and "
            f"{predicted.data.shape} of {predicted.spacing} um; crop or resample one of them"
        )


def _masks(truth: Volume, predicted: Volume, label: int) -> tuple[Array, Array]:
    _same_grid(truth, predicted)
    truth.require_labels("a Dice score")
    predicted.require_labels("a Dice score")
    return truth.data == label, predicted.data == label


def _tolerance(tolerance: Any) -> float:
    reach = convert(tolerance, "um", "tolerance")
    if not reach >= 0:
        raise ValueError(f"tolerance should be a length >= 0; got {tolerance!r}")
    return reach


def _border(mask: Array) -> Array:
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def _distance(mask: Array, volume: Volume) -> Array:
    return np.asarray(ndimage.distance_transform_edt(~mask, volume.spacing))


def _overlap(a: Array, b: Array, body_a: Array, body_b: Array, volume: Volume, tolerance: Any) -> Overlap:
    """Score the parts a and b of two bodies by what of them lies in or near the other body."""
    reach = _tolerance(tolerance) * (1 + 1e-9)
    if not a.any() or not b.any():
        return _scored(float(not b.any()), float(not a.any()))
    in_a, in_b = ((body if reach == 0 else _distance(body, volume) <= reach) for body in (body_a, body_b))
    return _scored(float(in_a[b].mean()), float(in_b[a].mean()))


def _scored(precision: float, sensitivity: float) -> Overlap:
    total = precision + sensitivity
    return Overlap(2 * precision * sensitivity / total if total else 0.0, precision, sensitivity)


def _contingency(truth: Volume, predicted: Volume) -> tuple[Array, Array, Array]:
    """Count voxels of every pair of labels, of the truth's and of the prediction's labels."""
    _same_grid(truth, predicted)
    a, b = (np.unique(volume.data, return_inverse=True)[1].ravel() for volume in (truth, predicted))
    joint = np.bincount(a.astype(np.int64) * (int(b.max()) + 1) + b)
    return joint[joint > 0], np.bincount(a), np.bincount(b)


def _entropy(counts: Array, n: int) -> float:
    p = counts / n
    return -float((p * np.log2(p)).sum())


def _pairs(counts: Array) -> float:
    exact = counts.astype(np.float64)
    return float((exact * (exact - 1) / 2).sum())
