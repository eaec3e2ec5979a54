"""Tilt series as IMOD keeps them: a stack of images in MRC, its angles in a text file beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.core.files import FileError, naming, reading, replacing
from meshcell.core.types import TiltSeries
from meshcell.core.validation import checked_spacing
from meshcell.formats.volumes.lengths import unlikely
from meshcell.formats.volumes.mrc import ANGSTROM, WRITER, read_stack

log = logging.getLogger("meshcell")


# .tlt holds refined angles, .rawtlt those the stage was asked for.
ANGLE_ENDINGS = (".tlt", ".rawtlt")


def load_tilts(path: str | Path, *, angles: Any = None, spacing: Any = None, axis: str = "y") -> TiltSeries:
    """Read a tilt series: an MRC stack and its angles.

    Parameters
    ----------
    path : str or Path
        `.mrc`, `.st`, `.ali` or `.mrcs`; sections are views.
    angles : (n,) floats or path, degrees
        By default the `.tlt`, else the `.rawtlt` file of the same name.
    spacing : float or text, um per pixel
        Wins over the header's.
    axis : str
        The image axis along which the tilt axis lies: "y" after alignment in IMOD.

    Returns
    -------
    TiltSeries

    Raises
    ------
    ValueError
        `FileError`: a truncated stack, as many angles as images not given, a voxel size that cannot be: the header's
        figures are named.

    Notes
    -----
    Images are stored row by row, y from the bottom; axis "y" takes rows along the tilt axis.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    with reading(path, "an MRC stack of images"):
        stack, pixel, advice = _stack(path)
    if spacing is None and pixel is None:
        raise FileError(f'{path}: the pixel size should be known; {advice}; pass it as spacing=, such as "1.36 nm"')
    turns = read_angles(_angle_file(path) if angles is None else angles) if not _is_list(angles) else angles
    with naming(path):
        size = checked_spacing(pixel if spacing is None else spacing)[0]
        images = stack if axis == "y" else stack.transpose(0, 2, 1)
        return TiltSeries(images, turns, size, axis)


def save_tilts(path: str | Path, series: TiltSeries, *, overwrite: bool = False) -> None:
    """Write a tilt series as an MRC stack, with its angles in a `.tlt` file beside it.

    Raises
    ------
    FileExistsError
        Either file is there; pass overwrite=True.
    """
    import mrcfile

    path = Path(path).expanduser()
    beside = path.with_suffix(".tlt")
    taken = [str(target) for target in (path, beside) if target.exists()]
    if taken and not overwrite:
        raise FileExistsError(f"{', '.join(taken)} exists; pass overwrite=True, or choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = series.images if series.axis == "y" else series.images.transpose(0, 2, 1)
    with replacing(path) as temporary, mrcfile.new(temporary) as mrc:
        mrc.set_data(np.ascontiguousarray(stack))
        mrc.set_image_stack()
        mrc.voxel_size = series.spacing / ANGSTROM
        mrc.header.label[0] = WRITER
    with replacing(beside) as temporary:
        temporary.write_text("".join(f"{angle:8.2f}\n" if _short(angle) else f"{angle!r}\n" for angle in _list(series)))
    log.info("saved %s and %s: %r", path, beside.name, series)


def read_angles(path: str | Path) -> Floats:
    """Read a list of angles in degrees, one a line, as IMOD's `.tlt` and `.rawtlt` have them.

    Raises
    ------
    ValueError
        `FileError`: a line that is no number, named with its place.
    """
    path, angles = Path(path), []
    for row, line in enumerate(path.read_text().splitlines(), 1):
        for word in line.split():
            try:
                angles.append(float(word))
            except ValueError as error:
                raise FileError(f"{path}, line {row}: an angle in degrees should stand there; got {word!r}") from error
    return np.array(angles)


def _list(series: TiltSeries) -> list[float]:
    return [float(angle) for angle in series.angles]


def _short(angle: float) -> bool:
    return round(angle, 2) == angle


def _is_list(angles: Any) -> bool:
    return angles is not None and not isinstance(angles, (str, Path))


def _angle_file(path: Path) -> Path:
    for ending in ANGLE_ENDINGS:
        if path.with_suffix(ending).exists():
            return path.with_suffix(ending)
    raise FileError(
        f"{path}: the tilt angles should stand in {path.with_suffix('.tlt').name} or "
        f"{path.with_suffix('.rawtlt').name} beside it; neither is there; pass angles="
    )


def _stack(path: Path) -> tuple[Array, float | None, str]:
    """Return images (n, ny, nx), the pixel size in um or None, and why there is none."""
    header, data, _ = read_stack(path, "{2} images of {0} x {1} pixels")
    cell, sampling = (float(header["cella"]["x"]), float(header["cella"]["y"])), (int(header["mx"]), int(header["my"]))
    shape = data.shape
    told = f"its header has a cell of {cell} A over {sampling} samples for {shape[2]} x {shape[1]} pixels"
    if not min(cell) > 0 or min(sampling) <= 0:
        return data, None, f"{told}, which is no size"
    size = (cell[0] / sampling[0], cell[1] / sampling[1])
    likely = cell[0] / shape[2], cell[1] / shape[1]
    if not np.isclose(*size, rtol=0.01):
        return data, None, f"{told}, so a pixel would be {size} A, which is not square; cell / pixels is {likely} A"
    if min(sampling) == 1 < min(shape[1:]):
        return data, None, f"{told}, so a pixel would be {size[0]} A; cell / pixels would be {likely} A"
    if np.allclose(size, 1, rtol=1e-6):
        return data, None, f"{told}, so 1 A, which programs write when they do not know it"
    if doubt := unlikely([size[0] * ANGSTROM]):
        return data, None, f"{told}, {doubt}"
    return data, size[0] * ANGSTROM, ""
