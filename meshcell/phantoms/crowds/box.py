"""The box that units are packed into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from meshcell.core.arrays import Array, Floats
from meshcell.phantoms.crowds.motifs import MOTIF


@dataclass(eq=False)
class Scene:
    """The voxels under construction, x, y, z; positions in um from the centre of voxel [0, 0, 0].

    Unit k of `motifs` is instance k + 1; its voxels are those stamped, less those that a bound unit took later.
    """

    spacing: Floats
    labels: Array
    density: Array
    instances: Array
    chains: int = 0
    motifs: list[Array] = field(default_factory=list)
    units: int = 0
    cut: dict[int, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, shape: tuple[int, int, int], spacing: Any, labels: Array | None = None) -> Scene:
        """Make a scene without units; `labels` are those of compartments."""
        start = np.zeros(shape, np.uint16) if labels is None else np.array(labels, np.uint16, order="C")
        return cls(np.asarray(spacing, np.float64), start, np.zeros(shape, np.float32), np.zeros(shape, np.int32))

    @property
    def size(self) -> Floats:
        """Position of the last voxel's centre, um."""
        return np.asarray((np.array(self.labels.shape) - 1) * self.spacing)

    @property
    def voxel(self) -> float:
        """Volume of a voxel, um^3."""
        return float(np.prod(self.spacing))

    def record(self, species: str, chains: Any, hosts: Any, positions: Any, rotations: Any, voxels: Any) -> None:
        """Write down units that have just been stamped with the next instances."""
        rows = np.zeros(len(positions), MOTIF)
        rows["species"], rows["chain"], rows["host"] = species, chains, hosts
        rows["position"], rows["quaternion"], rows["voxels"] = positions, rotations, voxels
        rows["instance"] = np.arange(self.units + 1, self.units + 1 + len(rows))
        self.units += len(rows)
        self.motifs.append(rows)

    def table(self) -> Array:
        """Return the motifs of all units."""
        rows = np.concatenate([np.zeros(0, MOTIF), *self.motifs])
        for instance, voxels in self.cut.items():
            rows["voxels"][instance - 1] -= voxels
        return rows
