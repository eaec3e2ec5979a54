# The public names of this room, each once; loaded when first used.
from .adjacency import (
    edges as edges,
    facet_tets as facet_tets,
    interface_facets as interface_facets,
    tet_neighbours as tet_neighbours,
)
from .errors import MeshError as MeshError, NativeError as NativeError, SolveError as SolveError
from .files import FileError as FileError
from .randomness import generator as generator
from .types import Surface as Surface, TetMesh as TetMesh, TiltSeries as TiltSeries, Volume as Volume
from .units import convert as convert, to_base as to_base
