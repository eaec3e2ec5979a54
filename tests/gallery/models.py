"""Models that several tests solve."""

from gallery.balls import round_ball
from meshcell.models.binding import bind
from meshcell.models.model import Model
from meshcell.models.species import Reaction, Species
from meshcell.solving.discretisation import Discretisation

NESTED = {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("core", "shell")}
BALL = {"ball": "ball", "rim": ("ball", "outside")}


def well(reactions, parameters=None, **initial):
    """Make species that do not diffuse in one region, so that every node is an ordinary differential equation."""
    return Model({"box": "box"}, [Species(k, "box", 0, v) for k, v in initial.items()], reactions, parameters or {})


def exchange(diffusion=1000.0):
    """A in the bulk and X on the membrane make B on the membrane."""
    species = [Species("A", "ball", diffusion, 1), Species("X", "rim", 0, 1), Species("B", "rim", 0, 0)]
    return Model(BALL, species, [Reaction("bind", "rim", "A*X - B", {"A": -1, "X": -1, "B": 1})])


def calcium(pump=True):
    """The user's page: a leak from the ER, a pump in the plasma membrane."""
    species = [
        Species("Ca", "cyt", "220 um^2/s", "0.1 uM"),
        Species("CaER", "er", "6 um^2/s", "400 uM"),
    ]
    reactions = [Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1})]
    if pump:
        reactions.append(Reaction("pump", "PM", "v*Ca/(K + Ca)", {"Ca": -1}))
    parameters = {"k_leak": "0.02 um/s", "v": "30 molecule/um^2/s", "K": "0.2 uM"}
    return Model(NESTED, species, reactions, parameters)


ROBERTSON = [
    Reaction("slow", "box", "0.04*a", {"a": -1, "b": 1}),
    Reaction("fast", "box", "3e7*b*b", {"b": -1, "c": 1}),
    Reaction("back", "box", "1e4*b*c", {"b": -1, "a": 1}),
]


def problem(n, stiffness=1.0):
    """Two species in the shell, one in the core, one on the membrane, all coupled."""
    species = [
        Species("a", "cyt", 220, 1),
        Species("b", "cyt", 1, 2),
        Species("c", "er", 6, 3),
        Species("m", "PM", 0.1, 4),
    ]
    reactions = [
        Reaction("bind", "cyt", "k*(a*b - 1)", {"a": -1, "b": -1}),
        Reaction("leak", "ERM", "k*(c - a)", {"c": -1, "a": 1}),
        Reaction("dock", "PM", "k*(b*b - m)", {"b": -1, "m": 1}),
    ]
    places = {"cyt": "shell", "er": "core", "PM": ("shell", "outside"), "ERM": ("shell", "core")}
    return Discretisation(bind(Model(places, species, reactions, {"k": stiffness}), round_ball(n, core=n // 2)))


def brusselator():
    species = [Species("u", "ball", 0.1, "1.2 + 0.3*x"), Species("v", "ball", 0.05, "3.1 + 0.3*y")]
    reactions = [
        Reaction("feed", "ball", "1", {"u": 1}),
        Reaction("autocatalysis", "ball", "u*u*v", {"u": 1, "v": -1}),
        Reaction("turn", "ball", "3*u", {"u": -1, "v": 1}),
        Reaction("loss", "ball", "u", {"u": -1}),
    ]
    return Model({"ball": "ball"}, species, reactions)


def buffered():
    """Calcium that a fast buffer binds, from rest."""
    species = [Species("Ca", "ball", 220, 60.0), Species("B", "ball", 10, 6000.0), Species("CaB", "ball", 10)]
    reactions = [
        Reaction("bind", "ball", "0.5*Ca*B - 50*CaB", {"Ca": -1, "B": -1, "CaB": 1}),
        Reaction("enter", "rim", "500*exp(-t/0.01)", {"Ca": 1}),
    ]
    return Model(BALL, species, reactions)


def receptor():
    """A ligand that receptors on the membrane bind, which pair."""
    species = [Species("L", "ball", 30, 10.0), Species("R", "rim", 0.1, 20.0)]
    species += [Species("C", "rim", 0.1), Species("D", "rim", 0.05)]
    reactions = [
        Reaction("bind", "rim", "0.1*L*R - C", {"L": -1, "R": -1, "C": 1}),
        Reaction("pair", "rim", "0.5*C*C - D", {"C": -2, "D": 1}),
    ]
    return Model(BALL, species, reactions)
