# The public names of this room, each once; loaded when first used.
from .resampling import resample as resample
