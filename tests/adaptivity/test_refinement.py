"""Laws of bisection: conforming, same regions and areas, few shapes, local; and fields that come along unchanged."""

import itertools

import numpy as np
import pytest

from gallery.meshes import ball, box, tet_mesh
from meshcell import MeshError, TetMesh
from meshcell.adaptivity.refinement import _interpolate, refine, transfer
from meshcell.core import adjacency


def halves(n=3):
    """Two regions side by side, inner points shaken so that no two edges are equally long, a patch at x = 0."""
    mesh = box(n, region=lambda c: 1 + (c[:, 2] > 1 / n), names={1: "below", 2: "above"})
    rng = np.random.default_rng(7)
    # Along x and y only: the interface at z = 1/n stays flat.
    inner = (np.abs(mesh.points[:, :2] - 0.5) < 0.49).all(axis=1)
    points = mesh.points.copy()
    points[inner, :2] += rng.uniform(-0.1, 0.1, (inner.sum(), 2)) / n
    wall = np.flatnonzero((points[mesh.facets][:, :, 0] == 0).all(axis=1))
    return TetMesh(points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"wall": wall})


def single_tet(rng):
    points = rng.normal(size=(4, 3))
    tet = [0, 1, 2, 3] if np.linalg.det(points[1:] - points[0]) > 0 else [1, 0, 2, 3]
    return tet_mesh(points, np.array([tet], np.int32), np.ones(1, np.int32))


def some(mesh, rng, share=0.05):
    return rng.choice(len(mesh.tets), max(1, int(share * len(mesh.tets))), replace=False)


def randomly_refined(mesh, rounds, rng):
    for _ in range(rounds):
        mesh = refine(mesh, some(mesh, rng)).mesh
    return mesh


def dihedral_angles(mesh):
    corners = mesh.points[mesh.tets]
    normals = np.stack([np.cross(corners[:, j] - corners[:, i], corners[:, k] - corners[:, i])
                        for i, j, k in adjacency.TET_FACES], axis=1)  # fmt: skip
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    cosines = [-(normals[:, i] * normals[:, j]).sum(axis=1) for i, j in itertools.combinations(range(4), 2)]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def oriented(facets, sides):
    """Facets as a set: turned so that the smallest point comes first, the turn kept, with their sides."""
    turned = [np.roll(facet, -int(np.argmin(facet))) for facet in facets]
    return {(*map(int, facet), *map(int, pair)) for facet, pair in zip(turned, sides, strict=True)}


def assert_conforming(mesh):
    # The faces that no second tetrahedron has, and those between regions, are the facets and nothing else: a hanging
    # node would leave faces unmatched inside.
    facets, sides = adjacency.interface_facets(mesh.tets, mesh.regions, mesh.neighbours)
    assert len(mesh.facets) == len(facets)
    backwards = oriented(mesh.facets[:, ::-1], mesh.sides[:, ::-1])
    assert oriented(facets, sides) <= oriented(mesh.facets, mesh.sides) | backwards
    used = np.zeros(len(mesh.points), bool)
    used[mesh.tets] = True
    assert used.all()


def region_volumes(mesh):
    return np.array([mesh.volumes[mesh.regions == label].sum() for label in np.unique(mesh.regions)])


def test_random_refinement_keeps_conformity_volumes_and_areas():
    rng = np.random.default_rng(0)
    mesh = halves()
    fine = randomly_refined(mesh, 20, rng)
    assert len(fine.tets) > 5 * len(mesh.tets)
    assert_conforming(fine)
    # Midpoints are rounded once per round, sums over thousands of terms a few times more.
    assert region_volumes(fine) == pytest.approx(region_volumes(mesh), rel=1e-14)
    for pair, rows in mesh.interfaces.items():
        assert fine.areas[fine.interfaces[pair]].sum() == pytest.approx(mesh.areas[rows].sum(), rel=1e-13)


def test_facets_keep_their_sides_and_close_every_region():
    mesh = randomly_refined(ball(2, core=0.5), 6, np.random.default_rng(1))
    assert_conforming(mesh)
    volumes = (mesh.points[mesh.facets[:, 0]] * mesh.area_vectors).sum(axis=1) / 3
    sign = [(mesh.sides[:, 0] == label).astype(int) - (mesh.sides[:, 1] == label) for label in (1, 2)]
    # Divergence theorem, normals from sides[:, 0] to sides[:, 1].
    assert np.array(sign) @ volumes == pytest.approx(region_volumes(mesh), rel=1e-13)


