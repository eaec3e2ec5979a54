"""Models as TOML: what is written comes back equal, and what no text can say is refused by name."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import meshcell as mc
from gallery.any_models import models, numbers
from gallery.meshes import ball
from meshcell.core import toml_text
from meshcell.core.files import FileError
from meshcell.models.exchange.toml import HEAD, toml_of
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.species import Reaction, Species

ALL = Model(
    {
        "cyt": "cytosol + psd",
        "er": "er",
        "PM": ("cytosol + psd", "outside"),
        "ERM": (("er", "cytosol"), ("er", "psd")),
        'a "strange" name\x7f\n': "Endoplasmatisches Retikulum é|µ",
    },
    [
        Species("Ca", "cyt", {"cytosol": "D", "psd": "3 um^2/s"}, "0.1 uM", {"PM": "1 uM"}),
        Species("store", "er", "D*(1 + x/L)", "c0*exp(-x/L)"),
        Species("R", "PM", 0.1 + 0.2, "10 molecule/um^2"),
        Species("V", "cyt", 1e-5, "-65 mV", {"ERM": Table([0, 0.1, 0.1], [1, 2, -1e-300], "mV", "ms")}, signed=True),
        Species("plain", "cyt"),
    ],
    [
        Reaction("leak", "ERM", "k*(store - Ca)", {"store": -1, "Ca": 1}),
        Reaction("bind", "PM", "pulse*Ca - off*R", {"Ca": -1, "R": 0.5}),
    ],
    {
        "D": "220 um^2/s",
        "c0": "400 uM",
        "L": "1 um",
        "k": "0.02 um/s",
        "off": "0.3 1/s",
        "pulse": Table([0, 5, 10], [0, 3, 0], "um/s", time_unit="ms"),
    },
)


def round_trip(tmp_path, model):
    model.to_toml(tmp_path / "model.toml", overwrite=True)
    return Model.from_toml(tmp_path / "model.toml")


def test_all_that_is_text_or_number_comes_back(tmp_path):
    back = round_trip(tmp_path, ALL)
    assert back == ALL
    assert [list(getattr(back, part)) for part in ("compartments", "parameters")] == [
        list(getattr(ALL, part)) for part in ("compartments", "parameters")
    ]
    assert repr(back) == repr(ALL)
    assert toml_of(back) == toml_of(ALL)


def test_the_file_reads_as_its_author_would_write_it(tmp_path):
    model = Model(
        {"cyt": "cytosol", "PM": ("cytosol", "outside")},
        [Species("Ca", "cyt", "220 um^2/s", "0.1 uM")],
        [Reaction("pump", "PM", "v*Ca/(K + Ca)", {"Ca": -1})],
        {"v": "30 molecule/um^2/s", "K": "0.2 uM"},
    )
    model.to_toml(tmp_path / "new" / "model.toml")
    assert (
        (tmp_path / "new" / "model.toml").read_text("utf-8")
        == f"""{HEAD}

[compartments]
cyt = "cytosol"
PM = ["cytosol", "outside"]

[[species]]
name = "Ca"
compartment = "cyt"
diffusion = "220 um^2/s"
initial = "0.1 uM"

[[reactions]]
name = "pump"
compartment = "PM"
rate = "v*Ca/(K + Ca)"
change = {{ Ca = -1 }}

