"""Solutions as time series for ParaView."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, names_to_json, replacing, replacing_folder, tagged
from meshcell.formats.vtk import patch_arrays, polygons, row_mask, tet_grid
from meshcell.formats.vtk_xml import Sections, encoded_array, write_vtk
from meshcell.models.solutions import Solution, compartment_rows

log = logging.getLogger("meshcell")

OWN_FILE = re.compile(r"(regions|interfaces)_\d+\.vt[up]")


def write_pvd(path: Path, solution: Solution) -> None:
    """Write one VTU of the regions and one VTP of the interfaces per time into a folder beside, then the index."""
    mesh = solution.mesh
    folder = path.with_suffix("")
    width = len(str(max(len(solution.times) - 1, 0)))
    pools = [name for name, item in solution.system.species.items() if item.compartment.volume is not None]
    if pools:
        log.warning("%s: pools have no places and are left out: %s; .npz keeps them", path, ", ".join(pools))
    placed = [name for name in solution.values if name not in pools]
    bulk = [name for name in placed if lives_in_regions(solution, name)]
    membrane = [name for name in placed if name not in bulk]
    texts = {"meshcell": tagged("Solution", names=names_to_json(mesh.names), message=solution.message)}
    marks: dict[str, Array] = {f"side{k}": mesh.sides[:, k] for k in (0, 1)}
    marks |= {a: row_mask(mesh.patches[n], len(mesh.facets)) for n, a in patch_arrays(mesh.patches).items()}
    grid = tet_grid(mesh.points, mesh.tets, np.empty((0, 3), np.int32), {"region": mesh.regions})
    faces = polygons(mesh.points, mesh.facets, marks)
    parts = [("regions", "vtu", "UnstructuredGrid", *_encoded_once(*grid), bulk)]
    parts.append(("interfaces", "vtp", "PolyData", *_encoded_once(*faces), membrane))
    entries = []
    with replacing_folder(folder) as fresh:
        for row, time in enumerate(solution.times.tolist()):
            for part, (name, ending, kind, counts, sections, species) in enumerate(parts):
                file = f"{name}_{row:0{width}}.{ending}"
                write_vtk(fresh / file, kind, counts, {**sections, "PointData": _spread(solution, species, row)}, texts)
                entries.append((time, part, name, file))
    lines = (
        f'<DataSet timestep="{time!r}" group="" part="{part}" name="{name}" file={quoteattr(f"{folder.name}/{file}")}/>'
        for time, part, name, file in entries
    )
    with replacing(path) as temporary:
        temporary.write_text(_collection(lines), "utf-8", newline="\n")


def check_replaceable(path: Path) -> None:
    """Refuse to replace a folder that holds anything but an earlier time series."""
    folder = path.with_suffix("")
    if not folder.exists():
        return
    strange = (
        folder if not folder.is_dir() else next((f for f in folder.iterdir() if not OWN_FILE.fullmatch(f.name)), None)
    )
    if strange is not None:
        raise FileError(
            f"{path} keeps its time steps in the folder {folder.name}/, which would be replaced; it holds something "
            f"else: {strange.name}; choose another name"
        )


def lives_in_regions(solution: Solution, species: str) -> bool:
    """Tell a species of a region from one of an interface or patch."""
    return compartment_rows(solution, species)[0] == 3


def _encoded_once(counts: dict[str, int], sections: Sections) -> tuple[dict[str, int], Sections]:
    """Compress the mesh, which is the same in every file of a series."""
    return counts, {
        title: {name: encoded_array(name, array) for name, array in arrays.items()}
        for title, arrays in sections.items()
    }


def _spread(solution: Solution, species: Iterable[str], row: int) -> dict[str, Array]:
    """Write a species as one value per point, NaN where it does not live, which ParaView leaves uncoloured."""
    spread = {}
    for name in species:
        spread[name] = np.full(len(solution.mesh.points), np.nan)
        spread[name][solution.nodes[name]] = solution.values[name][row]
    return spread


def _collection(lines: Iterable[str]) -> str:
    head = '<?xml version="1.0"?>\n<VTKFile type="Collection" version="0.1" byte_order="LittleEndian">\n<Collection>\n'
    return head + "\n".join(lines) + "\n</Collection>\n</VTKFile>\n"
