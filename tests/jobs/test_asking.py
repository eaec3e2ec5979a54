"""Times and quantities as they are typed."""

import numpy as np
import pytest

from gallery.meshes import ball
from meshcell.jobs.asking import MOST, moments, question, questions
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.species import Reaction, Species

CELL = Model(
    {"cyt": "shell", "er": "core", "PM": ("shell", "outside")},
    [Species("Ca", "cyt", 220, 1), Species("CaER", "er", 6, 400)],
    [Reaction("pump", "PM", "Ca", {"Ca": -1}), Reaction("pump fast", "PM", "Ca", {"Ca": -1})],
)


@pytest.mark.parametrize(("until", "every", "count"), [("2s", "50ms", 41), (1, None, 41), ("3", "0.3 s", 11)])
def test_even_times_are_those_of_linspace(until, every, count):
    times = moments(until, every)
    np.testing.assert_allclose(times, np.linspace(0, times[-1], count), rtol=1e-14)
    assert times[-1] == float(str(until).strip("s"))


def test_the_end_is_a_time_also_where_it_is_no_multiple():
    assert moments("1 s", "300 ms").tolist() == [0, 0.3, 0.6, 0.9, 1]


def test_single_times_are_sorted_and_begin_at_zero_or_before():
    assert moments(times=["1s", 0.5, "0.5", "20 ms"]).tolist() == [0, 0.02, 0.5, 1]
    assert moments(times=["-1 s", 1]).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "times should come from until=, perhaps with every=, or from times= alone"),
        ({"until": 1, "times": [1]}, "times should come from until="),
        ({"times": [1], "every": 1}, "times should come from until="),
        ({"until": "0"}, r"until should be a time above 0: 2 \(s\) or 500ms; got '0'"),
        ({"until": "inf"}, "until should be a time above 0"),
        ({"until": "2 kg"}, "until should be in s or convertible to it; got '2 kg'"),
        ({"until": 1, "every": "2 s"}, "every should be between 1e-06 s and the end of the run at 1 s; got '2 s'"),
        ({"until": 1, "every": 0.5 / MOST}, "every should be between 1e-06 s"),
        ({"until": 1, "every": "nan"}, "every should be a time above 0"),
        ({"times": ["1", "inf"]}, r"times should be finite: 0.1 \(s\) or 50ms; got 1, inf"),
        ({"times": ["0"]}, "times should name one after 0 s, where the run begins; got 0"),
        ({"times": []}, "times should name one after 0 s"),
    ],
)
def test_times_that_cannot_be_are_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        moments(**asked)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mean Ca", Quantity("mean", "Ca")),
        (" mean  Ca cyt", Quantity("mean", "Ca", place="cyt")),
        ("total Ca shell + core", Quantity("total", "Ca", place="shell + core")),
        ("mean Ca shell|outside", Quantity("mean", "Ca", place=("shell", "outside"))),
        (
            "mean Ca shell | outside, core|shell",
            Quantity("mean", "Ca", place=(("shell", "outside"), ("core", "shell"))),
        ),
        ("flux pump fast", Quantity("flux", "pump fast")),
        ("flux pump fast PM", Quantity("flux", "pump fast", place="PM")),
        ("flux pump PM", Quantity("flux", "pump", place="PM")),
        ("value Ca 0 -1 300nm", Quantity("value", "Ca", point=("0 nm", "-1 nm", "300 nm"))),
        ("area Ca 0, 0, 0.3", Quantity("area", "Ca", point=(0, 0, 0.3))),
        ("area Ca PM", Quantity("area", "Ca", place="PM")),
    ],
)
def test_quantities_are_read_as_they_are_written(text, meant):
    assert question(text, CELL) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ca", 'a quantity, a species and, if wanted, a place, such as "mean Ca head" or "flux pump"; got \'Ca\''),
        ("", "a quantity, a species and"),
        ("maen Ca", "did you mean 'mean'"),
        ("value Ca head", "'value Ca head' should end in a point"),
        ("mean ca", "'ca' is not a species of the model; did you mean 'Ca'"),
        ("flux pmup", "did you mean 'pump'"),
        ("mean Ca corr", "no place is called 'corr'; did you mean 'core'"),
        ("mean Ca er", "'Ca' does not live there"),
        ("value Ca 3 3 3", "the point lies outside 'cyt'"),
    ],
)
def test_questions_that_the_model_does_not_answer_are_refused(text, said):
    with pytest.raises(ValueError) as error:
        questions([text], CELL, ball(2, core=0.5))
    assert said in str(error.value)
