"""Published models in the library's own language, each in its paper's symbols and units.

What was restated, and from where, stands in each docstring. Numbers are those of the sources named; "after" says that
parts are simpler than the paper's or have values of our own. `published_limits` has the same models as ordinary
differential equations, written a second time by hand.
"""

from meshcell.models.events import Event
from meshcell.models.model import Model
from meshcell.models.parameters import Table
from meshcell.models.species import Pool, Reaction, Species

BALL = {"Cyto": "ball", "PM": ("ball", "outside")}
NESTED = {"Cyto": "shell", "ER": "core", "PM": ("shell", "outside"), "ERm": ("shell", "core")}


def receptor_binding(diffusion="100 um^2/s"):
    """A binds a receptor X of the membrane and becomes B there: SMART's example 2 (Rangamani et al., Cell 154, 2013).

    There it is a disc; here, as in nature, a ball: densities are per um^3 and um^2 instead of um^2 and um.
    """
    species = [
        Species("A", "Cyto", diffusion, "1 molecule/um^3"),
        Species("X", "PM", "1 um^2/s", "1 molecule/um^2"),
        Species("B", "PM", "1 um^2/s", "0 molecule/um^2"),
    ]
    bind = Reaction("r1", "PM", "k_on*A*X - k_off*B", {"A": -1, "X": -1, "B": 1})
    return Model(BALL, species, [bind], {"k_on": "1 um^3/molecule/s", "k_off": "1 1/s"})


def surface_phosphorylation(radius=1.0):
    """A kinase in the membrane, a phosphatase in the cytosol: Meyers, Craig and Odde, Curr. Biol. 16 (2006) 1685.

    Parameters of SMART's example 3; the kinase's rate per area is k_kin V/A, which is radius/3 in a ball.
    """
    reactions = [
        Reaction("r1", "PM", "k_kin*V_A*(A_tot - A_phos)", {"A_phos": 1}),
        Reaction("r2", "Cyto", "k_p*A_phos", {"A_phos": -1}),
    ]
    rates = {"A_tot": "1 uM", "k_kin": "50 1/s", "k_p": "10 1/s", "V_A": f"{radius / 3} um"}
    return Model(BALL, [Species("A_phos", "Cyto", "10 um^2/s", "0.1 uM")], reactions, rates)


def second_messenger():
    """A second messenger enters, and is released 20 ms later: Cugno et al., Sci. Rep. 9 (2019) 11676.

    Parameters of SMART's example 4; its steep sigmoid is the step that the paper has.
    """
    pulse = "gamma*(exp(-{t}/alpha) - exp(-{t}/beta))"
    reactions = [
        Reaction("r1", "PM", pulse.format(t="t"), {"Ca": 1}),
        Reaction("r2", "ERm", f"heaviside(t - t_ER)*zeta*{pulse.format(t='(t - t_ER)')}", {"Ca": 1}),
        Reaction("r3", "Cyto", "Ca/tau", {"Ca": -1}),
    ]
    rates = {"gamma": "1140 uM*um/s", "alpha": "2.5 ms", "beta": "2 ms", "zeta": "0.2", "t_ER": "20 ms", "tau": "50 ms"}
    places = {name: NESTED[name] for name in ("Cyto", "PM", "ERm")}
    return Model(places, [Species("Ca", "Cyto", "10 um^2/s", "0.05 uM")], reactions, rates)


def channel_release():
    """B from the membrane opens receptors R of the ER, and A flows out: SMART's example 5, a generic signal.

    There and here a cube within a cube; "PM" is a patch, the face x = 0. Its Lorentz pulse is not restated.
    """
    places = {"Cyto": "cytosol", "ER": "er", "PM": "PM", "ERm": ("cytosol", "er")}
    species = [
        Species("A", "Cyto", "1 um^2/s", "0.01 uM"),
        Species("B", "Cyto", "1 um^2/s", "0 uM"),
        Species("AER", "ER", "5 um^2/s", "200 uM"),
        # molecules/um^2; the waves are SMART's.
        Species("R", "ERm", "0.02 um^2/s", "(sin(40*y) + cos(40*z) + sin(40*x) + 3)*(y - x)**2"),
        Species("Ro", "ERm", "0.02 um^2/s", "0 molecule/um^2"),
    ]
    reactions = [
        Reaction("r1", "PM", "V_max*m/(1 + (m*(t - t_0))**2)", {"B": 1}),
        Reaction("r2", "Cyto", "k_2f*B", {"B": -1}),
        Reaction("r3", "ERm", "k_3f*B*R - k_3r*Ro", {"B": -1, "R": -1, "Ro": 1}),
        Reaction("r4", "ERm", "k_4*Ro*(AER - A)", {"AER": -1, "A": 1}),
    ]
    rates = {"V_max": "500 molecule/um^2", "m": "200 1/s", "t_0": "0.1 s", "k_2f": "10 1/s"}
    rates |= {"k_3f": "100 1/uM/s", "k_3r": "100 1/s", "k_4": "2000 1/uM/s"}
    return Model(places, species, reactions, rates)


