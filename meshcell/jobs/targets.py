"""Where the files of a run go, and what may be replaced there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshcell.core.files import FileError
from meshcell.io import WRITERS, load
from meshcell.io.time_series import check_replaceable
from meshcell.models.solutions import Solution

# Endings of single files that hold a solution; those of other things are no names for a folder.
SOLUTIONS = (".npz", *(ending for ending, (kind, _) in WRITERS.items() if kind is Solution))
OTHERS = (*WRITERS, ".csv", ".txt", ".toml")


@dataclass(frozen=True)
class Target:
    """Where the files of a run go.

    Parameters
    ----------
    output : Path
        A file of a solution, or a folder.
    folder : bool
        Which of both.
    checkpoint : Path or None
    """

    output: Path
    folder: bool
    checkpoint: Path | None

    @property
    def solution(self) -> Path:
        """The file of the solution."""
        return self.output / "solution.npz" if self.folder else self.output

    @property
    def series(self) -> Path:
        """The index of the series for ParaView in a folder."""
        return self.output / "solution.pvd"

    @property
    def curves(self) -> Path:
        """The table of what was observed at all times."""
        return self.output / "curves.csv"

    @property
    def numbers(self) -> Path:
        """The table of what was observed as one number."""
        return self.output / "numbers.csv"

    @property
    def log(self) -> Path:
        """What was done, with what, and how it went."""
        return self.output / "log.txt"

    @property
    def results(self) -> tuple[Path, ...]:
        """All files that a run may leave, beside its checkpoint."""
        if not self.folder:
            return (self.solution,)
        return self.solution, self.curves, self.numbers, self.log, self.series

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make missing folders, and take away those that are still empty when something is raised."""
        home = self.output if self.folder else self.output.absolute().parent
        missing = [parent for parent in (home, *home.absolute().parents) if not parent.exists()]
        home.mkdir(parents=True, exist_ok=True)
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                for parent in missing:
                    parent.rmdir()
            raise

    def clear(self) -> None:
        """Take away what stands beside the solution, all of which is made from it: nothing may be of another run."""
        if self.folder:
            for path in self.results[1:]:
                path.unlink(missing_ok=True)
            check_replaceable(self.series)
            if self.series.with_suffix("").exists():
                shutil.rmtree(self.series.with_suffix(""))


def target_of(output: str | Path, *, checkpoint: str | Path | bool = True, overwrite: bool = False) -> Target:
    """Choose where files go, and refuse what would be lost.

    Parameters
    ----------
    output : path
        A file whose ending is of a solution, `.npz` or `.pvd`; else a folder.
    checkpoint : path or bool
        True: in the folder or beside the file.
    overwrite : bool
        Replace files of another run.

    Returns
    -------
    Target

    Raises
    ------
    ValueError
        `FileError`: an ending of something else, a folder for a file or the other way round, files that are no time
        series where one is to be.
    FileExistsError
        Results of a run that was finished, or of another one.
    """
    output = Path(output).expanduser()
    name, ending = output.name.lower(), output.suffix.lower()
    if name in SOLUTIONS:
        raise FileError(f"{output} is an ending without a name, so a hidden file; write solution{name}")
    folder = ending not in SOLUTIONS
    if folder and ending in OTHERS:
        raise FileError(
            f"{output} should be a folder, or a file that ends in {' or '.join(SOLUTIONS)}; {ending} holds no solution"
        )
    if folder and output.exists() and not output.is_dir():
        raise FileError(f"{output} is a file; name a folder, or a file that ends in {' or '.join(SOLUTIONS)}")
    if not folder and output.is_dir():
        raise FileError(f"{output} is a folder; its name ends as that of a file, choose another one")
    own = output / "checkpoint.npz" if folder else output.with_name(f"{output.stem}.checkpoint.npz")
    chosen = (own if checkpoint else None) if isinstance(checkpoint, bool) else Path(checkpoint).expanduser()
    target = Target(output, folder, chosen)
    there = [path for path in target.results if path.exists()]
    if there and not overwrite and not _unfinished(target, own):
        raise FileExistsError(f"{there[0]} is there already; choose another name, or give overwrite=True to replace it")
    if folder or ending == ".pvd":
        check_replaceable(target.series if folder else output)
    return target


def _unfinished(target: Target, own: Path) -> bool:
    """Tell whether what is there was left by a run that has yet to be finished."""
    if target.checkpoint is None or not target.checkpoint.exists():
        return False
    if target.checkpoint == own:
        return True
    # A checkpoint somewhere else may be of the run that is meant while the results are of another one.
    if target.solution.suffix.lower() != ".npz" or not target.solution.exists():
        return False
    found = load(target.solution)
    return isinstance(found, Solution) and bool(found.message)
