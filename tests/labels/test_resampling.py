"""Labels between sections: areas and volumes of bodies of known shape, and what must not change."""

import time

import numpy as np
import pytest

import meshcell as mc
from meshcell.geometry.voxels import box_faces
from meshcell.labels.resampling import between_sections, layers_each

PIXEL = 0.004


def grid(half, spacing, shift=(0.2, 0.2, 0.2)):
    axes = []
    for reach, size, off in zip(half, spacing, shift, strict=True):
        n = int(np.ceil(reach / size)) + 2
        axes.append(size * (np.arange(-n, n + 1) + off))
    return np.meshgrid(*axes, indexing="ij")


def thick(ratio, axis=2):
    return tuple(PIXEL * (ratio if k == axis else 1) for k in range(3))


def capsule(radius, length, direction, spacing, shift=(0.2, 0.2, 0.2)):
    """A tube with round ends, a ball where its length is 0: voxels, and the area for the volume of these."""
    way = np.array(direction) / np.linalg.norm(direction)
    x, y, z = grid(np.abs(way) * length / 2 + radius, spacing, shift)
    along = np.clip(x * way[0] + y * way[1] + z * way[2], -length / 2, length / 2)
    inside = (x - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (z - along * way[2]) ** 2 < radius**2
    volume = inside.sum() * np.prod(spacing)
    grown = np.roots([4 / 3 * np.pi, np.pi * length, 0, -volume])
    r = float(grown[(abs(grown.imag) < 1e-9) & (grown.real > 0)].real[0])
    return mc.Volume(inside.astype(np.uint8), spacing), 2 * np.pi * r * length + 4 * np.pi * r**2


def cells(seed=0, shape=(30, 26, 8), n=12, spacing=(0.01, 0.01, 0.05)):
    """Cells that touch each other, and outside around some."""
    rng = np.random.default_rng(seed)
    seeds = rng.random((n, 3)) * np.array(shape) * spacing
    places = np.stack(np.meshgrid(*[np.arange(m) * h for m, h in zip(shape, spacing, strict=True)], indexing="ij"), -1)
    nearest = ((places[..., None, :] - seeds) ** 2).sum(axis=-1).argmin(axis=-1)
    return mc.Volume((nearest * (nearest % 4 > 0)).astype(np.int32), spacing)


def volumes(volume):
    return {label: n * np.prod(volume.spacing) for label, n in volume.counts.items()}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ratio", [2.5, 5, 10])
def test_balls_keep_their_area(ratio, axis):
    volume, area = capsule(0.1, 0, (0, 0, 1), thick(ratio, axis))
    surface = mc.smooth(mc.extract(volume))
    assert sum(mc.areas(surface).values()) == pytest.approx(area, rel=0.02)
    assert sum(mc.enclosed_volumes(surface).values()) == pytest.approx(volumes(volume)[1], rel=0.005)


@pytest.mark.parametrize("direction", [(0.1, 0.05, 1), (1, 0.3, 1), (1, 0.2, 0), (1, 0.3, 0.1)])
@pytest.mark.parametrize("ratio", [2.5, 5, 10])
def test_tubes_keep_their_area(ratio, direction):
    volume, area = capsule(0.06, 0.2, direction, thick(ratio))
    surface = mc.smooth(mc.extract(volume))
    assert sum(mc.areas(surface).values()) == pytest.approx(area, rel=0.02)
    assert sum(mc.enclosed_volumes(surface).values()) == pytest.approx(volumes(volume)[1], rel=0.005)


@pytest.mark.parametrize("tilt", [0, 2, 10, 20, 45, 75, 90])
@pytest.mark.parametrize("ratio", [5, 10])
def test_sheets_keep_their_area_at_any_tilt(ratio, tilt):
    """Both faces of a sheet through the box, within a cylinder around its middle."""
    spacing = thick(ratio)
    x, y, z = grid((0.25, 0.13, 0.25), spacing)
    normal = np.array([np.sin(np.radians(tilt)), 0.01, np.cos(np.radians(tilt))])
    normal /= np.linalg.norm(normal)
    sheet = np.abs(x * normal[0] + y * normal[1] + z * normal[2]) < 0.05
    surface = mc.smooth(mc.extract(mc.Volume(sheet.astype(np.uint8), spacing, (x.min(), y.min(), z.min()))))
    middles = surface.points[surface.triangles].mean(axis=1)
    near = (middles**2).sum(axis=1) - (middles @ normal) ** 2 < 0.1**2
    near[np.concatenate(list(surface.patches.values()))] = False
    assert surface.areas[near].sum() == pytest.approx(2 * np.pi * 0.1**2, rel=0.02)


def test_steps_stay_where_sections_are_kept():
    volume, area = capsule(0.1, 0, (0, 0, 1), thick(10))
    kept = mc.extract(volume, sections="keep")
    assert kept.resolution == volume.spacing
    assert sum(mc.areas(mc.smooth(kept)).values()) > 1.08 * area
    with pytest.raises(ValueError, match='sections should be "interpolate" or "keep"; got \'join\''):
        mc.extract(volume, sections="join")


@pytest.mark.parametrize("seed", range(4))
def test_no_label_changes_its_volume_or_comes_apart(seed):
    volume = cells(seed)
    fine = mc.resample(volume, 0.01)
    before, after = volumes(volume), volumes(fine)
    assert before.keys() == after.keys()
    for label, size in before.items():
        assert after[label] == pytest.approx(size, rel=0.005)
    assert fine.extent == pytest.approx(volume.extent)
    assert mc.topology(fine) == mc.topology(volume)


@pytest.mark.parametrize("seed", range(3))
def test_topology_is_that_of_the_sections(seed):
    volume, _ = capsule(0.05, 0.1, np.random.default_rng(seed).normal(size=3), thick(5))
    assert mc.topology(between_sections(volume)) == mc.topology(volume)


@pytest.mark.parametrize("sections", [1, 2, 6])
def test_wide_flat_ends_are_no_domes(sections):
    """Discs whose faces lie between two sections."""
    spacing = (0.008, 0.008, 0.04)
    x, y, z = grid((0.24, 0.24, 0.24), spacing)
    disc = (np.hypot(x, y) < 0.2) & (abs(z - z.min() - 0.02 - 0.04 * (sections / 2 + 1)) < 0.02 * sections)
    surface = mc.smooth(mc.extract(mc.Volume(disc.astype(np.uint8), spacing)))
    height = 0.04 * sections
    assert np.unique(np.nonzero(disc)[2]).size == sections
    assert sum(mc.areas(surface).values()) == pytest.approx(2 * np.pi * 0.2 * (0.2 + height), rel=0.025)
    assert np.ptp(surface.points[:, 2]) == pytest.approx(height, abs=0.008)


@pytest.mark.parametrize("axis", [0, 1])
def test_tubes_that_leave_the_box_go_straight_on(axis):
    x, y, z = grid((0.2, 0.2, 0.2), (0.008, 0.008, 0.04))
    tube = np.hypot((x, y)[1 - axis], z) < 0.1
    fine = mc.resample(mc.Volume(tube.astype(np.uint8), (0.008, 0.008, 0.04)), 0.008)
    slices = fine.data.sum(axis=(1 - axis, 2))
    assert (slices == slices[0]).all()


@pytest.mark.plain
@pytest.mark.parametrize("seed", range(12))
def test_topology_of_noise_stays_too(seed):
    """Labels that touch themselves across edges and corners everywhere."""
    n = (2, 3, 5)[seed % 3]
    volume = mc.Volume(np.random.default_rng(seed).integers(0, n, (9, 8, 7)), (1, 1, (4, 5)[seed % 2]))
    assert mc.topology(between_sections(volume)) == mc.topology(volume)


def test_noise_loses_no_label_and_no_voxel_of_a_section():
    rng = np.random.default_rng(1)
    volume = mc.Volume(rng.integers(0, 5, (9, 8, 7)) * 1000, (1, 1, 5))
    fine = mc.resample(volume, (1, 1, 1))
    np.testing.assert_array_equal(fine.data[:, :, 2::5], volume.data)
    np.testing.assert_array_equal(fine.data[:, :, :3], volume.data[:, :, :1].repeat(3, axis=2))
    # Between two sections there is nothing but their labels, the lower one below the upper.
    columns = fine.data.reshape(72, 35)[:, 2:-2].reshape(72, -1)
    for k in range(6):
        gap = columns[:, 5 * k : 5 * k + 6]
        low, high = gap[:, :1], gap[:, 5:]
        assert ((gap == low) | (gap == high)).all()
        assert (np.diff((gap == high) & (low != high), axis=1).astype(int) * (low != high)).min() >= 0


@pytest.mark.parametrize("radius", [0.5, 6, 12.2])
def test_a_body_in_one_section_keeps_its_volume(radius):
    x, y = np.meshgrid(np.arange(31) - 15, np.arange(31) - 15, indexing="ij")
    data = np.zeros((31, 31, 5), np.uint8)
    data[..., 2] = np.hypot(x, y) <= radius
    volume = mc.Volume(data, (1, 1, 9))
    fine = mc.resample(volume, 1.0)
    assert volumes(fine)[1] == pytest.approx(volumes(volume)[1], rel=0.005)
    assert mc.topology(fine) == mc.topology(volume)
    rounder = np.flatnonzero(fine.data.any(axis=(0, 1)))
    assert 9 <= len(rounder) <= 17


def test_an_empty_section_parts_what_lies_before_and_after():
    data = np.zeros((12, 12, 5), np.uint8)
    data[3:9, 3:9, [0, 1, 3, 4]] = 1
    fine = mc.resample(mc.Volume(data, (1, 1, 5)), 1.0)
    assert mc.topology(fine)["label 1"].components == 2
    assert not fine.data[:, :, 12].any() and fine.data[5, 5, 0] and fine.data[5, 5, -1]
    assert volumes(fine)[1] == pytest.approx(4 * 36 * 5, rel=0.005)


def test_what_reaches_the_box_still_does():
    volume = cells()
    fine = between_sections(volume)
    assert box_faces(fine) == box_faces(volume)
    assert set(mc.extract(volume).patches) == set(mc.extract(volume, sections="keep").patches)


def test_axes_may_be_exchanged():
    volume = cells(5)
    fine = mc.resample(volume, 0.01).data
    # Of two outlines as near as each other the first is taken: another order of rows in a section may take the other.
    for axes, tied in [((0, 2, 1), 0), ((2, 0, 1), 0), ((1, 2, 0), 3e-3), ((1, 0, 2), 3e-3), ((2, 1, 0), 3e-3)]:
        turned = mc.Volume(volume.data.transpose(axes), tuple(volume.spacing[k] for k in axes))
        again = mc.resample(turned, 0.01)
        assert (again.data != fine.transpose(axes)).mean() <= tied
    mirrored = mc.resample(mc.Volume(volume.data[:, :, ::-1], volume.spacing), 0.01).data[:, :, ::-1]
    assert (mirrored != fine).mean() < 1e-3


def test_work_grows_with_voxels_not_with_labels():
    def seconds(volume):
        taken = []
        for _ in range(3):
            start = time.process_time()
            between_sections(volume)
            taken.append(time.process_time() - start)
        return min(taken)

    few = cells(0, (120, 120, 12), 8)
    # The same cells cut into 64 blocks, with labels of their own in each.
    blocks = np.add.outer(np.arange(120) // 15, 8 * (np.arange(120) // 15))
    many = mc.Volume((few.data + 8 * blocks[..., None]).astype(np.int32), few.spacing)
    assert len(many.counts) > 10 * len(few.counts)
    assert seconds(many) < 3 * seconds(few)


def test_labels_may_be_renamed():
    """As outside is a label like any other."""
    volume = cells(2)
    order = np.random.default_rng(0).permutation(12)
    renamed = mc.resample(mc.Volume(order[volume.data], volume.spacing), 0.01)
    assert (renamed.data != order[mc.resample(volume, 0.01).data]).mean() < 1e-3


def test_even_voxels_stay_byte_for_byte():
    volume = mc.Volume(cells().data, (0.01, 0.012, 0.02))
    assert between_sections(volume) is volume and mc.resample(volume, volume.spacing) is volume
    one, other = mc.extract(volume), mc.extract(volume, sections="keep")
    assert one.points.tobytes() == other.points.tobytes() and one.triangles.tobytes() == other.triangles.tobytes()


@pytest.mark.parametrize(("ratio", "layers"), [(2.4, 1), (2.5, 3), (4, 5), (5, 5), (10, 9), (30, 29)])
def test_layers_are_about_as_thick_as_voxels_are_wide(ratio, layers):
    assert layers_each((1, 1, ratio)) == layers_each((ratio, 1, 1)) == layers


@pytest.mark.parametrize("layers", [2, 2.5, 4, 6.3, 10])
def test_any_number_of_layers_keeps_volumes(layers):
    volume, _ = capsule(0.1, 0, (0, 0, 1), thick(10))
    fine = mc.resample(volume, (PIXEL, PIXEL, 10 * PIXEL / layers))
    assert fine.extent == pytest.approx(volume.extent) and fine.names == volume.names
    assert fine.origin[2] - fine.spacing[2] / 2 == pytest.approx(volume.origin[2] - volume.spacing[2] / 2)
    assert volumes(fine)[1] == pytest.approx(volumes(volume)[1], rel=0.005)


@pytest.mark.parametrize("spacing", [0.008, (0.004, 0.004, 0.08), (0.002, 0.004, 0.004), (0.004, 0.004, 0.03)])
def test_other_spacings_are_refused(spacing):
    volume = mc.Volume(np.ones((4, 4, 4), int), (0.004, 0.004, 0.04))
    with pytest.raises(ValueError, match=r"finer along one axis.*for instance spacing=\(0.004, 0.004, 0.004\)"):
        mc.resample(volume, spacing)
    with pytest.raises(TypeError, match="resample needs integer labels"):
        mc.resample(mc.Volume(np.random.default_rng(0).random((4, 4, 4)), (1, 1, 5)), 1.0)


def test_check_tells_which_way_was_taken():
    volume, _ = capsule(0.1, 0, (0, 0, 1), thick(10))
    assert any("extract interpolates 9 layers" in p.message for p in mc.check(volume).problems)
    for sections, told in [("interpolate", "interpolated between sections"), ("keep", "sections as they are")]:
        surface = mc.smooth(mc.extract(volume, sections=sections))
        report = mc.check(surface, against=volume)
        assert report.ok and any(told in p.message for p in report.problems)
        assert report.fidelity.sections == {"interpolate": "interpolated", "keep": "kept"}[sections]
        assert any("made of voxels 10 times longer along z" in p.message for p in report.problems) == (
            sections == "keep"
        )


@pytest.mark.slow
def test_the_real_spine_keeps_its_membrane(real_spine):
    whole = mc.load(real_spine.with_name("real_PM.ply"))
    truth, spacing = float(whole.areas.sum()), (0.008, 0.008, 0.03)
    labels = mc.voxelize(mc.combine({"cell": whole}), spacing)
    surface = mc.smooth(mc.extract(labels))
    assert sum(mc.areas(surface).values()) == pytest.approx(truth, rel=0.02)
    assert mc.enclosed_volumes(surface)["cell"] == pytest.approx(volumes(labels)[1], rel=0.005)


@pytest.mark.slow
def test_meshes_have_the_volumes_of_sections():
    volume, area = capsule(0.1, 0, (0, 0, 1), thick(10))
    mesh = mc.tetrahedralize(volume, edge=0.03)
    assert sum(mc.areas(mesh).values()) == pytest.approx(area, rel=0.02)
    assert sum(mc.enclosed_volumes(mesh).values()) == pytest.approx(volumes(volume)[1], rel=0.005)
    assert mc.check(mesh, against=volume).ok
