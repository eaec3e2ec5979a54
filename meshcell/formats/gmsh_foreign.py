"""Gmsh files of other programs, versions 2.0 to 4.1, text and binary, whose counts are checked before memory is taken.

Partitioned files, parametric nodes and volumes without a physical group are read, too.

Source: Gmsh reference manual, "MSH file format" (4.1) and "Legacy formats" (2.2, 4.0).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, merged_names, numbers_of, truncated
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice, positive, region_array, same_division
from meshcell.formats.foreign import assembled, runs_of_cells
from meshcell.formats.gmsh_data import data_in
from meshcell.formats.single_bodies import by_arrays

# Gmsh's cell types: corners of those that may be there, and names of those that stop us.
CORNERS = {1: 2, 2: 3, 3: 4, 4: 4, 5: 8, 6: 6, 7: 5, 8: 3, 9: 6, 10: 9, 11: 10, 12: 27, 13: 18, 14: 14, 15: 1, 16: 8}
CORNERS |= {17: 20, 18: 15, 19: 13, 20: 9, 21: 10, 22: 12, 23: 15, 24: 15, 25: 21, 26: 4, 27: 5, 28: 6, 29: 20}
CORNERS |= {30: 35, 31: 56, 92: 64, 93: 125}
TRIANGLE, TETRA = 2, 4
# (dimension, tag) -> (tag of the whole entity, its physical groups)
Entities = dict[tuple[int, int], tuple[int, list[int]]]
UNFIT = {5: "hexahedra", 6: "prisms", 7: "pyramids", 9: "curved triangles", 11: "curved tetrahedra"}
UNFIT |= dict.fromkeys((12, 13, 14, 17, 18, 19, 29, 30, 31, 92, 93), "curved or other volume cells")


@dataclass
class Cells:
    """Cells of one kind, block by block: their tags, node tags, the entity's tag and its physical groups."""

    tags: list[Array] = field(default_factory=list)
    nodes: list[Array] = field(default_factory=list)
    entities: list[Array] = field(default_factory=list)
    groups: list[Array] = field(default_factory=list)

    def add(self, tags: Array, nodes: Array, entities: Any, groups: Any) -> None:
        """Add cells; one entity or group may stand for all of them."""
        self.tags.append(tags.astype(np.int64))
        self.nodes.append(nodes.astype(np.int64))
        self.entities.append(np.broadcast_to(np.asarray(entities, np.int64), len(nodes)))
        self.groups.append(np.broadcast_to(np.asarray(groups, np.int64), len(nodes)))

    def joined(self, corners: int) -> tuple[Array, Array, Array, Array]:
        """Return all of them: (n,) tags, (n, corners) node tags, (n,) entities, (n,) groups."""
        none = np.empty(0, np.int64)
        nodes = np.concatenate([np.empty((0, corners), np.int64), *self.nodes])
        tags, entities, groups = (np.concatenate([none, *own]) for own in (self.tags, self.entities, self.groups))
        return tags, nodes, entities, groups


