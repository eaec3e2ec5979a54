"""Densities of single molecules: stand-ins, maps, atomic models."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import meshcell as mc
from meshcell.phantoms import Macromolecule, signed_distances as sdf
from meshcell.phantoms.crowds.density_maps import SIGMA, atoms_density, unit_template
from meshcell.phantoms.crowds.standins import SHAPES, standin

NM = 1e-3


def test_maps_are_resampled_to_the_spacing(tmp_path):
    fine = mc.Volume(standin("ferritin", 0.5 * NM)[0], 0.5 * NM)
    mc.save(tmp_path / "ferritin.mrc", fine)
    for source in (fine, tmp_path / "ferritin.mrc"):
        unit = unit_template(source, NM, level=0.5)
        # Linear interpolation after a blur of 0.87 fine voxels leaves less than a thousandth of aliased mass.
        assert unit.values.sum() * unit.values.max() * 8 == pytest.approx(fine.data.sum(), rel=2e-3)
        parts = np.stack(np.meshgrid(*[np.arange(0, n - 1, 0.125) for n in unit.values.shape], indexing="ij"))
        volume = (map_coordinates(unit.values, parts, order=1) >= 0.5).sum() * (NM / 8) ** 3
        # A blur of s lowers the radius of a ball of r at half its density by s^2/r: 0.43^2/6 nm, and by 3 s^2/r^2 its
        # volume; the width of linear interpolation, h^2/6 along each axis, adds to s^2.
        s2 = 0.433**2 + 1 / 6
        assert volume == pytest.approx(4 / 3 * np.pi * (6 * NM) ** 3 * (1 - 3 * s2 / 36), rel=0.01)


def test_maps_of_whole_numbers_are_densities(tmp_path):
    """EMDB holds maps of 8 and 16 bits; their scale does not matter."""
    import mrcfile

    values = np.round(1000 * standin("ferritin", NM)[0]).astype(np.int16)
    for name, data in (("whole.mrc", values), ("floats.mrc", values.astype(np.float32))):
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(np.ascontiguousarray(data.T))
            file.set_volume()
            file.voxel_size = 10.5
    whole, floats = (unit_template(tmp_path / name, NM, level=500) for name in ("whole.mrc", "floats.mrc"))
    np.testing.assert_array_equal(whole.values, floats.values)


@pytest.mark.parametrize("name", SHAPES)
def test_stand_ins_have_the_volume_of_their_shape(name):
    shape, rng = sdf.union(*SHAPES[name]), np.random.default_rng(0)
    low, high = shape.bounds
    share = (sdf.distance(shape, low + rng.random((400_000, 3)) * (high - low)) < 0).mean()
    box, error = np.prod(high - low), np.sqrt(share * (1 - share) / 400_000)
    # 216 points to a voxel, 20,000 for the smallest shape, a sixth of them beside its surface.
    bound = (5e-3 * share + 4 * error) * box
    assert standin(name, NM)[0].sum() * NM**3 == pytest.approx(share * box, abs=bound)


# kDa, of which the second is RNA.
MASSES = {
    "ribosome": (4300, 2300), "bacterial ribosome": (2500, 1600), "proteasome": (2500, 0), "proteasome core": (700, 0),
    "chaperonin": (800, 0), "tric": (950, 0), "fatty acid synthase": (2600, 0), "p97": (540, 0), "clpb": (580, 0),
    "rubisco": (550, 0), "glutamine synthetase": (620, 0), "ferritin": (480, 0), "beta-galactosidase": (465, 0),
    "pyruvate kinase": (240, 0), "hsp90": (180, 0), "hsp70": (70, 0), "cullin complex": (240, 0), "antibody": (150, 0),
    "haemoglobin": (64.5, 0), "phosphofructokinase": (142, 0), "catalase": (240, 0), "atp synthase": (600, 0),
    "channel": (500, 0), "spike": (540, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_stand_ins_weigh_what_the_molecules_weigh(name):
    """Dry protein takes 1.21 nm^3/kDa (Erickson 2009, Biol. Proced. Online 11, 32), RNA 0.9; outlines hold water."""
    mass, rna = MASSES[name]
    dry = 1.21 * (mass - rna) + 0.9 * rna
    assert 0.9 < standin(name, NM)[0].sum() / dry < 1.6


def pdb_file(path, places):
    """Write carbon atoms at (n, 3) places, in angstroms."""
    line = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"
    path.write_text("".join(line.format(k + 1, k + 1, *place) for k, place in enumerate(places)) + "END\n")
    return path


def test_atoms_become_a_density_of_their_weight(tmp_path):
    pytest.importorskip("gemmi")
    places = np.random.default_rng(0).uniform(-20, 20, (50, 3)).round(3)
    density = atoms_density(pdb_file(tmp_path / "x.pdb", places), 0.5 * NM, resolution="2 nm")
    assert density.data.sum() == pytest.approx(50 * 6, rel=1e-3)
    grid = np.stack(np.meshgrid(*map(np.arange, density.data.shape), indexing="ij"), axis=-1)
    middle = (grid * density.data[..., None]).sum(axis=(0, 1, 2)) / density.data.sum() * 0.5 * NM + density.origin
    np.testing.assert_allclose(middle, places.mean(axis=0) * 1e-4, atol=1e-6)


def test_mmcif_and_pdb_give_the_same_density(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    path = pdb_file(tmp_path / "x.pdb", np.random.default_rng(1).uniform(-20, 20, (30, 3)))
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "x.cif"))
    one, other = (atoms_density(tmp_path / name, NM, resolution="3 nm") for name in ("x.pdb", "x.cif"))
    np.testing.assert_array_equal(one.data, other.data)
    assert one.origin == other.origin
    molecule = Macromolecule("x", 0.02, density=tmp_path / "x.cif", resolution="3 nm")
    made = mc.crowd((40, 40, 40), "1 nm", macromolecules=[molecule], rng=0)
    assert made.report[0].why == "" and len(made.motifs) > 1


def test_files_without_atoms_are_refused(tmp_path):
    pytest.importorskip("gemmi")
    with pytest.raises(ValueError, match="should hold a model with atoms"):
        atoms_density(pdb_file(tmp_path / "x.pdb", []), NM)


def test_the_blur_of_atoms_has_the_asked_width(tmp_path):
    pytest.importorskip("gemmi")
    density = atoms_density(pdb_file(tmp_path / "x.pdb", [(1.3, -2.7, 0.4)]), 0.25 * NM, resolution="4 nm")
    at = np.argwhere(density.data > 0) * 0.25 * NM + density.origin
    variance = np.average((at - [1.3e-4, -2.7e-4, 0.4e-4]) ** 2, axis=0, weights=density.data[density.data > 0])
    # Sharing among voxels adds up to a quarter of a voxel squared, of which a sixth, its mean, is taken off.
    np.testing.assert_allclose(variance, (SIGMA * 4 * NM) ** 2, atol=(0.25 * NM) ** 2 / 6)
