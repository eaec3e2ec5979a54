"""Surfaces as PLY: ours binary with sides and patches, foreign ones of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
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
from meshcell.formats.cell_arrays import Choice
from meshcell.formats.single_bodies import by_arrays

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Element:
    """One element of the header: its count and properties (name, type, or type of a list's length and entries)."""

    name: str
    count: int
    properties: tuple[tuple[str, ...], ...]

    def dtype(self, order: str, lengths: Sequence[int]) -> np.dtype[Any]:
        """Return the type of one row whose lists have these lengths; of a text, all numbers are doubles."""
        left = list(lengths)
        fields: list[Any] = []
        for name, *kinds in self.properties:
            codes = ["<f8" if order == "=" else order + TYPES[kind] for kind in kinds]
            if len(kinds) == 2:
                fields += [(f"{name} length", codes[0]), (name, codes[1], (left.pop(0),))]
            else:
                fields.append((name, codes[0]))
        return np.dtype(fields)

    @property
    def lists(self) -> list[str]:
        """Names of the properties that are lists."""
        return [name for name, *kinds in self.properties if len(kinds) == 2]

    def least_bytes(self, ascii_text: bool) -> int:
        """Return the fewest bytes that the element can take; a list may be empty."""
        if ascii_text:
            return 2 * self.count * max(1, len(self.properties))
        return self.count * sum(np.dtype(TYPES[kinds[0]]).itemsize for _, *kinds in self.properties)


def read_ply(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface:
    """Read ours exactly, and any foreign PLY of points and faces as one closed body, or several by a face property."""
    content = path.read_bytes()
    kind, elements, comments, start = _header(path, content)
    least = sum(element.least_bytes(kind == "ascii") for element in elements)
    # The last line of a text need not end in a new line.
    if least > len(content) - start + 1:
        counts = ", ".join(f"{element.count:,} {element.name}" for element in elements)
        truncated(path, f"{counts} (at least {least:,} bytes)", f"{len(content) - start:,} bytes follow the header")
    if kind == "ascii":
        content, start = numbers_of(path, content[start:]).tobytes(), 0
    parts: dict[str, list[Array]] = {}
    for element in elements:
        parts[element.name], start = _rows(path, content, start, ORDERS[kind], element)
    vertices = np.concatenate(parts["vertex"])
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
    triangles, arrays = _triangles(path, elements, parts)
    notes = next((notes for comment in comments if (notes := untagged(comment, "Surface"))), None)
    if notes is None:
        on_points = {name: vertices[name] for name in _scalars(elements, "vertex") if name not in ("x", "y", "z")}
        return by_arrays(path, points, triangles, arrays, names, regions, on_points)
    return _ours(path, points, triangles, arrays, notes, names)


def write_ply(path: Path, surface: Surface) -> None:
    """Write text: points with 17 digits, int side0 and side1 and a uchar per patch on every face, names as comment.

    Text, since meshio reads properties of faces in no other PLY.
    """
    masks = np.zeros((len(surface.triangles), len(surface.patches)), np.int32)
    for row, members in enumerate(surface.patches.values()):
        masks[members, row] = 1
    notes = tagged(
        "Surface",
        names=names_to_json(surface.names),
        patches=list(surface.patches),
        resolution=surface.resolution,
        crc=checksum(surface.points, surface.triangles, surface.sides, masks),
    )
    header = [
        "ply",
        "format ascii 1.0",
        f"comment {notes}",
        f"element vertex {len(surface.points)}",
        *(f"property double {axis}" for axis in "xyz"),
        f"element face {len(surface.triangles)}",
        "property list uchar int vertex_indices",
        *("property int side0", "property int side1"),
        *(f"property uchar patch{row}" for row in range(len(surface.patches))),
        "end_header\n",
    ]
    faces = np.hstack([np.full((len(masks), 1), 3, np.int32), surface.triangles, surface.sides, masks])
    line = " ".join(["{}"] * faces.shape[1]) + "\n"
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(header))
        file.writelines(f"{x!r} {y!r} {z!r}\n" for x, y, z in surface.points.tolist())
        file.writelines(line.format(*face) for face in faces.tolist())


def _header(path: Path, content: bytes) -> tuple[str, list[Element], list[str], int]:
    end = content.find(b"end_header")
    if not content.startswith(b"ply") or end < 0:
        raise FileError(
            f"{path} should be a PLY file, from 'ply' to 'end_header'; it is none or truncated: give it the "
            "ending of its format, or copy it again"
        )
    start = content.index(b"\n", end) + 1
    kind, comments = "", []
    elements: list[Element] = []
    for line in content[:end].decode("utf-8", "replace").splitlines()[1:]:
        word, _, rest = line.strip().partition(" ")
        if word == "comment":
            comments.append(rest)
        elif word == "format":
            kind = rest.split()[0]
        elif word == "element":
            name, count = rest.split()
            elements.append(Element(name, int(count), ()))
        elif word == "property":
            *kinds, name = rest.replace("list ", "").split()
            last = elements[-1]
            elements[-1] = Element(last.name, last.count, (*last.properties, (name, *kinds)))
    if kind not in ORDERS or min((element.count for element in elements), default=-1) < 0:
        raise FileError(
            f"{path} should be PLY of a format {', '.join(ORDERS)} with elements; got {kind!r}; export it anew"
        )
    return kind, elements, comments, start


def _rows(path: Path, content: bytes, start: int, order: str, element: Element) -> tuple[list[Array], int]:
    """Read the rows of an element as arrays of rows whose lists have the same lengths; return where they end."""
    parts: list[Array] = []
    left, reach = element.count if element.properties else 0, 64
    while left:
        lengths: list[int] = []
        for _ in element.lists:
            # A list's length is known once those before it are.
            head = element.dtype(order, [*lengths, *[0] * (len(element.lists) - len(lengths))])
            name = f"{element.lists[len(lengths)]} length"
            where = start + head.fields[name][1] if head.fields else start
            if where + head[name].itemsize > len(content):
                break
            length = float(np.frombuffer(content, head[name], 1, where)[0])
            # Of a text, it may be any number: a row of 3.5 corners would be taken again and again.
            if not length >= 0 or length != np.floor(length) or length > len(content):
                break
            lengths.append(int(length))
        fits = len(lengths) == len(element.lists) and sum(lengths) <= len(content)
        dtype = element.dtype(order, lengths) if fits else None
        there = (len(content) - start) // dtype.itemsize if dtype else 0
        # Every pass takes a row at least: the row that told the lengths.
        if dtype is None or (there < left and not element.lists) or not there:
            truncated(
                path, f"{left:,} more rows of {element.name}", f"{len(content) - start:,} bytes are left for them"
            )
        rows = np.frombuffer(content, dtype, min(left, there, reach), start)
        other = [np.flatnonzero(rows[f"{name} length"] != n) for name, n in zip(element.lists, lengths, strict=True)]
        count = min((int(found[0]) for found in other if len(found)), default=len(rows))
        reach = 64 if count < len(rows) else 4 * reach
        parts.append(rows[:count])
        start, left = start + count * dtype.itemsize, left - count
    return parts, start


def _scalars(elements: list[Element], name: str) -> list[str]:
    """Return the properties of an element that are single numbers."""
    return [p for element in elements if element.name == name for p, *kinds in element.properties if len(kinds) == 1]


def _triangles(path: Path, elements: list[Element], parts: Mapping[str, list[Array]]) -> tuple[Array, dict[str, Array]]:
    """Divide faces into triangles from their first corner; return these and the faces' numbers for each."""
    face = next((element for element in elements if element.name == "face"), None)
    if face is None:
        if {element.name for element in elements} & {"tristrips", "multi_patch"}:
            raise FileError(f"{path} should hold faces; it holds strips of triangles; export it as a triangle mesh")
        return np.empty((0, 3), np.int64), {}
    lists = [name for name in ("vertex_indices", "vertex_index") if name in face.lists] or face.lists
    if not lists:
        raise FileError(f"{path} should hold faces with a list of corners; got {face}; export it as a triangle mesh")
    scalars = [name for name, *kinds in face.properties if len(kinds) == 1]
    triangles, numbers = [np.empty((0, 3), np.int64)], {name: [np.empty(0)] for name in scalars}
    for rows in parts["face"]:
        corners = rows[lists[0]].astype(np.int64)
        fans = corners.shape[1] - 2
        if fans < 1:
            continue
        split = [np.stack([corners[:, 0], corners[:, k + 1], corners[:, k + 2]], axis=1) for k in range(fans)]
        triangles.append(np.stack(split, axis=1).reshape(-1, 3))
        for name in scalars:
            numbers[name].append(np.repeat(rows[name], fans))
    kinds_of = {name: kinds[0] for name, *kinds in face.properties}
    arrays = {
        name: np.concatenate(own).astype(TYPES[kinds_of[name]]) if name in kinds_of else np.concatenate(own)
        for name, own in numbers.items()
    }
    return np.concatenate(triangles), arrays


def _ours(path: Path, points: Array, triangles: Array, faces: Mapping[str, Array], notes: Any, names: Any) -> Surface:
    sides = np.stack([faces["side0"], faces["side1"]], axis=1).astype(np.int32)
    masks = np.zeros((len(triangles), len(notes["patches"])), np.int32)
    for row in range(masks.shape[1]):
        masks[:, row] = faces[f"patch{row}"]
    check_sum(path, notes, points, triangles.astype(np.int32), sides, masks)
    return Surface(
        points,
        triangles,
        sides,
        merged_names(path, names_from_json(notes["names"]), names),
        {name: rows_of(masks[:, row]) for row, name in enumerate(notes["patches"])},
        notes["resolution"],
    )
