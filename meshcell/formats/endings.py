"""Which format belongs to which ending of a file's name; a new format is a row here."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.files import FileError, naming, reading
from meshcell.core.measures import odd_extent
from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.core.units import convert
from meshcell.core.validation import checked_names
from meshcell.formats.cell_arrays import Choice, mention_absent
from meshcell.formats.exchange.abaqus import read_abaqus, write_abaqus
from meshcell.formats.exchange.legacy_vtk import read_legacy_vtk, write_legacy_vtk
from meshcell.formats.exchange.medit import read_medit, write_medit
from meshcell.formats.exchange.off import read_off, write_off
from meshcell.formats.exchange.scenes import read_scene, scene_unit, write_3mf, write_glb
from meshcell.formats.exchange.tetgen import read_tetgen, tetgen_files, write_tetgen
from meshcell.formats.gmsh import read_msh, write_msh
from meshcell.formats.npz import read_npz, write_npz
from meshcell.formats.ply import read_ply, write_ply
from meshcell.formats.stl_obj import read_obj, read_stl, write_obj, write_stl
from meshcell.formats.volumes.cellpose import read_cellpose
from meshcell.formats.volumes.hdf5 import read_hdf5, write_hdf5
from meshcell.formats.volumes.mrc import read_mrc, write_mrc
from meshcell.formats.volumes.nifti import read_nifti
from meshcell.formats.volumes.npy import read_npy
from meshcell.formats.volumes.nrrd import read_nrrd, write_nrrd
from meshcell.formats.volumes.pictures import Picture, checked_kind, no_choice, to_volume
from meshcell.formats.volumes.png import read_png
from meshcell.formats.volumes.tiff import read_tiff, write_imagej, write_ome
from meshcell.formats.vtk import read_vtp, read_vtu, write_vtp, write_vtu
from meshcell.formats.xdmf import companion, dolfinx_index, read_xdmf, write_xdmf

Thing = Volume | Surface | TetMesh

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
    ".nrrd": ("an NRRD volume", read_nrrd),
    ".nhdr": ("an NRRD volume", read_nrrd),
    **dict.fromkeys((".mrc", ".rec", ".map", ".ccp4"), ("an MRC2014 volume", read_mrc)),
    **dict.fromkeys((".mrc.gz", ".rec.gz", ".map.gz", ".ccp4.gz"), ("a packed MRC2014 volume", read_mrc)),
}

# Files of several arrays, of which one is chosen.
ARCHIVE_READERS: dict[str, tuple[str, Callable[[Path, str | None, str | None], Picture]]] = {
    ".hdf5": ("an HDF5 file with a volume", read_hdf5),
    ".h5": ("an HDF5 file with a volume", read_hdf5),
}

# Readers take the path and names, those of formats whose cells have arrays the choice of one, too.
MESH_READERS: dict[str, tuple[str, Callable[..., Surface | TetMesh]]] = {
    ".ply": ("a PLY surface", read_ply),
    ".stl": ("an STL surface", read_stl),
    ".obj": ("an OBJ surface", read_obj),
    ".vtp": ("a VTK surface", read_vtp),
    ".vtu": ("a VTK mesh of tetrahedra", read_vtu),
    ".xdmf": ("an XDMF mesh of tetrahedra", read_xdmf),
    ".msh": ("a Gmsh mesh of tetrahedra", read_msh),
    ".vtk": ("a legacy VTK file of triangles or tetrahedra", read_legacy_vtk),
    ".mesh": ("a Medit mesh of tetrahedra", read_medit),
    ".inp": ("an Abaqus mesh of tetrahedra", read_abaqus),
    ".node": ("a TetGen mesh", read_tetgen),
    ".ele": ("a TetGen mesh", read_tetgen),
    ".off": ("an OFF surface", read_off),
    ".glb": ("a glTF scene of surfaces", read_scene),
    ".gltf": ("a glTF scene of surfaces", read_scene),
    ".3mf": ("a 3MF model of surfaces", read_scene),
    ".dae": ("a COLLADA scene of surfaces", read_scene),
}

BY_REGIONS = (".ply", ".vtp", ".vtu", ".vtk", ".xdmf", ".msh")

WRITERS: dict[str, tuple[Any, Callable[[Path, Any], None]]] = {
    ".ome.tiff": (Volume, write_ome),
    ".ome.tif": (Volume, write_ome),
    ".tiff": (Volume, write_imagej),
    ".tif": (Volume, write_imagej),
    ".mrc": (Volume, write_mrc),
    ".rec": (Volume, write_mrc),
    ".map": (Volume, write_mrc),
    ".nrrd": (Volume, write_nrrd),
    ".hdf5": (Volume, write_hdf5),
    ".h5": (Volume, write_hdf5),
    ".ply": (Surface, write_ply),
    ".stl": (Surface, write_stl),
    ".obj": (Surface, write_obj),
    ".vtp": (Surface, write_vtp),
    ".vtu": (TetMesh, write_vtu),
    ".xdmf": (TetMesh, write_xdmf),
    ".msh": (TetMesh, write_msh),
    ".vtk": (Surface | TetMesh, write_legacy_vtk),
    ".mesh": (TetMesh, write_medit),
    ".inp": (TetMesh, write_abaqus),
    ".node": (TetMesh, write_tetgen),
    ".ele": (TetMesh, write_tetgen),
    ".off": (Surface, write_off),
    ".glb": (Surface, write_glb),
    ".3mf": (Surface, write_3mf),
}


def read(
    path: Path,
    spacing: Any = None,
    names: Mapping[int, str] | None = None,
    dataset: str | None = None,
    kind: str | None = None,
    *,
    unit: Any = None,
    regions: Choice = None,
) -> Thing:
    """Read a volume, surface or mesh by the ending of the file's name; as `load`."""
    checked_kind(kind)
    ending = ending_of(path, [".npz", *VOLUME_READERS, *ARCHIVE_READERS, *MESH_READERS])
    check_there(path)
    check_regions(path, ending, regions)
    with naming(path):
        checked_names({} if names is None else names)
    if ending == ".npz":
        with reading(path, "a NumPy archive"):
            return scaled(path, read_npz(path, spacing, names, dataset, kind), unit)
    if ending in ARCHIVE_READERS:
        expected, read_one = ARCHIVE_READERS[ending]
        with reading(path, expected):
            return scaled(path, to_volume(path, read_one(path, dataset, kind), spacing, names, kind), unit)
    if ending in VOLUME_READERS:
        no_choice(path, "one volume", dataset, None)
        expected, read_picture = VOLUME_READERS[ending]
        with reading(path, expected):
            return scaled(path, to_volume(path, read_picture(path), spacing, names, kind), unit)
    no_choice(path, "points", dataset, kind)
    if spacing is not None:
        raise FileError(f"{path}: spacing= is for volumes; a {ending} file has points in um; leave it out")
    expected, read_mesh = MESH_READERS[ending]
    with reading(path, expected):
        thing = read_mesh(path, names, regions) if ending in BY_REGIONS else read_mesh(path, names)
        mention_absent(path, thing, names or {})
        own = scene_unit(path) if unit is None else None
        return scaled(path, thing if own is None else _times(thing, own), unit)


