"""The door to simulation: what it refuses, and in which words."""

import numpy as np
import pytest

from gallery.balls import round_ball
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.options import checked_times
from meshcell.solving.solver import solve

MODEL = Model({"ball": "ball"}, [Species("u", "ball", 1, 1)], [Reaction("r", "ball", "u", {"u": -1})])


@pytest.fixture(scope="module")
def mesh():
    return round_ball(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "fenics"}, "engine should be one of 'numba', 'fenicsx'; got 'fenics'"),
        ({"rtol": 0}, r"rtol should be between 1e-12 and 0\.1; got 0; 1e-4 is usual"),
        ({"rtol": float("nan")}, r"rtol should be between 1e-12 and 0\.1; got nan"),
        ({"atol": -1}, r"atol should be at least 0 molecules/um\^3 \(or /um\^2\) and finite; got -1"),
        ({"atol": {"v": 1}}, r"atol names 'v', which is no species of the model; it has u"),
        ({"atol": {"u": np.inf}}, r"atol of 'u' should be at least 0 .* got inf"),
        ({"step": 0}, r"step should be a positive, finite time in s, or None for controlled steps; got 0"),
    ],
)
def test_options_out_of_range_are_refused(mesh, options, message):
    with pytest.raises(ValueError, match=message):
        solve(mesh, MODEL, [0, 1], **options)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], r"times should be a list of numbers, in s, such as np\.linspace\(0, 2, 41\); got shape \(0,\)"),
        (1.0, r"got shape \(\)"),
        (["0 s", "1 s"], r"a list of numbers, in s, .*; got \['0 s', '1 s'\]"),
        ([0, np.nan], r"times should be finite; got nan at row 1"),
        ([0, 2, 1], r"times should ascend; got 2 s and then 1 s at row 2"),
        ([0, 0], r"times should ascend; got 0 s and then 0 s at row 1"),
    ],
)
def test_times_that_do_not_ascend_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        checked_times(times)


def test_wrong_types_are_named(mesh):
    with pytest.raises(TypeError, match="needs a TetMesh; got Model"):
        solve(MODEL, MODEL, [0, 1])
    with pytest.raises(TypeError, match="needs a Model; got TetMesh"):
        solve(mesh, mesh, [0, 1])
    with pytest.raises(TypeError, match="its arguments have changed places"):
        solve(MODEL, mesh, [0, 1])


def test_a_single_time_gives_the_initial_values(mesh):
    solution = solve(mesh, MODEL, [3.0])
    np.testing.assert_array_equal(solution.values["u"], np.ones((1, len(mesh.points))))
    assert solution.stats["steps"] == 0


def test_times_may_start_anywhere_and_only_differences_count(mesh):
    one, two = (solve(mesh, MODEL, np.array([0, 1, 2]) + start).values["u"] for start in (0, -7))
    # The same steps, but for the rounding of sums of times.
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_an_absolute_tolerance_saves_steps_and_holds(mesh):
    loose, tight = (solve(mesh, MODEL, [0, 5], atol=atol, rtol=1e-6) for atol in ({"u": 1e-3}, 1e-9))
    assert loose.stats["steps"] < tight.stats["steps"]
    np.testing.assert_allclose(tight.values["u"][-1], np.exp(-5), rtol=1e-5)
    np.testing.assert_allclose(loose.values["u"][-1], np.exp(-5), atol=1e-2)


def test_the_default_absolute_tolerance_is_a_thousandth_of_rtol_of_the_largest_value_so_far():
    """u falls from 1, w from 50: the largest values are those at the start. The same tolerance gives the same bytes."""
    species = [Species("u", "ball", 1, 1), Species("w", "ball", 1, 50)]
    decays = [Reaction(name, "ball", f"k*{name}", {name: -1}) for name in ("u", "w")]
    model, mesh = Model({"ball": "ball"}, species, decays, {"k": 1.0}), round_ball(2)

    def values(atol):
        solution = solve(mesh, model, [0, 2, 5], rtol=1e-4, atol=atol)
        return np.stack([solution.values[name] for name in ("u", "w")])

    default, of_u, of_w = values(None), 1e-4 * 1e-3, 1e-4 * 1e-3 * 50
    np.testing.assert_array_equal(values({"u": of_u, "w": of_w}), default)
    # What a dict leaves out has its default.
    np.testing.assert_array_equal(values({"u": of_u}), default)
    np.testing.assert_array_equal(values({}), default)
    # A plain number is for both.
    np.testing.assert_array_equal(values(of_u), values({"u": of_u, "w": of_u}))
    for other in ({"u": 2 * of_u}, {"w": 2 * of_w}, {"w": of_u}):
        assert (values(other) != default).any()


def test_fixed_steps_are_as_many_as_asked_for(mesh):
    assert solve(mesh, MODEL, [0, 1], step=0.1).stats["steps"] == 10
    assert solve(mesh, MODEL, [0, 1], step=0.3).stats["steps"] == 4


def test_progress_shows_the_simulated_time_and_silence_is_the_default(mesh, capsys):
    solve(mesh, MODEL, [0, 1])
    silent = capsys.readouterr()
    assert not silent.out + silent.err
    solve(mesh, MODEL, [0, 1], progress=True)
    assert "1/1 s" in capsys.readouterr().err


def test_one_line_is_logged(mesh, caplog):
    with caplog.at_level("INFO", "meshcell"):
        solve(mesh, MODEL, [0, 1])
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("solved")]
    assert len(lines) == 1
    assert f"solved {len(mesh.points)} unknowns to t = 1 s" in lines[0]
