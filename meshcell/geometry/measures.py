"""Areas of interfaces and volumes of regions."""

from __future__ import annotations

import numpy as np

from meshcell.core.hints import require
from meshcell.core.measures import enclosed
from meshcell.core.types import ByInterface, Surface, TetMesh
from meshcell.core.validation import name_of


def areas(mesh: Surface | TetMesh) -> dict[tuple[str, str], float]:
    """Measure the area of every interface.

    Parameters
    ----------
    mesh : Surface or TetMesh

    Returns
    -------
    dict[(str, str), float]
        (behind, front) region names -> um^2. The pair may be asked for in either order.
    """
    require(mesh, (Surface, TetMesh), "areas(mesh)")
    # Not by way of the rows of each: there may be as many interfaces as triangles.
    sums = mesh.by_interface.sums(mesh.areas).tolist()
    sides = mesh.by_interface.sides
    names = {label: name_of(mesh.names, label) for label in np.unique(sides).tolist()}
    behind, front = (map(names.__getitem__, side.tolist()) for side in sides.T)
    return ByInterface(zip(zip(behind, front, strict=True), sums, strict=True))


def enclosed_volumes(mesh: Surface | TetMesh) -> dict[str, float]:
    """Measure the volume of every region that the interfaces bound.

    Parameters
    ----------
    mesh : Surface or TetMesh
        Closed around each region except "outside". Of a TetMesh its facets are measured, not its tetrahedra.

    Returns
    -------
    dict[str, float]
        Region name -> volume in um^3.

    Notes
    -----
    Divergence theorem, see `core.measures.enclosed`.
    """
    require(mesh, (Surface, TetMesh), "enclosed_volumes(mesh)")
    triangles = mesh.triangles if isinstance(mesh, Surface) else mesh.facets
    volumes = enclosed(mesh.points, triangles, mesh.sides)
    return {name_of(mesh.names, label): volume for label, volume in volumes.items()}
