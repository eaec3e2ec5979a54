"""Rate strings: right values, exact derivatives, a unit algebra, and nothing that is not a formula."""

import cmath
import math
import operator
import os
import pickle
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings, strategies as st

from meshcell.core.units import CONCENTRATION, DENSITY, NO_UNIT, Unit
from meshcell.models import expressions
from meshcell.models.expressions import compile, derivative, parse, substitute, units
from meshcell.models.formula_trees import to_text, walk

# Names that mean something else to sympy or Python's mathematics must be ordinary here.
NAMES = ("E", "I", "S", "N", "beta", "Ca")
FORMULAS = [
    "v*Ca/(K + Ca)",
    "k*(CaER - Ca)",
    "v*Ca**4/(K**4 + Ca**4)",
    "v*Ca**n/(K**n + Ca**n)",
    "E*I - S/N + beta**2",
    "exp(-x**2/0.3)*tanh(3*t)",
    "log(1 + Ca)*sqrt(K + x)",
    "k*max(Ca - K, 0) + min(x, y, z)",
    "heaviside(t - 0.5)*k*Ca",
    "-Ca**2 + --x - -(y*z)",
    "x - (y - z) - (x/(y/z))",
    "2**-x + x**-3 + x**0.5 + x**2.5",
    "1e-3*Ca*1.5E2 + .5",
    "x**y**z",
    "sqrt(x**2 + 1e-9) + (x**2)**1.5",
    "1 + sin(2*pi*x)*cos(y)**2 - tan(z/4)",
    "asin(x/3) + acos(y/3)*atan(z)",
    "atan2(x - 0.3, y + 0.1) + sinh(x)/cosh(y*z)",
    "abs(x - y)**1.5 + sign(x - 1)*x**2 + x/abs(x - 5)",
    "floor(3*x)*y + ceil(y/0.7)*x",
    "ln(1 + x) + log10(y)",
    "where(x < y, x**2, sin(y))*z",
    "where(0.5 < x <= y or not y > 1 and z >= 1, log10(x), x*y)",
]


def python_value(text, values):
    """The slow obvious twin: Python itself."""
    functions = {
        "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "tanh": math.tanh, "min": min, "max": max,
        "heaviside": lambda x: (math.copysign(1, x) + 1) / 2 if x else 0.5, "abs": abs, "pi": math.pi, "ln": math.log,
        "sign": lambda x: math.copysign(1, x) if x else 0, "where": lambda c, a, b: a if c else b,
    } | {name: getattr(math, name) for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "floor", "ceil", "log10",
    )}  # fmt: skip
    return eval(text, {"__builtins__": {}}, functions | values)


def random_values(names, rng):
    return dict(zip(names, rng.uniform(0.2, 2.0, len(names)).tolist(), strict=True))


@st.composite
def formulas(draw, smooth=False):
    """Random formulas over NAMES; the smooth ones have no kinks."""
    leaf = st.sampled_from(NAMES) | st.sampled_from(NAMES) | st.floats(0.1, 3).map(lambda x: repr(round(x, 2)))

    def extend(inner):
        binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
        power = st.tuples(inner, st.sampled_from(["2", "3", "0.5", "-1", "-1.5"])).map(lambda p: f"({p[0]})**{p[1]}")
        unary = st.tuples(st.sampled_from(["-", "exp", "log", "sqrt", "tanh", "sin", "atan"]), inner).map(
            lambda p: f"{p[0]}({p[1]})"
        )
        kinked = st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})")
        steps = st.tuples(st.sampled_from(["heaviside", "abs", "sign"]), inner).map(lambda p: f"{p[0]}({p[1]})")
        chosen = st.tuples(inner, st.sampled_from(["<", ">="]), inner, inner, inner).map(
            lambda p: f"where({p[0]} {p[1]} {p[2]}, {p[3]}, {p[4]})"
        )
        return binary | power | unary if smooth else binary | power | unary | kinked | steps | chosen

    return draw(st.recursive(leaf, extend, max_leaves=12))


def parsed_or_none(text):
    """Random constants may have no finite value, and powers may pile up: those formulas are refused, rightly."""
    try:
        return parse(text)
    except ValueError as error:
        assert "no finite value" in str(error) or "powers should multiply" in str(error)
        return None


