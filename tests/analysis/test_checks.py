"""The doctor finds what was made ill on purpose, says where, and leaves the healthy alone."""

import re
import time

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import nested_balls, sphere, torus
from gallery.meshes import ball, box
from meshcell.analysis.checks import Report, check
from meshcell.analysis.problems import Problem
from meshcell.core.arrays import percent
from meshcell.geometry.openings import region_edges
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species


def balls(shape=(24, 24, 24), middle=12, radius=9, core=5):
    far = np.linalg.norm(np.indices(shape) - middle, axis=0)
    return (far < radius).astype(np.uint8) + (far < core)


def volume(data, spacing=0.01, names=None):
    return mc.Volume(data, spacing, names=names or {1: "cytosol", 2: "er"})


def found(thing, severity=None):
    return [problem.message for problem in check(thing).problems if severity in (None, problem.severity)]


def the(thing, severity, text):
    """Return the one problem whose message holds the text, of the expected severity."""
    matching = [problem for problem in check(thing).problems if text in problem.message]
    assert len(matching) == 1, check(thing)
    assert matching[0].severity == severity
    return matching[0]


# --- reports ---


def test_a_report_reads_like_advice():
    report = Report("Thing", (Problem("error", "broken"), Problem("note", "so it is")))
    assert not report.ok
    assert str(report).splitlines() == [
        "Thing",
        "  error:   broken",
        "  note:    so it is",
        "  => mend the errors first (1 error, 1 note)",
    ]
    assert Report("Thing", (Problem("warning", "hm"),)).ok
    assert "ready (nothing found)" in str(Report("Thing", ()))


def test_long_lines_are_wrapped_and_errors_come_first():
    report = check(volume(np.zeros((3, 3, 3), int), 2.0))
    assert [problem.severity for problem in report.problems] == ["error", "warning"]
    assert max(map(len, str(report).splitlines())) <= 110


# --- volumes ---


def test_a_healthy_volume_has_only_its_estimate():
    report = check(volume(balls()))
    assert report.ok
    # A digital ball of radius 9 has lone voxels at its poles; they are told, but no cause for alarm.
    assert {problem.severity for problem in report.problems} == {"note"}
    assert any("to be expected" in problem.message for problem in report.problems)


def test_nothing_to_mesh():
    the(volume(np.zeros((4, 4, 4), int)), "error", "all voxels are outside (label 0)")
    the(volume(np.ones((4, 4, 4), int)), "warning", "every voxel is 'cytosol'")
    the(mc.Volume(np.ones((4, 4, 4)), 1.0), "error", "all intensities are 1")
    assert found(mc.Volume(np.random.default_rng(0).random((4, 4, 4)), 1.0))[0].startswith("these are intensities")


@pytest.mark.parametrize(
    ("spacing", "text"),
    [
        (8.0, "8 um is coarser than 1 um"),
        (5e-5, "0.05 nm is finer than 0.1 nm"),
        ((0.01, 0.01, 0.08), "8 times longer"),
    ],
)
def test_suspicious_spacing(spacing, text):
    the(volume(balls(), spacing), "warning", text)


def test_names_of_absent_labels_are_answered():
    """A mask of 0 and 255 with names={1: ...}: no name fits."""
    data = np.zeros((8, 8, 8), np.uint8)
    data[2:6, 2:6, 2:6] = 255
    found = mc.check(mc.Volume(data, 0.01, names={1: "cell"})).problems
    said = [p for p in found if "labels that are not there: 1 cell; there are 255" in p.message]
    assert [p.severity for p in said] == ["warning"]
    found = mc.check(mc.Volume(data, 0.01, names={255: "cell", 2: "er"})).problems
    assert [p.severity for p in found if "not there: 2 er" in p.message] == ["note"]


@pytest.mark.parametrize(("spacing", "axis"), [((0.04, 0.01, 0.01), "x"), ((0.01, 0.04, 0.01), "y")])
def test_a_coarse_axis_that_is_not_z_gets_a_note(spacing, axis):
    data = np.zeros((8, 8, 8), np.uint8)
    data[2:6, 2:6, 2:6] = 1
    messages = [p.message for p in mc.check(mc.Volume(data, spacing)).problems]
    assert any(f"longest along {axis}" in text and "from_zyx" in text for text in messages)
    assert not any(
        "longest along" in p.message for p in mc.check(mc.Volume(data, spacing[::-1])).problems if axis == "x"
    )


