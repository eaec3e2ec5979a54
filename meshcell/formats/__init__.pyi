# The public names of this room, each once; loaded when first used.
from .endings import read as read, write as write
from .volumes.tilts import load_tilts as load_tilts, save_tilts as save_tilts
