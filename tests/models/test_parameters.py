"""Parameters that vary in time and space, initial values of every kind, places made of parts."""

import pickle
from dataclasses import replace

import numpy as np
import pint
import pytest

import meshcell as mc
from gallery.balls import round_ball
from gallery.meshes import box
from meshcell.models.binding import bind
from meshcell.models.bound_places import nodal
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field, Table
from meshcell.models.species import Reaction, Species

UM = 602.214076
PM = {"cyt": "ball", "PM": ("ball", "outside")}


@pytest.fixture(scope="module")
def mesh():
    """A ball with the patch z > 0.5 of its membrane."""
    plain = round_ball(6)
    return mc.patch(plain, "psd", lambda points: points[:, 2] > 0.5)


@pytest.fixture(scope="module")
def halves():
    """A box cut at x = 1/2 into two regions that are one for what diffuses through both."""
    plain = box(6, region=lambda c: np.where(c[:, 0] < 0.5, 1, 2), names={1: "cytosol", 2: "psd"})
    x = plain.points[plain.facets][:, :, 0]
    ends = {"left": np.flatnonzero((x == 0).all(axis=1)), "right": np.flatnonzero((x == 1).all(axis=1))}
    return replace(plain, patches=ends)


def influx(value, rate="J", unit="0 uM"):
    return Model(PM, [Species("Ca", "cyt", 220, unit)], [Reaction("in", "PM", rate, {"Ca": 1})], {"J": value})


# --- courses in time ---


def test_a_table_is_interpolated_in_its_units_and_names_its_kinks():
    table = Table([0, 5, 10], [1, 3, 2], "uM/s", time_unit="ms")
    assert [table(t) / UM for t in (-1, 0, 0.0025, 0.005, 0.0075, 1)] == pytest.approx([1, 1, 2, 3, 2.5, 2], rel=1e-14)
    assert table.events == (0, 0.005, 0.01)
    assert table == Table((0, 5, 10), (1, 3, 2), "uM/s", "ms")
    assert pickle.loads(pickle.dumps(table)) == table


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (Table([0, 0.1, 0.2], [0, 100, 0], "molecule/um^2/s"), 10),
        (Table([0, 100, 200], [0, 100, 0], "molecule/um^2/s", time_unit="ms"), 10),
        (lambda t: 3000 * t**2, 27),
        (Course(lambda t: 3 * t**2, "molecule/nm^2/s"), 27e3),
        ("100 molecule/um^2/s", 30),
        (100.0, 30),
    ],
)
def test_what_flows_in_is_the_integral_of_its_course(mesh, value, amount):
    area = mesh.areas.sum()
    solution = mc.solve(mesh, influx(value), [0, 0.1, 0.2, 0.3], rtol=1e-6)
    assert mc.total(solution, "Ca")[-1] == pytest.approx(amount * area, rel=1e-5)


def test_units_of_courses_and_fields_are_checked_and_plain_ones_switch_the_check_off(mesh):
    influx(Table([0, 1], [0, 1], "molecule/um^2/s"))
    influx(lambda t: t)
    influx(np.ones(7))
    for value in (Table([0, 1], [0, 1], "uM/s"), Course(lambda t: t, "uM/s"), Field(np.ones(7), "uM/s")):
        with pytest.raises(
            ValueError, match=r"rate of reaction 'in'.*should be in molecule/um\^2/s.*J in molecule/um\^3"
        ):
            influx(value)


def test_a_model_lists_the_times_at_which_it_jumps_or_bends():
    species = [Species("u", "cyt", 1, 0, fixed={"PM": Table([0, 7], [0, 1])})]
    rate = "J*heaviside(t - t0)*heaviside(t1 - 2*t) + max(t - 3, 0) + heaviside(u - 4) + heaviside(t*t - 5)"
    reactions = [Reaction("r", "cyt", rate, {"u": 1}), Reaction("s", "PM", "pulse", {"u": 1})]
    given = {"J": 1, "t0": 0.5, "t1": 4, "pulse": Course(lambda t: t, events=[9, 8])}
    # A condition on u is no event in time, and a square is not looked through.
    assert Model(PM, species, reactions, given).events == (0, 0.5, 2, 3, 7, 8, 9)
    assert influx(1).events == ()


def test_conditions_signs_and_sizes_are_events_where_they_compare_time():
    rate = "where(t < 1 or 3 >= 2*t and u > 4, 1, u) + sign(t - 2)*abs(5 - t) + floor(t) + where(u > 6, 1, 0)"
    model = Model(PM, [Species("u", "cyt", 1, 0)], [Reaction("r", "cyt", rate, {"u": 1})])
    assert model.events == (1, 1.5, 2, 5)


