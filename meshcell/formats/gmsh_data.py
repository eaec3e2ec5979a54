"""Numbers of elements and nodes in Gmsh files ($ElementData, $NodeData), where meshio, too, keeps labels.

Source: Gmsh reference manual, "MSH file format"; the sections are alike in all versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import numbers_of, truncated


@dataclass(frozen=True)
class Values:
    """What a section holds: (n,) tags of elements or nodes, and (n,) or (n, columns) numbers of theirs."""

    tags: Array
    numbers: Array

    def of(self, tags: Array) -> Array | None:
        """Return the numbers of these elements, 0 where there are none, or None where none of them has any."""
        order = np.argsort(self.tags, kind="stable")
        place = np.minimum(np.searchsorted(self.tags, tags, sorter=order), max(len(order) - 1, 0))
        known = self.tags[order[place]] == tags if len(order) else np.zeros(len(tags), bool)
        if not known.any():
            return None
        found = np.zeros((len(tags), *self.numbers.shape[1:]))
        found[known] = self.numbers[order[place[known]]]
        return found


def data_in(path: Path, content: bytes, title: str, binary: bool) -> dict[str, Values]:
    """Return name -> numbers of every section of this title; of several of one name the last."""
    heads = re.finditer(rb"^\$" + title.encode("ascii") + rb"[ \t]*\r?\n", content, re.MULTILINE)
    return dict(_section(path, content, head.end(), title, binary) for head in heads)


def _section(path: Path, content: bytes, place: int, title: str, binary: bool) -> tuple[str, Values]:
    tags: list[list[bytes]] = []
    # Texts, reals and integers: a count each, and as many lines.
    for _ in range(3):
        lines: list[bytes] = []
        left = 1
        while len(lines) < left:
            end = content.find(b"\n", place)
            if end < 0:
                truncated(path, f"a section ${title} with a name and its counts", f"it ends at byte {len(content):,}")
            lines.append(content[place:end].strip())
            place = end + 1
            left = 1 + int(lines[0])
        tags.append(lines[1:])
    name = (tags[0] or [b""])[0].decode("utf-8", "replace").strip('"')
    columns, count = (int(number) for number in tags[2][1:3])
    return name, _rows(path, content, place, title, binary, (count, columns))


def _rows(path: Path, content: bytes, place: int, title: str, binary: bool, shape: tuple[int, int]) -> Values:
    """Read a row of a tag and numbers for every element."""
    count, columns = shape
    record = np.dtype([("tag", "<i4"), ("numbers", "<f8", (max(columns, 0),))])
    end = content.find(b"$End" + title.encode("ascii"), place + (count * record.itemsize if binary else 0))
    size = record.itemsize if binary else 2 * (1 + columns)
    if count < 0 or columns < 1 or end < 0 or count * size > end - place + 1:
        truncated(path, f"{count:,} rows of {columns} numbers in ${title}", f"{max(end, 0) - place:,} bytes are left")
    if binary:
        rows = np.frombuffer(content, record, count, place)
        own, numbers = rows["tag"].astype(np.int64), rows["numbers"]
    else:
        # Of numpy 2, meshio writes the names of the types as well.
        flat = numbers_of(path, re.sub(rb"np\.\w+\(([^()]*)\)", rb"\1", content[place:end]))
        if len(flat) != count * (1 + columns):
            truncated(path, f"{count:,} rows of {columns} numbers in ${title}", f"{len(flat):,} numbers are there")
        table = flat.reshape(count, 1 + columns)
        own, numbers = table[:, 0].astype(np.int64), table[:, 1:]
    return Values(own, numbers[:, 0] if columns == 1 else numbers)
