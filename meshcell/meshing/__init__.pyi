# The public names of this room, each once; loaded when first used.
from .improvement import improve as improve
from .tetrahedra import (
    check_surface as check_surface,
    estimate_tets as estimate_tets,
    renumber as renumber,
    tetrahedralize as tetrahedralize,
)