def test_facets_that_point_the_other_way_stay_so():
    mesh = halves()
    turned = TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets[:, ::-1], mesh.sides[:, ::-1], mesh.names)
    fine = randomly_refined(turned, 3, np.random.default_rng(5))
    assert_conforming(fine)
    assert set(fine.sides[:, 0].tolist()) == {0, 1}
    behind = np.where(fine.facet_tets[:, 0] >= 0, fine.regions[fine.facet_tets[:, 0]], 0)
    assert np.array_equal(behind, fine.sides[:, 0])


def test_patches_follow_their_facets():
    mesh = halves()
    fine = randomly_refined(mesh, 8, np.random.default_rng(2))
    rows = fine.patches["wall"]
    assert len(rows) > len(mesh.patches["wall"])
    on_wall = np.flatnonzero((fine.points[fine.facets][:, :, 0] == 0).all(axis=1))
    assert np.array_equal(rows, on_wall)
    assert fine.names == mesh.names


def test_every_marked_tetrahedron_is_halved():
    mesh = halves()
    rows = some(mesh, np.random.default_rng(3), share=0.3)
    refined = refine(mesh, rows)
    assert np.bincount(refined.parents)[rows].min() >= 2


def test_no_rows_change_nothing():
    mesh = halves()
    same = refine(mesh, [])
    assert np.array_equal(np.sort(same.mesh.tets, axis=1), np.sort(mesh.tets, axis=1))
    assert np.array_equal(same.mesh.points, mesh.points)
    assert np.array_equal(same.parents, np.arange(len(mesh.tets)))


def test_parents_contain_their_children():
    mesh = halves()
    refined = refine(mesh, some(mesh, np.random.default_rng(4), share=0.4))
    children = refined.mesh
    sums = np.bincount(refined.parents, weights=children.volumes)
    assert sums == pytest.approx(mesh.volumes, rel=1e-12)
    assert np.array_equal(children.regions, mesh.regions[refined.parents])
    corners = mesh.points[mesh.tets[refined.parents]]
    inverse = np.linalg.inv(np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2))
    middles = np.concatenate([children.points[children.tets].mean(axis=1), np.ones((len(children.tets), 1))], axis=1)
    assert np.einsum("ni,nij->nj", middles, inverse).min() > 0


def test_new_points_are_the_midpoints_of_earlier_ones():
    mesh = halves()
    refined = refine(mesh, np.arange(len(mesh.tets)))
    first, second = refined.point_parents.T
    rows = np.arange(len(first))
    old = first == rows
    assert old.sum() == len(mesh.points)
    assert np.array_equal(first[old], second[old])
    assert (refined.point_parents[~old] < rows[~old, None]).all()
    points = refined.mesh.points
    assert points == pytest.approx((points[first] + points[second]) / 2, abs=1e-15)


def similarity_classes(mesh):
    """Squared edge lengths over volume^(2/3), least over the orders of the corners."""
    corners = mesh.points[mesh.tets]
    squares = ((corners[:, :, None] - corners[:, None]) ** 2).sum(axis=-1) / mesh.volumes[:, None, None] ** (2 / 3)
    keys = np.array(
        [
            np.round(squares[:, order][:, :, order][:, [0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]], 6)
            for order in itertools.permutations(range(4))
        ]
    )
    return {min(map(tuple, keys[:, i])) for i in range(keys.shape[1])}


@pytest.mark.parametrize("seed", [0, 4, 11])
def test_descendants_of_a_tetrahedron_have_at_most_72_shapes(seed):
    # Arnold, Mukherjee, Pouly 2000. Seed 0 makes 36, the others 69; always halving the longest edge makes 700 to 1300.
    mesh = single_tet(np.random.default_rng(seed))
    seen, before = set(), 0
    for _ in range(9):
        mesh = refine(mesh, np.arange(len(mesh.tets))).mesh
        before = len(seen)
        seen |= similarity_classes(mesh)
    assert len(seen) <= 72
    assert len(seen) == before


def test_angles_stay_bounded_in_deep_local_refinement():
    start = halves(2)
    mesh = start
    # All shapes there are appear within eight rounds everywhere.
    worst = 180.0
    for _ in range(8):
        mesh = refine(mesh, np.arange(len(mesh.tets))).mesh
        worst = min(worst, dihedral_angles(mesh).min())
    mesh, marked = start, 0
    corner = start.points[np.abs(start.points - 0.5).sum(axis=1).argmin()]
    for _ in range(60):
        near = np.flatnonzero((mesh.points[mesh.tets] == corner).all(axis=2).any(axis=1))
        marked += len(near)
        mesh = refine(mesh, near).mesh
    # 60 rounds are 20 halvings of the length: rounding of the points is then about 1e-10 of an edge.
    assert dihedral_angles(mesh).min() > worst - 1e-4
    assert mesh.volumes.min() < 1e-17
    assert_conforming(mesh)
    # Refinement stays where it is asked for (Binev, Dahmen, DeVore: at most a constant times the marks).
    assert len(mesh.tets) < len(start.tets) + 4 * marked