def purkinje_calcium():
    """Calcium from spikes, IP3 and ryanodine receptors, buffers and pumps: SMART's example 6, after Doi et al., 2005.

    J. Neurosci. 25 (2005) 950, with the ryanodine receptor that SMART adds to it. The smooth steps of the spikes (rise
    within 0.1 ms) are boxes here, and the step before IP3 is sharp. Receptors stay where they are.
    """
    species = [
        Species("Ca", "Cyto", "220 um^2/s", "0.06 uM"),
        Species("IP3", "Cyto", "200 um^2/s", "0.11 uM"),
        Species("PV_Ca", "Cyto", "43 um^2/s", f"{0.06 * 50 / (0.95 / 107 + 0.06)!r} uM"),
        Species("CD28k", "Cyto", "20 um^2/s", f"{0.06**2 * 100 / (0.823 * (0.473 + 0.06) + 0.06**2)!r} uM"),
        Species("CaER", "ER", "6.27 um^2/s", "150 uM"),
        Species("R_0", "ERm", initial=f"{200 * 0.784137!r} molecule/um^2"),
        Species("R_I", "ERm", initial=f"{200 * 0.003343!r} molecule/um^2"),
        Species("R_IC", "ERm", initial=f"{200 * 0.000802!r} molecule/um^2"),
        # Shares of the ryanodine receptors: about to open, open, refractory.
        *(Species(name, "ERm", initial="0 dimensionless", signed=True) for name in ("X", "Y", "Z")),
    ]
    step = "(0.5 + {m}/2*({x})/sqrt(1 + ({m}*({x}))**2))"
    opening = f"k_wx*(1 - X - Y - Z)*Ca**4/(Ca**4 + (g_1 - g_2*CaER)**4)*{step.format(m='m', x='Ca - c_min')}"
    reactions = [
        Reaction("spikes", "PM", "J_spikes", {"Ca": 1}),
        Reaction("PMCA", "PM", "a_3*Ca/(K_3 + Ca)", {"Ca": -1}),
        Reaction("NCX", "PM", "a_4*Ca**2/(K_4**2 + Ca**2)", {"Ca": -1}),
        Reaction("leak", "PM", "a_5", {"Ca": 1}),
        Reaction("PLC", "PM", "heaviside(t - t_6)*a_6*(exp(-p*t) - exp(-q*t))", {"IP3": 1}),
        Reaction("PV", "Cyto", "b_1*Ca*(PV_tot - PV_Ca) - u_1*PV_Ca", {"Ca": -1, "PV_Ca": 1}),
        Reaction("CD", "Cyto", "b_2*(Ca*(CD_tot - CD28k) - K_m*CD28k*(1 + K_h/Ca))", {"Ca": -2, "CD28k": 1}),
        Reaction("decay", "Cyto", "b_3*(IP3 - IP3_0)", {"IP3": -1}),
        Reaction("c1_1", "ERm", "k_1*R_0*IP3 - u_2*R_I", {"R_0": -1, "IP3": -1, "R_I": 1}),
        Reaction("c1_2", "ERm", "k_2*R_I*Ca - u_3*R_IC", {"R_I": -1, "Ca": -1, "R_IC": 1}),
        Reaction("c1_3", "ERm", "k_3*R_0*Ca - u_4*(R_tot - R_0 - R_I - R_IC)", {"R_0": -1, "Ca": -1}),
        Reaction("c1", "ERm", "k_c1*R_IC*(CaER - Ca)", {"CaER": -XI, "Ca": 1}),
        Reaction("xy", "ERm", "k_xy*X", {"X": -1, "Y": 1}),
        Reaction("yz", "ERm", "k_yz*Y*(1 + g_3*Z**3/(Z**3 + g_4**3))", {"Y": -1, "Z": 1}),
        Reaction("wx", "ERm", opening, {"X": 1}),
        Reaction("zw", "ERm", f"k_zw*Z*{step.format(m='m_2', x='yx_T - X - Y')}", {"Z": -1}),
        Reaction("c2", "ERm", "k_c2*Y*(CaER - Ca)", {"CaER": -XI, "Ca": 1}),
        Reaction("SERCA", "ERm", "v_3*Ca**2/(K_S**2 + Ca**2)", {"Ca": -1, "CaER": XI}),
        Reaction("ER leak", "ERm", "k_c4*(CaER - Ca)", {"CaER": -XI, "Ca": 1}),
    ]
    return Model(NESTED, species, reactions, _purkinje_parameters())


