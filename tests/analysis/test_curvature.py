"""Mean curvature of membranes: that of balls and rings, to second order, with the sign of the region named first."""

from dataclasses import replace

import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball, box, slope
from meshcell.models.binding import bind


def ring(n, R=1.0, r=0.4):
    """The surface of a torus as a grid of 2n by n, cut into triangles, around the z axis."""
    u, v = np.meshgrid(np.arange(2 * n), np.arange(n), indexing="ij")
    around, across = np.pi * u.ravel() / n, 2 * np.pi * v.ravel() / n
    out = R + r * np.cos(across)
    points = np.stack([out * np.cos(around), out * np.sin(around), r * np.sin(across)], axis=1)
    a, b, c, d = ((u + i) % (2 * n) * n + (v + j) % n for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    triangles = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    return mc.Surface(points, triangles, np.tile([1, 0], (len(triangles), 1)), {1: "ring"})


def test_a_ball_bends_alike_everywhere_to_second_order():
    counts, errors = (3, 6, 12), []
    for n in counts:
        H = mc.mean_curvature(ball(n, 2.0), "ball | outside")
        assert H.unit == "1/um"
        errors.append(np.abs(2 * H.values - 1).max())
    assert errors[-1] < 0.02
    assert slope(1 / np.array(counts), errors) == pytest.approx(2, abs=0.3)


def test_the_sign_is_that_of_the_region_named_first():
    mesh = ball(8, 1.0, core=0.5)
    out, back = (mc.mean_curvature(mesh, place).values for place in (("shell", "outside"), ["outside", "shell"]))
    assert out.min() > 0
    # The ridge of the fit turns with the tangents.
    np.testing.assert_allclose(back, -out, rtol=1e-8)
    core = mc.mean_curvature(mesh, "core | shell").values
    assert core.mean() == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(mc.mean_curvature(mesh, "shell | core").values, -core, rtol=1e-8)
    # Interfaces in a list each have their own first region.
    both = mc.mean_curvature(mesh, (("shell", "outside"), ("shell", "core"))).values
    assert sorted(np.sign(both)) == sorted(np.sign([*out, *-core]))


@pytest.mark.slow
def test_a_ring_bends_by_half_its_tubes_curvature_on_average():
    mesh = mc.tetrahedralize(ring(40), edge=0.08)
    place = ("ring", "outside")
    H = mc.mean_curvature(mesh, place)
    home = bind(mc.Model({"PM": place}, ()), mesh).compartments["PM"]
    weights = home.mass(mesh)
    # The integral of H over a torus is 2 pi^2 R, its area 4 pi^2 R r.
    assert weights @ H.values / weights.sum() == pytest.approx(1 / 0.8, rel=0.03)
    cosine = (np.hypot(*mesh.points[home.nodes, :2].T) - 1) / 0.4
    exact = (1 + 0.8 * cosine) / (0.8 * (1 + 0.4 * cosine))
    assert np.sqrt(weights @ (H.values - exact) ** 2 / weights.sum()) < 0.1


def test_flat_sides_do_not_bend_and_patches_see_beyond_their_rims():
    flat = box(6)
    centres = flat.points[flat.facets].mean(axis=1)
    flat = replace(
        flat, patches={"top": np.flatnonzero((centres[:, 2] > 1 - 1e-9) & (abs(centres[:, :2] - 0.5) < 0.2).all(1))}
    )
    # Two rings around the patch lie in the same plane, so that no edge of the box is in sight.
    assert np.abs(mc.mean_curvature(flat, "top", rings=1).values).max() < 1e-10
    mesh = ball(5)
    mesh = replace(mesh, patches={"cap": np.flatnonzero(mesh.points[mesh.facets][:, :, 2].mean(axis=1) > 0.7)})
    whole, cap = mc.mean_curvature(mesh, "ball | outside"), mc.mean_curvature(mesh, "cap")
    nodes = [np.unique(rows) for rows in (mesh.facets, mesh.facets[mesh.patches["cap"]])]
    np.testing.assert_allclose(cap.values, whole.values[np.searchsorted(*nodes)], rtol=1e-8)


def test_rates_and_initial_values_read_it():
    mesh = ball(4)
    model = mc.Model(
        {"PM": ("ball", "outside")},
        [mc.Species("BAR", "PM", initial="b*H/H0")],
        [mc.Reaction("bound", "PM", "k*H", {"BAR": 1})],
        {
            "H": mc.mean_curvature(mesh, "ball | outside"),
            "H0": "1 1/um",
            "b": "5 molecule/um^2",
            "k": "2 molecule/um/s",
        },
    )
    solution = mc.solve(mesh, model, [0, 1])
    np.testing.assert_allclose(solution.values["BAR"][0], 5, rtol=0.1)
    np.testing.assert_allclose(solution.values["BAR"][1], 7 / 5 * solution.values["BAR"][0], rtol=1e-6)


@pytest.mark.parametrize(
    ("place", "options", "text"),
    [
        (
            "ball",
            {},
            "mean_curvature is of an interface or patch; 'ball' is a region; its interfaces are ball | outside",
        ),
        ("ball | outsid", {}, "did you mean 'outside'"),
        ("cap", {}, "it has none called 'cap'"),
        ("ball | outside", {"rings": 0}, "rings should be a whole number of at least 1; got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(place, options, text):
    with pytest.raises(ValueError, match=text.replace("|", r"\|")):
        mc.mean_curvature(ball(2), place, **options)
