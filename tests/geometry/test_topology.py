"""Topology: known bodies, and labels, raw and smoothed surfaces that must agree on anything."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import nested_balls, noise, sheet, sphere, torus, voronoi
from gallery.meshes import ball
from meshcell.geometry.topology import Topology, shells


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (sphere(5.3)[0], {"body": Topology(1, 2, 0, 0)}),
        (torus()[0], {"body": Topology(1, 0, 1, 0)}),
        (sheet()[0], {"body": Topology(1, 2, 0, 0)}),
        (nested_balls(), {"cytosol": Topology(1, 4, 0, 1), "er": Topology(1, 2, 0, 0)}),
    ],
)
def test_known_bodies(volume, expected):
    assert mc.topology(volume) == expected
    assert mc.topology(mc.extract(volume)) == expected


@pytest.mark.parametrize("seed", range(25))
def test_labels_net_and_smoothed_net_agree_on_noise(seed):
    volume = noise(seed)
    surface = mc.extract(volume)
    assert mc.topology(volume) == mc.topology(surface) == mc.topology(mc.smooth(surface))


def test_components_are_those_of_a_flood_fill():
    from scipy.ndimage import label

    volume = noise(3)
    for number, name in volume.regions.items():
        assert mc.topology(volume)[name].components == label(volume.data == number)[1]


def test_mesh_and_its_surface_agree():
    mesh = ball(3, core=1 / 3)
    expected = {"shell": Topology(1, 4, 0, 1), "core": Topology(1, 2, 0, 0)}
    assert mc.topology(mesh) == mc.topology(mesh.surface) == expected


def test_shell_volumes_add_up_to_regions():
    surface = mc.extract(voronoi())
    found = shells(surface)
    for label, name in surface.names.items():
        if label:
            total = found.volumes[found.regions == label].sum()
            assert total == pytest.approx(mc.enclosed_volumes(surface)[name], rel=1e-12)


def test_an_open_surface_is_refused_with_its_edges():
    surface = mc.extract(nested_balls())
    torn = mc.Surface(surface.points, surface.triangles[1:], surface.sides[1:], surface.names)
    with pytest.raises(mc.MeshError, match="3 edges are open") as caught:
        mc.topology(torn)
    assert set(np.ravel(caught.value.where)) == set(surface.triangles[0])


def test_intensities_are_refused():
    with pytest.raises(TypeError, match="topology needs integer labels"):
        mc.topology(mc.Volume(np.full((3, 3, 3), 0.5), 1.0))
