"""How far long work has come: a bar where somebody looks on, lines where a log is written, nothing by default."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, Protocol

# Seconds between the lines of a log.
PAUSE = 10.0


class Stage(Protocol):
    """Called with the name of each stage when it begins."""

    def __call__(self, name: str, /) -> None: ...


LINE = "{desc} {n_fmt}/{total_fmt} {elapsed}{postfix}"


def bar(things: Iterable[Any] | None = None, *, progress: bool, line: str = LINE, **options: Any) -> Any:
    """Make a tqdm bar, or the same as lines of a log where there is no terminal and no notebook.

    Parameters
    ----------
    things : iterable, optional
    progress : bool
        Show anything at all.
    line : str
        What a line says, in the words of tqdm's `bar_format`.
    options
        Of tqdm, such as `total` and `desc`.
    """
    from tqdm import tqdm

    if progress and not _looked_at():
        options |= {"file": _Lines(), "mininterval": PAUSE, "bar_format": line}
    return tqdm(things, disable=not progress, **options)


@contextmanager
def stages(what: str, names: tuple[str, ...], progress: bool, delay: float = 0.0) -> Iterator[Stage]:
    """Show which of the named stages of a function runs, and how many are done; one may begin again, or be another.

    Nothing is shown of what ends within `delay` seconds.

    Examples
    --------
    >>> with stages("smooth", ("average", "volumes"), progress=False) as stage:
    ...     stage("average")
    ...     stage("volumes")
    """
    shape = "{desc:<32}{bar:20} {n}/{total} {elapsed}"
    with bar(total=len(names), progress=progress, desc=what, bar_format=shape, delay=delay) as shown:
        late = Timer(delay, shown.refresh)
        late.daemon = True

        def say(n: int, name: str) -> None:
            shown.n = n
            shown.set_description_str(f"{what}: {name}", refresh=not late.is_alive())

        def stage(name: str, /) -> None:
            say(names.index(name) if name in names else shown.n, name)

        if progress and delay:
            late.start()
        try:
            yield stage
            say(len(names), "done")
        finally:
            late.cancel()


def _looked_at() -> bool:
    """Tell whether lines may be written over: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class _Lines:
    """A file for tqdm that makes a line of what would be written over."""

    def __init__(self) -> None:
        self.last = ""

    def write(self, text: str) -> None:
        """Write a line to stderr, unless there is nothing in it."""
        line = text.strip("\r\n ")
        if line and line != self.last:
            sys.stderr.write(f"{line}\n")
            self.last = line

    def flush(self) -> None:
        """Write what is kept back."""
        sys.stderr.flush()