def test_a_mesh_without_memory_starts_anew_and_stays_valid():
    rng = np.random.default_rng(6)
    mesh = halves()
    for _ in range(6):
        mesh = refine(mesh, some(mesh, rng)).mesh
        mesh = TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, mesh.patches)
    assert_conforming(mesh)
    assert region_volumes(mesh) == pytest.approx(region_volumes(halves()), rel=1e-14)


def test_input_stays_unchanged_and_the_result_is_the_same_twice():
    mesh = halves()
    before = [array.copy() for array in (mesh.points, mesh.tets, mesh.facets, mesh.sides)]
    rows = some(mesh, np.random.default_rng(8))
    first, second = refine(mesh, rows), refine(mesh, rows[::-1])
    for array, copy in zip((mesh.points, mesh.tets, mesh.facets, mesh.sides), before, strict=True):
        assert np.array_equal(array, copy)
    assert np.array_equal(first.mesh.tets, second.mesh.tets)
    assert np.array_equal(first.mesh.points, second.mesh.points)


class PlainBisection:
    """Arnold, Mukherjee and Pouly's algorithm word by word: marks on faces, tetrahedra as sets of points."""

    def __init__(self, mesh):
        self.points = [tuple(point) for point in mesh.points]
        self.middles = {}
        self.tets = [self.fresh(frozenset(map(int, tet))) for tet in mesh.tets]

    def fresh(self, corners):
        def longest(face):
            return max(
                (frozenset(edge) for edge in itertools.combinations(sorted(face), 2)),
                key=lambda edge: (self.length(edge), *(-p for p in sorted(edge))),
            )

        marks = {frozenset(face): longest(face) for face in itertools.combinations(corners, 3)}
        return corners, marks, longest(corners), False

    def length(self, edge):
        p, q = (np.array(self.points[i]) for i in edge)
        return float(((p - q) ** 2).sum())

    def refine(self, centroids):
        """Halve the tetrahedra with these centroids, then all with a halved edge; return the centroids of all."""
        wanted = {tuple(np.round(c, 9)) for c in centroids}
        waiting = [tet for tet in self.tets if self.centroid(tet) in wanted]
        done = [tet for tet in self.tets if self.centroid(tet) not in wanted]
        while waiting:
            now = done + [child for tet in waiting for child in self.halved(tet)]
            edges = set(self.middles)
            waiting = [t for t in now if any(frozenset(e) in edges for e in itertools.combinations(t[0], 2))]
            done = [t for t in now if not any(frozenset(e) in edges for e in itertools.combinations(t[0], 2))]
        self.tets = done

    def halved(self, tet):
        corners, marks, edge, flag = tet
        if edge not in self.middles:
            p, q = (np.array(self.points[i]) for i in edge)
            self.middles[edge] = len(self.points)
            self.points.append(tuple((p + q) / 2))
        new = self.middles[edge]
        planar = len(frozenset().union(*marks.values())) == 3
        for lost in edge:
            kept = corners - {lost}
            refinement = marks[kept]
            child = kept | {new}
            own = {kept: refinement}
            for corner in kept:
                face = child - {corner}
                own[face] = face - {new}
            if planar and flag:
                # The face between the children: from the new point to the end of the refinement edge on it.
                (between,) = (child - {end} for end in edge - {lost})
                own[between] = frozenset({new}) | (refinement & between)
            yield child, own, refinement, planar and not flag

    def centroid(self, tet):
        return tuple(np.round(np.mean([self.points[i] for i in tet[0]], axis=0), 9))


def test_kernel_agrees_with_the_algorithm_word_by_word():
    rng = np.random.default_rng(9)
    mesh = halves(2)
    plain = PlainBisection(mesh)
    for _ in range(7):
        rows = some(mesh, rng, share=0.1)
        plain.refine(mesh.points[mesh.tets[rows]].mean(axis=1))
        mesh = refine(mesh, rows).mesh
        # Nine digits tell centroids apart: the edges are longer than 0.01.
        ours = sorted(tuple(np.round(c, 9)) for c in mesh.points[mesh.tets].mean(axis=1))
        assert np.array(ours) == pytest.approx(np.array(sorted(map(plain.centroid, plain.tets))), abs=2e-9)


def test_interpolation_kernel_agrees_with_plain_numpy():
    rng = np.random.default_rng(10)
    old, new = 20, 50
    ends = np.array([[i, i] if i < old else rng.integers(0, i, 2) for i in range(new)], np.int32)
    fields = rng.normal(size=(3, old))
    expected = np.concatenate([fields, np.empty((3, new - old))], axis=1)
    for i in range(old, new):
        expected[:, i] = expected[:, ends[i]].mean(axis=1)
    assert _interpolate(fields, ends) == pytest.approx(expected, abs=1e-15)


