"""MeshLab (pymeshlab, extra `meshlab`) for single surfaces: its file formats, its filters, surfaces of point clouds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshcell.core import native
from meshcell.core.arrays import Array, Floats, Ints, distinct_rows
from meshcell.core.errors import MeshError, NativeError
from meshcell.core.hints import nearest
from meshcell.core.types import Surface
from meshcell.core.units import convert
from meshcell.core.validation import OUTSIDE, checked_points
from meshcell.geometry.measures import enclosed_volumes
from meshcell.surfaces.meshlab_call import filtered
from meshcell.surfaces.orientation import orient

# What most come for, in MeshLab's own terms.
SHORT = {
    "poisson": "generate_surface_reconstruction_screened_poisson",
    "holes": "meshing_close_holes",
    "normals": "compute_normal_for_point_clouds",
}


def meshlab(
    source: Surface | str | Path | npt.ArrayLike,
    *filters: str | tuple[str, Mapping[str, Any]],
    names: Mapping[int, str] | None = None,
    seconds: float = 600.0,
) -> Surface:
    """Apply filters of MeshLab to a single surface, to a file that it reads, or to a cloud of points.

    Parameters
    ----------
    source : Surface, path, or (n, 3) or (n, 6) points
        A surface of one region; a file in any format of MeshLab (x3d, ptx, e57, dae, ...), its numbers taken as um;
        or points in um, with their outward normals after them if they are known.
    *filters : str or (str, dict)
        Names of MeshLab's filters as in pymeshlab's list, with their options; in this order. Lengths are texts with
        their unit ("20 nm"), or a share of the surface's diagonal ("1 %"). Three have short names:
        "poisson" (screened Poisson reconstruction, Kazhdan and Hoppe 2013), "holes" (closes those of up to
        `maxholesize` edges) and "normals" (of points, by their neighbours).
    names : dict[int, str], optional
        The label and name of the region within; by default the surface's own, or 1 and the name of the file.
    seconds : float
        Wall time after which MeshLab is stopped.

    Returns
    -------
    Surface
        One region against "outside", its normals outward; patches and names of the source are not kept. It may still
        be open: see `check` and `repair`.

    Raises
    ------
    ImportError
        pymeshlab is not installed.
    ValueError
        There is no such filter, or one refused its options.
    MeshError
        The surface has more than one region (`where` lists the triangles of the others), or nothing was made.
    NativeError
        MeshLab crashed or took too long; it runs in a process of its own.

    Notes
    -----
    MeshLab (pymeshlab) is GPL-3; it is imported in this function's child process alone.

    Examples
    --------
    >>> closed = meshlab(open_surface, ("holes", {"maxholesize": 60}))  # doctest: +SKIP
    >>> cell = meshlab(points, "normals", ("poisson", {"depth": 7}), names={1: "cell"})  # doctest: +SKIP
    """
    if find_spec("pymeshlab") is None:
        raise ImportError('meshlab() needs pymeshlab: pip install "meshcell[meshlab]", or pip install pymeshlab')
    path, points, normals, triangles, own = _source(source)
    named = dict(names or own)
    pairs = [(step, {}) if isinstance(step, str) else step for step in filters]
    steps = [(SHORT.get(name, name), {k: _plain_option(v) for k, v in options.items()}) for name, options in pairs]
    arguments = {"path": path, "points": points, "normals": normals, "triangles": triangles}
    try:
        made = native.run_limited(
            filtered, {**arguments, "filters": json.dumps(steps)}, seconds=seconds, what="MeshLab"
        )
    except NativeError as error:
        raise _plain(error) from error
    if not len(made["triangles"]):
        raise MeshError(
            "MeshLab should have made a surface; there are no triangles; "
            'a cloud of points needs "normals" and "poisson"'
        )
    return _outward(made["points"], made["triangles"], named)


def _source(source: Any) -> tuple[str, Floats, Floats, Ints, dict[int, str]]:
    """Return a path or points, normals and triangles, and the region's label and name."""
    nothing = np.zeros((0, 3))
    if isinstance(source, Surface):
        pairs, _, which, _ = distinct_rows(np.sort(source.sides, axis=1))
        if len(pairs) > 1 or OUTSIDE not in pairs:
            raise MeshError(
                f"MeshLab knows surfaces of one region; this one has {len(source.interfaces)} interfaces "
                f"({', '.join('|'.join(pair) for pair in list(source.interfaces)[:4])}); cut one out first",
                np.flatnonzero(which > 0),
            )
        label = int(pairs[0, 1])
        inward = source.sides[:, 0] == OUTSIDE
        triangles = np.where(inward[:, None], source.triangles[:, ::-1], source.triangles)
        return "", source.points, nothing, triangles, {label: source.names[label]}
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file")
        return str(path.resolve()), nothing, nothing, np.zeros((0, 3), np.int32), {1: path.stem}
    array: Array = np.asarray(source, np.float64)
    if array.ndim != 2 or array.shape[1] not in (3, 6):
        raise ValueError(
            "meshlab() takes a Surface, the path of a file, or (n, 3) points, (n, 6) with their normals; got an array "
            f"of shape {array.shape}"
        )
    return "", checked_points(array[:, :3]), array[:, 3:], np.zeros((0, 3), np.int32), {1: "body"}


def _plain_option(value: Any) -> Any:
    """Read lengths and shares out of texts."""
    if not isinstance(value, str) or not re.match(r"\s*\d", value):
        return value
    if value.rstrip().endswith("%"):
        return {"percent": float(value.rstrip().removesuffix("%"))}
    return {"length": convert(value, "um", "an option of MeshLab")}


def _outward(points: Floats, triangles: Ints, names: dict[int, str]) -> Surface:
    label = next(iter(names))
    surface = orient(Surface(points, triangles, np.tile([label, OUTSIDE], (len(triangles), 1)), names)).surface
    # An open one has no inside; most of it decides.
    if enclosed_volumes(surface)[names[label]] < 0:
        surface = replace(surface, triangles=surface.triangles[:, ::-1])
    return surface


def _plain(error: NativeError) -> Exception:
    """Turn what MeshLab says of filters and options into what the caller got wrong."""
    if error.reason != "error":
        return error
    text = str(error).partition("; it printed")[0]
    kind, _, said = text.removeprefix("MeshLab failed: ").partition(": ")
    if kind == "LookupError":
        name, *known = said.splitlines()
        meant = nearest(name, [*SHORT, *known])
        return ValueError(f"MeshLab has no filter {name!r}{meant}; pymeshlab.print_filter_list() lists them")
    return ValueError(f"MeshLab refused: {' '.join(said.split())}")
