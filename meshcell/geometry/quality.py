"""How well shaped the triangles of a surface and the tetrahedra of a mesh are: angles, radius ratios, edge lengths."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, percent
from meshcell.core.hints import require
from meshcell.core.kernels import njit
from meshcell.core.types import Surface, TetMesh
from meshcell.core.validation import name_of

log = logging.getLogger("meshcell")

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# Degrees: below the first ones an element harms the accuracy and the conditioning, above the others the gradients.
NARROW = (5, 10, 20)
WIDE = (150, 160, 170)
BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = 5
# Histograms of so many parts are looked at; of more, a table names the worst.
DRAWN, WORST = 6, 12
NAME_WIDTH = 44


@dataclass(frozen=True, eq=False)
class Shapes:
    """The shapes of the elements of one interface, one region, or all.

    Parameters
    ----------
    name : str
        "er | cytosol" for an interface, "er" for a region, "all".
    n : int
        Number of elements.
    counts : (bins,) int64
        Angles per bin of the histogram, 3 of every triangle or 6 of every tetrahedron.
    min, max : float
        Least and greatest angle, degrees (NaN where there are no elements).
    percentiles : dict[int, float]
        1, 5, 25, 50, 75, 95, 99 -> degrees, over all angles.
    least_percentiles : dict[int, float]
        The same over the least angle of every element.
    below, above : dict[int, float]
        Degrees -> share (0 ... 1) of the elements with an angle below 5, 10, 20 or above 150, 160, 170.
    radius_ratio : dict[int, float]
        0 (the least) and 1, 5, 25, 50 ... -> percentiles of the radius ratios, see `radius_ratios`.
    edge_lengths : tuple of three floats
        Least, median and greatest edge, um.
    """

    name: str
    n: int
    counts: Array
    min: float
    max: float
    percentiles: dict[int, float]
    least_percentiles: dict[int, float]
    below: dict[int, float]
    above: dict[int, float]
    radius_ratio: dict[int, float]
    edge_lengths: tuple[float, float, float]


class Parts(Mapping[str, Shapes]):
    """Name -> shapes of its elements, measured when they are asked for: there may be thousands of interfaces."""

    def __init__(self, rows: dict[str, Array], measure: Callable[[str, Array], Shapes], least: Floats) -> None:
        self._rows, self._measure, self._least = rows, measure, least
        self._found: dict[str, Shapes] = {}

    def __getitem__(self, name: str) -> Shapes:
        if name not in self._found:
            self._found[name] = self._measure(name, self._rows[name])
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def worst(self, most: int) -> list[Shapes]:
        """Return the parts with the least angles, the worst first; only these are measured."""
        counts = np.fromiter(map(len, self._rows.values()), np.int64, len(self._rows))
        starts = np.cumsum(counts) - counts
        lows = np.minimum.reduceat(self._least[np.concatenate(list(self._rows.values()))], starts)
        names = np.array(list(self._rows))
        return [self[str(names[row])] for row in np.lexsort((names, lows))[:most]]


@dataclass(frozen=True, eq=False)
class Quality:
    """Angle statistics of a surface or mesh, whole and by part.

    `print` it to see the histograms; of more than six parts that of the whole, and a table of the worst parts.

    Parameters
    ----------
    kind : str
        "triangle" (3 angles each) or "tetrahedron" (6 dihedral angles each).
    edges : (bins + 1,) floats
        Edges of the histogram's bins, degrees, 0 ... 180.
    all : Shapes
        Every element.
    parts : mapping of str to Shapes
        Interface "er | cytosol" (Surface) or region "er" (TetMesh) -> its elements.
    """

    kind: str
    edges: Floats
    all: Shapes
    parts: Parts

    @property
    def counts(self) -> Array:
        """(bins,) angles per bin, over all elements."""
        return self.all.counts

    @property
    def min(self) -> float:
        """Least angle of all, degrees."""
        return self.all.min

    @property
    def max(self) -> float:
        """Greatest angle of all, degrees."""
        return self.all.max

    @property
    def percentiles(self) -> dict[int, float]:
        """1, 5, 25, 50, 75, 95, 99 -> degrees, over all angles."""
        return self.all.percentiles

    def __str__(self) -> str:
        angle = "Dihedral angles of tetrahedra" if self.kind == "tetrahedron" else "Angles of triangles"
        width = self.edges[1] - self.edges[0]
        title = f"{angle}, degrees; one column is {width:.3g} degrees, the tallest is written beside it"
        if len(self.parts) > DRAWN:
            return "\n\n".join([title, _drawn(self.all, self.kind), "\n".join(_worst(self))])
        # A single part is the whole under its own name.
        parts = list(self.parts.values()) if len(self.parts) == 1 else [*self.parts.values(), self.all]
        return "\n\n".join([title, *(_drawn(part, self.kind) for part in parts)])

    def __repr__(self) -> str:
        return str(self)


def angles(mesh: Surface | TetMesh) -> Floats:
    """Measure the angles of every triangle, or the dihedral angles of every tetrahedron.

    Parameters
    ----------
    mesh : Surface or TetMesh

    Returns
    -------
    (t, 3) or (n, 6) floats, degrees
        Column k of a triangle is the angle at its corner k; column k of a tetrahedron is the dihedral angle at edge k
        of `adjacency.TET_EDGES` (01, 02, 03, 12, 13, 23). Degenerate elements have angles of 0 and 180, never NaN.

    Notes
    -----
    By atan2 of sine and cosine, which keeps its digits near 0 and 180 degrees where arccos loses half of them
    (Kahan, "Computing cross-products and rotations", 2016, section 13).

    Examples
    --------
    >>> corner = Surface([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], [[1, 0]])
    >>> angles(corner).round(6).tolist()
    [[90.0, 45.0, 45.0]]
    """
    require(mesh, (Surface, TetMesh), "angles(mesh)")
    if isinstance(mesh, TetMesh):
        return _dihedrals(mesh.points, mesh.tets)  # type: ignore[no-any-return]
    return _triangle_angles(mesh.points, mesh.triangles)  # type: ignore[no-any-return]


def radius_ratios(mesh: Surface | TetMesh) -> Floats:
    """Measure the normalised ratio of inscribed to circumscribed radius: 1 regular, 0 degenerate.

    Returns
    -------
    (t,) or (n,) floats
        2 r / R of every triangle, or 3 r / R of every tetrahedron.

    Notes
    -----
    Unlike the angles it tells every bad tetrahedron, also a needle (Shewchuk, "What is a good linear finite element?",
    2002, table 7).

    Examples
    --------
    >>> corner = Surface([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], [[1, 0]])
    >>> radius_ratios(corner).round(4).tolist()  # 2 (1 - 1/sqrt(2)) / (1/sqrt(2))
    [0.8284]
    """
    require(mesh, (Surface, TetMesh), "radius_ratios(mesh)")
    if isinstance(mesh, TetMesh):
        return _tet_radius_ratios(mesh.points, mesh.tets)  # type: ignore[no-any-return]
    return _triangle_radius_ratios(mesh.points, mesh.triangles)  # type: ignore[no-any-return]


def edge_lengths(mesh: Surface | TetMesh) -> Floats:
    """Measure the length of every edge once, um.

    Returns
    -------
    (e,) floats
        In the order of `adjacency.edges`.

    Examples
    --------
    >>> corner = Surface([[0, 0, 0], [3, 0, 0], [0, 4, 0]], [[0, 1, 2]], [[1, 0]])
    >>> sorted(edge_lengths(corner).tolist())
    [3.0, 4.0, 5.0]
    """
    require(mesh, (Surface, TetMesh), "edge_lengths(mesh)")
    pairs = mesh.edges if isinstance(mesh, TetMesh) else adjacency.edges(mesh.triangles, len(mesh.points))[0]
    return np.asarray(np.linalg.norm(mesh.points[pairs[:, 1]] - mesh.points[pairs[:, 0]], axis=1))


def quality(mesh: Surface | TetMesh, *, bins: int = 36) -> Quality:
    """Summarise the shapes of the triangles of every interface, or of the tetrahedra of every region.

    Parameters
    ----------
    mesh : Surface or TetMesh
        The triangles of a TetMesh's interfaces are measured by `quality(mesh.surface)`.
    bins : int
        Number of equal bins over 0 ... 180 degrees.

    Returns
    -------
    Quality
        Counts, bin edges, least and greatest angle, percentiles, whole and by part; `print` draws it.

    Raises
    ------
    ValueError
        Less than one bin.
    """
    require(mesh, (Surface, TetMesh), "quality(mesh)")
    if int(bins) != bins or bins < 1:
        raise ValueError(f"bins should be a whole number >= 1; got {bins!r}")
    elements = angles(mesh)
    ratios = radius_ratios(mesh)
    edges = np.linspace(0.0, 180.0, int(bins) + 1)
    cells = mesh.tets if isinstance(mesh, TetMesh) else mesh.triangles
    pairs, cell_edges = adjacency.edges(cells, len(mesh.points))
    lengths = np.linalg.norm(mesh.points[pairs[:, 1]] - mesh.points[pairs[:, 0]], axis=1)

    def measured(name: str, rows: Array) -> Shapes:
        # Only the edges' extent and median are told, so that shared edges need not be made unique part by part.
        return _measured(name, elements[rows], ratios[rows], lengths[np.unique(cell_edges[rows])], edges)

    parts = Parts(part_rows(mesh), measured, elements.min(axis=1))
    every = measured("all", np.arange(len(elements)))
    kind = "tetrahedron" if isinstance(mesh, TetMesh) else "triangle"
    log.info("quality: %d elements, angles %.2f ... %.2f degrees", len(elements), every.min, every.max)
    return Quality(kind, edges, every, parts)


def part_rows(mesh: Surface | TetMesh) -> dict[str, Array]:
    """Name the parts that statistics and pictures are made of: interfaces of a Surface, regions of a TetMesh.

    Returns
    -------
    dict[str, (k,) int]
        "er | cytosol" or "er" -> rows of `triangles` or `tets`.
    """
    if isinstance(mesh, Surface):
        return {f"{behind} | {front}": rows for (behind, front), rows in mesh.interfaces.items()}
    # One sort, whatever the number of regions.
    labels, counts = np.unique(mesh.regions, return_counts=True)
    rows = np.split(np.argsort(mesh.regions, kind="stable"), np.cumsum(counts)[:-1])
    return {name_of(mesh.names, int(label)): own for label, own in zip(labels, rows, strict=False)}


def _measured(name: str, elements: Floats, ratios: Floats, lengths: Floats, edges: Floats) -> Shapes:
    n = len(elements)
    if n == 0:
        empty = dict.fromkeys(PERCENTILES, np.nan)
        below, above = dict.fromkeys(NARROW, 0.0), dict.fromkeys(WIDE, 0.0)
        counts = np.zeros(len(edges) - 1, np.int64)
        return Shapes(name, 0, counts, np.nan, np.nan, empty, empty, below, above, empty, (np.nan,) * 3)
    least, greatest = elements.min(axis=1), elements.max(axis=1)
    return Shapes(
        name=name,
        n=n,
        counts=np.histogram(elements, edges)[0],
        min=float(least.min()),
        max=float(greatest.max()),
        percentiles=_percentiles(elements, PERCENTILES),
        least_percentiles=_percentiles(least, PERCENTILES),
        below={limit: float(np.mean(least < limit)) for limit in NARROW},
        above={limit: float(np.mean(greatest > limit)) for limit in WIDE},
        radius_ratio=_percentiles(ratios, (0, *PERCENTILES)),
        edge_lengths=(float(lengths.min()), float(np.median(lengths)), float(lengths.max())),
    )


def _percentiles(values: Floats, at: tuple[int, ...]) -> dict[int, float]:
    return dict(zip(at, np.percentile(values, at).tolist(), strict=True))


# --- text ---


def _drawn(part: Shapes, kind: str) -> str:
    plural = "tetrahedra" if kind == "tetrahedron" else "triangles"
    if part.n == 0:
        return f"{part.name}: no {plural}"
    head = f"{part.name}: {part.n:,} {plural}, {part.min:.2f} ... {part.max:.2f} degrees"
    spread = ", ".join(f"{p} %: {value:.1f}" for p, value in part.percentiles.items())
    narrow = ", ".join(f"{percent(share)} below {limit}" for limit, share in part.below.items())
    wide = ", ".join(f"{percent(share)} above {limit}" for limit, share in part.above.items())
    ratio = f"radius ratio: least {part.radius_ratio[0]:.3f}, median {part.radius_ratio[50]:.3f}"
    low, middle, high = (f"{length:.4g}" for length in part.edge_lengths)
    return "\n".join(
        [
            head,
            *_bars(part.counts),
            f"  percentiles {spread}",
            f"  with an angle {narrow}; {wide}",
            f"  {ratio}; edges {low} ... {middle} ... {high} um (least, median, greatest)",
        ]
    )


def _worst(quality: Quality) -> list[str]:
    """Write a table of the parts with the least angles."""
    one, many = ("region", "regions") if quality.kind == "tetrahedron" else ("interface", "interfaces")
    parts = quality.parts.worst(WORST)
    names = [part.name if len(part.name) <= NAME_WIDTH else f"{part.name[: NAME_WIDTH - 3]}..." for part in parts]
    width = max(map(len, [one, *names]))
    rows = [
        f"  {name:<{width}} {part.n:>11,} {part.min:>8.2f} {part.max:>8.2f} {percent(part.below[NARROW[-1]]):>13} "
        f"{part.radius_ratio[0]:>13.3f}"
        for name, part in zip(names, parts, strict=True)
    ]
    return [
        f"The {len(parts)} of {len(quality.parts):,} {many} with the least angles; all are in .parts",
        f"  {one:<{width}} {'elements':>11} {'least':>8} {'greatest':>8} {f'below {NARROW[-1]}':>13} {'least r/R':>13}",
        *rows,
    ]


def _bars(counts: Array) -> list[str]:
    """Draw a histogram as ROWS lines of block characters, an axis and its ticks."""
    bars = _resampled(counts)
    tallest = max(int(bars.max()), 1)
    # A bin with few angles still shows: a sliver is what one looks for.
    eighths = np.maximum(np.rint(8 * ROWS * bars / tallest).astype(int), bars > 0)
    lines = []
    for row in range(ROWS - 1, -1, -1):
        cells = np.clip(eighths - 8 * row, 0, 8)
        note = f" {tallest:,}" if row == ROWS - 1 else ""
        lines.append("  │" + "".join(BLOCKS[k] for k in cells) + note)
    width = len(bars)
    ticks = [" "] * (width + 4)
    for degrees in (0, 45, 90, 135, 180):
        column = round(degrees / 180 * width)
        for offset, sign in enumerate(str(degrees)):
            ticks[column + offset] = sign
    return [*lines, "  └" + "─" * width, "   " + "".join(ticks).rstrip()]


def _resampled(counts: Array) -> Array:
    """Bring any number of bins to a width that a terminal shows: between 36 and 90 columns."""
    if len(counts) <= 90:
        return np.repeat(counts, max(1, round(36 / len(counts))))
    group = -(-len(counts) // 90)
    return np.add.reduceat(counts, np.arange(0, len(counts), group))


# --- kernels ---


@njit(cache=True)
def _triangle_angles(points: Any, triangles: Any) -> Any:
    result = np.empty((triangles.shape[0], 3))
    for t in range(triangles.shape[0]):
        for k in range(3):
            a = points[triangles[t, k]]
            b = points[triangles[t, (k + 1) % 3]]
            c = points[triangles[t, (k + 2) % 3]]
            ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            result[t, k] = np.degrees(np.arctan2(np.sqrt(x * x + y * y + z * z), ux * vx + uy * vy + uz * vz))
    return result


@njit(cache=True)
def _dihedrals(points: Any, tets: Any) -> Any:
    pairs = adjacency.TET_EDGES
    others = adjacency.TET_EDGES[::-1]
    result = np.empty((tets.shape[0], 6))
    for i in range(tets.shape[0]):
        for k in range(6):
            p, q = points[tets[i, pairs[k, 0]]], points[tets[i, pairs[k, 1]]]
            r, s = points[tets[i, others[k, 0]]], points[tets[i, others[k, 1]]]
            ex, ey, ez = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            ux, uy, uz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
            vx, vy, vz = s[0] - p[0], s[1] - p[1], s[2] - p[2]
            # Normals of the two faces at the edge, e x u and e x v; their angle is the dihedral angle.
            ax, ay, az = ey * uz - ez * uy, ez * ux - ex * uz, ex * uy - ey * ux
            bx, by, bz = ey * vz - ez * vy, ez * vx - ex * vz, ex * vy - ey * vx
            # (e x u) x (e x v) = (e . (u x v)) e: the sine is the volume times the edge, without cancellation.
            volume = abs(ax * vx + ay * vy + az * vz)
            sine = volume * np.sqrt(ex * ex + ey * ey + ez * ez)
            result[i, k] = np.degrees(np.arctan2(sine, ax * bx + ay * by + az * bz))
    return result


@njit(cache=True)
def _triangle_radius_ratios(points: Any, triangles: Any) -> Any:
    result = np.empty(triangles.shape[0])
    for t in range(triangles.shape[0]):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        wx, wy, wz = vx - ux, vy - uy, vz - uz
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        p = np.sqrt(ux * ux + uy * uy + uz * uz)
        q = np.sqrt(vx * vx + vy * vy + vz * vz)
        r = np.sqrt(wx * wx + wy * wy + wz * wz)
        # r = 2 A / (p + q + r), R = p q r / (4 A), and x, y, z is twice the area vector.
        below = (p + q + r) * p * q * r
        result[t] = 4 * (x * x + y * y + z * z) / below if below > 0 else 0.0
    return result


@njit(cache=True)
def _tet_radius_ratios(points: Any, tets: Any) -> Any:
    result = np.empty(tets.shape[0])
    for i in range(tets.shape[0]):
        o = points[tets[i, 0]]
        a, b, c = points[tets[i, 1]] - o, points[tets[i, 2]] - o, points[tets[i, 3]] - o
        bc = np.array([b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]])
        ca = np.array([c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]])
        ab = np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
        volume6 = (a * bc).sum()
        doubled = bc + ca + ab
        # r = |6V| / (sum of twice the areas), R = |a^2 bc + b^2 ca + c^2 ab| / (2 |6V|).
        surface = np.sqrt((bc * bc).sum()) + np.sqrt((ca * ca).sum()) + np.sqrt((ab * ab).sum())
        surface += np.sqrt((doubled * doubled).sum())
        centre = (a * a).sum() * bc + (b * b).sum() * ca + (c * c).sum() * ab
        below = surface * np.sqrt((centre * centre).sum())
        result[i] = 6 * volume6 * volume6 / below if below > 0 else 0.0
    return result
