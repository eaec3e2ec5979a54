"""meshcell on the command line: a thin skin over the functions of the same names."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

app = App(
    name="meshcell",
    help="From a voxel picture of a cell to a simulation that can be trusted.",
    help_epilogue=(
        "Exit codes: 0 done, 1 the input was refused, 2 wrong usage, 130 stopped by Ctrl-C, 141 nobody reads on."
    ),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command("--install-completion")

DONE, REFUSED, USAGE, STOPPED, UNREAD = 0, 1, 2, 130, 141

# How messages name the options of these commands, with a value or without; other calls stay as they are.
OPTION = re.compile(
    r"""(?:\b(?P<call>\w+)\([^()=]*, )?"""
    r"""\b(?P<name>spacing|dataset|kind|unit|regions|method|edge|step|scheme|keep|until|every|times|overwrite)="""
    r"""(?P<value>"[^"]*"|'[^']*'|True|False|\.\.\.)?\)?"""
)
COMMANDS = (None, "load", "tetrahedralize", "solve")
# An option of several texts.
Several = Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative=())]
# What `load` says of an option that does not fit the file, or has a value that cannot be.
MISUSED = re.compile(r"\b(?:spacing|dataset|kind|unit|regions)= (?:is for|chooses)|: unit should be ")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MeshReading:
    """What only the user knows of the file of a mesh, as `load` takes it."""

    name: Annotated[
        tuple[str, ...] | None,
        Parameter(consume_multiple=True, negative=(), help="Names of regions by their labels: 1=cytosol."),
    ] = None
    unit: Annotated[str | None, Parameter(help="Of the points of a surface or mesh: nm.")] = None
    regions: Annotated[
        str | None,
        Parameter(help='Which array of the cells of a foreign mesh holds its regions; "false": all cells are one.'),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading(MeshReading):
    """What only the user knows of a file, as `load` takes it."""

    spacing: Annotated[
        tuple[str, ...] | None,
        Parameter(consume_multiple=True, negative=(), help='Voxel size, one or three: 0.01 (um) or "8 nm".'),
    ] = None
    dataset: Annotated[str | None, Parameter(help="Which array of an .h5 or .npz file is the volume.")] = None
    kind: Annotated[Literal["labels", "intensities"] | None, Parameter(help="What the voxels are.")] = None

    def load(self, file: Path) -> Any:
        """Load a file; what is missing is asked for in the words of the command line."""
        from meshcell.core.validation import checked_spacing
        from meshcell.io import load

        # Before anything is said about its ending.
        if not file.expanduser().exists():
            raise FileNotFoundError(f"{file} should be a file; there is none; check the name and the folder")
        options: dict[str, Any] = {"names": _names(self.name), "dataset": self.dataset, "kind": self.kind}
        options["unit"] = None if self.unit is None else _quantity(self.unit)
        options["regions"] = False if self.regions == "false" else self.regions
        if self.spacing is not None:
            sizes = [_quantity(size) for size in self.spacing]
            options["spacing"] = sizes[0] if len(sizes) == 1 else tuple(sizes)
            _option("--spacing", checked_spacing, options["spacing"])
        try:
            return load(file, **options)
        except ValueError as error:
            if MISUSED.search(str(error)):
                raise UsageError(str(error)) from error
            if "spacing=" not in str(error) or self.spacing is not None:
                raise
            known_so_far = str(error).partition("; pass it as")[0]
            hint = 'add --spacing "8 nm", or three sizes along x, y, z: --spacing "4 nm" "4 nm" "40 nm"'
            raise UsageError(f"{known_so_far}; {hint}") from error


AS_IT_IS, MESH_AS_IT_IS = Reading(), MeshReading()


class UsageError(ValueError):
    """An option that cannot be meant: what is wrong is the command line, not the file."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what the user can mend ends with one line on stderr and an exit code, see `app`."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            app(arguments, exit_on_error=False)
            sys.stdout.flush()
    except BrokenPipeError:
        # As by `| head`. What is left in the buffer would raise once more when Python ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)
    except CycloptsError:
        # Said in a frame, with what is meant perhaps.
        sys.exit(USAGE)
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        # A command line is no place for a traceback; the message says what to do. Bugs raise other types and show it.
        from meshcell.core.errors import teller

        if teller(error) != "another":
            print(f"meshcell: {_in_words(str(error)) or type(error).__name__}", file=sys.stderr)
        sys.exit(USAGE if isinstance(error, UsageError) else REFUSED)
    except KeyboardInterrupt:
        print("meshcell: stopped", file=sys.stderr)
        sys.exit(STOPPED)


def _warn(
    message: Warning | str, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a warning in one line: where in our code it arose is of no use here."""
    print(f"meshcell: warning: {_in_words(str(message))}", file=sys.stderr)


def _in_words(text: str) -> str:
    """Put a message into one line, with options as they are written on the command line."""
    return _as_typed(" ".join(text.split()))


def _as_typed(text: str) -> str:
    """Write options in a text as on the command line."""

    def option(found: re.Match[str]) -> str:
        if found["call"] not in COMMANDS:
            return found[0]
        value = (found["value"] or "").replace("False", "false").replace("True", "")
        return f"--{found['name']} {value}".rstrip()

    return OPTION.sub(option, text)


@app.command
def demo(folder: Path = Path("meshcell-demo"), /, *, seed: int = 7, edge: str = "40nm", pictures: bool = True) -> None:
    """Phantom spine -> mesh -> calcium transient -> pictures and a ParaView series in a folder.

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

    _option("--edge", _length, edge)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the demonstration's files")
    _check_folder(str(folder), folder)
    made = run(folder, rng=seed, edge=_quantity(edge), pictures=pictures, progress=True)
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
    from numba import config

    from meshcell.core.kernels import folders
    from meshcell.first_use import warm

    if config.DISABLE_JIT:
        print("nothing is compiled: numba's compiler is switched off (NUMBA_DISABLE_JIT)")
        return
    if processes is not None and processes < 1:
        raise UsageError(f"--processes should be at least 1; got {processes}")
    warmed = warm(processes=processes, progress=True)
    print(f"{', '.join(warmed)}: kernels are compiled" if warmed else "all kernels were compiled before")
    print("\n".join(str(folder) for folder in folders() if folder.is_dir()))


@app.command
def check(file: Path, /, *, reading: Reading = AS_IT_IS, against: Path | None = None) -> None:
    """Say what is wrong or risky in a volume, surface, mesh or solution; exit code 1 where there are errors.

    Parameters
    ----------
    file
        Anything that meshcell loads.
    against
        The labels that a surface or mesh was made from, to be compared with it; how to read is about them.
    """
    from meshcell.analysis.checks import check

    if against is None:
        report = check(reading.load(file), progress=True)
    else:
        report = check(AS_IT_IS.load(file), against=reading.load(against), progress=True)
    print(_as_typed(str(report)))
    if not report.ok:
        sys.exit(REFUSED)


@app.command
def mesh(
    file: Path,
    /,
    *,
    edge: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    reading: Reading = AS_IT_IS,
    method: Literal["auto", "tetgen", "lattice", "winding"] = "auto",
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
    method
        By TetGen, or from labels by a lattice; "auto": TetGen, and the lattice where that fails; "winding" for dirty
        surfaces.
    overwrite
        Replace what is there.
    """
    from meshcell.core.types import Surface, TetMesh, Volume
    from meshcell.first_use import warm
    from meshcell.geometry.quality import quality
    from meshcell.io import save
    from meshcell.meshing.tetrahedra import tetrahedralize

    # What would fail after minutes of meshing fails now.
    _check_target(output, TetMesh, overwrite)
    length = _option("--edge", _length, edge)
    thing = reading.load(file)
    if not isinstance(thing, Surface | Volume):
        raise TypeError(f"mesh takes labels or a surface; {file} holds a {type(thing).__name__}")
    warm(("surfaces", "remeshing", "tetrahedra"), progress=True)
    made = tetrahedralize(thing, edge=length, method=method, progress=True)
    save(output, made, overwrite=overwrite)
    print(made)
    print(quality(made))
    print(output)


@app.command
def quality(file: Path, /, *, reading: Reading = AS_IT_IS) -> None:
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

    thing = reading.load(file)
    if isinstance(thing, Volume):
        thing = smooth(extract(thing), progress=True)
    print(quality(thing.mesh if isinstance(thing, Solution) else thing))


@app.command
def simulate(
    model: Path,
    mesh: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    until: str | None = None,
    every: str | None = None,
    times: Several = None,
    observe: Several = None,
    keep: Literal["all", "observed"] = "all",
    rtol: float = 1e-4,
    step: str | None = None,
    scheme: Literal["auto", "implicit", "imex", "imex2"] = "auto",
    engine: str = "numba",
    petsc_options: Several = None,
    checkpoint: str | None = None,
    paraview: bool = True,
    progress: bool = True,
    reading: MeshReading = MESH_AS_IT_IS,
    overwrite: bool = False,
) -> None:
    """Simulate a model on a mesh: a job in one line.

    meshcell simulate spine.toml spine.vtu -o run --until 2s --every 50ms

    Ctrl-C and the SIGTERM of schedulers save what was computed. Started again, the same line goes on from there, as it
    does after a crash: with the same bytes as if nothing had stopped it.

    Parameters
    ----------
    model
        A model as TOML, as model.to_toml writes it.
    mesh
        Tetrahedra: a .vtu, .xdmf, .msh or other file that meshcell loads.
    output
        A folder for the solution (solution.npz), curves.csv, log.txt and a series for ParaView (solution.pvd); or one
        file, .npz or .pvd.
    until
        End of the run, which begins at 0: 2 (s) or 500ms.
    every
        Time between the states that are kept; by default a fortieth of the run.
    times
        Single times instead: 10ms 100ms 1s.
    observe
        Curves for curves.csv, each as quantity, species and perhaps a place: "mean Ca head" "total Ca" "flux pump"
        "value Ca 0 0 300nm" "area Ca" "mean R cytosol|outside". By default the mean of every species.
    keep
        "observed": of the states the last one alone, so that memory does not grow with the times.
    rtol
        Relative error allowed per step.
    step
        Fixed steps of this length instead: 1ms.
    scheme
        How reactions are taken; imex2 is for fixed steps.
    engine
        What solves: numba, or fenicsx on the ranks of mpiexec -n 4 meshcell simulate ...
    petsc_options
        For the solvers of fenicsx: diffusion_pc_type=gamg implicit_ksp_type=lgmres.
    checkpoint
        File that keeps how far a run has come until it is finished; by default in the folder or beside the file. "none"
        keeps none.
    paraview
        Write the series for ParaView into the folder.
    progress
        Show how far it is, as lines where there is no terminal.
    overwrite
        Replace the files of another run.
    """
    from meshcell.core.types import TetMesh
    from meshcell.first_use import warm
    from meshcell.jobs import asking, simulating, targets
    from meshcell.models.binding import bind
    from meshcell.models.model import Model
    from meshcell.solving.solver import together

    # What would fail after hours fails now.
    kept: str | bool = True if checkpoint is None else checkpoint != "none" and checkpoint
    begin = functools.partial(targets.target_of, checkpoint=kept, overwrite=overwrite)
    try:
        with _ended_like_ctrl_c(), together(engine):
            target = _option("--output", begin, output)
            _check_folder(f"--output {output}", target.solution.absolute().parent)
            asked = _option("--until --every --times", asking.moments, until, every, times)
            pace = None if step is None else _option("--step", asking.seconds, step, "step")
            science, body = Model.from_toml(model), Reading(**vars(reading)).load(mesh)
            if not isinstance(body, TetMesh):
                raise TypeError(f"simulate takes a mesh of tetrahedra; {mesh} holds a {type(body).__name__}")
            bind(science, body)
            questions = _option("--observe", asking.questions, observe or (), science, body) or None
            if engine == "numba":
                warm(("simulation",), progress=progress)
            job = simulating.simulate(
                body, science, asked, output, observe=questions, checkpoint=kept, overwrite=overwrite,
                paraview=paraview, notes={"model": model, "mesh": mesh}, keep=keep, rtol=rtol, step=pace,
                scheme=scheme, engine=engine, progress=progress, petsc_options=_settings(petsc_options),
            )  # fmt: skip
    except ValueError as error:
        if str(error).partition(" ")[0] in ("engine", "rtol", "scheme", "checkpoint", "petsc_options"):
            raise UsageError(f"--{error}".replace("--petsc_", "--petsc-")) from error
        raise
    if job.files:
        print(job.solution, *job.files, sep="\n")
    if job.solution.message and job.files:
        goes_on = target.checkpoint is not None and target.checkpoint.exists()
        advice = "; the same line goes on from there" if goes_on else ""
        print(f"meshcell: {job.solution.message}{advice}", file=sys.stderr)
    if job.solution.message:
        sys.exit(STOPPED)


def _check_target(output: Path, kind: type, overwrite: bool) -> None:
    """Refuse an output that could not be written: its ending, its folder, or a file that is there."""
    from meshcell.formats.endings import WRITERS, ending_of

    fitting = [".npz", *(ending for ending, (written, _) in WRITERS.items() if issubclass(kind, written))]
    _option("--output", ending_of, output, fitting)
    if output.name.lower() in fitting:
        raise UsageError(f"--output {output} is an ending without a name, so a hidden file; write mesh{output.name}")
    _check_folder(f"--output {output}", output.absolute().parent)
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder; add the name of a file, such as {output / 'mesh.vtu'}")
    if output.exists() and not overwrite:
        raise UsageError(f"--output {output} is there already; choose another name, or add --overwrite")


def _check_folder(said: str, folder: Path) -> None:
    """Write a file into a folder, or where it will be made, and take it away: permissions do not tell all."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UsageError(f"{said}: nothing can be written into {folder}: {error}; choose another folder") from error


def _length(text: str) -> float:
    """Read a length above 0, um."""
    from meshcell.core.units import convert

    length = convert(_quantity(text), "um", "--edge")
    if not 0 < length < math.inf:
        raise ValueError(f"--edge should be a length above 0: 0.02 (um) or 20nm; got {text!r}")
    return length


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Hear SIGTERM as Ctrl-C: schedulers send it some seconds before they kill."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _settings(texts: tuple[str, ...] | None) -> dict[str, str] | None:
    """Read name=value, or the name of something to be switched on."""
    return {name: value for name, _, value in (text.lstrip("-").partition("=") for text in texts or ())} or None


def _names(texts: tuple[str, ...] | None) -> dict[int, str] | None:
    """Read label=name."""
    names: dict[int, str] = {}
    for text in texts or ():
        label, equals, name = text.partition("=")
        if not equals or not label.strip().isdigit() or not name.strip():
            raise UsageError(f"--name should be a label and a name, as in --name 1=cytosol 2=er; got {text!r}")
        names[int(label)] = name.strip()
    return names or None


def _option(option: str, check: Callable[..., Any], *values: Any) -> Any:
    """Check the value of an option, or of several; what is wrong with it is wrong usage."""
    try:
        return check(*values)
    except (ValueError, TypeError, FileExistsError) as error:
        text = str(error)
        if f"--{text.partition(' ')[0]}" in option.split():
            raise UsageError(f"--{text}") from error
        raise UsageError(text if option in text else f"{option}: {text}") from error


def _quantity(text: str) -> float | str:
    """Take a plain number as such, and leave a text with a unit."""
    try:
        return float(text)
    except ValueError:
        return text
