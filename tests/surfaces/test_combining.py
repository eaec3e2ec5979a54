"""Bodies put together: what voxels say of them, their surfaces must say too, or the overlap is named."""

import re
from itertools import combinations

import numpy as np
import pytest
import scipy.ndimage as ndimage
from hypothesis import assume, given, settings, strategies as st

import meshcell as mc
from gallery.balls import round_ball

SIDE = 10
places, lengths = st.tuples(*[st.integers(1, SIDE - 3)] * 3), st.tuples(*[st.integers(1, 6)] * 3)
blocks = st.tuples(places, lengths)


def painted(block):
    mask = np.zeros((SIDE,) * 3, bool)
    mask[tuple(slice(p, min(p + n, SIDE - 1)) for p, n in zip(*block, strict=True))] = True
    return mask


@st.composite
def bodies(draw):
    """Masks of one to four bodies: blocks, blocks with cavities, several blocks that may touch, blocks in blocks."""
    masks = []
    for _ in range(draw(st.integers(1, 4))):
        mask = painted(draw(blocks))
        kind = draw(st.sampled_from(["block", "block", "hollow", "two", "three", "onion"]))
        if kind == "hollow":
            mask &= ~painted(draw(blocks))
        elif kind == "onion":
            # A shell, and perhaps a body in it, with room for others between.
            (x, y, z), n = draw(places), draw(st.integers(2, 6))
            mask = painted(((x, y, z), (n, n, n)))
            for depth in draw(st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True).map(sorted)):
                if n > 2 * depth:
                    mask ^= painted(((x + depth, y + depth, z + depth), (n - 2 * depth,) * 3))
        elif kind != "block":
            for _ in range(1 if kind == "two" else 2):
                mask |= painted(draw(blocks))
        if mask.any():
            masks.append(mask)
    return masks


def surface_of(mask):
    return mc.extract(mc.Volume(mask.astype(np.uint8), 1.0))


def grown(mask):
    return ndimage.binary_dilation(mask)


def fillings(mask):
    """What each shell of a body encloses: of its pieces, and of the cavities in them."""
    found = []
    numbers, n = ndimage.label(mask)
    for piece in (numbers == k for k in range(1, n + 1)):
        # As surfaces are: what is not the piece hangs together by edges too.
        others, m = ndimage.label(np.pad(~piece, 1, constant_values=True), ndimage.generate_binary_structure(3, 2))
        others = others[1:-1, 1:-1, 1:-1]
        around = others[0, 0, 0]
        found.append(others != around)
        found += [others == k for k in range(1, m + 1) if k not in (around, 0)]
    return found


def layers(filled, others):
    """Shells of a body, apart where another body's shell lies between: a shell in there is no cavity."""
    for inner in filled:
        hosts = [outer for outer in filled if outer is not inner and (inner <= outer).all()]
        if len(hosts) % 2 == 0:
            continue
        host = min(hosts, key=np.sum)
        between = [body for body, mask in others if (grown(inner) <= mask).all() and (mask <= host).all()]
        if any(between.count(body) % 2 for body in between):
            inside = [(mask <= inner).all() for mask in filled]
            parts = [[mask for mask, within in zip(filled, inside, strict=True) if within == way] for way in (0, 1)]
            return [layer for part in parts for layer in layers(part, others)]
    return [filled]


def pieces_of(masks):
    """Every piece with its body; none is in two parts, and none of one layer lies within another."""
    shells = [(body, filled) for body, mask in enumerate(masks) for filled in fillings(mask)]
    found = []
    for body in range(len(masks)):
        own, others = ([s for s in shells if (s[0] == body) == way] for way in (True, False))
        for layer in layers([filled for _, filled in own], others):
            numbers, n = ndimage.label(np.logical_xor.reduce(layer))
            found += [(body, numbers == k) for k in range(1, n + 1)]
    return found


def overlaps_of(pieces):
    """Volumes that bodies share in pieces of which neither lies within the other, by pairs of bodies."""
    shared = {}

    def lies(body, other):
        return all(any((p <= q).all() for b, q in pieces if b == other) for a, p in pieces if a == body)

    for (a, p), (b, q) in combinations(pieces, 2):
        if a == b or not (p & q).any():
            continue
        # The same piece twice is right where all of one body lies in the other.
        if (p == q).all() and lies(a, b) != lies(b, a):
            continue
        if (p == q).all() or ((p & ~q).any() and (q & ~p).any()):
            shared[a, b] = shared.get((a, b), 0) + int((p & q).sum())
    return shared


