"""Tetrahedral meshes for formats that number groups: a label per tetrahedron, a group per facet, names beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import check_sum, checksum, merged_names, names_from_json, names_to_json, rows_of, tagged
from meshcell.core.types import TetMesh
from meshcell.formats.cell_arrays import positive
from meshcell.formats.foreign import assembled, surface_groups


@dataclass(frozen=True)
class Numbered:
    """A mesh as such formats hold it.

    Parameters
    ----------
    points : (p, 3) floats
    tets, facets : (n, 4) and (f, 3) integers
        Rows of `points`, from 0.
    regions, groups : (n,) and (f,) integers
        Label of every tetrahedron, group of every facet.
    region_names, group_names : dict[int, str]
        What the file calls them, if it does.
    """

    points: Array
    tets: Array
    regions: Array
    facets: Array
    groups: Array
    region_names: dict[int, str] = field(default_factory=dict)
    group_names: dict[int, str] = field(default_factory=dict)


def numbered(mesh: TetMesh) -> tuple[Numbered, str]:
    """Number the groups of facets from 1; return the mesh so, and a line of text that brings it back exactly."""
    kinds, which, titles = surface_groups(mesh)
    made = Numbered(
        mesh.points,
        mesh.tets,
        mesh.regions,
        mesh.facets,
        (which + 1).astype(np.int32),
        {label: mesh.names[label] for label in np.unique(mesh.regions).tolist()},
        dict(enumerate(titles, 1)),
    )
    notes = tagged(
        "TetMesh",
        names=names_to_json(mesh.names),
        patches=list(mesh.patches),
        groups=[[kind[:2], [row for row, inside in enumerate(kind[2:]) if inside]] for kind in kinds],
        crc=_sum(made),
    )
    return made, notes


def restored(path: Path, own: Numbered, notes: Any, names: Mapping[int, str] | None) -> TetMesh:
    """Make a mesh of what a file holds: ours exactly, others with interfaces from their regions, groups as patches."""
    if not notes:
        labels, fresh = positive(path, own.regions.astype(np.int64), "the reference")
        stored = {label: name for label, name in own.region_names.items() if label > 0}
        groups = {
            own.group_names.get(tag, f"surface {tag}"): np.flatnonzero(own.groups == tag)
            for tag in np.unique(own.groups).tolist()
            if tag != 0
        }
        merged = merged_names(path, {**stored, **fresh}, names)
        return assembled(path, own.points, own.tets, labels, merged, own.facets, groups)
    check_sum(path, notes, *_checked(own))
    kinds = notes["groups"]
    sides = np.array([kind[0] for kind in kinds], np.int32).reshape(-1, 2)[own.groups - 1]
    inside = [np.array([row in kind[1] for kind in kinds], bool) for row in range(len(notes["patches"]))]
    return TetMesh(
        own.points,
        own.tets,
        own.regions,
        own.facets,
        sides,
        merged_names(path, names_from_json(notes["names"]), names),
        {name: rows_of(member[own.groups - 1]) for name, member in zip(notes["patches"], inside, strict=True)},
    )


def _checked(own: Numbered) -> list[Array]:
    cells = [np.asarray(array).astype(np.int32) for array in (own.tets, own.regions, own.facets, own.groups)]
    return [np.asarray(own.points, np.float64), *cells]


def _sum(own: Numbered) -> int:
    return checksum(*_checked(own))
