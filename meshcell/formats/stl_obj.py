"""Surfaces as STL (one closed body) and OBJ (one group per interface)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.files import (
    FileError,
    check_sum,
    checksum,
    merged_names,
    names_from_json,
    names_to_json,
    numbers_of,
    replacing,
    rows_of,
    tagged,
    truncated,
    untagged,
)
from meshcell.core.types import Surface
from meshcell.formats.nested_bodies import bodies
from meshcell.formats.single_bodies import body, merged_points, single_body

STL_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
VERTEX = re.compile(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)")


# --- STL ---


def read_stl(path: Path, names: Mapping[int, str] | None) -> Surface:
    """Read binary or text STL; corners at the same place become one point."""
    content = path.read_bytes()
    count = int.from_bytes(content[80:84], "little")
    # Many binary files begin with "solid" as well, so the length decides.
    if len(content) >= 84 and len(content) == 84 + 50 * count:
        corners = np.frombuffer(content, STL_RECORD, count, 84)["corners"].reshape(-1, 3).astype(np.float64)
        solids, titles = np.zeros(count, np.int64), dict[int, str]()
    elif content.lstrip().startswith(b"solid") and b"facet" in content[:4096]:
        corners, solids, titles = _text_corners(path, content)
    else:
        truncated(
            path, f"{count:,} triangles (84 + 50 n = {84 + 50 * count:,} bytes)", f"it has {len(content):,} bytes"
        )
    points, triangles = merged_points(corners)
    if len(titles) > 1:
        return bodies(path, points, triangles, solids, merged_names(path, titles, names))
    name = next(iter(titles.values()), "")
    return body(path, points, triangles, names or ({1: name} if name else None))


def write_stl(path: Path, surface: Surface) -> None:
    """Write text STL, 17 digits, so that every corner comes back exactly."""
    triangles, name = single_body(path, surface)
    corners = surface.points[triangles].tolist()
    lengths = np.linalg.norm(surface.area_vectors, axis=1)[:, None]
    a, b, c = (surface.points[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals = np.divide(normals, 2 * lengths, out=np.zeros_like(normals), where=lengths > 0).tolist()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"solid {' '.join(name.split())}\n")
        for (nx, ny, nz), triangle in zip(normals, corners, strict=True):
            file.write(f"facet normal {nx:.6g} {ny:.6g} {nz:.6g}\n outer loop\n")
            file.writelines(f"  vertex {x!r} {y!r} {z!r}\n" for x, y, z in triangle)
            file.write(" endloop\nendfacet\n")
        file.write(f"endsolid {' '.join(name.split())}\n")


def _text_corners(path: Path, content: bytes) -> tuple[Floats, Array, dict[int, str]]:
    """Return the corners, the solid of every triangle, counted from 1, and the solids' names."""
    numbers = VERTEX.findall(content)
    facets = [found.start() for found in re.finditer(rb"facet\s+normal", content)]
    if not re.search(rb"endsolid[^\n]*\s*$", content) or len(numbers) != 3 * len(facets):
        truncated(path, f"{len(facets):,} facets of 3 corners and an 'endsolid'", f"{len(numbers):,} corners are there")
    heads = list(re.finditer(rb"^[ \t]*solid\b([^\n]*)", content, re.MULTILINE))
    solids = np.searchsorted([head.start() for head in heads], facets)
    names = {row: head.group(1).decode("utf-8", "replace").strip() for row, head in enumerate(heads, 1)}
    kept = set(np.unique(solids).tolist())
    titles = {row: name or f"solid {row}" if len(kept) > 1 else name for row, name in names.items() if row in kept}
    return numbers_of(path, b" ".join(b" ".join(corner) for corner in numbers)).reshape(-1, 3), solids, titles


# --- OBJ ---


