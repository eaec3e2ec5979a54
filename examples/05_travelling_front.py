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
# # A travelling front, and an error that halves squared
#
# Diffusion and logistic growth make a front that travels without changing its form (Fisher, and Kolmogorov, Petrovsky
# and Piskunov, 1937). One of its forms is known exactly (Ablowitz and Zeppetella, Bull. Math. Biol. 41 (1979) 835), so
# the error can be measured: with half the edges it should be a quarter.
#
#     python examples/05_travelling_front.py [folder for pictures]

# %%
import itertools
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import meshcell as mc
from meshcell.core import adjacency

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
FOLDER.mkdir(parents=True, exist_ok=True)


def show(name):
    """Show a picture of the folder where this runs as a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(FOLDER / name, width=700))


# %% [markdown]
# ## 1. A bar
#
# Meshes may also come from elsewhere, or be made by hand: a grid whose cells are six tetrahedra each, around their
# main diagonals. Its two ends become a patch.

# %%
LENGTH, WIDTH = 20.0, 1.0  # um


def bar(n):
    """Fill the bar with tetrahedra, n cells along it and one across."""
    grid = np.indices((n + 1, 2, 2)).reshape(3, -1).T
    points = grid * (LENGTH / n, WIDTH, WIDTH)
    first = 4 * np.arange(n)[:, None]
    steps = [(0, a, a + b, 7) for a, b in itertools.permutations((4, 2, 1), 2)]
    tets = np.concatenate([first + step for step in steps]).astype(np.int32)
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    inverted = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    tets[inverted] = tets[inverted][:, [0, 2, 1, 3]]
    regions = np.ones(len(tets), np.int32)
    facets, sides = adjacency.interface_facets(tets, regions, adjacency.tet_neighbours(tets, len(points)))
    mesh = mc.TetMesh(points, tets, regions, facets, sides, {1: "bar"})
    return mc.patch(mesh, "ends", lambda points: np.abs(points[:, 0] - LENGTH / 2) > LENGTH / 2 - 1e-6)


print(bar(40))

# %% [markdown]
# ## 2. The model
#
# u' = u_xx + u (1 - u). Both ends are held at the exact values, which move: `fixed` takes formulas in t, x, y and z.

# %%
FRONT = "(1 + exp((x - 6 - c*t)/sqrt(6)))**-2"
SPEED = 5 / np.sqrt(6)


def exact(points, t):
    """Return the exact front at points and a time."""
    return (1 + np.exp((points[:, 0] - 6 - SPEED * t) / np.sqrt(6))) ** -2.0


model = mc.Model(
    compartments={"bar": "bar", "ends": "ends"},
    species=[mc.Species("u", "bar", diffusion=1, initial=lambda points: exact(points, 0), fixed={"ends": FRONT})],
    reactions=[mc.Reaction("growth", "bar", "u*(1 - u)", {"u": +1})],
    parameters={"c": SPEED},
)
print(model)
model

# %% [markdown]
# ## 3. Three meshes

# %%
times, counts, errors = [0, 1, 2], np.array([40, 80, 160]), []
for n in counts:
    mesh = bar(n)
    solution = mc.solve(mesh, model, times, rtol=1e-6)
    errors.append(np.abs(solution.values["u"][-1] - exact(mesh.points, 2)).max())
    print(f"{len(mesh.tets):,} tetrahedra: largest error {errors[-1]:.2e}")
edges = LENGTH / counts
order = np.polyfit(np.log(edges), np.log(errors), 1)[0]
print(f"order {order:.2f}")

# %% [markdown]
# ## 4. The front along the middle of the bar

# %%
line = np.stack([np.linspace(0, LENGTH, 201), np.full(201, WIDTH / 2), np.full(201, WIDTH / 2)], axis=1)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for t, values in zip(times, mc.probe(solution, "u", line), strict=True):
    left.plot(line[:, 0], values, label=f"t = {t} s")
    left.plot(line[:, 0], exact(line, t), "k:", linewidth=1)
left.set(xlabel="x (µm)", ylabel="u (dotted: exact)")
left.legend()
right.loglog(edges, errors, "o-", label="largest error")
right.loglog(edges, errors[-1] * (edges / edges[-1]) ** 2, "k:", label="order 2")
right.set(xlabel="edge (µm)")
right.legend()
figure.savefig(FOLDER / "front.png", dpi=120)
plt.close(figure)
show("front.png")

# %% [markdown]
# The closing number:

# %%
assert abs(order - 2) < 0.15
print(f"the error falls with order {order:.2f}")
