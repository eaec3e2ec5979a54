"""Models as people read them: nothing of the model is missing, and LaTeX that a parser of mathematics accepts."""

import pytest

from meshcell.models import expressions
from meshcell.models.equations import formula
from meshcell.models.model import Model
from meshcell.models.parameters import Table
from meshcell.models.species import Reaction, Species

MODEL = Model(
    {"cyt": "cytosol + psd", "er": "er", "PM": ("cytosol + psd", "outside"), "ERM": ("er", "cytosol"), "spot": "spot"},
    [
        Species("Ca", "cyt", "220 um^2/s", "0.1 uM", fixed={"spot": "c0*exp(-t/tau)"}),
        Species("CaER", "er", "6 um^2/s", "400 uM"),
        Species("R", "PM", 0.1, "10 molecule/um^2"),
        Species("B", "cyt", 0, "50 uM"),
    ],
    [
        Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1}),
        Reaction("pump", "PM", "v*Ca**2/(K**2 + Ca**2)", {"Ca": -1}),
        Reaction("bind", "PM", "k_on*Ca*R", {"Ca": -2, "R": -1}),
        Reaction("buffer", "cyt", "b*Ca*B", {"Ca": -1, "B": +1}),
    ],
    {
        "k_leak": Table([0, 1], [0, 0.02], "um/s"),
        "v": "30 molecule/um^2/s",
        "K": "0.2 uM",
        "k_on": "1 1/uM/s",
        "b": "1 1/uM/s",
        "c0": "1 uM",
        "tau": "2 s",
    },
)


def test_the_table_shows_tables_unions_and_fixed_values():
    lines = [" ".join(line.split()) for line in str(MODEL).splitlines()]
    for line in [
        "PM cytosol + psd | outside",
        "fixed on value",
        "Ca spot c0*exp(-t/tau)",
        "k_leak table of 2 times, 0 ... 0.02 um/s",
    ]:
        assert line in lines


def test_equations_say_what_happens_in_every_place():
    lines = [line.removesuffix(r" \\").replace(r"\mathrm", "") for line in MODEL.latex().splitlines()[1:-1]]
    assert lines == [
        r"\partial_t {Ca} &= D_{{Ca}} \nabla^2 {Ca} - v_{{buffer}} && \text{in cyt}",
        r"D_{{Ca}}\, \partial_n {Ca} &= v_{{leak}} && \text{on ERM}",
        r"D_{{Ca}}\, \partial_n {Ca} &= - v_{{pump}} - 2\,v_{{bind}} && \text{on PM}",
        r"{Ca} &= {c0}\,\exp\left(-\frac{t}{\tau}\right) && \text{on spot}",
        r"\partial_t {CaER} &= D_{{CaER}} \nabla^2 {CaER} && \text{in er}",
        r"D_{{CaER}}\, \partial_n {CaER} &= - v_{{leak}} && \text{on ERM}",
        r"\partial_t R &= D_{{R}} \Delta_\Gamma R - v_{{bind}} && \text{on PM}",
        r"\partial_t B &= v_{{buffer}} && \text{in cyt}",
        r"v_{{leak}} &= k_{{leak}}\,\left({CaER} - {Ca}\right) && \text{on ERM}",
        r"v_{{pump}} &= \frac{v\,{Ca}^{2}}{K^{2} + {Ca}^{2}} && \text{on PM}",
        r"v_{{bind}} &= k_{{on}}\,{Ca}\,R && \text{on PM}",
        r"v_{{buffer}} &= b\,{Ca}\,B && \text{in cyt}",
    ]
    assert MODEL._repr_latex_() == f"$$\n{MODEL.latex()}\n$$"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("(a + b)**2*c", r"\left(a + b\right)^{2}\,c"),
        ("-(a + b)", r"-\left(a + b\right)"),
        ("a*-b", r"a\,\left(-b\right)"),
        ("(-a)**b", r"\left(-a\right)^{b}"),
        ("a**b**c", r"a^{b^{c}}"),
        ("(a**b)**c", r"\left(a^{b}\right)^{c}"),
        ("a/b/c", r"\frac{\frac{a}{b}}{c}"),
        ("1e-3*a*2", r"0.001\,a \cdot 2"),
        ("6.02e23*a", r"6.02 \cdot 10^{23}\,a"),
        ("sqrt(a)*heaviside(t - 1)", r"\sqrt{a}\,\Theta\left(t - 1\right)"),
        ("max(a, b) + log(a)", r"\max\left(a, b\right) + \log\left(a\right)"),
        ("abs(a - b)*sin(2*pi*t)", r"\left| a - b \right|\,\sin\left(6.28319\,t\right)"),
        ("pi*atan2(a, b)", r"\pi\,\operatorname{atan2}\left(a, b\right)"),
        ("floor(a)*asin(b)", r"\left\lfloor a \right\rfloor\,\arcsin\left(b\right)"),
        (
            "2*where(a < b + 1 and not t > 2, a, b)",
            r"2\,\begin{cases} a & \text{if } a < b + 1 \wedge t \le 2 \\ b & \text{otherwise} \end{cases}",
        ),
        ("k_cat_2*alpha", r"k_{\mathrm{cat\_2}}\,\alpha"),
        ("(a/b)**2", r"\left(\frac{a}{b}\right)^{2}"),
    ],
)
def test_formulas_are_bracketed_where_they_must_be(text, latex):
    assert formula(expressions.parse(text).tree) == latex


def test_every_equation_is_read_by_a_parser_of_mathematics():
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("agg")
    for line in MODEL.latex().splitlines()[1:-1]:
        plain = line.removesuffix(r" \\").replace("&&", r"\quad ").replace("&", "").replace(r"\text", r"\mathrm")
        parser.parse(f"${plain}$")
