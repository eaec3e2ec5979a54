"""Angles and radius ratios have closed forms on regular shapes, do not depend on the frame, and survive slivers."""

import re

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball, box, tet_mesh
from meshcell.core.adjacency import TET_EDGES
from meshcell.geometry.quality import angles, edge_lengths, part_rows, quality, radius_ratios

pytestmark = pytest.mark.plain

# Angles by atan2 of products of coordinates of size 1: a few hundred roundings at worst, in degrees.
ROUNDING = 1e-10
REGULAR = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
CORNER = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)


def one_tet(points):
    tets = np.array([[0, 1, 2, 3]], np.int32)
    if np.linalg.det(np.diff(points, axis=0)) < 0:
        tets = tets[:, [0, 2, 1, 3]]
    return tet_mesh(points, tets, np.array([1], np.int32))


def one_triangle(points):
    return mc.Surface(np.asarray(points, float), [[0, 1, 2]], [[1, 0]])


def random_triangles(rng, n=300):
    points = rng.normal(size=(3 * n, 3))
    return mc.Surface(points, np.arange(3 * n).reshape(n, 3), np.tile([1, 0], (n, 1)))


def random_tets(rng, n=300):
    points = rng.normal(size=(n, 4, 3))
    flipped = np.linalg.det(points[:, 1:] - points[:, :1]) < 0
    points[flipped] = points[flipped][:, [1, 0, 2, 3]]
    tets = np.arange(4 * n).reshape(n, 4)
    return mc.TetMesh(points.reshape(-1, 3), tets, np.ones(n, int), np.empty((0, 3), int), np.empty((0, 2), int))


def angle_between(u, v):
    return np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))


def dihedral(points, p, q):
    """Project the other two corners on the plane across the edge and measure the angle there."""
    r, s = (k for k in range(4) if k not in (p, q))
    edge = (points[q] - points[p]) / np.linalg.norm(points[q] - points[p])
    across = [points[k] - points[p] - edge * ((points[k] - points[p]) @ edge) for k in (r, s)]
    return angle_between(*across)


def circumradius(points):
    """Solve for the point that is equally far from all corners; for a triangle within its plane (least squares)."""
    steps = points[1:] - points[0]
    centre = np.linalg.lstsq(2 * steps, (steps**2).sum(axis=1), rcond=None)[0]
    return np.linalg.norm(centre)


def inradius_tet(points):
    a, b, c, d = points
    faces = [np.linalg.norm(np.cross(q - p, r - p)) / 2 for p, q, r in ((b, c, d), (a, c, d), (a, b, d), (a, b, c))]
    return 3 * abs(np.linalg.det(points[1:] - a)) / 6 / sum(faces)


def inradius_triangle(points):
    a, b, c = points
    lengths = [np.linalg.norm(p - q) for p, q in ((a, b), (b, c), (c, a))]
    return np.linalg.norm(np.cross(b - a, c - a)) / sum(lengths)


def test_regular_tetrahedron():
    mesh = one_tet(REGULAR)
    np.testing.assert_allclose(angles(mesh), np.degrees(np.arccos(1 / 3)), atol=ROUNDING)
    np.testing.assert_allclose(radius_ratios(mesh), 1, atol=1e-14)


def test_corner_tetrahedron():
    """Three right angles at the axes, and acos(1 / sqrt(3)) at the slanted edges."""
    slanted = np.degrees(np.arccos(1 / np.sqrt(3)))
    expected = [90 if 0 in pair else slanted for pair in TET_EDGES]
    np.testing.assert_allclose(angles(one_tet(CORNER)), [expected], atol=ROUNDING)


def test_equilateral_triangle():
    surface = one_triangle([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(3) / 2, 0]])
    np.testing.assert_allclose(angles(surface), 60, atol=ROUNDING)
    np.testing.assert_allclose(radius_ratios(surface), 1, atol=1e-14)
    np.testing.assert_allclose(edge_lengths(surface), 1, atol=1e-15)


