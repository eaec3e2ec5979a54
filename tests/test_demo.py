"""The demonstration goes the whole way: it writes every picture that it names, and its numbers belong together."""

import numpy as np
import pytest

import meshcell as mc
from meshcell import demo


def test_the_model_needs_its_regions():
    model = demo.calcium_model(mc.Volume(np.array([[[1, 2]]]), 0.1, names={1: "cytosol", 2: "er"}))
    assert [species.name for species in model.species] == ["Ca", "CaER"]
    with pytest.raises(ValueError, match=r"\['er'\] are not in cytosol"):
        demo.calcium_model(mc.Volume(np.array([[[1]]]), 0.1, names={1: "cytosol"}))


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    made = demo.run(tmp_path / "new", spacing="20 nm", edge="80 nm")
    assert {file.name for file in made.files} == {"calcium.pvd", *demo.PICTURES}
    assert all(file.stat().st_size > 1000 for file in made.files)
    assert made.solution.message == ""
    assert made.peak == pytest.approx(mc.mean(made.solution, "Ca").max() / 602.214076)
    # A transient: up by the stimulus within a few of its 10 ms, then back towards the 0.1 uM of rest.
    mean = mc.mean(made.solution, "Ca") / 602.214076
    assert made.peak > 1
    assert 0.01 < made.time < 0.1
    assert mean[-1] < 0.2 * made.peak
