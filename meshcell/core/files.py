"""What every format shares: whole files or none, errors that name the file, and the names that travel along."""

from __future__ import annotations

import json
import logging
import re
import shutil
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from meshcell.core.arrays import Array, Floats, Ints
from meshcell.core.errors import MeshError
from meshcell.core.validation import checked_names

log = logging.getLogger("meshcell")

# Deflate cannot shrink anything more than this, so a header that promises more lies (zlib's technical details).
MAX_DEFLATE = 1032


class FileError(ValueError):
    """A file that is not what its name or its header promises, or a thing that a format cannot hold."""


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever a reader or a constructor raises into an error that names the file."""
    try:
        yield
    except FileError:
        raise
    except MeshError as error:
        raise MeshError(f"{path}: {error}", error.where) from error
    # Readers fail on damaged files in any way they like (zlib.error, struct.error, MemoryError); meshio calls sys.exit.
    except (Exception, SystemExit) as error:
        raise FileError(
            f"{path} should be {expected}; reading it failed: {type(error).__name__}: {error}; the file may be "
            "truncated or damaged, or its ending may not fit its content: copy or write it again"
        ) from error


def truncated(path: Path, promised: str, there: str) -> NoReturn:
    """Raise the error for a file that holds less (or more) than its header promises."""
    raise FileError(
        f"{path} promises {promised}, but {there}; the file is truncated or damaged: copy or write it again"
    )


def refused(path: Path, thing: str, advice: str) -> NoReturn:
    """Raise the error for a thing that a format cannot hold without loss."""
    raise FileError(f"{path} cannot be written: {thing}; {advice}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in what the checks of a type or of the caller's arguments find; the file itself is sound."""
    try:
        yield
    except FileError:
        raise
    except (TypeError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error


# --- whole files or none ---


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` that takes its place once the block has ended well."""
    # Not tempfile: its files are private to the owner, and the target should have the usual permissions.
    temporary = path.with_name(f".{uuid.uuid4().hex}{''.join(path.suffixes[-2:])}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a new temporary folder beside `folder` that takes its place once the block has ended well."""
    fresh, old = (folder.with_name(f".{uuid.uuid4().hex}") for _ in range(2))
    fresh.mkdir()
    try:
        yield fresh
        # A folder with content cannot be replaced in one step, so the old one steps aside first.
        if folder.exists():
            folder.replace(old)
        fresh.replace(folder)
    finally:
        for rest in (fresh, old):
            if rest.exists():
                shutil.rmtree(rest)


def archive_path(path: str | Path, what: str, *, overwrite: bool) -> Path:
    """Return where an `.npz` archive of what a program has learnt is to be written; refuse what would be lost."""
    path = Path(path)
    if path.suffix != ".npz":
        raise FileError(f"{path}: a {what} is written as .npz; rename it")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True, or choose another name")
    return path


# --- what travels beside the numbers ---


def tagged(kind: str, **content: Any) -> str:
    """Write one line of plain ASCII that marks a file as ours and holds what its format has no place for."""
    return json.dumps({"meshcell": 1, "kind": kind, **content})


def untagged(text: Any, kind: str) -> dict[str, Any]:
    """Read what `tagged` wrote; an empty dict where the text is not ours or of another kind."""
    try:
        content = json.loads(text)
    except (TypeError, ValueError):
        return {}
    ours = isinstance(content, dict) and "meshcell" in content and content.get("kind") == kind
    return content if ours else {}


def commented(text: bytes, kind: str) -> dict[str, Any]:
    """Read what `tagged` wrote from the comments (# ...) of a text; an empty dict where there is none."""
    lines = re.findall(rb"#([^\n]*)", text)
    return next((notes for line in lines if (notes := untagged(line, kind))), {})


def names_to_json(names: Mapping[int, str]) -> dict[str, str]:
    """JSON knows only texts as keys."""
    return {str(label): name for label, name in names.items()}


def names_from_json(names: Any) -> dict[int, str]:
    """Read label -> region name, as names_to_json wrote it."""
    if not isinstance(names, dict):
        raise ValueError(f'names should be a JSON object such as {{"1": "cytosol"}}; got {names!r}; or pass names=')
    return {int(label): str(name) for label, name in names.items()}


def merged_names(path: Path, stored: Mapping[int, str], given: Mapping[int, str] | None) -> dict[int, str]:
    """Let the names that the caller gave win over those in the file."""
    with naming(path):
        given = {label: name for label, name in checked_names(given or {}).items() if label in (given or {})}
    for label, name in given.items():
        if stored.get(label, name) != name:
            log.info("%s: region %d is called %r as asked, not %r as stored", path, label, name, stored[label])
        other = next((k for k, known in stored.items() if known == name and k != label and k not in given), None)
        if other is not None:
            raise FileError(
                f"{path}: names should differ; {name!r} is asked for region {label}, and stored for {other}; "
                f"give {other} a name, too"
            )
    return {**stored, **given}


def rows_of(mask: Array) -> Ints:
    """Turn a mask over triangles into the rows of a patch."""
    return np.flatnonzero(mask).astype(np.int32)


def check_values(path: Path, what: str, found: Any, promised: Any) -> None:
    """Refuse a file whose parts disagree about a count or a shape."""
    if found != promised:
        truncated(path, f"{promised} {what}", f"it holds {found}")


def numbers_of(path: Path, text: bytes) -> Floats:
    """Read the numbers of a text, divided by blanks and lines, each to the nearest float; refuse all else."""
    with warnings.catch_warnings():
        # Words that are no numbers are a mere DeprecationWarning to numpy, which then drops the rest.
        warnings.simplefilter("error")
        try:
            return np.fromstring(text.decode("ascii"), np.float64, sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise FileError(f"{path} should hold numbers; some are none ({error}); copy or write it again") from error


def checksum(*arrays: Array) -> int:
    """Return one number (CRC-32) over the bytes of arrays, for formats that would not notice a changed digit."""
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(), total)
    return total


def check_sum(path: Path, notes: Mapping[str, Any], *arrays: Array) -> None:
    """Refuse arrays that are not those that were written; our files of old have no checksum."""
    if "crc" in notes and notes["crc"] != checksum(*arrays):
        raise FileError(
            f"{path} promises other numbers than it holds (by its checksum): it is damaged, copy it again; or it was "
            "edited, then delete its line that begins with our comment, and load it as a file of another program"
        )


def same(a: Any, b: Any, rtol: float) -> bool:
    """Tell whether two triples agree to the precision of a format."""
    return a is not None and b is not None and bool(np.allclose(a, b, rtol=rtol, atol=0))
