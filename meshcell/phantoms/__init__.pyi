# The public names of this room, each once; loaded when first used.
from . import crowds as crowds
from .cells import cell as cell
from .crowds import statistics as statistics
from .crowds.datasets import samples as samples
from .crowds.filaments import Actin as Actin, Filament as Filament, Microtubule as Microtubule
from .crowds.macromolecules import Cluster as Cluster, Macromolecule as Macromolecule
from .crowds.membranes import (
    EllipsoidMembrane as EllipsoidMembrane,
    HarmonicMembrane as HarmonicMembrane,
    SheetStack as SheetStack,
    SphereMembrane as SphereMembrane,
    SurfaceMembrane as SurfaceMembrane,
    TorusMembrane as TorusMembrane,
    TubeMembrane as TubeMembrane,
)
from .crowds.placing import crowd as crowd
from .crowds.recipes import Recipe as Recipe
from .crowds.samples import Sample as Sample
from .spines import spine as spine
