"""The whole way on a phantom, for the command line: spine, mesh, calcium transient, pictures and a ParaView series."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshcell import first_use
from meshcell.core.progress import bar
from meshcell.core.types import TetMesh, Volume
from meshcell.models.solutions import Solution
from meshcell.pictures.captions import MOLECULES_PER_UM3_IN_UM
from meshcell.pictures.rendering import require_renderer

log = logging.getLogger("meshcell")

PICTURES = ("labels.png", "surface.png", "mesh.png", "angles.png", "calcium.png", "curves.png", "calcium.gif")


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demonstration made.

    Parameters
    ----------
    labels : Volume
    mesh : TetMesh
    solution : Solution
    peak : float
        Greatest mean of calcium in the cytosol, uM.
    time : float
        When it was reached, s.
    files : tuple of Path
        Pictures, film and ParaView series.
    """

    labels: Volume
    mesh: TetMesh
    solution: Solution
    peak: float
    time: float
    files: tuple[Path, ...]


def run(
    folder: str | Path = "meshcell-demo",
    *,
    rng: int | np.random.Generator = 7,
    spacing: float | str = "16 nm",
    edge: float | str = "40 nm",
    pictures: bool = True,
    progress: bool = False,
) -> Demo:
    """Make a spine, mesh it, simulate a calcium transient, and write pictures and a ParaView series into a folder.

    Parameters
    ----------
    folder : path
        Made if it is not there; files of an earlier run are replaced.
    rng : int or Generator
        The spine's shape.
    spacing : float (um) or text
        Voxel size of the phantom.
    edge : float (um) or text
        Edge length of the tetrahedra.
    pictures : bool
        Off where there is no OpenGL; the ParaView series is written all the same.
    progress : bool
        Show bars; kernels that have to be compiled are compiled first, in parallel, see `first_use.warm`.

    Returns
    -------
    Demo

    Raises
    ------
    RuntimeError
        No OpenGL for the pictures; names the packages that bring it.
    """
    import meshcell as mc

    if pictures:
        # Now, not after minutes of meshing.
        require_renderer()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if progress:
        first_use.warm(progress=True)
    times = np.concatenate([np.linspace(0, 0.05, 11), np.linspace(0.06, 0.5, 23)])
    with _stages(8 if pictures else 5, progress) as stage:
        stage("labels")
        labels = mc.spine(spacing, rng=rng)
        stage("surface")
        surface = mc.smooth(mc.extract(labels))
        stage("tetrahedra")
        mesh = mc.tetrahedralize(surface, edge=edge)
        stage("simulation")
        solution = mc.solve(mesh, calcium_model(labels), times, rtol=1e-4, progress=progress)
        mean = mc.mean(solution, "Ca") / MOLECULES_PER_UM3_IN_UM
        at = float(times[np.argmax(mean)])
        stage("ParaView series")
        mc.save(target / "calcium.pvd", solution, overwrite=True)
        if pictures:
            stage("pictures")
            _close(mc.plot(labels, save=target / "labels.png"))
            _close(mc.plot(surface, save=target / "surface.png"))
            _close(mc.plot(mesh, save=target / "mesh.png"))
            _close(mc.histogram(mesh.surface, save=target / "angles.png"))
            stage("concentrations")
            _close(mc.plot(solution, "Ca", at=at, save=target / "calcium.png"))
            _close(mc.plot(solution, save=target / "curves.png"))
            stage("film")
            mc.film(target / "calcium.gif", solution, "Ca", progress=progress)
    written = ("calcium.pvd", *PICTURES) if pictures else ("calcium.pvd",)
    log.info("demo: %d tetrahedra, peak %.3f uM at %.2f s, in %s", len(mesh.tets), mean.max(), at, target)
    return Demo(labels, mesh, solution, float(mean.max()), at, tuple(target / name for name in written))


def calcium_model(labels: Volume) -> Any:
    """Return the model of the transient: calcium enters for a moment, and pumps of both membranes bring it to rest.

    Parameters
    ----------
    labels : Volume
        With regions "cytosol" and "er".
    """
    from meshcell.models.model import Model
    from meshcell.models.species import Reaction, Species

    missing = {"cytosol", "er"} - set(labels.regions.values())
    if missing:
        there = ", ".join(labels.regions.values())
        raise ValueError(f"the demonstration needs regions 'cytosol' and 'er'; {sorted(missing)} are not in {there}")
    return Model(
        compartments={"cyt": "cytosol", "er": "er", "PM": ("cytosol", "outside"), "ERM": ("er", "cytosol")},
        species=(
            Species("Ca", "cyt", diffusion="220 um^2/s", initial="0.1 uM"),
            Species("CaER", "er", diffusion="6 um^2/s", initial="400 uM"),
        ),
        reactions=(
            Reaction("stimulus", "PM", "J*exp(-t/tau)", {"Ca": +1}),
            Reaction("pump", "PM", "v*(Ca - rest)/(K + Ca)", {"Ca": -1}),
            Reaction("leak", "ERM", "k_leak*(CaER - Ca)", {"CaER": -1, "Ca": +1}),
            Reaction("uptake", "ERM", "u*Ca**2/(S**2 + Ca**2)", {"Ca": -1, "CaER": +1}),
        ),
        # Strong enough a stimulus for some 5 uM; pump and uptake of the order reported for spines, uptake balances the
        # leak at rest.
        parameters={
            "J": "30000 molecule/um^2/s",
            "tau": "10 ms",
            "v": "2000 molecule/um^2/s",
            "rest": "0.1 uM",
            "K": "0.5 uM",
            "k_leak": "0.0005 um/s",
            "u": "600 molecule/um^2/s",
            "S": "0.2 uM",
        },
    )


def _close(picture: Any) -> None:
    """Give back the memory of a picture that has been written."""
    if hasattr(picture, "close"):
        picture.close()
        return
    import matplotlib.pyplot as plt

    plt.close(np.atleast_1d(picture)[0].figure)


@contextmanager
def _stages(n: int, progress: bool) -> Iterator[Any]:
    """Show one bar over all stages, named after the one that runs."""
    form = "{desc:<20}{bar}| {n}/{total} {elapsed}"
    with bar(total=n, progress=progress, unit="stage", bar_format=form) as shown:
        begun = False

        def stage(name: str) -> None:
            nonlocal begun
            shown.update(begun)
            begun = True
            shown.set_description_str(name)

        yield stage
        shown.set_description_str("done")
        shown.update(begun)
