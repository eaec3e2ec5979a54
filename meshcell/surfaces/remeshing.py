"""Remeshing and decimation that keep interfaces, junction curves, patches and topology."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from meshcell.core import adjacency
from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.hints import require
from meshcell.core.progress import stages
from meshcell.core.slices import sliced, stretches
from meshcell.core.types import Surface
from meshcell.core.units import convert
from meshcell.core.validation import BOX_FACES, check_edge
from meshcell.geometry.features import CURVE, FIXED, feature_edges, interface_ids, point_kinds
from meshcell.geometry.proximity import Base, base_of, grid_of
from meshcell.surfaces.edge_moves import collapse_all, collapse_slivers, flip_better, halved, split_all
from meshcell.surfaces.fitting import MOVED, fit_curves, offsets_to_surface, open_corners, refill, shift
from meshcell.surfaces.net import GONE, Net, climb, link_all, mixed, smooth_along
from meshcell.surfaces.quadrics import decimate_net
from meshcell.surfaces.repairs import refuse_broken
from meshcell.surfaces.sizing import edge_sizes

log = logging.getLogger("meshcell")

# Botsch and Kobbelt 2004: halves of a split edge are not short, a collapsed one makes none that is long.
LONGEST, SHORTEST = 4 / 3, 4 / 5
# Where a triangle is bad, edges may be this many wanted lengths.
SLIVER_LONGEST = 2.0
# Collapses that would leave a smaller angle (degrees) are left to a later round.
FLOOR = 20.0
# Edges shorter than this share of a voxel would follow its steps.
LEAST_VOXELS = 0.8
# Of the edge, where there are no voxels: shorter edges are not made unless asked for.
LEAST_OF_EDGE = 0.4
# Angles (degrees) that fitting curves may leave, and how often: refused moves leave facets between curves too small.
CURVE_ANGLE, CURVE_FITS = 25.0, 3
# Below this angle (degrees) points may leave their curves to open it; so many sweeps.
OPEN_ANGLE, OPENINGS = 20.0, 3
# The share of the error that decimation leaves for taking out its bias.
RESERVE = 0.2


class RemeshState(NamedTuple):
    """What a round of changes starts from, without gaps; see `remeshing.Net`."""

    points: Floats
    triangles: Ints
    kinds: Array
    status: Array
    sizes: Floats
    curves: Array


def remesh(
    surface: Surface,
    *,
    edge: float | str,
    max_error: float | str | None = None,
    rounds: int = 3,
    min_angle: float = 35.0,
    gap_edges: float = 1.2,
    gradation: float = 0.4,
    least_edge: float | str | None = None,
    progress: bool = False,
) -> Surface:
    """Make the triangles of every interface near equilateral, with edges of a wanted length.

    Parameters
    ----------
    surface : Surface
        Without self-intersections, as from `smooth`.
    edge : float or text
        Wanted edge length, um. Edges are shorter where the surface bends, in thin parts and in narrow gaps.
    max_error : float or text, optional
        Greatest distance of the new surface from the old one, um; a quarter of `surface.resolution` by default, a tenth
        of `edge` where a surface has none.
    rounds : int
        Of splitting, collapsing, flipping and smoothing.
    min_angle : float
        Triangles with a smaller angle (degrees) are worked on at the end; an aim, no promise.
    gap_edges : float
        Edges per width of a gap or thin part.
    gradation : float
        Greatest growth of the edge length per um of way, 0.4: by half from one edge to the next.
    least_edge : float or text, optional
        um, the shortest length wanted where the surface bends and in thin parts; by default 0.8 of
        `surface.resolution`, 0.4 of `edge` where a surface has none.
    progress : bool
        Show a bar with the stage that runs.

    Returns
    -------
    Surface
        The same regions, interfaces, patches and topology. Junction curves and the rims of patches stay curves, shared
        by all their triangles; the points where such curves meet, and ambiguous voxel contacts, stay where they are.
        Nothing intersects that did not before.

    Raises
    ------
    ValueError
        A length that is not positive, or no length.
    MeshError
        Triangles twice, without three different points, or turned against their neighbours; `where` lists them.

    Notes
    -----
    Botsch and Kobbelt 2004, A remeshing approach to multiresolution modeling, on a net in which more than two
    triangles may share an edge. Points are projected onto the old surface; at the end they are moved along their
    normals so that the mean distance vanishes around each point, because a net inscribed in a membrane has too
    little volume. The rim of a patch is kept as exactly as a junction: a jagged rim keeps small triangles along it, so
    patches are better set afterwards.
    Each change is undone where it breaks a rule: topology (link condition, Dey et al. 1999), orientation, distance at
    centres and edges, intersections.
    """
    require(surface, Surface, "remesh(surface, edge=...)")
    given, edge = edge, _length(edge, "edge")
    check_edge(surface.points, edge, given)
    unit = _voxel(surface)
    default = 0.1 * edge if unit is None else 0.25 * unit
    max_error = default if max_error is None else _length(max_error, "max_error")
    default = LEAST_OF_EDGE * edge if unit is None else LEAST_VOXELS * unit
    least = default if least_edge is None else _length(least_edge, "least_edge")
    if rounds < 1 or gap_edges <= 0 or gradation <= 0 or not 0 <= min_angle <= 60:
        raise ValueError(
            f"remesh needs rounds >= 1, gap_edges > 0, gradation > 0 and min_angle within 0 ... 60 degrees; got "
            f"{rounds}, {gap_edges}, {gradation}, {min_angle}"
        )
    if not len(surface.triangles):
        return surface
    refuse_broken(surface, "remesh")
    if unit is None:
        # What is near is seen from points alone: along a needle there may be none. Between voxels there are enough.
        surface = halved(surface, edge)
    names = ("sizes", *(f"round {turn}" for turn in range(1, rounds + 1)), "polish", "refill")
    with stages("remesh", names, progress) as stage:
        stage("sizes")
        state, base, lines = _prepared(surface)
        edges, features = feature_edges(surface)
        state.sizes[:] = edge_sizes(
            surface, edges, features, base, edge=edge, least=least, max_error=max_error, gap_edges=gap_edges,
            gradation=gradation,
        )  # fmt: skip
        base.sizes[:] = state.sizes
        lines.sizes[:] = state.sizes
        for name in names[1:-2]:
            stage(name)
            state = _round(state, base, lines, edge, max_error, min_angle)
        stage("polish")
        net = _polished(surface, state, base, lines, edge, max_error, min_angle)
        stage("refill")
        refill(surface, net, interface_ids(surface), min(min_angle, CURVE_ANGLE), max_error)
        result = _finished(surface, _compact(net))
    log.info("remesh: %d -> %d triangles, edge %.4g um", len(surface.triangles), len(result.triangles), edge)
    return result


def decimate(
    surface: Surface,
    *,
    max_error: float | str,
    triangles: int | None = None,
    min_angle: float = 15.0,
    progress: bool = False,
) -> Surface:
    """Take out as many points as a stated error allows, so that flat parts become coarse.

    Parameters
    ----------
    surface : Surface
        Without self-intersections.
    max_error : float or text
        Greatest distance between the new and the old surface in either direction, um.
    triangles : int, optional
        Stop at this number of triangles even if the error allows less.
    min_angle : float
        No angle becomes smaller than this (degrees), except where it was.
    progress : bool
        Show a bar with the stage that runs.

    Returns
    -------
    Surface
        The same regions, interfaces, patches and topology, under the same rules as `remesh`.

    Raises
    ------
    ValueError
        A length that is not positive, or no length; `triangles` below 1.

    Notes
    -----
    Garland and Heckbert 1997, Surface simplification using quadric error metrics. In the end interfaces are shifted,
    within the error, so that every region has its volume again. Every point that was taken out is
    kept in a list of the triangle nearest to it and measured again at each later change there.
    """
    require(surface, Surface, "decimate(surface, max_error=...)")
    max_error = _length(max_error, "max_error")
    if (triangles is not None and triangles < 1) or not 0 <= min_angle <= 60:
        raise ValueError(
            f"decimate needs triangles >= 1 and min_angle within 0 ... 60 degrees; got {triangles}, {min_angle}"
        )
    if not len(surface.triangles):
        return surface
    with stages("decimate", ("look", "collapse", "take out bias", "refill"), progress) as stage:
        stage("look")
        refuse_broken(surface, "decimate")
        state, base, lines = _prepared(surface)
        net = _net(state, base, lines, 2 * base.grid.cell, room_factor=np.inf)
        n = len(state.points)
        stage("collapse")
        decimate_net(net, _edges(net, n), triangles or 0, float(min_angle), (1 - RESERVE) * max_error)
        stage("take out bias")
        most = RESERVE * max_error
        offsets = np.clip(offsets_to_surface(net, n, max_error), -most, most)
        sliced(shift, n, MOVED, net, offsets, float(min_angle), max_error)
        stage("refill")
        refill(surface, net, interface_ids(surface), float(min_angle), max_error)
        result = _finished(surface, _compact(net))
    log.info("decimate: %d -> %d triangles, error %.4g um", len(surface.triangles), len(result.triangles), max_error)
    return result


def _length(value: float | str, what: str) -> float:
    length = convert(value, "um", what)
    if not (np.isfinite(length) and length > 0):
        raise ValueError(f"{what} should be a positive length in um, or a text such as '20 nm'; got {value!r}")
    return length


def _voxel(surface: Surface) -> float | None:
    return None if surface.resolution is None else float(np.mean(surface.resolution))


def _prepared(surface: Surface) -> tuple[RemeshState, Base, Base]:
    """Return the net to be changed, and the old surface and its curves to be asked."""
    kinds = interface_ids(surface)
    n = len(surface.points)
    sizes = np.full(n, np.inf)
    status, curves, lines = _features(surface, kinds, sizes)
    state = RemeshState(np.array(surface.points), np.array(surface.triangles), kinds, status, sizes, curves)
    return state, base_of(surface.points, surface.triangles, kinds, sizes), lines


def _features(surface: Surface, kinds: Array, sizes: Floats) -> tuple[Array, Array, Base]:
    """Return the status and the curve of every point, and the curves as a base."""
    n = len(surface.points)
    edges, features = feature_edges(surface)
    status = point_kinds(edges, features, n)
    _, triangle_edges = adjacency.edges(surface.triangles, n)
    # A curve is known by the kinds that meet in it.
    keys = np.zeros(len(edges), np.int64)
    np.add.at(keys, triangle_edges.ravel(), np.repeat(mixed(kinds), 3))
    rows = np.flatnonzero(features)
    curves = np.zeros(n, np.int64)
    curves[edges[rows].ravel()] = np.repeat(keys[rows], 2)
    status[edges[rows][curves[edges[rows]] != keys[rows, None]]] = FIXED
    status[edges[_pinched(triangle_edges, kinds, len(edges))].ravel()] = FIXED
    status[_split_stars(surface.triangles, n) & (status <= CURVE)] = FIXED
    lines = edges[rows][:, [0, 1, 1]]
    return status, curves, base_of(surface.points, lines, keys[rows], sizes)


def _pinched(triangle_edges: Ints, kinds: Array, n_edges: int) -> Any:
    """Tell at which edges more than two triangles of a single interface meet: ambiguous voxel contacts, not curves."""
    least = np.full(n_edges, np.iinfo(np.int64).max)
    most = np.full(n_edges, -1)
    np.minimum.at(least, triangle_edges.ravel(), np.repeat(kinds, 3))
    np.maximum.at(most, triangle_edges.ravel(), np.repeat(kinds, 3))
    return (np.bincount(triangle_edges.ravel(), minlength=n_edges) > 2) & (least == most)


def _split_stars(triangles: Ints, n_points: int) -> Array:
    """Tell at which points fans of triangles meet that share no edge."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Corners of the triangles, joined where two triangles share an edge at the same point.
    n = len(triangles)
    edges, triangle_edges = adjacency.edges(triangles, n_points)
    owner = np.arange(3 * n).reshape(n, 3)
    start, end = [], []
    for k in range(3):
        for corner in ((k + 1) % 3, (k + 2) % 3):
            second = triangles[:, corner] == edges[triangle_edges[:, k], 1]
            start.append(owner[:, corner])
            end.append(3 * n + 2 * triangle_edges[:, k] + second)
    rows, columns = np.concatenate(start), np.concatenate(end)
    size = 3 * n + 2 * len(edges)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    fans = connected_components(graph, directed=False)[1][: 3 * n]
    pairs = distinct_rows(np.stack([triangles.ravel(), fans], axis=1)).rows
    return np.asarray(np.bincount(pairs[:, 0], minlength=n_points) > 1)