# --- values ---


@pytest.mark.parametrize("text", FORMULAS)
def test_values_equal_pythons(text):
    expression, rng = parse(text), np.random.default_rng(1)
    rows = [random_values(expression.names, rng) for _ in range(50)]
    expected = [python_value(text, row) for row in rows]
    columns = [np.array([row[name] for row in rows]) for name in expression.names]
    # numpy's and C's elementary functions differ by a few units in the last place; sums cancel at most tenfold here.
    np.testing.assert_allclose(compile(expression, expression.names)(*columns), expected, rtol=1e-13, atol=1e-13)


@given(formulas(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_formulas_have_pythons_values(text, seed):
    expression = parsed_or_none(text)
    assume(expression is not None)
    values = random_values(NAMES, np.random.default_rng(seed))
    found = compile(expression, NAMES)(*values.values())
    try:
        expected = python_value(text, values)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError):
        # Python makes roots of negative numbers complex, which exp then refuses; and where Python stops, numpy goes on
        # with inf or nan, and what follows from those may even be finite again.
        assume(False)
    assume(not isinstance(expected, complex) and math.isfinite(expected))
    # Cancellation may cost half of the sixteen digits.
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_whole_powers_by_multiplication_equal_numpys():
    x = np.random.default_rng(2).uniform(0.1, 3, 100)
    for n in range(-17, 18):
        # n multiplications instead of one call: n rounding errors of 1.1e-16 each.
        np.testing.assert_allclose(compile(parse(f"x**({n})"), ("x",))(x), np.power(x, float(n)), rtol=5e-15)


@pytest.mark.parametrize("text", ["3", "t", "x", "x**1", "2*t", "0*x", "x + 0*t"])
def test_result_is_a_new_array_of_the_common_shape(text):
    x = np.linspace(0, 1, 5)
    kept = x.copy()
    value = compile(parse(text), ("x", "t"))(x, 2.0)
    assert value.shape == (5,)
    assert value.dtype == np.float64
    value[:] = -1  # belongs to the caller
    np.testing.assert_array_equal(x, kept)


def test_integers_and_scalars_are_taken_as_floats():
    assert compile(parse("1/a"), ("a",))(np.array([4])) == 0.25
    assert compile(parse("1/a"), ("a",))(0) == np.inf


def test_common_parts_are_computed_once():
    assert len(compile(parse("exp(a*b) + exp(a*b)**2/(1 + exp(a*b))"), ("a", "b")).steps) == 6


def test_compiled_formulas_can_be_pickled():
    function = compile(parse("k*max(a, 1)"), ("a", "k"))
    assert pickle.loads(pickle.dumps(function))(2.0, 3.0) == function(2.0, 3.0) == 6


def test_missing_and_miscounted_arguments_are_named():
    with pytest.raises(ValueError, match=r"'a\*b' reads b, which is not among the arguments a"):
        compile(parse("a*b"), ("a",))
    with pytest.raises(TypeError, match="expected the arguments a, b; got 1"):
        compile(parse("a*b"), ("a", "b"))(1.0)


# --- text, names, substitution ---


@given(formulas())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_text_reads_back_to_the_same_tree(text):
    expression = parsed_or_none(text)
    assume(expression is not None)
    assert parse(to_text(expression.tree)).tree == expression.tree


@pytest.mark.parametrize("text", FORMULAS)
def test_substitution_equals_passing_the_value(text):
    expression, rng = parse(text), np.random.default_rng(3)
    values = random_values(expression.names, rng)
    full = compile(expression, expression.names)(*values.values())
    for name in expression.names:
        rest = substitute(expression, {name: values[name]})
        assert rest.names == tuple(n for n in expression.names if n != name)
        assert compile(rest, expression.names)(*values.values()) == pytest.approx(full, rel=1e-13)
    assert substitute(expression, values).tree == pytest.approx(float(full), rel=1e-13)


def test_names_come_in_order_of_appearance_whatever_they_mean_elsewhere():
    assert parse("E*I - S/N + beta**2 + E + lamda*Q*e").names == ("E", "I", "S", "N", "beta", "lamda", "Q", "e")


def test_line_breaks_are_layout():
    assert parse("v * Ca /\n   (K + Ca)\n").tree == parse("v*Ca/(K + Ca)").tree


def test_substituted_constants_must_be_finite():
    with pytest.raises(ValueError, match=r"constant part 1/0 has no finite value"):
        substitute(parse("a + 1/k"), {"k": 0.0})
    with pytest.raises(ValueError, match="powers should multiply to at most 1000"):
        substitute(parse("a**n"), {"n": 1e6})


# --- derivatives ---

COMPLEX = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "neg": operator.neg,
    "**": pow, "exp": cmath.exp, "log": cmath.log, "sqrt": cmath.sqrt, "tanh": cmath.tanh,
    "min": lambda a, b: min(a, b, key=lambda c: complex(c).real),
    "max": lambda a, b: max(a, b, key=lambda c: complex(c).real),
    "heaviside": lambda a: float(np.heaviside(complex(a).real, 0.5)),
    "abs": lambda a: a if complex(a).real > 0 else -a,
    "atan2": lambda a, b: cmath.atan(a / b),
    "where": lambda c, a, b: a if c else b, "and": lambda a, b: a and b, "or": lambda a, b: a or b,
    **{name: getattr(cmath, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "log10")},
    **{name: lambda a, f=f: float(f(complex(a).real)) for name, f in (
        ("sign", np.sign), ("floor", np.floor), ("ceil", np.ceil),
    )},
    **{name: lambda a, b, f=f: f(complex(a).real, complex(b).real) for name, f in (
        ("<", operator.lt), ("<=", operator.le), (">", operator.gt), (">=", operator.ge),
    )},
}  # fmt: skip