# Share of the calcium in the ER that is free (SMART's example 6).
XI = 0.0227272727


def _purkinje_parameters():
    starts = [10, 20, 30, 40, 50, 100]
    ends = [11, 21, 31, 41, 51, 102]
    # 1.5e6 and 2.5e6 molecules/s into a postsynaptic density of 0.0125 um^3, by its volume over the membrane's area.
    heights = [1.5e6 / 0.0125 * 0.05 / 8] * 5 + [2.5e6 / 0.0125 * 0.05 / 8]
    times = [time for start, end in zip(starts, ends, strict=True) for time in (start, start, end, end)]
    values = [value for height in heights for value in (0, height, height, 0)]
    # The leak out of the ER balances pump and receptors at the start.
    leak = (18000 * 0.06**2 / (0.06**2 + 0.27**2) - 200 * 0.000802 * 30 * (150 - 0.06)) / (150 - 0.06)
    rates = {"J_spikes": Table(times, values, "molecule/um^2/s", time_unit="ms")}
    rates |= {"a_3": "1000 molecule/um^2/s", "K_3": "0.1 uM", "a_4": "64000 molecule/um^2/s", "K_4": "7.3 uM"}
    rates |= {"a_5": "380 molecule/um^2/s", "t_6": "10 ms", "p": "12.7 1/s", "q": "12.8 1/s"}
    rates |= {"a_6": f"{24080 * 800} molecule/um^2/s", "b_1": "107 1/uM/s", "u_1": "0.95 1/s", "PV_tot": "50 uM"}
    rates |= {"b_2": "5.5 1/uM/s", "K_h": "0.473 uM", "K_m": "0.823 uM", "CD_tot": "100 uM"}
    rates |= {"b_3": "0.14 1/s", "IP3_0": "0.11 uM", "k_1": "1000 1/uM/s", "u_2": "25800 1/s"}
    rates |= {"k_2": "8000 1/uM/s", "u_3": "2000 1/s", "k_3": "9 1/uM/s", "u_4": "2 1/s", "R_tot": "200 molecule/um^2"}
    rates |= {"k_c1": "30 1/uM/s", "k_wx": "100 1/s", "k_xy": "500 1/s", "k_yz": "125 1/s", "k_zw": "12.5 1/s"}
    rates |= {"g_1": "6 uM", "g_2": "0.032", "g_3": "30", "g_4": "0.6", "c_min": "1.5 uM", "m": "10 1/uM"}
    rates |= {"yx_T": "0.0001", "m_2": "1000000", "k_c2": "25000 molecule/uM/um^2/s"}
    return rates | {"v_3": "18000 molecule/um^2/s", "K_S": "0.27 uM", "k_c4": f"{leak!r} molecule/uM/um^2/s"}


