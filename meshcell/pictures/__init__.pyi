# The public names of this room, each once; loaded when first used.
from .plotting import film as film, histogram as histogram, plot as plot
