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
    from meshcell.imaging import CTF as CTF, distort as distort
    from meshcell.improvement import improve as improve
    from meshcell.intersections import self_intersections as self_intersections
    from meshcell.io import load as load, save as save
    from meshcell.labels import clean as clean, segment as segment
    from meshcell.metrics import (
        cl_dice as cl_dice,
        dice as dice,
        point_dice as point_dice,
        surface_dice as surface_dice,
    )
    from meshcell.models import Model as Model, Reaction as Reaction, Species as Species
    from meshcell.parameters import Course as Course, Field as Field, Table as Table
    from meshcell.phantoms import cell as cell, crowd as crowd, samples as samples, spine as spine
    from meshcell.plotting import film as film, histogram as histogram, plot as plot
    from meshcell.projection import project as project, tilt_angles as tilt_angles
    from meshcell.reconstruction import reconstruct as reconstruct
    from meshcell.refinement import refine as refine, transfer as transfer
    from meshcell.repairs import repair as repair
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
    from meshcell.tomography import tomogram as tomogram
    from meshcell.types import (
        MeshError as MeshError,
        Sample as Sample,
        Solution as Solution,
        SolveError as SolveError,
        Surface as Surface,
        TetMesh as TetMesh,
        TiltSeries as TiltSeries,
        Volume as Volume,
    )
    from meshcell.windings import voxelize as voxelize

_HOMES = {
    "types": ("Volume", "Surface", "TetMesh", "Sample", "TiltSeries", "Solution", "MeshError", "SolveError"),
    "io": ("load", "save"),
    "phantoms": ("spine", "cell", "crowd", "samples"),
    "projection": ("project", "tilt_angles"),
    "imaging": ("CTF", "distort"),
    "reconstruction": ("reconstruct",),
    "tomography": ("tomogram",),
    "labels": ("segment", "clean"),
    "metrics": ("dice", "cl_dice", "surface_dice", "point_dice"),
    "checks": ("check",),
    "surfaces": ("extract", "areas", "enclosed_volumes", "patch"),
    "shells": ("topology",),
    "intersections": ("self_intersections",),
    "repairs": ("repair",),
    "windings": ("voxelize",),
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
