# The public names of this room, each once; loaded when first used.
from .binding import (
    BoundReaction as BoundReaction,
    BoundSpecies as BoundSpecies,
    System as System,
    bind as bind,
)
from .bound_places import BoundCompartment as BoundCompartment
from .events import Event as Event
from .mixing import well_mixed as well_mixed
from .model import Model as Model
from .observables import Quantity as Quantity
from .parameters import Course as Course, Field as Field, Table as Table
from .solutions import Solution as Solution
from .species import Pool as Pool, Reaction as Reaction, Species as Species
from .well_mixed import WellMixed as WellMixed