def read_foreign(path: Path, content: bytes, names: Mapping[int, str] | None, regions: Choice) -> Surface | TetMesh:
    """Read tetrahedra, their physical groups or else their elementary volumes, and the groups of triangles.

    Triangles alone are a surface, whose physical groups are bodies or parts of one.
    """
    sections = Sections(path, content)
    tags, points = _nodes(sections)
    kinds: dict[int, Cells] = {TRIANGLE: Cells(), TETRA: Cells()}
    for kind, *own in _elements(sections):
        if kind in UNFIT:
            raise FileError(f"{path} should hold linear tetrahedra; it has {UNFIT[kind]}; convert it first")
        if kind in kinds:
            kinds[kind].add(*own)
    cells, tets, entities, groups = kinds[TETRA].joined(4)
    faces, triangles, _, marks = kinds[TRIANGLE].joined(3)
    data = data_in(path, content, "ElementData", sections.binary)
    if len(triangles) and not len(tets):
        on_faces = {name: array for name, values in data.items() if (array := values.of(faces)) is not None}
        rows = _rows_of_nodes(path, tags, triangles)
        return _surface(sections, points, rows, on_faces, marks, names, regions)
    kept = _each_once(path, tets, groups)
    on_tets = {name: array for name, values in data.items() if (array := values.of(cells[kept])) is not None}
    tets, entities, groups = tets[kept], entities[kept], groups[kept]
    chosen = None if regions is False else _chosen(sections, on_tets, entities, groups, regions)
    if chosen is not None:
        labels, fresh = positive(path, on_tets[chosen].astype(np.int64), chosen)
        own_marks = data[chosen].of(faces)
        marks = marks if marks.any() or own_marks is None else own_marks.astype(np.int64)
    else:
        labels, fresh = _regions(path, entities, groups, regions)
    titles = sections.titles()
    # Names of groups say nothing of other labels.
    named = {tag: name for (dim, tag), name in titles.items() if dim == 3 and tag > 0 and tag in labels}
    stored = named if chosen is None else {}
    patches = {
        titles.get((2, tag), f"surface {tag}"): np.flatnonzero(marks == tag)
        for tag in np.unique(marks).tolist()
        if tag != 0
    }
    tets, triangles = (_rows_of_nodes(path, tags, corners) for corners in (tets, triangles))
    return assembled(path, points, tets, labels, merged_names(path, {**stored, **fresh}, names), triangles, patches)


def _surface(
    sections: Sections,
    points: Array,
    triangles: Array,
    arrays: dict[str, Array],
    marks: Array,
    names: Mapping[int, str] | None,
    regions: Choice,
) -> Surface:
    """Make a surface of triangles alone, by their data or else their physical groups."""
    if marks.any() and not arrays:
        arrays = {"gmsh:physical": marks}
        stored = {tag: name for (dim, tag), name in sections.titles().items() if dim == 2 and tag in marks}
        names = merged_names(sections.path, stored, names)
    return by_arrays(sections.path, points, triangles, arrays, names, regions)


# --- sections and numbers ---


class Numbers:
    """The numbers of one section, taken one after another.

    Kinds: "i" an int, "n" a size, "f" a double. All come as float64, which holds every tag below 2^53.
    """

    def __init__(self, path: Path, title: str, content: bytes, binary: bool, size: str) -> None:
        self.path, self.title, self.content, self.binary = path, title, content, binary
        self.place = 0
        self.types = {"i": "<i4", "n": size, "f": "<f8"}
        if not binary:
            self.flat = numbers_of(path, content)

    def rows(self, kinds: str, count: float) -> Array:
        """Take `count` rows of these kinds as a (count, kinds) array."""
        count = int(count)
        size = sum(np.dtype(self.types[kind]).itemsize for kind in kinds) if self.binary else len(kinds)
        left = (len(self.content) if self.binary else len(self.flat)) - self.place
        if count < 0 or count * size > left:
            unit = "bytes" if self.binary else "numbers"
            truncated(self.path, f"{count:,} rows in ${self.title}", f"{left:,} {unit} are left for them")
        start, self.place = self.place, self.place + count * size
        if not self.binary:
            text_rows: Array = self.flat[start : self.place].reshape(count, len(kinds))
            return text_rows
        record = np.dtype([(f"{row}", self.types[kind]) for row, kind in enumerate(kinds)])
        records = np.frombuffer(self.content, record, count, start)
        table = np.empty((count, len(kinds)))
        for column, name in enumerate(record.names or ()):
            table[:, column] = records[name]
        return table

    def row(self, kinds: str) -> list[int]:
        """Take one row of whole numbers."""
        return [int(value) for value in self.rows(kinds, 1)[0]]

    def counted(self, kind: str) -> list[int]:
        """Take a count and as many numbers."""
        return [int(value) for value in self.rows(kind, self.row("n")[0])[:, 0]]

    @property
    def rest(self) -> Array:
        """All numbers of a text that are left."""
        rest: Array = self.flat[self.place :]
        return rest


