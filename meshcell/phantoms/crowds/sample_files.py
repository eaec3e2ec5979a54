"""Samples as folders: volumes as MRC, motifs as CSV and STAR, surfaces and centrelines as VTP, the recipe as TOML."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.files import FileError, replacing, replacing_folder, tagged, truncated, untagged
from meshcell.core.types import Surface, Volume
from meshcell.formats.endings import read, write
from meshcell.formats.vtk_xml import read_vtk, write_vtk
from meshcell.phantoms.crowds.motifs import MOTIF
from meshcell.phantoms.crowds.quantities import Reached
from meshcell.phantoms.crowds.recipes import Recipe, from_toml, to_toml
from meshcell.phantoms.crowds.samples import Sample

COLUMNS = ("species", "instance", "chain", "host", "voxels", "x", "y", "z", "qw", "qx", "qy", "qz")
ANGSTROM = 1e-4  # um
# Whole numbers up to this are exact in 32-bit floats, the only MRC type for instances beyond 16 bits.
EXACT = 2**24


def write_sample(folder: Path, sample: Sample) -> None:
    """Write a sample into a new folder, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder) as fresh:
        write(fresh / "density.mrc", sample.density)
        write(fresh / "labels.mrc", sample.labels)
        write(fresh / "instances.mrc", _storable(sample.instances))
        write_csv(fresh / "motifs.csv", sample.motifs)
        write_star(fresh / "motifs.star", sample)
        for row, (name, surface) in enumerate(sample.surfaces.items()):
            write(fresh / "surfaces" / f"{row:04d}.vtp", surface)
            (fresh / "surfaces" / f"{row:04d}.txt").write_text(name, encoding="utf-8")
        write_lines(fresh / "centrelines.vtp", sample.centrelines)
        for name, thing in _parts(sample.recipe):
            write(fresh / name, thing)
        report = [vars(row) for row in sample.report]
        (fresh / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        # Last: a folder with a recipe is a whole sample.
        (fresh / "recipe.toml").write_text(to_toml(sample.recipe), encoding="utf-8")


def _storable(instances: Volume) -> Volume:
    """Return instances in a type that MRC has."""
    last = int(instances.data.max())
    if last >= EXACT:
        raise FileError(
            f"instances.mrc cannot be written: it holds numbers up to {EXACT}; got {last}; split the sample"
        )
    dtype: Any = np.uint16 if last <= np.iinfo(np.uint16).max else np.float32
    return Volume(instances.data.astype(dtype), instances.spacing, instances.origin)


def _parts(recipe: Recipe) -> Iterator[tuple[str, Volume | Surface]]:
    """Yield the volumes and surfaces that a recipe's TOML names as files."""
    if recipe.within is not None:
        yield "within.npz", recipe.within
    members = [member for molecules in recipe.macromolecules for member in molecules.members]
    named = [(membrane.name, getattr(membrane, "surface", None)) for membrane in recipe.membranes]
    for name, thing in named + [(member.name, member.density) for member in members]:
        if isinstance(thing, (Volume, Surface)):
            yield f"{name}.npz", thing


def read_sample(folder: Path) -> Sample:
    """Read what `write_sample` wrote.

    Raises
    ------
    ValueError
        `FileError`: no recipe in it, or a table that does not fit the instances.
    """
    if not (folder / "recipe.toml").exists():
        raise FileError(f"{folder} should be a sample's folder; it has no recipe.toml; give a file or another folder")
    recipe = from_toml((folder / "recipe.toml").read_text(encoding="utf-8"), folder)
    density, labels, instances = (
        read(folder / f"{name}.mrc", spacing=recipe.spacing) for name in ("density", "labels", "instances")
    )
    assert isinstance(density, Volume) and isinstance(labels, Volume) and isinstance(instances, Volume)
    motifs = read_csv(folder / "motifs.csv")
    if int(instances.data.max()) > len(motifs):
        truncated(folder / "motifs.csv", f"{int(instances.data.max())} instances", f"it has {len(motifs)} rows")
    surfaces: dict[str, Any] = {
        path.with_suffix(".txt").read_text(encoding="utf-8"): read(path)
        for path in sorted((folder / "surfaces").glob("*.vtp"))
    }
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Sample(
        density=density,
        labels=labels,
        instances=Volume(instances.data.astype(np.int32), instances.spacing, instances.origin),
        motifs=motifs,
        surfaces=surfaces,
        centrelines=read_lines(folder / "centrelines.vtp"),
        recipe=recipe,
        report=tuple(Reached(**row) for row in report),
    )


# --- motifs ---


def write_csv(path: Path, motifs: Array) -> None:
    """Write one line per unit, numbers so that they come back exactly; positions in um."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in motifs:
            place = [repr(float(v)) for v in (*row["position"], *row["quaternion"])]
            writer.writerow([*(row[key] for key in COLUMNS[:5]), *place])


def read_csv(path: Path) -> Array:
    """Read a motif table."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    if tuple(header) != COLUMNS:
        raise FileError(f"{path} should have the columns {', '.join(COLUMNS)}; got {', '.join(header)}")
    motifs = np.zeros(len(lines), MOTIF)
    for row, line in enumerate(lines):
        numbers = [float(v) for v in line[5:]]
        motifs[row] = (line[0], *(int(v) for v in line[1:5]), numbers[:3], numbers[3:])
    return motifs


def star_angles(quaternions: Floats) -> Floats:
    """Return RELION's (n, 3) rot, tilt, psi in degrees: intrinsic Z, Y, Z that turn the particle to its reference.

    Source
    ------
    The convention that RELION names as its own: J. B. Heymann and others, J. Struct. Biol. 151 (2005), p. 196.
    """
    from scipy.spatial.transform import Rotation

    if len(quaternions) == 0:
        return np.zeros((0, 3))
    turns = Rotation.from_quat(quaternions, scalar_first=True)
    return np.asarray(turns.inv().as_euler("ZYZ", degrees=True, suppress_warnings=True))


def write_star(path: Path, sample: Sample) -> None:
    """Write RELION's optics and particles blocks: coordinates in voxels from the first one, origin of the map at 0."""
    spacing = np.array(sample.labels.spacing)
    places = (sample.motifs["position"] - sample.labels.origin) / spacing
    angles = star_angles(sample.motifs["quaternion"])
    pixel = float(spacing.min()) / ANGSTROM
    head = ["", "data_optics", "", "loop_", "_rlnOpticsGroup #1", "_rlnOpticsGroupName #2", "_rlnImagePixelSize #3"]
    head += [f"1 opticsGroup1 {pixel:.6f}", "", "data_particles", "", "loop_"]
    columns = ("TomoName", "CoordinateX", "CoordinateY", "CoordinateZ", "AngleRot", "AngleTilt", "AnglePsi",
               "ClassNumber", "OpticsGroup", "HelicalTubeID", "ObjectName")  # fmt: skip
    head += [f"_rln{name} #{k}" for k, name in enumerate(columns, start=1)]
    label = {name: number for number, name in sample.labels.names.items()}
    rows = [
        " ".join(
            [path.parent.name if not path.parent.name.startswith(".") else "sample",
             *(f"{v:.4f}" for v in (*place, *turn)), str(label.get(str(row["species"]), 0)), "1",
             str(row["chain"]), str(row["species"]).replace(" ", "_")]
        )
        for row, place, turn in zip(sample.motifs, places, angles, strict=True)
    ]  # fmt: skip
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


# --- centrelines ---


def write_lines(path: Path, lines: dict[str, Floats]) -> None:
    """Write polylines as one VTP; their names travel as a text beside the numbers."""
    lengths = [len(line) for line in lines.values()]
    points = np.concatenate([np.zeros((0, 3)), *lines.values()])
    counts = {"NumberOfPoints": len(points), "NumberOfVerts": 0, "NumberOfLines": len(lines), "NumberOfStrips": 0}
    counts["NumberOfPolys"] = 0
    cells: dict[str, Any] = {"connectivity": np.arange(len(points)), "offsets": np.cumsum(lengths, dtype=np.int64)}
    sections: dict[str, Any] = {"PointData": {}, "CellData": {"line": np.arange(len(lines))}}
    sections |= {"Points": {"Points": points}, "Lines": cells}
    write_vtk(path, "PolyData", counts, sections, {"meshcell": tagged("Lines", names=list(lines))})


def read_lines(path: Path) -> dict[str, Floats]:
    """Read what `write_lines` wrote."""
    piece = read_vtk(path, "PolyData")
    names = untagged(piece.texts.get("meshcell"), "Lines").get("names", [])
    if not names:
        return {}
    points = piece.sections["Points"]["Points"]
    ends = np.asarray(piece.sections["Lines"]["offsets"])
    if len(ends) != len(names) or (len(ends) and ends[-1] != len(points)):
        truncated(path, f"{len(names)} lines", f"it has {len(ends)} with {len(points)} points")
    return dict(zip(names, np.split(points, ends[:-1]), strict=True))