def mechanotransduction(stiffness="5.7 kPa"):
    """Stiffness of the substrate to YAP/TAZ in the nucleus, 15 species: Sun et al. 2016 and Scott et al. 2021.

    Biophys. J. 110 (2016) 2540 and PNAS 118 (2021) e2021571118, with the parameters of SMART's example; the substrate
    touches a patch of the membrane, "contact". FAK, ROCK, mDia, myosin, LIMK, cofilin, lamin and pores are written by
    their active form alone, as there.
    """
    places = {"Cyto": "shell", "Nuc": "core", "PM": ("shell", "outside"), "NM": ("shell", "core"), "contact": "contact"}
    cytosol = {"pFAK": (10, 0.3), "RhoA_GDP": (1, 1.0), "ROCK_A": (75, 0), "mDia_A": (1, 0), "Myo_A": (0.8, 1.5)}
    cytosol |= {"LIMK_A": (10, 0.1), "Cofilin": (10, 1.8), "FActin": (0.6, 17.9), "GActin": (13.37, 482.4)}
    cytosol |= {"YAP": (19, 0.7), "pYAP": (19, 0.2)}
    species = [Species(name, "Cyto", f"{D} um^2/s", f"{start} uM") for name, (D, start) in cytosol.items()]
    species += [
        Species("YAP_nuc", "Nuc", "19 um^2/s", "0.7 uM"),
        Species("RhoA_GTP", "PM", "0.3 um^2/s", "33.6 molecule/um^2"),
        Species("LaminA", "NM", "0.001 um^2/s", "0 molecule/um^2"),
        Species("NPC_A", "NM", "0.001 um^2/s", "0 molecule/um^2"),
    ]
    switch = "(1 + {a}*{x}/2*(tanh(s_c*({x} - {b})) + 1))"
    rock, mdia = (switch.format(a="{a}", x=x, b=b) for x, b in (("ROCK_A", "ROCK_B"), ("mDia_A", "mDia_B")))
    rho = "n*k_fkrho*(g*pFAK**5 + 1)*RhoA_GDP - k_drho*RhoA_GTP"
    actin = f"k_ra*GActin*{mdia.format(a='alpha')} - (k_dep + k_fc*Cofilin)*FActin"
    severing = "k_turn*(Cof_tot - Cofilin) - k_cat*LIMK_A*Cofilin/(K_cof + Cofilin)"
    lamin = "k_fl*(Lam_tot - LaminA)*p*FActin**2.6/(C_Lam + p*FActin**2.6) - k_rl*LaminA"
    reactions = [
        Reaction("a1", "contact", "n*(FAK_tot - pFAK)*(k_f + k_sf*E/(C + E))", {"pFAK": 1}),
        Reaction("a2", "Cyto", "k_df*pFAK", {"pFAK": -1}),
        Reaction("a3", "PM", rho, {"RhoA_GDP": -1, "RhoA_GTP": 1}),
        Reaction("a4", "PM", "k_rrho*RhoA_GTP*(ROCK_tot - ROCK_A)", {"ROCK_A": 1}),
        Reaction("a5", "Cyto", "k_drock*ROCK_A", {"ROCK_A": -1}),
        Reaction("b1", "PM", "k_mrho*RhoA_GTP*(mDia_tot - mDia_A)", {"mDia_A": 1}),
        Reaction("b2", "Cyto", "k_dmdia*mDia_A", {"mDia_A": -1}),
        Reaction("b3", "Cyto", f"k_mr*(Myo_tot - Myo_A)*{rock.format(a='eps')} - k_dmy*Myo_A", {"Myo_A": 1}),
        Reaction("b4", "Cyto", f"k_lr*(LIMK_tot - LIMK_A)*{rock.format(a='tau')} - k_dl*LIMK_A", {"LIMK_A": 1}),
        Reaction("b5", "Cyto", severing, {"Cofilin": 1}),
        Reaction("b6", "Cyto", actin, {"GActin": -1, "FActin": 1}),
        Reaction("c1", "Cyto", "pYAP*(k_CN + k_CY*FActin*Myo_A) - k_NC*YAP", {"pYAP": -1, "YAP": 1}),
        Reaction("c3", "NM", lamin, {"LaminA": 1}),
        Reaction("c4", "NM", "k_fN*(NPC_tot - NPC_A)*LaminA*FActin*Myo_A - k_rN*NPC_A", {"NPC_A": 1}),
        Reaction("c5", "NM", "YAP*(k_in + k_in2*NPC_A) - k_out*YAP_nuc", {"YAP": -1, "YAP_nuc": 1}),
    ]
    rates = {"E": stiffness, "C": "3.25 kPa", "n": f"{2300 / 1260!r} um", "FAK_tot": "1 uM", "k_f": "0.015 1/s"}
    rates |= {"k_sf": "0.379 1/s", "k_df": "0.035 1/s", "k_fkrho": "0.0168 1/s", "g": "77.56 1/uM^5"}
    rates |= {"k_drho": "0.625 1/s", "k_rrho": "0.648 1/uM/s", "ROCK_tot": "1 uM", "k_drock": "0.8 1/s"}
    rates |= {"k_mrho": "0.002 1/uM/s", "mDia_tot": "0.8 uM", "k_dmdia": "0.005 1/s", "Myo_tot": "5 uM"}
    rates |= {"k_mr": "0.03 1/s", "ROCK_B": "0.3 uM", "eps": "36 1/uM", "s_c": "20 1/uM", "k_dmy": "0.067 1/s"}
    rates |= {"LIMK_tot": "2 uM", "k_lr": "0.07 1/s", "tau": "55.49 1/uM", "k_dl": "2 1/s", "Cof_tot": "2 uM"}
    rates |= {"k_turn": "0.04 1/s", "k_cat": "0.34 1/s", "K_cof": "4 uM", "k_ra": "0.4 1/s", "alpha": "50 1/uM"}
    rates |= {"mDia_B": "0.165 uM", "k_dep": "3.5 1/s", "k_fc": "4 1/uM/s", "k_CN": "0.56 1/s", "k_NC": "0.14 1/s"}
    rates |= {"k_CY": "0.00076 1/uM^2/s", "Lam_tot": "3500 molecule/um^2", "k_fl": "0.46 1/s", "p": "9e-6 kPa/uM^2.6"}
    rates |= {"C_Lam": "100 kPa", "k_rl": "0.001 1/s", "NPC_tot": "6.5 molecule/um^2", "k_rN": "8.7 1/s"}
    rates |= {"k_fN": "2.8e-7 um^2/molecule/uM^2/s", "k_in": "1 molecule/um^2/uM/s", "k_in2": "10 1/uM/s"}
    return Model(places, species, reactions, rates | {"k_out": "1 molecule/um^2/uM/s"})


