"""What is asked of a run, in the few words of a command line: times and quantities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from meshcell.core.arrays import Floats
from meshcell.core.units import convert, three_in
from meshcell.models.binding import bind
from meshcell.models.compartments import Place
from meshcell.models.model import Model
from meshcell.models.observables import Quantity
from meshcell.models.well_mixed import Domain

# Times that are asked for where nobody says how many, and the most that are meant.
USUAL, MOST = 40, 1_000_000


def seconds(value: float | str, what: str) -> float:
    """Return a time above 0 (s) from a number, "2" or "500ms"; `what` names it in errors."""
    found = _seconds(value, what)
    if not 0 < found < math.inf:
        raise ValueError(f"{what} should be a time above 0: 2 (s) or 500ms; got {value!r}")
    return found


def moments(
    until: float | str | None = None,
    every: float | str | None = None,
    times: Iterable[float | str] | None = None,
) -> Floats:
    """Return the times of a run that begins at 0: even ones to an end, or single ones.

    Parameters
    ----------
    until : float (s) or text such as "2 s", optional
        The last time, also where it is no multiple of `every`.
    every : float (s) or text, optional
        By default a fortieth of `until`.
    times : floats (s) or texts, optional
        Instead of both, in any order; 0 is put in front, where none is before it.

    Returns
    -------
    (k,) floats, s

    Raises
    ------
    ValueError
        Neither or both of `until` and `times`; an end that is not above 0, a distance longer than that, more than a
        million times; single times that are not finite, or none after the first.

    Examples
    --------
    >>> moments("0.2 s", "50 ms").tolist(), moments(1, 0.4).tolist(), moments(times=["1", "50 ms"]).tolist()
    ([0.0, 0.05, 0.1, 0.15, 0.2], [0.0, 0.4, 0.8, 1.0], [0.0, 0.05, 1.0])
    """
    if (until is None) == (times is None) or (times is not None and every is not None):
        raise ValueError("times should come from until=, perhaps with every=, or from times= alone")
    if until is None:
        return _single(list(times or ()))
    end = seconds(until, "until")
    pause = end / USUAL if every is None else seconds(every, "every")
    if not end / MOST <= pause <= end:
        raise ValueError(
            f"every should be between {end / MOST:.3g} s and the end of the run at {end:g} s; got {every!r}"
        )
    whole = math.floor(end / pause + 1e-9)
    # As somebody would write them: 0.15, not 3 * 0.05 = 0.15000000000000002.
    found = [float(f"{k * pause:.15g}") for k in range(whole + 1)]
    found[whole:] = [end] if end - found[-1] <= 1e-9 * pause else [found[-1], end]
    return np.array(found)


def question(text: str, model: Model) -> Quantity:
    """Read a quantity written as what, species and, if wanted, place: "mean Ca head".

    Parameters
    ----------
    text : str
        "mean Ca", "mean Ca head", "total Ca cytosol + psd", "mean Ca cytosol|outside", "flux Ca PM", "flux pump" (of a
        reaction), "value Ca 0 0 0.3um" (at a point), "area Ca", "area Ca 0 0 300nm".
    model : Model
        Knows which words are its species or reactions.

    Returns
    -------
    Quantity

    Raises
    ------
    ValueError
        Fewer than two words, an unknown first one, a value without a point.

    Examples
    --------
    >>> from meshcell import Species
    >>> print(question("area Ca 0 0 300nm", Model({"cyt": "cytosol"}, [Species("Ca", "cyt")])).name)
    area under Ca at (0, 0, 0.3) um
    """
    what, *words = text.split() or [""]
    if not words:
        raise ValueError(
            f'what is observed should be a quantity, a species and, if wanted, a place, such as "mean Ca head" or '
            f'"flux pump"; got {text!r}'
        )
    known = {*(item.name for item in model.species), *(item.name for item in model.reactions)}
    count = next((n for n in range(len(words), 0, -1) if " ".join(words[:n]) in known), 1)
    species, where = " ".join(words[:count]), " ".join(words[count:])
    point = three_in(where) if what in ("value", "area") else None
    if what == "value" and point is None:
        raise ValueError(f'{text!r} should end in a point (um, or with units): "value {species} 0 0 0.3"')
    if point is not None:
        return Quantity(what, species, point=point)  # type: ignore[arg-type]
    return Quantity(what, species, place=_place(where))


def questions(texts: Iterable[str], model: Model, mesh: Domain) -> dict[str, Quantity]:
    """Read quantities written as for `question`, and look whether the model has them on the mesh.

    Parameters
    ----------
    texts : texts
    model : Model
    mesh : TetMesh or WellMixed

    Returns
    -------
    dict[str, Quantity]
        By their texts, as `simulate` and `solve` take them.

    Raises
    ------
    ValueError
        As `question` and `Quantity.value`: species, reactions and places that are not there, with the nearest.
    """
    found = {" ".join(text.split()): question(text, model) for text in texts}
    if found:
        system = bind(model, mesh)
        for quantity in found.values():
            quantity.bound(system)
    return found


def means(model: Model) -> dict[str, Quantity]:
    """Ask for the mean of every species."""
    return {f"mean {item.name}": Quantity("mean", item.name) for item in model.species}


def _single(times: list[float | str]) -> Floats:
    found = [_seconds(time, "times") for time in times]
    if not all(map(math.isfinite, found)):
        raise ValueError(f"times should be finite: 0.1 (s) or 50ms; got {', '.join(map(str, times))}")
    begin = min([0.0, *found])
    if max(found, default=0.0) <= begin:
        raise ValueError(
            f"times should name one after {begin:g} s, where the run begins; got {', '.join(map(str, times))}"
        )
    return np.unique([begin, *found])


def _seconds(value: float | str, what: str) -> float:
    """Convert a number, or a text with a unit or, as on a command line, without one."""
    try:
        return float(value)
    except ValueError:
        return convert(value, "s", what)


def _place(text: str) -> Place | None:
    """Read a place: a name, a union "a + b", an interface "a|b" or several "a|b, a|c"; None where there is none."""
    if "|" not in text:
        return text or None
    found: Any = [tuple(name.strip() for name in pair.split("|")) for pair in text.split(",")]
    return found[0] if len(found) == 1 else tuple(found)
