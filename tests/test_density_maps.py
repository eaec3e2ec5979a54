"""Densities of single molecules: stand-ins, maps, atomic models."""

import numpy as np
import pytest

import meshcell as mc
from meshcell.phantoms.standins import SHAPES, standin

NM = 1e-3


def test_maps_are_resampled_to_the_spacing(tmp_path):
    from meshcell.phantoms.density_maps import unit_template

    fine = mc.Volume(standin("ferritin", 0.5 * NM)[0], 0.5 * NM)
    mc.save(tmp_path / "ferritin.mrc", fine)
    for source in (fine, tmp_path / "ferritin.mrc"):
        unit = unit_template(source, NM, level=0.5)
        # A ball of six voxels' radius, counted by voxels: a sixth of a voxel in the radius is 8 % of the volume.
        assert unit.volume == pytest.approx(4 / 3 * np.pi * (6 * NM) ** 3, rel=0.08)


def test_all_stand_ins_have_the_volume_of_their_shape_at_two_steps():
    for name in SHAPES:
        fine, coarse = (float((standin(name, h)[0]).sum() * h**3) for h in (0.5 * NM, NM))
        # The edge of one voxel fills the seams between balls that touch.
        assert coarse == pytest.approx(fine, rel=0.04), name


def test_atoms_become_a_density_of_their_weight(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    line = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"
    places = np.random.default_rng(0).uniform(-20, 20, (50, 3)).round(3)
    text = "".join(line.format(k + 1, k + 1, *place) for k, place in enumerate(places))
    (tmp_path / "x.pdb").write_text(text + "END\n")
    assert gemmi.__version__
    from meshcell.phantoms.density_maps import atoms_density

    density = atoms_density(tmp_path / "x.pdb", 0.5 * NM, resolution="2 nm")
    assert density.data.sum() == pytest.approx(50 * 6, rel=1e-3)
    grid = np.stack(np.meshgrid(*map(np.arange, density.data.shape), indexing="ij"), axis=-1)
    middle = (grid * density.data[..., None]).sum(axis=(0, 1, 2)) / density.data.sum() * 0.5 * NM + density.origin
    np.testing.assert_allclose(middle, places.mean(axis=0) * 1e-4, atol=1e-6)