def atp_synthesis():
    """ATP made in the matrix of a mitochondrion and carried out, after Garcia et al., Sci. Rep. 13 (2023) 13640.

    Six states of the ATP synthase (E), nine of the nucleotide translocator (L, with what it holds of the IMS on its
    left and of the matrix on its right), ADP and ATP (D, T) of the matrix: 17 species, and ATP in the IMS and, as a
    pool, in the cytosol. Rates and molecules are those of the authors' program (spatial_mito_model), ten times as fast
    translocation as in its figure 7; states that differ by productivity alone are one, and all channels of the outer
    membrane are a density, as in SMART's version. No state is left out: both proteins are kept.
    """
    places = {"IMS": "shell", "Mat": "core", "OM": ("shell", "outside"), "IM": ("shell", "core")}
    area = 1.0197 + 0.5256
    starts = dict.fromkeys(("E_m", "E_H_i", "E_H_m", "E_S", "E_T"), 0.0) | {"E_i": 267 / area}
    starts |= dict.fromkeys(("TL", "DL", "LT", "LD", "TLT", "TLD", "DLT", "DLD"), 0.0) | {"L": 16471 / area}
    species = [Species(name, "IM", initial=f"{start!r} molecule/um^2") for name, start in starts.items()]
    volumes = {"D_m": ("Mat", 0.45 * 0.8 * 2.0), "T_m": ("Mat", 0.05 * 13.0), "T_i": ("IMS", 0.05 * 6.5)}
    species += [Species(name, place, "15 um^2/s", f"{start!r} mM") for name, (place, start) in volumes.items()]
    species.append(Pool("T_c", "0.306 um^3", "0.325 mM"))
    # Name -> from, to, rates of both ways.
    steps = {"E1": ("E_m", "E_i", "a_16", "a_61"), "E2": ("E_i", "E_H_i", "a_65", "a_56")}
    steps |= {"E3": ("E_H_i", "E_H_m", "a_54", "a_45"), "E4": ("E_H_i", "E_T", "a_52", "a_25")}
    steps |= {"E5": ("E_H_m + D_m", "E_S", "a_43", "a_34"), "E6": ("E_S", "E_T + T_m", "a_32", "a_23")}
    steps |= {"E7": ("E_T", "E_m", "a_21", "a_12"), "L13": ("DLT", "TLD", "k_p", "k_cp")}
    for x in ("", "T", "D"):
        # With the other side empty or full: ATP and ADP from the matrix, then from the IMS.
        steps |= {f"Tm{x}": (f"{x}L + T_m", f"{x}LT", "on_Tm", "off_Tm")}
        steps |= {f"Dm{x}": (f"{x}L + D_m", f"{x}LD", "on_Dm", "off_Dm")}
        steps |= {f"Ti{x}": (f"L{x} + T_i", f"TL{x}", "on_Ti", "off_Ti")}
        steps |= {f"Di{x}": (f"L{x}", f"DL{x}", "on_Di*D_i", "off_Di")}
    reactions = [_both_ways(name, "IM", *step) for name, step in steps.items()]
    reactions.append(Reaction("V1", "OM", "k_vdac*VDAC*(T_i - T_c)", {"T_i": -1, "T_c": 1}))
    rates = {"a_16": "146516 1/s", "a_61": "33989 1/s", "a_65": "3969 1/s", "a_56": "1000 1/s", "a_54": "100 1/s"}
    rates |= {"a_45": "100 1/s", "a_52": "1e-20 1/s", "a_25": "5.85e-30 1/s", "a_43": "2 1/uM/s", "a_34": "100 1/s"}
    rates |= {"a_32": "5000 1/s", "a_23": "5 1/uM/s", "a_21": "40 1/s", "a_12": "100 1/s"}
    rates |= {"on_Tm": "6.4 1/uM/s", "off_Tm": "40000 1/s", "on_Ti": "0.4 1/uM/s", "off_Ti": "200 1/s"}
    rates |= {"on_Dm": "4 1/uM/s", "off_Dm": "40000 1/s", "on_Di": "4 1/uM/s", "off_Di": "100 1/s", "D_i": "45 uM"}
    return Model(places, species, reactions, rates | {"k_p": "92 1/s", "k_cp": "3.5 1/s", **_CHANNELS})