def test_structures_at_the_box():
    cut = volume(balls()[6:])
    problem = the(cut, "warning", "'cytosol' reaches the box at x-: it will be capped")
    assert "'box x-'" in problem.message


def test_thin_parts_are_counted_and_placed():
    data = balls()
    data[data == 2] = 1
    data[8:16, 8:16, 12] = 2
    problem = the(volume(data), "warning", "'er': 64 voxels (100 %) are in parts thinner than two voxels")
    assert problem.where.shape == (64, 3)
    assert (data[tuple(problem.where.T)] == 2).all()
    # The middle of the sheet, at 0.01 um per voxel.
    assert "around (0.11, 0.11, 0.12) um" in problem.message or "around (0.12, 0.12, 0.12) um" in problem.message


@pytest.mark.parametrize(("layers", "severity"), [(19, "note"), (18, "warning")])
def test_more_than_a_twentieth_in_thin_parts_is_a_warning(layers, severity):
    """A fin of 80 voxels is a twentieth of the body with 19 layers of 80 below it, and more with 18."""
    data = np.zeros((30, 14, 12), int)
    data[1 : 1 + layers, 2:12, 2:10] = 1
    data[1 + layers : 11 + layers, 6, 2:10] = 1
    the(volume(data), severity, f"'cytosol': 80 voxels ({percent(1 / (layers + 1))}) are in parts thinner")


@pytest.mark.parametrize(("side", "severity"), [((3, 3, 3), "note"), ((13, 2, 1), "warning")])
def test_a_piece_of_27_voxels_is_no_island_and_one_of_26_is(side, severity):
    data = balls((40, 24, 24))
    data[24 : 24 + side[0], 10 : 10 + side[1], 10 : 10 + side[2]] = 1
    the(volume(data), severity, "'cytosol' is in 2 pieces")


def test_pieces_islands_and_cavities():
    data = balls()
    data[2, 2, 2] = 1
    islands = the(volume(data), "warning", "'cytosol' is in 2 pieces")
    assert "1 are islands of fewer than 27 voxels" in islands.message
    assert islands.where.tolist() == [[2, 2, 2]]
    data = balls()
    data[12, 12, 5:7] = 0
    cavity = the(volume(data), "warning", "1 cavities of outside lie within the body, 2 voxels")
    assert cavity.where.tolist() == [[12, 12, 5]]


def test_diagonal_contacts_are_told():
    data = np.zeros((6, 6, 6), int)
    data[1:3, 1:3, 1:5] = 1
    data[3:5, 3:5, 1:5] = 1
    the(volume(data), "note", "touch only diagonally, along 4 edges ('cytosol' 4)")


def test_many_labels_do_not_flood_the_report():
    data = np.arange(1, 8**3 + 1).reshape(8, 8, 8)
    report = check(mc.Volume(data, 0.01))
    assert len(report.problems) < 30
    assert any("more regions reach the box" in problem.message for problem in report.problems)


def test_the_estimate_scales_with_the_volume():
    def tets(factor):
        data = balls().repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
        text = next(message for message in found(volume(data)) if "to be expected" in message)
        return float(text.split("at most ")[1].split(" tetrahedra")[0].replace(",", ""))

    # Two significant digits are shown.
    assert tets(2) / tets(1) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("labels", [sphere(10.2)[0], torus(radius=5.0)[0], nested_balls()], ids=["ball", "ring", "two"])
def test_the_estimate_is_right_within_a_factor_of_two(labels):
    text = next(message for message in found(labels) if "to be expected" in message)
    triangles, tets = (
        float(re.search(rf"{word} ([\d,]+) {what}", text)[1].replace(",", ""))
        for word, what in (("about", "triangles"), ("at most", "tetrahedra"))
    )
    # At the edge that it speaks of, without grading.
    mesh = mc.tetrahedralize(labels, edge=2 * float(labels.spacing[0]), grading=0)
    assert len(mesh.facets) / 2 < triangles < 2 * len(mesh.facets)
    assert len(mesh.tets) / 2 < tets < 2 * len(mesh.tets)


@pytest.mark.slow
def test_256_cubed_is_checked_in_seconds():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 5, (32, 32, 32), dtype=np.uint8).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    check(volume(data[:16, :16, :16]))  # compiles
    start = time.perf_counter()
    check(mc.Volume(data, 0.01))
    # It takes about 1.5 s; the slack is for a busy machine.
    assert time.perf_counter() - start < 10


