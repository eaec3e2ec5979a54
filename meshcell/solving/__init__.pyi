# The public names of this room, each once; loaded when first used.
from .options import Options as Options
from .solver import solve as solve
from .steady_states import steady as steady