# 6,340 or 10^4 per um^2; a molecule passes at 1 1/uM/s (SMART's version).
_CHANNELS = {"k_vdac": "1 1/uM/s", "VDAC": "10000 molecule/um^2"}


def _both_ways(name, place, left, right, forth, back):
    """Write a reaction by mass action."""
    left, right = left.split(" + "), right.split(" + ")
    rate = f"{'*'.join([forth, *left])} - {'*'.join([back, *right])}"
    return Reaction(name, place, rate, {**dict.fromkeys(left, -1), **dict.fromkeys(right, 1)})


def release_unit():
    """Calcium released from the sarcoplasmic reticulum, after Hake et al., J. Physiol. 590 (2012) 4403.

    Buffers, exchanger, pump, background entry and ryanodine receptors with the parameters of SMART's version; the
    receptors sit on a patch, "junction", and close all at once (`release_ends`), where the paper has chance. The uptake
    is a Hill function with values of our own instead of the paper's cycle; what is beyond the membrane is constant.
    """
    places = {"Cyto": "shell", "SR": "core", "TTM": ("shell", "outside"), "SRM": ("shell", "core")}
    species = [
        Species("Ca", "Cyto", "220 um^2/s", "0.14 uM"),
        Species("ATP", "Cyto", "140 um^2/s", f"{455 - 0.318!r} uM"),
        Species("CMDN", "Cyto", "25 um^2/s", f"{24 - 0.471!r} uM"),
        Species("TRPN", "Cyto", "0 um^2/s", f"{70 - 13.2!r} uM"),
        Species("CaSR", "SR", "220 um^2/s", "1300 uM"),
        Species("CSQN", "SR", "25 um^2/s", f"{6390 - 4280!r} uM"),
    ]
    inward, outward = "Na_i**3*Ca_o*exp(eta*V/V_T)", "Na_o**3*Ca*exp((eta - 1)*V/V_T)"
    outside = "K_Cao*Na_i**3 + K_Nai**3*Ca_o + K_Cai*Na_o**3*(1 + (Na_i/K_Nai)**3) + Na_i**3*Ca_o"
    inside = "(K_Nao**3 + K_Nai**3*Ca_o/K_Cai + Na_o**3)*Ca"
    exchanger = f"I_NCX*c_m/F*({inward} - {outward})/({outside} + {inside})/(1 + k_sat*exp((eta - 1)*V/V_T))"
    reactions = [
        Reaction("RyR", "junction", "N_RyR*g_RyR*(CaSR - Ca)", {"CaSR": -1, "Ca": 1}),
        Reaction("SERCA", "SRM", "v_up*Ca**2/(K_up**2 + Ca**2)", {"Ca": -1, "CaSR": 1}),
        Reaction("NCX", "TTM", exchanger, {"Ca": 1}),
        Reaction("PMCA", "TTM", "I_p*c_m/(2*F)*Ca**2/(K_p**2 + Ca**2)", {"Ca": -1}),
        Reaction("entry", "TTM", "G_Cab/(2*F)*(V_T/2*log(Ca_o/Ca) - V)", {"Ca": 1}),
    ]
    for name, calcium, place in (("ATP", "Ca", "Cyto"), ("CMDN", "Ca", "Cyto"), ("TRPN", "Ca", "Cyto"), _SR_BUFFER):
        rate = f"on_{name}*{calcium}*{name} - off_{name}*({name}_tot - {name})"
        reactions.append(Reaction(name, place, rate, {calcium: -1, name: -1}))
    rates = {"N_RyR": "5", "g_RyR": "2620 nm/s", "v_up": "300 uM*um/s", "K_up": "0.3 uM", "c_m": "0.01 pF/um^2"}
    rates |= {"F": "96485 C/mol", "V": "-82 mV", "V_T": "25.4 mV", "I_NCX": "3.94 pA/pF", "eta": "0.35"}
    rates |= {"k_sat": "0.27", "Na_i": "14.2 mM", "Na_o": "140 mM", "Ca_o": "1.8 mM", "K_Cao": "1.4 mM"}
    rates |= {"K_Nao": "87.5 mM", "K_Nai": "12 mM", "K_Cai": "3.6 uM", "I_p": "0.096 pA/pF", "K_p": "0.289 uM"}
    rates |= {"G_Cab": "7e-15 S/um^2", "on_ATP": "225 1/uM/s", "off_ATP": "45000 1/s", "ATP_tot": "455 uM"}
    rates |= {"on_CMDN": "34 1/uM/s", "off_CMDN": "238 1/s", "CMDN_tot": "24 uM", "on_TRPN": "32.7 1/uM/s"}
    rates |= {"off_TRPN": "19.6 1/s", "TRPN_tot": "70 uM", "on_CSQN": "102 1/uM/s", "off_CSQN": "65000 1/s"}
    return Model(places | {"junction": "junction"}, species, reactions, rates | {"CSQN_tot": "6390 uM"})


