"""Units at the door: what comes in as text or quantity is right in um, s and molecules, or is refused by name."""

import subprocess
import sys
import time

import numpy as np
import pint
import pytest

from meshcell.core import units
from meshcell.core.units import CONCENTRATION, DENSITY, NO_UNIT, Unit, convert, plain, to_base

AVOGADRO = 6.02214076e23
# A handful of multiplications and divisions, each exact to one part in 2^53.
ROUNDING = 1e-14


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("1 uM", "molecule/um^3", AVOGADRO * 1e-21),  # 1e-6 mol/l, 1 l = 1e15 um^3
        ("1 µM", "molecule/um^3", 602.214076),
        ("400 nM", "molecule/um^3", 0.4 * 602.214076),
        ("2 mol", "molecule", 2 * AVOGADRO),
        ("220 um^2/s", "um^2/s", 220),
        ("2.2e-6 cm**2/s", "um^2/s", 220),
        ("3 µm²·s⁻¹", "um^2/s", 3),
        ("0.5 uM*um/ms", "molecule/um^2/s", 301107.038),
        ("10 1/(uM*s)", "um^3/molecule/s", 10 / 602.214076),
        ("30 molecule/um^2/s", "molecule/um^2/s", 30),
        ("30 particle/um^2/s", "molecule/um^2/s", 30),
        ("1.5 min", "s", 90),
        ("2 um^(0.5)", "um^0.5", 2),
    ],
)
def test_conversion_follows_avogadro_and_the_prefixes(value, unit, expected):
    assert convert(value, unit, "value") == pytest.approx(expected, rel=ROUNDING)
    assert to_base(value, "value")[0] == pytest.approx(expected, rel=ROUNDING)


USUAL = [
    "", "um", "nm", "cm", "µm", "μm", "mm", "uM", "µM", "nM", "mol", "pmol/l", "M/s", "um^2/s", "cm**2/s", "1/s", "h",
    "min", "1/(uM*s)", "uM^-1 s^-1", "1/uM s", "uM^(-2)/ms", "molecule/um^2/s", "molecules/um^3", "uM*um/ms",
    "mM / min", "(nl)", "/s", "/uM/s", "/ min",
]  # fmt: skip


def by_pint(text, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(units, "_usual", lambda value: None)
        return to_base(text, "value")


@pytest.mark.parametrize("unit", [*USUAL, *units._USUAL])
def test_usual_units_without_pint_equal_pint(unit, monkeypatch):
    for text in (f"8 {unit}", f"-4.5e2{unit}" if unit[:1].isalpha() else f".5 {unit}"):
        assert units._usual(text) is not None
        (value, own), (expected, other) = to_base(text, "value"), by_pint(text, monkeypatch)
        assert value == pytest.approx(expected, rel=ROUNDING)
        assert own == other


@pytest.mark.parametrize("unit", ["0x1 s", "1e0 s", "um # m", "um if s else m", "um(s)", "True", "um.s", "um/0", "K"])
def test_what_else_python_would_read_is_left_to_pint(unit):
    assert units._usual(f"3 {unit}") is None


def test_usual_units_give_the_nearest_float():
    assert [to_base(text, "x")[0] for text in ("8 nm", "1 uM", "0.1 cm", "3 ms")] == [0.008, 602.214076, 1e3, 0.003]
    assert to_base("-1e308 mol", "x")[0] == -np.inf


def test_usual_units_do_not_load_pint():
    code = "import sys; from meshcell.core import units; print(units.convert('8 nm', 'um', 's'), 'pint' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "0.008 False\n"
    )


def test_plain_numbers_pass_unchanged():
    for value in (3, 0.1, np.float32(0.5), np.int16(7), np.array(2.5)):
        assert convert(value, "um", "spacing") == float(value)


