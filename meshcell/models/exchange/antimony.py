"""Antimony texts as models of ours, and back; its own library turns them into SBML and SBML into them."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core.files import FileError, commented, tagged
from meshcell.models.exchange.sbml import fields_of_document, sbml_of
from meshcell.models.exchange.sbml_document import KIND, document_of, text_of
from meshcell.models.exchange.sbml_reading import Wishes
from meshcell.models.exchange.toml import check_free, toml_of, write_whole
from meshcell.models.species import Described

MARK = '# {"meshcell": 1'


def read_antimony(source: str | PathLike[str], wishes: Wishes) -> dict[str, Any]:
    """Return the fields of the model in an Antimony file or text.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
    """
    text, what = text_of(source, ("\n", "->", ";", "="), "Antimony")
    notes = commented(text.encode("utf-8"), KIND)
    document = document_of(_sbml_of_antimony(text, what), what)
    return fields_of_document(document, wishes, what, notes.get("toml"), notes.get("digest") == _digest(text))


def antimony_of(model: Described, sizes: Any) -> str:
    """Write a model as an Antimony text; a comment at its beginning holds what Antimony has no words for."""
    antimony = _library()
    antimony.clearPreviousLoads()
    if antimony.loadSBMLString(sbml_of(model, sizes)) < 0:
        raise FileError(f"antimony could not take the model: {antimony.getLastError()}")
    text = str(antimony.getAntimonyString(antimony.getMainModuleName()))
    return f"# {tagged(KIND, toml=toml_of(model), digest=_digest(text))}\n{text}"


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


def _library() -> Any:
    try:
        import antimony
    except ImportError as error:
        raise ImportError("Antimony texts need antimony: pip install 'meshcell[sbml]'") from error
    return antimony


def _digest(text: str) -> str:
    """Return a number for all of a text but our comment in it and blanks at its ends."""
    lines = [line for line in text.splitlines() if not line.startswith(MARK)]
    return hashlib.sha256("\n".join(lines).strip().encode()).hexdigest()