_SR_BUFFER = ("CSQN", "CaSR", "SR")


def release_ends(share=0.092):
    """All receptors of `release_unit` close where the reticulum has so little of its free calcium left."""
    return Event(f"mean(CaSR) < {share * 1300 * 602.214076!r}", set={"N_RyR": 0})


def spine_calcium(psd_area="0.1 um^2"):
    """Calcium that enters a spine by voltage and transmitter, after Bell et al., J. Gen. Physiol. 151 (2019) 1017.

    NMDA receptors on the patch "psd" and voltage-dependent channels all over the membrane are driven by a given
    voltage, a back-propagating action potential and a synaptic one; pumps, an exchanger, buffers in the cytosol and
    at the membrane, and the spine apparatus (SA) take it away. Parameters are those of SMART's version, in which the
    apparatus fills: a sixth of what enters it stays free.
    """
    places = {"Cyto": "shell", "SA": "core", "PM": ("shell", "outside"), "SAm": ("shell", "core"), "psd": "psd"}
    species = [
        Species("Ca", "Cyto", "220 um^2/s", "0.1 uM"),
        Species("Bm", "Cyto", "20 um^2/s", "20 uM"),
        Species("Bf", "PM", initial=f"{78.7 * 0.1011!r} uM*um"),
        Species("CaSA", "SA", "45 um^2/s", "60 uM"),
    ]
    bap = "bp*(I_f*exp(-(t - t_bp)/t_f) + I_s*exp(-(t - t_bp)/t_s))"
    V_m = f"(V_rest + {bap} + s_term*(exp(-t/t_ep1) - exp(-t/t_ep2)))"
    B = f"(1/(1 + exp(-K_m*{V_m})*Mg))"
    nmdar = f"P_0*(p_f*exp(-t/tau_f) + p_s*exp(-t/tau_s))*{B}*G_NMDAR*(V_rev - {V_m})/(2*F)/(beta_N*A_psd)"
    vscc = f"g_V*{V_m}*(0.393 - exp(-{V_m}/V_80))/(1 - exp({V_m}/V_80))/(2*F)"
    bound = "1/(1 + P_e*K_e/(K_e + Ca)**2 + P_x*K_x/(K_x + Ca)**2)"
    pump = "v_l*Ca**2/(K_l**2 + Ca**2) + v_h*Ca**5/(K_l**5 + Ca**5)"
    reactions = [
        Reaction("NMDAR", "psd", nmdar, {"Ca": 1}),
        Reaction("VSCC", "PM", f"N_V*(exp(-b*t) - exp(-a*t))*{vscc}", {"Ca": 1}),
        Reaction("PMCA", "PM", f"100*n_PM*{bound}*({pump})", {"Ca": -1}),
        Reaction("NCX", "PM", f"1000*n_PM*{bound}*v_N*Ca/(K_N + Ca)", {"Ca": -1}),
        Reaction("fixed buffer", "PM", "k_f*Ca*Bf - u_f*(Bf_tot - Bf)", {"Ca": -1, "Bf": -1}),
        Reaction("mobile buffer", "Cyto", "k_b*Ca*Bm - u_b*(Bm_tot - Bm)", {"Ca": -1, "Bm": -1}),
        Reaction("SERCA", "SAm", f"1000*n_SA*{bound}*v_S*Ca**2/(K_S**2 + Ca**2)", {"Ca": -1, "CaSA": 1 / 6}),
        Reaction("leak", "SAm", "n_SA*k_leak*(CaSA - Ca)", {"CaSA": -1 / 6, "Ca": 1}),
    ]
    conductance = (65.6 + 0.5 * 2 * 11.3) / (1 + 0.5 * 2 * 11.3 / 15.2)
    rates = {"V_rest": "-65 mV", "bp": "38 mV", "I_f": "0.75", "t_f": "3 ms", "I_s": "0.25", "t_s": "25 ms"}
    rates |= {"t_bp": "2 ms", "s_term": "25 mV", "t_ep1": "50 ms", "t_ep2": "5 ms", "V_rev": "90 mV", "P_0": "0.5"}
    rates |= {"p_f": "0.5", "tau_f": "50 ms", "p_s": "0.5", "tau_s": "200 ms", "K_m": "0.092 1/mV"}
    rates |= {"Mg": f"{1 / 3.57!r}", "G_NMDAR": f"{conductance!r} pS", "F": "96485.332 C/mol", "beta_N": "85"}
    rates |= {"A_psd": psd_area, "g_V": "3.72 pS", "V_80": "80.36 mV", "N_V": "2 1/um^2", "a": "34700 1/s"}
    rates |= {"b": "3680 1/s", "P_e": "191 uM", "K_e": "2.43 uM", "P_x": "8.77 uM", "K_x": "0.139 uM"}
    rates |= {"v_l": "0.113 uM/s", "K_l": "0.442 uM", "v_h": "0.59 uM/s", "v_N": "0.1 uM/s", "K_N": "1 uM"}
    rates |= {"n_PM": "0.1011 um", "k_f": "1 1/uM/s", "u_f": "2 1/s", "Bf_tot": f"{78.7 * 0.1011!r} uM*um"}
    rates |= {"k_b": "1 1/uM/s", "u_b": "1 1/s", "Bm_tot": "20 uM", "n_SA": "0.0113 um", "v_S": "114 uM/s"}
    return Model(places, species, reactions, rates | {"K_S": "0.2 uM", "k_leak": "0.1608 1/s"})


