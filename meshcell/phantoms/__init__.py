"""Voxel phantoms: cells and their parts, whose geometry is known because it was drawn."""

from meshcell.phantoms.cells import cell
from meshcell.phantoms.spines import spine

__all__ = ["cell", "spine"]
