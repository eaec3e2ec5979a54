# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ATP from a mitochondrion
#
# The ATP synthase turns ADP of the matrix into ATP, the nucleotide translocator trades it for ADP of the intermembrane
# space (IMS), and channels of the outer membrane let it out. After Garcia et al., Sci. Rep. 13 (2023) 13640, whose
# program gives all rates and numbers of molecules; here on a mitochondrion with three cristae.
#
#     python examples/07_mitochondrial_atp.py [folder for pictures]

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import meshcell as mc

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
FOLDER.mkdir(parents=True, exist_ok=True)


def show(name):
    """Show a picture of the folder where this runs as a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(FOLDER / name, width=700))


# %% [markdown]
# ## 1. The organelle
#
# An ellipsoid in an ellipsoid; cristae are sheets of IMS that cut into the matrix from one side.

# %%
SPACING = 0.012  # um
x = (np.indices((72, 42, 42)) - np.array([35.5, 20.5, 20.5])[:, None, None, None]) * SPACING
inside, matrix = (
    np.linalg.norm(x / np.reshape(half, (3, 1, 1, 1)), axis=0) < 1 for half in ((0.38, 0.2, 0.2), (0.33, 0.155, 0.155))
)
cristae = (np.abs((x[0] + 0.07) % 0.14 - 0.07) < 0.02) & (np.abs(x[0]) < 0.2) & (x[2] > -0.08)
data = (inside.astype(np.uint8) + (matrix & ~cristae)).astype(np.uint8)
labels = mc.Volume(data, SPACING, origin=tuple(x[:, 0, 0, 0]), names={1: "ims", 2: "matrix"})
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge="40 nm")
print(mesh)
mc.plot(mesh, cut="y", save=FOLDER / "mitochondrion.png").close()
show("mitochondrion.png")

# %% [markdown]
# ## 2. The model
#
# Six states of the synthase, nine of the translocator (L, with what it holds of the IMS on its left and of the matrix
# on its right), ADP and ATP of the matrix (D_m, T_m): 17 species. ATP of the IMS (T_i) is one more, ATP of the cytosol
# (T_c) a pool. Each step: left side, right side, rates forth and back in 1/s or 1/uM/s.

# %%
STEPS = [
    ("E_m", "E_i", 146516, 33989),
    ("E_i", "E_H_i", 3969, 1000),
    ("E_H_i", "E_H_m", 100, 100),
    ("E_H_i", "E_T", 1e-20, 5.85e-30),
    ("E_H_m D_m", "E_S", 2, 100),
    ("E_S", "E_T T_m", 5000, 5),
    ("E_T", "E_m", 40, 100),
    *[(f"{x}L T_m", f"{x}LT", 6.4, 4e4) for x in ("", "T", "D")],
    *[(f"{x}L D_m", f"{x}LD", 4, 4e4) for x in ("", "T", "D")],
    *[(f"L{x} T_i", f"TL{x}", 0.4, 200) for x in ("", "T", "D")],
    # ADP of the IMS stays at 45 uM.
    *[(f"L{x}", f"DL{x}", 4 * 45, 100) for x in ("", "T", "D")],
    ("DLT", "TLD", 92, 3.5),
]
IN_VOLUMES = {"D_m": ("Mat", 720), "T_m": ("Mat", 650), "T_i": ("IMS", 325), "T_c": ("T_c", 325)}  # uM
area = mesh.areas[mesh.interfaces["matrix", "ims"]].sum()
PROTEINS = {name: 0.0 for step in STEPS for name in f"{step[0]} {step[1]}".split() if name not in IN_VOLUMES}
PROTEINS |= {"E_i": 267 / area, "L": 16471 / area}  # molecules/um^2
VDAC = 1e4  # molecules/um^2/uM/s through the outer membrane


def both_ways(i, left, right, forth, back):
    """Write step i by mass action, and its two constants with units."""
    sides = {f"k{i}": (left.split(), forth, -1), f"q{i}": (right.split(), back, 1)}
    rate = " - ".join("*".join([k, *names]) for k, (names, _, _) in sides.items())
    change = {name: sign for names, _, sign in sides.values() for name in names}
    units = {k: f"{rate} 1/s" if len(names) == 1 else f"{rate} 1/uM/s" for k, (names, rate, _) in sides.items()}
    return mc.Reaction(f"step {i}", "IM", rate, change), units


laws = [both_ways(i, *step) for i, step in enumerate(STEPS, 1)]
model = mc.Model(
    compartments={"IMS": "ims", "Mat": "matrix", "OM": ("ims", "outside"), "IM": ("ims", "matrix")},
    species=[
        *(mc.Species(name, "IM", initial=f"{start} molecule/um^2") for name, start in PROTEINS.items()),
        mc.Species("D_m", "Mat", "15 um^2/s", "720 uM"),
        mc.Species("T_m", "Mat", "15 um^2/s", "650 uM"),
        mc.Species("T_i", "IMS", "15 um^2/s", "325 uM"),
        mc.Pool("T_c", "0.306 um^3", "325 uM"),
    ],
    reactions=[*(law for law, _ in laws), mc.Reaction("VDAC", "OM", "p*(T_i - T_c)", {"T_i": -1, "T_c": 1})],
    parameters={"p": f"{VDAC} molecule/um^2/uM/s"} | {k: text for _, units in laws for k, text in units.items()},
)
print(model)
model

# %%
times = np.concatenate([np.linspace(0, 0.02, 21), np.linspace(0.025, 0.2, 36)])
solution = mc.solve(mesh, model, times)
print(solution)

# %% [markdown]
# ## 3. As if all were well mixed
#
# An ordinary differential equation from the same table of steps, put together with numpy and solved to ten digits.

# %%
UM = 602.214076  # molecules/um^3 in one uM
names = [*PROTEINS, *IN_VOLUMES]
place = {name: i for i, name in enumerate(names)}
sizes = mc.well_mixed(model, mesh).sizes
# What a molecule per um^2 of the inner membrane is to each.
worth = np.array([1.0] * len(PROTEINS) + [sizes["IM"] / sizes[where] / UM for where, _ in IN_VOLUMES.values()])
sides = [[([place[name] for name in side.split()], rate) for side, rate in ((a, f), (b, r))] for a, b, f, r in STEPS]


def slopes(t, y):
    change = np.zeros(len(y))
    for (left, forth), (right, back) in sides:
        rate = forth * np.prod(y[left]) - back * np.prod(y[right])
        change[left] -= rate
        change[right] += rate
    leave = VDAC * (y[-2] - y[-1]) * sizes["OM"] / UM
    return change * worth + np.array([0.0] * (len(y) - 2) + [-leave / sizes["IMS"], leave / sizes["T_c"]])


start = [*PROTEINS.values(), *(start for _, start in IN_VOLUMES.values())]
truth = solve_ivp(slopes, (0, times[-1]), start, "LSODA", times, rtol=1e-10, atol=1e-10).y

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, label in (("T_c", "cytosol"), ("T_i", "IMS")):
    line = left.plot(1e3 * times, mc.mean(solution, name) / UM, "o", markersize=3, label=f"{label}, mesh")[0]
    left.plot(1e3 * times, truth[place[name]], "-", color=line.get_color(), label=f"{label}, well mixed")
for name in ("E_i", "E_H_i", "E_S", "E_T"):
    right.plot(1e3 * times, mc.mean(solution, name), label=name)
left.set(xlabel="time (ms)", ylabel="ATP (µM)")
right.set(xlabel="time (ms)", ylabel="states of the synthase (1/µm²)")
left.legend(), right.legend()
figure.savefig(FOLDER / "atp.png", dpi=120)
plt.close(figure)
show("atp.png")

# %%
mc.plot(solution, "T_m", at=0.2, cut="y", save=FOLDER / "atp_matrix.png").close()
show("atp_matrix.png")

# %% [markdown]
# The closing numbers. Diffusion is fast in so small a body, so the ordinary differential equation is nearly right.

# %%
made, exact = ((c[-1] - 325) for c in (mc.mean(solution, "T_c") / UM, truth[place["T_c"]]))
print(f"the cytosol's ATP changes by {made:.2f} uM in 0.2 s; well mixed it would be {exact:.2f} uM")
assert abs(made / exact - 1) < 0.02
for protein in "EL":
    states = sum(mc.total(solution, name) for name in PROTEINS if protein in name)
    assert np.abs(states / states[0] - 1).max() < 1e-12
print("both proteins are kept to 1e-12")
