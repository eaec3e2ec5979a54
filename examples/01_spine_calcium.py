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
# # Calcium in a dendritic spine: from labels to a transient with error bars
#
# A spine with its spine apparatus (the spine's ER) goes the whole way: labels, surface, tetrahedra, a calcium
# transient, and one round of adaptive refinement that says how far the answer depends on the mesh.
#
# Run it as it stands for a phantom that meshcell makes itself, or give it a real one:
#
#     python examples/01_spine_calcium.py [folder for pictures] [labels.npz with 1 = cytosol, 2 = er]

# %%
import sys
from pathlib import Path

import numpy as np

import meshcell as mc

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
LABELS = arguments[1] if len(arguments) > 1 else None
FOLDER.mkdir(parents=True, exist_ok=True)


def show(name):
    """Show a picture of the folder where this runs as a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(FOLDER / name, width=700))


# %% [markdown]
# ## 1. Labels
#
# Every voxel carries the number of its region; 0 is always "outside". `check` reads them like a colleague who has
# meshed a few spines before.

# %%
labels = mc.load(LABELS, names={1: "cytosol", 2: "er"}) if LABELS else mc.spine("16 nm", rng=7)
print(labels)
print(mc.check(labels))

# %% [markdown]
# ## 2. Surface
#
# `extract` returns the staircase of voxel faces, every interface once. `smooth` turns it into a membrane; no point
# moves by more than half a voxel, and every region keeps its volume.

# %%
raw = mc.extract(labels)
surface = mc.smooth(raw)
pair = ("cytosol", "outside")
print(f"plasma membrane: staircase {mc.areas(raw)[pair]:.3f} um^2, smoothed {mc.areas(surface)[pair]:.3f} um^2")
print(mc.topology(surface))

# %%
mc.plot(surface, save=FOLDER / "surface.png").close()
show("surface.png")

# %% [markdown]
# ## 3. Tetrahedra
#
# One conforming mesh of all regions. The angle histogram is the first thing to look at in any mesh.

# %%
mesh = mc.tetrahedralize(surface, edge="40 nm")
print(mesh)
print(mc.quality(mesh))

# %%
mc.plot(mesh, save=FOLDER / "mesh.png").close()
show("mesh.png")

# %%
mc.histogram(mesh.surface, save=FOLDER / "angles.png")

# %% [markdown]
# ## 4. Model
#
# For a few milliseconds calcium enters through the plasma membrane; a buffer binds most of it; a pump in the membrane
# and the uptake into the ER bring it back to rest. A flux is a reaction whose compartment is an interface; `change`
# says what one event does to each species, so no sign is guessed. Units are checked when the model is built.

# %%
model = mc.Model(
    compartments={"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")},
    species=[
        mc.Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM"),
        mc.Species("CaER", "er", diffusion="6 um^2/s", initial="400 uM"),
        # At rest a sixth of the buffer is bound: 0.1 uM beside a dissociation constant of 0.5 uM.
        mc.Species("B", "cyt", diffusion="20 um^2/s", initial="100 uM"),
        mc.Species("CaB", "cyt", diffusion="20 um^2/s", initial="20 uM"),
    ],
    reactions=[
        mc.Reaction("stimulus", "PM", "J*exp(-t/tau)", {"Ca": +1}),
        mc.Reaction("buffer", "cyt", "k_on*Ca*B - k_off*CaB", {"Ca": -1, "B": -1, "CaB": +1}),
        mc.Reaction("pump", "PM", "v*(Ca - rest)/(K + Ca)", {"Ca": -1}),
        mc.Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1}),
        mc.Reaction("uptake", "ERM", "u*Ca**2/(S**2 + Ca**2)", {"Ca": -1, "CaER": +1}),
    ],
    parameters={
        "J": "200000 molecule/um^2/s",
        "tau": "10 ms",
        "k_on": "100 1/uM/s",
        "k_off": "50 1/s",
        "v": "2000 molecule/um^2/s",
        "rest": "0.1 uM",
        "K": "0.5 uM",
        "k_leak": "0.0005 um/s",
        "u": "600 molecule/um^2/s",
        "S": "0.2 uM",
    },
)
print(model)

# %% [markdown]
# ## 5. Solve
#
# Time steps are chosen by the solver to the tolerance asked for.

# %%
times = np.concatenate([np.linspace(0, 0.05, 26), np.linspace(0.06, 0.5, 23)])
solution = mc.solve(mesh, model, times, rtol=1e-4)
print(solution)

# %%
UM = 602.214076  # molecules/um^3 in one uM
calcium = mc.mean(solution, "Ca") / UM
print(f"peak calcium {calcium.max():.2f} uM after {1e3 * times[calcium.argmax()]:.0f} ms")

# %%
mc.plot(solution, "Ca", at=float(times[calcium.argmax()]), save=FOLDER / "calcium.png").close()
show("calcium.png")

# %%
mc.plot(solution, save=FOLDER / "curves.png")

# %%
mc.save(FOLDER / "calcium.pvd", solution, overwrite=True)  # one time series for ParaView

# %% [markdown]
# ## 6. How far does the answer depend on the mesh?
#
# Estimate the error of every tetrahedron, refine where it is largest, solve again. What the mean changes by is an
# honest first error bar.

# %%
refined = mc.refine(mesh, mc.mark(mc.estimate(solution), theta=0.3)).mesh
finer = mc.solve(refined, model, times, rtol=1e-4)
change = np.abs(mc.mean(finer, "Ca") / mc.mean(solution, "Ca") - 1).max()
print(
    f"{len(mesh.tets):,} -> {len(refined.tets):,} tetrahedra change the mean of calcium by {100 * change:.3f} % at most"
)

# %% [markdown]
# The closing number: between them, cytosol, ER and buffer gained what came in and lost what was pumped out. The solver
# keeps that balance to rounding in every step; here the fluxes are integrated from the saved times alone, which costs
# about a percent. What the buffer keeps for itself is known exactly: free and bound, it does not change.

# %%
net = mc.flux(solution, "stimulus") - mc.flux(solution, "pump")
came = np.sum(np.diff(times) * (net[1:] + net[:-1]) / 2)
stayed = sum(mc.total(solution, species)[-1] - mc.total(solution, species)[0] for species in ("Ca", "CaER", "CaB"))
entered = np.trapezoid(mc.flux(solution, "stimulus"), times)
print(f"{entered:,.0f} ions came in, {stayed:,.0f} stayed; unaccounted for: {100 * abs(came - stayed) / entered:.1f} %")
buffer = mc.total(solution, "B") + mc.total(solution, "CaB")
print(f"the buffer, free and bound, changed by {np.abs(buffer / buffer[0] - 1).max():.1e} of itself")
assert abs(came - stayed) < 0.03 * entered
assert np.abs(buffer / buffer[0] - 1).max() < 1e-10
