"""Scenes of named surfaces (.glb, .3mf, .dae) through trimesh: one object per interface, for viewers and printers.

Such files have no place for labels: a name "behind|front" tells the sides, as in OBJ. GLB has single precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import FileError, refused, replacing
from meshcell.core.types import Surface
from meshcell.formats.nested_bodies import bodies
from meshcell.formats.single_bodies import body, merged_points, warn_of_size
from meshcell.formats.stl_obj import grouped


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
        return bodies(path, points, triangles, which + 1, {**dict(enumerate(titles, 1)), **(names or {})})
    return body(path, points, triangles, names)


def write_glb(path: Path, surface: Surface) -> None:
    """Write binary glTF 2.0, one named mesh per interface; points in single precision, the file's unit taken as um."""
    _write(path, surface, "glb")


def write_3mf(path: Path, surface: Surface) -> None:
    """Write 3MF, one named object per interface, points as text."""
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
    with replacing(path) as temporary:
        temporary.write_bytes(scene.export(file_type=kind))


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
