"""Labels of every kind of contact, and what must hold of their meshes."""

import numpy as np

import meshcell as mc
from gallery.labels import halves, nested_balls, sample, voronoi
from meshcell.core import adjacency


def cavity():
    """A ball with a hollow of "outside" in it."""
    return sample(lambda x, y, z: (x**2 + y**2 + z**2 < 64) & ((x - 1) ** 2 + y**2 + z**2 > 12), 20)


def islands():
    """Two balls of one label that do not touch, and one of another label within the first."""
    volume = sample(lambda x, y, z: np.minimum((x - 6) ** 2 + y**2 + z**2, 1.5 * ((x + 7) ** 2 + y**2 + z**2)) < 36, 30)
    labels = volume.data.copy()
    labels[20:23, 13:16, 13:16] = 7
    return mc.Volume(labels, 1.0, names={1: "body", 7: "core"})


SCENES = {
    "nested": nested_balls,
    "halves": halves,
    "voronoi": lambda: voronoi(n=12, cells=5),
    "cavity": cavity,
    "islands": islands,
}


def volumes_of(mesh):
    return {mesh.names[int(k)]: float(mesh.volumes[mesh.regions == k].sum()) for k in np.unique(mesh.regions)}


def assert_sound(mesh):
    """Facets are the faces between different regions, each with the regions of its neighbours."""
    behind, front = mesh.facet_tets.T
    labels = np.append(mesh.regions, 0)
    assert np.array_equal(np.stack([labels[behind], labels[front]], axis=1), mesh.sides)
    facets, _ = adjacency.interface_facets(mesh.tets, mesh.regions, mesh.neighbours)
    assert np.array_equal(np.unique(np.sort(facets, axis=1), axis=0), np.unique(np.sort(mesh.facets, axis=1), axis=0))
    assert len(facets) == len(mesh.facets)
    assert np.array_equal(np.unique(mesh.tets), np.arange(len(mesh.points)))
