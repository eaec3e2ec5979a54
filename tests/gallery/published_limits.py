"""What published models tend to where diffusion is fast: ordinary differential equations written by hand.

Nothing is taken from `published` or from the library: constants stand here once more, in the papers' units (uM, or mM
for the mitochondrion; molecules/um^2 on membranes), so that a slip there or here shows. Sizes are um^3 and um^2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

# Molecules/um^3 in one uM.
UM = 602.214076


class Limit(NamedTuple):
    """Values at the start, molecules/um^3 in one unit of those in a volume, slopes, times of jumps, an end.

    At the zero of `ends` the slopes are those of `after` from then on.
    """

    starts: dict[str, float]
    units: dict[str, float]
    slopes: Callable[..., list[float]]
    jumps: tuple[float, ...] = ()
    ends: Any = None
    after: Any = None

    def course(self, times):
        """Solve it: species -> values at `times` in molecules and um."""
        slopes, ends, start, state = self.slopes, self.ends, times[0], list(self.starts.values())
        values = np.empty((len(times), len(state)))
        while start < times[-1]:
            stop = min(time for time in (*self.jumps, times[-1]) if time > start)
            exactly = {"rtol": 1e-10, "atol": 1e-13, "dense_output": True}
            run = solve_ivp(slopes, (start, stop), state, "LSODA", events=ends, **exactly)
            assert run.success, run.message
            now = (times >= start) & (times <= run.t[-1])
            values[now] = run.sol(times[now]).T
            start, state = run.t[-1], run.y[:, -1]
            if run.status == 1:
                slopes, ends = self.after, None
        scale = [self.units.get(name, 1.0) for name in self.starts]
        return dict(zip(self.starts, (values * scale).T, strict=True))


def channel_release(sizes, receptors):
    """SMART's example 5; `receptors` is their mean density at the start."""
    cyto, er, pm, erm = (sizes[name] for name in ("Cyto", "ER", "PM", "ERm"))

    def slopes(t, y):
        a, b, a_er, r, r_o = y
        enter = 500 * 200 / (1 + 200**2 * (t - 0.1) ** 2)
        bind = 100 * b * r - 100 * r_o
        flow = 2000 * r_o * (a_er - a)
        return [
            flow * erm / cyto / UM,
            (enter * pm - bind * erm) / cyto / UM - 10 * b,
            -flow * erm / er / UM,
            -bind,
            bind,
        ]

    starts = {"A": 0.01, "B": 0.0, "AER": 200.0, "R": receptors, "Ro": 0.0}
    return Limit(starts, dict.fromkeys(("A", "B", "AER"), UM), slopes)


def purkinje_calcium(sizes):
    """SMART's example 6, Doi et al. 2005."""
    cyto, er, pm, erm = (sizes[name] for name in ("Cyto", "ER", "PM", "ERm"))
    boxes = [(0.01 * k, 0.01 * k + 0.001, 750000.0) for k in range(1, 6)] + [(0.1, 0.102, 1250000.0)]
    leak = 18000 * 0.0036 / (0.0036 + 0.0729) / 149.94 - 200 * 0.000802 * 30

    def slopes(t, y):
        ca, ip3, pv, cd, caer, r0, ri, ric, x, yo, z = y
        # On its way a solver asks at both ends of a piece: the box is open at its end.
        j = sum(height for start, end, height in boxes if start <= t < end)
        j += 380 - 1000 * ca / (0.1 + ca) - 64000 * ca**2 / (7.3**2 + ca**2)
        plc = 24080 * 800 * (np.exp(-12.7 * t) - np.exp(-12.8 * t)) if t >= 0.01 else 0.0
        v_pv = 107 * ca * (50 - pv) - 0.95 * pv
        v_cd = 5.5 * (ca * (100 - cd) - 0.823 * cd * (1 + 0.473 / ca))
        v1, v2 = 1000 * r0 * ip3 - 25800 * ri, 8000 * ri * ca - 2000 * ric
        v3 = 9 * r0 * ca - 2 * (200 - r0 - ri - ric)
        u, v = 10 * (ca - 1.5), 1e6 * (1e-4 - yo - x)
        wx = 100 * (1 - x - yo - z) * ca**4 / (ca**4 + (6 - 0.032 * caer) ** 4) * (0.5 + u / 2 / np.hypot(1, u))
        yz = 125 * yo * (1 + 30 * z**3 / (z**3 + 0.216))
        zw = 12.5 * z * (0.5 + v / 2 / np.hypot(1, v))
        out = (30 * ric + 25000 * yo + leak) * (caer - ca) - 18000 * ca**2 / (ca**2 + 0.0729)
        return [
            (pm * j + erm * (out - v2 - v3)) / cyto / UM - v_pv - 2 * v_cd,
            (pm * plc - erm * v1) / cyto / UM - 0.14 * (ip3 - 0.11),
            *(v_pv, v_cd, -0.0227272727 * out * erm / er / UM),
            *(-v1 - v3, v1 - v2, v2, wx - 500 * x, 500 * x - yz, yz - zw),
        ]

    starts = {"Ca": 0.06, "IP3": 0.11, "PV_Ca": 3 / (0.95 / 107 + 0.06), "CD28k": 0.36 / (0.823 * 0.533 + 0.0036)}
    starts |= {"CaER": 150.0, "R_0": 156.8274, "R_I": 0.6686, "R_IC": 0.1604, "X": 0.0, "Y": 0.0, "Z": 0.0}
    jumps = sorted({0.01, *(time for start, end, _ in boxes for time in (start, end))})
    return Limit(starts, dict.fromkeys(("Ca", "IP3", "PV_Ca", "CD28k", "CaER"), UM), slopes, tuple(jumps))


