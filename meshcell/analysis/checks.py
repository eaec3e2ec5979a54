"""The doctor: what is wrong or risky in a volume, surface, mesh, model or solution, before hours are spent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshcell.analysis.fidelity import Fidelity, fidelity_problems, measure
from meshcell.analysis.mesh_checks import handle_problems, mesh_problems, surface_problems
from meshcell.analysis.problems import LISTED, SEVERITIES, Problem, listed, sizes
from meshcell.core.arrays import Array, percent
from meshcell.core.hints import require
from meshcell.core.progress import stages
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.validation import coarse_axis, name_of
from meshcell.geometry import voxels
from meshcell.geometry.topology import label_handles
from meshcell.labels.resampling import layers_each, thick_axis
from meshcell.models.formula_trees import read_whole
from meshcell.models.model import Model
from meshcell.models.parameters import number_and_unit
from meshcell.models.solutions import Solution
from meshcell.models.species import Pool

log = logging.getLogger("meshcell")

# um per voxel: coarser is no cell, finer than any microscope.
COARSEST, FINEST = 1.0, 1e-4
MAX_ANISOTROPY = 5
# Voxels: fewer make an island that is more likely noise than an organelle.
ISLAND = 27
# Share of a label in parts thinner than two voxels from which on its shape is not to be trusted.
MUCH_THIN = 0.05
MAX_DRIFT = 1e-8
# Seconds after which progress is shown.
PATIENCE = 2.0
# Findings of a kind that are told one by one.
TOLD = 8

# Rules of thumb for meshing at an edge of two voxels, without grading (which saves half or more).
TETS_PER_CUBE = 8.5  # regular tetrahedra of edge h in a volume of h^3: 6 sqrt(2)
TRIANGLES_PER_SQUARE = 2.3  # equilateral triangles of edge h on an area of h^2: 4 / sqrt(3)
TETS_PER_SECOND = 10_000.0  # conditioning, tetrahedra and improvement together, one core
VOXELS_PER_SECOND = 2e6  # extraction and smoothing
BYTES_PER_TET = 1_500.0
BYTES_PER_VOXEL = 10.0


def check(
    thing: Volume | Surface | TetMesh | Model | Solution, *, against: Volume | None = None, progress: bool = False
) -> Report:
    """Look for what would go wrong with a volume, surface, mesh, model or solution.

    Parameters
    ----------
    thing : Volume, Surface, TetMesh, Model or Solution
    against : Volume, optional
        The labels from which a Surface or TetMesh was made: every region and interface is compared with them, by name.
    progress : bool
        Show a bar with the stage that runs.

    Returns
    -------
    Report
        `.ok` is False when there are errors, `.problems` lists all findings, `print` gives advice. A label volume also
        gets an estimate of tetrahedra, memory and minutes. With `against`, `.fidelity` holds the figures per region
        (pieces, Euler characteristic, genus and volume beside the labels', angles, radius ratios, edges) and per
        interface (area, distance from the voxel faces in voxels, angles).

    Examples
    --------
    >>> report = check(Volume(np.zeros((4, 4, 4), int), spacing="10 nm"))
    >>> report.ok, report.problems[0].message
    (False, 'all voxels are outside (label 0); there is nothing to mesh: is this the right file or dataset?')
    """
    subjects: dict[type, tuple[Callable[[Any], Iterator[Problem]], Callable[[Any], str]]] = {
        Volume: (_volume, repr),
        Surface: (surface_problems, repr),
        TetMesh: (mesh_problems, repr),
        Solution: (_solution, repr),
        Model: (_model, lambda model: f"Model: {len(model.species)} species, {len(model.reactions)} reactions"),
    }
    require(thing, tuple(subjects), "check(thing)")
    look, title = next(entry for kind, entry in subjects.items() if isinstance(thing, kind))
    if against is not None and not isinstance(thing, Surface | TetMesh):
        raise TypeError(f"against= compares a Surface or a TetMesh with labels; got {type(thing).__name__}")
    names = ("problems",) if against is None else ("problems", "comparison with labels")
    with stages("check", names, progress, PATIENCE) as stage:
        stage("problems")
        findings, figures = list(look(thing)), None
        sound = all(problem.severity != "error" for problem in findings)
        # Without conforming elements there is nothing to compare.
        if isinstance(thing, Surface | TetMesh) and against is not None and sound:
            stage("comparison with labels")
            figures = measure(thing, against)
            findings += fidelity_problems(figures)
    problems = sorted(findings, key=lambda problem: SEVERITIES.index(problem.severity))
    report = Report(title(thing), tuple(problems), figures)
    errors = sum(problem.severity == "error" for problem in problems)
    log.info("check: %s, %d findings, %d errors", type(thing).__name__, len(problems), errors)
    return report


# --- volumes ---


def _volume(volume: Volume) -> Iterator[Problem]:
    yield from _spacing(volume)
    yield from _coarse(volume)
    if not volume.is_labels:
        if volume.data.min() == volume.data.max():
            yield Problem("error", f"all intensities are {volume.data.flat[0]:g}; is this the right file or dataset?")
        else:
            yield Problem("note", "these are intensities: segment them into labels, or extract(volume, level=...)")
        return
    inside = [label for label in volume.counts if label != 0]
    if not inside:
        advice = "is this the right file or dataset?"
        yield Problem("error", f"all voxels are outside (label 0); there is nothing to mesh: {advice}")
        return
    if len(volume.counts) == 1:
        name = name_of(volume.names, inside[0])
        yield Problem("warning", f"every voxel is {name!r}: the mesh will be the box itself; is label 0 the outside?")
    if len(inside) > len(volume.names) > 1:
        nameless = [name for label, name in volume.regions.items() if label not in volume.names]
        yield Problem("note", f"regions without a name: {listed(nameless)}; names={{...}} gives them one")
    yield from _absent(volume)
    yield from _box(volume)
    yield from _shortened(_thin(volume), "more regions have parts thinner than two voxels")
    yield from _shortened(_pieces(volume), "more findings about pieces and cavities")
    yield from _contacts(volume)
    yield _estimate(volume)


def _spacing(volume: Volume) -> Iterator[Problem]:
    low, high = min(volume.spacing), max(volume.spacing)
    if high > COARSEST or low < FINEST:
        end = f"{high:g} um is coarser than 1 um" if high > COARSEST else f"{low * 1000:g} nm is finer than 0.1 nm"
        advice = 'check the unit: spacing is in um, or write it: "8 nm"'
        yield Problem("warning", f"a voxel of {end}, so the cell is {max(volume.extent):.4g} um long; {advice}")
    thick = thick_axis(volume.spacing)
    if high > MAX_ANISOTROPY * low or (thick is not None and volume.is_labels):
        does = "surfaces will show steps along the long axes, as interpolation is between sections along one axis only"
        if thick is not None:
            does = (
                f"extract interpolates {layers_each(volume.spacing)} layers for each section along {'xyz'[thick]}, see "
                'resample; sections="keep" leaves the steps; what is thinner than a section is guessed'
            )
        yield Problem(
            "warning" if high > MAX_ANISOTROPY * low else "note",
            f"voxels are {high / low:.3g} times longer than wide ({' x '.join(f'{h:g}' for h in volume.spacing)} um): "
            f"{does}",
        )


def _absent(volume: Volume) -> Iterator[Problem]:
    if volume.absent:
        missing = listed([f"{label} {name}" for label, name in volume.absent.items()])
        there = listed([str(label) for label in volume.regions])
        # Where no name fits, the labels are others than was thought: a mask of 0 and 255 called {1: ...}.
        lost = len(volume.absent) == len(volume.names) - 1
        yield Problem(
            "warning" if lost else "note",
            f"names are given for labels that are not there: {missing}; there are {there}: rename, or relabel",
        )


def _coarse(volume: Volume) -> Iterator[Problem]:
    if axis := coarse_axis(volume.spacing):
        yield Problem(
            "note",
            f"the voxels are longest along {axis} ({' x '.join(f'{h:g}' for h in volume.spacing)} um); sections are "
            "usually cut along z: are spacing and data both in the order x, y, z? Volume.from_zyx takes z, y, x",
        )


def _box(volume: Volume) -> Iterator[Problem]:
    reached = voxels.box_faces(volume)
    # All alike, so that the rest of many need no words.
    for label, faces in list(reached.items())[:TOLD]:
        yield Problem(
            "warning",
            f"{name_of(volume.names, label)!r} reaches the box at {', '.join(faces)}: it will be capped there by flat "
            f"walls, the patches {', '.join(repr(f'box {face}') for face in faces)}; pad or crop if it should be whole",
        )
    if len(reached) > TOLD:
        yield Problem("warning", f"{len(reached) - TOLD:,} more regions reach the box")


def _thin(volume: Volume) -> Iterator[Problem]:
    thin = voxels.thin_voxels(volume)
    rows = np.argwhere(thin & (volume.data != 0))
    labels = volume.data[tuple(rows.T)]
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    for label, own in zip(present, np.split(rows[order], first[1:]), strict=False):
        share = len(own) / volume.counts[int(label)]
        # The median may lie beside a thin part; the nearest thin voxel is in one.
        middle = own[np.argmin(np.abs(own - np.median(own, axis=0)).sum(axis=1))]
        yield Problem(
            "warning" if share > MUCH_THIN else "note",
            f"{name_of(volume.names, int(label))!r}: {len(own):,} voxels ({percent(share)}) are in parts thinner "
            f"than two voxels, such as around {_place(volume, middle)}: they may break, and their area and volume are "
            "those of the voxels; smaller voxels help",
            own[:LISTED],
        )


def _pieces(volume: Volume) -> Iterator[Problem]:
    found = voxels.components(volume)
    # One sort, whatever the number of labels.
    order = np.argsort(found.labels, kind="stable")
    labels, first, n_pieces = np.unique(found.labels[order], return_index=True, return_counts=True)
    handles = label_handles(volume, dict(zip(labels.tolist(), n_pieces.tolist(), strict=True)))
    yield from handle_problems({name_of(volume.names, label): n for label, n in handles.items() if n > 0})
    for row in np.flatnonzero((n_pieces > 1) & (labels != 0)):
        own, name = order[first[row] : first[row] + n_pieces[row]], name_of(volume.names, int(labels[row]))
        counts = found.sizes[own]
        islands = own[(counts < ISLAND) & (counts < counts.max())]
        text = f"{name!r} is in {len(own):,} pieces (joined by voxel faces), the largest {sizes(counts)} voxels"
        if len(islands):
            text += (
                f"; {len(islands):,} are islands of fewer than {ISLAND} voxels, such as at "
                f"{_place(volume, found.first[islands[0]])}; remove them, or join them to the rest"
            )
        yield Problem("warning" if len(islands) else "note", text, found.first[islands][:LISTED])
    holes = np.flatnonzero((found.labels == 0) & ~found.touching)
    if len(holes):
        yield Problem(
            "warning",
            f"{len(holes):,} cavities of outside lie within the body, {sizes(found.sizes[holes])} voxels, such as at "
            f"{_place(volume, found.first[holes[0]])}: their walls become membranes; fill them if they are not meant",
            found.first[holes][:LISTED],
        )


def _contacts(volume: Volume) -> Iterator[Problem]:
    contacts = voxels.diagonal_contacts(volume)
    if contacts:
        listed = ", ".join(f"{name_of(volume.names, label)!r} {n:,}" for label, n in list(contacts.items())[:6])
        yield Problem(
            "note",
            f"voxels of one label touch only diagonally, along {sum(contacts.values()):,} edges ({listed}): they count "
            "as separate there",
        )


def _estimate(volume: Volume) -> Problem:
    faces, area = voxels.interface_area(volume)
    parts = layers_each(volume.spacing)
    even = (float(np.prod(volume.spacing)) / parts) ** (1 / 3)
    edge = 2 * even
    if parts > 1:
        faces = round(1.5 * area / even**2)
    body = sum(n for label, n in volume.counts.items() if label != 0) * float(np.prod(volume.spacing))
    tets = TETS_PER_CUBE * body / edge**3
    triangles = TRIANGLES_PER_SQUARE * area / edge**2
    memory = (BYTES_PER_TET * tets + BYTES_PER_VOXEL * volume.data.size * parts + 200 * faces) / 2**30
    minutes = (tets / TETS_PER_SECOND + volume.data.size * parts / VOXELS_PER_SECOND) / 60
    return Problem(
        "note",
        f"to be expected: {_rounded(2 * faces)} triangles as extracted; at an edge of two voxels ({1000 * edge:.3g} "
        f"nm) about {_rounded(triangles)} triangles, at most {_rounded(tets)} tetrahedra, {memory:.2g} GiB and "
        f"{minutes:.2g} minutes on one core; an edge twice as long needs an eighth",
    )


def _shortened(problems: Iterator[Problem], rest: str) -> Iterator[Problem]:
    """Keep the worst of many findings of a kind; hundreds of labels would bury the others."""
    ordered = sorted(problems, key=lambda problem: SEVERITIES.index(problem.severity))
    yield from ordered[:TOLD]
    if len(ordered) > TOLD:
        yield Problem(ordered[TOLD].severity, f"{len(ordered) - TOLD:,} {rest}")


def _place(volume: Volume, voxel: Array) -> str:
    point = np.asarray(volume.origin) + np.asarray(voxel) * np.asarray(volume.spacing)
    return f"({', '.join(f'{x:.4g}' for x in point)}) um"


def _rounded(n: float) -> str:
    return f"{float(f'{n:.2g}'):,.0f}"


# --- models and solutions ---


def _model(model: Model) -> Iterator[Problem]:

    read = {
        reaction.name: {(read_whole(name) or ("", name))[1] for name in reaction.formula.names}
        for reaction in model.reactions
    }
    names = set().union(*read.values())
    changed = {name for reaction in model.reactions for name, by in reaction.change.items() if by != 0}
    for species in model.species:
        if species.name in changed:
            continue
        if species.name in names:
            yield Problem("note", f"species {species.name!r} is read by rates but changed by none: it only diffuses")
        else:
            yield Problem("warning", f"species {species.name!r} takes part in no reaction: it only diffuses")
    idle = [name for name in model.parameters if name not in names]
    if idle:
        yield Problem("warning", f"parameters that no rate uses: {listed(idle)}")
    places = {item.compartment for item in model.species} | {item.compartment for item in model.reactions}
    empty = [name for name in model.compartments if name not in places]
    if empty:
        yield Problem("note", f"compartments without species and reactions: {listed(empty)}")
    plain = [name for name, value in model.parameters.items() if number_and_unit(value, name)[1] is None]
    unchecked = [name for name, used in read.items() if used & set(plain)]
    if unchecked:
        yield Problem(
            "note",
            f"parameters without a unit ({listed(plain)}) are taken in um, s and molecules, and units are not checked "
            f"in the reactions that use them: {listed(unchecked)}",
        )


def _solution(solution: Solution) -> Iterator[Problem]:
    if solution.message:
        yield Problem("error", f"the run was not finished: {solution.message}")
    for name, values in solution.values.items():
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            yield Problem(
                "error", f"{name!r} has {len(bad):,} values that are not finite, from {_moment(solution, bad)}"
            )
            continue
        below = np.argwhere(values < -1e-9 * max(np.abs(values).max(initial=0), 1e-300))
        if len(below):
            yield Problem(
                "warning",
                f"{name!r} is negative at {len(below):,} nodes and times, down to {values.min():.3g}, from "
                f"{_moment(solution, below)}; a smaller rtol or a finer mesh helps, unless the model makes it so",
                solution.nodes[name][np.unique(below[:, 1])][: 0 if _is_pool(solution, name) else LISTED],
            )
    drift = solution.stats.get("mass_drift")
    if isinstance(drift, (int, float)) and drift > MAX_DRIFT:
        yield Problem("warning", f"conserved totals drifted by {drift:.2g} of themselves; report this run")


def _is_pool(solution: Solution, name: str) -> bool:
    return any(item.name == name and isinstance(item, Pool) for item in solution.model.species)


def _moment(solution: Solution, rows: Array) -> str:
    time = solution.times[rows[0, 0]]
    return f"t = {time:.4g} s on"


@dataclass(frozen=True, eq=False)
class Report:
    """What `check` found; `print` it.

    Parameters
    ----------
    subject : str
        What was looked at.
    problems : tuple of Problem
        Errors first, then warnings, then notes.
    fidelity : Fidelity, optional
        What `check(mesh, against=labels)` measured.
    """

    subject: str
    problems: tuple[Problem, ...]
    fidelity: Fidelity | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not any(problem.severity == "error" for problem in self.problems)

    def __str__(self) -> str:
        counts = {kind: sum(problem.severity == kind for problem in self.problems) for kind in SEVERITIES}
        found = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n)
        verdict = (
            "mend the errors first" if not self.ok else "read the warnings first" if counts["warning"] else "ready"
        )
        table = [] if self.fidelity is None else [str(self.fidelity)]
        return "\n".join(
            [self.subject, *table, *map(str, self.problems), f"  => {verdict} ({found or 'nothing found'})"]
        )

    def __repr__(self) -> str:
        return str(self)
