"""The whole way at its smallest: every stage on a body of a few voxels, quick enough without the compiler, too."""

import numpy as np
import pytest

import meshcell as mc
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.phantoms import Filament, Macromolecule, SphereMembrane

pytestmark = pytest.mark.plain


@pytest.fixture(scope="module")
def labels():
    """A ball of four voxels around one of two, off the centre."""
    far = np.linalg.norm(np.indices((11, 11, 11)) - np.array([5.1, 4.9, 5.2])[:, None, None, None], axis=0)
    return mc.Volume((far < 4).astype(np.uint8) + (far < 2), "10 nm", names={1: "cytosol", 2: "er"})


@pytest.fixture(scope="module")
def mesh(labels):
    return mc.tetrahedralize(labels, edge="20 nm")


def volumes(labels):
    return {name: labels.counts[label] * 1e-6 for label, name in labels.regions.items()}


def test_tetrahedra_fill_the_labels(labels, mesh):
    assert mc.check(mesh).ok
    assert mc.angles(mesh).min() > 10
    assert mc.enclosed_volumes(mesh) == pytest.approx(volumes(labels), rel=0.01)


def test_the_lattice_fills_them_too(labels):
    found = mc.tetrahedralize(labels, edge="20 nm", method="lattice", min_dihedral=10)
    assert mc.check(found).ok
    assert mc.angles(found).min() >= 10
    assert set(mc.enclosed_volumes(found)) == {"cytosol", "er"}


def test_a_surface_comes_back_to_its_labels(labels):
    surface = mc.smooth(mc.extract(labels))
    assert not len(mc.self_intersections(surface))
    found = mc.voxelize(surface, labels.spacing)
    assert mc.enclosed_volumes(surface) == pytest.approx(volumes(labels), rel=0.01)
    assert sum(volumes(found).values()) == pytest.approx(sum(volumes(labels).values()), rel=0.1)


def test_decimation_stays_near(labels):
    surface = mc.smooth(mc.extract(labels))
    found = mc.decimate(surface, max_error=0.002)
    assert len(found.triangles) < len(surface.triangles)
    assert mc.enclosed_volumes(found) == pytest.approx(mc.enclosed_volumes(surface), rel=0.05)


@pytest.mark.parametrize("scheme", ["implicit", "imex"])
def test_molecules_are_kept(mesh, scheme):
    model = Model(
        {"cyt": "cytosol", "er": "er", "ERM": ("er", "cytosol")},
        [Species("A", "cyt", "1 um^2/s", "1 uM"), Species("B", "er", "1 um^2/s", 0)],
        [Reaction("in", "ERM", "k*A", {"A": -1, "B": 1})],
        {"k": "1 um/s"},
    )
    solution = mc.solve(mesh, model, [0, 0.01], scheme=scheme)
    totals = mc.total(solution, "A") + mc.total(solution, "B")
    assert mc.total(solution, "B")[1] > 0
    np.testing.assert_allclose(totals[1], totals[0], rtol=1e-10)
    marked = mc.mark(mc.estimate(solution))
    assert len(mc.refine(mesh, marked).mesh.tets) > len(mesh.tets)


def test_all_that_is_packed_is_there():
    found = mc.crowd(
        (40, 40, 40),
        "1 nm",
        membranes=[SphereMembrane("vesicle", 0.05, radius=0.012)],
        filaments=[Filament("actin", 0.01, length=0.03, least=0.01)],
        macromolecules=[Macromolecule("p97", 0.02)],
        rng=1,
    )
    assert {"vesicle", "actin", "p97"} <= set(found.labels.regions.values())