def mechanotransduction(sizes, stiffness=5.7):
    """Sun et al. 2016, Scott et al. 2021; the stiffness in kPa."""
    cyto, nuc, pm, nm, contact = (sizes[name] for name in ("Cyto", "Nuc", "PM", "NM", "contact"))
    n, e = 2300 / 1260, stiffness

    def slopes(t, y):
        fak, gdp, rock, mdia, myo, limk, cof, f, g, yap, pyap, nucleus, gtp, lamin, pores = y
        on = rock / 2 * (np.tanh(20 * (rock - 0.3)) + 1)
        made = 0.4 * g * (1 + 50 * mdia / 2 * (np.tanh(20 * (mdia - 0.165)) + 1)) - (3.5 + 4 * cof) * f
        rho = n * 0.0168 * (77.56 * fak**5 + 1) * gdp * UM - 0.625 * gtp
        stress = 9e-6 * f**2.6
        back = pyap * (0.56 + 0.00076 * f * myo) - 0.14 * yap
        into = yap * (1 + 10 * pores) - nucleus
        return [
            n * (1 - fak) * (0.015 + 0.379 * e / (3.25 + e)) * contact / cyto - 0.035 * fak,
            -rho / UM * pm / cyto,
            0.648 * gtp * (1 - rock) * pm / cyto / UM - 0.8 * rock,
            0.002 * gtp * (0.8 - mdia) * pm / cyto / UM - 0.005 * mdia,
            0.03 * (5 - myo) * (1 + 36 * on) - 0.067 * myo,
            0.07 * (2 - limk) * (1 + 55.49 * on) - 2 * limk,
            0.04 * (2 - cof) - 0.34 * limk * cof / (4 + cof),
            *(made, -made, back - into * nm / cyto / UM, -back, into * nm / nuc / UM, rho),
            0.46 * (3500 - lamin) * stress / (100 + stress) - 0.001 * lamin,
            2.8e-7 * (6.5 - pores) * lamin * f * myo - 8.7 * pores,
        ]

    volumes = {"pFAK": 0.3, "RhoA_GDP": 1.0, "ROCK_A": 0.0, "mDia_A": 0.0, "Myo_A": 1.5, "LIMK_A": 0.1}
    volumes |= {"Cofilin": 1.8, "FActin": 17.9, "GActin": 482.4, "YAP": 0.7, "pYAP": 0.2, "YAP_nuc": 0.7}
    return Limit(volumes | {"RhoA_GTP": 33.6, "LaminA": 0.0, "NPC_A": 0.0}, dict.fromkeys(volumes, UM), slopes)


