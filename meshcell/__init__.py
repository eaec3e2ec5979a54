"""meshcell: from a voxel picture of a cell to a simulation that can be trusted.

    labels or phantom -> surface -> tetrahedra -> reaction-diffusion -> numbers, pictures, error bars

The public names, in the order in which data flows. Modules are loaded when one of their names is first used, so that
the import stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshcell.analysis import (
        area_under_curve as area_under_curve,
        flux as flux,
        gains as gains,
        mean as mean,
        probe as probe,
        profile as profile,
        total as total,
    )
    from meshcell.checks import check as check
    from meshcell.decimation import decimate as decimate, remesh as remesh
    from meshcell.estimators import estimate as estimate, mark as mark
    from meshcell.improvement import improve as improve
    from meshcell.intersections import self_intersections as self_intersections
    from meshcell.io import load as load, save as save
    from meshcell.models import Model as Model, Reaction as Reaction, Species as Species
    from meshcell.parameters import Course as Course, Field as Field, Table as Table
    from meshcell.phantoms import cell as cell, spine as spine
    from meshcell.plotting import film as film, histogram as histogram, plot as plot
    from meshcell.refinement import refine as refine, transfer as transfer
    from meshcell.shapes import angles as angles, quality as quality
    from meshcell.shells import topology as topology
    from meshcell.smoothing import smooth as smooth
    from meshcell.solver import solve as solve
    from meshcell.steadystates import steady as steady
    from meshcell.surfaces import (
        areas as areas,
        enclosed_volumes as enclosed_volumes,
        extract as extract,
        patch as patch,
    )
    from meshcell.tetmeshes import tetrahedralize as tetrahedralize
    from meshcell.types import (
        MeshError as MeshError,
        Solution as Solution,
        SolveError as SolveError,
        Surface as Surface,
        TetMesh as TetMesh,
        Volume as Volume,
    )

_HOMES = {
    "types": ("Volume", "Surface", "TetMesh", "Solution", "MeshError", "SolveError"),
    "io": ("load", "save"),
    "phantoms": ("spine", "cell"),
    "checks": ("check",),
    "surfaces": ("extract", "areas", "enclosed_volumes", "patch"),
    "shells": ("topology",),
    "intersections": ("self_intersections",),
    "smoothing": ("smooth",),
    "decimation": ("decimate", "remesh"),
    "shapes": ("angles", "quality"),
    "tetmeshes": ("tetrahedralize",),
    "improvement": ("improve",),
    "models": ("Species", "Reaction", "Model"),
    "parameters": ("Table", "Course", "Field"),
    "solver": ("solve",),
    "steadystates": ("steady",),
    "estimators": ("estimate", "mark"),
    "refinement": ("refine", "transfer"),
    "analysis": ("total", "mean", "flux", "gains", "profile", "probe", "area_under_curve"),
    "plotting": ("plot", "film", "histogram"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'meshcell' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"meshcell.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
