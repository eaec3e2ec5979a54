"""Improvement of tetrahedra: points climb, edges and faces swap, and the interfaces stay where they are."""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Floats, Ints
from meshcell.core.hints import require
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.progress import Stage, stages
from meshcell.core.randomness import uniform
from meshcell.core.rounding import sine_cosine
from meshcell.core.slices import sliced
from meshcell.core.types import TetMesh
from meshcell.core.units import convert
from meshcell.geometry import proximity
from meshcell.geometry.features import FIXED, FREE
from meshcell.meshing.held import INSIDE, surface_of, with_inner_points
from meshcell.meshing.insertions import insert
from meshcell.meshing.swaps import squared_sine, squared_sines, swap
from meshcell.meshing.volume_balance import moved_in_balance, region_volumes
from meshcell.surfaces.net import least_angle

log = logging.getLogger("meshcell")

STEPS = 40
# Sweeps over all points in a round, and how many points are moved in a fraction of a second.
SWEEPS, CLIMBED = 3, 5_000
# Of the way along an interface, this much may lead off it.
OFF = 0.2
# Where angles below this (degrees) are left after all rounds, a few more move points of interfaces, curves and corners
# anywhere within this share of `max_move`: sheets that meet under a few degrees leave no other way.
ROUGH, LOOSE, LOOSE_ROUNDS = 16.0, 0.7, 6
# New points of the rounds, and of the few more: a quarter of the tetrahedra and these at most.
FEW_NEW = 1000
# Degrees: no move makes an angle of a facet smaller than this, or smaller than it was.
NARROW = 20.0


class Improving(NamedTuple):
    """A mesh under improvement, what keeps its interfaces, see `surface_of`, and the volumes it was given with."""

    points: Floats
    tets: Ints
    parts: Ints  # which region, 0 ... of each tetrahedron
    surface: tuple[Any, ...]
    given: Floats  # um^3, of each region


def improve(
    mesh: TetMesh,
    *,
    min_dihedral: float = 25.0,
    max_move: float | str | None = None,
    rounds: int = 12,
    rng: int | np.random.Generator = 0,
    progress: bool = False,
) -> TetMesh:
    """Raise the narrowest dihedral angles (and lower the widest), without letting the interfaces go.

    Parameters
    ----------
    mesh : TetMesh
    min_dihedral : float
        Degrees. Where all angles lie between this and 180 minus this, nothing is touched; elsewhere the mesh gets as
        near to it as it can, and the log says how near.
    max_move : float or text, optional
        um, the farthest that a point of an interface may slide; 0 keeps all of them where they are. By default half
        of the mean edge of the facets. They slide tangentially, so that the volumes on both sides stay, and never
        farther off the given interface than a fifth of `max_move`. Points on junction curves and rims of patches
        stay on these curves, and points where such curves meet or turn sharply stay; a crease that must stay sharp
        should be a rim. Where angles below 16 degrees are left in the end, the points of interfaces, curves and corners
        around them may move anywhere within 0.7 of `max_move`, except off the faces of the box. No move is made by
        which a region would have gained or lost more than 0.5 % of its volume.
    rounds : int
        At most so many rounds of swaps, climbs and, from the fourth on, new points; it ends earlier when the target is
        met or nothing gets better.
    rng : int or Generator
        Seed of the steps that are tried.
    progress : bool
        Show a bar with the round that runs.

    Returns
    -------
    TetMesh
        The same points, in part moved, new ones inside regions after them where nothing else helps, and the same
        facets with sides and patches; other tetrahedra where they were bad. The least dihedral sine is never lower than
        before.

    Notes
    -----
    Swaps as in Freitag and Ollivier-Gooch 1997, Tetrahedral mesh improvement using swapping and smoothing. Points whose
    star holds a bad angle try random steps, first of 0.3 of the star's longest edge and 0.85 times shorter after each
    failure; a step is kept only if the worst sine of the star rises, so nothing ever gets inverted.

    Examples
    --------
    >>> from meshcell.geometry.quality import angles
    >>> points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.02, 0.02, 0.02]])
    >>> tets = np.array([[4, 1, 2, 3], [0, 4, 2, 3], [0, 1, 4, 3], [0, 1, 2, 4]])
    >>> facets = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])
    >>> mesh = TetMesh(points, tets, np.ones(4, int), facets, np.tile([1, 0], (4, 1)))
    >>> bool(angles(mesh).min() < 5), bool(angles(improve(mesh, rounds=1)).min() > 20)
    (True, True)
    """
    require(mesh, TetMesh, "improve(mesh)")
    reach = _checked(mesh, min_dihedral, max_move, rounds)
    seed = int(np.random.default_rng(rng).integers(2**62))
    target = squared_sine_at(min_dihedral)
    start = squared_sines(mesh.points, mesh.tets)
    labels, which = np.unique(mesh.regions, return_inverse=True)
    parts = which.reshape(-1).astype(np.int32)
    given = region_volumes(mesh.points, np.ascontiguousarray(mesh.tets), parts, len(labels))
    state = Improving(mesh.points.copy(), mesh.tets, parts, surface_of(mesh), given)
    # Between facets that are needles new points would only make room for more of them.
    most = len(mesh.tets) // 4 + FEW_NEW
    names = [f"round {turn + 1}" for turn in range(rounds)], [f"loose {turn + 1}" for turn in range(LOOSE_ROUNDS)]
    with stages("improve", (*names[0], *names[1]), progress) as stage:
        state, n_swaps = _rounds(state, target, names[0], reach, seed, stage, most)
        if rounds and reach > 0:
            rough = min(target, squared_sine_at(ROUGH))
            state, more = _rounds(state, rough, names[1], LOOSE * reach, seed + rounds, stage, most, loose=True)
            n_swaps += more
    points, tets, parts = state[:3]
    now = squared_sines(points, tets)
    log.info(
        "improve: least dihedral sine %.2f -> %.2f degrees, %d -> %d tetrahedra below %g, %d swaps, %d points moved, "
        "%d new",
        *(_degrees(float(values.min(initial=1.0))) for values in (start, now)),
        *(int((values < target).sum()) for values in (start, now)),
        *(min_dihedral, n_swaps, int((points[: len(mesh.points)] != mesh.points).any(axis=1).sum())),
        len(points) - len(mesh.points),
    )
    return TetMesh(points, tets, labels[parts], mesh.facets, mesh.sides, mesh.names, mesh.patches)