def test_the_order_of_the_angles():
    """Angle k of a triangle sits at corner k: 3-4-5 with the right angle at corner 1."""
    surface = one_triangle([[3, 0, 0], [0, 0, 0], [0, 4, 0]])
    small = np.degrees(np.arctan2(3, 4))
    np.testing.assert_allclose(angles(surface), [[90 - small, 90, small]], atol=ROUNDING)


def test_angles_of_a_triangle_sum_to_180():
    np.testing.assert_allclose(angles(random_triangles(np.random.default_rng(1))).sum(axis=1), 180, atol=ROUNDING)


@pytest.mark.parametrize("make", [random_triangles, random_tets])
def test_kernels_agree_with_the_slow_way(make):
    mesh = make(np.random.default_rng(2))
    cells = mesh.points[mesh.tets if isinstance(mesh, mc.TetMesh) else mesh.triangles]
    if isinstance(mesh, mc.TetMesh):
        expected = [[dihedral(cell, p, q) for p, q in TET_EDGES] for cell in cells]
        ratios = [3 * inradius_tet(cell) / circumradius(cell) for cell in cells]
    else:
        expected = [[angle_between(*(np.roll(cell, -k, axis=0)[1:] - cell[k])) for k in range(3)] for cell in cells]
        ratios = [2 * inradius_triangle(cell) / circumradius(cell) for cell in cells]
    # The reference takes arccos, which loses half its digits next to 0 and 180 degrees.
    np.testing.assert_allclose(angles(mesh), expected, atol=1e-5)
    # Its circumcentre comes from a linear system whose condition grows with the flatness of the element.
    np.testing.assert_allclose(radius_ratios(mesh), ratios, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make", [random_triangles, random_tets])
def test_angles_do_not_depend_on_the_frame(make):
    rng = np.random.default_rng(3)
    mesh = make(rng)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    points = 1e-3 * mesh.points @ turn.T + rng.normal(size=3)
    if isinstance(mesh, mc.TetMesh):
        moved = mc.TetMesh(points, mesh.tets, mesh.regions, mesh.facets, mesh.sides)
    else:
        moved = mc.Surface(points, mesh.triangles, mesh.sides)
    # The shift by 1 leaves 13 digits of an element of size 1e-3, and slivers amplify by their flatness.
    np.testing.assert_allclose(angles(moved), angles(mesh), atol=1e-6)
    np.testing.assert_allclose(radius_ratios(moved), radius_ratios(mesh), atol=1e-9)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [0, 180, 0]),  # on one line
        ([[0, 0, 0], [1, 0, 0], [1, 0, 0]], [0, 0, 0]),  # two corners in one place
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [0, 0, 0]),
    ],
)
def test_degenerate_triangles_have_angles(points, expected):
    surface = one_triangle(points)
    np.testing.assert_array_equal(angles(surface), [expected])
    np.testing.assert_array_equal(radius_ratios(surface), [0])


def test_a_nearly_flat_tetrahedron_has_angles():
    """A sliver: four points near a square; two dihedral angles go to 180, four to 0, as fast as its height."""
    height = 1e-12
    mesh = one_tet(np.array([[0, 0, 0], [1, 1, 0], [1, 0, height], [0, 1, height]], float))
    found = np.sort(angles(mesh)[0])
    # Height over the half diagonal's leg: tan of each small angle is between 1 and 3 heights.
    assert (found[:4] > np.degrees(height)).all()
    assert (found[:4] < 3 * np.degrees(height)).all()
    np.testing.assert_allclose(found[4:], 180, atol=1e-9)
    assert 0 < radius_ratios(mesh)[0] < 1e-11


def test_edge_lengths_list_every_edge_once():
    mesh = box(1)
    # A cube of six Kuhn tetrahedra: 12 edges, 6 face diagonals, one space diagonal.
    lengths, counts = np.unique(edge_lengths(mesh).round(12), return_counts=True)
    np.testing.assert_allclose(lengths, np.sqrt([1, 2, 3]), atol=1e-12)
    assert counts.tolist() == [12, 6, 1]


