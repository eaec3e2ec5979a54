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
# # From the microscope to the simulation: what does the missing wedge do to the answer?
#
# A spine whose truth is known goes through an electron microscope: a tilt series from -60 to 60 degrees, a tomogram,
# a segmentation. The surface, its areas and volumes and a reaction-diffusion run are then compared with the truth's.
#
#     python examples/20_tomogram_to_simulation.py [folder for pictures]

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import meshcell as mc
from meshcell.imaging import stain
from meshcell.studies import compare, report, wedge_classifier

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-") and "json" not in argument]
FOLDER = Path(arguments[0] if arguments else "output")
FOLDER.mkdir(parents=True, exist_ok=True)
DENSITIES = {"cytosol": 1.0, "er": 2.5}


def show(name):
    """Show a picture of the folder where this runs as a notebook."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(FOLDER / name, width=900))


# %% [markdown]
# ## 1. The truth
#
# Two spines: the classifier learns on one and is judged on the other.

# %%


def spine(seed):
    """A spine of cytosol and ER; other parts count as cytosol."""
    labels = mc.spine("24 nm", rng=seed)
    return mc.Volume(np.minimum(labels.data, 1) + (labels.data == 2), labels.spacing, names={1: "cytosol", 2: "er"})


truth, example = spine(7), spine(8)
print(truth)

# %% [markdown]
# ## 2. Three ways of seeing it
#
# All views of a half circle without noise; views to 60 degrees without noise; and with as much noise as signal.


# %%
def seen(labels, largest, snr, **options):
    """Take a tomogram of a stained cell."""
    density = stain(labels, DENSITIES, blur=0.5)
    return mc.tomogram(density, mc.tilt_angles(largest, 2), snr=snr, misalignment=1.0 if snr else 0.0, rng=1, **options)


def way(largest, snr, **options):
    """Segment with a classifier trained on the other spine, seen in the same way."""
    trained = wedge_classifier(lambda labels: seen(labels, largest, snr, **options), example, share=0.05, rng=3)

    def look(labels):
        TOMOGRAMS.append(seen(labels, largest, snr, **options))
        found = mc.segment(TOMOGRAMS[-1], method="classifier", classifier=trained)
        return mc.clean(found, smallest=50, holes=50)

    return look


TOMOGRAMS = [stain(truth, DENSITIES)]
WAYS = {
    "full range": way(88, None),
    "wedge": way(60, None),
    "wedge and noise": way(60, 1.0, method="sirt", iterations=15),
}

# %% [markdown]
# ## 3. The same model on every mesh
#
# A messenger is made at the plasma membrane and broken down in the cytosol: its level follows the ratio of membrane to
# volume.

# %%
model = mc.Model(
    compartments={"cyt": "cytosol", "PM": ("cytosol", "outside")},
    species=[mc.Species("M", "cyt", diffusion="10 um^2/s", initial="0 uM")],
    reactions=[
        mc.Reaction("made", "PM", "J", {"M": +1}),
        mc.Reaction("broken down", "cyt", "k*M", {"M": -1}),
    ],
    parameters={"J": "100 molecule/um^2/s", "k": "2 /s"},
)
outcomes = compare(truth, WAYS, model=model, times=np.linspace(0, 2, 11), edge="120 nm")
print(report(outcomes))

# %% [markdown]
# ## 4. A picture: what is seen, what is made of it, and how the error travels
#
# With the wedge a third of the ER's membrane is lost, as its sheets lie level; the plasma membrane, and with it the
# messenger, suffer much less.


# %%
def errors(outcome):
    """Errors in per cent on the way from voxels to concentrations."""
    first = outcomes[0]

    def change(figure):
        return 100 * abs(figure(outcome) / figure(first) - 1)

    return {
        "voxels\n(1 - Dice)": 100 * (1 - outcome.dice["cytosol"]),
        "membrane\narea": change(lambda o: o.areas["cytosol", "outside"]),
        "volume": change(lambda o: o.volumes["cytosol"]),
        "concen-\ntration": change(lambda o: o.means["M"][-1]) if outcome.means else np.nan,
    }


names = [outcome.name for outcome in outcomes]
figure, axes = plt.subplots(
    2, len(names) + 1, figsize=(3 * len(names) + 5, 8), constrained_layout=True, width_ratios=[*[3] * len(names), 5]
)
middle = int((truth.data == 2).sum(axis=(0, 2)).argmax())
for column, outcome in enumerate(outcomes):
    for row, picture in enumerate((-TOMOGRAMS[column].data, outcome.labels.data)):
        cut = {"cmap": ("gray", "viridis")[row], "interpolation": "nearest", "origin": "lower"}
        axes[row, column].imshow(picture[:, middle].T, **cut)
        axes[row, column].set(title=outcome.name if row == 0 else "", xlabel="x", ylabel="z (beam)")
    if outcome.means:
        axes[0, -1].plot(outcome.times, outcome.means["M"], label=outcome.name, color=f"C{column}")
    if column:
        found = errors(outcome)
        axes[1, -1].plot(list(found), list(found.values()), "o-", label=outcome.name, color=f"C{column}")
axes[0, -1].set(title="messenger", xlabel="s", ylabel="molecules per um$^3$")
axes[1, -1].set(title="how the error travels", ylabel="%", ylim=(0, None))
axes[0, -1].legend()
axes[1, -1].legend()
figure.savefig(FOLDER / "tomogram.png", dpi=80)
plt.close(figure)
show("tomogram.png")

# %%
last = outcomes[-1]
if last.means:
    error = last.means["M"][-1] / outcomes[0].means["M"][-1] - 1
    print(f"the messenger's level after {last.times[-1]:.0f} s is off by {100 * error:+.1f} % with wedge and noise")
