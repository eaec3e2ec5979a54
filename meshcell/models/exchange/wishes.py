"""What the caller of an import says beyond the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_EXAMPLES = {
    "places": '{"cell": "cytosol", "PM": ("cytosol", "outside")}',
    "reactions": '{"J1": "PM"}',
    "sizes": '{"PM": "6.6 um^2"}',
    "diffusion": '{"Ca": "220 um^2/s"}',
    "units": '{"substance": "umol"}',
}


@dataclass(frozen=True)
class Wishes:
    """What the caller says about a file beyond the file itself."""

    places: Mapping[str, Any] = field(default_factory=dict)
    reactions: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    diffusion: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, example in _EXAMPLES.items():
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise TypeError(f"{name} should be a dict such as {example}; got {given!r}")

    @property
    def none(self) -> bool:
        """Whether nothing is said."""
        return not any((self.places, self.reactions, self.sizes, self.diffusion, self.units))