@pytest.mark.filterwarnings("ignore:.*have a shell within another body:UserWarning")
@settings(max_examples=200, deadline=None)
@given(bodies(), st.randoms(use_true_random=False))
def test_volumes_and_sides_are_right_or_the_overlap_is_named(masks, random):
    assume(masks)
    surfaces = {f"body {k}": surface_of(mask) for k, mask in enumerate(masks, 1)}
    for name, surface in surfaces.items():
        if random.random() < 0.3:
            surfaces[name] = mc.Surface(surface.points, surface.triangles[:, ::-1], surface.sides, surface.names)
    pieces = pieces_of(masks)
    overlaps = overlaps_of(pieces)
    if overlaps:
        with pytest.raises(mc.MeshError, match="bodies should not overlap") as refusal:
            mc.combine(surfaces)
        said = re.findall(r"'body (\d)' and 'body (\d)' share about (\S+) um\^3", str(refusal.value))
        assert said
        for a, b, volume in said:
            assert float(volume) == pytest.approx(overlaps[int(a) - 1, int(b) - 1], rel=0.1)
        return
    labels = np.zeros((SIDE,) * 3, np.uint8)
    for body, piece in sorted(pieces, key=lambda entry: (-entry[1].sum(), -masks[entry[0]].sum())):
        labels[piece] = body + 1
    names = {k: f"body {k}" for k in range(1, len(masks) + 1)}
    truth = mc.Volume(labels, 1.0, names={k: name for k, name in names.items() if (labels == k).any()})
    if len(truth.regions) < len(masks):
        # A body that others fill leaves nothing of its own.
        with pytest.raises(mc.MeshError):
            mc.combine(surfaces)
        return
    one = mc.combine(surfaces)
    assert mc.enclosed_volumes(one) == pytest.approx({name: truth.counts[k] for k, name in names.items()})
    found, expected = mc.areas(one), mc.areas(mc.extract(truth))
    assert {frozenset(pair) for pair in found} == {frozenset(pair) for pair in expected}
    assert all(found[pair] == pytest.approx(area) for pair, area in expected.items())


def moved(surface, by, flipped=False):
    triangles = surface.triangles[:, ::-1] if flipped else surface.triangles
    return mc.Surface(surface.points + by, triangles, surface.sides, surface.names)


BALL = round_ball(8, names={1: "body"}).surface
INNER = round_ball(6, 0.4, names={1: "body"}).surface


def test_organelles_lie_in_what_is_around_them():
    bodies = {"nucleus": moved(INNER, [0.2, 0, 0], True), "cell": BALL, "bleb": moved(INNER, [3, 0, 0])}
    one = mc.combine(bodies)
    large, small = (mc.enclosed_volumes(body)["body"] for body in (BALL, INNER))
    assert mc.enclosed_volumes(one) == pytest.approx({"nucleus": small, "cell": large - small, "bleb": small})
    walls = [("cell", "outside"), ("cell", "nucleus"), ("bleb", "outside")]
    assert {frozenset(pair) for pair in mc.areas(one)} == {frozenset(pair) for pair in walls}
    assert mc.check(one).ok
    assert mc.topology(one)["cell"].cavities == 1


def ball_of(*parts):
    """Triangles of balls (radius, x) as one surface, each of them turned outward."""
    points = np.concatenate([BALL.points * radius + [x, 0, 0] for radius, x in parts])
    triangles = np.concatenate([BALL.triangles + k * len(BALL.points) for k in range(len(parts))])
    return mc.Surface(points, triangles, np.tile([1, 0], (len(triangles), 1)), {1: "body"})


