"""One small thing of every type, with names, numbers and orders that a careless file format would lose."""

import dataclasses

import numpy as np

from gallery.meshes import ball
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.models.solutions import Solution

# Names that XML, JSON, PLY headers, OBJ groups and Gmsh quotes trip over if they are not escaped.
NAMES = {1: 'shell "a" <b> & c', 2: "Endoplasmatisches Retikulum é|µ", 7: "absent"}
SPACING = (0.1 / 3, 0.0123456789012345, 0.05)
ORIGIN = (-1 / 3, 2.5, 1e-3)
VOLUME_ENDINGS = [".npz", ".h5", ".hdf5", ".tif", ".tiff", ".ome.tif", ".mrc", ".rec", ".nrrd", ".seg.nrrd"]
SURFACE_ENDINGS = [".npz", ".ply", ".vtp", ".obj", ".vtk"]
MESH_ENDINGS = [".npz", ".vtu", ".xdmf", ".msh", ".vtk", ".mesh", ".inp", ".ele", ".node"]
DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", "f2", "f4", "f8", ">f4"]


def volume(dtype="u1", shape=(4, 5, 6), high=100, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        # Quarters are exact in every float type, so each format that has any of them holds these values.
        return Volume((rng.integers(-400, 400, shape) / 4).astype(dtype), SPACING, ORIGIN)
    return Volume(rng.integers(0, high, shape).astype(dtype), SPACING, ORIGIN, NAMES)


def tet_mesh():
    """A ball with a core whose points are no short decimals, rows in random order, and overlapping patches."""
    rng = np.random.default_rng(1)
    mesh = ball(2, core=0.5)
    tets, facets = rng.permutation(len(mesh.tets)), rng.permutation(len(mesh.facets))
    patches = {"PSD": [3, 4, 5, 9], "aktive <Zone> é": [5, 6], "empty": np.empty(0, np.int32)}
    points = mesh.points + 1e-3 * rng.standard_normal(mesh.points.shape)
    return TetMesh(points, mesh.tets[tets], mesh.regions[tets], mesh.facets[facets], mesh.sides[facets], NAMES, patches)


def surface():
    own = tet_mesh().surface
    return Surface(own.points, own.triangles, own.sides, own.names, own.patches, resolution=SPACING)


def closed_body(name="body"):
    own = ball(2, names={1: name}).surface
    used, corners = np.unique(own.triangles, return_inverse=True)
    return Surface(own.points[used] / 3, corners.reshape(-1, 3), own.sides, own.names)


def solution():
    from meshcell.models.model import Model
    from meshcell.models.species import Reaction, Species

    rng = np.random.default_rng(2)
    mesh = ball(2, core=0.5, names={1: "cytosol", 2: "er"})
    model = Model(
        compartments={"cyt": "cytosol", "PM": ("cytosol", "outside")},
        species=[Species("Ca", "cyt", "220 um^2/s", "0.1 uM"), Species("B", "PM", 0.1, "10 molecule/um^2")],
        reactions=[Reaction("bind", "PM", "k*Ca - off*B", {"Ca": -1, "B": 1})],
        parameters={"k": "0.1 um/s", "off": "0.3 1/s"},
    )
    nodes = {
        "Ca": np.unique(mesh.tets[mesh.regions == 1]),
        "B": np.unique(mesh.facets[(mesh.sides == [1, 0]).all(axis=1)]),
    }
    times = np.array([0.0, 0.1, 1 / 3])
    values = {name: rng.random((len(times), len(rows))) for name, rows in nodes.items()}
    stats = {"steps": 12, "drift": 1e-17, "sizes": np.array([0.1, 0.2]), "pair": (1, [2, None])}
    return Solution(mesh, model, times, values, nodes, stats, "stopped early: µ")


def assert_same(a, b):
    """Equal to the last bit, types included."""
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b
