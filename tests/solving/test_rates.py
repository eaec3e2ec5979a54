"""All reactions in one program: the machine computes what numpy computes, and adds it up where it belongs."""

from collections import defaultdict
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from gallery.meshes import ball, box
from meshcell.core import threads
from meshcell.models.binding import NodalRate, bind
from meshcell.models.expressions import compile, parse
from meshcell.models.formula_trees import NUMPY
from meshcell.models.mixing import well_mixed
from meshcell.models.model import Model
from meshcell.models.parameters import Course, Field
from meshcell.models.species import Pool, Reaction, Species
from meshcell.solving.discretisation import Discretisation
from meshcell.solving.rates import machine
from meshcell.solving.rates.drafts import TIME, Draft
from meshcell.solving.rates.programs import assembled

NAMES = ("a", "b", "c")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 1e-300, 1e300, -1e300, np.inf, -np.inf, np.nan]
FUNCTIONS = ("exp", "log", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")
PLAIN = pytest.mark.plain


def columns(n=150):
    """Three columns of numbers in which each meets each of the odd ones; more than a block."""
    rng = np.random.default_rng(3)
    a, b = (side.ravel() for side in np.meshgrid(EDGES, EDGES))
    more = rng.normal(size=(3, n)) * 10 ** rng.uniform(-3, 3, (3, n))
    return np.concatenate([[a, b, rng.permutation(a)], more], axis=1)


COLUMNS = columns()


def machined(formula):
    """Run a compiled formula on the machine: what every step of it gives, one row (n,) a step."""
    n, steps = COLUMNS.shape[1], len(formula.steps)
    draft, order = Draft(np.ones(n), 2), np.arange(n)
    arguments = [draft.state(name, order + k * n) for k, name in enumerate(NAMES)]
    for k in range(steps):
        part = NodalRate(replace(formula, result=len(NAMES) + k))
        draft.add(draft.formula(part, arguments, order), order, k * n)
    # A zero keeps its sign beside -0 alone.
    out = np.full(steps * n, -0.0)
    assembled(draft).run([0.0, 0.0], COLUMNS.ravel(), out)
    return out.reshape(steps, n)


def compare_steps(text, tolerance):
    """Each step of a formula is what numpy makes of the same operands."""
    formula = compile(parse(text), NAMES)
    found = machined(formula)
    slots = [*COLUMNS, *found, *formula.constants]
    for (operation, operands), own in zip(formula.steps, found, strict=True):
        with np.errstate(all="ignore"):
            expected = NUMPY[operation](*[slots[k] for k in operands])
        np.testing.assert_allclose(own, expected, rtol=tolerance, atol=0, err_msg=f"{operation} in {text}")


@PLAIN
def test_every_operation_of_formulas_has_a_number_of_its_own():
    assert set(machine.OPERATIONS) == set(NUMPY)
    assert len({*machine.OPERATIONS.values()} | {*range(machine.ADD)}) == len(NUMPY) + machine.ADD


@PLAIN
@pytest.mark.parametrize(
    "text",
    [
        "a + b", "a - b", "a*b", "a/b", "-a", "abs(a)", "sqrt(a)", "min(a, b)", "max(a, b)", "sign(a)", "floor(a)",
        "ceil(a)", "heaviside(a)", "where(a < b, a, c)", "where(a <= b, a, c)", "where(a > b and b > c, a, 2)",
        "where(a >= b or b > c, 2, c)", "where(not a > b, a, c)", "a**2", "a**3", "a**16", "a**(-1)", "a**(-7)", "3",
    ],
)  # fmt: skip
def test_arithmetic_is_numpys_to_the_bit(text):
    compare_steps(text, 0)


@PLAIN
@pytest.mark.parametrize(
    "text", [*(f"{name}(a)" for name in FUNCTIONS), "atan2(a, b)", "a**b", "a**0.5", "a**(-2.5)", "a**17", "2**a"]
)
def test_functions_are_numpys_to_rounding(text):
    compare_steps(text, 1e-14)


@PLAIN
@pytest.mark.parametrize("exponent", range(-16, 17))
def test_whole_powers_by_node_are_numpys_to_rounding(exponent):
    n = COLUMNS.shape[1]
    b = np.full(n, float(exponent))
    draft, order = Draft(np.ones(n), 2), np.arange(n)
    draft.add(draft.step("**", draft.state("a", order), draft.field("b", b)), order)
    out = np.zeros(n)
    assembled(draft).run([0.0, 0.0], COLUMNS[0], out)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(out, np.power(COLUMNS[0], b), rtol=1e-14)


@st.composite
def formulas(draw, depth=3):
    """Random formulas of every operation."""

    def inner():
        return draw(formulas(depth - 1))

    def condition():
        return f"{inner()} {draw(st.sampled_from(['<', '<=', '>', '>=']))} {inner()}"

    kinds = ["leaf"] if depth == 0 else ["leaf", "binary", "one", "two", "where"]
    kind = draw(st.sampled_from(kinds))
    if kind == "leaf":
        return draw(st.sampled_from(NAMES) | st.floats(0.1, 20).map(lambda x: repr(round(x, 1))))
    if kind == "binary":
        return f"({inner()} {draw(st.sampled_from([*'+-*/', '**']))} {inner()})"
    if kind == "one":
        names = [*FUNCTIONS, "-", "abs", "sign", "floor", "ceil", "sqrt", "heaviside"]
        return f"{draw(st.sampled_from(names))}({inner()})"
    if kind == "two":
        return f"{draw(st.sampled_from(['min', 'max', 'atan2']))}({inner()}, {inner()})"
    joined = draw(st.sampled_from(["{}", "{} and {}", "{} or {}", "not {}"]))
    return f"where({joined.format(condition(), condition())}, {inner()}, {inner()})"


@given(formulas())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_step_of_random_formulas_is_numpys(text):
    try:
        parse(text)
    except ValueError:  # Constants without a finite value, or powers that pile up.
        assume(False)
    compare_steps(text, 1e-14)


# --- programs ---


def lines(program, operation):
    return int((program.then.lines[:, 0] == machine.OPERATIONS[operation]).sum())


@PLAIN
def test_equal_parts_of_formulas_are_done_once():
    n = 5
    draft, order = Draft(np.ones(n), 2), np.arange(n)
    arguments = [draft.state(name, order + k * n) for k, name in enumerate(NAMES)]
    texts = ["b*a/(a + c)", "1 + a*b/(c + a)", "(a + c)**2", "exp(a*b) - a*b/(a + c)"]
    for k, text in enumerate(texts):
        draft.add(draft.formula(NodalRate(compile(parse(text), NAMES)), arguments, order), order, k * n)
    program = assembled(draft)
    assert [lines(program, operation) for operation in ("/", "+", "*", "exp", "-")] == [1, 2, 2, 1, 1]


@PLAIN
def test_what_is_the_same_at_all_nodes_is_done_once():
    n = 300
    draft, order = Draft(np.full(n, 2.0), 2), np.arange(n)
    arguments = [draft.state("a", order), draft.known(TIME)]
    rate = NodalRate(compile(parse("a*exp(-t/k)*k + sin(t)"), ("a", "t", "k")), (lambda t: 3 * t,))
    draft.add(draft.formula(rate, arguments, order), order)
    program, a, out = assembled(draft), np.linspace(0, 1, n), np.zeros(n)
    assert lines(program, "exp") == lines(program, "sin") == lines(program, "/") == 0
    program.run([2.0, 0.0], a, out)
    np.testing.assert_allclose(out, 2 * (a * np.exp(-1 / 3) * 6 + np.sin(2.0)), rtol=1e-14)


@PLAIN
def test_long_formulas_need_few_registers():
    """Of a sum of many terms, one after the other, few are waited for at once."""
    draft, order = Draft(np.ones(4), 2), np.arange(4)
    a = draft.state("a", order)
    powers = [draft.step("exp", draft.step("*", draft.constant(k), a)) for k in range(100)]
    draft.add(draft.combined([(1.0, slot) for slot in powers]), order)
    program, a, out = assembled(draft), np.linspace(0, 1, 4), np.zeros(4)
    program.run([0.0, 0.0], a, out)
    np.testing.assert_allclose(out, sum(np.exp(k * a) for k in range(100)), rtol=1e-13)
    assert program.then.registers < 210


@PLAIN
@pytest.mark.parametrize("n", [1, 7, machine.BLOCK, 2 * machine.BLOCK + 1])
def test_things_are_taken_and_left_where_they_belong(n):
    rng = np.random.default_rng(n)
    weights, u, out = rng.normal(size=n), rng.normal(size=2000), rng.normal(size=3000)
    source, target, start = rng.permutation(2000)[:n], rng.permutation(900)[:n], np.arange(n)
    draft, before = Draft(weights, 2), out.copy()
    product = draft.step("*", draft.state("there", source), draft.state("first", start + 5))
    draft.add(product, target, 100)
    draft.add(draft.combined([(-1.0, product), (2.5, product)]), start, 1000)
    draft.sum(product, 2990)
    draft.sum(draft.constant(3.0), 2980)
    assembled(draft).run([0.0, 0.0], u, out)
    expected = weights * u[source] * u[5 : n + 5]
    before[100 + target] += expected
    before[1000 : n + 1000] += 1.5 * expected
    before[2990] += expected.sum()
    before[2980] += 3 * weights.sum()
    np.testing.assert_allclose(out, before, rtol=1e-12, atol=1e-13)


# --- reactions ---


def everywhere():
    """Reactions in a region, on its surface and on a ragged patch, which share species, and all that rates may read."""
    mesh = ball(4, names={1: "ball"})
    ragged = np.flatnonzero(np.random.default_rng(0).random(len(mesh.facets)) < 0.3)
    mesh = replace(mesh, patches={"spots": ragged})
    species = [Species("A", "ball", 10, "1 + 0.5*x"), Species("B", "ball", 1, "2 - z", fixed={"spots": 1.5})]
    species += [Species("R", "rim", 1, 4.0), Species("S", "spots", 0.1, "3 + y"), Pool("P", 0.5, 2.0)]
    reactions = [
        Reaction("turn", "ball", "k*A*B/(1 + A) + pulse*f*z**2", {"A": -1, "B": 2}),
        Reaction("bind", "rim", "k*A*R - 0.1*B*x", {"A": -1, "R": -2, "B": 1, "P": 0.5}),
        Reaction("spot", "spots", "S*A**2/(1 + A**2)*exp(-t) + P*R", {"S": -1, "A": 1, "P": -1}),
        Reaction("mean", "spots", "mean(A)*S*sqrt(total(R))", {"R": 1}),
        Reaction("own", "P", "0.1*P**2*total(S)", {"P": -1}),
    ]
    parameters = {"k": 0.7, "pulse": Course(lambda t: 1 + t**2), "f": Field(np.cos(np.arange(len(mesh.points))))}
    places = {"ball": "ball", "rim": ("ball", "outside"), "spots": "spots"}
    return mesh, Model(places, [*species], reactions, parameters)


def twin(problem, t, u):
    """The slow obvious twin: reaction by reaction, by numpy."""
    system, result, of_node = problem.system, np.zeros(problem.size), {}
    for name, nodes in problem.nodes.items():
        of_node[name] = dict(zip(nodes.tolist(), range(problem.slices[name].start, problem.size), strict=False))
    for reaction in system.reactions:
        nodes = reaction.compartment.nodes.tolist()
        read = [u[[of_node[name][node] for node in nodes]] for name in reaction.reads]
        for item in reaction.wholes:
            home = system.species[item.species].compartment.nodes.tolist()
            read.append(np.array(item.of(u[[of_node[item.species][node] for node in home]])))
        rate = reaction.rate(read, t, reaction.compartment.xyz(system.mesh))
        events = reaction.compartment.mass(system.mesh) * rate
        for name, change in reaction.change.items():
            pool = len(of_node[name]) == 1
            rows = [*of_node[name].values()] * len(nodes) if pool else [of_node[name][node] for node in nodes]
            np.add.at(result, rows, change * events)
    return result


def shaken(problem):
    return problem.held(0.0, problem.initial() * (1 + 0.1 * np.sin(np.arange(problem.size))))


def problem_of(kind):
    mesh, model = everywhere()
    if kind == "mesh":
        return Discretisation(bind(model, mesh))
    model = replace(
        model,
        species=[
            item if isinstance(item, Pool) else Species(item.name, item.compartment, 0, 1.5) for item in model.species
        ],
        reactions=[replace(item, rate=item.rate.replace("*f*z**2", "").replace("*x", "")) for item in model.reactions],
        parameters={name: value for name, value in model.parameters.items() if name != "f"},
    )
    return Discretisation(bind(model, well_mixed(model, {"ball": 4.0, "rim": 12.0, "spots": 3.0})))


@pytest.mark.parametrize("kind", ["mesh", "well mixed"])
def test_reactions_are_those_of_the_formulas_one_by_one(kind):
    problem = problem_of(kind)
    u = shaken(problem)
    expected = twin(problem, 0.4, u)
    found = problem.reactions.brought(0.4, u)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["mesh", "well mixed"])