# --- surfaces ---


@pytest.fixture
def surface():
    return ball(3, core=1 / 3).surface


def changed(surface, **fields):
    parts = {name: getattr(surface, name) for name in ("points", "triangles", "sides", "names", "patches")}
    return mc.Surface(**{**parts, **fields})


def test_a_healthy_surface(surface):
    assert check(surface).ok
    assert not found(surface, "error")
    counts, sums, _, _ = region_edges(surface)
    # Around every region each edge has two triangles that run along it in opposite senses.
    assert (counts == 2).all()
    assert (sums == 0).all()


def test_open_surfaces(surface):
    hole = changed(surface, triangles=surface.triangles[1:], sides=surface.sides[1:])
    problem = the(hole, "error", "3 open edges")
    missing = set(surface.triangles[0].tolist())
    assert all(len(missing & set(hole.triangles[row].tolist())) == 2 for row in problem.where)


def moebius(n=40):
    """A strip of n squares with half a turn."""
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    rims = [1 + across * np.cos(turn / 2) for across in (-0.2, 0.2)]
    heights = [across * np.sin(turn / 2) for across in (-0.2, 0.2)]
    points = [np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1) for r, z in zip(rims, heights, strict=True)]
    ahead = np.append(np.arange(1, n), [n]), np.append(np.arange(n + 1, 2 * n), [0])
    a, b = np.arange(n), np.arange(n, 2 * n)
    triangles = np.concatenate([np.stack([a, ahead[0], b], 1), np.stack([b, ahead[0], ahead[1]], 1)])
    return mc.Surface(np.concatenate(points), triangles, np.tile([1, 0], (2 * n, 1)))


def test_what_repair_declines_is_not_sent_there(surface):
    rim = float(np.median(surface.points[:, 2]))
    upper = surface.points[surface.triangles].mean(axis=1)[:, 2] > rim
    half = changed(surface, triangles=surface.triangles[upper], sides=surface.sides[upper])
    with pytest.warns(UserWarning, match="stay open"):
        mended = mc.repair(half)
    for thing in (half, mended):
        message = the(thing, "error", " open edges").message
        assert "repair(surface) leaves" in message
        assert "closes small holes" not in message
    hole = changed(surface, triangles=surface.triangles[1:], sides=surface.sides[1:])
    assert "repair(surface) closes small holes" in the(hole, "error", "3 open edges").message
    edges = int(re.search(r"max_hole=(\d+)", the(half, "error", " open edges").message)[1])
    with pytest.warns(UserWarning, match="holes closed"):
        assert "max_hole" not in str(check(mc.repair(half, max_hole=edges)))


def test_a_strip_of_one_side_cannot_be_turned():
    with pytest.warns(UserWarning, match="triangles turned"):
        things = moebius(), mc.repair(moebius())
    for thing in things:
        said = the(thing, "error", "turned against each other").message
        assert "one side only" in said
        assert "they make no loop that could be closed" in the(thing, "error", "80 open edges").message
        assert "repair(" not in str(check(thing))


def test_wrong_labels_and_missing_walls_are_no_open_edges(surface):
    sides = np.array(surface.sides)
    sides[:1][sides[:1] > 0] = 7
    thing = changed(surface, sides=sides)
    assert "name a wrong region" in the(thing, "error", "3 edges at which regions meet without a wall").message
    assert "open edges" not in str(check(thing))
    labels = np.zeros((8, 5, 5), np.uint8)
    labels[1:4, 1:4, 1:4], labels[4:7, 1:4, 1:4] = 1, 2
    touching = mc.extract(mc.Volume(labels, 0.01))
    outer = touching.sides.min(axis=1) == 0
    missing = changed(touching, triangles=touching.triangles[outer], sides=touching.sides[outer])
    assert "a wall is missing" in the(missing, "error", "12 edges at which regions meet without a wall").message


def test_turned_triangles(surface):
    triangles = surface.triangles.copy()
    triangles[0] = triangles[0, ::-1]
    the(changed(surface, triangles=triangles), "error", "3 edges whose two triangles are turned against each other")


def test_inverted_regions(surface):
    inside_out = changed(surface, triangles=surface.triangles[:, ::-1])
    the(inside_out, "error", "regions with a negative volume")