def _round(state: RemeshState, base: Base, lines: Base, edge: float, max_error: float, min_angle: float) -> RemeshState:
    net = _net(state, base, lines, 1.25 * edge, LONGEST)
    n, n_triangles = len(state.points), len(state.triangles)
    edges = _edges(net, n)
    ratios = _wanted_lengths(net, edges)
    # The longest first, and the shortest.
    edges = edges[np.argsort(-ratios, kind="stable")[: int((ratios > LONGEST).sum())]]
    for first, last in stretches(len(edges), MOVED):
        n, n_triangles = split_all(net, edges, n, n_triangles, max_error, first, last)
    edges = _edges(net, n)
    ratios = _wanted_lengths(net, edges)
    edges = edges[np.argsort(ratios, kind="stable")[: int((ratios < SHORTEST).sum())]]
    sliced(collapse_all, len(edges), MOVED, net, edges, LONGEST, FLOOR, max_error)
    _flip_all(net, n, max_error)
    for _ in range(2):
        sliced(smooth_along, n, MOVED, net, 0.9, min_angle, max_error)
    return _compact(net)


def _wanted_lengths(net: Net, edges: Ints) -> Floats:
    """Return (e,) the lengths of edges over the wanted ones."""
    x, y, z = (net.points[edges[:, 0]] - net.points[edges[:, 1]]).T
    return np.asarray(2 * np.sqrt(x * x + y * y + z * z) / (net.sizes[edges[:, 0]] + net.sizes[edges[:, 1]]))


