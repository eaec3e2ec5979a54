"""The distributed engine on one to four ranks: the embedded engine's numbers, kept sums, errors that end all of it."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import meshcell as mc
from gallery import on_ranks
from gallery.balls import round_ball
from gallery.interruptions import stop_after
from gallery.models import calcium
from meshcell.models.species import Reaction, Species
from meshcell.solving.distributed.libraries import libraries
from meshcell.solving.ranks import ALONE

HERE = Path(__file__).parents[1]
THERE = importlib.util.find_spec("dolfinx") is not None
# Where it has to be there, no test of it may be skipped.
needs_dolfinx = pytest.mark.skipif(
    not THERE and os.environ.get("MESHCELL_FENICSX") != "required", reason="needs dolfinx: pip install '.[fenicsx]'"
)


def on(n, *words):
    """Start the program of `gallery/on_ranks.py` on n ranks."""
    return mpi(n, str(HERE / "gallery" / "on_ranks.py"), *words)


def mpi(n, *words):
    """Start Python on n ranks."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    path = os.pathsep.join([str(HERE.parent), str(HERE)])
    return subprocess.Popen(
        [str(mpiexec), "-n", str(n), sys.executable, *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, "UCX_TLS": "self,sm,tcp", "NUMBA_NUM_THREADS": "1"},
    )  # fmt: skip


JOB = ["simulate", "no-such.toml", "no-such.vtu", "--engine", "fenicsx", "--until", "1s", "-o"]


@pytest.fixture(scope="module")
def embedded():
    return on_ranks.found("numba")


@needs_dolfinx
@pytest.mark.parametrize("n", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)])
def test_all_numbers_are_those_of_the_embedded_engine(n, embedded, tmp_path):
    run = on(n, str(tmp_path / "found.npz"))
    said, _ = run.communicate(timeout=500)
    assert run.returncode == 0, said
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(embedded)
        for name in embedded:
            if name.endswith("/drift"):
                assert found[name] < 1e-10, name
                continue
            size = np.abs(embedded[name]).max()
            exact = 3e-5 if name.startswith("steered") else 1e-10 if "/total" in name else 1e-8
            assert np.abs(found[name] - embedded[name]).max() <= exact * size, name


@needs_dolfinx
def test_a_checkpoint_goes_on_with_another_engine_and_other_ranks(tmp_path):
    """Written by the embedded engine, gone on from on two ranks, and finished by the embedded one."""
    mesh, model, _, options = on_ranks.problems()["whole state"]
    times = np.linspace(0, 0.12, 4)
    whole = mc.solve(mesh, model, times, **options)
    path = tmp_path / "checkpoint.npz"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 40)
        assert "interrupted" in mc.solve(mesh, model, times, checkpoint=path, **options).message
    run = on(2, "--go-on", str(path))
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    assert said.count("interrupted") == 2
    rest = mc.solve(mesh, model, times, checkpoint=path, **options)
    for name, values in whole.values.items():
        np.testing.assert_allclose(rest.values[name], values, rtol=1e-8)
    assert rest.stats["steps"] == whole.stats["steps"]
    with pytest.raises(ValueError, match="the checkpoint of another run: models differ"):
        mc.solve(mesh, replace(model, parameters={"k": 0.7 * (1 + 1e-6)}), times, checkpoint=path, **options)


@needs_dolfinx
@pytest.mark.parametrize(
    ("n", "when"),
    [
        # In the middle of a run, beside it, and after it, where the others begin the next one.
        pytest.param(3, "--fail", marks=pytest.mark.slow),
        (2, "--fail-before"),
        pytest.param(2, "--fail-after", marks=pytest.mark.slow),
    ],
)
def test_an_error_on_one_rank_ends_the_job_and_is_told(n, when):
    run = on(n, when, "1")
    said, _ = run.communicate(timeout=200)
    assert run.returncode != 0
    assert said.count("RuntimeError: something broke here") == 1
    assert f"rank 1 of {n} failed alone" in said


@needs_dolfinx
def test_ranks_that_solve_different_things_are_refused(tmp_path):
    run = on(2, "--unlike", str(tmp_path / "kept.npz"))
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    for what in ("that all ranks see", "initial values differ", "meshes differ", "times differ", "''"):
        assert said.count(f"{what}\n") == 2, said