def test_quantities_of_any_registry_are_understood():
    foreign = pint.UnitRegistry()
    foreign.formatter.default_format = ".1f~P"  # would round 0.123 to 0.1
    assert convert(foreign.Quantity(0.123, "um"), "um", "spacing") == 0.123
    assert convert(foreign.Quantity(5, "nm"), "um", "spacing") == pytest.approx(0.005, rel=ROUNDING)
    assert convert(units.registry().Quantity(220, "um^2/s"), "um^2/s", "D") == pytest.approx(220, rel=ROUNDING)
    value, unit = to_base(foreign.Quantity(1, "micromolar"), "c")
    assert value == pytest.approx(602.214076, rel=ROUNDING)
    assert unit == CONCENTRATION


def test_quantity_survives_storage_as_text():
    quantity = pint.UnitRegistry().Quantity(0.1 + 0.2, "micromolar / second")
    text = plain(quantity, "k")
    assert isinstance(text, str)
    assert to_base(text, "k") == to_base(quantity, "k")


@pytest.mark.parametrize(
    ("value", "unit", "parts"),
    [
        ("3 s", "um", ["spacing should be in um", "'3 s'", "which is in s"]),
        ("7", "um", ["spacing should be in um", "which has no unit"]),
        ("0.1 uM", "um^2/s", ["spacing should be in um^2/s", "which is in uM"]),
        ("10 foo", "um", ["spacing", "'10 foo'", "'foo' is not defined", "8 nm"]),
        ("10 um2", "um", ["spacing", "'um2' is not defined"]),
        ("nm", "um", ["a number and its unit", "'nm'"]),
        ("3 um + 2 nm", "um", ["a number and its unit", "'+' does not belong in a unit"]),
        ("__import__('os')", "um", ["a number and its unit"]),
        ("1 os.getcwd", "um", ["does not belong in a unit"]),
        ("1e999 um^2", "um", ["should be finite"]),
        ("5 )(", "um", ["a number and its unit", "'5 )('"]),
        ("1/0 s", "um", ["division by zero"]),
        ("37 degC", "um", ["37 degC"]),
        ("1 " + "m*" * 200 + "m", "um", ["too long"]),
    ],
)
def test_what_is_no_such_quantity_is_refused_by_name(value, unit, parts):
    with pytest.raises(ValueError) as error:
        convert(value, unit, "spacing")
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_foreign_quantity_of_another_dimension_names_both_units():
    with pytest.raises(ValueError, match=r"spacing should be in um .*which is in s"):
        convert(pint.UnitRegistry().Quantity(8, "s"), "um", "spacing")


@pytest.mark.parametrize("value", [None, True, np.True_, [1.0, 2.0], {}, np.array([1.0]), object()])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match=r"spacing should be .*number or a text"):
        convert(value, "um", "spacing")


def test_array_quantity_is_a_type_error():
    with pytest.raises(TypeError, match="should be one number"):
        convert(units.registry().Quantity([1.0, 2.0], "um"), "um", "spacing")


@pytest.mark.parametrize(
    "text",
    ["9^9^9^9 um", "1 um^9^9^9^9", "1 9**9**9**9", "1 um^999999999", "1 um^(9^9)", "1 um²²²²²²²²", "1 um^9²²²²²"],
)
def test_huge_powers_are_refused_at_once(text):
    units.registry()
    start = time.perf_counter()
    with pytest.raises(ValueError, match="does not belong in a unit"):
        convert(text, "um", "spacing")
    # pint would compute these to the last digit, for hours; refusing takes a millisecond.
    assert time.perf_counter() - start < 1


def test_other_dimensions_are_kept_consistent():
    value, unit = to_base("10 mV", "V")
    other, same = to_base("5 V", "V0")
    assert unit == same
    assert value / other == pytest.approx(0.002, rel=ROUNDING)
    # What pint works out: an ampere times an ohm, a joule per coulomb.
    for text, size in (("70 pA*Gohm", 70.0), ("3 J/C", 3000.0), ("2 nS*mV/pF*ms", 2.0)):
        number, known = to_base(text, "V")
        assert known == unit
        assert number == pytest.approx(size, rel=1e-12)