def _flip_all(net: Net, n_points: int, max_error: float) -> None:
    edges = _edges(net, n_points)
    sliced(flip_better, len(edges), MOVED, net, edges, max_error)


def _polished(
    surface: Surface, state: RemeshState, base: Base, lines: Base, edge: float, max_error: float, min_angle: float
) -> Net:
    """Raise what angles are small, and move the points so that the mean distance from the old surface vanishes."""
    net = _net(state, base, lines, 1.25 * edge, np.inf)
    n = len(state.points)
    for _ in range(2):
        goal = min(min_angle, CURVE_ANGLE)
        sliced(collapse_slivers, len(net.triangles), MOVED, net, goal, SLIVER_LONGEST, max_error)
        _flip_all(net, n, max_error)
        sliced(climb, n, MOVED, net, min_angle, max_error)
        for _ in range(CURVE_FITS):
            sliced(fit_curves, n, MOVED, net, goal, max_error)
        # A cap is flat; where its rim was cut short the way to the old one is not along the normal.
        on_caps = _locked(surface, net).any(axis=1)
        offsets = np.where(on_caps, 0.0, offsets_to_surface(net, n, max_error))
        sliced(shift, n, MOVED, net, offsets, min_angle, max_error)
    for _ in range(OPENINGS):
        sliced(open_corners, len(net.triangles), MOVED, net, _locked(surface, net), OPEN_ANGLE, max_error)
    return net