@needs_dolfinx
def test_what_petsc_does_not_take_is_named():
    mesh, model, times, options = on_ranks.problems()["kinase"]
    with pytest.raises(ValueError, match=r"options \{'diffusion_pc_type': 'gams'\}: Unable to find .* PC type gams$"):
        mc.solve(
            mesh, model, times, engine="fenicsx", scheme="imex", petsc_options={"diffusion_pc_type": "gams"}, **options
        )


@needs_dolfinx
def test_what_all_ranks_raise_is_told_once(tmp_path):
    """A full disk, which the first rank alone finds full; what was kept before stays, and loads."""
    run = on(2, "--full", str(tmp_path / "kept.npz"))
    said, _ = run.communicate(timeout=100)
    assert run.returncode != 0
    assert said.count("Traceback") == 1, said
    assert said.count("cannot be written (File too large); there is none yet") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]
    mesh, model, times, options = on_ranks.problems()["whole state"]
    finished = mc.solve(mesh, model, times, checkpoint=tmp_path / "kept.npz", **options)
    assert finished.stats["steps"] == mc.solve(mesh, model, times, **options).stats["steps"]


@needs_dolfinx
def test_a_job_that_cannot_begin_says_so_once(tmp_path):
    run = mpi(2, "-c", "from meshcell.cli import main; main()", *JOB, str(tmp_path / "run"))
    said, _ = run.communicate(timeout=60)
    assert run.returncode != 0
    assert said.count("no-such.toml") == 1, said


def started(n):
    """Start a long run and return it once it is under way."""
    run = on(n, "--long", f"of {os.getpid()}")
    while run.stdout.readline() != "begins\n":
        assert run.poll() is None
    time.sleep(1)
    return run


@needs_dolfinx
@pytest.mark.slow
def test_ctrl_c_stops_all_ranks_with_what_was_computed():
    run = started(2)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=30)
    for rank in range(2):
        assert f"rank {rank}: interrupted at t = " in said


