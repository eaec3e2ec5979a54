"""No figure of the committed table of mesh quality gets worse; `python tests/meshing_table.py --write` renews it."""

import pytest

from gallery.files import SPINE
from meshing_table import FAST, SLACK, SLOW, as_markdown, committed, figures_of, worse


def assert_not_worse(name):
    found, before = figures_of(name), committed()[name]
    text = [f"{stage}: {line}" for stage in before for line in worse(found[stage], before[stage])]
    assert not text, f"{name} got worse; if that is meant, write the table anew\n" + "\n".join(text)


@pytest.mark.parametrize("name", FAST)
def test_fast_cases(name):
    assert_not_worse(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_cases(name):
    if name == "real spine" and not (SPINE / "labels_10nm.npz").exists():
        pytest.skip("the real spine is not here; set MESHCELL_DATA to the folder that holds spine/")
    assert_not_worse(name)


def test_the_table_has_every_case_and_no_bad_mesh():
    table = committed()
    assert list(table) == [*FAST, *SLOW]
    for stages in table.values():
        # At least 10 degrees, aim 15, on any labels.
        assert stages["mesh"]["least angle"] >= 15
        assert stages["mesh"]["greatest distance"] <= 1.5


def test_each_kind_of_loss_is_seen():
    row = committed()["torus"]["mesh"]
    assert not worse(row, row)
    for what, slack in SLACK.items():
        assert len(worse({**row, what: row[what] + 1.01 * slack}, row)) == 1
        assert not worse({**row, what: row[what] + 0.99 * slack}, row)
        assert not worse({**row, what: row[what] - 5 * slack}, row)
    assert len(worse({**row, "elements": 1.2 * row["elements"]}, row)) == 1
    assert "topology" in worse({**row, "topology": {"body": [2, 2, 1]}}, row)[0]


def test_the_table_prints_one_line_per_stage():
    assert len(as_markdown(committed()).splitlines()) == 2 + 2 * len(committed())
