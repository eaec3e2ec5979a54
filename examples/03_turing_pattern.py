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
# # A Turing pattern on the surface of a sphere
#
# Two species that live and diffuse on a membrane, one slowly and one twenty times faster, turn a nearly even state into
# spots (Schnakenberg, J. Theor. Biol. 81 (1979) 389). Linear theory says which modes grow and how fast; both are
# checked.
#
#     python examples/03_turing_pattern.py [folder for pictures]

# %%
import sys
from pathlib import Path

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
# ## 1. A sphere
#
# A ball of voxels, smoothed; only its surface matters here.

# %%
N, SPACING = 26, 0.09  # voxels along the box, um
x = (np.indices((N, N, N)) - (N - 1) / 2) * SPACING
inside = np.linalg.norm(x, axis=0) < 1
labels = mc.Volume(inside.astype(np.uint8), SPACING, origin=tuple(x[:, 0, 0, 0]), names={1: "cell"})
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge=0.12)
print(mesh)

# %% [markdown]
# ## 2. The model
#
# u' = Lap u + gamma (a - u + u^2 v), v' = d Lap v + gamma (b - u^2 v). Initial values may be texts, arrays, or
# functions of points, as here: a small mode x y, one of the spherical harmonics of degree 2 with wave number
# k^2 = 6/R^2.

# %%
A, B, D, GAMMA = 0.1, 1.0, 20.0, 30.0
U, V = A + B, B / (A + B) ** 2  # the even state
R2 = (3 * mesh.volumes.sum() / (4 * np.pi)) ** (2 / 3)


def schnakenberg(u, v):
    """Write the model with these initial values."""
    return mc.Model(
        compartments={"membrane": ("cell", "outside")},
        species=[
            mc.Species("u", "membrane", diffusion=1, initial=u),
            mc.Species("v", "membrane", diffusion=D, initial=v),
        ],
        reactions=[
            mc.Reaction("feed", "membrane", "gamma*(a - u)", {"u": +1}),
            mc.Reaction("turn", "membrane", "gamma*u**2*v", {"u": +1, "v": -1}),
            mc.Reaction("supply", "membrane", "gamma*b", {"v": +1}),
        ],
        parameters={"a": A, "b": B, "gamma": GAMMA},
    )


schnakenberg(U, V)

# %% [markdown]
# ## 3. A small mode grows at the rate of linear theory

# %%
k2 = 6 / R2
jacobian = GAMMA * np.array([[2 * U * V - 1, U**2], [-2 * U * V, -(U**2)]]) - k2 * np.diag([1, D])
rates, modes = np.linalg.eig(jacobian)
rate, (du, dv) = rates.real.max(), modes[:, rates.real.argmax()].real


def seeded(even, size):
    """Return the even state with a ten-thousandth of the mode x y."""
    return lambda points: even + 1e-4 * size * points[:, 0] * points[:, 1]


early = mc.solve(mesh, schnakenberg(seeded(U, du), seeded(V, dv)), [0, 0.2, 0.5], rtol=1e-6)
points = mesh.points[early.nodes["u"]]
sizes = (early.values["u"] - U) @ (points[:, 0] * points[:, 1])
measured = np.log(sizes[2] / sizes[1]) / 0.3
print(f"the mode grows at {measured:.3f} /s, linear theory says {rate:.3f} /s")

# %% [markdown]
# ## 4. Noise becomes a pattern

# %%
rng = np.random.default_rng(3)
noisy = schnakenberg(lambda points: U * (1 + 0.01 * rng.uniform(-1, 1, len(points))), V)
pattern = mc.solve(mesh, noisy, [0, 2, 5, 10])
print(pattern)

# %%
mc.plot(pattern, "u", at=10.0, save=FOLDER / "turing.png").close()
show("turing.png")

# %% [markdown]
# Its wave number, the mean square of the gradient over that of the deviation, should lie between those of the modes
# that linear theory lets grow.

# %%
deviation = np.zeros(len(mesh.points))
deviation[pattern.nodes["u"]] = pattern.values["u"][-1] - mc.mean(pattern, "u")[-1]
corners = mesh.points[mesh.facets]
rises = deviation[mesh.facets]
# The gradient on a triangle from its edges: |sum of rise * opposite edge| / (2 area).
edges = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)
slopes2 = (np.einsum("fk,fkd->fd", rises, edges) ** 2).sum(axis=1) / (2 * mesh.areas) ** 2
wave2 = mesh.areas @ slopes2 / (mesh.areas @ (rises**2).mean(axis=1))
print(f"k^2 = {wave2:.1f} /um^2; unstable between {0.09071 * GAMMA:.1f} and {0.66697 * GAMMA:.1f}")

# %% [markdown]
# The closing number:

# %%
assert 0.09071 * GAMMA < wave2 < 0.66697 * GAMMA
assert abs(measured / rate - 1) < 0.02
print(f"growth rate within {100 * abs(measured / rate - 1):.2f} % of linear theory")
