"""Medit's text meshes (.mesh), which MMG, FreeFem and Gmsh read: a reference for every tetrahedron and triangle.

Source: P. Frey, "Medit: an interactive mesh visualization software", INRIA RT-0253, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, commented, numbers_of, replacing, truncated
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.exchange.numbered_groups import Numbered, numbered, restored
from meshcell.formats.single_bodies import by_arrays

# Numbers in a row of the sections that are read; the last is the reference.
WIDTHS = {"Vertices": 4, "Tetrahedra": 5, "Triangles": 4}
CURVED_OR_OTHER = ("Hexahedra", "Prisms", "Pyramids", "TetrahedraP2", "TrianglesP2", "Quadrilaterals")


def read_medit(path: Path, names: Mapping[int, str] | None) -> Surface | TetMesh:
    """Read ours exactly; of others, references as regions and patches, triangles alone as a surface."""
    text = path.read_bytes()
    if not re.match(rb"\s*(#[^\n]*\n\s*)*MeshVersionFormatted", text):
        raise FileError(f"{path} should be a Medit mesh (MeshVersionFormatted); it is none; give it its own ending")
    notes = commented(text, "TetMesh")
    text = re.sub(rb"#[^\n]*", b"", text)
    if not re.search(rb"\bEnd\s*$", text):
        truncated(path, "an 'End'", f"it ends at byte {len(text):,}")
    dimension = re.search(rb"Dimension\s+(\d)", text)
    if dimension is None or dimension.group(1) != b"3":
        raise FileError(f"{path} should have dimension 3; export it so")
    parts = {title: _section(path, text, title, width) for title, width in WIDTHS.items()}
    other = [title for title in CURVED_OR_OTHER if len(_section(path, text, title, 1))]
    if other:
        raise FileError(f"{path} should hold linear tetrahedra and triangles; it has {', '.join(other)}; convert it")
    points, tets, triangles = (parts[title][:, :-1] for title in WIDTHS)
    refs = [parts[title][:, -1].astype(np.int64) for title in WIDTHS]
    cells = [part.astype(np.int64) - 1 for part in (tets, triangles)]
    if not len(tets):
        return by_arrays(path, points, cells[1], {"medit:ref": refs[2]}, names)
    return restored(path, Numbered(points, cells[0], refs[1], cells[1], refs[2]), notes, names)


def write_medit(path: Path, mesh: TetMesh) -> None:
    """Write text with 17 digits: labels as references of tetrahedra, the groups of facets from 1; names as comment."""
    own, notes = numbered(mesh)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"MeshVersionFormatted 2\n# {notes}\nDimension 3\nVertices\n{len(own.points)}\n")
        file.writelines(f"{x!r} {y!r} {z!r} 0\n" for x, y, z in own.points.tolist())
        for title, cells, refs in (("Tetrahedra", own.tets, own.regions), ("Triangles", own.facets, own.groups)):
            file.write(f"{title}\n{len(cells)}\n")
            rows = np.column_stack([cells + 1, refs]).tolist()
            file.writelines(" ".join(map(str, row)) + "\n" for row in rows)
        file.write("End\n")


def _section(path: Path, text: bytes, title: str, width: int) -> Array:
    """Return the numbers of one section, (n, width)."""
    found = re.search(rb"^\s*" + title.encode() + rb"\s+(\d+)", text, re.MULTILINE)
    if found is None:
        return np.empty((0, width))
    stop = re.compile(rb"\n\s*[A-Za-z]").search(text, found.end())
    body = text[found.end() : stop.start() if stop else len(text)]
    count = int(found.group(1))
    if width == 1:
        return np.empty((count and 1, 1))
    if 2 * width * count > len(body) + 2:
        truncated(path, f"{count:,} {title}", f"{len(body):,} bytes are left for them")
    flat = numbers_of(path, body)
    if len(flat) != width * count:
        truncated(path, f"{count:,} {title} of {width} numbers", f"{len(flat):,} numbers are there")
    return flat.reshape(count, width)
