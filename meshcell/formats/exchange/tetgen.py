"""TetGen's files: .node (points), .ele (tetrahedra with a region), .face (triangles with a marker), of one name.

Source: H. Si, TetGen 1.6 manual, section 5, "File formats".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, commented, numbers_of, replacing, truncated
from meshcell.core.types import TetMesh
from meshcell.formats.exchange.numbered_groups import Numbered, numbered, restored


def tetgen_files(path: Path) -> list[Path]:
    """Return the three files that belong together."""
    return [path.with_suffix(ending) for ending in (".node", ".ele", ".face")]


def read_tetgen(path: Path, names: Mapping[int, str] | None) -> TetMesh:
    """Read ours exactly; of others, the first attribute of tetrahedra as regions and face markers as patches."""
    nodes, elements, faces = tetgen_files(path)
    for file in (nodes, elements):
        if not file.exists():
            raise FileError(f"{path} belongs to {file.name}, which should lie beside it; it does not: copy it too")
    _, heads, points, _ = _table(nodes, 3)
    first = int(points[0, 0]) if len(points) else 0
    if first not in (0, 1) or (points[:, 0] != np.arange(first, first + len(points))).any():
        raise FileError(f"{nodes} should number its points from 0 or 1; it does not; write it again")
    notes, heads, cells, corners = _table(elements, 4)
    if corners != 4:
        raise FileError(f"{elements} should hold linear tetrahedra of 4 corners; got {corners}; run TetGen without -o2")
    regions = cells[:, 5] if heads[2] else np.ones(len(cells))
    facets, marks = np.empty((0, 3), np.int64), np.empty(0, np.int64)
    if faces.exists():
        _, heads, rows, _ = _table(faces, 3)
        facets = rows[:, 1:4].astype(np.int64) - first
        marks = rows[:, 4].astype(np.int64) if heads[1] else np.zeros(len(rows), np.int64)
    if (regions != np.round(regions)).any():
        raise FileError(f"{elements} should have whole numbers as regions; it has others; write it again")
    tets = cells[:, 1:5].astype(np.int64) - first
    return restored(path, Numbered(points[:, 1:4], tets, regions.astype(np.int64), facets, marks), notes, names)


def write_tetgen(path: Path, mesh: TetMesh) -> None:
    """Write three text files with 17 digits, numbered from 0; names as a comment of .ele."""
    own, notes = numbered(mesh)
    tables: list[tuple[str, Any]] = [
        (f"{len(own.points)} 3 0 0", (f"{k} {x!r} {y!r} {z!r}" for k, (x, y, z) in enumerate(own.points.tolist()))),
        (f"# {notes}\n{len(own.tets)} 4 1", _rows(own.tets, own.regions)),
        (f"{len(own.facets)} 1", _rows(own.facets, own.groups)),
    ]
    with ExitStack() as stack:
        # All three take their places once all three are whole.
        for target, (head, lines) in zip(tetgen_files(path), tables, strict=True):
            temporary = stack.enter_context(replacing(target))
            with temporary.open("w", encoding="ascii", newline="\n") as file:
                file.write(head + "\n")
                file.writelines(line + "\n" for line in lines)


def _rows(cells: Array, marks: Array) -> Any:
    table = np.column_stack([np.arange(len(cells)), cells, marks]).tolist()
    return (" ".join(map(str, row)) for row in table)


def _table(path: Path, corners: int) -> tuple[dict[str, Any], list[int], Array, int]:
    """Return our notes, the numbers of the head and of the rows, and how many corners a row has."""
    text = path.read_bytes()
    notes = commented(text, "TetMesh")
    text = re.sub(rb"#[^\n]*", b"", text).lstrip()
    line, _, body = text.partition(b"\n")
    heads = [int(word) for word in line.split()] if re.fullmatch(rb"[\d\s]+", line) else []
    if not heads:
        raise FileError(f"{path} should begin with the number of its rows; it does not; give it its own ending")
    heads += [0] * (4 - len(heads))
    count = heads[0]
    if path.suffix == ".node":
        width = 1 + heads[1] + heads[2] + heads[3]
    elif path.suffix == ".ele":
        corners = heads[1]
        width = 1 + corners + heads[2]
    else:
        width = 1 + corners + heads[1]
    if path.suffix == ".node" and heads[1] != 3:
        raise FileError(f"{path} should have points in 3D; got {heads[1]}; export it so")
    flat = numbers_of(path, body)
    # -nn of TetGen adds neighbours to each face, which no head tells.
    if count and path.suffix == ".face" and len(flat) % count == 0 and len(flat) >= width * count:
        width = len(flat) // count
    if len(flat) != width * count:
        truncated(path, f"{count:,} rows of {width:,} numbers", f"{len(flat):,} numbers are there")
    return notes, heads, flat.reshape(count, width), corners
