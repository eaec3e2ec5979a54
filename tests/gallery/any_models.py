"""Models of any kind, drawn by hypothesis."""

from hypothesis import reject, strategies as st

from meshcell.models.model import Model
from meshcell.models.parameters import Table
from meshcell.models.species import Reaction, Species

texts = st.text(min_size=1, max_size=8)
regions = texts.filter(lambda name: name == name.strip() and " + " not in name and name != "outside")
symbols = st.sampled_from(["Ca", "buffer", "IP3", "μ", "_x", "ς", "V"])
numbers = st.floats(allow_nan=False, allow_infinity=False)
small = st.floats(0, 1e12) | st.integers(0, 10**12)
units = st.sampled_from(["uM", "nM", "molecule/um^3", "mol/l", "molecules/l"])
concentrations = small | st.builds("{!r} {}".format, st.floats(0, 1e9), units)
formulas_in_space = st.sampled_from(["1 + x*x", "exp(-z)", "2*(1 + tanh(y))", "heaviside(x)", "1e-3", "x**2 +\n 1"])


formulas_in_time = st.sampled_from(["1e-3", "2*(1 + tanh(3))", "heaviside(1)", "1 + 2**\n 1"])


@st.composite
def tables(draw):
    times = sorted(draw(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5)))
    values = draw(st.lists(numbers, min_size=len(times), max_size=len(times)))
    unit, time_unit = draw(st.none() | units), draw(st.sampled_from(["s", "ms", "min", "hour"]))
    return Table(times, values, unit, time_unit)


@st.composite
def models(draw, in_space=True):
    """Draw a model; its formulas read x, y and z only where `in_space`."""
    formulas = formulas_in_space if in_space else formulas_in_time
    names = draw(st.lists(regions, min_size=3, max_size=5, unique=True))
    places = {"cyt": names[0], "PM": (names[0], "outside"), "all": " + ".join(names), "pairs": ((names[0], names[1]),)}
    places = {draw(texts) + key: place for key, place in places.items()}
    home, skin, *_ = keys = list(places)
    species = []
    for name in draw(st.lists(symbols, max_size=3, unique=True)):
        parts = st.dictionaries(st.sampled_from(names), small | formulas, min_size=1)
        where = draw(st.sampled_from([home, keys[2]]))
        diffusion = draw(small | formulas | st.just("2 um^2/s") | (parts if where == keys[2] else st.nothing()))
        fixed = draw(st.dictionaries(st.just(skin), numbers | formulas | tables(), max_size=1))
        species.append(Species(name, where, diffusion, draw(concentrations | formulas), fixed, draw(st.booleans())))
    found = [item.name for item in species if item.compartment == home]
    rates = [] if not found else [f"{found[0]}*t", "1", "exp(-t)*x" if in_space else "exp(-t)*7"]
    reactions = [
        Reaction(name, home, draw(st.sampled_from([found[0], *rates])), {found[0]: change})
        for name, change in draw(st.dictionaries(texts, numbers, max_size=3)).items()
        if found
    ]
    parameters = draw(st.dictionaries(st.sampled_from(["k", "K", "λ", "p1"]), numbers | concentrations | tables()))
    try:
        return Model(places, species, reactions, parameters)
    except ValueError:
        # Units of what was drawn do not fit.
        reject()