def atp_synthesis(sizes):
    """Garcia et al. 2023, in mM."""
    ims, mat, om, im, cell = (sizes[name] for name in ("IMS", "Mat", "OM", "IM", "T_c"))
    mm = 1000 * UM

    def slopes(t, y):
        em, ei, ehi, ehm, es, et, free, tl, dl, lt, ld, tlt, tld, dlt, dld, dm, tm, ti, tc = y
        e = [146516 * em - 33989 * ei, 3969 * ei - 1000 * ehi, 100 * ehi - 100 * ehm, 1e-20 * ehi - 5.85e-30 * et]
        e += [2000 * ehm * dm - 100 * es, 5000 * es - 5000 * et * tm, 40 * et - 100 * em]
        tm0, tmt, tmd = (6400 * a * tm - 40000 * b for a, b in ((free, lt), (tl, tlt), (dl, dlt)))
        dm0, dmt, dmd = (4000 * a * dm - 40000 * b for a, b in ((free, ld), (tl, tld), (dl, dld)))
        ti0, tit, tid = (400 * a * ti - 200 * b for a, b in ((free, tl), (lt, tlt), (ld, tld)))
        di0, dit, did = (4000 * a * 0.045 - 100 * b for a, b in ((free, dl), (lt, dlt), (ld, dld)))
        over, leave = 92 * dlt - 3.5 * tld, 1000 * 10000 * (ti - tc)
        return [
            *(e[6] - e[0], e[0] - e[1], e[1] - e[2] - e[3], e[2] - e[4], e[4] - e[5], e[5] + e[3] - e[6]),
            *(-tm0 - dm0 - ti0 - di0, ti0 - tmt - dmt, di0 - tmd - dmd, tm0 - tit - dit, dm0 - tid - did),
            *(tmt + tit, dmt + tid + over, tmd + dit - over, dmd + did),
            -(e[4] + dm0 + dmt + dmd) * im / mat / mm,
            (e[5] - tm0 - tmt - tmd) * im / mat / mm,
            -((ti0 + tit + tid) * im + leave * om) / ims / mm,
            leave * om / cell / mm,
        ]

    names = ("E_m", "E_i", "E_H_i", "E_H_m", "E_S", "E_T", "L", "TL", "DL", "LT", "LD", "TLT", "TLD", "DLT", "DLD")
    starts = dict.fromkeys(names, 0.0) | {"E_i": 267 / 1.5453, "L": 16471 / 1.5453}
    volumes = {"D_m": 0.72, "T_m": 0.65, "T_i": 0.325, "T_c": 0.325}
    return Limit(starts | volumes, dict.fromkeys(volumes, mm), slopes)


def release_unit(sizes, share=0.5):
    """Hake et al. 2012, with a Hill function for the uptake; receptors close when so little is left."""
    cyto, sr, ttm, srm, junction = (sizes[name] for name in ("Cyto", "SR", "TTM", "SRM", "junction"))
    faraday, volt, thermal = 96485.0, -82.0, 25.4
    # A/um^2 / (C/mol) = mol/um^2/s = 1e21 uM um/s.
    ncx, pump = (share * 1e-14 / faraday * 1e21 for share in (3.94, 0.096 / 2))
    slope = 7e-15 * 1e-3 / (2 * faraday) * 1e21

    def slopes(t, y, channels=5):
        ca, atp, cam, tnc, store, csq = y
        bound = [225 * ca * atp - 45000 * (455 - atp), 34 * ca * cam - 238 * (24 - cam)]
        bound += [32.7 * ca * tnc - 19.6 * (70 - tnc), 102 * store * csq - 65000 * (6390 - csq)]
        release = channels * 2.62 * (store - ca)
        uptake = 300 * ca**2 / (0.09 + ca**2)
        c = ca / 1000
        up, down = np.exp(0.35 * volt / thermal), np.exp(-0.65 * volt / thermal)
        below = 1.4 * 14.2**3 + 12**3 * 1.8 + 0.0036 * 140**3 * (1 + (14.2 / 12) ** 3) + 14.2**3 * 1.8
        below += (87.5**3 + 12**3 * 1.8 / 0.0036 + 140**3) * c
        enter = ncx * (14.2**3 * 1.8 * up - 140**3 * c * down) / below / (1 + 0.27 * down)
        enter += slope * (thermal / 2 * np.log(1800 / ca) - volt) - pump * ca**2 / (0.289**2 + ca**2)
        return [
            (release * junction - uptake * srm + enter * ttm) / cyto - sum(bound[:3]),
            *(-v for v in bound[:3]),
            (uptake * srm - release * junction) / sr - bound[3],
            -bound[3],
        ]

    def empty(t, y):
        return y[4] - share * 1300

    empty.terminal = True
    starts = {"Ca": 0.14, "ATP": 454.682, "CMDN": 23.529, "TRPN": 56.8, "CaSR": 1300.0, "CSQN": 2110.0}
    return Limit(starts, dict.fromkeys(starts, UM), slopes, (), empty, lambda t, y: slopes(t, y, 0))


