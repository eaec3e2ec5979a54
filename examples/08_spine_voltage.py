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
# # Calcium that a voltage lets into a spine
#
# A synaptic potential and an action potential that comes back from the soma open channels of a dendritic spine: NMDA
# receptors in its postsynaptic density, voltage-dependent channels all over. Pumps, an exchanger, buffers and the spine
# apparatus clear what entered. After Bell et al., J. Gen. Physiol. 151 (2019) 1017, with the parameters of its version
# in SMART.
#
#     python examples/08_spine_voltage.py [folder for pictures]

# %%
import dataclasses
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
# ## 1. The spine
#
# "cytosol + psd" is one compartment; its membrane that faces the synapse is "psd | outside".

# %%
labels = mc.spine("20 nm", rng=7, er_thickness="50 nm")
mesh = mc.tetrahedralize(mc.smooth(mc.extract(labels)), edge="60 nm")
print(mesh)

# %% [markdown]
# ## 2. The voltage
#
# It is given: rest, the action potential that comes back, and the synaptic one. `Course` gives it its unit.


# %%
def voltage(t):
    """In mV at time t in s."""
    spike = 38 * (0.75 * np.exp(-(t - 0.002) / 0.003) + 0.25 * np.exp(-(t - 0.002) / 0.025))
    return -65 + spike + 25 * (np.exp(-t / 0.05) - np.exp(-t / 0.005))


PARAMETERS = {"V": mc.Course(voltage, "mV"), "V_rev": "90 mV", "K_m": "0.092 1/mV", "V_80": "80.36 mV"}
PARAMETERS |= {"F": "96485.332 C/mol", "g_N": "44.11 pS", "tau_f": "50 ms", "tau_s": "200 ms", "g_V": "3.72 pS"}
PARAMETERS |= {"N_V": "2 1/um^2", "a": "34700 1/s", "b": "3680 1/s"}

# %% [markdown]
# ## 3. The model
#
# What the channels let in are currents over two charges of each ion; units are checked. The pumps' rates per volume
# become fluxes by the paper's volume over area, n. A sixth of what enters the apparatus stays free.

# %%
NMDA = "0.25*(exp(-t/tau_f) + exp(-t/tau_s))/(1 + exp(-K_m*V)/3.57)*g_N*(V_rev - V)/(2*F)"
VSCC = "g_V*V*(0.393 - exp(-V/V_80))/(1 - exp(V/V_80))/(2*F)"
FREE = "1/(1 + 191*2.43/(2.43 + Ca/uM)**2 + 8.77*0.139/(0.139 + Ca/uM)**2)"
PUMPS = "11.3*(Ca/uM)**2/(0.442**2 + (Ca/uM)**2) + 59*(Ca/uM)**5/(0.442**5 + (Ca/uM)**5) + 100*Ca/(uM + Ca)"
model = mc.Model(
    compartments={"cyt": "cytosol + psd", "SA": "er", "PM": ("cytosol + psd", "outside"), "PSD": ("psd", "outside")}
    | {"SAm": ("er", "cytosol")},
    species=[
        mc.Species("Ca", "cyt", "220 um^2/s", "0.1 uM"),
        mc.Species("Bm", "cyt", "20 um^2/s", "20 uM"),
        mc.Species("Bf", "PM", initial="7.95657 uM*um"),
        mc.Species("CaSA", "SA", "45 um^2/s", "60 uM"),
    ],
    reactions=[
        mc.Reaction("NMDA receptors", "PSD", f"{NMDA}/(85*A_psd)", {"Ca": 1}),
        mc.Reaction("VSCC", "PM", f"N_V*(exp(-b*t) - exp(-a*t))*{VSCC}", {"Ca": 1}),
        mc.Reaction("PMCA and NCX", "PM", f"n*v*{FREE}*({PUMPS})", {"Ca": -1}),
        mc.Reaction("fixed buffer", "PM", "k*Ca*Bf - 2*u*(B - Bf)", {"Ca": -1, "Bf": -1}),
        mc.Reaction("mobile buffer", "cyt", "k*Ca*Bm - u*(20*uM - Bm)", {"Ca": -1, "Bm": -1}),
        mc.Reaction("SERCA", "SAm", f"n_SA*114000*v*{FREE}*Ca**2/((0.2*uM)**2 + Ca**2)", {"Ca": -1, "CaSA": 1 / 6}),
        mc.Reaction("leak", "SAm", "n_SA*0.1608*u*(CaSA - Ca)", {"CaSA": -1 / 6, "Ca": 1}),
    ],
    parameters=PARAMETERS
    | {"uM": "1 uM", "v": "1 uM/s", "u": "1 1/s", "k": "1 1/uM/s", "n": "0.1011 um", "n_SA": "0.0113 um"}
    | {"B": "7.95657 uM*um", "A_psd": f"{mesh.areas[mesh.interfaces['psd', 'outside']].sum()} um^2"},
)
print(model)
model

