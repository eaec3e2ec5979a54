"""A job computes what `solve` does, leaves files that say so, and goes on where it was stopped."""

import csv

import numpy as np
import pytest

from gallery.balls import round_ball
from gallery.interruptions import stop_after, write_always
from meshcell.analysis.quantities import mean
from meshcell.core.errors import SolveError
from meshcell.io import load, save
from meshcell.jobs.simulating import simulate
from meshcell.jobs.targets import target_of
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving.solver import solve

MESH, TIMES = round_ball(4), np.linspace(0, 1, 6)
FILES = ["curves.csv", "log.txt", "solution", "solution.npz", "solution.pvd"]
ASKED = {
    "mean u": Quantity("mean", "u"),
    "spot, v": Quantity("value", "v", point=(0, 0, 0.3)),
    "flux r": Quantity("flux", "r"),
    "dose": Quantity("area", "u"),
}


def growth(speed=3.0):
    species = [Species("u", "ball", 0.5, "0.1 + 0.05*x"), Species("v", "ball", 20, 1)]
    return Model({"ball": "ball"}, species, [Reaction("r", "ball", "k*u*v", {"u": 1, "v": -1})], {"k": speed})


def job(output, model=None, times=TIMES, **options):
    return simulate(MESH, model or growth(), times, output, **options)


def stopped(monkeypatch, output, **options):
    """Run a job to which Ctrl-C comes in the middle."""
    write_always(monkeypatch)
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        part = job(output, **options)
    assert "interrupted" in part.solution.message
    assert 0 < part.solution.stats["time"] < TIMES[-1]
    return part


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same(one, two):
    assert one.times.tobytes() == two.times.tobytes()
    assert one.values.keys() == two.values.keys()
    for name, values in one.values.items():
        assert values.tobytes() == two.values[name].tobytes(), name


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def direct():
    return solve(MESH, growth(), TIMES)


