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

import matplotlib
import numpy as np

import meshcell as mc
from meshcell.phantoms import (
    Actin,
    HarmonicMembrane,
    Macromolecule,
    Microtubule,
    SphereMembrane,
    TubeMembrane,
    pictures,
    statistics,
)
from meshcell.phantoms.standins import CYTOSOLIC

if "ipykernel" not in sys.modules:
    matplotlib.use("Agg")
import matplotlib.pyplot as plt

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
SHAPE = (500, 500, 200) if "--full" in sys.argv else (160, 160, 80)
TARGETS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
FOLDER.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## 1. Occupancy, time and failures
#
# Twenty species of the cytosol with equal shares, from haemoglobin to ribosome, the largest first.

# %%
figure, (reached_axis, time_axis, failed_axis) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for tries in (100, 1000):
    rows = []
    for target in TARGETS:
        species = [Macromolecule(name, target / len(CYTOSOLIC)) for name in CYTOSOLIC]
        start = time.process_time()
        sample = mc.crowd(SHAPE, "1 nm", macromolecules=species, tries=tries, rng=1)
        short = sum(bool(row.why) for row in sample.report)
        rows.append((sum(sample.occupancy.values()), time.process_time() - start, short))
    for axis, values in zip((reached_axis, time_axis, failed_axis), np.transpose(rows), strict=True):
        scale = 100 if axis is reached_axis else 1
        axis.plot(100 * np.array(TARGETS), scale * values, "o-", label=f"{tries} tries")
reached_axis.plot([0, 50], [0, 50], color="gray", linewidth=0.8)
reached_axis.set(ylabel="reached / %")
time_axis.set(ylabel="CPU time / s")
failed_axis.set(ylabel="species that fell short (of 20)")
for axis in (reached_axis, time_axis, failed_axis):
    axis.set(xlabel="target / %")
    axis.legend()
figure.savefig(FOLDER / "crowding.png", dpi=110)

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
pictures.draw_slice(sample)[0].figure.savefig(FOLDER / "crowd_slice.png", dpi=110)
pictures.draw_occupancy(sample).figure.savefig(FOLDER / "crowd_occupancy.png", dpi=110)
pictures.draw_scene(sample, save=FOLDER / "crowd_scene.png")

# %% [markdown]
# ## 3. Measured back

# %%
branches, filaments = statistics.branching(sample, "actin")
angles = statistics.rotation_angles(sample.motifs["quaternion"][sample.motifs["species"] == "haemoglobin"])
mc.save(FOLDER / "crowd", sample, overwrite=True)
print(f"{branches} of {filaments} actin filaments start on another (asked: 0.4)")
print(f"mean rotation angle {angles.mean():.1f} degrees (uniform: 126.5)")
print(f"{sum(sample.occupancy.values()):.1%} of the box is occupied by {len(sample.motifs):,} units")