@pytest.mark.parametrize(
    ("rate", "amount"),
    [
        ("1 + cos(2*pi*t)", 2.5),
        ("abs(sin(pi*t))", (2 * 2 + 1) / np.pi),
        ("floor(t)", 0 + 1 + 2 * 0.5),
        ("where(0.3 < t < 0.3001, 1e4, 0)", 1.0),
        # A condition of species and time at once.
        ("where(t >= 2 and u >= 0, 4, 0) + 0*u", 2.0),
    ],
)
def test_what_rates_of_time_bring_is_their_integral(halves, rate, amount):
    model = Model({"left": "left"}, [Species("u", "left", 1, 0)], [Reaction("in", "left", rate, {"u": 1})])
    solution = mc.solve(halves, model, [0, 2.5], rtol=1e-4)
    assert mc.mean(solution, "u")[-1] == pytest.approx(amount, rel=1e-3)


# --- fields over the mesh ---


def test_a_density_on_a_patch_only_acts_there_and_as_much_as_it_should(mesh):
    density = np.zeros(len(mesh.facets))
    density[mesh.patches["psd"]] = 40.0
    solution = mc.solve(mesh, influx(Field(density, "molecule/um^2/s")), [0, 0.5])
    area = mesh.areas[mesh.patches["psd"]].sum()
    # What no reaction keeps is as exact as the linear solver, rtol / 100.
    assert mc.total(solution, "Ca")[-1] == pytest.approx(40 * area * 0.5, rel=1e-6)
    assert mc.flux(solution, "in")[0] == pytest.approx(40 * area, rel=1e-13)
    north, south = solution.values["Ca"][-1][[mesh.points[:, 2].argmax(), mesh.points[:, 2].argmin()]]
    assert north > south


def test_fields_fit_nodes_or_cells_of_the_compartment_or_the_mesh(mesh):
    place = bind(influx(1), mesh).compartments["PM"]
    z = mesh.points[:, 2]
    np.testing.assert_array_equal(nodal(Field(z), place, mesh, "z"), z[place.nodes])
    np.testing.assert_array_equal(nodal(Field(z[place.nodes]), place, mesh, "z"), z[place.nodes])
    by_facet = np.random.default_rng(0).uniform(size=len(mesh.facets))
    plain = np.zeros(len(mesh.points))
    weights = np.zeros(len(mesh.points))
    for facet, area, value in zip(mesh.facets, mesh.areas, by_facet, strict=True):
        plain[facet] += area * value
        weights[facet] += area
    found = nodal(Field(by_facet), place, mesh, "z")
    np.testing.assert_allclose(found, (plain / np.maximum(weights, 1e-300))[place.nodes], rtol=1e-12)
    # Volumes: of the whole mesh, as the ball is one region.
    cyt = bind(influx(1), mesh).compartments["cyt"]
    np.testing.assert_allclose(nodal(Field(np.full(len(mesh.tets), 3.0)), cyt, mesh, "z"), 3, rtol=1e-13)


def test_fields_that_fit_nothing_or_two_things_are_refused(mesh):
    with pytest.raises(
        ValueError, match=r"parameter 'J' should have one value per node \(\d+\) or cell .*got 5 values"
    ):
        bind(influx(np.ones(5)), mesh)
    one = mc.TetMesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2, 3]], [1],
                     [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], [[1, 0]] * 4, {1: "ball"})  # fmt: skip
    with pytest.raises(ValueError, match=r"has 4 values, which fits nodes and facets of 'PM'; say which with at="):
        bind(influx(Field(np.arange(4.0))), one)
    bind(influx(Field(np.arange(4.0), at="cells")), one)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Table([0, 1], [1]), "as many values as times; got 1 and 2"),
        (lambda: Table([0, 2, 1], [1, 2, 3]), "should ascend; got 2 and then 1"),
        (lambda: Table([0, np.nan], [1, 2]), "times should be a list of finite numbers"),
        (lambda: Table([0, 1], [1, 2], "uMol"), "'uMol' is not defined"),
        (lambda: Table([0, 1], [1, 2], time_unit="um"), "time_unit of a Table should be in s"),
        (lambda: influx(lambda t: np.inf), "parameter 'J': a function of time should return finite numbers"),
        (lambda: influx(lambda: 1), "parameter 'J': a function of time should return one number; .*raised TypeError"),
        (lambda: Field([[1]]), r"one number per node or cell; got shape \(1, 1\)"),
        (lambda: Field([1, np.nan]), "finite numbers; 1 are not, the first is row 1"),
        (lambda: Field([1], at="points"), "at should be 'nodes' or 'cells'; got 'points'"),
    ],
)
def test_unusable_courses_and_fields_are_refused(build, text):
    with pytest.raises(ValueError, match=text):
        build()


# --- initial values ---


