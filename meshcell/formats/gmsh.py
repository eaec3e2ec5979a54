"""Tetrahedral meshes as Gmsh files: MSH 4.1 written, every version read.

Source: Gmsh reference manual, "MSH file format", version 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    replacing,
    rows_of,
    tagged,
    truncated,
    untagged,
)
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice
from meshcell.formats.foreign import surface_groups
from meshcell.formats.gmsh_foreign import read_foreign

TRIANGLE, TETRA = 2, 4  # Gmsh's numbers for cell types
HEAD = b"$MeshFormat\n4.1 1 8\n\1\0\0\0\n$EndMeshFormat\n$Comments\n"
OURS = re.compile(re.escape(HEAD) + rb"([^\n]*)\n\$EndComments")
NODE_BLOCK = np.dtype([("dim", "<i4"), ("tag", "<i4"), ("parametric", "<i4"), ("count", "<u8")])
CELL_BLOCK = np.dtype([("dim", "<i4"), ("tag", "<i4"), ("type", "<i4"), ("count", "<u8")])


def read_msh(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface | TetMesh:
    """Read ours exactly, and those of others, also ours that Gmsh saved, by physical groups or elementary volumes."""
    content = path.read_bytes()
    if not content.lstrip().startswith((b"$MeshFormat", b"$Comments")):
        raise FileError(f"{path} should be a Gmsh file ($MeshFormat); it is none; give it the ending of its format")
    for title in re.findall(rb"^\$(?!End)([A-Za-z]+)\s*$", content, re.MULTILINE):
        if b"$End" + title not in content:
            name = title.decode("ascii")
            truncated(path, f"a section ${name} up to $End{name}", f"it ends at byte {len(content):,}")
    if b"$Elements" not in content:
        truncated(path, "a section $Elements", f"it ends at byte {len(content):,}")
    # Gmsh keeps our comment when it saves a file anew in its own layout, but at the end.
    comment = OURS.match(content)
    notes = untagged(comment.group(1), "TetMesh") if comment else {}
    if notes:
        return _ours(path, content, notes, names)
    return read_foreign(path, content, names, regions)


def write_msh(path: Path, mesh: TetMesh) -> None:
    """Write binary MSH 4.1; every cell belongs to exactly one physical group, as dolfinx's reader wants it.

    Volumes: the region under its name, its label as tag. Surfaces: a patch under its name ("A + B" where patches
    overlap), all else of an interface as "behind|front". Labels, sides and the row order come back exactly.
    """
    kinds, which, titles = surface_groups(mesh)
    labels = np.unique(mesh.regions).tolist()
    tags = {title: tag for tag, title in enumerate(dict.fromkeys(titles), 1)}
    names = [(2, tag, title) for title, tag in tags.items()] + [(3, label, mesh.names[label]) for label in labels]
    notes = tagged(
        "TetMesh",
        names=names_to_json(mesh.names),
        patches=list(mesh.patches),
        surfaces=[[kind[:2], [row for row, inside in enumerate(kind[2:]) if inside]] for kind in kinds],
        crc=checksum(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides),
    )
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(HEAD + f"{notes}\n$EndComments\n$PhysicalNames\n{len(names)}\n".encode("ascii"))
        # Quotes and line breaks end a name in this format; the comment above has them right.
        file.writelines(f'{d} {t} "{" ".join(n.split())}"\n'.encode() for d, t, n in _unquoted(names))
        file.write(b"$EndPhysicalNames\n$Entities\n" + _words(0, 0, len(kinds), len(labels)))
        file.writelines(
            _entity(mesh, row + 1, tags[titles[row]], mesh.facets[which == row]) for row in range(len(kinds))
        )
        file.writelines(_entity(mesh, label, label, mesh.tets[mesh.regions == label]) for label in labels)
        file.write(b"\n$EndEntities\n$Nodes\n" + _nodes(mesh, labels))
        file.write(b"\n$EndNodes\n$Elements\n")
        n, f = len(mesh.tets), len(mesh.facets)
        file.write(_words(len(kinds) + len(labels), n + f, 1, n + f))
        file.writelines(_cells(2, row + 1, TRIANGLE, mesh.facets, which == row, n) for row in range(len(kinds)))
        file.writelines(_cells(3, label, TETRA, mesh.tets, mesh.regions == label, 0) for label in labels)
        file.write(b"\n$EndElements\n")


# --- writing ---


def _unquoted(names: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    return [(dim, tag, name.replace('"', "'").replace("\\", "/")) for dim, tag, name in names]


def _words(*numbers: int) -> bytes:
    return np.array(numbers, "<u8").tobytes()


def _entity(mesh: TetMesh, tag: int, physical: int, cells: Array) -> bytes:
    own = mesh.points[cells.ravel()]
    box = np.concatenate([own.min(axis=0), own.max(axis=0)]).astype("<f8").tobytes()
    tags = np.array([tag, physical], "<i4")
    return tags[:1].tobytes() + box + _words(1) + tags[1:].tobytes() + _words(0)


def _nodes(mesh: TetMesh, labels: list[int]) -> bytes:
    n = len(mesh.points)
    block = np.array([(3, labels[0] if labels else 0, 0, n)], NODE_BLOCK).tobytes()
    tags = np.arange(1, n + 1, dtype="<u8").tobytes()
    return _words(1, n, 1, n) + block + tags + mesh.points.astype("<f8").tobytes()


def _cells(dim: int, tag: int, kind: int, cells: Array, chosen: Array, before: int) -> bytes:
    rows = np.flatnonzero(chosen)
    block = np.array([(dim, tag, kind, len(rows))], CELL_BLOCK).tobytes()
    table = np.column_stack([before + rows + 1, cells[rows].astype(np.int64) + 1])
    return block + table.astype("<u8").tobytes()


# --- reading ---


class Cursor:
    """A place in a section of a binary file, which never reads past its end."""

    def __init__(self, path: Path, content: bytes, title: bytes) -> None:
        self.path, self.content = path, content
        # Ours have one of each; the bytes of a number cannot pass for a line that begins with $ and a whole title.
        self.place = content.index(b"\n$" + title + b"\n") + len(title) + 3

    def take(self, dtype: Any, count: int) -> Array:
        """Read `count` records."""
        size = count * np.dtype(dtype).itemsize
        if size > len(self.content) - self.place:
            left = f"{len(self.content) - self.place:,} bytes are left"
            truncated(self.path, f"{count:,} records of {np.dtype(dtype).itemsize} bytes", left)
        array = np.frombuffer(self.content, dtype, count, self.place)
        self.place += size
        return array


def _ours(path: Path, content: bytes, notes: Any, names: Mapping[int, str] | None) -> TetMesh:
    cursor = Cursor(path, content, b"Nodes")
    blocks, n_points = cursor.take("<u8", 4).tolist()[:2]
    (block,) = cursor.take(NODE_BLOCK, 1)
    if blocks != 1 or int(block["count"]) != n_points:
        truncated(path, f"{n_points:,} nodes in one block", f"there are {blocks} blocks")
    cursor.take("<u8", n_points)
    points = cursor.take("<f8", 3 * n_points).reshape(-1, 3)
    cursor = Cursor(path, content, b"Elements")
    parts: dict[int, list[tuple[int, Array]]] = {TRIANGLE: [], TETRA: []}
    for _ in range(int(cursor.take("<u8", 4)[0])):
        (block,) = cursor.take(CELL_BLOCK, 1)
        corners = {TRIANGLE: 3, TETRA: 4}[int(block["type"])]
        table = cursor.take("<u8", int(block["count"]) * (corners + 1)).reshape(-1, corners + 1)
        parts[int(block["type"])].append((int(block["tag"]), table.astype(np.int64)))
    tets, regions = _in_order(parts[TETRA], 4)
    facets, entities = _in_order(parts[TRIANGLE], 3)
    surfaces = notes["surfaces"]
    inside = [np.array([row in own for _, own in surfaces], bool) for row in range(len(notes["patches"]))]
    sides = np.array([sides for sides, _ in surfaces], np.int32).reshape(-1, 2)[entities - 1]
    check_sum(path, notes, points, *(array.astype(np.int32) for array in (tets, regions, facets)), sides)
    return TetMesh(
        points.astype(np.float64),
        tets,
        regions,
        facets,
        sides,
        merged_names(path, names_from_json(notes["names"]), names),
        {name: rows_of(own[entities - 1]) for name, own in zip(notes["patches"], inside, strict=True)},
    )


def _in_order(parts: list[tuple[int, Array]], corners: int) -> tuple[Array, Array]:
    """Put the cells of all blocks back into their order, which their numbers tell."""
    if not parts:
        return np.empty((0, corners), np.int64), np.empty(0, np.int64)
    table = np.concatenate([rows for _, rows in parts])
    tags = np.concatenate([np.full(len(rows), tag) for tag, rows in parts])
    order = np.argsort(table[:, 0])
    return table[order, 1:] - 1, tags[order]
