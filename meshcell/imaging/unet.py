"""A small 3D U-Net on PyTorch that learns from volumes whose labels are known, such as tomograms of phantoms.

The network is its weights, a dictionary of plain arrays, and one function that applies them: files hold no code, and
all that is random comes from one numpy Generator.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Ints
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
from meshcell.core.progress import bar
from meshcell.core.randomness import generator
from meshcell.core.types import Volume
from meshcell.imaging.pixel_classifier import standardized
from meshcell.imaging.projection import Float32

Weights = dict[str, Any]
# Kernels of 3 x 3 x 3 per block.
LAYERS = 2
# Voxels that one pass through the network takes, its margin included: some 4 GiB.
TILE = 2**24
# A tile keeps at least so many voxels along a side.
LEAST = 64
# Share of the old mean that normalisation keeps at each step of the training.
MOMENTUM = 0.9
EPSILON = 1e-5
UNPAINTED = 255


@dataclass(frozen=True, eq=False)
class UNet:
    """A trained network.

    Parameters
    ----------
    weights : dict[str, float32 array]
        Of every block "down0", "down1", ..., "up0" and both its layers: kernel, scale, shift, and the mean and
        variance that normalise; kernel and shift of "out".
    labels : (k,) int32
    levels : int
        Grids, each half as fine as the one before.
    names : dict[int, str]
    history : tuple of float
        Loss at every step of the training.
    """

    weights: dict[str, Float32]
    labels: Ints
    levels: int
    names: dict[int, str] = field(default_factory=dict)
    history: tuple[float, ...] = ()

    def probabilities(self, volume: Volume, *, mirrors: bool = True) -> Float32:
        """Return the probability of every label in every voxel, (nx, ny, nz, k).

        With `mirrors` the mean of what is found in all eight mirrorings, for eight times the work. Large volumes are
        worked through in tiles that see as far beyond their edges as the network does, so that their size changes
        nothing.
        """
        data = standardized(volume).data
        ways = list(itertools.product((1, -1), repeat=3)) if mirrors else [(1, 1, 1)]
        total = np.zeros((*data.shape, len(self.labels)), np.float32)
        for way in ways:
            turn = tuple(slice(None, None, step) for step in way)
            total += self._seen(data[turn])[turn]
        return np.asarray(total / len(ways), np.float32)

    def predict(self, volume: Volume, *, mirrors: bool = True) -> Volume:
        """Return the most probable label of every voxel."""
        best = self.probabilities(volume, mirrors=mirrors).argmax(axis=-1)
        return Volume(self.labels[best], volume.spacing, volume.origin, self.names)

    def _seen(self, data: Array) -> Float32:
        torch = _torch()
        weights = _tensors(self.weights)
        out = np.empty((*data.shape, len(self.labels)), np.float32)
        with torch.inference_mode():
            for seen, kept, inner in _tiles(data.shape, self.levels):
                picture = torch.from_numpy(_even(data[seen], 2 ** (self.levels - 1)))[None, None]
                votes = torch.softmax(_applied(weights, picture, self.levels), dim=1)[0]
                out[kept] = np.moveaxis(votes.numpy(), 0, -1)[inner]
        return out


def train_unet(
    examples: Sequence[tuple[Volume, Volume]],
    *,
    unpainted: int = UNPAINTED,
    levels: int = 4,
    width: int = 8,
    patch: tuple[int, int, int] = (48, 48, 48),
    batch: int = 2,
    steps: int = 800,
    rate: float = 0.01,
    wedge: bool = True,
    callback: Callable[[int, float], None] | None = None,
    progress: bool = False,
    rng: int | np.random.Generator,
) -> UNet:
    """Train a U-Net on volumes and their labels.

    Parameters
    ----------
    examples : list of (Volume, Volume)
        Intensities, taken relative to their mean in standard deviations, and labels on the same grid, 0 is outside.
    unpainted : int
        The value of voxels whose label is not known.
    levels : int
        Grids, each half as fine as the one before.
    width : int
        Channels on the finest grid; each coarser one has twice as many.
    patch : three ints
        Voxels of the random boxes that are learned from.
    batch : int
        Boxes per step. One at a time takes longer than two: PyTorch has fast convolutions for larger batches only.
    steps : int
    rate : float
        Greatest learning rate; it rises over the first tenth of the steps and falls to zero with a cosine.
    wedge : bool
        The volumes are tomograms with a missing wedge: boxes are mirrored along x, y and z, which keeps the wedge of
        any tilt axis. Else all 48 symmetries of the cube are used, for patches that are cubes.
    callback : function of (step, loss), optional
    progress : bool
        Show a bar.
    rng : int or Generator
        The same seed gives the same weights on the same number of threads (`torch.set_num_threads`).

    Returns
    -------
    UNet

    Raises
    ------
    ValueError
        No examples, other grids, fewer than two labels.
    ImportError
        PyTorch is missing.

    Notes
    -----
    Cicek et al. 2016, MICCAI, 424: 3D U-Net; the loss is the mean of cross entropy and 1 - Dice (Milletari et al. 2016,
    3DV, 565), by Adam (Kingma and Ba 2015).
    """
    _torch()
    draw = generator(rng)
    labels = _checked_labels(examples, unpainted)
    _check_sizes(levels, width, patch, batch, steps)
    pictures = [standardized(volume).data for volume, _ in examples]
    places = [_places(painted.data, labels, unpainted) for _, painted in examples]
    fresh = _fresh(levels, width, len(labels), draw)
    boxes = (_drawn(pictures, places, patch, 2 ** (levels - 1), batch, wedge, draw) for _ in range(steps))
    watched = bar(boxes, total=steps, progress=progress, desc="train")
    weights, history = _fitted(fresh, watched, levels, steps, rate, callback)
    return UNet(weights, labels.astype(np.int32), levels, dict(examples[0][1].names), history)


def save_unet(path: str | Path, unet: UNet, *, overwrite: bool = False) -> None:
    """Write a network as an `.npz` archive of plain arrays, its settings as JSON text."""
    path = archive_path(path, "network", overwrite=overwrite)
    text = tagged("unet", levels=unet.levels, names=names_to_json(unet.names), history=list(unet.history))
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {"tag": np.array(text), "labels": unet.labels, **unet.weights}
        np.savez_compressed(file, **arrays)


def load_unet(path: str | Path) -> UNet:
    """Read a network; files that hold code (pickles) or arrays that do not fit together are refused."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with reading(path, "a network written by save_unet"), np.load(path, allow_pickle=False) as archive:
        tag = untagged(str(archive["tag"]) if "tag" in archive else "", "unet")
        if not tag or "labels" not in archive:
            raise FileError(f"{path} should be a network written by save_unet; it holds {archive.files}")
        arrays = {name: archive[name] for name in archive.files if name not in ("tag", "labels")}
        labels = archive["labels"].astype(np.int32)
    _check_weights(path, arrays, int(tag["levels"]), len(labels))
    return UNet(arrays, labels, int(tag["levels"]), names_from_json(tag["names"]), tuple(tag["history"]))


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError("a U-Net needs PyTorch; install it with pip install 'meshcell[unet]'") from error
    return torch


