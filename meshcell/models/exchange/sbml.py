"""SBML (core) as a model of ours, and back; a model of ours that nobody has changed comes back exactly."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from meshcell.core.files import FileError
from meshcell.models.exchange.sbml_document import NAMESPACE, annotated, document_of, library, text_of
from meshcell.models.exchange.sbml_reading import model_fields
from meshcell.models.exchange.sbml_writing import document_of_model, identifiers
from meshcell.models.exchange.toml import check_free, fields_of, write_whole
from meshcell.models.exchange.wishes import Wishes
from meshcell.models.species import Described, Pool
from meshcell.models.well_mixed import WellMixed, checked_sizes

NEAR_THE_BEGINNING = 1000
# By these an SBML text is told from the name of a file.
MARKS = ("<sbml", "<?xml", "\n")


def read_sbml(source: str | PathLike[str], wishes: Wishes, what: str) -> dict[str, Any]:
    """Return the fields of the model in an SBML file or text, which is called `what`.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
    """
    document = document_of(text_of(source, MARKS, "SBML"), what)
    return fields_of_document(document, wishes, what, *annotated(document))


def fields_of_document(document: Any, wishes: Wishes, what: str, toml: str | None, untouched: bool) -> dict[str, Any]:
    """Return the fields of the model in a document, with which one of ours may travel.

    Parameters
    ----------
    document : libsbml.SBMLDocument
    wishes : Wishes
    what : str
        Names the source in warnings.
    toml : str or None
        The model of ours from which the document was made.
    untouched : bool
        Whether nobody has changed the document since.
    """
    if toml is None:
        return model_fields(document, wishes, what)
    ours = fields_of_notes(toml, what)
    if untouched and wishes.none:
        return ours
    if not untouched:
        held = [item.name for item in ours["species"] if item.fixed]
        warnings.warn(
            f"{what} was changed after meshcell wrote it, so it is read as any other; places and diffusion are those "
            f"that were written with it{'; held everywhere, not only on membranes: ' * bool(held)}{', '.join(held)}",
            stacklevel=4,
        )
    return model_fields(document, _with_defaults(wishes, ours), what)


def fields_of_notes(toml: str, what: str) -> dict[str, Any]:
    """Return the fields of the model of ours that travels in a file of others."""
    try:
        return fields_of(tomllib.loads(toml))
    except (TypeError, ValueError) as error:
        raise FileError(
            f"{what}: the notes in which meshcell keeps a model cannot be read ({error}); delete them (the "
            "annotation, in Antimony the first line) and give places="
        ) from error


def _with_defaults(wishes: Wishes, ours: dict[str, Any]) -> Wishes:
    """Take from a model of ours what SBML does not say, where the caller says nothing else."""
    own = identifiers(
        [item.name for item in ours["species"]],
        ours.get("parameters", {}),
        # Pools bring compartments of their own, as in a model.
        [*ours["compartments"], *(item.name for item in ours["species"] if isinstance(item, Pool))],
        [item.name for item in ours.get("reactions", [])],
    )
    places = {own.compartments[name]: place for name, place in ours["compartments"].items()}
    places |= {own.compartments[item.name]: None for item in ours["species"] if isinstance(item, Pool)}
    # Formulas and parts stay behind: their parameters may be others now.
    spread = [item for item in ours["species"] if not isinstance(item, Pool) and not item.fixed]
    plain = [item for item in spread if not isinstance(item.diffusion, Mapping)]
    diffusion = {own.species[item.name]: item.diffusion for item in plain if item.diffusion_constant is not None}
    homes = {own.reactions[item.name]: own.compartments[item.compartment] for item in ours.get("reactions", [])}
    return replace(
        wishes,
        places={**places, **wishes.places},
        diffusion={**diffusion, **wishes.diffusion},
        reactions={**homes, **wishes.reactions},
    )


def sbml_of(model: Described, sizes: Any) -> str:
    """Write a model as an SBML text."""
    if sizes is None and len(model.compartments) > 1:
        warnings.warn(
            "volumes and areas are all written as 1, on which what crosses membranes depends in other programs; give "
            'sizes={"' + '": ..., "'.join(model.compartments) + '": ...}, or sizes=mc.well_mixed(model, mesh)',
            stacklevel=3,
        )
    document = document_of_model(model, sizes if isinstance(sizes, WellMixed) else checked_sizes(model, sizes))
    return str(library().writeSBMLToString(document))


def write_sbml(path: Path, text: str, *, overwrite: bool) -> None:
    """Write an SBML text as a file."""
    check_free(path, NAMESPACE, NEAR_THE_BEGINNING, overwrite=overwrite)
    write_whole(path, text)
