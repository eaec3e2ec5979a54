"""Crowds in compartments of labels that were there before."""

import numpy as np

import meshcell as mc
from meshcell.phantoms import Actin, Cluster, Macromolecule, SphereMembrane
from meshcell.phantoms.crowds import statistics

NM = 1e-3


def test_compartments_have_their_own_crowd():
    labels = np.ones((60, 60, 60), np.uint8)
    labels[30:] = 2
    within = mc.Volume(labels, "1 nm", names={1: "cytosol", 2: "nucleus"})
    species = [Macromolecule("p97", 0.03, where="cytosol"), Macromolecule("hsp70", 0.03, where="nucleus")]
    made = mc.crowd((60, 60, 60), "1 nm", macromolecules=species, within=within, rng=0)
    assert (within.data[made.labels.data == 3] == 1).all() and (within.data[made.labels.data == 4] == 2).all()
    assert made.labels.names[1] == "cytosol" and all(row.why == "" for row in made.report)
    free = made.instances.data == 0
    np.testing.assert_array_equal(made.labels.data[free], within.data[free])


def crowded_regions(within, names):
    """Crowd the named compartments, each with a species of its own; return the sample."""
    species = {name: Macromolecule(f"ribosome in {name}", 0.002, density="ribosome", where=name) for name in names}
    made = mc.crowd(within.data.shape, within.spacing, macromolecules=list(species.values()), within=within, rng=0)
    labels = {name: label for label, name in made.labels.names.items()}
    for name in names:
        found = made.labels.data == labels[f"ribosome in {name}"]
        assert found.any() and (within.data[found] == labels[name]).all()
    return made


def test_the_compartments_of_a_cell_have_crowds_of_their_own():
    within = mc.cell((160, 160, 160), "12 nm", rng=0)
    made = crowded_regions(within, ["cytosol", "nucleus", "mitochondrion"])
    free = made.instances.data == 0
    np.testing.assert_array_equal(made.labels.data[free], within.data[free])


def test_the_compartments_of_a_spine_have_crowds_of_their_own():
    within = mc.spine("12 nm", rng=0)
    crowded_regions(within, [name for name in within.regions.values() if name in ("cytosol", "er", "outside")])


def test_membranes_filaments_and_clusters_keep_to_their_compartment():
    labels = np.ones((120, 100, 90), np.uint8)
    labels[70:] = 2
    within = mc.Volume(labels, "1 nm", names={1: "left", 2: "right"}, origin=(0.5, -0.2, 0.1))
    made = mc.crowd(
        (120, 100, 90), "1 nm", within=within, rng=1,
        membranes=[SphereMembrane("vesicle", 0.02, radius=0.015, where="left")],
        filaments=[Actin("actin", 0.01, length=0.04, where="left")],
        macromolecules=[
            Macromolecule("channel", 0.2, membrane="vesicle", where="left"),
            Macromolecule("ferritin", 0.002, near=(0.012, 0.02), where="left"),
            Cluster("both", 0.02, (Macromolecule("hsp70", 1.0), Macromolecule("hsp90", 1.0)), where="right"),
        ],
    )  # fmt: skip
    assert all(row.why == "" for row in made.report), made
    for label, name in made.labels.names.items():
        if label > 2:
            side = 2 if name in ("hsp70", "hsp90") else 1
            assert (within.data[made.labels.data == label] == side).all(), name
    # Positions, surfaces and centrelines are those of the labels' frame.
    for row in made.motifs[made.motifs["species"] == "hsp90"]:
        where = np.argwhere(made.instances.data == row["instance"])
        assert np.linalg.norm(where.mean(axis=0) * NM + within.origin - row["position"]) < NM
    vesicles = np.argwhere(made.labels.data == 3) * NM + within.origin
    points = np.concatenate([surface.points for surface in made.surfaces.values()])
    # Half of the thickest bilayer, four of its thickest layers' deviations, and the sampling of the surface.
    assert statistics.nearest(vesicles, points).max() < 1.75 * NM + 4 * 0.2 * NM + NM
    # The axis of actin runs between its balls, which touch it.
    actin = np.argwhere(made.labels.data == 4) * NM + within.origin
    axes = np.concatenate(list(made.centrelines.values()))
    assert statistics.nearest(axes, actin).max() < NM