def ranks_there():
    """Return the processes of a long run of ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_text().split("\0")
            if words[0] == sys.executable and f"of {os.getpid()}" in words:
                found.append(int(path.name))
    return found


@needs_dolfinx
@pytest.mark.slow
def test_a_killed_rank_ends_the_job():
    run = started(2)
    os.kill(max(ranks_there()), signal.SIGKILL)
    run.communicate(timeout=30)
    assert run.returncode != 0


@needs_dolfinx
def test_a_job_on_two_ranks_is_written_once(tmp_path):
    mesh, model, *_ = on_ranks.problems()["calcium"]
    mc.save(tmp_path / "cell.vtu", mesh)
    model.to_toml(tmp_path / "cell.toml")
    job = ["simulate", *(str(tmp_path / name) for name in ("cell.toml", "cell.vtu")), "--engine", "fenicsx"]
    job += ["-o", str(tmp_path / "run"), "--until", "100ms", "--step", "10ms", "--rtol", "1e-10"]
    job += ["--petsc-options", "implicit_pc_type=gamg", "implicit_ksp_type=lgmres"]
    run = mpi(2, "-c", "from meshcell.cli import main; main()", *job)
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 0, said
    assert said.count("solution.npz") == 1
    assert "options you set that were not used" not in said
    found = mc.load(tmp_path / "run" / "solution.npz")
    whole = mc.solve(mesh, model, found.times, step=0.01, rtol=1e-10)
    np.testing.assert_allclose(found.values["Ca"], whole.values["Ca"], rtol=1e-8)
    assert not (tmp_path / "run" / "checkpoint.npz").exists()
    assert "'implicit_pc_type': 'gamg'" in (tmp_path / "run" / "log.txt").read_text()


@needs_dolfinx
@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"ksp_type": "lgmres", "ksp_gmres_restart": 40}, 60),
        ({"pc_type": "bjacobi"}, 60),
        ({"pc_type": "gamg"}, 60),
        # A factorisation leaves the rounding of one round, and what is asked to see it.
        ({"pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}, 4),
    ],
    ids=lambda given: str(given),
)
def test_petsc_solves_systems_with_reactions_where_it_is_asked_to(caplog, given, most):
    mesh, model, times, options = on_ranks.problems()["whole state"]
    ours, theirs = (
        mc.solve(mesh, model, times, engine="fenicsx", petsc_options=chosen, **{**options, "scheme": "implicit"})
        for chosen in (None, {f"implicit_{name}": value for name, value in given.items()})
    )
    assert ours.stats["linear_iterations"] != theirs.stats["linear_iterations"]
    assert theirs.stats["linear_iterations"] < most * theirs.stats["linear_solves"]
    for name, values in ours.values.items():
        np.testing.assert_allclose(theirs.values[name], values, rtol=1e-8)
    assert not caplog.text


@needs_dolfinx
def test_a_solver_of_petsc_that_does_not_solve_is_named(caplog):
    options = {"implicit_ksp_type": "richardson", "implicit_pc_type": "none"}
    run = {"engine": "fenicsx", "step": 0.01, "scheme": "implicit", "throw": False}
    found = mc.solve(round_ball(4, core=2), calcium(), [0, 0.05], petsc_options=options, **run)
    assert "the step fell" in found.message
    assert caplog.text.count("PETSc's richardson with none did not solve a system with reactions") == 1


@needs_dolfinx
def test_options_of_petsc_reach_the_solvers(caplog):
    run = {"engine": "fenicsx", "step": 0.01, "rtol": 1e-9}
    mesh = round_ball(4, core=2)
    plain, other = (
        mc.solve(mesh, calcium(), [0, 0.05], scheme="imex", petsc_options=given, **run)
        for given in (None, {"diffusion_pc_type": "jacobi"})
    )
    assert other.stats["linear_iterations"] > 1.2 * plain.stats["linear_iterations"]
    np.testing.assert_allclose(other.values["Ca"], plain.values["Ca"], rtol=1e-8)
    assert not caplog.text
    mc.solve(mesh, calcium(), [0, 0.05], scheme="imex", petsc_options={"difusion_pc_type": "jacobi"}, **run)
    asked = hasattr(libraries().PETSc.Options(), "used")
    assert ("no solver asked for the option 'difusion_pc_type'" in caplog.text) == asked


FORMS = ("kinase", "core alone", "calcium", "places", "potential", "steered")


@needs_dolfinx
@pytest.mark.parametrize("name", FORMS)
def test_forms_of_ufl_are_our_equations(name):
    assert on_ranks.difference_of_forms(name) < 1e-12


@needs_dolfinx
def test_forms_of_ufl_are_our_equations_on_ranks():
    """Inner interfaces take cells of both ranks, and ghosts have to be kept up: both go wrong in silence."""
    run = on(3, "--forms", "calcium", "places")
    said, _ = run.communicate(timeout=200)
    assert run.returncode == 0, said
    assert float(said.split()[-1]) < 1e-12


@needs_dolfinx
def test_what_has_no_place_in_a_form_is_named():
    mesh = round_ball(3)

    def model(rate):
        return mc.Model({"ball": "ball"}, [Species("A", "ball", 1, 1)], [Reaction("r", "ball", rate, {"A": -1})])

    with pytest.raises(ValueError, match=r"rate of reaction 'r' reads mean\(A\), a number of a whole state"):
        mc.solving.forms(mesh, model("A*mean(A)"))
    with pytest.raises(ValueError, match=r"rate of reaction 'r' uses floor, which UFL does not have"):
        mc.solving.forms(mesh, model("floor(A)"))
    # What neither moves nor reacts has a form all the same.
    still = mc.solving.forms(mesh, mc.Model({"ball": "ball"}, [Species("A", "ball", 0, 1)]))
    assert len(still.rates["A"].arguments()) == 1
    with pytest.raises(ValueError, match="'P' is a pool: leave it to solve"):
        mc.solving.forms(*on_ranks.problems()["whole state"][:2])


@pytest.mark.skipif(THERE, reason="dolfinx is there")
def test_without_dolfinx_it_says_how_to_get_it():
    with pytest.raises(ImportError, match=r"pip install 'meshcell\[fenicsx\]'"):
        mc.solve(round_ball(3, core=1), calcium(), [0, 0.1], engine="fenicsx")


def test_options_of_petsc_are_for_the_engine_that_has_it():
    with pytest.raises(ValueError, match="petsc_options are for engine='fenicsx'; got them with engine='numba'"):
        mc.solve(round_ball(3, core=1), calcium(), [0, 0.1], petsc_options={"diffusion_pc_type": "jacobi"})


def test_one_process_hears_itself():
    """What ranks are asked for is what numpy says, where there is one."""
    values = np.array([3.0, -7.0, np.nan, 5.0])
    assert ALONE.worst(values) == 2
    assert ALONE.lowest(values[:2], 10) == (-7.0, 11)
    assert not ALONE.finite(values)
    assert ALONE.finite(values[:2])
    assert ALONE.dot(values[:2], values[:2]) == 58.0
    np.testing.assert_array_equal(ALONE.largest(values[:2], [slice(0, 1), slice(1, 2), slice(2, 2)]), [3, 7, 0])