# --- the network: a dictionary of arrays, and how it is applied ---

LEARNED = ("kernel", "scale", "shift")


def _blocks(levels: int) -> list[str]:
    return [*(f"down{level}" for level in range(levels)), *(f"up{level}" for level in reversed(range(levels - 1)))]


def _channels(block: str, width: int) -> tuple[int, int]:
    """Return how many channels go into a block and come out of it."""
    way, level = block.rstrip("0123456789"), int(block.lstrip("downup"))
    out = width << level
    if way == "up":
        return out * 2 + out, out
    return (out // 2 if level else 1), out


def _shapes(levels: int, width: int, n_labels: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for block in _blocks(levels):
        n_in, n_out = _channels(block, width)
        for layer in range(LAYERS):
            shapes[f"{block}.{layer}.kernel"] = (n_out, n_in if layer == 0 else n_out, 3, 3, 3)
            shapes.update({f"{block}.{layer}.{part}": (n_out,) for part in ("scale", "shift", "mean", "variance")})
    return {**shapes, "out.kernel": (n_labels, width, 1, 1, 1), "out.shift": (n_labels,)}


def _fresh(levels: int, width: int, n_labels: int, rng: np.random.Generator) -> dict[str, Float32]:
    """Draw kernels that keep the variance through a rectifier (He et al. 2015)."""
    weights = {}
    for name, shape in _shapes(levels, width, n_labels).items():
        if name.endswith("kernel"):
            array = rng.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
        else:
            array = np.full(shape, float(name.endswith(("scale", "variance"))))
        weights[name] = array.astype(np.float32)
    return weights


def _applied(weights: Weights, x: Any, levels: int, *, training: bool = False) -> Any:
    """Return the scores (n, k, nx, ny, nz) of pictures (n, 1, nx, ny, nz), sides multiples of 2^(levels - 1)."""
    from torch.nn.functional import conv3d, interpolate, max_pool3d

    finer = []
    for level in range(levels):
        x = _block(weights, f"down{level}", max_pool3d(x, 2) if level else x, training)
        finer.append(x)
    for level in reversed(range(levels - 1)):
        x = _block(weights, f"up{level}", _torch().cat([finer[level], interpolate(x, scale_factor=2)], 1), training)
    return conv3d(x, weights["out.kernel"], weights["out.shift"])


def _tensors(arrays: dict[str, Float32]) -> Weights:
    """Copy the weights, kernels with their channels last: convolutions then take two thirds of the time."""
    torch = _torch()
    weights = {name: torch.tensor(array) for name, array in arrays.items()}
    return {
        name: weight.contiguous(memory_format=torch.channels_last_3d) if weight.ndim == 5 else weight
        for name, weight in weights.items()
    }


def _block(weights: Weights, block: str, x: Any, training: bool) -> Any:
    from torch.nn.functional import batch_norm, conv3d, relu

    for layer in range(LAYERS):
        own = {part: weights[f"{block}.{layer}.{part}"] for part in (*LEARNED, "mean", "variance")}
        x = conv3d(x, own["kernel"], padding=1)
        x = batch_norm(x, own["mean"], own["variance"], own["scale"], own["shift"], training, 1 - MOMENTUM, EPSILON)
        x = relu(x, inplace=True)
    return x


def _fitted(
    fresh: dict[str, Float32], boxes: Iterable[tuple[Float32, Array]], levels: int, steps: int, rate: float,
    callback: Callable[[int, float], None] | None,
) -> tuple[dict[str, Float32], tuple[float, ...]]:  # fmt: skip
    """Learn from boxes and their labels, one step for each; return the weights and the losses."""
    torch = _torch()
    weights = _tensors(fresh)
    learned = [weight.requires_grad_() for name, weight in weights.items() if name.split(".")[-1] in LEARNED]
    optimizer = torch.optim.Adam(learned, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, steps))
    history = []
    for step, (pictures, truths) in enumerate(boxes):
        loss = _loss(_applied(weights, torch.from_numpy(pictures), levels, training=True), torch.from_numpy(truths))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(float(loss.detach()))
        if callback:
            callback(step, history[-1])
    return {name: weight.detach().contiguous().numpy() for name, weight in weights.items()}, tuple(history)


def _loss(scores: Any, truth: Any) -> Any:
    """Return the mean of cross entropy and 1 - Dice over known voxels (truth >= 0)."""
    torch = _torch()
    known = (truth >= 0)[:, None]
    entropy = torch.nn.functional.cross_entropy(scores, truth, ignore_index=-1)
    shares = torch.softmax(scores, dim=1) * known
    wanted = torch.nn.functional.one_hot(truth.clamp(min=0), scores.shape[1]).movedim(-1, 1) * known
    axes = (0, 2, 3, 4)
    overlap = 2 * (shares * wanted).sum(axes) + 1
    return (entropy + 1 - (overlap / (shares.sum(axes) + wanted.sum(axes) + 1)).mean()) / 2


def _pace(step: int, steps: int) -> float:
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


# --- boxes to learn from, tiles to look at ---


def _places(painted: Array, labels: Array, unpainted: int) -> Array:
    """Turn labels into rows of `labels`, -1 where nothing is known."""
    rows = np.searchsorted(labels, painted).astype(np.int64)
    rows[painted == unpainted] = -1
    return rows


def _drawn(
    pictures: list[Array], places: list[Array], patch: tuple[int, int, int], step: int, batch: int, wedge: bool,
    rng: np.random.Generator,
) -> tuple[Float32, Array]:  # fmt: skip
    """Draw boxes with known voxels, mirrored or turned, brighter or darker at random: (n, 1, ...) and (n, ...)."""
    sizes = np.min([np.minimum(patch, picture.shape) for picture in pictures], axis=0) // step * step
    boxes: list[Array] = []
    truths: list[Array] = []
    while len(boxes) < batch:
        which = int(rng.integers(len(pictures)))
        start = [int(rng.integers(n - size + 1)) for n, size in zip(pictures[which].shape, sizes, strict=True)]
        part = tuple(slice(a, a + size) for a, size in zip(start, sizes, strict=True))
        truth = places[which][part]
        if not (truth >= 0).any():
            continue
        turn = _symmetry(wedge or len(set(sizes)) > 1, rng)
        gain, shift = rng.normal(1, 0.1), rng.normal(0, 0.1)
        boxes.append(turn(pictures[which][part]) * np.float32(gain) + np.float32(shift))
        truths.append(turn(truth))
    return np.stack(boxes)[:, None].astype(np.float32), np.ascontiguousarray(np.stack(truths))


def _symmetry(mirrors_only: bool, rng: np.random.Generator) -> Callable[[Array], Array]:
    flips = tuple(slice(None, None, int(way)) for way in rng.choice((-1, 1), 3))
    order = (0, 1, 2) if mirrors_only else tuple(int(axis) for axis in rng.permutation(3))

    def turned(array: Array) -> Array:
        return np.asarray(array.transpose(order)[flips])

    return turned


def _margin(levels: int) -> int:
    """Return how far the network sees, in voxels: kernels on every grid, pooling and the coarse voxels' width."""
    finer = sum(2 * LAYERS << level for level in range(levels - 1))
    far = finer + (LAYERS << (levels - 1)) + 2 * ((1 << (levels - 1)) - 1)
    step = 1 << (levels - 1)
    return -(-far // step) * step


def _tiles(shape: tuple[int, ...], levels: int) -> Iterator[tuple[Any, Any, Any]]:
    """Cut a volume into what is looked at, what of it is kept, and where that lies in the look."""
    step, margin = 2 ** (levels - 1), _margin(levels)
    sides = list(shape)
    # Halve the longest side: margins cost least around few, large tiles.
    while math.prod(min(n, side + 2 * margin) for n, side in zip(shape, sides, strict=True)) > TILE:
        longest = int(np.argmax(sides))
        half = -(-sides[longest] // (2 * step)) * step
        if half < LEAST:
            break
        sides[longest] = half
    for starts in itertools.product(*(range(0, n, side) for n, side in zip(shape, sides, strict=True))):
        kept = [slice(a, min(a + side, n)) for a, side, n in zip(starts, sides, shape, strict=True)]
        seen = [slice(max(0, k.start - margin), min(n, k.stop + margin)) for k, n in zip(kept, shape, strict=True)]
        inner = [slice(k.start - s.start, k.stop - s.start) for k, s in zip(kept, seen, strict=True)]
        yield tuple(seen), tuple(kept), tuple(inner)


def _even(data: Array, step: int) -> Float32:
    """Repeat the last planes until every side is a multiple of `step`."""
    return np.ascontiguousarray(np.pad(data, [(0, -n % step) for n in data.shape], mode="edge"), np.float32)


# --- checks ---


def _checked_labels(examples: Sequence[tuple[Volume, Volume]], unpainted: int) -> Array:
    if not examples:
        raise ValueError("examples should be a list of pairs (volume, labels); got none")
    for volume, painted in examples:
        painted.require_labels("train_unet")
        if volume.data.shape != painted.data.shape:
            raise ValueError(f"volume and labels should lie on one grid; got {volume.data.shape}, {painted.data.shape}")
    labels = np.unique(np.concatenate([np.unique(painted.data) for _, painted in examples]))
    labels = labels[labels != unpainted]
    if len(labels) < 2:
        raise ValueError(f"at least two labels should be known, such as 0 for outside; got {labels.tolist()}")
    return np.asarray(labels)


def _check_sizes(levels: int, width: int, patch: tuple[int, int, int], batch: int, steps: int) -> None:
    sizes = {"levels": levels, "width": width, "batch": batch, "steps": steps}
    for name, value in sizes.items():
        if int(value) != value or value < 1:
            raise ValueError(f"{name} should be a whole number >= 1; got {value!r}")
    if len(patch) != 3 or min(patch) < 2 ** (levels - 1):
        raise ValueError(f"patch should be three sides >= {2 ** (levels - 1)} for {levels} levels; got {patch!r}")


def _check_weights(path: Path, arrays: dict[str, Array], levels: int, n_labels: int) -> None:
    kernel = arrays.get("down0.0.kernel")
    width = len(kernel) if kernel is not None and kernel.ndim == 5 else 0
    if not 1 <= levels <= 8 or not width:
        raise FileError(f"{path} is no sound network: {levels} levels, {width} channels; write it again")
    for name, shape in _shapes(levels, width, n_labels).items():
        found = arrays.get(name)
        if found is None or found.shape != shape or found.dtype != np.float32 or not np.isfinite(found).all():
            there = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise FileError(f"{path} is no sound network: {name} should be finite float32 {shape}; got {there}")
