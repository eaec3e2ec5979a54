# The public names of this room, each once; loaded when first used.
from .estimators import estimate as estimate, mark as mark
from .refinement import Refined as Refined, refine as refine, transfer as transfer
