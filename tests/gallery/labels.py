"""Label volumes with known areas and volumes, sampled from implicit bodies; one voxel is one um unless said."""

import numpy as np

import meshcell as mc

AXIS = np.array([1.0, 0.7, 0.3]) / np.linalg.norm([1.0, 0.7, 0.3])


def sample(inside, n, spacing=1.0, names=None):
    """Label 1 where `inside(x, y, z)`, on n^3 voxels centred at the origin."""
    axis = (np.arange(n) - (n - 1) / 2) * spacing
    labels = inside(*np.meshgrid(axis, axis, axis, indexing="ij"))
    return mc.Volume(labels.astype(np.uint8), spacing, (axis[0],) * 3, names or {1: "body"})


def along(x, y, z):
    """Height above and distance from an axis that is no grid direction."""
    height = x * AXIS[0] + y * AXIS[1] + z * AXIS[2]
    return height, np.sqrt(np.maximum(x * x + y * y + z * z - height * height, 0))


def sphere(radius):
    """Volume, area and volume of a ball off the grid's centre."""
    centre = 0.13, -0.21, 0.3

    def inside(x, y, z):
        return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2

    return sample(inside, int(2 * radius + 8)), 4 * np.pi * radius**2, 4 / 3 * np.pi * radius**3


def torus(ring=14.0, radius=3.0):
    def inside(x, y, z):
        height, distance = along(x, y, z)
        return (distance - ring) ** 2 + height**2 < radius**2

    return sample(inside, 44), 4 * np.pi**2 * ring * radius, 2 * np.pi**2 * ring * radius**2


def tube(radius=3.0, half=20.0):
    """A capsule."""

    def inside(x, y, z):
        height, distance = along(x, y, z)
        return distance**2 + np.maximum(np.abs(height) - half, 0) ** 2 < radius**2

    area = 4 * np.pi * radius * half + 4 * np.pi * radius**2
    return sample(inside, 52), area, 2 * np.pi * radius**2 * half + 4 / 3 * np.pi * radius**3


def sheet(radius=20.0, half=1.0):
    """A disc with a rounded rim, two voxels thick."""

    def inside(x, y, z):
        height, distance = along(x, y, z)
        return height**2 + np.maximum(distance - radius, 0) ** 2 < half**2

    area = 2 * np.pi * radius**2 + 2 * np.pi**2 * half * radius + 4 * np.pi * half**2
    volume = 2 * np.pi * radius**2 * half + np.pi**2 * half**2 * radius + 4 / 3 * np.pi * half**3
    return sample(inside, 48), area, volume


def nested_balls(n=24):
    """A ball of label 2 within a ball of label 1."""
    axis = np.arange(n) - (n - 1) / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    r = np.sqrt(x * x + y * y + z * z) / n
    labels = np.where(r < 0.22, 2, np.where(r < 0.42, 1, 0)).astype(np.uint8)
    return mc.Volume(labels, "10 nm", names={1: "cytosol", 2: "er"})


def halves(n=20):
    """A ball cut into two touching halves: three regions meet along a circle."""
    axis = np.arange(n) - (n - 1) / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    labels = np.where(x * x + y * y + z * z < (0.4 * n) ** 2, np.where(x + 0.4 * y < 0, 1, 2), 0).astype(np.uint8)
    return mc.Volume(labels, 1.0, names={1: "left", 2: "right"})


def voronoi(n=20, cells=6, seed=1):
    """Cells that fill the box and all touch."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, n, (cells, 3))
    voxels = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1)
    distance = ((voxels[..., None, :] - seeds) ** 2).sum(axis=-1)
    return mc.Volume((distance.argmin(axis=-1) + 1).astype(np.int16), 1.0)


def noise(seed):
    """Random labels in a small box: islands, diagonal contacts, all box faces touched, anisotropic voxels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, rng.integers(2, 6), rng.integers(2, 9, 3))
    labels.flat[0] = 1
    return mc.Volume(labels, tuple(rng.uniform(0.2, 1, 3)))