def test_slopes_are_those_of_the_rates(kind):
    problem = problem_of(kind)
    u, rng = shaken(problem), np.random.default_rng(1)
    values, left, right = problem.reactions.slopes(0.4, u)
    blocks = problem.blocks
    for _ in range(3):
        step = 1e-5 * rng.normal(size=problem.size)
        change = (problem.reactions.brought(0.4, u + step) - problem.reactions.brought(0.4, u - step)) / 2
        image = np.bincount(blocks.rows, values * step[blocks.columns], problem.size) + left.T @ (right @ step)
        assert np.abs(change - image).max() < 1e-8 * np.abs(image).max()


def test_bytes_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(threads, "WORTH", 1)
    problem = Discretisation(bind(everywhere()[1], everywhere()[0]))
    u, before, found = shaken(problem), numba.get_num_threads(), defaultdict(set)
    assert len(problem.nodes["A"]) > 2 * machine.BLOCK
    try:
        for n in (1, 2):
            numba.set_num_threads(min(n, before))
            reactions = problem.reactions
            for name, values in (
                ("brought", [reactions.brought(0.4, u)]),
                ("slopes", reactions.slopes(0.4, u)),
                ("reach", reactions.reach(0.4, u, 0.1)),
            ):
                found[name].add(b"".join(part.tobytes() for part in values))
    finally:
        numba.set_num_threads(before)
    assert [len(item) for item in found.values()] == [1, 1, 1]


def test_a_reach_ends_where_what_is_used_up_ends():
    """A decay of k A: as far as k A dt / (1 + k dt), and no further, however long the step."""
    species, rate = [Species("A", "box", 1, "1 + x")], Reaction("r", "box", "weights*A", {"A": -1})
    decay = Model({"box": "box"}, species, [rate], {"weights": Field(np.full(27, 3.0))})
    problem = Discretisation(bind(decay, box(2)))
    u = problem.initial()
    for dt in (1e-3, 1.0, 1e3):
        far, made, lost = problem.reactions.reach(0.0, u, dt)
        np.testing.assert_allclose(made, 3 * u * problem.mass, rtol=1e-13)
        np.testing.assert_allclose(lost, 3.0, rtol=1e-13)
        np.testing.assert_allclose(far, made / (1 + 3 * dt), rtol=1e-13)
        assert (problem.ahead(0.0, u, dt) < u).all()