UNIT = mc.enclosed_volumes(BALL)["body"]
SURROUNDINGS = {
    "a piece in each of two": ({"A": [(1, -2)], "B": [(1, 2)], "mito": [(0.2, -2), (0.3, 2)]},
                               {"A": 1 - 0.008, "B": 1 - 0.027, "mito": 0.035}),
    "a piece inside, one outside": ({"A": [(1, -2)], "mito": [(0.2, -2), (2, 2)]}, {"A": 1 - 0.008, "mito": 8.008}),
    "pieces in each other": ({"A": [(1, -2), (0.2, 2)], "B": [(1, 2), (0.2, -2)]}, {"A": 1, "B": 1}),
    "onion": ({"A": [(3, 0), (1, 0)], "B": [(2, 0)]}, {"A": 27 - 8 + 1, "B": 7}),
    "onion of exact walls": ({"A": [(3, 0), (2, 0), (1, 0)], "B": [(2, 0), (1, 0)]}, {"A": 20, "B": 7}),
    "onion with a cavity": ({"A": [(3, 0), (1, 0), (0.5, 0)], "B": [(2, 0)]}, {"A": 27 - 8 + 1 - 0.125, "B": 7.125}),
    "onion of five": ({"A": [(5, 0), (3, 0), (1, 0)], "B": [(4, 0), (2, 0)]}, {"A": 61 + 19 + 1, "B": 37 + 7}),
    "in the wall of a cavity": ({"A": [(3, 0), (1, 0)], "B": [(2, 0), (1.5, 0)]},
                                {"A": 26 - 8 + 3.375, "B": 8 - 3.375}),
    "in the wall and the cavity": ({"A": [(3, 0), (1, 0)], "B": [(2, 0), (1.5, 0), (0.5, 0)]},
                                   {"A": 26 - 8 + 3.375, "B": 8 - 3.375 + 0.125}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_pieces_have_surroundings_of_their_own(kind):
    parts, volumes = SURROUNDINGS[kind]
    bodies = {name: ball_of(*balls) for name, balls in parts.items()}
    if kind.startswith("onion") and "exact" not in kind:
        with pytest.warns(UserWarning, match="have a shell within another body"):
            one = mc.combine(bodies)
    else:
        one = mc.combine(bodies)
    assert mc.enclosed_volumes(one) == pytest.approx({name: UNIT * share for name, share in volumes.items()})
    assert mc.check(one).ok


def test_many_pieces_are_told_apart():
    places = [(0.05, 0.3 * k) for k in range(40)]
    cells = {"left": ball_of((2.7, 2.9)), "right": ball_of((2.7, 8.9))}
    one = mc.combine(cells | {"vesicles": ball_of(*places)})
    inside = [sum(abs(x - at) < 2.7 for _, x in places) for at in (2.9, 8.9)]
    expected = [UNIT * (2.7**3 - 0.05**3 * n) for n in inside] + [UNIT * 40 * 0.05**3]
    found = mc.enclosed_volumes(one)
    assert [found[name] for name in ("left", "right", "vesicles")] == pytest.approx(expected)


def test_an_overlap_of_one_piece_is_that_of_this_piece():
    parts = {"A": ball_of((1, -2)), "B": ball_of((1, 2)), "mito": ball_of((0.2, -2), (0.2, 1.0))}
    with pytest.raises(mc.MeshError, match=r"'B' and 'mito' share about .* put the triangles of all into one") as said:
        mc.combine(parts)
    assert "'A'" not in str(said.value)
    # Half of the small ball, nearly.
    assert float(re.search(r"about (\S+) um", str(said.value))[1]) == pytest.approx(UNIT * 0.004, rel=0.2)


def test_an_overlap_is_named_with_its_volume():
    # A lens of two caps of height 1/2: 2 pi h^2 (3 r - h) / 3.
    lens = 2 * np.pi * 0.25 * (3 - 0.5) / 3
    with pytest.raises(mc.MeshError, match=r"'a' and 'b' share about .* um\^3; move them apart") as refusal:
        mc.combine({"a": BALL, "b": moved(BALL, [1, 0, 0]), "far": moved(BALL, [9, 0, 0])})
    assert float(re.search(r"about (\S+) um", str(refusal.value))[1]) == pytest.approx(lens, rel=0.05)
    assert "far" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([BALL], "needs a Mapping; got list; give every surface the name of its region"),
        (BALL, "got Surface; give it the name of its region"),
        (None, "needs a Mapping; got None"),
        ("cells.stl", "got 'cells.stl'; load\\(path\\) reads a file"),
        (BALL.points, "got ndarray of shape .*; make surfaces"),
        (mc.Volume(np.ones((3, 3, 3), int), 1.0), "got Volume; extract"),
    ],
)
def test_what_is_no_dict_is_a_type_error(given, said):
    with pytest.raises(TypeError, match=r'combine\(\{"cell": surface, .*' + said):
        mc.combine(given)