@pytest.mark.parametrize(
    "initial",
    [
        lambda points: UM * np.exp(points[:, 0]),
        lambda points: UM * np.exp(points).T[0],
        "602.214076*exp(x)",
    ],
)
def test_initial_values_may_be_functions_of_points(mesh, initial):
    species = bind(Model(PM, [Species("u", "PM", 1, initial)]), mesh).species["u"]
    expected = UM * np.exp(mesh.points[species.compartment.nodes, 0])
    np.testing.assert_allclose(species.initial, expected, rtol=1e-14)


def test_initial_values_may_be_arrays_with_or_without_units(mesh):
    values = np.random.default_rng(1).uniform(size=len(mesh.points))
    quantity = pint.UnitRegistry().Quantity(values, "micromolar")
    for initial in (UM * values, Field(values, "uM"), quantity):
        species = bind(Model(PM, [Species("u", "cyt", 1, initial)]), mesh).species["u"]
        np.testing.assert_allclose(species.initial, UM * values, rtol=1e-13)
    # The last state of one run is the first of the next.
    first = mc.solve(mesh, Model(PM, [Species("u", "PM", 1, "1 + x")]), [0, 0.1])
    again = mc.solve(mesh, Model(PM, [Species("u", "PM", 1, first.values["u"][-1])]), [0])
    np.testing.assert_array_equal(again.values["u"][0], first.values["u"][-1])


def test_initial_values_that_do_not_fit_are_refused(mesh):
    def bound(initial, place="cyt"):
        return bind(Model(PM, [Species("u", place, 1, initial)]), mesh)

    with pytest.raises(ValueError, match=r"initial of species 'u' should have one value per node .*got 3 values"):
        bound(np.ones(3))
    with pytest.raises(ValueError, match=r"returns one value for each of the \d+ points .*got shape \(\)"):
        bound(lambda points: 1.0)
    with pytest.raises(ValueError, match="initial of species 'u' should be finite everywhere"):
        bound(lambda points: np.full(len(points), np.inf))
    with pytest.raises(ValueError, match=r"should be in molecule/um\^2 on an interface"):
        bound(Field(np.ones(3), "uM"), "PM")


# --- places made of parts ---


def test_an_interface_within_a_union_is_no_wall(halves):
    places = {"cyt": "cytosol + psd", "left": "left", "right": "right"}
    species = [Species("u", "cyt", 1, 0, fixed={"left": 1, "right": 3})]
    solution = mc.solve(halves, Model(places, species), [0, 5], rtol=1e-6)
    np.testing.assert_allclose(solution.values["u"][-1], 1 + 2 * halves.points[:, 0], rtol=1e-6)
    assert mc.mean(solution, "u")[-1] == pytest.approx(2, rel=1e-6)


def test_a_union_gives_the_numbers_of_one_region(halves):
    outer = (halves.sides == 0).any(axis=1)
    sides = np.minimum(halves.sides[outer], 1)
    whole = mc.TetMesh(
        halves.points, halves.tets, np.ones_like(halves.regions), halves.facets[outer], sides, {1: "all"}
    )
    species = [Species("u", "cyt", 1, "1 + x"), Species("s", "PM", 0.5, "1 + y*x")]
    reactions = [Reaction("bind", "PM", "u - s", {"u": -1, "s": 1})]
    one, two = (
        mc.solve(mesh, Model({"cyt": name, "PM": (name, "outside")}, species, reactions), [0, 0.1, 0.5])
        for mesh, name in ((halves, "cytosol + psd"), (whole, "all"))
    )
    for name in ("u", "s"):
        np.testing.assert_array_equal(one.nodes[name], two.nodes[name])
        np.testing.assert_allclose(one.values[name], two.values[name], rtol=1e-12)


def test_surface_species_cross_the_line_between_two_pairs(halves):
    places = {"PM": (("cytosol", "outside"), ("psd", "outside")), "other": ("psd", "outside")}
    solution = mc.solve(halves, Model(places, [Species("s", "PM", 1, "2*heaviside(x - 0.5)")]), [0, 50])
    first = mc.total(solution, "s")
    assert first[1] == pytest.approx(first[0], rel=1e-12)
    np.testing.assert_allclose(solution.values["s"][-1], first[0] / 6, rtol=1e-5)


