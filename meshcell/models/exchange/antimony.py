"""Antimony texts as models of ours, and back; its own library turns them into SBML and SBML into them."""

from __future__ import annotations

import hashlib
import re
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core.files import FileError, commented, tagged
from meshcell.models.exchange.sbml import fields_of_document, fields_of_notes, sbml_of
from meshcell.models.exchange.sbml_document import KIND, document_of, text_of
from meshcell.models.exchange.toml import check_free, toml_of, write_whole
from meshcell.models.exchange.wishes import Wishes
from meshcell.models.species import Described

MARK = '# {"meshcell": 1'
# By these an Antimony text is told from the name of a file.
MARKS = ("\n", "->", ";", "=")


def read_antimony(source: str | PathLike[str], wishes: Wishes, what: str) -> dict[str, Any]:
    """Return the fields of the model in an Antimony file or text, which is called `what`.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
    """
    text = text_of(source, MARKS, "Antimony")
    notes = commented(text.encode("utf-8"), KIND)
    toml = notes.get("toml")
    untouched = toml is not None and notes.get("digest") == _digest(text, toml)
    if toml is not None and untouched and wishes.none:
        return fields_of_notes(toml, what)
    document = document_of(_sbml_of_antimony(text, what), what)
    return fields_of_document(document, wishes, what, toml, untouched)


def antimony_of(model: Described, sizes: Any) -> str:
    """Write a model as an Antimony text; a comment at its beginning holds what Antimony has no words for."""
    antimony = _library()
    antimony.clearPreviousLoads()
    if antimony.loadSBMLString(sbml_of(model, sizes)) < 0:
        raise FileError(f"antimony could not take the model: {antimony.getLastError()}")
    text = _with_all_digits(str(antimony.getAntimonyString(antimony.getMainModuleName())), model)
    toml = toml_of(model)
    return f"# {tagged(KIND, toml=toml, digest=_digest(text, toml))}\n{text}"


def write_antimony(path: Path, text: str, *, overwrite: bool) -> None:
    """Write an Antimony text as a file."""
    check_free(path, MARK, len(MARK), overwrite=overwrite)
    write_whole(path, text)


def _sbml_of_antimony(text: str, what: str) -> str:
    antimony = _library()
    antimony.clearPreviousLoads()
    if antimony.loadAntimonyString(text) < 0:
        raise FileError(f"{what} should be Antimony; reading it failed: {antimony.getLastError()}; correct that line")
    return str(antimony.getSBMLString(antimony.getMainModuleName()))


def _with_all_digits(text: str, model: Described) -> str:
    """Write how many of a species a reaction makes or takes in full: the library rounds it to six digits."""
    counts = sorted({abs(change) for reaction in model.reactions for change in reaction.change.values()})
    exact = {f"{count:.6g}": f"{count:.6g}" if float(f"{count:.6g}") == count else repr(count) for count in counts}
    if len(exact) < len(counts):
        warnings.warn(
            f"Antimony's library rounds what reactions change to six digits, and some of {counts} are one then: the "
            "text is that much off for other programs; write SBML instead",
            stacklevel=5,
        )
        return text
    rounded = re.compile(rf"(?<=[ :])({'|'.join(map(re.escape, exact))})(?= \w)")
    equations = re.compile(r"^[^#\n;]*?->[^;\n]*", re.MULTILINE)
    return equations.sub(lambda line: rounded.sub(lambda count: exact[count[1]], line[0]), text)


def _library() -> Any:
    try:
        import antimony
    except ImportError as error:
        raise ImportError("Antimony texts need antimony: pip install 'meshcell[sbml]'") from error
    return antimony


def _digest(text: str, toml: str) -> str:
    """Return a number for all of a text, blanks at its ends aside, and for the notes that it is to carry."""
    lines = [line for line in text.splitlines() if not line.startswith(MARK)]
    return hashlib.sha256((toml + "\n".join(lines).strip()).encode()).hexdigest()
