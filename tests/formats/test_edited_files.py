"""Files of ours that another program opened, changed and saved again, with our notes still in them."""

import numpy as np
import pytest

from gallery.meshes import ball
from gallery.things import surface, tet_mesh
from meshcell.core.types import TetMesh
from meshcell.geometry.measures import enclosed_volumes
from meshcell.io import load, save

pv = pytest.importorskip("pyvista")


def two_regions():
    mesh = ball(4, core=0.5, names={1: "cytosol", 2: "er"})
    return TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"P, D": [0, 1]})


def volume_of(mesh, label):
    return float(mesh.volumes[mesh.regions == label].sum())


@pytest.mark.parametrize("saved", [".vtk", ".vtu"])
def test_a_region_cut_out_has_its_own_interfaces(tmp_path, saved):
    mesh = two_regions()
    save(tmp_path / "a.vtk", mesh)
    grid = pv.read(tmp_path / "a.vtk").threshold(1.5, scalars="region")
    grid.save(tmp_path / f"b{saved}")
    part = load(tmp_path / f"b{saved}")
    assert part.interfaces.keys() == {("er", "outside")}
    assert enclosed_volumes(part) == pytest.approx({"er": volume_of(mesh, 2)}, rel=1e-12)


@pytest.mark.parametrize("saved", [".vtk", ".vtu"])
def test_interfaces_that_were_thrown_away_follow_from_the_regions(tmp_path, saved):
    mesh = two_regions()
    save(tmp_path / "a.vtk", mesh)
    grid = pv.read(tmp_path / "a.vtk")
    grid.extract_cells(grid.celltypes == pv.CellType.TETRA).save(tmp_path / f"b{saved}")
    again = load(tmp_path / f"b{saved}")
    assert len(again.facets) == len(mesh.facets) and again.names == mesh.names
    assert enclosed_volumes(again) == pytest.approx({"cytosol": volume_of(mesh, 1), "er": volume_of(mesh, 2)})


def test_patches_survive_a_change_under_their_names(tmp_path):
    mesh = two_regions()
    save(tmp_path / "a.vtk", mesh)
    pv.read(tmp_path / "a.vtk").translate((1.0, 0, 0)).save(tmp_path / "b.vtk")
    moved = load(tmp_path / "b.vtk")
    area = mesh.areas[mesh.patches["P, D"]].sum()
    assert moved.areas[moved.patches["P, D"]].sum() == pytest.approx(area, rel=1e-12)


@pytest.mark.parametrize("ending", [".vtk", ".vtp"])
def test_a_mirrored_surface_encloses_what_it_did(tmp_path, ending):
    own = two_regions().surface
    save(tmp_path / f"a{ending}", own)
    pv.read(tmp_path / f"a{ending}").flip_x().save(tmp_path / f"b{ending}")
    volumes = list(enclosed_volumes(load(tmp_path / f"b{ending}")).values())
    assert volumes == pytest.approx(list(enclosed_volumes(own).values()), rel=1e-12)


def test_the_surface_of_a_grid_is_its_interfaces(tmp_path):
    mesh = two_regions()
    save(tmp_path / "a.vtk", mesh)
    pv.read(tmp_path / "a.vtk").extract_surface(algorithm="geometry").save(tmp_path / "b.vtp")
    with pytest.warns(UserWarning, match="one region on both sides are left out"):
        again = load(tmp_path / "b.vtp")
    assert sorted(enclosed_volumes(again).values()) == pytest.approx(sorted(enclosed_volumes(mesh).values()))


@pytest.mark.parametrize(("ending", "make"), [(".vtk", tet_mesh), (".vtu", tet_mesh), (".vtk", surface)])
def test_what_was_only_saved_again_is_exactly_ours(tmp_path, ending, make):
    own = make()
    save(tmp_path / "a.vtk", own)
    pv.read(tmp_path / "a.vtk").save(tmp_path / f"b{ending}")
    again = load(tmp_path / f"b{ending}")
    np.testing.assert_array_equal(again.sides, own.sides)
    np.testing.assert_array_equal(again.points, own.points)
    assert again.names == own.names and again.patches.keys() == own.patches.keys()