def _locked(surface: Surface, net: Net) -> Array:
    """Return (p, 3) bool: along which axes points must stay because they lie on a face of the box."""
    kinds = interface_ids(surface)
    live = net.triangles[:, 0] >= 0
    locked = np.zeros(net.points.shape, bool)
    for name in BOX_FACES:
        rows = live & np.isin(net.kinds, kinds[surface.patches.get(name, [])])
        locked[net.triangles[rows].ravel(), "xyz".index(name[4])] = True
    return locked


def _net(state: RemeshState, base: Base, lines: Base, cell: float, room_factor: float) -> Net:
    """Set up stars and grid, with room for splitting every edge longer than `room_factor` wanted lengths."""
    n, t = len(state.points), len(state.triangles)
    room_points, room_triangles = _room(state, room_factor)
    net = Net(
        _grown(state.points, room_points, 0),
        _grown(state.triangles, room_triangles, -1),
        _grown(state.kinds, room_triangles, 0),
        _grown(state.status, room_points, GONE),
        _grown(state.sizes, room_points, 0),
        _grown(state.curves, room_points, 0),
        np.full(n + room_points, -1, np.int32),
        np.full(3 * (t + room_triangles), -1, np.int32),
        np.zeros(n + room_points + 1, np.int64),
        np.zeros(t + room_triangles, bool),
        np.empty(max(4 * (t + room_triangles), 1024), np.int32),
        grid_of(state.points, state.triangles, cell, room_triangles),
        base,
        lines,
    )
    link_all(net, t)
    return net


def _room(state: RemeshState, factor: float) -> tuple[int, int]:
    if factor == np.inf:
        return 0, 0
    edges, triangle_edges = adjacency.edges(state.triangles, len(state.points))
    ends = state.points[edges]
    long = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) > factor * state.sizes[edges].mean(axis=1)
    return int(long.sum()), int(np.bincount(triangle_edges.ravel(), minlength=len(edges))[long].sum())


def _grown(values: Array, room: int, fill: Any) -> Array:
    return np.concatenate([values, np.full((room, *values.shape[1:]), fill, values.dtype)])


def _edges(net: Net, n_points: int) -> Ints:
    return adjacency.edges(net.triangles[net.triangles[:, 0] >= 0], n_points)[0]


def _compact(net: Net) -> RemeshState:
    rows = np.flatnonzero(net.triangles[:, 0] >= 0)
    triangles = net.triangles[rows]
    used = np.zeros(len(net.points), bool)
    used[triangles] = True
    new = (np.cumsum(used) - 1).astype(np.int32)
    return RemeshState(
        net.points[used], new[triangles], net.kinds[rows], net.status[used], net.sizes[used], net.curves[used]
    )


def _finished(surface: Surface, state: RemeshState) -> Surface:
    """Give sides and patches back: both follow from the kind."""
    kinds = interface_ids(surface)
    sides = np.zeros((kinds.max() + 1, 2), np.int32)
    sides[kinds] = surface.sides
    patches = {
        name: np.flatnonzero(np.isin(state.kinds, kinds[rows])).astype(np.int32)
        for name, rows in surface.patches.items()
    }
    return Surface(state.points, state.triangles, sides[state.kinds], surface.names, patches, surface.resolution)
