"""What the tests of crowded phantoms share: a sample with something of every kind, made once."""

import functools

import numpy as np
from scipy.spatial.transform import Rotation

import meshcell as mc
from meshcell.phantoms import (
    Actin,
    Cluster,
    EllipsoidMembrane,
    Filament,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    SheetStack,
    SphereMembrane,
    TorusMembrane,
    TubeMembrane,
)

MEMBRANES = (
    SphereMembrane("vesicle", 0.01, radius=(0.014, 0.02)),
    EllipsoidMembrane("endosome", 0.005, radius=(0.012, 0.022)),
    TorusMembrane("ring", 0.005, ring=0.026, radius=0.01),
    TubeMembrane("tubule", 0.005, length=0.05, radius=0.01),
    SheetStack("golgi", 0.005, radius=0.02, sheets=2),
    HarmonicMembrane("bleb", 0.005, radius=0.018),
)
FILAMENTS = (
    Microtubule("microtubule", 0.01, length=0.15),
    Actin("actin", 0.01, branching=0.4, length=(0.03, 0.1), least=0.01),
    Filament("bundle", 0.005, bundle=3, length=0.06, least=0.02),
)
MACROMOLECULES = (
    Macromolecule("ribosome", 0.03, cluster=(2, 4)),
    Macromolecule("channel", 0.15, membrane="vesicle"),
    Cluster("mixture", 0.01, (Macromolecule("p97", 0.5), Macromolecule("hsp70", 0.5))),
    Macromolecule("ferritin", 0.005, near=(0.012, 0.02)),
    Macromolecule("haemoglobin", 0.02, clearance="1 nm"),
)


@functools.cache
def mixed():
    """Everything in 160 x 150 x 120 voxels of 1 nm."""
    return mc.crowd(
        (160, 150, 120), "1 nm", membranes=MEMBRANES, filaments=FILAMENTS, macromolecules=MACROMOLECULES, rng=4
    )


def turned(seed=0):
    """A random rotation as a quaternion w, x, y, z."""
    return Rotation.random(rng=np.random.default_rng(seed)).as_quat(canonical=True, scalar_first=True)
