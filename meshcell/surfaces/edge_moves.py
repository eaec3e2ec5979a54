"""Edges of a triangle net split, collapsed and flipped under the rules of `remeshing`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from meshcell.core import adjacency
from meshcell.core.inner import inner
from meshcell.core.kernels import njit
from meshcell.core.types import Surface
from meshcell.geometry.features import CURVE, FIXED, FREE
from meshcell.geometry.proximity import collides, distance2, insert, nearest, remove
from meshcell.surfaces.net import (
    GONE,
    STAR,
    angle_of,
    apex,
    around_edge,
    cosine,
    curve_of,
    curve_strays,
    distance,
    foot,
    is_feature,
    least_angle,
    link_corners,
    normal_at,
    normal_of,
    star_of,
    strays,
    unlink_corner,
)


def halved(surface: Surface, length: float) -> Surface:
    """Halve edges until none is longer than a length, um, without moving a point; sides and patches follow.

    Only edges that are the longest of all their triangles, of which there is always one: Rivara 1984, Algorithms for
    refining triangular grids. The least angle stays above half of what it was (Rosenberg and Stenger 1975).
    """
    while True:
        edges, triangle_edges = adjacency.edges(surface.triangles, len(surface.points))
        sizes = np.linalg.norm(surface.points[edges[:, 0]] - surface.points[edges[:, 1]], axis=1)
        # Ties by number, so that every triangle has one longest edge.
        ranks = np.empty(len(edges), np.int64)
        ranks[np.argsort(sizes, kind="stable")] = np.arange(len(edges))
        longest = np.take_along_axis(triangle_edges, ranks[triangle_edges].argmax(axis=1)[:, None], axis=1)[:, 0]
        of_all = np.bincount(longest, minlength=len(edges)) == np.bincount(triangle_edges.ravel(), minlength=len(edges))
        split = of_all & (sizes > length)
        if not split.any():
            return surface
        surface = _halved_at(surface, edges, split, longest)


def _halved_at(surface: Surface, edges: Any, split: Any, longest: Any) -> Surface:
    """Halve the marked edges (e,), each the longest one (t,) of its triangles."""
    middles = np.full(len(edges), -1)
    middles[split] = len(surface.points) + np.arange(split.sum())
    points = np.concatenate([surface.points, surface.points[edges[split]].mean(axis=1)])
    rows = np.flatnonzero(split[longest])
    a, b = edges[longest[rows]].T[:, :, None]
    there, middle = surface.triangles[rows], middles[longest[rows]][:, None]
    triangles = np.concatenate([surface.triangles, np.where(there == a, middle, there)])
    triangles[rows] = np.where(there == b, middle, there)
    new = len(surface.triangles) + np.arange(len(rows))
    patches = {name: np.append(own, new[np.isin(rows, own)]).astype(np.int32) for name, own in surface.patches.items()}
    sides = np.concatenate([surface.sides, surface.sides[rows]])
    return replace(surface, points=points, triangles=triangles.astype(np.int32), sides=sides, patches=patches)


# --- kernels ---


@njit(cache=True)
def split_all(net: Any, edges: Any, n_points: int, n_triangles: int, max_error: float, first: int, last: int) -> Any:
    """Split the edges first ... last, one after the other; return the numbers of points and triangles."""
    rows = np.empty(STAR, np.int32)
    for e in range(first, last):
        a, b = edges[e]
        n = around_edge(net, a, b, rows)
        if n == 0 or n_points >= net.points.shape[0] or n_triangles + n > net.triangles.shape[0]:
            continue
        _split(net, a, b, rows, n, n_points, n_triangles, max_error)
        n_points += 1
        n_triangles += n
    return n_points, n_triangles


@inner(cache=True, shared=True)
def _split(net: Any, a: int, b: int, rows: Any, n: int, m: int, first: int, max_error: float) -> None:
    """Put point m into the middle of edge a, b, whose n triangles are `rows`; the new ones follow from `first`."""
    feature = is_feature(net, rows, n)
    net.status[m] = CURVE if feature else FREE
    net.curves[m] = curve_of(net, rows, n) if feature else 0
    net.heads[m] = -1
    net.sizes[m] = 0.5 * (net.sizes[a] + net.sizes[b])
    for axis in range(3):
        net.points[m, axis] = 0.5 * (net.points[a, axis] + net.points[b, axis])
    nx, ny, nz = 0.0, 0.0, 0.0
    changed = np.empty(2 * n, np.int32)
    for r in range(n):
        t, child = rows[r], first + r
        ux, uy, uz = normal_of(net, t)
        nx, ny, nz = nx + ux, ny + uy, nz + uz
        net.kinds[child] = net.kinds[t]
        remove(net.grid, t)
        for k in range(3):
            p = net.triangles[t, k]
            net.triangles[child, k] = m if p == a else p
            if p == b:
                unlink_corner(net, b, 3 * t + k)
                net.triangles[t, k] = m
                net.links[3 * t + k] = net.heads[m]
                net.heads[m] = 3 * t + k
        link_corners(net, child)
        insert(net.grid, net.points, net.triangles, t)
        insert(net.grid, net.points, net.triangles, child)
        changed[2 * r], changed[2 * r + 1] = t, child
    base = net.lines if feature else net.surface
    kind = net.curves[m] if feature else net.kinds[rows[0]]
    if feature:
        nx, ny, nz = 0.0, 0.0, 0.0
    hit = nearest(base, net.points[m, 0], net.points[m, 1], net.points[m, 2], kind, (nx, ny, nz), net.sizes[m], False)
    if hit[1] >= 0:
        x, y, z, size = foot(base, hit)
        net.sizes[m] = size
        _settle(net, m, x, y, z, changed, 2 * n)


@inner(cache=True, shared=True)
def _settle(net: Any, m: int, x: float, y: float, z: float, rows: Any, n: int) -> None:
    """Move a new point from the middle of its edge to the old surface, unless a triangle turns or cuts another."""
    old = net.points[m, 0], net.points[m, 1], net.points[m, 2]
    normals = np.empty((n, 3))
    least = 180.0
    for r in range(n):
        normals[r, 0], normals[r, 1], normals[r, 2] = normal_of(net, rows[r])
        least = min(least, angle_of(net, rows[r]))
    net.points[m, 0], net.points[m, 1], net.points[m, 2] = x, y, z
    good = True
    for r in range(n):
        turned = cosine(normal_of(net, rows[r]), (normals[r, 0], normals[r, 1], normals[r, 2])) < 0.5
        good = good and not turned and angle_of(net, rows[r]) > 0.5 * min(least, 30.0)
    if not good or collides(net.grid, net.points, net.triangles, rows, n, net.found, net.busy):
        net.points[m, 0], net.points[m, 1], net.points[m, 2] = old
        return
    for r in range(n):
        remove(net.grid, rows[r])
        insert(net.grid, net.points, net.triangles, rows[r])


@njit(cache=True)
def collapse_all(net: Any, edges: Any, longest: float, floor: float, max_error: float, first: int, last: int) -> int:
    """Collapse the edges first ... last, one after the other, where that is allowed; return how many."""
    done = 0
    for e in range(first, last):
        a, b = edges[e]
        if net.status[a] == GONE or net.status[b] == GONE:
            continue
        if net.status[a] > net.status[b]:
            a, b = b, a
        merged = try_collapse(net, a, b, longest, floor, max_error)
        if not merged and net.status[a] == net.status[b]:
            merged = try_collapse(net, b, a, longest, floor, max_error)
        done += merged
    return done


@njit(cache=True)
def collapse_slivers(net: Any, goal: float, longest: float, max_error: float, first: int, last: int) -> int:
    """Collapse the shortest edges of those triangles first ... last with an angle below `goal`; return how many."""
    done = 0
    for t in range(first, last):
        if net.triangles[t, 0] < 0 or angle_of(net, t) >= goal:
            continue
        a, b, shortest = -1, -1, np.inf
        for k in range(3):
            p, q = net.triangles[t, k], net.triangles[t, (k + 1) % 3]
            if distance(net.points, p, q) < shortest:
                a, b, shortest = p, q, distance(net.points, p, q)
        if net.status[a] > net.status[b]:
            a, b = b, a
        merged = try_collapse(net, a, b, longest, goal, max_error)
        if not merged and net.status[a] == net.status[b]:
            merged = try_collapse(net, b, a, longest, goal, max_error)
        done += merged
    return done


@inner(cache=True, shared=True)
def _keeps_topology(net: Any, a: int, b: int, around: Any, n: int) -> bool:
    """Tell whether the edge's ends have only its apexes in common, and no triangle would come to lie on another."""
    points = net.points.shape[0]
    net.marks[points] += 2
    stamp = net.marks[points]
    c = net.heads[b]
    while c >= 0:
        for k in range(3):
            net.marks[net.triangles[c // 3, k]] = stamp
        c = net.links[c]
    common = 0
    c = net.heads[a]
    while c >= 0:
        for k in range(3):
            q = net.triangles[c // 3, k]
            if q != a and q != b and net.marks[q] == stamp:
                common += 1
                net.marks[q] = stamp + 1
        c = net.links[c]
    if common != n:
        return False
    c = net.heads[a]
    while c >= 0:
        corner = c % 3
        p, q = net.triangles[c // 3, (corner + 1) % 3], net.triangles[c // 3, (corner + 2) % 3]
        # Both other corners next to b: the triangle may land on one that is there.
        if net.marks[p] == stamp + 1 and net.marks[q] == stamp + 1 and _has_triangle(net, b, p, q):
            return False
        c = net.links[c]
    return True


@inner(cache=True)
def _has_triangle(net: Any, a: int, b: int, c: int) -> bool:
    corner = net.heads[a]
    while corner >= 0:
        t = corner // 3
        has_b = net.triangles[t, 0] == b or net.triangles[t, 1] == b or net.triangles[t, 2] == b
        if has_b and (net.triangles[t, 0] == c or net.triangles[t, 1] == c or net.triangles[t, 2] == c):
            return True
        corner = net.links[corner]
    return False


@inner(cache=True, shared=True)
def _keeps_curves(net: Any, a: int, b: int, around: Any, n: int) -> bool:
    """Tell whether a may merge into b as far as features go."""
    feature = is_feature(net, around, n)
    if net.status[a] == FIXED or (net.status[a] == CURVE and not feature):
        return False
    if net.status[a] == CURVE:
        if net.status[b] == FREE or (net.status[b] == CURVE and net.curves[a] != net.curves[b]):
            return False
        rows = np.empty(STAR, np.int32)
        for r in range(n):
            c = apex(net, around[r], a, b)
            both = is_feature(net, rows, around_edge(net, a, c, rows)) and is_feature(
                net, rows, around_edge(net, b, c, rows)
            )
            if both:
                return False
    return True


@inner(cache=True, shared=True)
def try_collapse(net: Any, a: int, b: int, longest: float, floor: float, max_error: float) -> Any:
    """Merge point a into b unless a rule forbids it.

    New edges stay below `longest` wanted lengths, new angles above the lesser of `floor` and what was there.
    """
    around = np.empty(STAR, np.int32)
    n = around_edge(net, a, b, around)
    if n == 0 or not _keeps_curves(net, a, b, around, n) or not _keeps_topology(net, a, b, around, n):
        return False
    star = np.empty(STAR, np.int32)
    n_star = star_of(net, a, star)
    if n_star < 0:
        return False
    rows = np.empty(STAR, np.int32)
    n_rows = 0
    least = 180.0
    for r in range(n_star):
        t = star[r]
        least = min(least, angle_of(net, t))
        if net.triangles[t, 0] != b and net.triangles[t, 1] != b and net.triangles[t, 2] != b:
            rows[n_rows] = t
            n_rows += 1
    if n_rows == 0:
        return False
    allowed = min(floor, least)
    for r in range(n_rows):
        t = rows[r]
        p, q, s = net.triangles[t, 0], net.triangles[t, 1], net.triangles[t, 2]
        i, j, k = (b if p == a else p), (b if q == a else q), (b if s == a else s)
        for c in (p, q, s):
            if c != a and 2 * distance(net.points, b, c) > longest * (net.sizes[b] + net.sizes[c]):
                return False
        if least_angle(net.points, i, j, k) < allowed:
            return False
        if cosine(normal_at(net.points, i, j, k), normal_at(net.points, p, q, s)) < 0.5:
            return False
    if net.status[a] == CURVE and _bends_curve(net, a, b, max_error):
        return False
    return _merge(net, a, b, around, n, rows, n_rows, max_error)


@inner(cache=True, shared=True)
def _bends_curve(net: Any, a: int, b: int, max_error: float) -> Any:
    """Tell whether the curve through a would leave the old one when a merges into b."""
    rows = np.empty(STAR, np.int32)
    c = net.heads[a]
    while c >= 0:
        for k in range(3):
            q = net.triangles[c // 3, k]
            if q != a and q != b and net.status[q] != FREE and is_feature(net, rows, around_edge(net, a, q, rows)):
                return curve_strays(net, b, q, net.curves[a], max_error)
        c = net.links[c]
    return True


@inner(cache=True, shared=True)
def _merge(net: Any, a: int, b: int, around: Any, n: int, rows: Any, n_rows: int, max_error: float) -> bool:
    """Turn the triangles `rows` from a to b and drop those around the edge; undo it all where the result is bad."""
    for r in range(n_rows):
        for k in range(3):
            if net.triangles[rows[r], k] == a:
                net.triangles[rows[r], k] = b
    good = False
    x, y, z = net.points[a, 0], net.points[a, 1], net.points[a, 2]
    for r in range(n_rows):
        i, j, k = net.triangles[rows[r], 0], net.triangles[rows[r], 1], net.triangles[rows[r], 2]
        if distance2(net.points, i, j, k, x, y, z) <= max_error * max_error:
            good = True
            break
    for r in range(n_rows):
        if not good:
            break
        good = not strays(net, rows[r], b, max_error)
    if good:
        for r in range(n):
            remove(net.grid, around[r])
        good = not collides(net.grid, net.points, net.triangles, rows, n_rows, net.found, net.busy)
        if not good:
            for r in range(n):
                insert(net.grid, net.points, net.triangles, around[r])
    if not good:
        for r in range(n_rows):
            for k in range(3):
                if net.triangles[rows[r], k] == b:
                    net.triangles[rows[r], k] = a
        return False
    for r in range(n):
        for k in range(3):
            p = net.triangles[around[r], k]
            if p != a:
                unlink_corner(net, p, 3 * around[r] + k)
        net.triangles[around[r], 0] = -1
    for r in range(n_rows):
        for k in range(3):
            if net.triangles[rows[r], k] == b:
                net.links[3 * rows[r] + k] = net.heads[b]
                net.heads[b] = 3 * rows[r] + k
        remove(net.grid, rows[r])
        insert(net.grid, net.points, net.triangles, rows[r])
    net.status[a] = GONE
    net.heads[a] = -1
    return True


@njit(cache=True)
def flip_better(net: Any, edges: Any, max_error: float, first: int, last: int) -> int:
    """Flip the plain edges first ... last where that raises the least angle of their two triangles; return how many."""
    done = 0
    for e in range(first, last):
        a, b = edges[e]
        if net.status[a] != GONE and net.status[b] != GONE:
            done += _flip(net, a, b, max_error)
    return done


@inner(cache=True, shared=True)
def _flip(net: Any, a: int, b: int, max_error: float) -> bool:
    rows = np.empty(STAR, np.int32)
    n = around_edge(net, a, b, rows)
    if n != 2 or is_feature(net, rows, n):
        return False
    s, t = rows[0], rows[1]
    # In s the edge runs from a to b, in t from b to a.
    for k in range(3):
        if net.triangles[s, k] == b and net.triangles[s, (k + 1) % 3] == a:
            s, t = t, s
            break
    c, d = apex(net, s, a, b), apex(net, t, a, b)
    before = min(angle_of(net, s), angle_of(net, t))
    after = min(least_angle(net.points, a, d, c), least_angle(net.points, d, b, c))
    if after <= before + 1e-6 or c == d:
        return False
    u, v = normal_of(net, s), normal_of(net, t)
    mean = u[0] + v[0], u[1] + v[1], u[2] + v[2]
    if cosine(normal_at(net.points, a, d, c), mean) < 0.5 or cosine(normal_at(net.points, d, b, c), mean) < 0.5:
        return False
    other = np.empty(STAR, np.int32)
    if around_edge(net, c, d, other) > 0:
        return False
    old = net.triangles[s].copy(), net.triangles[t].copy()
    net.triangles[s, 0], net.triangles[s, 1], net.triangles[s, 2] = a, d, c
    net.triangles[t, 0], net.triangles[t, 1], net.triangles[t, 2] = d, b, c
    good = not strays(net, s, a, max_error) and not strays(net, s, c, max_error) and not strays(net, t, b, max_error)
    good = good and not collides(net.grid, net.points, net.triangles, rows, 2, net.found, net.busy)
    new = net.triangles[s].copy(), net.triangles[t].copy()
    net.triangles[s], net.triangles[t] = old
    if not good:
        return False
    for r, row in ((s, new[0]), (t, new[1])):
        remove(net.grid, r)
        for k in range(3):
            unlink_corner(net, net.triangles[r, k], 3 * r + k)
        net.triangles[r] = row
        link_corners(net, r)
        insert(net.grid, net.points, net.triangles, r)
    return True