def test_bad_triangles(surface):
    triangles = np.vstack([surface.triangles, surface.triangles[:1], surface.triangles[:1, [0, 0, 1]]])
    sides = np.vstack([surface.sides, surface.sides[:1], surface.sides[:1]])
    bad = changed(surface, triangles=triangles, sides=sides)
    assert the(bad, "error", "there more than once").where.tolist() == [0]
    assert the(bad, "error", "1 triangles have no area").where.tolist() == [len(triangles) - 1]


def test_bodies_that_touch_along_an_edge_are_no_manifold():
    cubes = np.zeros((4, 4, 3), int)
    cubes[1, 1, 1] = cubes[2, 2, 1] = 1
    from meshcell.surfaces.extraction import extract

    the(extract(mc.Volume(cubes, 1.0)), "note", "1 non-manifold edges")


def test_crossing_surfaces():
    one = ball(2).surface
    both = mc.Surface(
        np.vstack([one.points, one.points + np.array([0.5, 0.1, 0.2])]),
        np.vstack([one.triangles, one.triangles + len(one.points)]),
        np.vstack([one.sides, one.sides]),
    )
    the(both, "error", "pairs of triangles cut through each other")


def test_narrow_triangles_warn():
    flat = ball(3)
    squeezed = mc.Surface(flat.points * [30, 1, 1], flat.facets, flat.sides)
    the(squeezed, "warning", "have an angle below 5 degrees")


def test_empty_things():
    nothing = np.zeros((0, 3))
    rows = np.zeros((0, 3), int)
    the(mc.Surface(nothing, rows, rows[:, :2]), "error", "no triangles")
    the(mc.TetMesh(nothing, np.zeros((0, 4), int), [], rows, rows[:, :2]), "error", "no tetrahedra")


# --- meshes ---


def rebuilt(mesh, **fields):
    names = ("points", "tets", "regions", "facets", "sides", "names", "patches")
    return mc.TetMesh(**{**{name: getattr(mesh, name) for name in names}, **fields})


def test_a_healthy_mesh():
    report = check(box(3, region=lambda centroids: 1 + (centroids[:, 0] > 1 / 3)))
    assert report.problems == ()


def test_faces_that_are_no_facets():
    mesh = ball(2, core=0.5)
    the(
        rebuilt(mesh, facets=mesh.facets[2:], sides=mesh.sides[2:]),
        "error",
        "2 faces between two regions are not among",
    )


def test_facets_that_are_no_faces():
    mesh = box(2)
    corners = np.array([[0, 13, 26]])
    more = rebuilt(mesh, facets=np.vstack([mesh.facets, corners]), sides=np.vstack([mesh.sides, [[1, 0]]]))
    assert the(more, "error", "1 facets are no faces of tetrahedra").where.tolist() == [len(mesh.facets)]


def test_facets_with_wrong_sides():
    mesh = ball(2, core=0.5)
    sides = mesh.sides.copy()
    sides[3] = sides[3, ::-1]
    problem = the(rebuilt(mesh, sides=sides), "error", "facets do not lie between the regions")
    assert problem.where.tolist() == [3]


def test_facets_given_twice():
    mesh = box(1)
    twice = rebuilt(
        mesh, facets=np.vstack([mesh.facets, mesh.facets[:1]]), sides=np.vstack([mesh.sides, mesh.sides[:1]])
    )
    the(twice, "error", "1 facets are there more than once")


def test_faces_with_three_tetrahedra():
    mesh = box(1)
    other = mesh.tets[:1].copy()
    top = rebuilt(
        mesh,
        points=np.vstack([mesh.points, [[3.0, 0.1, 0.2], [0.1, 3.0, 0.2], [-3.0, 0.1, -0.2], [0.3, -3.0, 0.1]]]),
        tets=np.vstack([mesh.tets, other]),
        regions=np.append(mesh.regions, 1),
    )
    assert "does not conform" in found(top, "error")[0]


def test_pieces_slivers_and_lost_points():
    parted = box((6, 1, 1), region=lambda centroids: 1 + (np.abs(centroids[:, 0] - 0.5) < 1 / 6))
    the(parted, "note", "'box' is in 2 pieces of 12, 12 tetrahedra")
    the(rebuilt(parted, points=np.vstack([parted.points, [[9, 9, 9]]])), "note", "1 points belong to no tetrahedron")
    the(ball(4), "warning", "dihedral angle below 5 degrees")


