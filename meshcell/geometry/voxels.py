"""What can be counted on label voxels in a few passes: components, thin parts, contacts, box faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from meshcell.core.adjacency import join
from meshcell.core.arrays import Array
from meshcell.core.kernels import njit
from meshcell.core.types import Volume
from meshcell.core.validation import OUTSIDE


@dataclass(frozen=True, eq=False)
class Components:
    """Connected pieces of every label, outside included, by 6-connectivity.

    Parameters
    ----------
    labels : (c,) int
        The label of every component.
    sizes : (c,) int64
        Its voxels.
    touching : (c,) bool
        Whether it reaches a face of the box.
    first : (c, 3) int64
        Its first voxel in memory order.
    """

    labels: Array
    sizes: Array
    touching: Array
    first: Array


def components(volume: Volume) -> Components:
    """Find the connected pieces of every label by 6-connectivity, all labels in one pass.

    Notes
    -----
    Union-find over faces between equal voxels; the smaller index is the root (Hoshen and Kopelman 1976).

    Examples
    --------
    >>> found = components(Volume(np.array([[[1, 0, 1]]]), spacing=1.0))
    >>> found.labels.tolist(), found.sizes.tolist()
    ([1, 0, 1], [1, 1, 1])
    """
    parents, roots = _parents(volume)
    sizes, touching = _measured(parents, roots)
    first = np.stack(np.unravel_index(roots, volume.data.shape), axis=1)
    return Components(volume.data.ravel()[roots], sizes, touching, first)


def component_numbers(volume: Volume) -> tuple[Array, int]:
    """Return for every voxel the row of its piece in `components`, and how many pieces there are."""
    parents, roots = _parents(volume)
    # By a table: a search for every voxel takes ten times as long.
    rows = np.empty_like(parents).ravel()
    rows[roots] = np.arange(len(roots))
    return rows[parents], len(roots)


def _parents(volume: Volume) -> tuple[Array, Array]:
    """Return the root of every voxel's piece, and all roots in order."""
    volume.require_labels("components")
    data = np.ascontiguousarray(volume.data)
    # 32 bits halve the memory of the one large array.
    dtype = np.int32 if data.size <= np.iinfo(np.int32).max else np.int64
    parents = _components(data, np.zeros(data.shape, dtype))
    return parents, _roots(parents.ravel())


def depths_of(volume: Volume) -> Array:
    """Return the distance of every voxel from the nearest face towards another label, um; the box is no such face."""
    labels, spacing = volume.data, np.array(volume.spacing)
    inner = np.ones(labels.shape, bool)
    for axis in range(3):
        equal = np.diff(labels, axis=axis) == 0
        head, tail = [slice(None)] * 3, [slice(None)] * 3
        head[axis], tail[axis] = slice(None, -1), slice(1, None)
        inner[tuple(head)] &= equal
        inner[tuple(tail)] &= equal
        head[axis], tail[axis] = slice(None, 1), slice(-1, None)
        for end in (head, tail):
            inner[tuple(end)] &= labels[tuple(end)] == OUTSIDE
    if inner.all():
        return np.full(labels.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(inner, sampling=spacing) + spacing.min() / 2)


def thin_voxels(volume: Volume) -> Array:
    """Mark the voxels in parts thinner than two: those in no block of 2 x 2 x 2 voxels of their label.

    Returns
    -------
    (nx, ny, nz) bool
        What lies beyond the box counts as more of the same, so that a part cut by the box is not called thin there.

    Examples
    --------
    >>> sheet = np.zeros((4, 4, 4), int)
    >>> sheet[1] = 1
    >>> int(thin_voxels(Volume(sheet, spacing=1.0))[sheet == 1].sum())
    16
    """
    volume.require_labels("thin_voxels")
    return np.asarray(~_thick(np.ascontiguousarray(volume.data)))


def diagonal_contacts(volume: Volume) -> dict[int, int]:
    """Count, for every label but 0, the voxel edges along which it touches itself only diagonally.

    Around such an edge the label holds two opposite voxels and neither of the others: whether they are joined is a
    matter of convention, and a net of voxel faces is not a manifold there.

    Examples
    --------
    >>> diagonal_contacts(Volume(np.array([[[1], [0]], [[0], [1]]]), spacing=1.0))
    {1: 1}
    """
    volume.require_labels("diagonal_contacts")
    where = _diagonals(np.ascontiguousarray(volume.data))
    labels, counts = np.unique(where, return_counts=True)
    return {int(label): int(count) for label, count in zip(labels, counts, strict=True)}