def scraps(seed):
    """Random labels of five characters, 2-30 labels, anisotropy up to 5: what a mesher must never refuse."""
    rng = np.random.default_rng([seed, 7])
    shape, n = rng.integers(4, 12, 3), int(rng.integers(2, 31))
    x = np.stack(np.meshgrid(*[np.arange(k) for k in shape], indexing="ij"), axis=-1)
    if seed % 5 == 0:  # every voxel its own
        labels = rng.integers(0, n, shape // 2 + 1)
    elif seed % 5 == 1:  # cells that fill the box
        labels = ((x[..., None, :] - rng.uniform(0, shape, (n, 3))) ** 2).sum(axis=-1).argmin(axis=-1) + 1
    elif seed % 5 == 2:  # cells with islands and holes
        labels = ((x[..., None, :] - rng.uniform(0, shape, (n, 3))) ** 2).sum(axis=-1).argmin(axis=-1)
        labels[rng.random(shape) < 0.05] = rng.integers(0, n)
    elif seed % 5 == 3:  # diagonal contacts
        labels = np.where((x.sum(axis=-1) % 2 == 0) & (rng.random(shape) < 0.6), 1, rng.integers(0, 2) * (n - 1))
    else:  # islands of one to three voxels
        labels = np.where(rng.random(shape) < 0.15, rng.integers(1, n, shape), 0)
    labels.flat[0] = 1
    least = rng.uniform(0.004, 0.03)
    return mc.Volume(
        labels.astype(np.int16), tuple(least * rng.permutation([1.0, rng.uniform(1, 5), rng.uniform(1, 5)]))
    )


def tangle(seed):
    """Random labels of ten characters: `scraps`, and five more that are larger, thinner or fill the box."""
    if seed % 10 < 5:
        return scraps(seed)
    rng = np.random.default_rng([seed, 11])
    n = int(rng.integers(2, 31))
    grid = {5: _cells, 6: _blobs, 7: _checkers, 8: _threads, 9: _full_noise}[seed % 10](n, rng)
    least = rng.uniform(0.004, 0.03)
    spacing = least * rng.permutation([1.0, rng.uniform(1, 5), rng.uniform(1, 5)])
    return mc.Volume(grid.astype(np.int16), tuple(spacing))


def _grid(shape):
    return np.stack(np.meshgrid(*[np.arange(k) for k in shape], indexing="ij"), axis=-1)


def _cells(n, rng):
    """Cells of 10 to 24 voxels a side that fill the box, with islands of other cells in them."""
    shape = rng.integers(10, 25, 3)
    distances = ((_grid(shape)[..., None, :] - rng.uniform(0, shape, (n, 3))) ** 2).sum(axis=-1)
    labels = distances.argmin(axis=-1) + 1
    labels[rng.random(shape) < 0.01] = rng.integers(1, n + 1)
    return labels


def _blobs(n, rng):
    """The greatest of `n` smoothed noises: round bodies with handles and hollows that touch all faces of the box."""
    from scipy.ndimage import gaussian_filter

    shape = rng.integers(10, 21, 3)
    noises = np.stack([gaussian_filter(rng.normal(size=shape), 1.2) for _ in range(min(n, 6))])
    return noises.argmax(axis=0)


def _checkers(n, rng):
    """Blocks of one or two voxels of two or three labels in turn: every edge is a diagonal contact."""
    labels = (_grid(rng.integers(2, 7, 3)).sum(axis=-1) % rng.integers(2, 4) + rng.integers(0, 2)) * (n // 2)
    return labels.repeat(rng.integers(1, 3), axis=0).repeat(rng.integers(1, 3), axis=1)


def _threads(n, rng):
    """Walks of single voxels and sheets one voxel thick, in a bath or in the open."""
    shape = rng.integers(8, 25, 3)
    labels = np.full(shape, rng.integers(0, 2))
    for label in range(2, min(n, 6) + 1):
        axis = rng.integers(3)
        labels.swapaxes(0, axis)[rng.integers(shape[axis])] = np.where(rng.random() < 0.5, label, labels.flat[0])
    for label in range(n, n + 3):
        steps = rng.choice(np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)]), int(2 * shape.max()))
        path = np.clip(rng.integers(shape) + steps.cumsum(axis=0), 0, shape - 1)
        labels[tuple(path.T)] = label
    return labels


def _full_noise(n, rng):
    """Every voxel its own label and none outside, so that all faces of the box are touched everywhere."""
    return rng.integers(1, n + 1, rng.integers(2, 7, 3))
