"""meshcell: from a voxel picture of a cell to a simulation that can be trusted."""

from meshcell.types import MeshError, Solution, SolveError, Surface, TetMesh, Volume