def complex_step(expression, values, name, step=1e-30):
    """Im f(x + ih) / h: no subtraction, so right to rounding (Squire and Trapp, SIAM Review 40, 110, 1998)."""
    moved = values | {name: values[name] + 1j * step}
    return complex(walk(expression.tree, COMPLEX, lambda leaf: moved.get(leaf, leaf))).imag / step


@pytest.mark.parametrize("text", FORMULAS)
def test_derivatives_equal_complex_steps(text):
    expression, rng = parse(text), np.random.default_rng(4)
    for name in expression.names:
        exact = compile(derivative(expression, name), expression.names)
        for _ in range(10):
            values = random_values(expression.names, rng)
            # The two sum up in different orders: a thousand roundings at the very most.
            assert exact(*values.values()) == pytest.approx(
                complex_step(expression, values, name), rel=1e-12, abs=1e-12
            )


@given(formulas(smooth=True), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_derivatives_equal_complex_steps(text, seed):
    expression = parsed_or_none(text)
    assume(expression is not None and expression.names)
    name = expression.names[seed % len(expression.names)]
    values = random_values(NAMES, np.random.default_rng(seed))
    value = compile(expression, NAMES)(*values.values())
    try:
        expected = complex_step(expression, values, name)
    except (ZeroDivisionError, OverflowError, ValueError):
        assume(False)
    try:
        exact = derivative(expression, name)
    except ValueError as error:
        # Roots and logarithms of what is never positive have no derivative among real numbers.
        assert "cannot be written" in str(error)
        assert not np.isfinite(value)
        return
    found = compile(exact, NAMES)(*values.values())
    # Next to a pole or a cancellation rounding is magnified; the formulas there say nothing about the derivative.
    assume(np.isfinite(value) and 1e-6 < abs(expected) < 1e6 and abs(value) < 1e6)
    assert found == pytest.approx(expected, rel=1e-6)


# Without a comparison of the arguments beforehand, which takes sympy's own Min and Max long.
SYMPY = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "neg": operator.neg,
    "**": operator.pow, "exp": sympy.exp, "log": sympy.log, "sqrt": sympy.sqrt, "tanh": sympy.tanh,
    "min": lambda a, b: a - (a - b) * sympy.Heaviside(a - b),
    "max": lambda a, b: a + (b - a) * sympy.Heaviside(b - a),
    "heaviside": sympy.Heaviside, "abs": sympy.Abs, "sign": sympy.sign, "log10": lambda a: sympy.log(a, 10),
    "where": lambda c, a, b: sympy.Piecewise((a, c), (b, True)),
    "<": sympy.Lt, "<=": sympy.Le, ">": sympy.Gt, ">=": sympy.Ge, "and": sympy.And, "or": sympy.Or,
    **{name: getattr(sympy, name) for name in (
        "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "floor", "ceiling",
    )},
}  # fmt: skip