# --- transfer ---


def integrals(mesh, values):
    return np.stack([
        values[:, mesh.tets[mesh.regions == label]].mean(axis=2) @ mesh.volumes[mesh.regions == label]
        for label in np.unique(mesh.regions)
    ])  # fmt: skip


def test_transfer_keeps_linear_fields_and_the_integral_of_every_region():
    rng = np.random.default_rng(11)
    mesh = halves()
    refined = refine(mesh, some(mesh, rng, share=0.5))
    linear = mesh.points @ [1.0, -2.0, 3.0] + 4
    assert transfer(linear, refined) == pytest.approx(refined.mesh.points @ [1.0, -2.0, 3.0] + 4, abs=1e-14)
    field = rng.uniform(1, 2, (3, len(mesh.points)))
    carried = transfer(field, refined)
    assert carried.shape == (3, len(refined.mesh.points))
    # Sums of some hundred terms in another order.
    assert integrals(refined.mesh, carried) == pytest.approx(integrals(mesh, field), rel=1e-13)
    assert np.array_equal(carried[:, : len(mesh.points)], field)


def test_transfer_gives_tetrahedra_the_values_of_their_parents():
    mesh = halves()
    refined = refine(mesh, [0, 5])
    density = np.arange(len(mesh.tets))
    assert np.array_equal(transfer(density, refined), refined.parents)
    pairs = np.stack([density, -density])
    assert np.array_equal(transfer(pairs, refined), np.stack([refined.parents, -refined.parents]))


def test_transfer_of_a_species_reaches_all_nodes_of_its_region():
    mesh = halves()
    nodes = np.unique(mesh.tets[mesh.regions == 2])
    refined = refine(mesh, some(mesh, np.random.default_rng(12), share=0.5))
    new_nodes = np.unique(refined.mesh.tets[refined.mesh.regions == 2])
    values = np.stack([mesh.points[nodes] @ [1.0, 2.0, 3.0], np.ones(len(nodes))])
    carried = transfer(values, refined, nodes=nodes)
    assert carried.shape == (2, len(refined.mesh.points))
    expected = np.stack([refined.mesh.points[new_nodes] @ [1.0, 2.0, 3.0], np.ones(len(new_nodes))])
    assert carried[:, new_nodes] == pytest.approx(expected, abs=1e-14)
    assert np.isnan(carried[:, : len(mesh.points)]).sum() == 2 * (len(mesh.points) - len(nodes))


# --- what is refused ---


def test_rows_of_another_mesh_are_refused():
    mesh = box(1)
    with pytest.raises(ValueError, match=r"rows should be >= 0 and < 6.*got 6.*another mesh"):
        refine(mesh, [0, 6])
    with pytest.raises(ValueError, match=r"got -1"):
        refine(mesh, [-1])


def test_masks_and_floats_are_refused_as_rows():
    mesh = box(1)
    with pytest.raises(TypeError, match=r"got bool of shape \(6,\); np.flatnonzero\(mask\)"):
        refine(mesh, np.ones(6, bool))
    with pytest.raises(TypeError, match="got float64"):
        refine(mesh, [0.5])


def test_facets_that_are_no_faces_are_refused():
    mesh = box(1)
    stray = TetMesh(mesh.points, mesh.tets, mesh.regions, [[0, 7, 1], [1, 2, 4]], [[1, 0], [1, 0]], mesh.names)
    with pytest.raises(MeshError, match="every facet should be a face of a tetrahedron; 1 are not") as caught:
        refine(stray, [0])
    assert caught.value.where.tolist() == [1]
    twice = np.concatenate([mesh.facets, mesh.facets[:1]])
    doubled = TetMesh(mesh.points, mesh.tets, mesh.regions, twice, [[1, 0]] * len(twice), mesh.names)
    with pytest.raises(MeshError, match="every facet should be there once"):
        refine(doubled, [0])


def test_values_of_another_size_are_refused():
    refined = refine(box(2), [0])
    with pytest.raises(ValueError, match=r"one entry per point \(27\) or tetrahedron \(48\).*got shape \(5,\)"):
        transfer(np.zeros(5), refined)
    with pytest.raises(ValueError, match="nodes should be the rows, among the 27 old points, of the 3 values"):
        transfer(np.zeros(3), refined, nodes=[1, 2])
    with pytest.raises(ValueError, match=r"with rows 1 ... 27"):
        transfer(np.zeros(2), refined, nodes=[1, 27])
