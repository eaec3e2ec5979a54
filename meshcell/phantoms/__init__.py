"""Voxel phantoms: cells and their parts, and crowded cytoplasm, whose geometry is known because it was drawn."""

from meshcell.phantoms.cells import cell
from meshcell.phantoms.crowds import crowd
from meshcell.phantoms.datasets import samples
from meshcell.phantoms.filaments import Actin, Filament, Microtubule
from meshcell.phantoms.macromolecules import Cluster, Macromolecule
from meshcell.phantoms.membranes import (
    EllipsoidMembrane,
    HarmonicMembrane,
    SheetStack,
    SphereMembrane,
    SurfaceMembrane,
    TorusMembrane,
    TubeMembrane,
)
from meshcell.phantoms.recipes import Recipe
from meshcell.phantoms.spines import spine

__all__ = [
    "Actin",
    "Cluster",
    "EllipsoidMembrane",
    "Filament",
    "HarmonicMembrane",
    "Macromolecule",
    "Microtubule",
    "Recipe",
    "SheetStack",
    "SphereMembrane",
    "SurfaceMembrane",
    "TorusMembrane",
    "TubeMembrane",
    "cell",
    "crowd",
    "samples",
    "spine",
]
