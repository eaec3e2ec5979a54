"""Surfaces as PLY: ours binary with sides and patches, foreign ones of any kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import (
    FileError,
    merged_names,
    names_from_json,
    names_to_json,
    replacing,
    rows_of,
    tagged,
    truncated,
    untagged,
)
from meshcell.core.types import Surface
from meshcell.formats.single_bodies import body

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

    def dtype(self, order: str) -> np.dtype[Any]:
        """Return the type of one row, each list being a triangle's three corners."""
        fields: list[Any] = []
        for name, *kinds in self.properties:
            if len(kinds) == 2:
                fields.append((f"{name} length", order + TYPES[kinds[0]]))
                fields.append((name, order + TYPES[kinds[1]], (3,)))
            else:
                fields.append((name, order + TYPES[kinds[0]]))
        return np.dtype(fields)

    def least_bytes(self, ascii_text: bool) -> int:
        """Return the fewest bytes that the element can take; a list may be empty."""
        if ascii_text:
            return 2 * self.count * max(1, len(self.properties))
        return self.count * sum(np.dtype(TYPES[kinds[0]]).itemsize for _, *kinds in self.properties)


def read_ply(path: Path, names: Mapping[int, str] | None) -> Surface:
    """Read ours exactly, and any foreign PLY of points and faces as one closed body."""
    content = path.read_bytes()
    kind, elements, comments, start = _header(path, content)
    least = sum(element.least_bytes(kind == "ascii") for element in elements)
    # The last line of a text need not end in a new line.
    if least > len(content) - start + 1:
        counts = ", ".join(f"{element.count:,} {element.name}" for element in elements)
        truncated(path, f"{counts} (at least {least:,} bytes)", f"{len(content) - start:,} bytes follow the header")
    rows = None if kind == "ascii" else _rows(path, content, start, kind, elements)
    if rows is None:
        return body(path, *_by_trimesh(path, elements), names)
    points = np.stack([rows["vertex"][axis] for axis in "xyz"], axis=1).astype(np.float64)
    triangles = rows["face"][_corners(path, elements)].astype(np.int64)
    notes = next((notes for comment in comments if (notes := untagged(comment, "Surface"))), None)
    return body(path, points, triangles, names) if notes is None else _ours(path, points, triangles, rows, notes, names)


def write_ply(path: Path, surface: Surface) -> None:
    """Write binary PLY: double points, int side0 and side1 and a uchar per patch on every face, names as comment."""
    columns = [("length", "u1"), ("corners", "<i4", (3,)), ("side0", "<i4"), ("side1", "<i4")]
    columns += [(f"patch{row}", "u1") for row in range(len(surface.patches))]
    faces = np.zeros(len(surface.triangles), columns)
    faces["length"], faces["corners"] = 3, surface.triangles
    faces["side0"], faces["side1"] = surface.sides.T
    for row, members in enumerate(surface.patches.values()):
        faces[f"patch{row}"][members] = 1
    notes = tagged(
        "Surface", names=names_to_json(surface.names), patches=list(surface.patches), resolution=surface.resolution
    )
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {notes}",
        f"element vertex {len(surface.points)}",
        *(f"property double {axis}" for axis in "xyz"),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        *("property int side0", "property int side1"),
        *(f"property uchar patch{row}" for row in range(len(surface.patches))),
        "end_header\n",
    ]
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii"))
        file.write(surface.points.astype("<f8").tobytes())
        file.write(faces.tobytes())


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


def _corners(path: Path, elements: list[Element]) -> str:
    for element in elements:
        if element.name == "face":
            lists = [name for name, *kinds in element.properties if len(kinds) == 2]
            if len(lists) == 1:
                return lists[0]
    raise FileError(f"{path} should hold faces with one list of corners; got {elements}; export it as a triangle mesh")


def _rows(
    path: Path, content: bytes, start: int, kind: str, elements: list[Element]
) -> dict[str, np.ndarray[Any, Any]] | None:
    """Read every element as one array; None where faces are no triangles, which have no fixed length."""
    _corners(path, elements)
    rows: dict[str, Array] = {}
    for element in elements:
        dtype = element.dtype(ORDERS[kind])
        if start + element.count * dtype.itemsize > len(content):
            lists = [name for name in dtype.names or () if name.endswith(" length")]
            there = np.frombuffer(content, dtype, (len(content) - start) // dtype.itemsize, start)
            if lists and any((there[name] != 3).any() for name in lists):
                return None
            promised = f"{element.count:,} of {element.name} in {element.count * dtype.itemsize:,} bytes"
            truncated(path, promised, f"{len(content) - start:,} bytes are left for them")
        rows[element.name] = np.frombuffer(content, dtype, element.count, start)
        if any((rows[element.name][name] != 3).any() for name in dtype.names or () if name.endswith(" length")):
            return None
        start += element.count * dtype.itemsize
    return rows


def _by_trimesh(path: Path, elements: list[Element]) -> tuple[Array, Array]:
    import trimesh

    mesh = trimesh.load(path, file_type="ply", process=False, force="mesh")
    points = next((element.count for element in elements if element.name == "vertex"), 0)
    faces = next((element.count for element in elements if element.name == "face"), 0)
    # Polygons become several triangles, so there may be more of them than faces.
    if len(mesh.vertices) != points or len(mesh.faces) < faces:
        truncated(path, f"{points:,} points, {faces:,} faces", f"{len(mesh.vertices):,}, {len(mesh.faces):,} are there")
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def _ours(path: Path, points: Array, triangles: Array, rows: Any, notes: Any, names: Any) -> Surface:
    faces = rows["face"]
    return Surface(
        points,
        triangles,
        np.stack([faces["side0"], faces["side1"]], axis=1).astype(np.int32),
        merged_names(path, names_from_json(notes["names"]), names),
        {name: rows_of(faces[f"patch{row}"]) for row, name in enumerate(notes["patches"])},
        notes["resolution"],
    )