def check_regions(path: Path, ending: str, regions: Choice) -> None:
    """Refuse a choice among arrays where there is none."""
    if regions is not None and ending not in BY_REGIONS:
        raise FileError(
            f"{path}: regions= chooses an array of the cells, which {', '.join(BY_REGIONS)} have; leave it out"
        )


def scaled(path: Path, thing: Thing, unit: Any = None) -> Thing:
    """Take a surface's or mesh's points as lengths in this unit; warn where um, the usual one, makes it no cell."""
    if unit is None:
        if isinstance(thing, Volume):
            return thing
        if odd := odd_extent(thing.points):
            warnings.warn(f'{path}: {odd} load(path, unit="nm") takes them so', stacklevel=2)
        return thing
    if not isinstance(thing, Surface | TetMesh):
        raise FileError(f'{path}: unit= is for surfaces and meshes; the voxels of a volume have spacing="8 nm"')
    with naming(path):
        factor = convert(
            f"1 {unit}" if isinstance(unit, str) and not unit.strip()[:1].isdigit() else unit, "um", "unit"
        )
        if not 0 < factor < np.inf:
            raise FileError(f'{path}: unit should be a length such as "nm"; got {unit!r}')
    return _times(thing, factor)


def _times(thing: Surface | TetMesh, factor: float) -> Surface | TetMesh:
    """Scale all lengths of a surface or mesh."""
    changed: dict[str, Any] = {"points": thing.points * factor}
    if isinstance(thing, Surface) and thing.resolution is not None:
        changed["resolution"] = tuple(factor * size for size in thing.resolution)
    return dataclasses.replace(thing, **changed)


