"""Models from papers: each runs as it is written, and gives what an independent reference says."""

import numpy as np
import pytest

import meshcell as mc
from gallery import published, published_limits
from gallery.balls import round_ball
from gallery.meshes import box
from gallery.published_runs import CASES, stirred
from meshcell.analysis.quantities import mean, total
from meshcell.models.mixing import well_mixed
from meshcell.solving.solver import solve
from meshcell.solving.steady_states import steady

UM = 602.214076


def compare(found, truth, tolerance=1e-3):
    for name, values in truth.items():
        assert np.abs(mean(found, name) - values).max() <= tolerance * np.ptp(values), name


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("domain", ["well mixed", pytest.param("mesh", marks=pytest.mark.slow)])
def test_it_is_the_published_ordinary_differential_equation(name, domain):
    """Written out a second time by hand; a mesh of anything that diffuses fast gives the same."""
    make, last, events = CASES[name]
    mesh, model = make(), stirred(getattr(published, name)())
    mixed = well_mixed(model, mesh)
    times = np.linspace(0, last, 26)
    truth = getattr(published_limits, name)(mixed.sizes).course(times)
    found = solve(mesh if domain == "mesh" else mixed, model, times, events=list(events))
    compare(found, truth)
    assert {item.name for item in model.species} == set(truth)
    assert found.stats.get("mass_drift", 0) <= 1e-12
    assert not found.message


def test_the_channels_of_the_reticulum_close():
    """Half empty at once; else a run without its event would pass above as well."""
    model, sizes = published.release_unit(), {"Cyto": 0.1, "SR": 0.015, "TTM": 1.1, "SRM": 0.3, "junction": 0.15}
    found = solve(sizes, model, [0, 0.02], events=[published.release_ends(share=0.5)])
    (_, closed) = found.model.parameters["N_RyR"].times[:2]
    assert 0 < closed < 0.02
    assert mean(found, "CaSR")[-1] > 0.5 * 1300 * UM


def cubes():
    """SMART's cube of the reticulum in a cube of cytosol, with x = 0 as plasma membrane."""
    mesh = box(3, region=lambda middles: 1 + (np.abs(middles - 0.5).max(axis=1) < 1 / 6), names={1: "cytosol", 2: "er"})
    return mc.patch(mesh, "PM", lambda points: points[:, 0] < 1e-9)


@pytest.mark.slow
def test_receptors_that_are_uneven_release_as_many():
    """SMART's example 5; in the limit only the mean of its receptors counts."""
    mesh, model = cubes(), stirred(published.channel_release())
    times = np.linspace(0, 0.3, 26)
    found = solve(mesh, model, times)
    sizes = well_mixed(model, mesh).sizes
    compare(found, published_limits.channel_release(sizes, mean(found, "R")[0]).course(times))
    for kept in (("A", "AER"), ("R", "Ro")):
        held = sum(total(found, name) for name in kept)
        assert np.abs(held / held[0] - 1).max() <= 1e-12


def test_binding_to_a_membrane_follows_riccati():
    """SMART's example 2: b' = k_on (a0 - s b) (x0 - b) - k_off b, whose roots are b1 < b2."""
    mesh, times = round_ball(4), np.linspace(0, 10, 21)
    found = solve(mesh, published.receptor_binding(diffusion=1e6), times, rtol=1e-5)
    s = mesh.areas.sum() / mesh.volumes.sum()
    low, high = sorted(np.roots([s, -(s + 2), 1]).real)
    left = low / high * np.exp(-s * (high - low) * times)
    assert mean(found, "B") == pytest.approx((low - left * high) / (1 - left), abs=1e-4)
    assert found.stats["mass_drift"] <= 1e-12


def test_a_kinase_in_the_membrane_makes_a_gradient():
    """SMART's example 3 at rest: c = A sinh(m r)/r. On two meshes, without the error of second order."""
    means = [mean(steady(round_ball(n), published.surface_phosphorylation()), "A_phos")[-1] / UM for n in (8, 16)]
    m = 1.0  # sqrt(k_p / D) per um
    k = 50 / 3
    a = k / (10 * (m * np.cosh(m) - np.sinh(m)) + k * np.sinh(m))
    exact = 3 * a * (np.cosh(m) / m - np.sinh(m) / m**2)
    assert exact == pytest.approx(0.79061216, abs=1e-8)
    assert (4 * means[1] - means[0]) / 3 == pytest.approx(exact, rel=1e-4)


def test_a_second_messenger_is_counted_whatever_its_diffusion():
    """SMART's example 4: all is linear, so the mean obeys V c' = j_PM A_PM + j_ER A_ER - V c/tau by itself."""
    mesh, model, times = round_ball(4, 0.25, core=2), published.second_messenger(), np.linspace(0, 0.1, 41)
    found = solve(mesh, model, times, rtol=1e-5)
    sizes = well_mixed(model, mesh).sizes
    tau, alpha, beta = 0.05, 0.0025, 0.002

    def answer(t):
        """To a pulse that starts at zero; nothing before."""
        t = np.maximum(t, 0)
        parts = [(np.exp(-t / time) - np.exp(-t / tau)) / (1 / tau - 1 / time) for time in (alpha, beta)]
        return 1140 * (parts[0] - parts[1])

    exact = 0.05 * np.exp(-times / tau) + sizes["PM"] / sizes["Cyto"] * answer(times)
    exact += 0.2 * sizes["ERm"] / sizes["Cyto"] * answer(times - 0.02)
    assert mean(found, "Ca") / UM == pytest.approx(exact, abs=1e-4 * exact.max())


@pytest.mark.slow
def test_two_domains_of_a_cell_share_its_membrane():
    """On a ball against bands of latitude; domain walls of half a um make the mesh count, to second order."""
    radius, times = 3 / 0.174, np.array([0, 60, 200.0, 600])
    shares, *truth = published_limits.polarity(radius, times)
    errors = []
    for n in (12, 24):
        mesh = round_ball(n, radius)
        found = solve(mesh, published.polarity(mesh.areas.sum() / 0.174), times)
        ways = [
            (mean(found, name) - values @ shares) / (values[0] @ shares)
            for name, values in zip("AP", truth, strict=True)
        ]
        errors.append(np.abs(ways).max())
        assert found.stats["mass_drift"] <= 1e-12
    assert errors[1] <= 3e-3
    assert errors[0] / errors[1] > 3
    # The pools say what the means do.
    written = solve(mesh, published.polarity(), times)
    for name in "AP":
        assert mean(written, name) == pytest.approx(mean(found, name), rel=1e-5)


@pytest.mark.parametrize(
    "name", [*CASES, "receptor_binding", "surface_phosphorylation", "second_messenger", "polarity"]
)
def test_it_is_kept_as_text(name, tmp_path):
    """Functions and arrays aside, a file says all of a model, to the last bit."""
    model = getattr(published, name)()
    model.to_toml(tmp_path / "model.toml")
    again = mc.Model.from_toml(tmp_path / "model.toml")
    assert again == model
