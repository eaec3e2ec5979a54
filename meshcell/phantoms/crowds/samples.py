"""Samples: what a crowded phantom is made of, voxel by voxel and unit by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meshcell.core.arrays import Array, Floats, frozen, lengths, set_fields
from meshcell.core.types import Surface, Volume
from meshcell.phantoms.crowds.motifs import MOTIF
from meshcell.phantoms.crowds.quantities import Reached
from meshcell.phantoms.crowds.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Sample:
    """A crowded phantom: what `crowd` placed, voxel by voxel and unit by unit.

    Parameters
    ----------
    density, labels, instances : Volume
        Of one grid. A label per species, fixed by the recipe; an instance per placed unit, 0 where there is none.
    motifs : (n,) structured array
        A row per unit, row k for instance k + 1: species, instance, chain (its filament or cluster), host (instance of
        the membrane it is bound to, or of the filament's unit that it branches from; 0 for none), voxels, position in
        um, quaternion w, x, y, z that turns the unit's density to its place.
    surfaces : dict[str, Surface]
        Mid-surfaces of the membranes, one entry "name instance" each.
    centrelines : dict[str, (k, 3) floats], um
        Axes of the filaments, one entry "name chain" each.
    recipe : Recipe
        With its seed: `recipe.make()` gives the same bytes.
    report : tuple of Reached
        For every species what was asked for and what was reached.
    """

    density: Volume
    labels: Volume
    instances: Volume
    motifs: Array
    surfaces: dict[str, Surface]
    centrelines: dict[str, Floats]
    recipe: Recipe
    report: tuple[Reached, ...] = ()

    def __post_init__(self) -> None:
        grids = {(v.data.shape, v.spacing, v.origin) for v in (self.density, self.labels, self.instances)}
        if len(grids) > 1:
            raise ValueError(f"density, labels and instances should share one grid; got {sorted(grids)}")
        set_fields(self, motifs=frozen(np.asarray(self.motifs, MOTIF)))
        set_fields(self, centrelines={k: frozen(np.asarray(v, np.float64)) for k, v in self.centrelines.items()})

    @property
    def occupancy(self) -> dict[str, float]:
        """Share of the box's voxels that each species takes."""
        counts: dict[str, int] = dict.fromkeys((row.species for row in self.report), 0)
        for species in np.unique(self.motifs["species"]):
            counts[str(species)] = int(self.motifs["voxels"][self.motifs["species"] == species].sum())
        return {species: n / self.labels.data.size for species, n in counts.items()}

    def __repr__(self) -> str:
        grid = " x ".join(map(str, self.labels.data.shape))
        head = f"Sample: {grid} voxels of {lengths(self.labels.spacing)} um, {len(self.motifs):,} units"
        return "\n".join([f"{head}, {sum(self.occupancy.values()):.2%} occupied", *map(str, self.report)])
