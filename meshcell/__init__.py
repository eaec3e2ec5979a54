"""meshcell: from a voxel picture of a cell to a simulation that can be trusted.

    labels or phantom -> surface -> tetrahedra -> reaction-diffusion -> numbers, pictures, error bars

The public names, in the order in which data flows. Modules are loaded when one of their names is first used, so that
the import stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshcell.analysis import flux as flux
    from meshcell.analysis import mean as mean
    from meshcell.analysis import total as total
    from meshcell.checks import check as check
    from meshcell.decimation import decimate as decimate
    from meshcell.decimation import remesh as remesh
    from meshcell.estimators import estimate as estimate
    from meshcell.estimators import mark as mark
    from meshcell.improvement import improve as improve
    from meshcell.intersections import self_intersections as self_intersections
    from meshcell.io import load as load
    from meshcell.io import save as save
    from meshcell.models import Model as Model
    from meshcell.models import Reaction as Reaction
    from meshcell.models import Species as Species
    from meshcell.phantoms import cell as cell
    from meshcell.phantoms import spine as spine
    from meshcell.plotting import film as film
    from meshcell.plotting import histogram as histogram
    from meshcell.plotting import plot as plot
    from meshcell.quality import angles as angles
    from meshcell.quality import quality as quality
    from meshcell.refinement import refine as refine
    from meshcell.refinement import transfer as transfer
    from meshcell.shells import topology as topology
    from meshcell.smoothing import smooth as smooth
    from meshcell.solver import solve as solve
    from meshcell.surfaces import areas as areas
    from meshcell.surfaces import enclosed_volumes as enclosed_volumes
    from meshcell.surfaces import extract as extract
    from meshcell.surfaces import patch as patch
    from meshcell.tetmeshes import tetrahedralize as tetrahedralize
    from meshcell.types import MeshError as MeshError
    from meshcell.types import Solution as Solution
    from meshcell.types import SolveError as SolveError
    from meshcell.types import Surface as Surface
    from meshcell.types import TetMesh as TetMesh
    from meshcell.types import Volume as Volume

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
    "quality": ("angles", "quality"),
    "tetmeshes": ("tetrahedralize",),
    "improvement": ("improve",),
    "models": ("Species", "Reaction", "Model"),
    "solver": ("solve",),
    "estimators": ("estimate", "mark"),
    "refinement": ("refine", "transfer"),
    "analysis": ("total", "mean", "flux"),
    "plotting": ("plot", "film", "histogram"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}
__all__ = list(_MODULES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'meshcell' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"meshcell.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
