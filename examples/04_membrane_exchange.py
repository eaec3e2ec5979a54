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
# # Exchange between a cell and its membrane
#
# A in the cytosol binds a receptor X in the membrane and becomes B there: A + X <-> B. One reaction changes species
# on both sides of the boundary of the cytosol; nothing may get lost. The equilibrium is known where A diffuses fast.
#
#     python examples/04_membrane_exchange.py [folder for pictures]

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

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
# ## 1. A cell with a patch
#
# A ball of voxels, smoothed. A cap of its membrane gets a name; later, receptors will be there only.

# %%
N, SPACING = 26, 0.09  # voxels along the box, um
x = (np.indices((N, N, N)) - (N - 1) / 2) * SPACING
inside = np.linalg.norm(x, axis=0) < 1
labels = mc.Volume(inside.astype(np.uint8), SPACING, origin=tuple(x[:, 0, 0, 0]), names={1: "cell"})
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge=0.12)
mesh = mc.patch(mesh, "cap", lambda points: points[:, 2] > 0.6)
print(mesh)

# %% [markdown]
# ## 2. The model
#
# All constants are 1. The receptors come as an array over the membrane's facets, so that the same model serves for an
# even membrane and for a cap.


# %%
def exchange(receptors):
    """Write the model for a density of receptors per facet of the mesh."""
    return mc.Model(
        compartments={"cyt": "cell", "PM": ("cell", "outside")},
        species=[
            mc.Species("A", "cyt", diffusion=1000, initial=1),
            mc.Species("X", "PM", initial=mc.Field(receptors, at="cells")),
            mc.Species("B", "PM", initial=0),
        ],
        reactions=[mc.Reaction("bind", "PM", "k_on*A*X - k_off*B", {"A": -1, "X": -1, "B": +1})],
        parameters={"k_on": 1, "k_off": 1},
    )


even = exchange(np.ones(len(mesh.facets)))
print(even)
even

# %%
times = np.linspace(0, 10, 41)
solution = mc.solve(mesh, even, times)
print(solution)

# %% [markdown]
# ## 3. The equilibrium
#
# A fast A is the same everywhere. With s = area/volume it obeys a = 1 - s b and b = a (1 - b); in a ball of radius 1,
# a = (sqrt(13) - 3)/2 = 0.3028.

# %%
s = mesh.areas.sum() / mesh.volumes.sum()
b = min(np.roots([s, -2 - s, 1]).real)
left = mc.mean(solution, "A")[-1]
print(f"A ends at {left:.5f}, the formula says {1 - s * b:.5f}")
amounts = mc.total(solution, "A") + mc.total(solution, "B")
drift = np.abs(amounts / amounts[0] - 1).max()
print(f"A + B is kept to {drift:.1e}")

# %% [markdown]
# ## 4. Receptors on the cap only
#
# As many receptors per area, but on the cap only: less is bound, and it is bound there.

# %%
density = np.zeros(len(mesh.facets))
density[mesh.patches["cap"]] = 1
capped = mc.solve(mesh, exchange(density), times)
mc.plot(capped, "B", at=10.0, save=FOLDER / "exchange_cap.png").close()
show("exchange_cap.png")

# %%
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
axes.plot(times, mc.mean(solution, "A"), label="receptors all over")
axes.plot(times, mc.mean(capped, "A"), label="on the cap")
axes.axhline(1 - s * b, color="0.5", linestyle=":", label="equilibrium, all over")
axes.set(xlabel="time (s)", ylabel="A in the cytosol (molecules/µm³)", ylim=(0, None))
axes.legend()
figure.savefig(FOLDER / "exchange.png", dpi=120)
plt.close(figure)
show("exchange.png")

# %% [markdown]
# The closing number:

# %%
assert drift < 1e-10
assert abs(left / (1 - s * b) - 1) < 0.005
print(f"A is within {100 * abs(left / (1 - s * b) - 1):.2f} % of its equilibrium")