def polarity(volume=None, psi=0.174):
    """Two kinds of PAR proteins that drive each other off the membrane: Goehring et al., Science 334 (2011) 1137.

    Both share one well-mixed cytosol: written by means, rho - psi mean, or as pools where its `volume` (um^3) is given,
    which has to be the membrane's area over psi. Without the cortical flow that breaks the symmetry in the paper: the
    cell starts with A on its left and P on its right half, and the domains find their sizes.
    """
    rates = {"k_onA": "8.58e-3 um/s", "k_offA": "5.4e-3 1/s", "k_AP": "0.19 um^2/molecule/s"}
    rates |= {"k_onP": "4.74e-2 um/s", "k_offP": "7.3e-3 1/s", "k_PA": "2 um^4/molecule^2/s"}
    rates |= {"A_0": "1 molecule/um^2", "P_0": "1.5 molecule/um^2", "w": "3 um"}
    species = [
        Species("A", "PM", "0.28 um^2/s", "A_0*(1 - tanh(x/w))"),
        Species("P", "PM", "0.15 um^2/s", "P_0*(1 + tanh(x/w))"),
    ]
    cytosol, taken = {"A": "(rho_A - psi*mean(A))", "P": "(rho_P - psi*mean(P))"}, {"A": {}, "P": {}}
    if volume is None:
        rates |= {"rho_A": "1.56 molecule/um^3", "rho_P": "1 molecule/um^3", "psi": f"{psi!r} 1/um"}
    else:
        # The rest of rho: the starts have means of A_0 and P_0.
        species.append(Pool("A_c", volume, f"{1.56 - psi * 1.0!r} molecule/um^3"))
        species.append(Pool("P_c", volume, f"{1.0 - psi * 1.5!r} molecule/um^3"))
        cytosol, taken = {"A": "A_c", "P": "P_c"}, {"A": {"A_c": -1}, "P": {"P_c": -1}}
    reactions = [
        Reaction(f"{x} on and off", "PM", f"k_on{x}*{cytosol[x]} - k_off{x}*{x}", {x: 1, **taken[x]}) for x in "AP"
    ]
    lost = {x: {x: -1, **dict.fromkeys(taken[x], 1)} for x in "AP"}
    reactions.append(Reaction("P drives A off", "PM", "k_AP*P*A", lost["A"]))
    reactions.append(Reaction("A drives P off", "PM", "k_PA*A**2*P", lost["P"]))
    return Model({"PM": ("ball", "outside")}, species, reactions, rates)
