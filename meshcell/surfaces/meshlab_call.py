"""MeshLab itself, called in a child process; apart, because all that this file imports delays the child."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, Ints


def filtered(path: str, points: Floats, normals: Floats, triangles: Ints, filters: str) -> dict[str, Any]:
    """Load or take a surface, apply filters; the only place where pymeshlab is imported. To be run by `run_limited`.

    Parameters
    ----------
    path : str
        A file to load; empty to take the arrays, of which `normals` and `triangles` may be empty.
    filters : str
        JSON: a list of [name, options]; {"length": um} and {"percent": number} stand for MeshLab's own types.

    Returns
    -------
    points, triangles
    """
    import pymeshlab

    known = set(pymeshlab.filter_list())
    steps = json.loads(filters)
    unknown = [name for name, _ in steps if name not in known]
    if unknown:
        raise LookupError("\n".join([unknown[0], *sorted(known)]))
    session = pymeshlab.MeshSet()
    if path:
        session.load_new_mesh(path)
    else:
        parts: dict[str, Any] = {"face_matrix": triangles} if len(triangles) else {}
        parts |= {"v_normals_matrix": normals} if normals.size else {}
        session.add_mesh(pymeshlab.Mesh(np.asarray(points, np.float64), **parts))
    for name, options in steps:
        session.apply_filter(name, **{key: _own(value) for key, value in options.items()})
    result = session.current_mesh()
    return {"points": result.vertex_matrix(), "triangles": result.face_matrix()}


def _own(value: Any) -> Any:
    import pymeshlab

    if not isinstance(value, dict):
        return value
    return pymeshlab.PureValue(value["length"]) if "length" in value else pymeshlab.PercentageValue(value["percent"])
