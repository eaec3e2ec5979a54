# The public names of this room, each once; loaded when first used.
from . import statistics as statistics
from .placing import crowd as crowd
from .recipes import Recipe as Recipe
from .samples import Sample as Sample
