# The public names of this room, each once; loaded when first used.
from .combining import combine as combine
from .extraction import extract as extract
from .meshlab_filters import meshlab as meshlab
from .patches import patch as patch
from .remeshing import decimate as decimate, remesh as remesh
from .repairs import repair as repair
from .smoothing import smooth as smooth
from .voxelizing import voxelize as voxelize
from .windings import winding_numbers as winding_numbers