def squared_sine_at(degrees: Any) -> Any:
    """Return what `squared_sines` are compared with for angles of so many degrees."""
    sine = sine_cosine(np.radians(degrees))[0]
    return sine * sine


def _rounds(
    state: Improving,
    target: float,
    names: list[str],
    reach: float,
    seed: int,
    stage: Stage,
    most: int,
    *,
    loose: bool = False,
) -> tuple[Improving, int]:
    """Swap, climb and insert until all tetrahedra are above `target` or nothing gets better."""
    points, tets, parts, surface, given = state
    values, n_swaps = squared_sines(points, tets), 0
    now = (float(values.min(initial=1.0)), int((values < target).sum()))
    for turn, name in enumerate(names):
        if now[1] == 0:
            break
        stage(name)
        before = now
        tets, parts, n = swap(points, tets, parts, target)
        n_swaps += n
        # The interfaces only give way where swaps and interior points have done what they can.
        slide = reach if turn >= 2 or loose else 0.0
        _climb_all(Improving(points, tets, parts, surface, given), target, slide, seed + turn, loose)
        values = squared_sines(points, tets)
        now = (float(values.min()), int((values < target).sum()))
        if now[1] and (turn > 2 or loose) and turn < len(names) - 1:
            points, tets, parts, n_new = insert(points, tets, parts, target, seed + turn, most)
            most -= n_new
            surface = with_inner_points(surface, n_new)
            n += n_new
        log.debug("improve: round %d, least %.2f degrees, %d below", turn + 1, _degrees(now[0]), now[1])
        if turn > 3 and n == 0 and now[1] >= before[1] and now[0] <= before[0] * 1.001:
            break
    return Improving(points, tets, parts, surface, given), n_swaps


def _checked(mesh: TetMesh, min_dihedral: float, max_move: float | str | None, rounds: int) -> float:
    if not 0 <= min_dihedral <= 60:
        raise ValueError(
            f"min_dihedral should be between 0 and 60 degrees (70.5 is the best there is); got {min_dihedral}"
        )
    if rounds < 0:
        raise ValueError(f"rounds should be 0 or more; got {rounds}")
    if max_move is None:
        corners = mesh.points[mesh.facets]
        lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
        return 0.5 * float(lengths.mean()) if lengths.size else 0.0
    reach = convert(max_move, "um", "max_move")
    if not 0 <= reach < math.inf:
        raise ValueError(f"max_move should be a length of 0 or more; got {max_move!r}")
    return reach


def _degrees(squared_sine: float) -> float:
    return math.copysign(math.degrees(math.asin(min(math.sqrt(abs(squared_sine)), 1.0))), squared_sine)


