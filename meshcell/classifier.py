"""A pixel classifier that learns from a few painted labels: features at some scales and a random forest.

scikit-learn grows the forest; it is kept as plain arrays, so that files hold no code and prediction needs numba alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from meshcell.filters import features
from meshcell.io.files import FileError, names_from_json, names_to_json, replacing, tagged, untagged
from meshcell.projection import Float32
from meshcell.threads import share
from meshcell.types import Array, Floats, Ints, Volume

FIELDS = ("roots", "splits", "thresholds", "left", "right", "shares", "labels")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained pixel classifier.

    Parameters
    ----------
    roots : (trees,) int32
        Row of every tree's first node.
    splits : (n,) int32
        Feature that a node looks at, -1 at a leaf.
    thresholds : (n,) float32
        Up to it the way goes left, above it right.
    left, right : (n,) int32
        Rows of the nodes that follow.
    shares : (n, k) float32
        Shares of the labels at a node.
    labels : (k,) int32
    scales : tuple of float
        Of `filters.features`, voxels.
    names : dict[int, str]
    """

    roots: Ints
    splits: Ints
    thresholds: Float32
    left: Ints
    right: Ints
    shares: Float32
    labels: Ints
    scales: tuple[float, ...]
    names: dict[int, str] = field(default_factory=dict)

    def probabilities(self, volume: Volume) -> Float32:
        """Return the probability of every label in every voxel, (nx, ny, nz, k)."""
        seen = features(standardized(volume), scales=self.scales).reshape(volume.data.size, -1)
        out = np.empty((len(seen), len(self.labels)), np.float32)
        trees = (self.roots, self.splits, self.thresholds, self.left, self.right, self.shares)
        pieces = -(-len(seen) // PIECE)
        share(_vote, pieces, len(seen) * len(self.roots) * 20, seen, *trees, out)
        return out.reshape(*volume.data.shape, -1)

    def predict(self, volume: Volume) -> Volume:
        """Return the most probable label of every voxel."""
        best = self.probabilities(volume).argmax(axis=-1)
        return Volume(self.labels[best], volume.spacing, volume.origin, self.names)


def train(
    volume: Volume,
    painted: Volume,
    *,
    unpainted: int = 255,
    scales: tuple[float, ...] = (0.7, 1.5, 3.0),
    trees: int = 50,
    most: int = 20_000,
    rng: int | np.random.Generator,
) -> Classifier:
    """Train a pixel classifier on painted voxels.

    Parameters
    ----------
    volume : Volume
        Intensities; taken relative to their mean, in standard deviations, in training as in use.
    painted : Volume
        Labels on the same grid, 0 is outside.
    unpainted : int
        The value of voxels that nobody painted.
    scales : tuple of float, voxels
    trees : int
    most : int
        Painted voxels of each label that are used; more are drawn from.
    rng : int or Generator

    Raises
    ------
    ValueError
        Another grid, or fewer than two labels painted.
    """
    from sklearn.ensemble import RandomForestClassifier

    from meshcell.phantoms.paths import generator

    painted.require_labels("train")
    if volume.data.shape != painted.data.shape:
        raise ValueError(f"volume and painted should lie on one grid; got {volume.data.shape}, {painted.data.shape}")
    draw = generator(rng)
    flat = painted.data.ravel()
    labels = [int(label) for label in np.unique(flat) if label != unpainted]
    if len(labels) < 2:
        raise ValueError(f"at least two labels should be painted, such as 0 for outside; got {labels}; paint another")
    own = [np.flatnonzero(flat == label) for label in labels]
    rows = np.concatenate([some if len(some) <= most else draw.choice(some, most, replace=False) for some in own])
    seen = features(standardized(volume), scales=scales).reshape(flat.size, -1)[rows]
    # One job: threads would share one generator in an order of their own.
    forest = RandomForestClassifier(
        trees, min_samples_leaf=3, class_weight="balanced", n_jobs=1, random_state=int(draw.integers(2**31))
    )
    forest.fit(seen, flat[rows])
    return _flattened(forest, scales, painted.names)


def save_classifier(path: str | Path, classifier: Classifier, *, overwrite: bool = False) -> None:
    """Write a classifier as an `.npz` archive of plain arrays."""
    path = Path(path)
    if path.suffix != ".npz":
        raise FileError(f"{path}: a classifier is written as .npz; rename it")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True, or choose another name")
    text = tagged("classifier", scales=list(classifier.scales), names=names_to_json(classifier.names))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, tag=np.array(text), **{name: getattr(classifier, name) for name in FIELDS})