class Sections:
    """The sections of a file by title, and what its header says."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content
        form = re.search(rb"\$MeshFormat\s+(\d+(?:\.\d+)?)\s+(\d)\s+(\d)[^\n]*\n", content)
        version = float(form.group(1)) if form else 0.0
        if form is None or not 2 <= version < 5 or form.group(3) not in b"48":
            raise FileError(
                f"{path} should be a Gmsh file of version 2.2, 4.0 or 4.1; got {version:g}; save it anew as 4.1"
            )
        self.version, self.binary = version, form.group(2) == b"1"
        if self.binary and content[form.end() : form.end() + 4] != b"\1\0\0\0":
            raise FileError(f"{path} should be little-endian; it is not; save it as text")
        self.size = "<u8" if form.group(3) == b"8" else "<u4"

    def get(self, title: str) -> Numbers | None:
        """Return the numbers of a section, if it is there."""
        start = re.search(rb"^\$" + title.encode() + rb"[ \t]*\r?\n", self.content, re.MULTILINE)
        if start is None:
            return None
        end = self.content.find(b"$End" + title.encode(), start.end())
        if end < 0:
            truncated(self.path, f"a section ${title} up to $End{title}", f"it ends at byte {len(self.content):,}")
        body = self.content[start.end() : end]
        counted = self.binary
        if self.binary and self.version < 4:
            # The number of nodes or elements is text even here.
            first, _, body = body.partition(b"\n")
            body = np.int32(int(first)).tobytes() + body
        return Numbers(self.path, title, body, counted, self.size)

    def titles(self) -> dict[tuple[int, int], str]:
        """Return (dimension, tag) -> name of the physical groups."""
        block = re.search(rb"\$PhysicalNames\s(.*?)\$EndPhysicalNames", self.content, re.DOTALL)
        rows = re.findall(rb'(\d+)\s+(-?\d+)\s+"([^"\n]*)"', block.group(1)) if block else []
        return {(int(dim), int(tag)): name.decode("utf-8", "replace") for dim, tag, name in rows}


# --- nodes ---


def _nodes(sections: Sections) -> tuple[Array, Array]:
    """Return the tags of the nodes and their points."""
    numbers = sections.get("Nodes") or sections.get("ParametricNodes")
    if numbers is None:
        truncated(sections.path, "a section $Nodes", "there is none")
    if sections.version < 4:
        (count,) = numbers.row("i")
        if numbers.title == "Nodes":
            table = numbers.rows("ifff", count)
        else:
            table = np.array([_parametric(numbers) for _ in range(count)]).reshape(-1, 4)
        return table[:, 0].astype(np.int64), table[:, 1:]
    parts = []
    blocks = numbers.row("nnnn" if sections.version > 4 else "nn")[0]
    for _ in range(blocks):
        *place, parametric = numbers.row("iii")
        (count,) = numbers.row("n")
        extra = "f" * _dimension(sections, place) if parametric else ""
        if sections.version > 4:
            tags = numbers.rows("n", count)
            parts.append(np.hstack([tags, numbers.rows("fff" + extra, count)[:, :3]]))
        else:
            parts.append(numbers.rows("ifff" + extra, count)[:, :4])
    table = np.concatenate([np.empty((0, 4)), *parts])
    return table[:, 0].astype(np.int64), table[:, 1:]


def _parametric(numbers: Numbers) -> Array:
    row: Array = numbers.rows("ifffii", 1)[0]
    # One parameter on a curve, two on a surface, none in a volume.
    numbers.rows("f" * (int(row[4]) if row[4] in (1, 2) else 0), 1)
    return row[:4]


def _dimension(sections: Sections, place: list[int]) -> int:
    """Version 4.0 writes tag and dimension, 4.1 the other way round."""
    dim = place[0] if sections.version > 4 else place[1]
    if not 0 <= dim <= 3:
        truncated(sections.path, "entities of dimensions 0 to 3", f"one has {dim}")
    return dim


def _rows_of_nodes(path: Path, tags: Array, cells: Array) -> Array:
    order = np.argsort(tags, kind="stable")
    place = np.minimum(np.searchsorted(tags, cells, sorter=order), max(len(tags) - 1, 0))
    if len(cells) and (not len(tags) or (tags[order[place]] != cells).any()):
        raise FileError(f"{path} should have a node for every corner; some are missing; save the whole mesh anew")
    return order[place] if len(cells) else cells


# --- elements ---


def _elements(sections: Sections) -> Iterator[tuple[int, Array, Array, Any, Any]]:
    """Yield the type, tags, node tags, entities and physical groups (0 is none) of cells of one type."""
    numbers = sections.get("Elements")
    if numbers is None:
        truncated(sections.path, "a section $Elements", "there is none")
    if sections.version < 4:
        yield from _binary_2(sections, numbers) if sections.binary else _text_2(sections, numbers)
        return
    entities = _entities(sections)
    new = sections.version > 4
    for _ in range(numbers.row("nnnn" if new else "nn")[0]):
        *place, kind = numbers.row("iii")
        (count,) = numbers.row("n")
        dim = _dimension(sections, place)
        tag = place[1] if new else place[0]
        table = numbers.rows(("n" if new else "i") * (1 + _corners(sections, kind)), count)
        parent, groups = entities.get((dim, tag), (tag, []))
        yield kind, table[:, 0], table[:, 1:], parent, groups[0] if groups else 0


def _corners(sections: Sections, kind: int) -> int:
    if kind not in CORNERS:
        raise FileError(f"{sections.path} should hold Gmsh's usual cells; it has type {kind}; save it anew")
    return CORNERS[kind]


def _text_2(sections: Sections, numbers: Numbers) -> Iterator[tuple[int, Array, Array, Any, Any]]:
    (count,) = numbers.row("i")
    seen, following = 0, numbers.rest[:1]

    def width(head: Array) -> int:
        return 3 + max(int(head[1]), 0) + _corners(sections, int(head[0]))

    # A row is number, type, count of tags, tags, nodes: it is looked at from its type on, to the next one's number.
    for rows in runs_of_cells(np.append(numbers.rest[1:], 0), 2, width):
        seen += len(rows)
        own, following = np.concatenate([following, rows[:-1, -1]]), rows[-1:, -1]
        yield int(rows[0, 0]), own, *_tagged(rows[:, 2:-1], int(rows[0, 1]))
    if seen != count:
        truncated(sections.path, f"{count:,} elements", f"{seen:,} are there")


def _binary_2(sections: Sections, numbers: Numbers) -> Iterator[tuple[int, Array, Array, Any, Any]]:
    (left,) = numbers.row("i")
    while left > 0:
        kind, count, tags = numbers.row("iii")
        if count < 1 or not 0 <= tags < 1000:
            truncated(sections.path, f"{left:,} more elements", f"a block of {count:,} with {tags:,} tags follows")
        rows = numbers.rows("i" * (1 + tags + _corners(sections, kind)), count)
        yield kind, rows[:, 0], *_tagged(rows[:, 1:], tags)
        left -= count


def _tagged(rows: Array, tags: int) -> tuple[Array, Array, Array]:
    """Divide rows of tags (physical, elementary, partitions) and nodes."""
    zero = np.zeros(len(rows), np.int64)
    return rows[:, tags:], rows[:, 1] if tags > 1 else zero, rows[:, 0] if tags else zero


def _entities(sections: Sections) -> Entities:
    """Return (dimension, tag) -> (tag of the whole entity, physical groups, the most special first)."""
    found: Entities = {}
    for title in ("Entities", "PartitionedEntities"):
        numbers = sections.get(title)
        if numbers is None:
            continue
        split = title == "PartitionedEntities"
        if split:
            numbers.row("n")
            for _ in range(numbers.row("n")[0]):
                numbers.row("ii")
        for dim, count in enumerate(numbers.row("nnnn")):
            for _ in range(count):
                (tag,) = numbers.row("i")
                parent = numbers.row("ii")[1] if split else tag
                if split:
                    numbers.counted("i")
                numbers.rows("fff" if dim == 0 and sections.version > 4 else "ffffff", 1)
                groups = [abs(group) for group in numbers.counted("i")]
                if dim:
                    numbers.counted("i")
                found[dim, tag] = parent, groups
    return _special_first(sections.path, found)


def _special_first(path: Path, found: Entities) -> Entities:
    """Put the group of the fewest entities first, since the others are unions; say so."""
    sizes: dict[tuple[int, int], int] = {}
    for (dim, _), (_, groups) in found.items():
        for group in groups:
            sizes[dim, group] = sizes.get((dim, group), 0) + 1
    if any(dim == 3 and len(groups) > 1 for (dim, _), (_, groups) in found.items()):
        _warn_overlap(path)
    return {
        (dim, tag): (parent, sorted(groups, key=lambda group: sizes[dim, group]))
        for (dim, tag), (parent, groups) in found.items()
    }


def _warn_overlap(path: Path) -> None:
    warnings.warn(
        f"{path}: some volumes are in several physical groups; their region is the group of the fewest; give "
        "regions='gmsh:geometrical' for one region per elementary volume",
        stacklevel=2,
    )


# --- regions ---


def _each_once(path: Path, tets: Array, groups: Array) -> Array:
    """Return rows with one of the copies that version 2 writes of a cell in several groups: the one in the smallest."""
    _, inverse, counts = np.unique(np.sort(tets, axis=1), axis=0, return_inverse=True, return_counts=True)
    if not len(tets) or counts.max() == 1:
        return np.arange(len(tets))
    _warn_overlap(path)
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((sizes[which], inverse.ravel()))
    first = np.flatnonzero(np.diff(inverse.ravel()[order], prepend=-1))
    return np.sort(order[first])


def _chosen(
    sections: Sections, on_tets: Mapping[str, Array], entities: Array, groups: Array, regions: Choice
) -> str | None:
    """Return the data of elements that hold the regions; None where groups or volumes do."""
    on_points = {n: v.numbers for n, v in data_in(sections.path, sections.content, "NodeData", sections.binary).items()}
    if not on_tets and not on_points:
        return None
    arrays = {**on_tets, "gmsh:physical": groups, "gmsh:geometrical": entities}
    found = region_array(sections.path, arrays, regions, on_points)
    if found is None or found not in on_tets or regions is not None:
        return found if found in on_tets else None
    own = on_tets[found]
    if not groups.any() and (entities != entities[0]).any() and not same_division(own, entities):
        raise FileError(
            f"{sections.path}: what tells the regions? It should be one; the elementary volumes and the data {found!r} "
            f"divide the cells differently; give regions={found!r} or regions='gmsh:geometrical'"
        )
    return found if (own != own[0]).any() else None


def _regions(path: Path, entities: Array, groups: Array, regions: Choice) -> tuple[Array, dict[int, str]]:
    """Label every cell by its physical group; where there is none, by its elementary volume."""
    arrays = {"gmsh:physical": groups, "gmsh:geometrical": entities}
    if regions is not None:
        chosen = region_array(path, arrays, regions)
        return positive(path, arrays[chosen] if chosen else np.ones_like(groups), chosen)
    without = groups == 0
    if without.all() or not without.any():
        return positive(path, entities if without.all() else groups, "gmsh:geometrical or gmsh:physical")
    tags, which = np.unique(entities[without], return_inverse=True)
    first = int(groups.max()) + 1
    names = {first + row: f"volume {tag}" for row, tag in enumerate(tags.tolist())}
    warnings.warn(
        f"{path}: {without.sum():,} tetrahedra are in no physical group; they become regions by their elementary "
        f"volumes: {', '.join(list(names.values())[:8])}",
        stacklevel=2,
    )
    labels = groups.copy()
    labels[without] = first + which.ravel()
    return labels, names
