# The public names of this room, each once; loaded when first used.
from .distributed.forms import forms as forms
from .options import Options as Options
from .solver import is_first as is_first, solve as solve, together as together
from .steady_states import steady as steady