def test_unit_algebra_is_that_of_exponents():
    um, s, molecule = Unit.of(um=1), Unit.of(s=1), Unit.of(molecule=1)
    assert molecule / um**3 == CONCENTRATION
    assert CONCENTRATION * um == DENSITY
    assert um / um == NO_UNIT == um**0
    assert ((um / s) ** 0.5) ** 2 == um / s
    assert (um**0.1) ** 3 == um**0.3  # although 3 * 0.1 != 0.3
    assert hash(um * s) == hash(s * um)


@pytest.mark.parametrize(
    "text",
    ["molecule/um^3/s", "um^3/molecule/s", "1/s", "um^0.5", "molecule*um/s", "mV/s", "mV*um/s", "1/mV", "nA/um^2"],
)
def test_unit_text_reads_back(text):
    value, unit = to_base(f"1 {text}" if not text.startswith("1") else text, "unit")
    assert value == pytest.approx(1, rel=1e-15)
    assert str(unit) == text
    assert str(NO_UNIT) == "no unit"


@pytest.mark.parametrize(
    ("text", "unit", "value"), [("10 A", "um", 1e-3), ("13.68A", "um", 1.368e-3), ("10 Å", "nm", 1)]
)
def test_where_a_length_is_wanted_a_is_an_angstrom(text, unit, value):
    assert convert(text, unit, "spacing") == pytest.approx(value, rel=1e-12)
    assert convert("3 pA", "A", "current") == pytest.approx(3e-12, rel=1e-12)
    # Currents are in nA inside, so that potentials are in mV.
    value, unit = to_base("2 A", "current")
    assert value == pytest.approx(2e9, rel=1e-12)
    assert str(unit) == "nA"


@pytest.mark.parametrize("text", ["1 px", "2 pixels", "1 voxel", "1 pixel/um", "300 dots"])
def test_a_pixel_is_no_length(text):
    with pytest.raises(ValueError, match=r"a (px|pixel|voxel|dot) is no length; give the size that the microscope"):
        convert(text, "um", "spacing")


SEVERAL = [
    "4 4 40 nm", "1 500 nm", "1\u00a0500 nm", "2 5 nm", "1 1 nm", "1 1/2 nm", "2 10^3 nm", "8 nm 8", "8(8) nm",
    "8 (8 nm)", "8 8", "1 000 uM", "4 x 4 nm",
]  # fmt: skip


@pytest.mark.parametrize("text", SEVERAL)
def test_several_numbers_are_not_multiplied(text):
    for read in (lambda: convert(text, "um", "edge"), lambda: to_base(text, "edge")):
        with pytest.raises(ValueError, match=r'edge should be .* several numbers; write one as "1500 nm"'):
            read()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2*10^3 nm", 2), ("2·10^3 nm", 2), ("2 * 10**-3 mm", 2), ("1/2 um", 0.5), ("10 nm/(2 s)*s", 0.005),
        ("3 1/s * s um", 3), ("2 um^2 um^-1", 2), ("2e3 nm", 2), ("2 um^( 1 )", 2),
    ],
)  # fmt: skip
def test_factors_exponents_and_one_over_are_no_second_number(text, value):
    assert to_base(text, "x")[0] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("between", [" ", ", ", ",", "; ", "x", " x ", " \u00d7 ", "*"])
@pytest.mark.parametrize(("first", "last"), [("nm", "nm"), (" nm", " nm"), ("", "nm"), ("", " um"), ("", "")])
def test_three_sizes_in_one_text_are_three(between, first, last):
    found = units.three_in(between.join(["4" + first, "4.5" + first, "4e1" + last]))
    scale = 1e-3 if "nm" in last else 1
    assert [convert(size, "um", "spacing") for size in found] == pytest.approx([4 * scale, 4.5 * scale, 40 * scale])
    assert units.three_in(between.join(["4" + first, "4.5" + last])) is None