def sympys_derivative(expression, name):
    """The slow twin, and its symbols; jumps have no derivative."""
    symbols = {own: sympy.Symbol(f"v{k}", real=True) for k, own in enumerate(expression.names)}
    whole = walk(expression.tree, SYMPY, lambda leaf: symbols.get(leaf, leaf))
    return sympy.diff(whole, symbols[name]).replace(sympy.DiracDelta, lambda *_: sympy.Integer(0)), symbols


@given(formulas(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_random_derivatives_equal_sympys(text, seed):
    expression = parsed_or_none(text)
    assume(expression is not None and expression.names)
    name = expression.names[seed % len(expression.names)]
    values = random_values(NAMES, np.random.default_rng(seed))
    assume(np.isfinite(compile(expression, NAMES)(*values.values())))
    try:
        found = compile(derivative(expression, name), NAMES)(*values.values())
        twin, symbols = sympys_derivative(expression, name)
        expected = complex(twin.evalf(30, subs={symbol: values[own] for own, symbol in symbols.items()}))
    except (ValueError, TypeError):
        # Parts that are never real; sympy writes them with I or zoo.
        assume(False)
    assume(expected.imag == 0 and 1e-6 < abs(expected) < 1e6)
    # Cancellation may cost ten of the sixteen digits.
    assert found == pytest.approx(expected.real, rel=1e-6)


def test_derivatives_take_no_more_steps_than_sympys():
    ours = theirs = 0
    # sympy writes kinks with functions that rates do not have.
    for expression in [parse(text) for text in FORMULAS if not re.search("min|max|heaviside|abs|where|floor", text)]:
        for name in expression.names:
            twin, symbols = sympys_derivative(expression, name)
            written = twin.xreplace({symbol: sympy.Symbol(own) for own, symbol in symbols.items()})
            ours += len(compile(derivative(expression, name), expression.names).steps)
            theirs += len(compile(parse(str(written)), expression.names).steps)
    assert ours <= theirs


def test_derivatives_of_a_sum_add_and_of_an_absent_name_vanish():
    a, b, both = (derivative(parse(text), "x") for text in ("x**2*y", "exp(x)", "x**2*y + exp(x)"))
    for x, y in np.random.default_rng(5).uniform(0, 2, (10, 2)):
        values = [compile(expression, ("x", "y"))(x, y) for expression in (a, b, both)]
        assert values[0] + values[1] == pytest.approx(values[2], rel=1e-14)
    assert derivative(parse("x**2*y"), "w").tree == 0.0


def test_derivatives_are_finite_at_zero_concentration():
    # n x**n / x, as sympy writes it, would be nan here, and every simulation starts with some species at zero.
    slopes = {"x**n": 0, "x**n/(K**n + x**n)": 0, "x**4/(1 + x**4)": 0, "x/(K + x)": 0.5}
    # As written these are 0/0 there, and x/|x| has the mean of both sides as at any other kink.
    slopes |= {"x*sqrt(x)": 0, "sqrt(x)**2": 1, "x**2/x": 1, "sqrt(x**2)": 0, "(x**2)**0.75": 0, "max(x, -x)": 0}
    for text, slope in slopes.items():
        expression = derivative(parse(text), "x")
        assert compile(expression, ("x", "n", "K"))(0.0, 4.0, 2.0) == slope


def test_kinks_take_the_mean_of_both_sides():
    assert compile(derivative(parse("max(x, y)"), "x"), ("x", "y"))(1.0, 1.0) == 0.5
    assert compile(derivative(parse("min(x, y)"), "x"), ("x", "y"))(1.0, 1.0) == 0.5
    assert derivative(parse("heaviside(x - 1)"), "x").tree == 0.0
    assert str(derivative(parse("heaviside(t)*x"), "x")) == "heaviside(t)"


def test_new_kinks_and_jumps_keep_the_conventions():
    slopes = {"abs(x)": 0, "sign(x)": 0, "floor(x)": 0, "where(x < 0, -x, x)": 1, "where(x <= 0, -x, x)": -1}
    # What is not chosen may have no slope.
    slopes |= {"where(x > 0, sqrt(x), 3*x)": 3, "where(x > 0, log(x), 0)": 0, "x*abs(x)": 0}
    for text, slope in slopes.items():
        assert compile(derivative(parse(text), "x"), ("x",))(0.0) == slope


def test_a_choice_that_is_made_leaves_one_part():
    assert str(substitute(parse("where(k > 1 and a < b, a, b)"), {"k": 0.0})) == "b"
    assert str(substitute(parse("where(k > 1 and a < b, a, b)"), {"k": 2.0})) == "where(a < b, a, b)"
    assert str(substitute(parse("where(a < b or not k > 1, a, b)"), {"k": 0.0})) == "a"


@pytest.mark.parametrize("condition", ["a < b", "a <= b or b > 1", "0.5 < a < b and not (a > 1 or b <= a)"])
def test_conditions_read_back_and_their_opposite_chooses_the_other(condition):
    tree = parse(f"where({condition}, a, b)").tree
    assert parse(to_text(tree)).tree == tree
    a, b = np.random.default_rng(6).integers(0, 4, (2, 200)) / 2
    chosen, other = (compile(parse(f"where({c}, 1, 0)"), ("a", "b"))(a, b) for c in (condition, f"not ({condition})"))
    np.testing.assert_array_equal(chosen + other, 1)
    assert 0 < chosen.sum() < 200


def test_derivatives_do_not_depend_on_the_hash_seed():
    code = (
        "from meshcell.models.expressions import parse, derivative\n"
        "print(derivative(parse('max(a*b, min(c, d, e), f)**2*exp(-a*d)/(b + c + a**3)'), 'a'))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(texts) == 1


def test_high_powers_of_quotients_stay_within_the_range_of_floats():
    # 1000**200 has no float.
    text = "(x/1000)**100/(1 + (x/1000)**100)"
    values = {"x": 1000.0}
    exact = compile(derivative(parse(text), "x"), ("x",))(1000.0)
    assert exact == pytest.approx(complex_step(parse(text), values, "x"), rel=1e-12)


def test_terms_that_cancel_leave_nothing():
    for text in ["x - x", "x*y - y*x", "x/x", "0*x + y", "x**0"]:
        assert derivative(parse(text), "x").tree == 0


def test_derivative_without_a_real_value_is_refused():
    with pytest.raises(ValueError, match=r"the derivative of 'sqrt\(-3\*y\*\*2\)' by y cannot be written"):
        derivative(parse("sqrt(-3*y**2)"), "y")


# --- units ---

UM, S = Unit.of(um=1), Unit.of(s=1)
KNOWN = {"Ca": CONCENTRATION, "K": CONCENTRATION, "R": DENSITY, "k": UM / S, "t": S, "x": UM, "n": NO_UNIT}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("k*(Ca - K)", DENSITY / S),
        ("k*Ca/(K + Ca)", UM / S),
        ("Ca**4/(K**4 + Ca**4)", NO_UNIT),
        ("(Ca/K)**n", NO_UNIT),
        ("Ca**n", CONCENTRATION**2),
        ("sqrt(Ca*K)", CONCENTRATION),
        ("max(Ca - K, 0)*k", DENSITY / S),
        ("2*R/t*exp(-Ca/K)*tanh(x/x)*log(2)", DENSITY / S),
        ("heaviside(t)*R", DENSITY),
        ("-R + 0", DENSITY),
        ("abs(Ca - K)", CONCENTRATION),
        ("sign(Ca - K)*atan2(Ca, K)", NO_UNIT),
        ("where(Ca > K and x > 0, R, 0)", DENSITY),
        ("sin(2*pi*n)*floor(Ca/K)", NO_UNIT),
        ("0*R", None),
        ("3", NO_UNIT),
    ],
)
def test_units_follow_the_algebra(text, unit):
    assert units(parse(text), KNOWN, {"n": 2.0}) == unit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ca + R", r"cannot add 'Ca' in molecule/um\^3 and 'R' in molecule/um\^2"),
        ("k*Ca - R", r"cannot subtract 'k\*Ca' in molecule/um\^2/s and 'R' in molecule/um\^2"),
        ("min(Ca, 1)", r"cannot compare 'Ca' in molecule/um\^3 and '1' in no unit; a number without a unit should"),
        ("heaviside(t - 1)", r"cannot subtract 't' in s and '1' in no unit"),
        ("exp(-t)", r"exp needs an argument without a unit; got '-t' in s"),
        ("log(Ca)", r"log needs an argument without a unit"),
        ("sin(t)", r"sin needs an argument without a unit; got 't' in s"),
        ("floor(t)", r"floor needs an argument without a unit; got 't' in s"),
        ("where(Ca > R, 1, 2)", r"cannot compare 'Ca' in molecule/um\^3 and 'R' in molecule/um\^2"),
        ("where(Ca > K, Ca, R)", r"cannot choose between 'Ca' in molecule/um\^3 and 'R' in molecule/um\^2"),
        ("atan2(Ca, R)", r"cannot compare 'Ca' in molecule/um\^3 and 'R'"),
        ("2**t", r"an exponent should have no unit; got 't' in s"),
        ("Ca**(x/x)", r"the exponent of 'Ca' in molecule/um\^3 should be a number; got 'x/x'"),
    ],
)
def test_units_that_do_not_fit_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        units(parse(text), KNOWN)