def test_a_tolerance_is_far_below_the_bodies():
    bodies = {"a": BALL, "b": moved(INNER, [3, 0, 0])}
    for length in (-1, np.nan, np.inf, "-1 nm"):
        with pytest.raises(ValueError, match="tolerance should be a length >= 0"):
            mc.combine(bodies, tolerance=length)
    for length in (10, "10 um", 0.05):
        with pytest.raises(ValueError, match=r"far below the size of every body.* um long"):
            mc.combine(bodies, tolerance=length)
    with pytest.raises(ValueError, match=r"got 0\.05 where 'b' is 0\.8 um long"):
        mc.combine(bodies, tolerance=0.05)
    with pytest.raises(ValueError, match="several numbers"):
        mc.combine(bodies, tolerance="1 000 nm")
    with pytest.raises(TypeError, match="tolerance should be"):
        mc.combine(bodies, tolerance=[1])
    assert mc.enclosed_volumes(mc.combine(bodies, tolerance="1 nm")) == mc.enclosed_volumes(mc.combine(bodies))


def brick(shape, place, rng):
    """A box of unit squares, each cut along either diagonal."""
    rows, triangles = {}, []
    faces = [(axis, level) for axis in range(3) for level in (0, shape[axis])]
    squares = [(*face, *cell) for face in faces for cell in np.ndindex(shape[face[0] - 2], shape[face[0] - 1])]
    for axis, level, *square in squares:
        corners = []
        for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
            point = [0, 0, 0]
            point[axis], point[axis - 2], point[axis - 1] = level, square[0] + u, square[1] + v
            corners.append(rows.setdefault(tuple(point), len(rows)))
        a, b, c, d = corners if level else corners[::-1]
        triangles += [[a, b, c], [a, c, d]] if rng.random() < 0.5 else [[a, b, d], [b, c, d]]
    return mc.Surface(np.array(list(rows)) + place, triangles, np.tile([1, 0], (len(triangles), 1)))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_walls_between_bricks_may_have_any_diagonals(seed):
    rng = np.random.default_rng(seed)
    shape, place, bricks = rng.integers(1, 4, 3), np.zeros(3), {}
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] if seed % 2 else np.eye(3)
    turn *= np.sign(np.linalg.det(turn))
    for k in range(3):
        box = brick(shape, place, rng)
        bricks[f"b{k}"] = mc.Surface(box.points @ turn.T, box.triangles, box.sides)
        place = place + np.eye(3)[k] * shape
    one = mc.combine(bricks)
    assert mc.enclosed_volumes(one) == pytest.approx(dict.fromkeys(bricks, float(np.prod(shape))), rel=1e-9)
    walls = [np.prod(shape) / shape[k] for k in (0, 1)]
    assert [mc.areas(one)[f"b{k}", f"b{k + 1}"] for k in (0, 1)] == pytest.approx(walls, rel=1e-9)


def test_a_wall_cut_differently_is_said():
    cube = surface_of(np.pad(np.ones((1, 1, 1), bool), 1))
    other = moved(mc.Surface(cube.points * [1, 0.5, 0.5], cube.triangles, cube.sides), [1, 0.75, 0.75])
    with pytest.raises(mc.MeshError, match="'a' and 'b' touch, but the wall between them is not cut into the same"):
        mc.combine({"a": cube, "b": other})


def test_patches_that_are_left_out_are_told():
    painted = mc.patch(BALL, "upper", lambda points: points[:, 2] > 0)
    with pytest.warns(UserWarning, match=r"patches are left out, paint them anew: 'cell' \(upper\)"):
        assert not mc.combine({"cell": painted}).patches


def test_what_is_no_body_is_refused():
    with pytest.raises(ValueError, match="at least one body"):
        mc.combine({})
    with pytest.raises(TypeError, match="'cell' is a ndarray"):
        mc.combine({"cell": np.zeros((3, 3))})
    holed = mc.Surface(BALL.points, BALL.triangles[1:], BALL.sides[1:], BALL.names)
    with pytest.raises(mc.MeshError, match="'cell' is open at 3 triangles; close it with repair"):
        mc.combine({"cell": holed})
    two = mc.combine({"cell": BALL, "nucleus": INNER})
    with pytest.raises(ValueError, match="one closed surface against 'outside'; 'both' has the regions cell, nucleus"):
        mc.combine({"both": two})