def _climb_all(state: Improving, target: float, slide: float, seed: int, loose: bool) -> int:
    """Move points in place; return how many steps were kept."""
    points, tets = state.points, np.ascontiguousarray(state.tets)
    offsets, rows = adjacency.stars(tets, len(points))
    values = squared_sines(points, tets)
    balance = state.parts, region_volumes(points, tets, state.parts, len(state.given)), state.given
    around = points, tets, offsets, rows, values, state.surface, balance, target, slide, loose
    total = 0
    for sweep in range(SWEEPS):
        kept = sliced(_climb, len(points), CLIMBED, *around, sweep, seed)
        total += kept
        if not kept:
            break
    return total


# --- kernels ---


@inner(cache=True)
def moved_sine(points: Any, tet: Any, p: int, x: float, y: float, z: float) -> float:
    """Return `squared_sine` of a tetrahedron with its point p at x, y, z."""
    a, b, c, d = tet[0], tet[1], tet[2], tet[3]
    ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
    bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
    cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
    dx, dy, dz = points[d, 0], points[d, 1], points[d, 2]
    if a == p:
        ax, ay, az = x, y, z
    elif b == p:
        bx, by, bz = x, y, z
    elif c == p:
        cx, cy, cz = x, y, z
    else:
        dx, dy, dz = x, y, z
    return squared_sine(ax, ay, az, bx, by, bz, cx, cy, cz, dx, dy, dz)  # type: ignore[no-any-return]


@njit(cache=True)
def _turned(points: Any, facets: Any, units: Any, f: int, p: int, x: float, y: float, z: float) -> bool:
    """Tell whether facet f, with its point p at x, y, z, is turned by more than 60 degrees from where it was."""
    k = 0 if facets[f, 0] == p else (1 if facets[f, 1] == p else 2)
    b, c = facets[f, (k + 1) % 3], facets[f, (k + 2) % 3]
    ux, uy, uz = points[b, 0] - x, points[b, 1] - y, points[b, 2] - z
    vx, vy, vz = points[c, 0] - x, points[c, 1] - y, points[c, 2] - z
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    along = nx * units[f, 0] + ny * units[f, 1] + nz * units[f, 2]
    return bool(along <= 0.5 * math.sqrt(nx * nx + ny * ny + nz * nz))


@inner(cache=True)
def _narrowed(points: Any, facet: Any, p: int, x: float, y: float, z: float) -> Any:
    """Tell whether the facet's least angle would be below NARROW, and below what it is, with its point p at x, y, z."""
    before = least_angle(points, facet[0], facet[1], facet[2])
    old = points[p, 0], points[p, 1], points[p, 2]
    points[p, 0], points[p, 1], points[p, 2] = x, y, z
    after = least_angle(points, facet[0], facet[1], facet[2])
    points[p, 0], points[p, 1], points[p, 2] = old
    return after < NARROW and after < before


@inner(cache=True)
def _link_vector(points: Any, facets: Any, star: Any, p: int) -> Any:
    """Return the area vector of the facets around p, which does not depend on where p is."""
    nx, ny, nz = 0.0, 0.0, 0.0
    for s in range(star.shape[0]):
        f = star[s]
        k = 0 if facets[f, 0] == p else (1 if facets[f, 1] == p else 2)
        b, c = facets[f, (k + 1) % 3], facets[f, (k + 2) % 3]
        ux, uy, uz = points[b, 0] - points[p, 0], points[b, 1] - points[p, 1], points[b, 2] - points[p, 2]
        vx, vy, vz = points[c, 0] - points[p, 0], points[c, 1] - points[p, 1], points[c, 2] - points[p, 2]
        nx += 0.5 * (uy * vz - uz * vy)
        ny += 0.5 * (uz * vx - ux * vz)
        nz += 0.5 * (ux * vy - uy * vx)
    return nx, ny, nz