# --- what is refused ---


@pytest.mark.parametrize(
    ("text", "message", "underlined"),
    [
        ("v*besselj(Ca)", "unknown function 'besselj'; there are exp, log, log10, sqrt, sin", "besselj"),
        ("v*np.sin(Ca)", "names of modules such as 'np.' are not written; write sin(...)", "np.sin"),
        ("v*numpy.arctan(Ca)", "names of modules such as 'np.' are not written; write atan", "numpy.arctan"),
        ("v*math.pi", "names of modules are not written; write pi", "math.pi"),
        ("v*arctan2(Ca, K)", "unknown function 'arctan2'; write atan2", "arctan2"),
        ("pow(v, 2)", "unknown function 'pow'; write a**b", "pow"),
        ("where(Ca, K, v)", "the first argument of where should compare, such as a > b", "Ca"),
        ("where(Ca == K, K, v)", "a condition compares by < <= > >=", "Ca == K"),
        ("where(Ca > K, v)", "where takes 3 arguments; got 2", "where(Ca > K, v)"),
        ("v*where(Ca > Kx, 1, 0)", "unknown name 'Kx'; did you mean 'K'?", "Kx"),
        ("v*Kx/K", "unknown name 'Kx'; did you mean 'K'? (known names: Ca, K, v)", "Kx"),
        ("v*zebra", "unknown name 'zebra' (known names: Ca, K, v)", "zebra"),
        ("v*Ca^2", "'^' is not a power here; write '**'", "v*Ca^2"),
        ("v + Ca.real", "attribute access with '.' is not allowed", "Ca.real"),
        ("().__class__", "attribute access", "().__class__"),
        ("__import__('os')", "unknown function '__import__'", "__import__"),
        ("exec('1')", "unknown function 'exec'", "exec"),
        ("lambda: 1", "'lambda' is not allowed", "lambda: 1"),
        ("Ca < K", "comparisons are not allowed here; for a switch write where(a > b, 1, 0)", "Ca < K"),
        ("Ca if K else v", "'if' is not allowed; for a switch write where", "Ca if K else v"),
        ("Ca and K", "'and' and 'or' are not allowed", "Ca and K"),
        ("not Ca", "'not' and '~' are not allowed", "not Ca"),
        ("Ca // K", "'//' is not allowed; write '/'", "Ca // K"),
        ("Ca % K", "'%' is not allowed", "Ca % K"),
        ("Ca @ K", "'@' is not allowed", "Ca @ K"),
        ("v*'Ca'", "'Ca' is not a number", "'Ca'"),
        ("v*True", "True is not a number", "True"),
        ("1j*v", "1j is not a number", "1j"),
        ("v*Ca[0]", "indexing with [ ] is not allowed", "Ca[0]"),
        ("0,5*v", "write 0.5, not 0,5", "0,5*v"),
        ("[v]", "List is not allowed", "[v]"),
        ("{v: 1}", "Dict is not allowed", "{v: 1}"),
        ("f'{v}'", "JoinedStr is not allowed", "f'{v}'"),
        ("(v := 2)", "assignment is not allowed", "v := 2"),
        ("[v for v in Ca]", "ListComp is not allowed", "[v for v in Ca]"),
        ("exp(v, K)", "exp takes 1 argument; got 2", "exp(v, K)"),
        ("exp()", "exp takes 1 argument; got 0", "exp()"),
        ("max(v)", "max takes 2 to 20 arguments; got 1", "max(v)"),
        ("max(*v)", "arguments of max should be plain formulas", "max(*v)"),
        ("min(v, b=K)", "arguments of min should be plain formulas", "min(v, b=K)"),
        ("v*(K)(Ca)", "for a product write '*' before the parenthesis", "(K)(Ca)"),
        ("v(Ca)", "for a product write '*' before the parenthesis", "v(Ca)"),
        ("v*exp", "'exp' is a function; call it: exp(...)", "exp"),
        ("v*1e999", "a number should be finite", "1e999"),
        ("v/(2 - 2)/0 + 1/0", "the constant part 1/0 has no finite value", "1/0"),
        ("v*(-8)**(1/3)", "has no finite value", "(-8)**(1/3)"),
        ("v*log(-1)", "the constant part log(-1) has no finite value", "log(-1)"),
        ("v + 9**9**9**9", "has no finite value", "9**9**9"),
        ("2 Ca", "not a formula (invalid syntax)", "C"),
        ("v*(Ca", "not a formula ('(' was never closed)", "("),
        ("v = 2", "'=' is not allowed; write only the right-hand side", "="),
        ("v # speed", "comments with '#' are not allowed", "# speed"),
        ("é*sin(v)", "unknown name 'é'", "é"),
    ],
)
def test_what_is_no_formula_is_refused_and_underlined(text, message, underlined):
    with pytest.raises(ValueError) as error:
        parse(text, "rate of reaction 'pump'", ("Ca", "K", "v"))
    head, line, marks = str(error.value).split("\n")
    assert head.startswith("rate of reaction 'pump': ")
    assert message in head
    assert line == "    " + text
    start = marks.index("^") - 4
    assert text[start : start + marks.count("^")] == underlined


