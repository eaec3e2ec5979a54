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
# # A kinase on the membrane, a phosphatase in the cytosol
#
# A kinase on the plasma membrane phosphorylates a protein, a phosphatase in the cytosol undoes it. What is
# phosphorylated forms a gradient inwards, and how deep it reaches depends on the shape of the cell (Meyers, Craig and
# Odde, Curr. Biol. 16 (2006) 1685). In a ball the answer is known; in a dendritic spine it is not.
#
#     python examples/02_surface_kinase.py [folder for pictures]

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
# ## 1. The model
#
# c is the protein that is phosphorylated, so c0 - c is left to work on. In a notebook a model shows its equations.

# %%
D, K_CYT, K_MEM = 10.0, 10.0, 50 / 3  # um^2/s, 1/s, um/s
UM = 602.214076  # molecules/um^3 in one uM


def kinase(region):
    """Write the model for a region of any shape."""
    return mc.Model(
        compartments={"cyt": region, "PM": (region, "outside")},
        species=[mc.Species("c", "cyt", diffusion=D, initial="0 uM")],
        reactions=[
            mc.Reaction("kinase", "PM", "k_mem*(c0 - c)", {"c": +1}),
            mc.Reaction("phosphatase", "cyt", "k_cyt*c", {"c": -1}),
        ],
        parameters={"c0": "1 uM", "k_mem": f"{K_MEM} um/s", "k_cyt": f"{K_CYT} 1/s"},
    )


print(kinase("cell"))
kinase("cell")

# %% [markdown]
# ## 2. A ball, where the answer is known
#
# With m = sqrt(k_cyt/D) the steady state is c = A c0 sinh(m r)/r. A smoothed ball of voxels keeps its volume, so it is
# compared with the ball of the same volume.

# %%
N, SPACING = 30, 0.08  # voxels along the box, um
x = (np.indices((N, N, N)) - (N - 1) / 2) * SPACING
inside = np.linalg.norm(x, axis=0) < 1
labels = mc.Volume(inside.astype(np.uint8), SPACING, origin=tuple(x[:, 0, 0, 0]), names={1: "cell"})
ball = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge=0.1)
print(ball)

# %%
in_ball = mc.solve(ball, kinase("cell"), [0, 1, 2])
print(in_ball)

# %%
R, m = (3 * ball.volumes.sum() / (4 * np.pi)) ** (1 / 3), np.sqrt(K_CYT / D)
A = K_MEM / (D * (m * np.cosh(m * R) / R - np.sinh(m * R) / R**2) + K_MEM * np.sinh(m * R) / R)
exact = 3 * A / R**3 * (R * np.cosh(m * R) / m - np.sinh(m * R) / m**2)
found = mc.mean(in_ball, "c")[-1] / UM
error = found / exact - 1
print(f"mean in the ball {found:.5f} uM, exact {exact:.5f} uM: {100 * error:+.2f} %")

# %% [markdown]
# ## 3. The same in a spine
#
# The protein diffuses through the cytosol and the postsynaptic density alike: "cytosol + psd" is one compartment, and
# the interface between the two no wall. So thin a body is nearly all membrane: hardly anything escapes the kinase.

# %%
labels = mc.spine("20 nm", rng=7, er_thickness="50 nm")
spine = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge=0.05)
in_spine = mc.solve(spine, kinase("cytosol + psd"), [0, 1, 2])
print(f"mean in the spine {mc.mean(in_spine, 'c')[-1] / UM:.4f} uM")

# %%
mc.plot(in_spine, "c", at=2.0, save=FOLDER / "kinase_spine.png").close()
show("kinase_spine.png")

# %% [markdown]
# ## 4. Both as profiles from the membrane inwards

# %%
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name, solution in (("ball", in_ball), ("spine", in_spine)):
    layers = mc.profile(solution, "c", "PM", bins=12)
    axes.plot(layers.distances, layers.values[-1] / UM, "o", label=name)
r = np.linspace(1e-6, R, 100)
axes.plot(R - r, A * np.sinh(m * r) / r, "-", color="0.5", label="exact, ball")
axes.set(xlabel="distance from the membrane (µm)", ylabel="phosphorylated, of 1 µM (µM)")
axes.legend()
figure.savefig(FOLDER / "kinase_profiles.png", dpi=120)
plt.close(figure)
show("kinase_profiles.png")

# %% [markdown]
# The closing number: how far the mean in the ball is from the formula.

# %%
assert abs(error) < 0.005
print(f"the ball's mean is within {100 * abs(error):.2f} % of the formula")
