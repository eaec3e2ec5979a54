"""Densities of single macromolecules: stand-ins, MRC maps, and atomic models blurred to a resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.types import Volume
from meshcell.core.units import convert
from meshcell.formats.endings import read
from meshcell.phantoms.crowds.standins import standin
from meshcell.phantoms.crowds.templates import Template, template

ATOMS = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".cif.gz")
ANGSTROM = 1e-4  # um
# Gaussian's standard deviation in parts of the resolution, so that its Fourier transform falls to 1/e there.
SIGMA = 0.225
# Without a level: this share of the greatest density.
LEVEL = 1 / 3


def atoms_density(path: Any, step: float, *, resolution: Any = "2 nm") -> Volume:
    """Blur the atoms of a PDB or mmCIF file to a density, each weighted by its atomic number.

    Parameters
    ----------
    path : str or Path
    step : float, um
        Voxel edge.
    resolution : float or text, um
        The Gaussian has a standard deviation of 0.225 times this, as in ChimeraX's molmap.

    Returns
    -------
    Volume
        Its origin keeps the file's coordinates.

    Raises
    ------
    ImportError
        gemmi is not installed.
    ValueError
        No atoms.
    """
    from scipy.ndimage import gaussian_filter

    sigma = SIGMA * convert(resolution, "um", "resolution")
    points, weights = _atoms(Path(path))
    margin = 4 * sigma + step
    first = np.floor((points.min(axis=0) - margin) / step)
    shape = (np.ceil((points.max(axis=0) + margin) / step) - first + 1).astype(int)
    grid = np.zeros(shape)
    # Each atom is shared linearly among its eight voxels, which keeps its place to much less than a voxel.
    at = points / step - first
    low = np.floor(at).astype(int)
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(corner, at - low, 1 - (at - low)), axis=1)
        np.add.at(grid, tuple((low + corner).T), weights * share)
    # The sharing itself blurs by about a sixth of a voxel squared.
    width = np.sqrt(max((sigma / step) ** 2 - 1 / 6, 0.05))
    blurred = gaussian_filter(grid, width, mode="constant", truncate=5.0).astype(np.float32)
    return Volume(blurred, (step, step, step), tuple((first * step).tolist()))


def _atoms(path: Path) -> tuple[Array, Array]:
    """Read positions (um) and atomic numbers of the first model, hydrogens and waters left out."""
    try:
        import gemmi
    except ImportError as error:
        raise ImportError("PDB and mmCIF files need gemmi: pip install 'meshcell[maps]'") from error
    structure = gemmi.read_structure(str(path))
    structure.remove_waters()
    structure.remove_hydrogens()
    atoms = [site.atom for site in structure[0].all()] if len(structure) else []
    if not atoms:
        raise ValueError(f"{path} should hold a model with atoms; it has none")
    positions = np.array([[a.pos.x, a.pos.y, a.pos.z] for a in atoms]) * ANGSTROM
    return positions, np.array([a.element.atomic_number * a.occ for a in atoms])


def unit_template(source: Any, step: float, *, level: float | None = None, resolution: Any = "2 nm") -> Template:
    """Make a template from a stand-in's name, a file (MRC, PDB, mmCIF) or an intensity Volume.

    Parameters
    ----------
    source : str, Path or Volume
    step : float, um
        Voxel edge of the scene; maps of another one are resampled.
    level : float, optional
        Density of the unit's boundary; by default 0.5 for stand-ins, else a third of the greatest density.
    resolution : float or text
        Of atomic models.

    Raises
    ------
    ValueError, FileNotFoundError
        No such stand-in or file, a map that is not intensities, a level above its maximum.
    """
    if isinstance(source, str) and "." not in source:
        values, centre = standin(source, step)
        return template(values, step, 0.5 if level is None else level, centre)
    volume = source if isinstance(source, Volume) else _read(Path(source), step, resolution)
    values = _resampled(volume, step)
    if not values.max() > 0:
        raise ValueError(f"density should have values above 0; the greatest of {source!r} is {values.max():.4g}")
    return template(values / values.max(), step, LEVEL if level is None else level / float(values.max()))


def _read(path: Path, step: float, resolution: Any) -> Volume:

    if path.name.lower().endswith(ATOMS):
        if not path.exists():
            raise FileNotFoundError(f"{path} should be a file; there is none")
        return atoms_density(path, step, resolution=resolution)
    # Whole numbers are densities, too: EMDB holds maps of 8 and 16 bits.
    volume = read(path, kind="intensities")
    if not isinstance(volume, Volume):
        raise ValueError(f"{path} should be a density map (intensities); got {type(volume).__name__}")
    return volume


def _resampled(volume: Volume, step: float) -> Array:
    """Bring a map to the step, blurred first where that is coarser so that nothing is aliased."""
    from scipy.ndimage import affine_transform, gaussian_filter

    if volume.is_labels:
        raise ValueError("density should be intensities (floats); got labels; convert them with astype(np.float32)")
    factors = np.array(volume.spacing) / step
    values = np.maximum(np.asarray(volume.data, np.float32), 0)
    if np.allclose(factors, 1, rtol=1e-3):
        return values
    # Half the new voxel: the usual compromise between blur and aliasing.
    sigma = np.where(factors < 1, 0.5 * np.sqrt(np.maximum(1 / factors**2 - 1, 0)), 0)
    # Middle on middle, with a voxel to spare: stretching to whole voxels would scale the molecule.
    shape = np.ceil(np.array(values.shape) * factors).astype(int) + 2
    offset = (np.array(values.shape) - 1) / 2 - (shape - 1) / 2 / factors
    blurred = gaussian_filter(np.pad(values, 1), sigma, mode="constant")
    resampled = affine_transform(blurred, 1 / factors, offset + 1, tuple(shape), order=1, mode="grid-constant")
    return np.asarray(np.maximum(resampled, 0), np.float32)