def read_obj(path: Path, names: Mapping[int, str] | None) -> Surface:
    """Read points, faces and groups; groups called behind|front become interfaces, other groups and objects bodies."""
    text = path.read_text("utf-8", errors="replace")
    points, triangles, groups, order, notes = _obj_lines(path, text)
    if not len(triangles):
        what = f"a point cloud, {len(points):,} points" if len(points) else "none"
        raise FileError(
            f"{path} should hold faces ('f 1 2 3'); it is {what}; make a surface of it first, or give the file the "
            "ending of its format"
        )
    if notes:
        check = [len(points), len(triangles)]
        if check != notes["counts"]:
            truncated(
                path,
                "{:,} points and {:,} triangles".format(*notes["counts"]),
                "{:,} and {:,} are there".format(*check),
            )
        kinds = [notes["groups"][name] for name in order]
        sides = np.array([kind[0] for kind in kinds], np.int32)[groups]
        check_sum(path, notes, points, triangles.astype(np.int32), sides)
        patches = {
            name: rows_of(np.array([row in kind[1] for kind in kinds])[groups])
            for row, name in enumerate(notes["patches"])
        }
        stored = merged_names(path, names_from_json(notes["names"]), names)
        return Surface(points, triangles, sides, stored, patches, notes["resolution"])
    if all(name.count("|") == 1 for name in order):
        return grouped(path, points, triangles, groups, order, names)
    if len(order) > 1:
        titles = {row + 1: name or path.stem for row, name in enumerate(order)}
        return bodies(path, points, triangles, groups + 1, merged_names(path, titles, names))
    return body(path, points, triangles, names)


def write_obj(path: Path, surface: Surface) -> None:
    """Write points with 17 digits and one group per interface; a comment holds labels, names and patches."""
    members = np.zeros((len(surface.triangles), len(surface.patches)), np.int32)
    for row, rows in enumerate(surface.patches.values()):
        members[rows, row] = 1
    kinds, which = np.unique(np.hstack([surface.sides, members]), axis=0, return_inverse=True)
    titles, groups = [], {}
    for number, (a, b, *inside) in enumerate(kinds.tolist()):
        parts = [
            f"{surface.names[a]}|{surface.names[b]}",
            *(n for n, i in zip(surface.patches, inside, strict=True) if i),
        ]
        # Blanks divide group names in OBJ; the number keeps names apart that differ only in blanks.
        title = "_".join("+".join(parts).split())
        titles.append(title if title not in groups else f"{title}_{number}")
        groups[titles[-1]] = [[a, b], [row for row, i in enumerate(inside) if i]]
    notes = tagged(
        "Surface",
        names=names_to_json(surface.names),
        patches=list(surface.patches),
        resolution=surface.resolution,
        groups=groups,
        counts=[len(surface.points), len(surface.triangles)],
        crc=checksum(surface.points, surface.triangles, surface.sides),
    )
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"# {notes}\n")
        file.writelines(f"v {x!r} {y!r} {z!r}\n" for x, y, z in surface.points.tolist())
        last = -1
        for group, (a, b, c) in zip(which.ravel().tolist(), (surface.triangles + 1).tolist(), strict=True):
            if group != last:
                file.write(f"g {titles[group]}\n")
                last = group
            file.write(f"f {a} {b} {c}\n")


def _obj_lines(path: Path, text: str) -> tuple[Floats, Any, Any, list[str], dict[str, Any]]:
    points: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    groups: list[int] = []
    titles: dict[str, int] = {}
    part, group = "", ""
    notes: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, *rest = line.split() or [""]
        if word == "v":
            points.append([float(value) for value in rest[:3]])
        elif word == "f":
            if len(rest) < 3 or len(points[-1]) < 3:
                truncated(path, f"three corners of three numbers in line {number}", f"it reads {line!r}")
            # A corner is point/texture/normal; negative numbers count back from the last point so far.
            corners = [int(corner.split("/")[0]) for corner in rest]
            first, *others = (corner - 1 if corner > 0 else len(points) + corner for corner in corners)
            for second, third in itertools.pairwise(others):
                triangles.append((first, second, third))
                groups.append(titles.setdefault("/".join(filter(None, (part, group))), len(titles)))
        elif word == "o":
            part, group = "_".join(rest), ""
        elif word == "g":
            group = "" if rest == ["default"] else "_".join(rest)
        elif word == "#" and not notes:
            notes = untagged(line[1:], "Surface")
    if text and not text.endswith("\n") and notes:
        truncated(path, "a last line that ends", "it breaks off")
    array = np.array(triangles, np.int64).reshape(-1, 3)
    return np.array(points, np.float64).reshape(-1, 3), array, np.array(groups, np.int64), list(titles), notes


def grouped(path: Path, points: Any, triangles: Any, groups: Any, order: list[str], names: Any) -> Surface:
    """Make interfaces of groups called behind|front: `order` names the group of every triangle."""
    labels = {"outside": 0}
    for name in order:
        for region in name.split("|"):
            labels.setdefault(region, max(labels.values()) + 1)
    sides = np.array([[labels[region] for region in name.split("|")] for name in order], np.int32)[groups]
    return Surface(points, triangles, sides, merged_names(path, {k: name for name, k in labels.items()}, names))
