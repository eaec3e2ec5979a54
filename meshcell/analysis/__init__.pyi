# The public names of this room, each once; loaded when first used.
from .checks import Report as Report, check as check
from .curvature import mean_curvature as mean_curvature
from .fidelity import Fidelity as Fidelity, measure as measure
from .problems import Problem as Problem
from .quantities import (
    Profile as Profile,
    area_under_curve as area_under_curve,
    flux as flux,
    gains as gains,
    mean as mean,
    probe as probe,
    profile as profile,
    total as total,
)