def write(path: Path, thing: Thing) -> None:
    """Write a volume, surface or mesh by the ending of the file's name, replacing what is there; as `save`."""
    ending = ending_of(path, [".npz", *WRITERS, ".npy"])
    kind, put = (type(thing), write_npz) if ending == ".npz" else WRITERS.get(ending, (None, write_npz))
    if not isinstance(thing, kind or ()):
        raise FileError(f"{path} cannot be written: {misfit_of(ending, thing, WRITERS)}")
    if path.is_dir():
        raise FileError(f"{path} should be the name of a file; it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, thing)


def check_there(path: Path) -> None:
    """Refuse what is no file, or an empty one."""
    if not path.exists():
        raise FileNotFoundError(f"{path} should be a file; there is none; check the name and the folder {path.parent}")
    if not path.is_file() or path.stat().st_size == 0:
        raise FileError(f"{path} should be a file with content; it is {'empty' if path.is_file() else 'a folder'}")


def ending_of(path: Path, known: Iterable[str]) -> str:
    """Return the longest of the known endings that the file's name has."""
    known = set(known)
    name = path.name.lower()
    for ending in sorted(known, key=len, reverse=True):
        if name.endswith(ending):
            return ending
    if path.suffix.lower() == ".gz" and path.with_suffix("").name.lower().endswith(tuple(known)):
        raise FileError(
            f"{path} is packed, which meshcell reads of .mrc, .map and .nii only; unpack it: gunzip {path.name}"
        )
    raise FileError(
        f"{path} should end in one of {', '.join(sorted(known))}; got {path.suffix or 'no ending'!r}; "
        "rename or convert it"
    )


def misfit_of(ending: str, thing: Any, writers: Mapping[str, tuple[Any, Any]]) -> str:
    """Say why a thing does not go into a file of this ending, and into which it does."""
    own = [".npz", *(other for other, (kind, _) in writers.items() if isinstance(thing, kind))]
    advice = f"a {type(thing).__name__} is written as {', '.join(own)}"
    if ending == ".npy":
        return f"an .npy file loses the voxel size; {advice}, or np.save(path, volume.data) if the bare array is wanted"
    if isinstance(thing, TetMesh) and writers[ending][0] is Surface:
        return f"{ending} holds surfaces; {advice}, or give mesh.surface"
    kinds = getattr(writers[ending][0], "__args__", (writers[ending][0],))
    return f"{ending} holds a {' or a '.join(kind.__name__ for kind in kinds)}; {advice}"


def targets_of(path: Path, ending: str) -> list[Path]:
    """Return all that is written for a file of this ending."""
    beside = {".xdmf": [companion(path), dolfinx_index(path)], ".pvd": [path.with_suffix("")]}
    beside |= dict.fromkeys((".node", ".ele"), tetgen_files(path))
    return list(dict.fromkeys([path, *beside.get(ending, [])]))