[parameters]
v = "30 molecule/um^2/s"
K = "0.2 uM"
"""
    )


def test_the_model_of_a_file_is_simulated_to_the_same_bytes(tmp_path):
    model = Model(
        {"ball": "ball", "PM": ("ball", "outside")},
        [Species("u", "ball", 1 / 3, "1 + 0.1*x", {"PM": Table([0, 1], [1, 2])})],
        [Reaction("r", "ball", "k*u", {"u": -1})],
        {"k": 0.1},
    )
    one, other = (mc.solve(ball(2), item, [0, 0.1]) for item in (model, round_trip(tmp_path, model)))
    assert one.values["u"].tobytes() == other.values["u"].tobytes()


# --- any model ---


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(models())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_model_comes_back(tmp_path_factory, model):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    model.to_toml(path)
    assert Model.from_toml(path) == model


leaves = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers


branches = st.recursive(leaves, lambda own: st.lists(own) | st.dictionaries(st.text(), own), max_leaves=8)


@settings(deadline=None)
@given(st.dictionaries(st.text(), branches, max_size=4))
def test_values_and_keys_are_read_as_they_were_written(content):
    text = "".join(f"{toml_text.key(key)} = {toml_text.value(value)}\n" for key, value in content.items())
    assert tomllib.loads(text) == content


# --- what is refused ---


def test_what_is_no_text_is_refused_by_name_with_what_to_write_instead(tmp_path):
    species = [
        Species("u", "ball", Field(np.ones(3)), lambda xyz: xyz[:, 0]),
        Species("v", "ball", {"a": 1, "b": np.ones(3)}, np.ones(3), {"PM": lambda t: 1 + t}),
    ]
    reactions = [Reaction("r", "ball", "k*f*u", {"u": -1})]
    parameters = {"k": Course(lambda t: t), "f": np.ones(3)}
    model = Model({"ball": "a + b", "PM": ("a", "outside")}, species, reactions, parameters)
    with pytest.raises(FileError) as refused:
        model.to_toml(tmp_path / "model.toml")
    for part in (
        "model.toml: a TOML file holds texts and numbers",
        "diffusion of species u is a Field over one mesh: write a formula in x, y and z",
        "initial of species u is a Python function: write a formula in x, y and z instead",
        "diffusion of species v for 'b' is a Field",
        "initial of species v is a Field",
        "fixed of species v for 'PM' is a Python function: write a formula in t, x, y and z or a Table",
        "parameter k is a Python function",
        "parameter f is a Field",
    ):
        assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_is_refused(tmp_path):
    model = Model({"cyt\ud800": "cytosol"}, [])
    with pytest.raises(FileError, match="half a character stands alone"):
        model.to_toml(tmp_path / "model.toml")


def test_files_of_others_are_kept(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text("[compartments]\n# by hand\n")
    with pytest.raises(FileExistsError, match="overwrite=True to replace it"):
        ALL.to_toml(path)
    assert "by hand" in path.read_text()
    ALL.to_toml(path, overwrite=True)
    changed = replace(ALL, reactions=ALL.reactions[:1])
    changed.to_toml(path)
    assert Model.from_toml(path) == changed


GOOD = """
[compartments]
cyt = "cytosol"
PM = ["cytosol", "outside"]
[[species]]
name = "Ca"
compartment = "cyt"
[[reactions]]
name = "pump"
compartment = "PM"
rate = "k*Ca"
change = { Ca = -1 }
[parameters]
k = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[parameters]", "[paramters]", "a model has no key 'paramters'; did you mean 'parameters'"),
        ("[compartments]", "[[compartments]]", "compartments should be a table, .compartments.; got"),
        ('cyt = "cytosol"', "cyt = 3", "compartment 'cyt' should be the name of a region"),
        ("[[species]]", "[species]", r"species should be written as \[\[species\]\], once for each"),
        ('name = "Ca"', 'name = "Ca"\ndifusion = 3', "species 'Ca' has no key 'difusion'; did you mean 'diffusion'"),
        ('name = "Ca"', "", "species 1 should have the key 'name'; it has compartment"),
        ('name = "Ca"', 'name = "Ca"\ninitial = [1, 2]', "initial of species 'Ca' should be one number"),
        ('name = "Ca"', 'name = "Ca"\ninitial = 2020-01-01', "initial of species 'Ca' should be a number"),
        ('name = "Ca"', 'name = "Ca"\nsigned = 1', "signed of species 'Ca' should be True or False"),
        ('name = "Ca"', 'name = "Ca"\nfixed = { PM = { time = [0], values = [1] } }', "has no key 'time'.*'times'"),
        ('rate = "k*Ca"', 'rte = "k*Ca"', "reaction 'pump' has no key 'rte'; did you mean 'rate'"),
        ('rate = "k*Ca"', 'rate = "k*Cb"', "Cb"),
        ("change = { Ca = -1 }", "", "reaction 'pump' should have the key 'change'"),
        ("k = 2", "k = true", "parameter 'k' should be one number or a text"),
        ("k = 2", "k = { times = [0, 1] }", "parameter 'k', a table in time, should have the key 'values'"),
        ("k = 2", 'k = { times = [0], values = [1], units = "uM" }', "no key 'units'; did you mean 'unit'"),
        ("k = 2", f"k = {10**400}", "parameter 'k' is too large a number"),
        ("k = 2", f"k = {{ times = [0], values = [{10**400}] }}", "a number in it is too large"),
        ("k = 2", "k = inf", "parameter 'k' should be finite"),
        ("k = 2", "k = 2\nk = 3", "should be a TOML file; reading it failed: Cannot overwrite a value"),
        ("[compartments]", "compartments", "should be a TOML file"),
    ],
)
def test_mistakes_in_files_are_named_with_what_was_meant(tmp_path, old, new, message):
    path = tmp_path / "model.toml"
    # Editors of some systems begin a file with a mark of its encoding.
    path.write_text(GOOD, "utf-8-sig")
    assert Model.from_toml(str(path)).parameter_values == {"k": 2}
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(FileError, match=message) as refused:
        Model.from_toml(path)
    assert str(refused.value).startswith(str(path))


def test_no_file_and_no_name_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is none; check the name"):
        Model.from_toml(tmp_path / "no.toml")
    with pytest.raises(TypeError, match=r"Model.from_toml\(path\) needs a str"):
        Model.from_toml({"compartments": {}})
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe[compartments]")
    with pytest.raises(FileError, match="should be a TOML file"):
        Model.from_toml(tmp_path / "bytes.toml")