def box_faces(volume: Volume) -> dict[int, list[str]]:
    """List the faces of the box, "x-" ... "z+", that every label but 0 reaches.

    Examples
    --------
    >>> box_faces(Volume(np.array([[[1, 0, 0]]]), spacing=1.0))
    {1: ['x-', 'x+', 'y-', 'y+', 'z-']}
    """
    volume.require_labels("box_faces")
    reached: dict[int, list[str]] = {}
    for axis, letter in enumerate("xyz"):
        for end, sign in ((0, "-"), (-1, "+")):
            for label in np.unique(volume.data.take(end, axis)):
                if label != 0:
                    reached.setdefault(int(label), []).append(letter + sign)
    return dict(sorted(reached.items()))


def interface_area(volume: Volume) -> tuple[int, float]:
    """Count the voxel faces between labels (the box's included) and estimate the area of the smooth interfaces, um^2.

    Notes
    -----
    A plane of any direction has, averaged over directions, 3/2 of its area in voxel faces.
    """
    volume.require_labels("interface_area")
    n = 0
    area = 0.0
    for axis in range(3):
        step = int(np.count_nonzero(np.diff(volume.data, axis=axis)))
        step += sum(int(np.count_nonzero(volume.data.take(end, axis))) for end in (0, -1))
        n += step
        area += step * float(np.prod(volume.spacing)) / volume.spacing[axis]
    return n, area / 1.5


# --- kernels ---


@njit(cache=True)
def _components(labels: Any, result: Any) -> Any:
    nx, ny, nz = labels.shape
    parents = result.reshape(-1)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                here = (i * ny + j) * nz + k
                label = labels[i, j, k]
                back = k > 0 and labels[i, j, k - 1] == label
                parents[here] = parents[here - 1] if back else here
                # Where the last voxel has the same neighbour there, all are joined already.
                if j > 0 and labels[i, j - 1, k] == label and not (back and labels[i, j - 1, k - 1] == label):
                    join(parents, here - nz, here)
                if i > 0 and labels[i - 1, j, k] == label and not (back and labels[i - 1, j, k - 1] == label):
                    join(parents, here - ny * nz, here)
    for i in range(parents.size):
        parents[i] = parents[parents[i]]
    return result


@njit(cache=True)
def _roots(parents: Any) -> Any:
    """List the voxels that are their own parents."""
    n = 0
    for i in range(parents.size):
        n += parents[i] == i
    roots = np.empty(n, np.int64)
    n = 0
    for i in range(parents.size):
        if parents[i] == i:
            roots[n] = i
            n += 1
    return roots


@njit(cache=True)
def _measured(roots_of: Any, roots: Any) -> Any:
    nx, ny, nz = roots_of.shape
    sizes = np.zeros(roots.size, np.int64)
    touching = np.zeros(roots.size, np.bool_)
    last, row = -1, 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                root = roots_of[i, j, k]
                # Neighbours mostly belong together.
                if root != last:
                    row = np.searchsorted(roots, root)
                    last = root
                sizes[row] += 1
                if i == 0 or j == 0 or k == 0 or i == nx - 1 or j == ny - 1 or k == nz - 1:
                    touching[row] = True
    return sizes, touching


@njit(cache=True)
def _thick(labels: Any) -> Any:
    nx, ny, nz = labels.shape
    result = np.zeros(labels.shape, np.bool_)
    # Blocks begin one voxel before the box: indices are held inside it, which repeats the outermost voxels.
    for i in range(-1, nx):
        for j in range(-1, ny):
            for k in range(-1, nz):
                a, b, c = max(i, 0), max(j, 0), max(k, 0)
                d, e, f = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
                here = labels[a, b, c]
                if (
                    labels[a, b, f] == here
                    and labels[a, e, c] == here
                    and labels[a, e, f] == here
                    and labels[d, b, c] == here
                    and labels[d, b, f] == here
                    and labels[d, e, c] == here
                    and labels[d, e, f] == here
                ):
                    for u in (a, d):
                        for v in (b, e):
                            for w in (c, f):
                                result[u, v, w] = True
    return result


@njit(cache=True)
def _diagonals(labels: Any) -> Any:
    nx, ny, nz = labels.shape
    found = [labels[0, 0, 0]]
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                for axis in range(3):
                    # The other three voxels around the edge that runs along `axis`, towards larger indices.
                    if axis == 0:
                        p, q, r, s, t, u = i, j + 1, k, i, j, k + 1
                    elif axis == 1:
                        p, q, r, s, t, u = i + 1, j, k, i, j, k + 1
                    else:
                        p, q, r, s, t, u = i + 1, j, k, i, j + 1, k
                    # Two that are the same are joined, and most are.
                    if p >= nx or q >= ny or labels[p, q, r] == labels[i, j, k]:
                        continue
                    d, e, f = max(p, s), max(q, t), max(r, u)
                    if e >= ny or f >= nz:
                        continue
                    here, across = labels[i, j, k], labels[d, e, f]
                    one, other = labels[p, q, r], labels[s, t, u]
                    if here != 0 and here == across and one != here and other != here:
                        found.append(here)
                    if one != 0 and one == other and here != one and across != one:
                        found.append(one)
    return np.array(found[1:], dtype=labels.dtype)
