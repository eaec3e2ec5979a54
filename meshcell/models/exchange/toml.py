"""Models as TOML files: texts and numbers as their author wrote them; what is neither is refused by name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field as DataField, fields
from pathlib import Path
from typing import Any

from meshcell.core import toml_text
from meshcell.core.files import replacing
from meshcell.core.hints import nearest
from meshcell.models.compartments import Place, Well
from meshcell.models.parameters import Course, Field, Given, Table
from meshcell.models.species import Pool, Reaction, Species

HEAD = "# A model of meshcell. Numbers without a unit are in um, s and molecules."
# Part of a model that is a list -> what it is a list of, and how one of them is called; the others are dicts.
ITEMS: dict[str, tuple[type, str]] = {"species": (Species, "species"), "reactions": (Reaction, "reaction")}
# Dicts in which a table of times and values may stand for a number.
WITH_TABLES = ("parameters", "fixed")


def write_model(path: Path, model: Any, *, overwrite: bool) -> None:
    """Write a model whole or not at all; a file that is there is replaced if it was written by this function."""
    check_free(path, HEAD, len(HEAD), overwrite=overwrite)
    write_whole(path, toml_of(model))


def check_free(path: Path, mark: str, within: int, *, overwrite: bool) -> None:
    """Refuse to replace a file in whose first bytes a mark of ours does not stand.

    Raises
    ------
    FileExistsError
    """
    if path.exists() and not overwrite:
        with path.open("rb") as file:
            ours = mark.encode() in file.read(within)
        if not ours:
            raise FileExistsError(f"{path} exists already; give overwrite=True to replace it, or another name")


def write_whole(path: Path, text: str) -> None:
    """Write a text whole or not at all; a missing folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


# --- writing ---


def toml_of(model: Any) -> str:
    """Write a model's compartments, species, reactions and parameters.

    Raises
    ------
    ValueError
        Functions and fields: all are named, with what to write instead.
    """
    lines, problems = [HEAD], list[str]()
    for part in fields(model):
        held = getattr(model, part.name)
        if part.name in ITEMS:
            for item in held:
                what = f"{{}} of {ITEMS[part.name][1]} {item.name}"
                lines += ["", f"[[{part.name}]]", *_lines(_entries(item), what, problems)]
        elif held:
            # The place of a pool comes with it.
            entries = [(key, given) for key, given in held.items() if not isinstance(given, Well)]
            lines += ["", f"[{part.name}]", *_lines(entries, f"{part.name.removesuffix('s')} {{}}", problems)]
    if problems:
        raise ValueError(f"a TOML file holds texts and numbers, and {'; '.join(problems)}")
    return "\n".join(lines) + "\n"


def _entries(item: Any) -> Iterable[tuple[str, Any]]:
    """Yield the fields of a species or reaction that are not as they are by default."""
    for part in (part for part in fields(item) if part.init):
        held, usual = getattr(item, part.name), _default(part)
        if isinstance(held, Field) or usual is MISSING or held != usual:
            yield part.name, held


def _lines(entries: Iterable[tuple[str, Any]], pattern: str, problems: list[str]) -> list[str]:
    lines = []
    for key, held in entries:
        what = pattern.replace("{}", key, 1)
        found = _plain(held, what, problems)
        try:
            lines.append(f"{toml_text.key(key)} = {toml_text.value(found)}")
        except TypeError as error:
            problems.append(f"{what} is something else: {error}")
    return lines


def _plain(held: Any, what: str, problems: list[str]) -> Any:
    """Return what stands for a number as texts, numbers, lists and dicts, and take note where that cannot be."""
    if isinstance(held, Table):
        return {part: _plain(given, what, problems) for part, given in _entries(held)}
    if isinstance(held, Mapping):
        return {part: _plain(given, f"{what} for {part!r}", problems) for part, given in held.items()}
    if isinstance(held, (tuple, list)):
        return [_plain(part, what, problems) for part in held]
    if isinstance(held, Field):
        problems.append(f"{what} is a Field over one mesh: write a formula in x, y and z, or save the solution as .npz")
    elif callable(held):
        remedy = "a formula in t, x, y and z" if isinstance(held, Course) else "a formula in x, y and z"
        table = " or a Table (Course.tabulated makes one)" if isinstance(held, Course) else ""
        problems.append(f"{what} is a Python function: write {remedy}{table} instead")
    else:
        # Whole numbers are written without their point, as by hand; -0.0 would lose its sign.
        whole = isinstance(held, float) and abs(held) < 1e15 and repr(held) == f"{int(held)}.0"
        return int(held) if whole else held
    return ""


# --- reading ---


def read_model(path: Path) -> dict[str, Any]:
    """Return the fields of the model in a TOML file, species and reactions checked.

    Raises
    ------
    FileNotFoundError
    ValueError, TypeError
        No TOML, unknown or missing keys, values out of range: says where, and what there is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} should be a file; there is none; check the name and the folder {path.parent}")
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it should be a TOML file; reading it failed: {error}") from error
    return fields_of(content)


def fields_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the model in the content of a TOML file."""
    known = ("compartments", "species", "reactions", "parameters")
    _require_keys(content, known, ("compartments",), "a model")
    content = {"species": [], **content}
    try:
        return {part: _items(part, held) if part in ITEMS else _dict(part, held) for part, held in content.items()}
    except OverflowError as error:
        raise ValueError(f"a number in it is too large: {error}") from error


def _dict(part: str, held: Any) -> dict[str, Place | Given]:
    if not isinstance(held, dict):
        raise ValueError(f"{part} should be a table, [{part}]; got {held!r:.80}")
    what = "compartment" if part == "compartments" else "parameter"
    return {key: _given(given, f"{what} {key!r}") if part in WITH_TABLES else given for key, given in held.items()}


def _items(part: str, held: Any) -> list[Any]:
    """Make the species or reactions."""
    kind_of_most, what = ITEMS[part]
    if not isinstance(held, list) or not all(isinstance(entry, dict) for entry in held):
        raise ValueError(f"{part} should be written as [[{part}]], once for each; got {held!r:.80}")
    made = []
    for row, entry in enumerate(held, 1):
        kind = Pool if what == "species" and "volume" in entry else kind_of_most
        known = {item.name: item for item in fields(kind) if item.init}
        needed = [name for name, item in known.items() if _default(item) is MISSING]
        own = f"{what} {entry['name']!r}" if "name" in entry else f"{what} {row}"
        _require_keys(entry, known, needed, own)
        given = {key: _read(key, value, own) for key, value in entry.items()}
        made.append(kind(**given))
    return made


def _read(key: str, held: Any, what: str) -> Any:
    if key in WITH_TABLES and isinstance(held, dict):
        return {place: _given(given, f"{key} value of {what} on {place!r}") for place, given in held.items()}
    return held


def _given(held: Any, what: str) -> Any:
    """Make a Table of a dict."""
    if not isinstance(held, dict):
        return held
    _require_keys(held, [part.name for part in fields(Table)], ("times", "values"), f"{what}, a table in time,")
    return Table(**held)


def _require_keys(entry: Mapping[str, Any], known: Iterable[str], needed: Iterable[str], what: str) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f"{what} has no key {key!r}{nearest(key, known)}; the keys are {', '.join(known)}")
    for key in needed:
        if key not in entry:
            raise ValueError(f"{what} should have the key {key!r}; it has {', '.join(entry) or 'none'}")


def _default(part: DataField[Any]) -> Any:
    return part.default if part.default_factory is MISSING else part.default_factory()