def test_reactions_may_live_in_a_part_of_a_species_home(halves):
    places = {"cyt": "cytosol + psd", "psd": "psd", "PM": ("cytosol + psd", "outside"), "PSDM": ("psd", "outside")}
    species = [Species("Ca", "cyt", 1e-9, 1), Species("S", "psd", 1e-9, 0), Species("P", "PM", 1e-9, 2)]
    reactions = [Reaction("bind", "psd", "3", {"Ca": -1, "S": 1}), Reaction("stick", "PSDM", "P", {"P": -1, "S": 1})]
    solution = mc.solve(halves, Model(places, species, reactions), [0, 0.1])
    # Half the box, and three unit-length sides of half a unit plus its end, six unit faces in all: 3 um^2.
    assert np.diff(mc.total(solution, "Ca"))[0] == pytest.approx(-3 * 0.5 * 0.1, rel=1e-6)
    # Nodes on the rim react with half of what they hold only, so they lose at half the speed: less than 1 % here.
    assert np.diff(mc.total(solution, "P"))[0] == pytest.approx(-2 * 3 * (1 - np.exp(-0.1)), rel=0.01)


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ({"cyt": "cytosol + golgi"}, "none called 'golgi'; its regions are cytosol, psd; its patches are left, right"),
        ({"cyt": "cytosol + left"}, "a union of regions or of patches, not of both; 'cytosol' is a region"),
        ({"m": ("cytosol + golgi", "outside")}, "has none called|it has none called 'golgi'"),
        ({"m": (("cytosol", "psd"), ("psd", "er"))}, "it has none called 'er'"),
    ],
)
def test_unions_that_the_mesh_lacks_are_refused(halves, places, text):
    with pytest.raises(ValueError, match=text):
        bind(Model(places, [Species("u", next(iter(places)))]), halves)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("cytosol + cytosol", 'should name different regions, as in "cytosol . psd"'),
        ("cytosol + ", "should name different regions|have a region"),
        ("cytosol + outside", "'outside' has none"),
        (("cytosol + psd", "psd"), "a pair of two different regions"),
    ],
)
def test_unions_that_make_no_sense_are_refused(place, text):
    with pytest.raises(ValueError, match=text):
        Model({"a": place}, [Species("u", "a")])


def test_a_species_must_live_all_over_where_a_reaction_uses_it(halves):
    places = {"cyt": "cytosol", "both": "cytosol + psd", "PM": ("cytosol + psd", "outside")}
    with pytest.raises(ValueError, match=r"reaction 'r' is on .*, which does not touch compartment 'cyt'"):
        Model(places, [Species("u", "cyt")], [Reaction("r", "PM", "u", {"u": -1})])
    with pytest.raises(ValueError, match=r"reaction 'r' is in region 'cytosol \+ psd'.*'u' lives in compartment 'cyt'"):
        Model(places, [Species("u", "cyt")], [Reaction("r", "both", "u", {"u": -1})])
    # That only the mesh can tell a patch from a region does not let a species react where it is not.
    places = {"cyt": "cytosol + psd", "PM": ("cytosol", "outside"), "left": "left", "right": "right"}
    bind(Model(places, [Species("s", "PM")], [Reaction("r", "left", "s", {"s": -1})]), halves)
    with pytest.raises(ValueError, match=r"reaction 'r' is on patch 'right', which does not touch compartment 'PM'"):
        bind(Model(places, [Species("s", "PM")], [Reaction("r", "right", "s", {"s": -1})]), halves)


# --- files ---


def test_solutions_with_tables_and_fields_survive_a_file(mesh, tmp_path):
    field = Field(np.linspace(0, 1, len(mesh.facets)), "1/s")
    species = [
        Species("u", "cyt", 1, Field(np.ones(len(mesh.points)), "uM"), fixed={"PM": Table([0, 1], [1, 2], "uM")})
    ]
    reactions = [Reaction("r", "PM", "k*J", {"u": 1})]
    model = Model(PM, species, reactions, {"k": field, "J": Table([0, 1], [0, 1], "molecule/um^2")})
    solution = mc.solve(mesh, model, [0, 0.1])
    mc.save(tmp_path / "run.npz", solution)
    again = mc.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(mc.flux(again, "r"), mc.flux(solution, "r"))
    np.testing.assert_array_equal(again.values["u"], solution.values["u"])
    assert str(again.model) == str(model)


def test_solutions_of_models_with_functions_survive_a_file_by_their_values(mesh, tmp_path):
    stimulus = Course(lambda t: 3.0 if t < 0.04 else np.exp(-t), "molecule/um^2/s", events=(0.04,))
    species = [Species("u", "cyt", 1, lambda points: 1 + points[:, 0] ** 2, fixed={"PM": lambda t: 1 + t})]
    model = Model(PM, species, [Reaction("in", "PM", "J", {"u": 1})], {"J": stimulus})
    solution = mc.solve(mesh, model, np.linspace(0, 0.1, 8))
    mc.save(tmp_path / "run.npz", solution)
    again = mc.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.values["u"], solution.values["u"])
    np.testing.assert_allclose(mc.flux(again, "in"), mc.flux(solution, "in"), rtol=1e-13)
    # Between the 2,001 times: linear interpolation of exp(-t) over 0.05 ms, and the jump where it was.
    between = np.array([0.0123, 0.03999, 0.04001, 0.0777])
    stored = again.model.parameters["J"]
    np.testing.assert_allclose([stored(t) for t in between], [stimulus(t) for t in between], rtol=1e-8)