@njit(cache=True)
def _held(points: Any, surface: Any, p: int, slide: float, loose: bool, x: float, y: float, z: float) -> Any:
    """Bring a step of an interface point back to its interface or curve; return (whether it may stay, x, y, z)."""
    start, kinds, owners, membranes, lines, facets, offsets, rows, units, locked = surface
    row = 0
    if loose:
        x = points[p, 0] if locked[p, 0] else x
        y = points[p, 1] if locked[p, 1] else y
        z = points[p, 2] if locked[p, 2] else z
    elif kinds[p] == FREE:
        nx, ny, nz = _link_vector(points, facets, rows[offsets[p] : offsets[p + 1]], p)
        length2 = nx * nx + ny * ny + nz * nz
        if length2 == 0.0:
            return False, x, y, z
        # The volumes on both sides depend on the part of the step along the link's area vector alone.
        along = ((x - points[p, 0]) * nx + (y - points[p, 1]) * ny + (z - points[p, 2]) * nz) / length2
        x, y, z = x - along * nx, y - along * ny, z - along * nz
        _, row, _, _, _ = proximity.nearest(membranes, x, y, z, owners[p], (nx, ny, nz), OFF * slide, True)
    else:
        _, row, u, v, w = proximity.nearest(lines, x, y, z, owners[p], (0.0, 0.0, 0.0), slide, False)
        if row < 0:
            return False, x, y, z
        a, b, c = lines.triangles[row, 0], lines.triangles[row, 1], lines.triangles[row, 2]
        x = u * lines.points[a, 0] + v * lines.points[b, 0] + w * lines.points[c, 0]
        y = u * lines.points[a, 1] + v * lines.points[b, 1] + w * lines.points[c, 1]
        z = u * lines.points[a, 2] + v * lines.points[b, 2] + w * lines.points[c, 2]
    if row < 0:
        return False, x, y, z
    if (x - start[p, 0]) ** 2 + (y - start[p, 1]) ** 2 + (z - start[p, 2]) ** 2 > slide * slide:
        return False, x, y, z
    for s in range(offsets[p], offsets[p + 1]):
        if _turned(points, facets, units, rows[s], p, x, y, z) or _narrowed(points, facets[rows[s]], p, x, y, z):
            return False, x, y, z
    return True, x, y, z


@inner(cache=True)
def star_sine(points: Any, tets: Any, rows: Any, p: int, x: float, y: float, z: float, at_least: float) -> float:
    """Return the worst sine around p at x, y, z, or something not above `at_least` as soon as that is certain."""
    worst = 1.0
    for s in range(rows.shape[0]):
        worst = min(worst, moved_sine(points, tets[rows[s]], p, x, y, z))
        if worst <= at_least:
            break
    return worst


@inner(cache=True)
def _longest_edge(points: Any, tets: Any, star: Any, p: int) -> float:
    longest = 0.0
    for s in range(star.shape[0]):
        for k in range(4):
            q = tets[star[s], k]
            length2 = 0.0
            for axis in range(3):
                length2 += (points[q, axis] - points[p, axis]) ** 2
            longest = max(longest, length2)
    return math.sqrt(longest)


@inner(cache=True)
def _climb_point(
    points: Any,
    tets: Any,
    star: Any,
    surface: Any,
    p: int,
    worst: float,
    balance: Any,
    target: float,
    slide: float,
    loose: bool,
    state: Any,
) -> int:
    """Try random steps of point p; return how many were kept."""
    kinds = surface[1]
    step = 0.3 * _longest_edge(points, tets, star, p)
    kept = 0
    for _ in range(STEPS):
        state, dx = uniform(state)
        state, dy = uniform(state)
        state, dz = uniform(state)
        x, y, z = points[p, 0] + step * dx, points[p, 1] + step * dy, points[p, 2] + step * dz
        allowed = True
        if kinds[p] != INSIDE:
            allowed, x, y, z = _held(points, surface, p, slide, loose, x, y, z)
        if allowed:
            # A thousandth, so that work ends where only rounding is left to gain.
            found = star_sine(points, tets, star, p, x, y, z, worst * 1.001)
            allowed = found > worst * 1.001
        if allowed and kinds[p] != INSIDE:
            allowed = moved_in_balance(points, tets, star, balance, p, x, y, z)
        if not allowed:
            step *= 0.85
            continue
        points[p, 0], points[p, 1], points[p, 2] = x, y, z
        worst = found
        kept += 1
        if worst >= target:
            break
    return kept


@njit(cache=True)
def _climb(
    points: Any, tets: Any, offsets: Any, rows: Any, values: Any, surface: Any, balance: Any,
    target: float, slide: float, loose: bool, sweep: int, seed: int, first: int, last: int,
) -> int:  # fmt: skip
    kinds = surface[1]
    total = 0
    for p in range(first, last):
        if (kinds[p] == FIXED and not loose) or (kinds[p] != INSIDE and slide == 0.0):
            continue
        star = rows[offsets[p] : offsets[p + 1]]
        worst = 1.0
        for s in range(star.shape[0]):
            worst = min(worst, values[star[s]])
        if worst >= target:
            continue
        state = np.uint64(seed) + np.uint64(p) * np.uint64(0x632BE59BD9B4E019) + np.uint64(sweep)
        kept = _climb_point(points, tets, star, surface, p, worst, balance, target, slide, loose, state)
        if kept > 0:
            for s in range(star.shape[0]):
                values[star[s]] = moved_sine(points, tets[star[s]], p, points[p, 0], points[p, 1], points[p, 2])
        total += kept
    return total