def test_a_folder_holds_what_solve_returns(tmp_path, direct):
    done = job(tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert names(folder) == FILES
    assert [path.name for path in done.files] == ["solution.npz", "curves.csv", "log.txt", "solution.pvd"]
    assert_same(done.solution, direct)
    assert_same(load(folder / "solution.npz"), direct)
    for row, u in enumerate(direct.values["u"]):
        shown = load(folder / "solution" / f"regions_{row}.vtu")
        assert len(shown.points) == len(u)
    assert len(list((folder / "solution").iterdir())) == 2 * len(TIMES)


def test_curves_are_the_means_of_all_species_to_the_last_digit(tmp_path, direct):
    job(tmp_path, paraview=False)
    assert names(tmp_path) == [name for name in FILES if name not in ("solution", "solution.pvd")]
    heads, *rows = table(tmp_path / "curves.csv")
    assert heads == ["time (s)", "mean u (molecule/um^3)", "mean v (molecule/um^3)"]
    found = np.array(rows, float).T
    for curve, expected in zip(found, (TIMES, mean(direct, "u"), mean(direct, "v")), strict=True):
        np.testing.assert_array_equal(curve, expected)


@pytest.mark.parametrize("keep", ["all", "observed"])
def test_what_is_asked_for_is_written(tmp_path, direct, keep):
    done = job(tmp_path, observe=ASKED, keep=keep)
    heads, *rows = table(tmp_path / "curves.csv")
    assert heads == ["time (s)", "mean u (molecule/um^3)", "spot, v (molecule/um^3)", "flux r (events/s)"]
    curves = [quantity.value(direct) for quantity in ASKED.values()]
    np.testing.assert_array_equal(np.array(rows, float).T, [TIMES, *curves[:3]])
    assert table(tmp_path / "numbers.csv") == [
        ["quantity", "value", "unit"],
        ["dose", repr(float(curves[3])), "molecule*s/um^3"],
    ]
    assert len(load(tmp_path / "solution.npz").times) == len(done.solution.times) == (6 if keep == "all" else 1)


def test_the_log_says_what_was_run_and_what_is_kept(tmp_path):
    done = job(tmp_path, rtol=1e-5, notes={"mesh": "ball.vtu"})
    text = (tmp_path / "log.txt").read_text()
    for said in ("meshcell: 0.", "numpy", "mesh: ball.vtu", "options: rtol 1e-05", "times: 6 from 0 to 1 s"):
        assert said in text
    assert "state: finished" in text
    drift = done.solution.stats["mass_drift"]
    assert f"sums of molecules that the model keeps: changed by {drift:.2g} of themselves at most" in text
    assert repr(MESH) in text
    assert repr(growth()) in text


def test_a_stopped_job_goes_on_to_the_same_bytes(tmp_path, monkeypatch, direct):
    stopped(monkeypatch, tmp_path)
    assert names(tmp_path) == ["checkpoint.npz", *FILES]
    assert "NOT FINISHED: interrupted" in (tmp_path / "log.txt").read_text()
    part = load(tmp_path / "solution.npz")
    assert part.message
    assert len(table(tmp_path / "curves.csv")) == 1 + len(part.times) < 1 + len(TIMES)
    done = job(tmp_path)
    assert names(tmp_path) == FILES
    assert_same(done.solution, direct)
    assert_same(load(tmp_path / "solution.npz"), direct)
    assert len(table(tmp_path / "curves.csv")) == 1 + len(TIMES)
    assert len(list((tmp_path / "solution").iterdir())) == 2 * len(TIMES)


@pytest.mark.parametrize("name", ["run.npz", "run"])
@pytest.mark.parametrize("checkpoint", [True, "kept.npz"])
def test_it_goes_on_wherever_its_files_are(tmp_path, monkeypatch, direct, name, checkpoint):
    where = checkpoint if checkpoint is True else tmp_path / checkpoint
    stopped(monkeypatch, tmp_path / name, checkpoint=where)
    done = job(tmp_path / name, checkpoint=where)
    assert_same(done.solution, direct)
    assert names(tmp_path) == [name]


def test_a_job_that_was_killed_left_its_checkpoint_alone(tmp_path, monkeypatch, direct):
    stopped(monkeypatch, tmp_path / "run.npz")
    (tmp_path / "run.npz").unlink()
    assert_same(job(tmp_path / "run.npz").solution, direct)


def test_no_checkpoint_where_none_is_wanted(tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path, checkpoint=False)
    assert names(tmp_path) == FILES
    with pytest.raises(FileExistsError, match="is there already"):
        job(tmp_path, checkpoint=False)


def test_results_of_another_run_are_replaced_only_if_asked(tmp_path, monkeypatch):
    job(tmp_path / "run", observe={"dose": Quantity("area", "u")})
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    # A checkpoint of the run that is meant does not make the files there its own.
    stopped(monkeypatch, tmp_path / "other", model=growth(2.0), checkpoint=tmp_path / "kept.npz")
    for kept in (True, tmp_path / "kept.npz"):
        with pytest.raises(FileExistsError, match=r"solution\.npz is there already; .* overwrite=True"):
            job(tmp_path / "run", growth(2.0), checkpoint=kept)
    assert {path: path.read_bytes() for path in before} == before
    done = job(tmp_path / "run", growth(2.0), TIMES[:3], overwrite=True)
    # Nothing of the other run is left.
    assert names(tmp_path / "run") == FILES
    assert len(list((tmp_path / "run" / "solution").iterdir())) == 6
    assert_same(load(tmp_path / "run" / "solution.npz"), done.solution)
    job(tmp_path / "run", growth(2.0), TIMES[:3], overwrite=True, paraview=False)
    assert names(tmp_path / "run") == ["curves.csv", "log.txt", "solution.npz"]


def test_a_checkpoint_of_another_run_is_replaced_only_if_asked(tmp_path, monkeypatch, direct):
    stopped(monkeypatch, tmp_path)
    whole = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(ValueError, match="models differ; remove it or name another file, or give overwrite=True"):
        job(tmp_path, growth(2.0))
    assert (tmp_path / "checkpoint.npz").read_bytes() == whole
    # The same run goes on all the same: a line with overwrite may be started again.
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", forbidding(tmp_path / "checkpoint.npz"))
        with pytest.raises(AssertionError, match="taken away"):
            job(tmp_path, growth(2.0), overwrite=True)
    assert_same(job(tmp_path, overwrite=True).solution, direct)
    stopped(monkeypatch, tmp_path, overwrite=True)
    assert_same(job(tmp_path, growth(2.0), overwrite=True).solution, solve(MESH, growth(2.0), TIMES))


def forbidding(kept):
    """Return Path.unlink that fails where one file would be taken away."""
    unlink = type(kept).unlink

    def careful(path, **options):
        assert path != kept, f"{path} would be taken away"
        unlink(path, **options)

    return careful


def test_what_is_no_checkpoint_is_never_taken_away(tmp_path):
    path = tmp_path / "mine.npz"
    save(path, MESH)
    with pytest.raises(ValueError, match=r"mine\.npz should be a checkpoint of solve"):
        job(tmp_path / "run", checkpoint=path, overwrite=True)
    assert names(tmp_path) == ["mine.npz"]


def test_a_run_that_fails_leaves_what_it_has(tmp_path):
    bursting = Model({"ball": "ball"}, [Species("u", "ball", 1, 1)], [Reaction("r", "ball", "2*u*u", {"u": 1})])
    with pytest.raises(SolveError, match=r"blow up.*; what was computed until then is in .*run") as error:
        job(tmp_path / "run", bursting)
    part = load(tmp_path / "run" / "solution.npz")
    # u = 1/(1 - 2 t).
    assert part.times.tolist() == [0, 0.2, 0.4]
    assert part.message
    assert_same(part, error.value.solution)
    assert names(tmp_path / "run") == ["checkpoint.npz", *FILES]


def test_what_cannot_begin_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="rtol should be"):
        job(tmp_path / "a" / "run", rtol=3)
    with pytest.raises(ValueError, match="engine should be one of"):
        job(tmp_path / "a" / "run.npz", engine="none")
    assert not list(tmp_path.iterdir())


