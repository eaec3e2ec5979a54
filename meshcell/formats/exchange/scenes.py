"""Scenes of named surfaces (.glb, .3mf, .dae) through trimesh: one object per interface, for viewers and printers.

Such files have no place for labels: a name "behind|front" tells the sides, as in OBJ. GLB has single precision. 3MF and
COLLADA tell the unit of their points; GLB's, always the metre, says nothing of a cell.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from meshcell.core.files import FileError, merged_names, refused, replacing
from meshcell.core.types import Surface
from meshcell.formats.nested_bodies import bodies
from meshcell.formats.single_bodies import body, merged_points, warn_of_size
from meshcell.formats.stl_obj import grouped

# um per unit that 3MF knows.
UNITS = {"micron": 1.0, "millimeter": 1e3, "centimeter": 1e4, "inch": 25400.0, "foot": 304800.0, "meter": 1e6}


def scene_unit(path: Path) -> float | None:
    """Return how many um the unit of a 3MF or COLLADA file has; None where the file tells none.

    3MF means millimetres where it names none (3MF Core Specification, 3.4). COLLADA's metre, its default, is what
    programs write that do not know it.
    """
    if path.suffix.lower() == ".3mf":
        with zipfile.ZipFile(path) as archive, archive.open(_model_of(path, archive)) as file:
            unit = str(next(ElementTree.iterparse(file, ("start",)))[1].get("unit", "millimeter"))
        if unit not in UNITS:
            raise FileError(
                f"{path} should have a unit of {', '.join(UNITS)}; got {unit!r}; write it with one of these"
            )
        return UNITS[unit]
    if path.suffix.lower() == ".dae":
        found = ElementTree.parse(path).getroot().find("{*}asset/{*}unit")
        metres = 1.0 if found is None else float(found.get("meter", 1.0))
        return 1e6 * metres if 0 < metres < np.inf and metres != 1.0 else None
    return None


def _model_of(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the part of a 3MF package that holds its model."""
    models = [name for name in archive.namelist() if name.lower().endswith(".model")]
    if not models:
        raise FileError(f"{path} should hold a 3D model; its package has none; export it anew")
    return next((name for name in models if name.lower().endswith("3d/3dmodel.model")), models[0])


def read_scene(path: Path, names: Mapping[int, str] | None) -> Surface:
    """Read every object of a scene where it stands; objects called behind|front are interfaces, others bodies."""
    trimesh = _trimesh(path)
    scene = trimesh.load_scene(path, process=False)
    corners, groups = [np.empty((0, 3, 3))], [np.empty(0, np.int64)]
    titles: list[str] = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh):
            continue
        placed = trimesh.transform_points(mesh.vertices, matrix)[mesh.faces]
        # A node keeps the name that was given; a mirrored one turns its triangles.
        corners.append(placed[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else placed)
        groups.append(np.full(len(placed), len(titles)))
        titles.append(node if node.count("|") == 1 else name if name.count("|") == 1 else node)
    which = np.concatenate(groups)
    if not len(which):
        raise FileError(f"{path} should hold triangles; there are none; export the objects as meshes")
    points, triangles = merged_points(np.concatenate(corners).reshape(-1, 3))
    if all(title.count("|") == 1 for title in titles):
        return grouped(path, points, triangles, which, titles, names)
    if len(titles) > 1:
        return bodies(path, points, triangles, which + 1, merged_names(path, dict(enumerate(titles, 1)), names))
    return body(path, points, triangles, names)


def write_glb(path: Path, surface: Surface) -> None:
    """Write binary glTF 2.0, one named mesh per interface; points in single precision, the file's unit taken as um."""
    _write(path, surface, "glb")


def write_3mf(path: Path, surface: Surface) -> None:
    """Write 3MF, one named object per interface, points as text, in microns."""
    _write(path, surface, "3mf")


def _write(path: Path, surface: Surface, kind: str) -> None:
    if surface.patches:
        refused(path, f".{kind} has no place for the patches {', '.join(surface.patches)}", "use .vtp, .ply or .obj")
    warn_of_size(path, surface)
    trimesh = _trimesh(path)
    scene = trimesh.Scene()
    for (behind, front), rows in surface.interfaces.items():
        if "|" in behind + front:
            refused(path, f"region {behind!r} or {front!r} has a | in its name, which divides them", "rename it")
        used, corners = np.unique(surface.triangles[rows], return_inverse=True)
        mesh = trimesh.Trimesh(surface.points[used], corners.reshape(-1, 3), process=False)
        scene.add_geometry(mesh, geom_name=f"{behind}|{front}", node_name=f"{behind}|{front}")
    content = scene.export(file_type=kind)
    with replacing(path) as temporary:
        temporary.write_bytes(_in_microns(path, content) if kind == "3mf" else content)


def _in_microns(path: Path, package: bytes) -> bytes:
    """Name the unit of a 3MF package, in which trimesh always writes millimetres."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(made, "w") as new:
        model = _model_of(path, old)
        for info in old.infolist():
            part = old.read(info)
            new.writestr(
                info, part.replace(b'unit="millimeter"', b'unit="micron"', 1) if info.filename == model else part
            )
    return made.getvalue()


def _trimesh(path: Path) -> Any:
    import trimesh

    if path.suffix.lower() in (".3mf", ".dae"):
        import importlib.util

        wanted = {".3mf": ("lxml", "networkx"), ".dae": ("collada",)}[path.suffix.lower()]
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        if missing:
            packages = {"collada": "pycollada"}
            listed = " ".join(packages.get(name, name) for name in missing)
            raise FileError(f"{path}: {path.suffix} files need {listed}: pip install {listed}")
    return trimesh
