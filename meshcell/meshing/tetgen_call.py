"""TetGen itself, called in a child process; apart, because all that this file imports delays the child."""

from __future__ import annotations

from typing import Any

import numpy as np

from meshcell.core.arrays import Floats, Ints


def tetgen_tetrahedra(
    points: Floats, triangles: Ints, switches: str, size_points: Floats, size_tets: Ints, sizes: Floats
) -> dict[str, Any]:
    """Call TetGen; the only place where it is imported. To be run by `run_limited`.

    Parameters
    ----------
    points, triangles
        A surface without self-intersections.
    switches : str
        TetGen's own; "m" takes `sizes` into account.
    size_points, size_tets, sizes : (s, 3) um, (k, 4) and (s,) um
        Tetrahedra around the surface with the edges wanted at their points; may be empty without "m".

    Returns
    -------
    points, tets, faces, markers
        `faces` are the pieces of the triangles, `markers` the rows of the triangles that they came from.
    """
    import tetgen

    mesher = tetgen.TetGen(points, triangles, np.arange(1, len(triangles) + 1, dtype=np.int32))
    if sizes.size:
        mesher._tetgen.load_bgmesh_from_arrays(size_points, size_tets, sizes)
    # TetGen would silently stop at 100,000 additional points.
    result = mesher.tetrahedralize(switches=switches, steinerleft=-1, quiet=True)
    markers = np.asarray(mesher.triface_markers).ravel() - 1
    return {"points": result[0], "tets": result[1], "faces": mesher.trifaces, "markers": markers}
