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
    ARCHIVE_READERS,
    MESH_READERS,
    VOLUME_READERS,
    Thing,
    check_regions,
    check_there,
    ending_of,
    misfit_of,
    read,
    scaled,
    targets_of,
    write,
)
from meshcell.formats.npz import notes_in, read_arrays, thing_in
from meshcell.formats.volumes.pictures import no_choice
from meshcell.formats.volumes.tilts import load_tilts, save_tilts
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
    path: str | Path,
    *,
    spacing: Any = None,
    names: Mapping[int, str] | None = None,
    dataset: str | None = None,
    kind: str | None = None,
    unit: Any = None,
    regions: str | bool | None = None,
) -> Volume | Surface | TetMesh | Solution | Sample | TiltSeries:
    """Read a volume, surface, mesh, solution or tilt series by the ending of the file's name, a sample by its folder.

    Parameters
    ----------
    path : str or Path
    spacing : float, text, or three of them along x, y, z; um
        Voxel size of a volume; wins over the file's. Needed where the file does not tell one: it is never taken as 1.
    names : dict[int, str]
        Label -> region name; wins over the file's. For a closed body without regions, one entry gives its label, too.
    dataset : str
        Which array of an `.h5` or `.npz` file is the volume, by its name or the last part of it. Without it, the only
        one or, beside grey values (called so, or floating), the only labels: CREMI, PlantSeg, NeuroProof, whose
        supervoxels are put together to bodies. Else the arrays are listed.
    kind : str
        What the voxels are, "labels" or "intensities". Without it whole numbers are labels, unless some are below 0 or
        the array is called "raw", "image" and the like: then they are intensities, with a warning.

    unit : text, or a length in um
        Of the points of a surface or mesh, such as "nm"; um if not given. Formats do not tell it.
    regions : str or False
        Which array of the cells of a foreign surface or mesh holds the regions; False takes all cells as one.

    Returns
    -------
    Volume, Surface, TetMesh, Solution, Sample or TiltSeries

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        `FileError`: an unknown ending, a damaged or truncated file, one that promises more than it holds, several
        arrays of which none was chosen, no voxel size or one that no microscope has.

    Notes
    -----
    Volumes: `.npz` (ours; foreign ones along x, y, z with `spacing_um`, `origin_um`, `names` as JSON text), `.npy` (x,
    y, z; needs `spacing`), `.tif` (ImageJ: x and y from the resolution tags, z from `spacing`; OME: PhysicalSize; pages
    written one by one are planes; LZW, zstd and others through imagecodecs), `.mrc .rec .map .ccp4` (MRC2014: cell /
    sampling, in A; origin, else `nxstart`; IMOD's unsigned bytes; also `.gz`), `.h5 .hdf5` (arrays along z, y, x or as
    `axistags` say; voxel size in `element_size_um` along z, y, x, or `spacing_um`, `spacing`, `resolution` (nm),
    `voxel_size` in the array's order, with `units` where they are told; virtual and linked arrays), `.nrrd .nhdr` (3D
    Slicer's `.seg.nrrd`: segments are labels with their names). Pages of TIFF and sections of MRC are z. Whole numbers
    are labels; what looks like grey values, sizes of a millimetre and the like, a coarse axis that is not z, and names
    of labels that are not there are warnings or questions.

    Labels of other programs: Cellpose's `_seg.npy` (its masks; files that could run code are refused) and its
    `_cp_masks.tif` or `.png`; pictures with a table of colours (`.png`, `.tif`: its indices); StarDist's TIFF stacks;
    nnU-Net's `.nii.gz` (NIfTI-1; names from a dataset.json in the same folder or the one above); ilastik's HDF5:
    segmentations and object identities as they are, probabilities as the most probable label, counted from 1 as ilastik
    does.

    Tilt series: `.st .ali .mrcs` as in `io.tilts.load_tilts`.

    Surfaces: `.ply .vtp .obj` with sides if they are ours (or OBJ groups called behind|front, or VTK's BoundaryLabels).
    Else one closed body, label 1 under the file's name, turned outward; several OBJ objects, STL solids or labels of
    triangles become regions, each in front of the body around it, open parts that close one body together its patches.
    Points of STL at the same place become one.

    Further surfaces: `.off .vtk`, and the scenes `.glb .gltf .3mf .dae`, whose objects are taken like those of OBJ.

    Meshes: `.vtu .xdmf .msh .vtk .mesh .inp`, and TetGen's `.node .ele .face` by one of the first two names. In foreign
    ones the region is an integer array such as `region` or `gmsh:physical` (asked for where several could be) or a set,
    the interfaces follow from the regions, and groups or tags of triangles become patches unless they are called
    behind|front.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.mkdtemp()
    >>> save(f"{folder}/cube.npz", Volume(np.ones((3, 4, 5), np.uint8), "8 nm", names={1: "cytosol"}))
    >>> load(f"{folder}/cube.npz").regions
    {1: 'cytosol'}
    """
    require(path, (str, PathLike), "load(path)")
    path = Path(path).expanduser()
    if (path / "recipe.toml").exists():
        with reading(path, "a sample's folder"):
            return read_sample(path)
    if path.suffix.lower() in TILTS:
        no_choice(path, "images", dataset, kind if kind != "intensities" else None)
        return load_tilts(path, spacing=spacing)
    ending = ending_of(path, [".npz", ".pvd", *VOLUME_READERS, *ARCHIVE_READERS, *MESH_READERS, *TILTS])
    check_there(path)
    check_regions(path, ending, regions)
    if ending == ".pvd":
        raise FileError(f"{path} lists pictures for ParaView, not the whole solution; load the .npz saved with it")
    thing: Thing | Solution
    if ending == ".npz":
        with reading(path, "a NumPy archive"):
            arrays = read_arrays(path)
            notes = notes_in(path, arrays, "Solution", spacing)
            if notes:
                no_choice(path, "a Solution", dataset, kind)
            if notes and unit is not None:
                raise FileError(f"{path}: unit= is for surfaces and meshes; a solution is in um; leave it out")
            own = None if notes else thing_in(path, arrays, spacing, names, dataset, kind)
            thing = solution_in(path, arrays, notes) if own is None else scaled(path, own, unit)
    else:
        thing = read(path, spacing, names, dataset, kind, unit=unit, regions=regions)
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
    float32), `.ome.tif` (integers up to 32 bits, float32, float64), `.nrrd` (all but float16; labels as segments of 3D
    Slicer) and `.mrc` (int8, int16, uint16, float16, float32) where their types hold every value; `load` restores the
    type itself.

    For surfaces `.ply .vtp .vtk .obj`; `.stl .off` hold one closed body: its corners and name come back, in `.stl` its
    label becomes 1 and its points are numbered anew; `.glb .3mf` hold interfaces by name, and no patches.

    For meshes `.vtu .vtk .xdmf .msh .mesh .inp .ele`; in `.msh .mesh .inp` every facet belongs to one group, as dolfinx
    wants it: its patch ("A + B" where they overlap), else its interface "behind|front". `a.xdmf` keeps its arrays in
    `a.dolfinx.h5`; `a.dolfinx.xdmf` shows them as a mesh with cell_tags and facet_tags.

    Solutions: `.npz`, or `.pvd` for ParaView: an index of one VTU (regions) and one VTP (interfaces) per time in the
    folder of the same name. Concentrations in molecules/um^3 and molecules/um^2, NaN where a species does not live.

    Tilt series: `.st .ali .mrcs .mrc`, with the angles in a `.tlt` file beside it.

    Samples: a folder with density, labels and instances as MRC, motifs as CSV (exact) and RELION STAR, surfaces and
    centrelines as VTP, the report, and the recipe with its seed as TOML.
    """
    require(path, (str, PathLike), "save(path, thing)", thing)
    path = Path(path).expanduser()
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
