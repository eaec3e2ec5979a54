"""docs/formats.md tells what survives in each format of surfaces and meshes; here it is measured and compared."""

from pathlib import Path

import numpy as np
import pytest

from gallery.things import closed_body, surface, tet_mesh
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.endings import WRITERS
from meshcell.io import load, save

TABLE = Path(__file__).parents[2] / "docs" / "formats.md"
COLUMNS = ["points", "cells", "labels", "names", "sides", "patches", "voxel size"]
# One ending of those that are written by the same function.
ENDINGS = [".npz", *(ending for ending, (kind, _) in WRITERS.items() if kind in (Surface, TetMesh, Surface | TetMesh))]


def rows_of(ending):
    kinds = (Surface, TetMesh) if ending == ".npz" else getattr(WRITERS[ending][0], "__args__", (WRITERS[ending][0],))
    return [(ending, kind) for kind in kinds]


def same(a, b):
    return a.shape == b.shape and bool((a == b).all())


def corners(thing, rows):
    """Corners of triangles as sorted numbers, whatever their order in the file."""
    own = thing.points[thing.triangles[rows]].reshape(-1, 9)
    return own[np.lexsort(np.round(own, 5).T)]


def compared(a, b):
    """Tell for every column whether it comes back exactly, in another order, rounded, or not at all."""
    mesh = isinstance(a, TetMesh)
    kept = {
        "points": same(a.points, b.points),
        "cells": same(a.tets if mesh else a.triangles, b.tets if mesh else b.triangles),
        "labels": same(a.regions, b.regions) if mesh else set(a.sides.flat) == set(b.sides.flat),
        "names": set(a.names.values()) == set(b.names.values()),
        "sides": same(a.sides, b.sides),
        "patches": {k: v.tolist() for k, v in a.patches.items()} == {k: v.tolist() for k, v in b.patches.items()},
        "voxel size": mesh or a.resolution == b.resolution,
    }
    found = {name: "exact" if good else "lost" for name, good in kept.items()}
    if mesh:
        return found | {"voxel size": "-"}
    if found["cells"] == "lost" and set(a.interfaces) == set(b.interfaces):
        pairs = [(corners(a, a.interfaces[pair]), corners(b, b.interfaces[pair])) for pair in a.interfaces]
        if all(np.allclose(x, y, rtol=1e-6, atol=1e-6) for x, y in pairs):
            exact = all(same(x, y) for x, y in pairs)
            found |= {"points": "renumbered" if exact else "rounded", "cells": "reordered", "sides": "by name"}
    return found


def survival(folder, ending, kind):
    """Save the richest thing that the format takes; what it refuses to hold is said so."""
    full, body = surface(), closed_body()
    plain = np.array([0, 6, 2])[full.sides]
    things = [
        (full, {}),
        (
            Surface(full.points, full.triangles, plain, {6: "shell", 2: "core"}, {}, full.resolution),
            {"patches": "refused"},
        ),
        (
            Surface(body.points, body.triangles, 3 * body.sides, {3: "body"}, {}, full.resolution),
            {"patches": "refused", "sides": "one body"},
        ),
    ]
    for row, (thing, missing) in enumerate(things if kind is Surface else [(tet_mesh(), {})]):
        path = folder / f"{kind.__name__}{row}{ending}"
        try:
            save(path, thing, overwrite=True)
        except ValueError:
            continue
        return compared(thing, load(path)) | missing
    raise AssertionError(f"{ending} takes no {kind.__name__}")


def table(folder):
    lines = [f"| format | holds | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for ending in ENDINGS:
        for _, kind in rows_of(ending):
            found = survival(folder, ending, kind)
            lines.append(f"| `{ending}` | {kind.__name__} | {' | '.join(found[column] for column in COLUMNS)} |")
    return "\n".join(lines)


@pytest.mark.filterwarnings("ignore:.*cannot hold:UserWarning")
def test_the_table_of_the_documentation_is_what_happens(tmp_path):
    measured, written = table(tmp_path), TABLE.read_text(encoding="utf-8")
    assert measured in written, f"docs/formats.md should hold this table:\n{measured}"


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_is_in_the_table(ending):
    assert f"| `{ending}` |" in TABLE.read_text(encoding="utf-8")
