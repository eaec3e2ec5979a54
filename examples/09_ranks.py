# %% [markdown]
# # The calcium transient on several processes
#
# The same model, mesh and call as on one process, with `engine="fenicsx"`, under mpiexec:
#
#     mpiexec -n 2 python examples/09_ranks.py [folder]
#
# It needs dolfinx, which `pip install "meshcell[fenicsx]"` brings on Linux with Python 3.12 or later. Every rank runs
# this script; each has the unknowns of its own part of the mesh while it solves, and gets the whole solution.

# %%
import importlib.util
import sys

import numpy as np

import meshcell as mc

if importlib.util.find_spec("dolfinx") is None:
    sys.exit(print('dolfinx is not there: pip install -e ".[fenicsx]", with Python 3.12 or later on Linux'))

# %% [markdown]
# Phantoms and meshes are the same bytes on every rank.

# %%
labels = mc.spine("32 nm", rng=7)
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge="60 nm")
model = mc.Model(
    {"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")},
    [
        mc.Species("Ca", "cyt", "220 um^2/s", "0.1 uM"),
        mc.Species("CaER", "er", "6 um^2/s", "400 uM"),
        mc.Species("B", "cyt", "20 um^2/s", "100 uM"),
        mc.Species("CaB", "cyt", "20 um^2/s", "20 uM"),
    ],
    [
        mc.Reaction("stimulus", "PM", "J*exp(-t/tau)", {"Ca": +1}),
        mc.Reaction("buffer", "cyt", "k_on*Ca*B - k_off*CaB", {"Ca": -1, "B": -1, "CaB": +1}),
        mc.Reaction("pump", "PM", "v*(Ca - rest)/(K + Ca)", {"Ca": -1}),
        mc.Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1}),
        mc.Reaction("uptake", "ERM", "u*Ca**2/(S**2 + Ca**2)", {"Ca": -1, "CaER": +1}),
    ],
    {
        "J": "200000 molecule/um^2/s",
        "tau": "10 ms",
        "k_on": "100 1/uM/s",
        "k_off": "50 1/s",
        "rest": "0.1 uM",
        "v": "2000 molecule/um^2/s",
        "K": "0.5 uM",
        "k_leak": "0.0005 um/s",
        "u": "600 molecule/um^2/s",
        "S": "0.2 uM",
    },
)

# %% [markdown]
# Both engines discretise alike and take the same fixed steps, so they differ by what the linear solvers leave.

# %%
times, steps = np.linspace(0, 0.05, 11), {"step": 0.0025, "rtol": 1e-11, "scheme": "implicit"}
shared = mc.solve(mesh, model, times, engine="fenicsx", **steps)
alone = mc.solve(mesh, model, times, **steps)
largest = max(np.abs(shared.values[name] / alone.values[name] - 1).max() for name in alone.values)
if mc.solving.is_first("fenicsx"):
    print(shared)
    print(f"peak of calcium {mc.mean(shared, 'Ca').max() / 602.214:.3f} uM")
    print(f"the embedded engine's values are {largest:.1e} away at most")
assert largest < 1e-8
