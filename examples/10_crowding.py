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
# # Crowding: how full can a cytosol be packed, and at what price?
#
# The experiment of Figure 3 of Martinez-Sanchez and others (2024): occupancy against its target for 100 and 1000 tries,
# with time and failures; then a box with membranes, filaments and molecules together.
#
#     python examples/10_crowding.py [folder for pictures] [--full]
#
# As it stands in 160x160x80 voxels of 1 nm; `--full` takes the paper's 500x500x200, a few minutes.

# %%
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import meshcell as mc
from meshcell.phantoms import (
    Actin,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    SphereMembrane,
    TubeMembrane,
    statistics,
)
from meshcell.phantoms.crowds.standins import CYTOSOLIC

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
SHAPE = (500, 500, 200) if "--full" in sys.argv else (160, 160, 80)
TARGETS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
FOLDER.mkdir(parents=True, exist_ok=True)


def show(name):
    """Show a picture of the folder where this runs as a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(FOLDER / name, width=800))


# %% [markdown]
# ## 1. Occupancy, time and failures
#
# Twenty species of the cytosol with equal shares, from haemoglobin to ribosome, the largest first. A species ends after
# so many tries in a row without a place; a try of a free molecule looks at twenty places.


# %%
def packed(target, tries):
    """Pack the box and return what was reached, in percent, the CPU seconds, and the species that fell short."""
    species = [Macromolecule(name, target / len(CYTOSOLIC)) for name in CYTOSOLIC]
    start = time.process_time()
    sample = mc.crowd(SHAPE, "1 nm", macromolecules=species, tries=tries, rng=1)
    short = sum(bool(row.why) for row in sample.report)
    return 100 * sum(sample.occupancy.values()), time.process_time() - start, short


packed(0.1, 1)  # compiles the kernels
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
print("tries  target / %  reached / %  CPU s  species that fell short")
for tries in (100, 1000):
    rows = np.array([packed(target, tries) for target in TARGETS])
    for target, (reached, seconds, short) in zip(TARGETS, rows, strict=True):
        print(f"{tries:5d}  {100 * target:10.0f}  {reached:11.1f}  {seconds:5.1f}  {short:2.0f}")
    for axis, values in zip(axes, rows.T, strict=True):
        axis.plot(100 * np.array(TARGETS), values, "o-", label=f"{tries} tries")
axes[0].plot([0, 50], [0, 50], color="gray", linewidth=0.8)
for axis, name in zip(axes, ("reached (%)", "CPU time (s)", "species that fell short (of 20)"), strict=True):
    axis.set(xlabel="target (%)", ylabel=name, ylim=(0, None))
    axis.legend()
figure.savefig(FOLDER / "crowding.png", dpi=110)
plt.close(figure)
show("crowding.png")

# %% [markdown]
# ## 2. A cytosol with everything in it

# %%
sample = mc.crowd(
    (240, 240, 120),
    "1 nm",
    membranes=[
        SphereMembrane("vesicle", 0.02, radius=("20 nm", "30 nm")),
        TubeMembrane("tubule", 0.01, length="120 nm", radius="12 nm"),
        HarmonicMembrane("endosome", 0.01, radius="28 nm"),
    ],
    filaments=[Microtubule("microtubule", 0.015), Actin("actin", 0.01, branching=0.4, length=("40 nm", "120 nm"))],
    macromolecules=[
        Macromolecule("ribosome", 0.03, cluster=(2, 5)),
        Macromolecule("atp synthase", 0.15, membrane="vesicle"),
        *[Macromolecule(name, 0.008) for name in ("proteasome", "tric", "p97", "hsp90", "haemoglobin")],
    ],
    rng=2,
)
print(sample)
mc.plot(sample, save=FOLDER / "crowd_slice.png")
mc.plot(sample, kind="bars", save=FOLDER / "crowd_occupancy.png")
mc.plot(sample, kind="scene", save=FOLDER / "crowd_scene.png")
mc.plot(sample, ["vesicle", "atp synthase"], kind="scene", save=FOLDER / "crowd_membranes.png")
mc.plot(sample, kind="network", save=FOLDER / "crowd_network.png")
plt.close("all")
show("crowd_slice.png")
show("crowd_scene.png")
show("crowd_occupancy.png")

# %% [markdown]
# ## 3. Measured back

# %%
branches, filaments = statistics.branching(sample, "actin")
angles = statistics.rotation_angles(sample.motifs["quaternion"][sample.motifs["species"] == "haemoglobin"])
mc.save(FOLDER / "crowd", sample, overwrite=True)
print(f"{branches} of {filaments} actin filaments start on another (asked: 0.4)")
print(f"mean rotation angle {angles.mean():.1f} degrees (uniform: 126.5)")
print(f"{sum(sample.occupancy.values()):.1%} of the box is occupied by {len(sample.motifs):,} units")