@pytest.mark.parametrize("text", ["", "   \n"])
def test_empty_text_is_refused(text):
    with pytest.raises(ValueError, match="rate is empty; a rate is made of numbers, names"):
        parse(text, "rate")


@pytest.mark.parametrize("value", [None, 3, 0.5, b"a", ["a"]])
def test_what_is_no_text_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"rate should be a text such as 'k\*\(a - b\)'; got"):
        parse(value, "rate")


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9",
        "a**9**9**9**9",
        "exp(exp(exp(exp(9))))",
        "(((3*a)**1000)**1000)**1000",
        "((((((a+a)**99)**99)**99)**99)**99)**99",
        "9" * 4900,
        "9" * 10**6,
        "(" * 2000 + "a" + ")" * 2000,
        "-" * 4000 + "a",
        "+".join("a" * 2400),
        "a" + "**a" * 1000,
        "a\x00b",
        "exp(" * 800 + "a" + ")" * 800,
    ],
)
def test_hostile_formulas_are_refused_at_once(text):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"finite|powers|characters|deep|nested|formula|cannot be read"):
        parse(text)
    # Evaluated or simplified, the worst of these would never end; refusing takes milliseconds.
    assert time.perf_counter() - start < 2


def test_deepest_formula_allowed_goes_all_the_way():
    expression = parse("+".join(["x"] * expressions.MAX_DEPTH))
    assert compile(derivative(expression, "x"), ("x",))(2.0) == expressions.MAX_DEPTH
    nested = parse("tanh(" * 20 + "x" + ")" * 20)
    values = {"x": 0.3}
    slope = compile(derivative(nested, "x"), ("x",))(0.3)
    assert slope == pytest.approx(complex_step(nested, values, "x"), rel=1e-12)


def test_import_stays_light():
    code = "import sys, meshcell.models.model; print(sys.modules.keys() & {'sympy', 'pint', 'pyvista', 'matplotlib'})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
