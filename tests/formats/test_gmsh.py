"""Gmsh's own files of every version: partitions, parametric nodes, partial and overlapping groups, second order."""

import tracemalloc
import warnings

import numpy as np
import pytest

from gallery.meshes import ball
from meshcell.core.types import TetMesh
from meshcell.geometry.measures import enclosed_volumes
from meshcell.io import load, save

# Gmsh writes no binary 4.0.
VERSIONS = [(2.2, 0), (2.2, 1), (4.0, 0), (4.1, 0), (4.1, 1)]


@pytest.fixture
def gmsh():
    module = pytest.importorskip("gmsh", exc_type=ImportError)
    module.initialize(interruptible=False)
    module.option.setNumber("General.Terminal", 0)
    yield module
    module.finalize()


def two_balls(gmsh, groups):
    """Mesh a ball with a core; `groups` maps a name to (dimension, entities of the model)."""
    outer, inner = gmsh.model.occ.addSphere(0, 0, 0, 1), gmsh.model.occ.addSphere(0, 0, 0, 0.5)
    gmsh.model.occ.fragment([(3, outer)], [(3, inner)])
    gmsh.model.occ.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMin", 0.4)
    volumes = [tag for _, tag in gmsh.model.getEntities(3)]
    core = min(volumes, key=lambda tag: gmsh.model.occ.getMass(3, tag))
    shell = next(tag for tag in volumes if tag != core)
    for number, (name, parts) in enumerate(groups.items(), 1):
        gmsh.model.addPhysicalGroup(3, [core if part == "core" else shell for part in parts], 10 * number, name)
    gmsh.model.mesh.generate(3)
    return core, shell


def saved(gmsh, path, version, binary, **options):
    gmsh.option.setNumber("Mesh.MshFileVersion", version)
    gmsh.option.setNumber("Mesh.Binary", binary)
    for name, value in options.items():
        gmsh.option.setNumber(f"Mesh.{name}", value)
    gmsh.write(str(path))
    return path


def volumes(mesh):
    return {mesh.names[int(k)]: mesh.volumes[mesh.regions == k].sum() for k in np.unique(mesh.regions)}


def quietly(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(path, **options)


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_every_version_brings_groups_and_names(tmp_path, gmsh, version, binary):
    two_balls(gmsh, {"er": ["core"], "cytosol": ["shell"]})
    mesh = quietly(saved(gmsh, tmp_path / "a.msh", version, binary))
    found = volumes(mesh)
    assert set(found) == {"er", "cytosol"}
    assert 0.35 < found["er"] < 0.53 and 2.5 < found["cytosol"] < 3.7
    assert {frozenset(pair) for pair in mesh.interfaces} == {
        frozenset(("er", "cytosol")),
        frozenset(("cytosol", "outside")),
    }


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_without_groups_elementary_volumes_are_the_regions(tmp_path, gmsh, version, binary):
    core, shell = two_balls(gmsh, {})
    mesh = quietly(saved(gmsh, tmp_path / "a.msh", version, binary))
    assert set(mesh.regions.tolist()) == {core, shell}


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_volumes_without_a_group_are_kept_and_told(tmp_path, gmsh, version, binary):
    _, shell = two_balls(gmsh, {"er": ["core"]})
    path = saved(gmsh, tmp_path / "a.msh", version, binary, SaveAll=1)
    if version == 2.2:
        pytest.skip("Gmsh drops the groups of all volumes here")
    with pytest.warns(UserWarning, match=f"in no physical group; .*volume {shell}"):
        mesh = load(path)
    assert set(volumes(mesh)) == {"er", f"volume {shell}"}


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_overlapping_groups_give_the_more_special_one(tmp_path, gmsh, version, binary):
    two_balls(gmsh, {"all": ["core", "shell"], "er": ["core"]})
    path = saved(gmsh, tmp_path / "a.msh", version, binary)
    with pytest.warns(UserWarning, match="in several physical groups"):
        mesh = load(path)
    assert set(volumes(mesh)) == {"er", "all"} and volumes(mesh)["er"] < 0.53
    assert len(np.unique(np.sort(mesh.tets, axis=1), axis=0)) == len(mesh.tets)


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_partitions_do_not_divide_regions(tmp_path, gmsh, version, binary):
    two_balls(gmsh, {"er": ["core"], "cytosol": ["shell"]})
    whole = volumes(load(saved(gmsh, tmp_path / "a.msh", version, binary)))
    gmsh.model.mesh.partition(3)
    assert volumes(load(saved(gmsh, tmp_path / "b.msh", version, binary))) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_parametric_nodes_are_read_as_points(tmp_path, gmsh, version, binary):
    two_balls(gmsh, {"er": ["core"], "cytosol": ["shell"]})
    whole = load(saved(gmsh, tmp_path / "a.msh", version, binary))
    if version == 2.2 and binary:
        pytest.skip("text alone is read")
    again = load(saved(gmsh, tmp_path / "b.msh", version, binary, SaveParametric=1))
    assert volumes(again) == pytest.approx(volumes(whole), rel=1e-9)


def test_curved_cells_are_named(tmp_path, gmsh):
    two_balls(gmsh, {})
    gmsh.model.mesh.setOrder(2)
    with pytest.raises(ValueError, match="linear tetrahedra; it has curved t"):
        load(saved(gmsh, tmp_path / "a.msh", 4.1, 0))


@pytest.mark.parametrize("head", ["2.2 0 8", "4 0 8", "4.1 0 8", "4.1 1 8"])
@pytest.mark.parametrize("section", ["Nodes", "Elements", "Entities"])
def test_counts_are_checked_before_memory_is_taken(tmp_path, head, section):
    many = " ".join(["100000000"] * 4)
    lines = ["$MeshFormat", head, "$EndMeshFormat"]
    for title in ("Entities", "Nodes", "Elements"):
        lines += [f"${title}", many if title == section else "1 1 1 1" if title != "Entities" else "0 0 0 0", "1 1 1 1"]
        lines += [f"$End{title}"]
    (tmp_path / "a.msh").write_text("\n".join(lines))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.msh"):
        load(tmp_path / "a.msh")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_ours_that_gmsh_saved_anew_is_read(tmp_path, gmsh, version, binary):
    mesh = ball(2, core=0.5, names={1: "cytosol", 2: "er"})
    own = TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"PSD": [0, 1]})
    save(tmp_path / "a.msh", own)
    gmsh.open(str(tmp_path / "a.msh"))
    again = load(saved(gmsh, tmp_path / "b.msh", version, binary))
    assert enclosed_volumes(again) == pytest.approx(enclosed_volumes(own), rel=1e-9)
    assert again.areas[again.patches["PSD"]].sum() == pytest.approx(own.areas[[0, 1]].sum(), rel=1e-9)


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_a_mesh_of_surfaces_is_a_surface_with_its_groups(tmp_path, gmsh, version, binary):
    gmsh.model.occ.addSphere(0, 0, 0, 1)
    gmsh.model.occ.addSphere(0, 0, 0, 0.5)
    gmsh.model.occ.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMin", 0.2)
    for tag, name in ((1, "cytosol"), (2, "er")):
        gmsh.model.addPhysicalGroup(2, [tag], 10 * tag, name)
    gmsh.model.mesh.generate(2)
    found = quietly(saved(gmsh, tmp_path / "a.msh", version, binary))
    assert set(found.interfaces) == {("cytosol", "outside"), ("er", "cytosol")}
