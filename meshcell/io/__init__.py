"""Files in and out: label and intensity volumes, surfaces, tetrahedral meshes and solutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meshcell.io.archives import read_npz, write_npz
from meshcell.io.files import FileError, log, reading
from meshcell.io.gmsh import read_msh, write_msh
from meshcell.io.hdf5 import read_hdf5, write_hdf5
from meshcell.io.ply import read_ply, write_ply
from meshcell.io.segmenters import read_cellpose, read_nifti, read_png
from meshcell.io.stl_obj import read_obj, read_stl, write_obj, write_stl
from meshcell.io.tiff import read_tiff, write_imagej, write_ome
from meshcell.io.tilts import load_tilts, save_tilts
from meshcell.io.volumes import Picture, read_mrc, read_npy, to_volume, write_mrc
from meshcell.io.vtk import check_replaceable, read_vtp, read_vtu, write_pvd, write_vtp, write_vtu
from meshcell.io.xdmf import companion, read_xdmf, write_xdmf
from meshcell.types import Sample, Solution, Surface, TetMesh, TiltSeries, Volume

__all__ = ["FileError", "load", "save"]

Thing = Volume | Surface | TetMesh | Solution

# Longer endings first, so that .ome.tif is not taken for .tif.
VOLUME_READERS: dict[str, tuple[str, Callable[[Path], Picture]]] = {
    ".ome.tiff": ("an OME-TIFF stack", read_tiff),
    ".ome.tif": ("an OME-TIFF stack", read_tiff),
    ".tiff": ("a TIFF stack", read_tiff),
    ".tif": ("a TIFF stack", read_tiff),
    ".nii.gz": ("a NIfTI-1 volume", read_nifti),
    ".nii": ("a NIfTI-1 volume", read_nifti),
    "_seg.npy": ("masks of Cellpose", read_cellpose),
    ".npy": ("a NumPy array", read_npy),
    ".png": ("a picture", read_png),
    ".mrc": ("an MRC2014 volume", read_mrc),
    ".rec": ("an MRC2014 volume", read_mrc),
    ".map": ("an MRC2014 volume", read_mrc),
    ".hdf5": ("an HDF5 file with one volume", read_hdf5),
    ".h5": ("an HDF5 file with one volume", read_hdf5),
}
MESH_READERS: dict[str, tuple[str, Callable[[Path, Mapping[int, str] | None], Surface | TetMesh]]] = {
    ".ply": ("a PLY surface", read_ply),
    ".stl": ("an STL surface", read_stl),
    ".obj": ("an OBJ surface", read_obj),
    ".vtp": ("a VTK surface", read_vtp),
    ".vtu": ("a VTK mesh of tetrahedra", read_vtu),
    ".xdmf": ("an XDMF mesh of tetrahedra", read_xdmf),
    ".msh": ("a Gmsh mesh of tetrahedra", read_msh),
}
# Stacks of images, one for every angle of a tilt series.
TILTS = (".st", ".ali", ".mrcs")
WRITERS: dict[str, tuple[type, Callable[[Path, Any], None]]] = {
    ".ome.tiff": (Volume, write_ome),
    ".ome.tif": (Volume, write_ome),
    ".tiff": (Volume, write_imagej),
    ".tif": (Volume, write_imagej),
    ".mrc": (Volume, write_mrc),
    ".rec": (Volume, write_mrc),
    ".map": (Volume, write_mrc),
    ".hdf5": (Volume, write_hdf5),
    ".h5": (Volume, write_hdf5),
    ".ply": (Surface, write_ply),
    ".stl": (Surface, write_stl),
    ".obj": (Surface, write_obj),
    ".vtp": (Surface, write_vtp),
    ".vtu": (TetMesh, write_vtu),
    ".xdmf": (TetMesh, write_xdmf),
    ".msh": (TetMesh, write_msh),
    ".pvd": (Solution, write_pvd),
}


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
    path = Path(path)
    if (path / "recipe.toml").exists():
        from meshcell.phantoms.sample_files import read_sample

        with reading(path, "a sample's folder"):
            return read_sample(path)
    if path.suffix.lower() in TILTS:
        return load_tilts(path, spacing=spacing)
    ending = _ending(path, [".npz", ".pvd", *VOLUME_READERS, *MESH_READERS, *TILTS])
    if not path.exists():
        raise FileNotFoundError(f"{path} should be a file; there is none; check the name and the folder {path.parent}")
    if not path.is_file() or path.stat().st_size == 0:
        raise FileError(f"{path} should be a file with content; it is {'empty' if path.is_file() else 'a folder'}")
    thing: Thing
    if ending == ".pvd":
        raise FileError(f"{path} lists pictures for ParaView, not the whole solution; load the .npz saved with it")
    if ending == ".npz":
        with reading(path, "a NumPy archive"):
            thing = read_npz(path, spacing, names)
    elif ending in VOLUME_READERS:
        expected, read_picture = VOLUME_READERS[ending]
        with reading(path, expected):
            thing = to_volume(path, read_picture(path), spacing, names)
    else:
        if spacing is not None:
            raise FileError(f"{path}: spacing= is for volumes; a {ending} file has points in um; leave it out")
        expected, read_mesh = MESH_READERS[ending]
        with reading(path, expected):
            thing = read_mesh(path, names)
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
    path = Path(path)
    if isinstance(thing, Sample):
        _save_sample(path, thing, overwrite)
        return
    if isinstance(thing, TiltSeries):
        _ending(path, [*TILTS, ".mrc"])
        save_tilts(path, thing, overwrite=overwrite)
        return
    if not isinstance(thing, (Volume, Surface, TetMesh, Solution)):
        kinds = "a Volume, Surface, TetMesh, Solution, Sample or TiltSeries"
        raise TypeError(f"thing should be {kinds}; got {type(thing).__name__}")
    ending = _ending(path, [".npz", *WRITERS, ".npy"])
    kind, write = (type(thing), write_npz) if ending == ".npz" else WRITERS.get(ending, (None, write_npz))
    if not isinstance(thing, kind or ()):
        raise FileError(f"{path} cannot be written: {_misfit(ending, thing)}")
    if not overwrite:
        for target in _targets(path, ending):
            if target.exists():
                raise FileExistsError(f"{target} exists already; give overwrite=True to replace it, or another name")
    if path.is_dir():
        raise FileError(f"{path} should be the name of a file; it is a folder")
    if ending == ".pvd":
        check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, thing)
    log.info("saved %s: %s, %.4g MB", path, _summary(thing), path.stat().st_size / 1e6)


def _save_sample(folder: Path, sample: Sample, overwrite: bool) -> None:
    from meshcell.phantoms.sample_files import write_sample

    whole = (folder / "recipe.toml").exists()
    if folder.exists() and not (overwrite and whole):
        advice = "give overwrite=True to replace it, or another name" if whole else "it is no sample: give another name"
        raise FileExistsError(f"{folder} exists already; {advice}")
    write_sample(folder, sample)
    log.info("saved %s: %d units", folder, len(sample.motifs))


def _ending(path: Path, known: list[str]) -> str:
    name = path.name.lower()
    for ending in sorted(known, key=len, reverse=True):
        if name.endswith(ending):
            return ending
    raise FileError(
        f"{path} should end in one of {', '.join(sorted(set(known)))}; got {path.suffix or 'no ending'!r}; "
        "rename or convert it"
    )


def _misfit(ending: str, thing: Thing) -> str:
    own = [".npz", *(other for other, (kind, _) in WRITERS.items() if isinstance(thing, kind))]
    advice = f"a {type(thing).__name__} is written as {', '.join(own)}"
    if ending == ".npy":
        return f"an .npy file loses the voxel size; {advice}, or np.save(path, volume.data) if the bare array is wanted"
    if isinstance(thing, TetMesh) and WRITERS[ending][0] is Surface:
        return f"{ending} holds surfaces; {advice}, or give mesh.surface"
    return f"{ending} holds a {WRITERS[ending][0].__name__}; {advice}"


def _targets(path: Path, ending: str) -> list[Path]:
    beside = {".xdmf": [companion(path)], ".pvd": [path.with_suffix("")]}
    return [path, *beside.get(ending, [])]


def _summary(thing: Thing) -> str:
    if isinstance(thing, Volume):
        return f"{' x '.join(map(str, thing.data.shape))} voxels, {thing.data.dtype}, of {thing.spacing} um"
    if isinstance(thing, Surface):
        return f"{len(thing.points):,} points, {len(thing.triangles):,} triangles"
    if isinstance(thing, TetMesh):
        return f"{len(thing.points):,} points, {len(thing.tets):,} tetrahedra, {len(thing.facets):,} facets"
    return f"{len(thing.values)} species at {len(thing.times)} times"
