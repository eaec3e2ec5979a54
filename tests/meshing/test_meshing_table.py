"""No angle of the committed table of mesh quality gets worse (`python tests/meshing_table.py --write` renews it).

All else is held against the truth: closed forms, and what is promised of any labels.
"""

import numpy as np
import pytest

import meshcell as mc
from gallery.files import SPINE
from gallery.labels import sphere, torus, tube
from meshing_table import FAST, PROMISED, SLACK, SLOW, as_markdown, broken_promises, committed, figures_of, worse

# Body -> (labels, area, volume), pieces, Euler characteristic and genus.
CLOSED_FORMS = {
    "sphere": (sphere(10.2), (1, 2, 0)),
    "torus": (torus(), (1, 0, 1)),
    "tube": (tube(), (1, 2, 0)),
}


def assert_not_worse(name):
    found, before = figures_of(name), committed()[name]
    text = [f"{stage}: {line}" for stage in before for line in worse(found[stage], before[stage])]
    assert not text, f"{name} got worse; if that is meant, write the table anew\n" + "\n".join(text)
    text = [f"{stage}: {line}" for stage in found for line in broken_promises(found[stage])]
    assert not text, f"{name} breaks a promise\n" + "\n".join(text)


@pytest.mark.parametrize("name", FAST)
def test_fast_cases(name):
    assert_not_worse(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_cases(name):
    if name == "real spine" and not (SPINE / "labels_10nm.npz").exists():
        pytest.skip("the real spine is not here; set MESHCELL_DATA to the folder that holds spine/")
    assert_not_worse(name)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_areas_volumes_and_topology_are_those_of_the_closed_form(name):
    (volume, area, size), topology = CLOSED_FORMS[name]
    surface = mc.remesh(mc.smooth(mc.extract(volume)), edge=1.5)
    mesh = mc.tetrahedralize(surface, edge=1.5, recondition=False)
    # Which voxels along the membrane have their middle within is chance: their number errs by less than the root of
    # how many they are. What is made of them keeps their volume to 0.1 %.
    count = float((volume.data > 0).sum())
    assert abs(count - size) < np.sqrt(area)
    for thing in (surface, mesh):
        # One per cent is promised.
        assert mc.areas(thing) == {("body", "outside"): pytest.approx(area, rel=0.01)}
        assert mc.enclosed_volumes(thing) == {"body": pytest.approx(count, rel=1e-3)}
        found = mc.topology(thing)["body"]
        assert (found.components, found.euler, found.genus, found.cavities) == (*topology, 0)
    assert mesh.volumes.sum() == pytest.approx(count, rel=1e-3)


def test_the_table_has_every_case_and_no_bad_mesh():
    table = committed()
    assert list(table) == [*FAST, *SLOW]
    for stages in table.values():
        # At least 10 degrees, aim 15, on any labels.
        assert stages["mesh"]["least angle"] >= 15
        assert not broken_promises(stages["surface"]) and not broken_promises(stages["mesh"])


def test_each_kind_of_loss_is_seen():
    row = committed()["torus"]["mesh"]
    assert not worse(row, row)
    for what, slack in SLACK.items():
        assert len(worse({**row, what: row[what] + 1.01 * slack}, row)) == 1
        assert not worse({**row, what: row[what] + 0.99 * slack}, row)
        assert not worse({**row, what: row[what] - 5 * slack}, row)
    for what, most in PROMISED.items():
        assert len(broken_promises({**row, what: 1.01 * most})) == 1
        assert not broken_promises({**row, what: 0.99 * most})
    assert "topology" in broken_promises({**row, "as labels": False})[0]


def test_the_table_prints_one_line_per_stage():
    assert len(as_markdown(committed()).splitlines()) == 2 + 2 * len(committed())