def test_files_for_paraview_alone_and_runs_without_a_mesh(tmp_path):
    assert [path.name for path in job(tmp_path / "a.pvd").files] == ["a.pvd"]
    assert names(tmp_path) == ["a", "a.pvd"]
    bath = Model({"c": "c"}, [Species("A", "c", initial=1), Pool("B", 2.0, 1)], [Reaction("r", "c", "A", {"B": 1})])
    simulate({"c": 1.0}, bath, TIMES, tmp_path / "mixed")
    assert names(tmp_path / "mixed") == ["curves.csv", "log.txt", "solution.npz"]
    assert table(tmp_path / "mixed" / "curves.csv")[0][2] == "mean B (molecule/um^3)"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (".npz", "an ending without a name"),
        ("out.vtu", "should be a folder, or a file that ends in .npz or .pvd; .vtu holds no solution"),
        ("out.csv", ".csv holds no solution"),
        ("file", "is a file; name a folder"),
        ("folder.npz", "is a folder; its name ends as that of a file"),
        ("strange", "it holds something else: mine.txt"),
    ],
)
def test_outputs_that_cannot_be_are_refused(tmp_path, output, said):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "strange" / "solution").mkdir(parents=True)
    (tmp_path / "strange" / "solution" / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError) as error:
        job(tmp_path / output, overwrite=True)
    assert said in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_names_with_other_dots_are_folders(tmp_path):
    assert target_of(tmp_path / "k0.5").folder
    assert target_of(tmp_path / "run.v2").solution.name == "solution.npz"
