"""A pixel classifier that learns from a few painted labels: features at some scales and a random forest.

A second forest may see what the first one found all around a voxel (auto-context): the inside of an organelle is as
grey as its outside, but a membrane runs around it. scikit-learn grows the forests; they are kept as plain arrays, so
that files hold no code and prediction needs numba alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.files import (
    FileError,
    archive_path,
    names_from_json,
    names_to_json,
    reading,
    replacing,
    tagged,
    untagged,
)
from meshcell.core.kernels import njit
from meshcell.core.randomness import generator
from meshcell.core.threads import share
from meshcell.core.types import Volume
from meshcell.imaging.filters import FEATURES, features
from meshcell.imaging.projection import Float32

# Scales at which a later forest looks at the probabilities of the one before, in sides of the finest voxel.
CONTEXT = (1.5, 4.0, 10.0)
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
        Of `filters.features`, sides of the finest voxel.
    names : dict[int, str]
    before : Classifier, optional
        Whose probabilities this one sees beside the picture.
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
    before: Classifier | None = None

    def probabilities(self, volume: Volume) -> Float32:
        """Return the probability of every label in every voxel, (nx, ny, nz, k)."""
        seen = _seen(standardized(volume), self.scales, self.before).reshape(volume.data.size, -1)
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
    rounds: int = 2,
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
        Of every forest.
    rounds : int
        Forests one after the other, each of which sees what the one before has found around a voxel (Tu and Bai 2010,
        IEEE Trans. PAMI 32, 1744). More than three bring little.
    most : int
        Painted voxels of each label that are used; more are drawn from.
    rng : int or Generator

    Raises
    ------
    ValueError
        Another grid, or fewer than two labels painted.
    """
    painted.require_labels("train")
    if volume.data.shape != painted.data.shape:
        raise ValueError(f"volume and painted should lie on one grid; got {volume.data.shape}, {painted.data.shape}")
    if int(rounds) != rounds or rounds < 1:
        raise ValueError(f"rounds should be a whole number >= 1; got {rounds!r}")
    draw = generator(rng)
    flat = painted.data.ravel()
    labels = [int(label) for label in np.unique(flat) if label != unpainted]
    if len(labels) < 2:
        raise ValueError(f"at least two labels should be painted, such as 0 for outside; got {labels}; paint another")
    own = [np.flatnonzero(flat == label) for label in labels]
    rows = np.concatenate([some if len(some) <= most else draw.choice(some, most, replace=False) for some in own])
    picture, classifier = standardized(volume), None
    for _ in range(rounds):
        seen = _seen(picture, scales, classifier).reshape(flat.size, -1)[rows]
        forest = _grown(seen, flat[rows], trees, int(draw.integers(2**31)))
        classifier = replace(_flattened(forest, scales, painted.names), before=classifier)
    assert classifier is not None
    return classifier


def save_classifier(path: str | Path, classifier: Classifier, *, overwrite: bool = False) -> None:
    """Write a classifier as an `.npz` archive of plain arrays."""
    path = archive_path(path, "classifier", overwrite=overwrite)
    rounds = _rounds(classifier)
    text = tagged(
        "classifier", scales=list(classifier.scales), names=names_to_json(classifier.names), rounds=len(rounds)
    )
    arrays = {f"{row}.{name}": getattr(one, name) for row, one in enumerate(rounds) for name in FIELDS}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, tag=np.array(text), **arrays)


def load_classifier(path: str | Path) -> Classifier:
    """Read a classifier; files that hold code (pickles) or loops instead of trees are refused."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with reading(path, "a classifier written by save_classifier"), np.load(path, allow_pickle=False) as archive:
        tag = untagged(str(archive["tag"]) if "tag" in archive else "", "classifier")
        wanted = {f"{row}.{name}" for row in range(int(tag.get("rounds", 1))) for name in FIELDS}
        if not tag or not wanted <= set(archive.files):
            raise FileError(f"{path} should be a classifier written by save_classifier; it holds {archive.files}")
        arrays = {name: archive[name] for name in wanted}
    names, scales, classifier = names_from_json(tag["names"]), tuple(tag["scales"]), None
    for row in range(int(tag["rounds"])):
        own = {name: arrays[f"{row}.{name}"] for name in FIELDS}
        n_seen = len(scales) * FEATURES + (0 if classifier is None else _n_context(classifier))
        _check_trees(path, own, n_seen)
        classifier = Classifier(**own, scales=scales, names=names, before=classifier)
    assert classifier is not None
    return classifier


def standardized(volume: Volume) -> Volume:
    """Shift and scale intensities to mean 0 and standard deviation 1."""
    data = volume.data.astype(np.float32)
    return Volume((data - data.mean()) / max(float(data.std()), 1e-30), volume.spacing, volume.origin)


def _seen(picture: Volume, scales: tuple[float, ...], before: Classifier | None) -> Float32:
    """Return what a forest sees of every voxel: the picture, and what the forest before has found around it."""
    looks = features(picture, scales=scales)
    if before is None:
        return looks
    # The first label's share follows from the others.
    found = np.moveaxis(before.probabilities(picture), -1, 0)[1:]
    around = [features(Volume(share, picture.spacing), scales=CONTEXT) for share in found]
    return np.concatenate([looks, *around], axis=-1)


def _n_context(before: Classifier) -> int:
    return (len(before.labels) - 1) * len(CONTEXT) * FEATURES


def _rounds(classifier: Classifier) -> list[Classifier]:
    """Return the chain of forests, the first one first."""
    return [*(_rounds(classifier.before) if classifier.before else []), classifier]


def _grown(seen: Float32, labels: Array, trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    # One job: threads would share one generator in an order of their own.
    forest = RandomForestClassifier(trees, min_samples_leaf=3, class_weight="balanced", n_jobs=1, random_state=seed)
    return forest.fit(seen, labels)


def _check_trees(path: Path, arrays: dict[str, Array], n_seen: int) -> None:
    n, k = len(arrays["splits"]), len(arrays["labels"])
    rows, inner = np.arange(n), arrays["splits"] >= 0
    sound = all(len(arrays[name]) == n for name in ("thresholds", "left", "right", "shares"))
    sound = sound and arrays["shares"].shape == (n, k) and bool(((arrays["roots"] >= 0) & (arrays["roots"] < n)).all())
    sound = sound and n > 0 and bool((arrays["splits"] < n_seen).all())
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
