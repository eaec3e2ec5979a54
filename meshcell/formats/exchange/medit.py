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
    sections = _sections(text)
    other = [title for title in CURVED_OR_OTHER if sections.get(title, b"0").split(None, 1)[0] != b"0"]
    if other:
        raise FileError(f"{path} should hold linear tetrahedra and triangles; it has {', '.join(other)}; convert it")
    parts = {title: _rows(path, sections, title, width) for title, width in WIDTHS.items()}
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


def _sections(text: bytes) -> dict[str, bytes]:
    """Return what follows each keyword, up to the next one."""
    heads = list(re.finditer(rb"^[ \t]*([A-Za-z]\w*)", text, re.MULTILINE))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    found = ((head.group(1).decode("ascii"), text[head.end() : end]) for head, end in zip(heads, ends, strict=False))
    return {title: body for title, body in found if body.strip()}


def _rows(path: Path, sections: Mapping[str, bytes], title: str, width: int) -> Array:
    """Return the numbers of one section, (n, width)."""
    if title not in sections:
        return np.empty((0, width))
    body = sections[title]
    first = body.split(None, 1)[0]
    count = int(first)
    if count < 0 or 2 * width * count > len(body) + 2:
        truncated(path, f"{count:,} {title}", f"{len(body):,} bytes are left for them")
    flat = numbers_of(path, body)[1:]
    if len(flat) != width * count:
        truncated(path, f"{count:,} {title} of {width} numbers", f"{len(flat):,} numbers are there")
    return flat.reshape(count, width)