def spine_calcium(sizes, area=0.1):
    """Bell et al. 2019; `area` of the postsynaptic density is what the receptors are divided by."""
    cyto, sa, pm, sam, psd = (sizes[name] for name in ("Cyto", "SA", "PM", "SAm", "psd"))

    def slopes(t, y):
        ca, bm, bf, store = y
        v = -65 + 38 * (0.75 * np.exp(-(t - 0.002) / 0.003) + 0.25 * np.exp(-(t - 0.002) / 0.025))
        v += 25 * (np.exp(-t / 0.05) - np.exp(-t / 0.005))
        # Siemens times mV over two charges: molecules/s.
        per = 1e-15 / (2 * 96485.332) * 6.02214076e23
        free = 1 / (1 + np.exp(-0.092 * v) / 3.57)
        zeta = (65.6 + 11.3) / (1 + 11.3 / 15.2)
        nmda = 0.5 * 0.5 * (np.exp(-t / 0.05) + np.exp(-t / 0.2)) * free * zeta * (90 - v) * per / 85 / area
        vscc = 2 * (np.exp(-3680 * t) - np.exp(-34700 * t)) * 3.72 * per * v
        vscc *= (0.393 - np.exp(-v / 80.36)) / (1 - np.exp(v / 80.36))
        share = 1 / (1 + 191 * 2.43 / (2.43 + ca) ** 2 + 8.77 * 0.139 / (0.139 + ca) ** 2)
        pump = 100 * 0.1011 * (0.113 * ca**2 / (0.442**2 + ca**2) + 0.59 * ca**5 / (0.442**5 + ca**5))
        pump += 1000 * 0.1011 * 0.1 * ca / (1 + ca)
        uptake = 1000 * 0.0113 * share * 114 * ca**2 / (0.04 + ca**2) - 0.0113 * 0.1608 * (store - ca)
        fixed = ca * bf - 2 * (78.7 * 0.1011 - bf)
        mobile = ca * bm - (20 - bm)
        inflow = (nmda * psd + vscc * pm) / UM - share * pump * pm - fixed * pm - uptake * sam
        return [inflow / cyto - mobile, -mobile, -fixed, uptake / 6 * sam / sa]

    starts = {"Ca": 0.1, "Bm": 20.0, "Bf": 78.7 * 0.1011, "CaSA": 60.0}
    return Limit(starts, dict.fromkeys(starts, UM), slopes)


def polarity(radius, times, bands=120):
    """Goehring et al. 2011 on a sphere whose poles are the cell's ends: finite volumes between circles of latitude.

    Returns the shares of the sphere before each band's end, and A and P (times, bands) in molecules/um^2.
    """
    edges = np.linspace(0, np.pi, bands + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, np.pi / bands
    shares = np.diff(-np.cos(edges)) / 2
    x = -radius * np.cos(middles)

    def spread(u, diffusion):
        flow = np.concatenate([[0.0], np.sin(edges[1:-1]) * np.diff(u) / width, [0.0]])
        return diffusion / radius**2 * np.diff(flow) / (2 * shares)

    def slopes(t, y):
        a, p = y[:bands], y[bands:]
        da = 8.58e-3 * (1.56 - 0.174 * shares @ a) - 5.4e-3 * a - 0.19 * p * a
        dp = 4.74e-2 * (1 - 0.174 * shares @ p) - 7.3e-3 * p - 2 * a**2 * p
        return np.concatenate([da + spread(a, 0.28), dp + spread(p, 0.15)])

    start = np.concatenate([1 - np.tanh(x / 3), 1.5 * (1 + np.tanh(x / 3))])
    run = solve_ivp(slopes, (times[0], times[-1]), start, "LSODA", times, rtol=1e-8, atol=1e-10)
    assert run.success, run.message
    return shares, run.y[:bands].T, run.y[bands:].T
