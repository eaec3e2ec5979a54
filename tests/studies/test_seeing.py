"""The loop from labels through a tomogram and back, against the truth that it starts from."""

import numpy as np
import pytest

import meshcell as mc
from gallery.labels import nested_balls
from meshcell.imaging.tomograms import stain
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.studies.seeing import compare, report


def seen(largest):
    def look(labels):
        density = stain(labels, {"cytosol": 1.0, "er": 2.0})
        found = mc.tomogram(density, mc.tilt_angles(largest, 2), method="sirt", iterations=20, rng=0)
        return mc.clean(mc.segment(found, method="multiotsu", classes=3))

    return look


@pytest.fixture(scope="module")
def outcomes():
    return compare(nested_balls(32), {"full": seen(89), "wedge": seen(40)})


def test_more_views_see_more(outcomes):
    truth, full, wedge = outcomes
    assert truth.dice == {"cytosol": 1.0, "er": 1.0}
    for region in truth.dice:
        assert full.dice[region] > 0.95
        assert wedge.dice[region] < full.dice[region]


def test_a_table_names_every_figure(outcomes):
    text = report(outcomes)
    for word in ("Dice, er", "area er | cytosol", "volume, cytosol", "components, genus: er", "wedge"):
        assert word in text


def test_the_same_seed_gives_the_same_tomogram():
    density = stain(nested_balls(16), {"cytosol": 1.0})
    first, again = (mc.tomogram(density, snr=1.0, misalignment=1.0, rng=4).data for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_region_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no region is called 'golgi'"):
        stain(nested_balls(8), {"golgi": 1.0})


def model(rate):
    return Model(
        {"cyt": "cytosol", "er": "er"},
        [Species("A", "cyt", "10 um^2/s", "1 uM"), Species("B", "er", "10 um^2/s", 0.0)],
        [Reaction("change", "cyt", rate, {"A": 1})],
        {"k": 1.0},
    )


def test_what_cannot_be_simulated_is_a_finding():
    """A region that was not seen, or a run that blows up, leaves the other figures and says why."""
    truth = nested_balls(16)

    def lost(labels):
        return mc.Volume(np.minimum(labels.data, 1), labels.spacing, labels.origin)

    ways = {"same": lambda labels: labels, "lost": lost}
    first, same, without = compare(truth, ways, model=model("-k*A"), times=[0, 0.1], edge=0.04)
    np.testing.assert_array_equal(first.means["A"], same.means["A"])
    assert first.means["A"][1] == pytest.approx(first.means["A"][0] * np.exp(-0.1), rel=1e-3)
    assert without.means == {} and without.message.startswith("no simulation: ") and "er" in without.message
    text = report([first, same, without])
    assert without.message in text and "nan" in text
    blown = compare(truth, {}, model=model("k*A*A"), times=[0, 1], edge=0.04)
    assert blown[0].means == {} and "blow" in blown[0].message