def load_classifier(path: str | Path) -> Classifier:
    """Read a classifier; files that hold code (pickles) or loops instead of trees are refused."""
    path = Path(path)
    with np.load(path, allow_pickle=False) as archive:
        tag = untagged(str(archive["tag"]) if "tag" in archive else "", "classifier")
        if not tag or not set(FIELDS) <= set(archive.files):
            raise FileError(f"{path} should be a classifier written by save_classifier; it holds {archive.files}")
        arrays = {name: archive[name] for name in FIELDS}
    _check_trees(path, arrays)
    return Classifier(**arrays, scales=tuple(tag["scales"]), names=names_from_json(tag["names"]))


def standardized(volume: Volume) -> Volume:
    """Shift and scale intensities to mean 0 and standard deviation 1."""
    data = volume.data.astype(np.float32)
    return Volume((data - data.mean()) / max(float(data.std()), 1e-30), volume.spacing, volume.origin)


def _check_trees(path: Path, arrays: dict[str, Array]) -> None:
    n, k = len(arrays["splits"]), len(arrays["labels"])
    rows, inner = np.arange(n), arrays["splits"] >= 0
    sound = all(len(arrays[name]) == n for name in ("thresholds", "left", "right", "shares"))
    sound = sound and arrays["shares"].shape == (n, k) and bool(((arrays["roots"] >= 0) & (arrays["roots"] < n)).all())
    # Nodes come after their parents, so a walk down a tree ends.
    sound = sound and all(bool(((arrays[s] > rows) & (arrays[s] < n))[inner].all()) for s in ("left", "right"))
    if not sound:
        raise FileError(f"{path} is no sound classifier: its trees lead nowhere; write it again")


def _flattened(forest: Any, scales: tuple[float, ...], names: dict[int, str]) -> Classifier:
    """Lay the trees of a forest end to end."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    starts = np.concatenate([[0], np.cumsum([tree.node_count for tree in trees])])

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(tree, name) for tree in trees])

    shift = np.repeat(starts[:-1], np.diff(starts))
    shares = np.concatenate([tree.value[:, 0] for tree in trees])
    leaf = joined("children_left") < 0
    return Classifier(
        starts[:-1].astype(np.int32),
        np.where(leaf, -1, joined("feature")).astype(np.int32),
        joined("threshold").astype(np.float32),
        (joined("children_left") + shift).astype(np.int32),
        (joined("children_right") + shift).astype(np.int32),
        (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        forest.classes_.astype(np.int32),
        tuple(float(scale) for scale in scales),
        dict(names),
    )


# Voxels that one piece of work goes through.
PIECE = 4096


@njit(cache=True, nogil=True)
def _vote(
    first: int, last: int, seen: Any, roots: Any, splits: Any, thresholds: Any, left: Any, right: Any, shares: Any,
    out: Any,
) -> None:  # fmt: skip
    for row in range(first * PIECE, min(last * PIECE, len(seen))):
        for c in range(out.shape[1]):
            out[row, c] = 0
        for root in roots:
            node = root
            while splits[node] >= 0:
                node = left[node] if seen[row, splits[node]] <= thresholds[node] else right[node]
            for c in range(out.shape[1]):
                out[row, c] += shares[node, c] / len(roots)