# --- models and solutions ---


def test_models():
    model = Model(
        {"cyt": "cytosol", "PM": ("cytosol", "outside"), "er": "er"},
        [Species("A", "cyt", "1 um^2/s"), Species("B", "cyt"), Species("C", "cyt", initial=1.0)],
        [Reaction("decay", "cyt", "k*A*C", {"A": -1})],
        {"k": 2.0, "q": "3 1/s"},
    )
    the(model, "warning", "species 'B' takes part in no reaction")
    the(model, "note", "species 'C' is read by rates but changed by none")
    the(model, "warning", "parameters that no rate uses: q")
    the(model, "note", "compartments without species and reactions: PM, er")
    the(model, "note", "parameters without a unit (k)")
    assert check(model).ok
    healthy = Model({"cyt": "cytosol"}, [Species("A", "cyt")], [Reaction("r", "cyt", "k*A", {"A": -1})], {"k": "1 1/s"})
    assert check(healthy).problems == ()


def test_solutions():
    mesh = box(1)
    model = Model({"cyt": "box"}, [Species("A", "cyt")], [])
    nodes = {"A": np.arange(8)}
    values = np.ones((2, 8))
    assert check(mc.Solution(mesh, model, [0, 1], {"A": values}, nodes, {"mass_drift": 1e-14})).problems == ()
    values[1, 3] = -0.5
    below = mc.Solution(mesh, model, [0, 1], {"A": values}, nodes, {"mass_drift": 1e-3}, "step too small")
    assert the(below, "warning", "'A' is negative at 1 nodes and times").where.tolist() == [3]
    the(below, "warning", "drifted by 0.001")
    the(below, "error", "not finished: step too small")
    values[0, 0] = np.nan
    the(mc.Solution(mesh, model, [0, 1], {"A": values}, nodes), "error", "not finite, from t = 0 s on")


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="got list"):
        check([1, 2])


@pytest.mark.slow
def test_the_real_spine(real_spine):
    with np.load(real_spine) as file:
        labels = mc.Volume(file["labels"], tuple(map(float, file["spacing_um"])), names={1: "cytosol", 2: "er"})
    assert check(labels).ok
    # Its README says so: at 10 nm the apparatus breaks into several pieces.
    the(labels, "warning", "'er' is in 22 pieces")


# --- open or not, and through and through ---


def test_a_wall_inside_a_body_is_open_for_check_as_for_topology():
    """A square of voxel faces across a block: its rim has three triangles an edge."""
    two = np.zeros((5, 4, 4), np.uint8)
    two[1, 1:3, 1:3], two[2:4, 1:3, 1:3] = 1, 2
    both = mc.extract(volume(two))
    walled = mc.Surface(both.points, both.triangles, np.tile([1, 0], (len(both.triangles), 1)), {1: "body"})
    the(walled, "error", "edges at which three or more triangles leave a region open")
    with pytest.raises(mc.MeshError, match="8 edges are open"):
        mc.topology(walled)


@pytest.mark.parametrize(("n", "severity"), [(1, "note"), (6, "warning")])
def test_handles_are_told_of_labels_and_surfaces(n, severity):
    plate = np.zeros((4 * n + 3, 7, 5), np.uint8)
    plate[1:-1, 1:-1, 1:-1] = 1
    plate[[4 * k + 3 for k in range(n)], 3, :] = 0
    labels = volume(plate, names={1: "membrane"})
    for thing in (labels, mc.extract(labels)):
        the(thing, severity, f"'membrane' has {n} handle")


def test_points_in_one_place_are_told_and_not_taken_for_crossings():
    soup = mc.extract(volume(balls()))
    corners = soup.points[soup.triangles].reshape(-1, 3)
    loose = mc.Surface(corners, np.arange(len(corners)).reshape(-1, 3), soup.sides, soup.names)
    the(loose, "error", "points lie in the same place as others")
    assert not any("cut through" in message for message in found(loose))


def test_a_stray_point_is_told():
    surface = mc.extract(volume(balls()))
    points = np.array(surface.points) + 300
    points[5] = 0
    the(
        mc.Surface(points, surface.triangles, surface.sides, surface.names),
        "warning",
        "such as point 5 at (0, 0, 0) um",
    )
    assert not any("far from" in message for message in found(surface))
