"""Where a compartment is, as its author writes it: a region, an interface or a patch, or a union of them.

"cytosol" is a region or a patch, "cytosol + psd" the union of two; ("cytosol", "outside") is the interface of a pair,
("cytosol + psd", "outside") that of a union, and (("er", "cytosol"), ("er", "psd")) lists the pairs one by one.
A `Well` is the place of a pool: a volume that is not in the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Well:
    """Where a pool is: in a volume (um^3) of its own, which lies nowhere."""

    volume: float


Place = str | Well | tuple[str, str] | tuple[tuple[str, str], ...]
Pair = frozenset[str]


def parts(text: str | Well) -> tuple[str, ...]:
    """Split the text of a union into its names; a well has none.

    Examples
    --------
    >>> parts("cytosol + psd"), parts("Ca2+ store")
    (('cytosol', 'psd'), ('Ca2+ store',))
    """
    return () if isinstance(text, Well) else tuple(name.strip() for name in text.split(" + "))


def pairs(place: Place) -> tuple[Pair, ...]:
    """List the pairs of regions whose interfaces a place is made of; none for a region or a patch.

    Examples
    --------
    >>> [sorted(pair) for pair in pairs(("cytosol + psd", "outside"))]
    [['cytosol', 'outside'], ['outside', 'psd']]
    """
    if isinstance(place, (str, Well)):
        return ()
    written = [(place[0], place[1])] if isinstance(place[0], str) else list(place)
    return tuple(dict.fromkeys(frozenset((a, b)) for one, other in written for a in parts(one) for b in parts(other)))


def regions_of(place: Place) -> set[str]:
    """Return the regions that an interface names."""
    return set().union(*pairs(place))


def place_text(place: Place) -> str:
    """Write a place in one line.

    Examples
    --------
    >>> place_text(("cytosol", "outside")), place_text((("er", "cytosol"), ("er", "psd")))
    ('cytosol | outside', 'er | cytosol, er | psd')
    """
    if isinstance(place, str):
        return place
    if isinstance(place, Well):
        return f"a pool of {place.volume:.4g} um^3"
    written = [place] if isinstance(place[0], str) else place
    return ", ".join(" | ".join(pair) for pair in written)


def place_key(place: Place) -> Any:
    """Return what two spellings of the same place have in common."""
    return frozenset(parts(place)) if isinstance(place, (str, Well)) else frozenset(pairs(place))


def reaches(home: Place, place: Place) -> bool | None:
    """Tell whether a species that lives in `home` has a value all over `place`; None where only the mesh can say.

    Examples
    --------
    >>> reaches("cytosol + psd", ("psd", "outside")), reaches("er", ("psd", "outside")), reaches("cytosol", "spot")
    (True, False, None)
    """
    if isinstance(place, Well) or isinstance(home, Well):
        return home is place
    if isinstance(place, str):
        return True if isinstance(home, str) and set(parts(place)) <= set(parts(home)) else None
    if isinstance(home, str):
        return all(pair & set(parts(home)) for pair in pairs(place))
    return set(pairs(place)) <= set(pairs(home))


def checked_place(name: str, place: Any) -> Place:
    """Return the place of a compartment in its one spelling, or raise an error that shows how it is written."""
    if isinstance(place, str) and place:
        if "outside" in parts(place):
            raise ValueError(f"compartment {name!r} should be a region with tetrahedra; 'outside' has none")
        return _checked_union(name, place)
    if not isinstance(place, (tuple, list)) or not place:
        raise TypeError(_how_written(name, place))
    if all(isinstance(part, str) for part in place):
        return _checked_pair(name, place)
    if not all(isinstance(pair, (tuple, list)) for pair in place):
        raise TypeError(_how_written(name, place))
    return tuple(_checked_pair(name, pair) for pair in place)


def _checked_pair(name: str, pair: Any) -> tuple[str, str]:
    if len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
        raise TypeError(_how_written(name, pair))
    first, second = (_checked_union(name, part) for part in pair)
    if set(parts(first)) & set(parts(second)):
        raise ValueError(f"compartment {name!r} should be a pair of two different regions; got {pair!r}")
    return first, second


def _checked_union(name: str, text: str) -> str:
    names = parts(text)
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(f'compartment {name!r} should name different regions, as in "cytosol + psd"; got {text!r}')
    return " + ".join(names)


def _how_written(name: str, place: Any) -> str:
    return (
        f"compartment {name!r} should be the name of a region or patch, or a pair of regions such as "
        f'("cytosol", "outside"); a union is written "cytosol + psd"; got {place!r}'
    )
