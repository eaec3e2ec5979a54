"""Bodies put together: what voxels say of them, their surfaces must say too, or the overlap is named."""

import re
from itertools import combinations

import numpy as np
import pytest
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
    """Masks of one to four bodies: blocks, blocks with cavities, two blocks that may touch."""
    masks = []
    for _ in range(draw(st.integers(1, 4))):
        mask = painted(draw(blocks))
        kind = draw(st.sampled_from(["block", "block", "hollow", "two"]))
        if kind == "hollow":
            mask &= ~painted(draw(blocks))
        elif kind == "two":
            mask |= painted(draw(blocks))
        if mask.any():
            masks.append(mask)
    return masks


def surface_of(mask):
    return mc.extract(mc.Volume(mask.astype(np.uint8), 1.0))


def overlapping(masks):
    """Pairs that share voxels without one lying within the other."""
    return [
        (a, b)
        for a, b in combinations(range(len(masks)), 2)
        if (masks[a] & masks[b]).any() and (masks[a] < masks[b]).any() == (masks[b] < masks[a]).any()
    ]


@settings(max_examples=200, deadline=None)
@given(bodies(), st.randoms(use_true_random=False))
def test_volumes_and_sides_are_right_or_the_overlap_is_named(masks, random):
    assume(masks)
    surfaces = {f"body {k}": surface_of(mask) for k, mask in enumerate(masks, 1)}
    for name, surface in surfaces.items():
        if random.random() < 0.3:
            surfaces[name] = mc.Surface(surface.points, surface.triangles[:, ::-1], surface.sides, surface.names)
    overlaps = overlapping(masks)
    if overlaps:
        with pytest.raises(mc.MeshError, match="bodies should not overlap") as refusal:
            mc.combine(surfaces)
        said = re.findall(r"'body (\d)' and 'body (\d)' share about (\S+) um\^3", str(refusal.value))
        assert said
        for a, b, volume in said:
            pair = int(a) - 1, int(b) - 1
            assert pair in overlaps
            assert float(volume) == pytest.approx((masks[pair[0]] & masks[pair[1]]).sum(), rel=0.1)
        return
    labels = np.zeros((SIDE,) * 3, np.uint8)
    for k in sorted(range(len(masks)), key=lambda k: -masks[k].sum()):
        labels[masks[k]] = k + 1
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


def test_an_overlap_is_named_with_its_volume():
    # A lens of two caps of height 1/2: 2 pi h^2 (3 r - h) / 3.
    lens = 2 * np.pi * 0.25 * (3 - 0.5) / 3
    with pytest.raises(mc.MeshError, match=r"'a' and 'b' share about .* um\^3; voxelize") as refusal:
        mc.combine({"a": BALL, "b": moved(BALL, [1, 0, 0]), "far": moved(BALL, [9, 0, 0])})
    assert float(re.search(r"about (\S+) um", str(refusal.value))[1]) == pytest.approx(lens, rel=0.05)
    assert "far" not in str(refusal.value)


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
