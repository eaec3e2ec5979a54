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
# # Polarity: two kinds of proteins, one membrane, one cytosol
#
# PAR proteins polarise the egg of C. elegans: A and P drive each other off the membrane, and both come from a cytosol
# that is well mixed (Goehring et al., Science 334 (2011) 1137, here without its cortical flow). What is in the cytosol
# is scarce, and that is what stops a domain from growing. In the library that cytosol is a `Pool` for each.
#
#     python examples/06_cell_polarity.py [folder for pictures]

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
# ## 1. The egg
#
# An ellipsoid of 54 by 30 um, drawn in voxels and smoothed. Only its membrane and its volume count.

# %%
HALF, SPACING = np.array([27.0, 15.0, 15.0]), 1.0  # um
counts = (2 * HALF / SPACING + 6).astype(int)
x = (np.indices(counts) - (counts[:, None, None, None] - 1) / 2) * SPACING
inside = np.linalg.norm(x / HALF[:, None, None, None], axis=0) < 1
labels = mc.Volume(inside.astype(np.uint8), SPACING, origin=tuple(x[:, 0, 0, 0]), names={1: "egg"})
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge=1.0)
volume, area = mesh.volumes.sum(), mesh.areas.sum()
print(mesh)
print(f"area over volume {area / volume:.4f} per um; the paper has 0.174")

# %% [markdown]
# ## 2. The model
#
# A is everywhere at first, but for the posterior end, where P has a foothold. What starts on the membrane is missing in
# the pools.

# %%
PARAMETERS = {
    "k_onA": "8.58e-3 um/s",
    "k_offA": "5.4e-3 1/s",
    "k_AP": "0.19 um^2/molecule/s",
    "k_onP": "4.74e-2 um/s",
    "k_offP": "7.3e-3 1/s",
    "k_PA": "2 um^4/molecule^2/s",
}


def polarity(A_c, P_c):
    """Write the model for concentrations in the cytosol at the start."""
    return mc.Model(
        compartments={"PM": ("egg", "outside")},
        species=[
            mc.Species("A", "PM", diffusion="0.28 um^2/s", initial="1 - tanh((x - 12)/3)"),
            mc.Species("P", "PM", diffusion="0.15 um^2/s", initial="2*(1 + tanh((x - 12)/3))"),
            mc.Pool("A_c", volume, f"{A_c} molecule/um^3"),
            mc.Pool("P_c", volume, f"{P_c} molecule/um^3"),
        ],
        reactions=[
            mc.Reaction("A comes and goes", "PM", "k_onA*A_c - k_offA*A", {"A": 1, "A_c": -1}),
            mc.Reaction("P comes and goes", "PM", "k_onP*P_c - k_offP*P", {"P": 1, "P_c": -1}),
            mc.Reaction("P drives A off", "PM", "k_AP*P*A", {"A": -1, "A_c": 1}),
            mc.Reaction("A drives P off", "PM", "k_PA*A**2*P", {"P": -1, "P_c": 1}),
        ],
        parameters=PARAMETERS,
    )


# 1.56 and 1 molecules/um^3 in all, as in the paper, of which 0.26 and 0.174 are on the membrane at the start.
model = polarity(1.3, 0.826)
print(model)
model

# %%
times = np.array([0, 30, 60, 120, 240, 480, 720, 960.0, 1200])
solution = mc.solve(mesh, model, times)
print(solution)

# %%
for name, title in (("A", "anterior"), ("P", "posterior")):
    mc.plot(solution, name, at=1200.0, size=(1500, 800), save=FOLDER / f"polarity_{title}.png").close()
    show(f"polarity_{title}.png")

# %% [markdown]
# ## 3. The same on rings around the axis
#
# The egg is a surface of revolution and so is the pattern: 150 rings, finite volumes between them, and an ordinary
# differential equation solver. Nothing here comes from the library.

# %%
N = 150
edges = np.linspace(0, np.pi, N + 1)
middles = (edges[:-1] + edges[1:]) / 2
step = np.hypot(HALF[0] * np.sin(edges), HALF[1] * np.cos(edges)) * np.pi / N
rings = (
    2 * np.pi * HALF[1] * np.sin(middles) * np.hypot(HALF[0] * np.sin(middles), HALF[1] * np.cos(middles)) * np.pi / N
)
along, inner = -HALF[0] * np.cos(middles), 4 / 3 * np.pi * HALF.prod()


def spread(u, diffusion):
    flow = np.zeros(N + 1)
    flow[1:-1] = 2 * np.pi * HALF[1] * np.sin(edges[1:-1]) * diffusion * np.diff(u) / step[1:-1]
    return np.diff(flow) / rings


def slopes(t, y):
    a, p, a_c, p_c = y[:N], y[N : 2 * N], y[-2], y[-1]
    da = 8.58e-3 * a_c - 5.4e-3 * a - 0.19 * p * a
    dp = 4.74e-2 * p_c - 7.3e-3 * p - 2 * a**2 * p
    return [*(da + spread(a, 0.28)), *(dp + spread(p, 0.15)), -(rings @ da) / inner, -(rings @ dp) / inner]


start = [*(1 - np.tanh((along - 12) / 3)), *(2 + 2 * np.tanh((along - 12) / 3)), 1.3, 0.826]
truth = solve_ivp(slopes, (0, times[-1]), start, "LSODA", times, rtol=1e-7, atol=1e-9).y

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
on_membrane = np.unique(mesh.facets)
for name, rows, colour in (("A", truth[:N], "tab:red"), ("P", truth[N : 2 * N], "tab:blue")):
    left.plot(times, mc.mean(solution, name), "o", color=colour, label=f"{name}, mesh")
    left.plot(times, rings @ rows / rings.sum(), "-", color=colour, label=f"{name}, rings")
    right.plot(along, rows[:, -1], "-", color=colour)
    right.plot(mesh.points[on_membrane, 0], solution.values[name][-1], ",", color=colour)
left.set(xlabel="time (s)", ylabel="mean on the membrane (molecules/µm²)", ylim=(0, None))
left.legend()
right.set(xlabel="along the axis (µm)", ylabel="after 1200 s (molecules/µm²)", ylim=(0, None))
figure.savefig(FOLDER / "polarity.png", dpi=120)
plt.close(figure)
show("polarity.png")

# %% [markdown]
# The closing numbers: both answers at the end, and what the pools and the membrane hold together.

# %%
for name, rows in (("A", truth[:N]), ("P", truth[N : 2 * N])):
    exact = rings @ rows[:, -1] / rings.sum()
    error = mc.mean(solution, name)[-1] / exact - 1
    print(f"{name} on the membrane is within {100 * abs(error):.2f} % of the rings' {exact:.4f} molecules/um^2")
    assert abs(error) < 0.02
    amounts = mc.total(solution, name) + mc.total(solution, f"{name}_c")
    assert np.abs(amounts / amounts[0] - 1).max() < 1e-12
print("A and P are kept to 1e-12")
