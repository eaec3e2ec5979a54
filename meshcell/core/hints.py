"""Hints for what was meant: the thing that was wanted and how to get it, the name that is nearest."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike
from typing import Any

# (wanted, given) -> the way from one to the other; names of types, as many of them lie in higher rooms.
WAYS = {
    ("Volume", "ndarray"): "make one: Volume(array, spacing) with axes x, y, z, or Volume.from_zyx(array, spacing_zyx)",
    ("Volume", "Surface"): "voxelize(surface, spacing) makes one",
    ("Volume", "TetMesh"): "voxelize(mesh.surface, spacing) makes one",
    ("Volume", "Sample"): "a Sample has several: give sample.labels or sample.density",
    ("Volume", "TiltSeries"): "reconstruct(series, shape) makes one",
    ("Surface", "Volume"): "extract(volume) makes one",
    ("Surface", "TetMesh"): "give mesh.surface",
    ("Surface", "Solution"): "give solution.mesh.surface",
    ("Surface", "ndarray"): "make one: Surface(points, triangles, sides)",
    ("Surface", "Sample"): "a Sample has several by name: give sample.surfaces[name]",
    ("Mapping", "list"): "give every surface the name of its region",
    ("Mapping", "tuple"): "give every surface the name of its region",
    ("Mapping", "Surface"): "give it the name of its region; one with several regions is combined already",
    ("Mapping", "Volume"): "extract(volume) makes a surface of all its labels; combine is for closed surfaces",
    ("Mapping", "ndarray"): "make surfaces: Surface(points, triangles, sides)",
    ("TetMesh", "Surface"): "tetrahedralize(surface, edge=...) makes one",
    ("TetMesh", "Volume"): "tetrahedralize(volume, edge=...) makes one",
    ("TetMesh", "Solution"): "give solution.mesh",
    ("TetMesh", "Refined"): "give refined.mesh",
    ("TetMesh", "Adapted"): "give adapted.mesh",
    ("TetMesh", "ndarray"): "make one: TetMesh(points, tets, regions, facets, sides)",
    ("Solution", "Model"): "solve(mesh, model, times) makes one",
    ("Solution", "TetMesh"): "solve(mesh, model, times) makes one",
    ("Solution", "Adapted"): "give adapted.solution",
    ("Model", "dict"): "make one: Model(compartments, species, reactions, parameters)",
    ("TiltSeries", "Volume"): "project(volume, tilt_angles()) makes one",
    ("TiltSeries", "ndarray"): "make one: TiltSeries(images, angles, spacing)",
    ("ndarray", "Solution"): "estimate(solution) makes one",
    ("Refined", "TetMesh"): "refine(mesh, rows) makes one",
    ("Recipe", "Sample"): "give sample.recipe",
}
# What other libraries hold meshes and pictures in; every one of them writes files that `load` reads.
FOREIGN = ("trimesh", "pyvista", "meshio", "vtk", "pymeshlab", "gmsh", "SimpleITK", "nibabel", "torch", "open3d")


def require(thing: Any, kinds: type | tuple[type, ...], call: str, *others: Any) -> None:
    """Refuse a thing of the wrong type, and say which is wanted and how to get it.

    Parameters
    ----------
    thing : anything
    kinds : type, or tuple of types
    call : str
        How the function is called, "save(path, thing)".
    others : anything
        The other arguments, to see whether they have changed places.

    Raises
    ------
    TypeError

    Examples
    --------
    >>> require({}, str, "save(path, thing)", "out.npz")
    Traceback (most recent call last):
    TypeError: save(path, thing) needs a str; got dict; its arguments have changed places
    """
    if isinstance(thing, kinds):
        return
    wanted = [kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)) if kind is not type(None)]
    turned = any(isinstance(other, kinds) for other in others)
    hint = "its arguments have changed places" if turned else _way(wanted, thing)
    raise TypeError(f"{call} needs {_either(wanted)}; got {_said(thing)}{f'; {hint}' if hint else ''}")


def nearest(name: Any, known: Iterable[Any]) -> str:
    """Return "; did you mean 'cytosol'?" where a known name is near to a misspelt one, else nothing.

    Examples
    --------
    >>> nearest("cytosl", ["er", "cytosol"]), nearest("Cytosol", ["cytosol"]), nearest("axon", ["er"])
    ("; did you mean 'cytosol'?", "; did you mean 'cytosol'?", '')
    """
    # Small letters and large ones, blanks and hyphens are confused more often than letters.
    folded: dict[str, str] = {}
    for other in known:
        folded.setdefault(_folded(str(other)), str(other))
    near = get_close_matches(_folded(str(name)), folded, 1, 0.6)
    return f"; did you mean {folded[near[0]]!r}?" if near and folded[near[0]] != name else ""


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _way(wanted: list[str], thing: Any) -> str:
    """Say how to get one of the wanted types from what came."""
    if isinstance(thing, type):
        return f"that is the type itself: make one, {thing.__name__}(...)"
    for given in type(thing).__mro__:
        for kind in wanted:
            if (kind, given.__name__) in WAYS:
                return WAYS[kind, given.__name__]
    if isinstance(thing, str | PathLike) and not set(wanted) <= {"str", "Model", "Recipe"}:
        return "load(path) reads a file"
    if type(thing).__module__.partition(".")[0] in FOREIGN:
        return "save it as a file with its own library and load(path) that"
    if isinstance(thing, list | tuple) and "ndarray" in {given for kind, given in WAYS if kind in wanted}:
        return WAYS[next(kind for kind in wanted if (kind, "ndarray") in WAYS), "ndarray"]
    return ""


def _said(thing: Any) -> str:
    """Write what came in few words."""
    if thing is None:
        return "None"
    if isinstance(thing, str | bytes | int | float):
        return f"{thing!r:.80}"
    shape = getattr(thing, "shape", None)
    module = type(thing).__module__.partition(".")[0]
    own = type(thing).__name__ if module in ("builtins", "meshcell", "numpy") else f"{module}.{type(thing).__name__}"
    return own + (f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else "")


def _either(names: list[str]) -> str:
    texts = [f"{_article(name)} {name}" for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"
