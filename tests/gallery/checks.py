"""What must hold of every mesh of tetrahedra."""

import numpy as np

import meshcell as mc
from meshcell.core import adjacency
from meshcell.meshing.swaps import squared_sines


def sines_by_normals(points, tets):
    """twin of `squared_sines`: the six dihedral angles from the normals of the faces."""
    result = np.empty(len(tets))
    for t, tet in enumerate(tets):
        p = points[tet]
        normals = [np.cross(p[b] - p[a], p[c] - p[a]) for a, b, c in adjacency.TET_FACES]
        sines = []
        for i in range(4):
            for j in range(i):
                n, m = normals[i], normals[j]
                sines.append(np.linalg.norm(np.cross(n, m)) / np.linalg.norm(n) / np.linalg.norm(m))
        result[t] = min(sines) ** 2 * np.sign(np.linalg.det(p[1:] - p[0]))
    return result


def shaken(mesh, amount, seed=0, interfaces=False):
    """Move points at random as far as all tetrahedra stay positive; the facets' points only if asked."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, amount, mesh.points.shape)
    if not interfaces:
        steps[mesh.facets] = 0
    for _ in range(40):
        points = mesh.points + steps
        bad = squared_sines(points, mesh.tets) <= 1e-5
        if not bad.any():
            break
        steps[mesh.tets[bad]] *= 0.5
    return mc.TetMesh(points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, mesh.patches)


def volumes_of(mesh):
    return np.array([mesh.volumes[mesh.regions == label].sum() for label in np.unique(mesh.regions)])


def is_conforming(mesh):
    facets, _ = adjacency.interface_facets(mesh.tets, mesh.regions, mesh.neighbours)
    return {frozenset(f) for f in facets.tolist()} == {frozenset(f) for f in mesh.facets.tolist()}
