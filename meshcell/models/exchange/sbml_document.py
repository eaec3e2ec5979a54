"""SBML documents through libsbml: opened, checked, and the notes in which a model of ours travels along."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core.files import FileError, tagged, untagged

KIND = "model"
NAMESPACE = "urn:meshcell:model"
MISSING = "SBML needs python-libsbml: pip install 'meshcell[sbml]'"


def called(source: str | PathLike[str], marks: tuple[str, ...], what: str) -> Path:
    """Return the name of a source in errors: its path, or where one of the marks stands in it, that it is a text."""
    if isinstance(source, str) and any(mark in source for mark in marks):
        return Path(f"the {what} text")
    return Path(source).expanduser()


def text_of(source: str | PathLike[str], marks: tuple[str, ...], what: str) -> str:
    """Return the text of a file or, where one of the marks stands in it, the text itself.

    Raises
    ------
    FileNotFoundError
    """
    if isinstance(source, str) and any(mark in source for mark in marks):
        return source
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path)[:200]} should be a file, or a text in {what} itself; there is no such file; check the name "
            f"and the folder {path.parent}"
        )
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} should be a text in UTF-8; reading it failed: {error}; save it as UTF-8") from error


def document_of(text: str, what: str) -> Any:
    """Parse a text as SBML and refuse it where it breaks the rules of SBML.

    Raises
    ------
    FileError
        The first rules that it breaks, with their lines.
    ImportError
        libsbml is not installed.
    """
    libsbml = library()
    document = libsbml.readSBMLFromString(text)
    for category in (libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, libsbml.LIBSBML_CAT_MODELING_PRACTICE):
        # Units are seen to by our own check; many files have none.
        document.setConsistencyChecks(category, False)
    if not _errors(document):
        document.checkConsistency()
    errors = _errors(document)
    if errors or document.getModel() is None:
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        listed = "; ".join(errors[:5]) or "it holds no model"
        raise FileError(f"{what} should be valid SBML; it is not: {listed}{more}; correct it where it was written")
    if document.getLevel() == 1 and not document.setLevelAndVersion(2, 4, False):
        raise FileError(f"{what} is SBML Level 1, which libsbml could not convert to Level 2; save it as Level 2 or 3")
    return document


def library() -> Any:
    """Return libsbml.

    Raises
    ------
    ImportError
        It is not installed; says how to.
    """
    try:
        import libsbml
    except ImportError as error:
        raise ImportError(MISSING) from error
    return libsbml


def _errors(document: Any) -> list[str]:
    found = [document.getError(k) for k in range(document.getNumErrors())]
    # All files are read as UTF-8, whether they say it or not.
    found = [error for error in found if error.getErrorId() != library().MissingXMLEncoding]
    errors = [error for error in found if error.isError() or error.isFatal()]
    return [f"line {error.getLine()}: {' '.join(error.getMessage().split())}" for error in errors]


# --- our own notes ---


def annotate(document: Any, toml: str) -> None:
    """Put a model's TOML into the annotation of a document, sealed with a digest of all the rest."""
    note = tagged(KIND, toml=toml, digest=digest(document, toml))
    escaped = note.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    document.getModel().setAnnotation(f'<meshcell:model xmlns:meshcell="{NAMESPACE}">{escaped}</meshcell:model>')


def annotated(document: Any) -> tuple[str | None, bool]:
    """Return the TOML that travels in a document, None where there is none, and whether the rest is as it was."""
    annotation = document.getModel().getAnnotation()
    for k in range(annotation.getNumChildren() if annotation is not None else 0):
        child = annotation.getChild(k)
        if child.getURI() == NAMESPACE:
            texts = (child.getChild(j).getCharacters() for j in range(child.getNumChildren()))
            notes = untagged("".join(texts).strip(), KIND)
            if isinstance(notes.get("toml"), str):
                toml = str(notes["toml"])
                return toml, notes.get("digest") == digest(document, toml)
    return None, False


def digest(document: Any, toml: str) -> str:
    """Return a number for all of a document and for the notes that it is to carry."""
    libsbml = library()
    bare = document.clone()
    bare.getModel().unsetAnnotation()
    # Read once more, as libsbml makes pairs of products of three when it reads them.
    again = libsbml.readSBMLFromString(libsbml.writeSBMLToString(bare))
    return hashlib.sha256((toml + libsbml.writeSBMLToString(again)).encode()).hexdigest()
