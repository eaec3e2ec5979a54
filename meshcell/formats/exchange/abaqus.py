"""Abaqus input files (.inp), which CalculiX and FEBio read, too: nodes, C3D4 tetrahedra and S3 triangles in named sets.

Source: Abaqus 2016 Keywords Reference Manual, *NODE, *ELEMENT, *ELSET.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, merged_names, numbers_of, replacing, truncated, untagged
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.exchange.numbered_groups import Numbered, numbered, restored
from meshcell.formats.single_bodies import by_arrays

TETS, TRIANGLES = ("C3D4", "C3D4H", "DC3D4"), ("S3", "S3R", "CPS3", "CPE3", "STRI3", "M3D3", "R3D3", "SFM3D3")
# A comment of Abaqus may have 256 letters.
CHUNK = 200
KEYWORD = re.compile(r"^\*(?!\*)([^\n]*)\n", re.MULTILINE)


def read_abaqus(path: Path, names: Mapping[int, str] | None) -> Surface | TetMesh:
    """Read ours exactly; of others, element sets as regions and patches, triangles alone as a surface."""
    text = path.read_text("utf-8", errors="replace")
    notes = untagged("".join(re.findall(r"^\*\*meshcell(.*)$", text, re.MULTILINE)), "TetMesh")
    nodes: list[Array] = []
    cells: dict[int, list[Array]] = {3: [], 4: []}
    sets: dict[str, list[Array]] = {}
    if not re.match(r"(\s|\*\*[^\n]*\n)*\*\s*\w", text) or not text.endswith("\n"):
        raise FileError(f"{path} should be an Abaqus input file of whole lines that begin with *HEADING or *NODE")
    heads = list(KEYWORD.finditer(text))
    for head, end in zip(heads, [*(head.start() for head in heads[1:]), len(text)], strict=True):
        (word, options), body = _keyword(head.group(1)), text[head.end() : end]
        if word == "NODE":
            nodes.append(_numbers(path, body, 4))
        elif word == "ELEMENT":
            corners = 4 if options.get("TYPE") in TETS else 3 if options.get("TYPE") in TRIANGLES else 0
            if not corners:
                raise FileError(
                    f"{path} should hold elements of type C3D4 (linear tetrahedra) and S3 (triangles); got "
                    f"{options.get('TYPE')}; convert it first"
                )
            cells[corners].append(_numbers(path, body, corners + 1))
            if "ELSET" in options:
                sets.setdefault(options["ELSET"], []).append(cells[corners][-1][:, 0])
        elif word == "ELSET" and "ELSET" in options:
            sets.setdefault(options["ELSET"], []).append(_members(path, body, "GENERATE" in options, sets))
    table = np.concatenate([np.empty((0, 4)), *nodes])
    tets, triangles = (_in_order(cells[n], n + 1) for n in (4, 3))
    rows = [_rows(path, table[:, 0], own[:, 1:]) for own in (tets, triangles)]
    regions, region_names = _numbered(path, tets[:, 0], sets, bool(notes))
    groups, group_names = _numbered(path, triangles[:, 0], sets, bool(notes))
    if not len(tets):
        return by_arrays(path, table[:, 1:], rows[1], {"label": groups}, merged_names(path, group_names, names) or None)
    if notes:
        # Sets are in the order of their numbers, which are labels.
        labels = np.array([int(label) for label in notes["labels"]] if "labels" in notes else np.unique(regions))
        regions = labels[regions - 1]
    own = Numbered(table[:, 1:], rows[0], regions, rows[1], groups, region_names, group_names)
    return restored(path, own, notes, names)


def write_abaqus(path: Path, mesh: TetMesh) -> None:
    """Write text with 17 digits: a set of C3D4 elements per region, and of S3 elements per interface or patch.

    Set names have letters, digits and underscores only; a comment brings the names back.
    """
    own, notes = numbered(mesh)
    titles = _titles([*own.region_names.values(), *own.group_names.values()])
    labels = list(own.region_names)
    notes = notes[:-1] + f', "labels": {labels}}}'
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("*HEADING\nmeshcell, lengths in um\n")
        file.writelines(f"**meshcell{notes[start : start + CHUNK]}\n" for start in range(0, len(notes), CHUNK))
        file.write("*NODE\n")
        file.writelines(f"{k}, {x!r}, {y!r}, {z!r}\n" for k, (x, y, z) in enumerate(own.points.tolist(), 1))
        for label, title in zip(labels, titles, strict=False):
            file.write(f"*ELEMENT, TYPE=C3D4, ELSET={title}\n")
            file.writelines(_lines(own.tets, own.regions == label, 1))
        for group, title in zip(own.group_names, titles[len(labels) :], strict=True):
            file.write(f"*ELEMENT, TYPE=S3, ELSET={title}\n")
            file.writelines(_lines(own.facets, own.groups == group, 1 + len(own.tets)))


def _lines(cells: Array, chosen: Array, first: int) -> Iterable[str]:
    rows = np.flatnonzero(chosen)
    table = np.column_stack([rows + first, cells[rows] + 1]).tolist()
    return (", ".join(map(str, row)) + "\n" for row in table)


def _titles(names: list[str]) -> list[str]:
    """Make names of sets: other signs become underscores; those that then agree get a number."""
    titles: list[str] = []
    for row, name in enumerate(names):
        title = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:70] or "set"
        title = title if title[0].isalpha() else f"s_{title}"
        titles.append(title if title.upper() not in {t.upper() for t in titles} else f"{title}_{row}")
    return titles


def _keyword(head: str) -> tuple[str, dict[str, str]]:
    word, *rest = (part.strip() for part in head.split(","))
    options = {}
    for part in rest:
        key, _, value = part.partition("=")
        own = value.strip().strip('"')
        options[key.strip().upper()] = own.upper() if key.strip().upper() == "TYPE" else own
    return word.upper(), options


def _numbers(path: Path, body: str, width: int) -> Array:
    if "*" in body:
        body = re.sub(r"^\*\*[^\n]*$", "", body, flags=re.MULTILINE)
    flat = numbers_of(path, body.replace(",", " ").encode("ascii", "replace"))
    if len(flat) % width:
        truncated(path, f"rows of {width} numbers", f"{len(flat):,} numbers are no rows of them")
    return flat.reshape(-1, width)


def _members(path: Path, body: str, generate: bool, sets: Mapping[str, list[Array]]) -> Array:
    words = [word.strip() for word in re.split(r"[,\n]", body) if word.strip()]
    if generate:
        rows = _numbers(path, body, 3 if len(words) % 3 == 0 else 2)
        if (rows[:, 1] - rows[:, 0] > 1e8).any():
            truncated(path, "sets of its elements", "one set would have more than 100 million")
        return np.concatenate([np.empty(0), *(np.arange(row[0], row[1] + 1, *row[2:]) for row in rows)])
    known = [array for word in words if word in sets for array in sets[word]]
    plain = [float(word) for word in words if word not in sets]
    return np.concatenate([np.array(plain), *known])


def _in_order(parts: list[Array], width: int) -> Array:
    table = np.concatenate([np.empty((0, width)), *parts])
    return table[np.argsort(table[:, 0], kind="stable")]


def _rows(path: Path, tags: Array, cells: Array) -> Array:
    order = np.argsort(tags, kind="stable")
    place = np.minimum(np.searchsorted(tags, cells, sorter=order), max(len(tags) - 1, 0))
    if len(cells) and (not len(tags) or (tags[order[place]] != cells).any()):
        raise FileError(f"{path} should have a node for every corner; some are missing; write the whole mesh anew")
    return order[place].astype(np.int64) if len(cells) else cells.astype(np.int64)


def _numbered(path: Path, ids: Array, sets: Mapping[str, list[Array]], ours: bool) -> tuple[Array, dict[int, str]]:
    """Number the sets of these elements from 1; elements in several belong to the smallest, those in none to 0."""
    own = {name: np.isin(ids, np.concatenate(parts)) for name, parts in sets.items()}
    own = {name: mask for name, mask in own.items() if mask.any()}
    numbers = np.zeros(len(ids), np.int64)
    order = dict(enumerate(own, 1))
    for number in sorted(order, key=lambda number: -int(own[order[number]].sum())):
        numbers[own[order[number]]] = number
    lost = [name for number, name in order.items() if not (numbers == number).any()]
    several = int((np.sum(list(own.values()), axis=0) > 1).sum()) if own else 0
    if several and not ours:
        warnings.warn(
            f"{path}: {several:,} elements are in several sets; each belongs to the smallest of its sets"
            + (f"; nothing is left of {', '.join(lost)}" if lost else ""),
            stacklevel=2,
        )
    return numbers, {number: name for number, name in order.items() if name not in lost}
