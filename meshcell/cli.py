"""meshcell on the command line: a thin skin over the functions of the same names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

app = App(
    name="meshcell",
    help="From a voxel picture of a cell to a simulation that can be trusted.",
    version_flags=["--version"],
)

Spacing = Annotated[
    tuple[str, ...] | None,
    Parameter(consume_multiple=True, negative=(), help='Voxel size, one or three: 0.01 (um) or "8 nm".'),
]


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what the user can mend ends with one line on stderr and exit code 2."""
    try:
        app(arguments)
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        # A command line is no place for a traceback; the message says what to do. Bugs raise other types and show it.
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"meshcell: {text}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("meshcell: stopped", file=sys.stderr)
        sys.exit(130)


@app.command
def demo(folder: Path = Path("meshcell-demo"), /, *, seed: int = 7, edge: str = "40nm", pictures: bool = True) -> None:
    """Phantom spine -> mesh -> calcium transient -> pictures and a ParaView series in a folder (about two minutes).

    Parameters
    ----------
    folder
        Where the files go.
    seed
        The spine's shape.
    edge
        Edge length of the tetrahedra.
    pictures
        Pictures need OpenGL (Debian: libgl1 libegl1).
    """
    from meshcell.demo import run

    made = run(folder, rng=seed, edge=edge, pictures=pictures, progress=True)
    print(made.mesh)
    print(f"calcium peaks at {made.peak:.3f} uM after {made.time:.2f} s")
    for file in made.files:
        print(f"  {file}")


@app.command
def warm(*, processes: int | None = None) -> None:
    """Compile what the other commands need, once; in containers and CI after installing.

    Parameters
    ----------
    processes
        By default one more than there are cores.
    """
    from meshcell.core.kernels import folders
    from meshcell.first_use import warm

    warmed = warm(processes=processes, progress=True)
    print(f"{', '.join(warmed)}: kernels are compiled" if warmed else "all kernels were compiled before")
    print("\n".join(str(folder) for folder in folders() if folder.is_dir()))


@app.command
def check(file: Path, /, *, spacing: Spacing = None, against: Path | None = None) -> None:
    """Say what is wrong or risky in a volume, surface, mesh or solution; exit code 1 where there are errors.

    Parameters
    ----------
    file
        Anything that meshcell loads.
    against
        The labels that a surface or mesh was made from, to be compared with it; the spacing is theirs.
    """
    from meshcell.analysis.checks import check

    if against is None:
        report = check(_loaded(file, spacing))
    else:
        report = check(_loaded(file, None), against=_loaded(against, spacing))
    print(report)
    if not report.ok:
        sys.exit(1)


@app.command
def mesh(
    file: Path,
    /,
    *,
    edge: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    spacing: Spacing = None,
    overwrite: bool = False,
) -> None:
    """Fill the regions of labels or of a surface with tetrahedra.

    Parameters
    ----------
    file
        Labels or a surface.
    edge
        Edge length: 0.02 (um) or 20nm.
    output
        A .vtu, .xdmf or .msh file.
    overwrite
        Replace what is there.
    """
    from meshcell.core.types import Surface, Volume
    from meshcell.core.units import convert
    from meshcell.first_use import warm
    from meshcell.geometry.quality import quality
    from meshcell.io import save
    from meshcell.meshing.tetrahedra import tetrahedralize

    # What would fail after minutes of meshing fails now.
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} is there already; choose another name, or add --overwrite")
    thing = _loaded(file, spacing)
    if not isinstance(thing, Surface | Volume):
        raise TypeError(f"mesh takes labels or a surface; {file} holds a {type(thing).__name__}")
    length = convert(_quantity(edge), "um", "--edge")
    warm(("surfaces", "remeshing", "tetrahedra"), progress=True)
    made = tetrahedralize(thing, edge=length)
    save(output, made, overwrite=overwrite)
    print(made)
    print(quality(made))
    print(output)


@app.command
def quality(file: Path, /, *, spacing: Spacing = None) -> None:
    """Show the angles of a surface (of the extracted surface, for labels) or mesh as histograms.

    Parameters
    ----------
    file
        A surface, mesh, solution or label volume.
    """
    from meshcell.core.types import Volume
    from meshcell.geometry.quality import quality
    from meshcell.models.solutions import Solution
    from meshcell.surfaces.extraction import extract
    from meshcell.surfaces.smoothing import smooth

    thing = _loaded(file, spacing)
    if isinstance(thing, Volume):
        thing = smooth(extract(thing))
    print(quality(thing.mesh if isinstance(thing, Solution) else thing))


def _loaded(file: Path, spacing: tuple[str, ...] | None) -> Any:
    from meshcell.io import load

    if spacing is None:
        return load(file)
    sizes = [_quantity(size) for size in spacing]
    return load(file, spacing=sizes[0] if len(sizes) == 1 else tuple(sizes))


def _quantity(text: str) -> float | str:
    """Take a plain number as such, and leave a text with a unit."""
    try:
        return float(text)
    except ValueError:
        return text