# %%
UM = 602.214076  # molecules/um^3 in one uM
times = np.concatenate([np.linspace(0, 0.002, 41), np.linspace(0.003, 0.05, 48)])
solution = mc.solve(mesh, model, times)
print(solution)
for reaction in ("NMDA receptors", "VSCC"):
    print(f"{reaction}: {np.trapezoid(mc.flux(solution, reaction), times):.0f} ions")

# %%
calcium = mc.mean(solution, "Ca") / UM
mc.plot(solution, "Ca", at=float(times[calcium.argmax()]), save=FOLDER / "spine_voltage_ca.png").close()
show("spine_voltage_ca.png")

# %% [markdown]
# ## 4. As if all were well mixed
#
# The same with a million um^2/s is an ordinary differential equation, written here once more and without the library.

# %%
fast = [dataclasses.replace(item, diffusion=1e6) for item in model.species]
stirred = mc.solve(mesh, dataclasses.replace(model, species=fast), times)
size = mc.well_mixed(model, mesh).sizes


def slopes(t, y):
    ca, bm, bf, sa = y
    v, ions = voltage(t), 1e-15 / (2 * 96485.332) * 6.02214076e23
    nmda = 0.25 * (np.exp(-t / 0.05) + np.exp(-t / 0.2)) / (1 + np.exp(-0.092 * v) / 3.57) * 44.11 * (90 - v) / 85
    vscc = 2 * (np.exp(-3680 * t) - np.exp(-34700 * t)) * 3.72 * v * (0.393 - np.exp(-v / 80.36))
    vscc = vscc / (1 - np.exp(v / 80.36)) * size["PM"]
    free = 1 / (1 + 191 * 2.43 / (2.43 + ca) ** 2 + 8.77 * 0.139 / (0.139 + ca) ** 2)
    pumps = 11.3 * ca**2 / (0.442**2 + ca**2) + 59 * ca**5 / (0.442**5 + ca**5) + 100 * ca / (1 + ca)
    fixed, mobile = ca * bf - 2 * (7.95657 - bf), ca * bm - (20 - bm)
    store = 0.0113 * (114000 * free * ca**2 / (0.04 + ca**2) - 0.1608 * (sa - ca)) * size["SAm"]
    inward = (nmda + vscc) * ions / UM - (0.1011 * free * pumps + fixed) * size["PM"] - store
    return [inward / size["cyt"] - mobile, -mobile, -fixed, store / 6 / size["SA"]]


truth = solve_ivp(slopes, (0, 0.05), [0.1, 20, 7.95657, 60], "LSODA", times, rtol=1e-10, atol=1e-12).y

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(1e3 * times, voltage(times), color="0.3")
left.set(xlabel="time (ms)", ylabel="voltage (mV)")
right.plot(1e3 * times, mc.Quantity("mean", "Ca", place="psd").value(solution) / UM, label="at the synapse")
right.plot(1e3 * times, calcium, label="mean of the cytosol")
right.plot(1e3 * times, mc.mean(stirred, "Ca") / UM, "o", markersize=3, label="well mixed, mesh")
right.plot(1e3 * times, truth[0], "-", color="0.5", label="well mixed, formula")
right.set(xlabel="time (ms)", ylabel="calcium (µM)", ylim=(0, None))
right.legend()
figure.savefig(FOLDER / "spine_voltage.png", dpi=120)
plt.close(figure)
show("spine_voltage.png")

# %% [markdown]
# The closing number:

# %%
error = np.abs(mc.mean(stirred, "Ca") / UM - truth[0]).max() / truth[0].max()
assert error < 1e-3
print(f"well mixed, the spine's calcium is within {100 * error:.3f} % of the ordinary differential equation")