def test_parts_make_the_whole():
    mesh = ball(4, core=0.5)
    for thing, per_element in ((mesh, 6), (mesh.surface, 3)):
        found = quality(thing)
        assert sum(part.n for part in found.parts.values()) == found.all.n == len(angles(thing))
        assert sum(part.counts for part in found.parts.values()).tolist() == found.counts.tolist()
        assert found.counts.sum() == per_element * found.all.n
        assert found.min == angles(thing).min()
        assert found.max == angles(thing).max()
    assert set(quality(mesh).parts) == {"shell", "core"}
    assert set(quality(mesh.surface).parts) == {"shell | outside", "core | shell"}


def test_figures_are_those_of_the_angles():
    mesh = ball(3)
    found, elements = quality(mesh, bins=18).all, angles(mesh)
    assert found.counts.tolist() == np.histogram(elements, 18, (0, 180))[0].tolist()
    assert found.percentiles[50] == np.median(elements)
    assert found.least_percentiles[5] == np.percentile(elements.min(axis=1), 5)
    assert found.below[10] == np.mean((elements < 10).any(axis=1))
    assert found.above[160] == np.mean((elements > 160).any(axis=1))
    assert found.radius_ratio[0] == radius_ratios(mesh).min()
    assert found.edge_lengths[0] == edge_lengths(mesh).min()


def test_the_text_shows_parts_and_figures():
    mesh = ball(3, core=1 / 3)
    found = quality(mesh)
    text = str(found)
    for part in ("Dihedral angles", "shell: ", "core: ", "all: ", "percentiles", "% below 10", "█", "180"):
        assert part in text
    assert f"{found.min:.2f} ... {found.max:.2f}" in text
    # Every bin that holds an angle shows at least one eighth of a block in the lowest row.
    lowest = [line for line in text.splitlines() if line.startswith("  │")][4::5]
    counts = [found.parts["shell"].counts, found.parts["core"].counts, found.counts]
    for line, count in zip(lowest, counts, strict=True):
        assert [sign != " " for sign in line[3:]] == (count > 0).tolist()


def test_many_parts_are_a_table_of_the_worst():
    labels = np.arange(1, 61).reshape(5, 4, 3).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    surface = mc.extract(mc.Volume(labels, 1.0))
    points = surface.points + np.random.default_rng(0).uniform(-0.2, 0.2, surface.points.shape)
    found = quality(mc.Surface(points, surface.triangles, surface.sides))
    text = str(found)
    assert len(text.splitlines()) < 40
    assert f"The 12 of {len(found.parts)} interfaces with the least angles" in text
    least = sorted(part.min for part in found.parts.values())[:12]
    shown = [float(angle) for angle in re.findall(r"\| .*? +[\d,]+ +(\d+\.\d\d) ", text)]
    assert shown == pytest.approx(least, abs=0.005)
    assert len(set(shown)) > 10


@pytest.mark.parametrize("bins", [1, 7, 36, 90, 400])
def test_any_number_of_bins_can_be_drawn(bins):
    found = quality(ball(2).surface, bins=bins)
    assert len(found.edges) == bins + 1
    assert all(len(line) < 110 for line in str(found).splitlines() if line.startswith("  │"))


def test_an_empty_surface_has_no_angles():
    found = quality(mc.Surface(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2), int)))
    assert found.all.n == 0
    assert found.counts.sum() == 0
    assert np.isnan(found.min)
    assert "no triangles" in str(found)


def test_part_rows_divide_the_elements():
    mesh = ball(2, core=0.5)
    for thing, n in ((mesh, len(mesh.tets)), (mesh.surface, len(mesh.facets))):
        assert np.array_equal(np.sort(np.concatenate(list(part_rows(thing).values()))), np.arange(n))


@pytest.mark.parametrize("bins", [0, -3, 2.5])
def test_bins_must_be_whole(bins):
    with pytest.raises(ValueError, match=r"bins should be a whole number >= 1; got"):
        quality(ball(1), bins=bins)


@pytest.mark.parametrize("function", [angles, radius_ratios, edge_lengths, quality])
def test_only_meshes_have_angles(function):
    with pytest.raises(TypeError, match=r"Surface or a TetMesh; got Volume"):
        function(mc.Volume(np.ones((2, 2, 2), int), 1.0))
