"""Files in and out: label and intensity volumes, surfaces, tetrahedral meshes and solutions."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core.files import FileError, log, reading
from meshcell.core.hints import require
from meshcell.core.types import Surface, TetMesh, TiltSeries, Volume
from meshcell.formats import endings
from meshcell.formats.endings import (
    MESH_READERS,
    VOLUME_READERS,
    Thing,
    check_there,
    ending_of,
    misfit_of,
    read,
    targets_of,
    write,
)
from meshcell.formats.npz import notes_in, read_arrays, thing_in
from meshcell.formats.tilts import load_tilts, save_tilts
from meshcell.io.solutions import solution_in, write_solution
from meshcell.io.time_series import check_replaceable, write_pvd
from meshcell.models.solutions import Solution
from meshcell.phantoms.crowds.sample_files import read_sample, write_sample
from meshcell.phantoms.crowds.samples import Sample

__all__ = ["FileError", "load", "save"]

WRITERS = {**endings.WRITERS, ".pvd": (Solution, write_pvd)}
# Stacks of images, one for every angle of a tilt series.
TILTS = (".st", ".ali", ".mrcs")


def load(
    path: str | Path, *, spacing: Any = None, names: Mapping[int, str] | None = None
) -> Volume | Surface | TetMesh | Solution | Sample | TiltSeries:
    """Read a volume, surface, mesh, solution or tilt series by the ending of the file's name, a sample by its folder.

    Parameters
    ----------
    path : str or Path
    spacing : float, text, or three of them along x, y, z; um
        Voxel size of a volume; wins over the file's. Needed where the file does not tell one: it is never taken as 1.
    names : dict[int, str]
        Label -> region name; wins over the file's. For a closed body without regions, one entry gives its label, too.

    Returns
    -------
    Volume, Surface, TetMesh, Solution, Sample or TiltSeries

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        `FileError`: an unknown ending, a damaged or truncated file, one that promises more than it holds, no voxel
        size.

    Notes
    -----
    Volumes: `.npz` (ours; foreign ones with `labels`, `data` or `volume` along x, y, z, and `spacing_um`, `origin_um`,
    `names` as JSON text), `.npy` (x, y, z; needs `spacing`), `.tif` (ImageJ: x and y from the resolution tags, z from
    `spacing`; OME: PhysicalSize), `.mrc .rec .map` (MRC2014: cell / sampling, in A), `.h5 .hdf5` (arrays along z, y, x
    or as `axistags` say; voxel size in `element_size_um` along z, y, x, or `spacing_um`, `spacing`, `resolution` (nm)
    in the array's order). Pages of TIFF and sections of MRC are z.

    Labels of other programs: Cellpose's `_seg.npy` (its masks; files that could run code are refused) and its
    `_cp_masks.tif` or `.png`; StarDist's TIFF stacks; nnU-Net's `.nii.gz` (NIfTI-1; names from a dataset.json in the
    same folder or the one above); ilastik's HDF5: segmentations and object identities as they are, probabilities as the
    most probable label, counted from 1 as ilastik does.

    Tilt series: `.st .ali .mrcs` as in `io.tilts.load_tilts`.

    Surfaces: `.ply .vtp .obj` with sides if they are ours (or OBJ groups called behind|front), else one closed body,
    label 1 under the file's name, turned outward; `.stl` is always one body, points at the same place become one.

    Meshes: `.vtu .xdmf .msh`; in foreign ones the region is an integer array such as `region` or `gmsh:physical`, the
    interfaces follow from the regions, and groups of triangles become patches unless they are called behind|front.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> save(f"{folder}/cube.npz", Volume(np.ones((3, 4, 5), np.uint8), "8 nm", names={1: "cytosol"}))
    >>> load(f"{folder}/cube.npz").regions
    {1: 'cytosol'}
    """
    require(path, (str, PathLike), "load(path)")
    path = Path(path)
    if (path / "recipe.toml").exists():
        with reading(path, "a sample's folder"):
            return read_sample(path)
    if path.suffix.lower() in TILTS:
        return load_tilts(path, spacing=spacing)
    ending = ending_of(path, [".npz", ".pvd", *VOLUME_READERS, *MESH_READERS, *TILTS])
    check_there(path)
    if ending == ".pvd":
        raise FileError(f"{path} lists pictures for ParaView, not the whole solution; load the .npz saved with it")
    thing: Thing | Solution
    if ending == ".npz":
        with reading(path, "a NumPy archive"):
            arrays = read_arrays(path)
            notes = notes_in(path, arrays, "Solution", spacing)
            thing = solution_in(path, arrays, notes) if notes else thing_in(path, arrays, spacing, names)
    else:
        thing = read(path, spacing, names)
    log.info("loaded %s: %s", path, _summary(thing))
    return thing


def save(
    path: str | Path,
    thing: Volume | Surface | TetMesh | Solution | Sample | TiltSeries,
    *,
    overwrite: bool = False,
) -> None:
    """Write a volume, surface, mesh, solution or tilt series by the ending of the file's name, a sample as a folder.

    The file appears whole or not at all; what a format cannot hold is refused, never lost. A missing folder is made.

    Parameters
    ----------
    path : str or Path
    thing : Volume, Surface, TetMesh, Solution, Sample or TiltSeries
    overwrite : bool
        Replace what is there.

    Raises
    ------
    FileExistsError
        The file is there already.
    ValueError
        `FileError`: an unknown ending, or one for another kind of thing, or a thing that the format cannot hold.
    TypeError
        Not one of our types.

    Notes
    -----
    `.npz` holds everything exactly; `load` brings it back. So do, for volumes, `.h5`, `.tif` (ImageJ: uint8, uint16,
    float32), `.ome.tif` (integers up to 32 bits, float32, float64) and `.mrc` (int8, int16, uint16, float16, float32)
    where their types hold every value; `load` restores the type itself. For surfaces `.ply .vtp .obj`; `.stl` holds one
    closed body: its corners and name come back, its label becomes 1, its points are numbered anew. For meshes
    `.vtu .xdmf .msh`; in `.msh` every facet belongs to one physical group, as dolfinx wants it: its patch ("A + B"
    where they overlap), else its interface "behind|front". `.xdmf` keeps its arrays in an `.xdmf.h5` file beside it.

    Solutions: `.npz`, or `.pvd` for ParaView: an index of one VTU (regions) and one VTP (interfaces) per time in the
    folder of the same name. Concentrations in molecules/um^3 and molecules/um^2, NaN where a species does not live.

    Tilt series: `.st .ali .mrcs .mrc`, with the angles in a `.tlt` file beside it.

    Samples: a folder with density, labels and instances as MRC, motifs as CSV (exact) and RELION STAR, surfaces and
    centrelines as VTP, the report, and the recipe with its seed as TOML.
    """
    require(path, (str, PathLike), "save(path, thing)", thing)
    path = Path(path)
    if isinstance(thing, Sample):
        _save_sample(path, thing, overwrite)
        return
    if isinstance(thing, TiltSeries):
        ending_of(path, [*TILTS, ".mrc"])
        save_tilts(path, thing, overwrite=overwrite)
        return
    require(thing, (Volume, Surface, TetMesh, Solution, Sample, TiltSeries), "save(path, thing)")
    ending = ending_of(path, [".npz", *WRITERS, ".npy"])
    kind = type(thing) if ending == ".npz" else WRITERS.get(ending, (None, None))[0]
    if not isinstance(thing, kind or ()):
        raise FileError(f"{path} cannot be written: {misfit_of(ending, thing, WRITERS)}")
    if not overwrite:
        for target in targets_of(path, ending):
            if target.exists():
                raise FileExistsError(f"{target} exists already; give overwrite=True to replace it, or another name")
    if ending == ".pvd":
        check_replaceable(path)
    if not isinstance(thing, Solution):
        write(path, thing)
    else:
        if path.is_dir():
            raise FileError(f"{path} should be the name of a file; it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        (write_pvd if ending == ".pvd" else write_solution)(path, thing)
    log.info("saved %s: %s, %.4g MB", path, _summary(thing), path.stat().st_size / 1e6)


def _save_sample(folder: Path, sample: Sample, overwrite: bool) -> None:
    whole = (folder / "recipe.toml").exists()
    if folder.exists() and not (overwrite and whole):
        advice = "give overwrite=True to replace it, or another name" if whole else "it is no sample: give another name"
        raise FileExistsError(f"{folder} exists already; {advice}")
    write_sample(folder, sample)
    log.info("saved %s: %d units", folder, len(sample.motifs))


def _summary(thing: Thing | Solution) -> str:
    if isinstance(thing, Volume):
        return f"{' x '.join(map(str, thing.data.shape))} voxels, {thing.data.dtype}, of {thing.spacing} um"
    if isinstance(thing, Surface):
        return f"{len(thing.points):,} points, {len(thing.triangles):,} triangles"
    if isinstance(thing, TetMesh):
        return f"{len(thing.points):,} points, {len(thing.tets):,} tetrahedra, {len(thing.facets):,} facets"
    return f"{len(thing.values)} species at {len(thing.times)} times"
