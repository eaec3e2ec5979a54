"""The tools that meshcell is measured against, called as their users would."""

import numpy as np
import pyvista

from meshcell.core import native
from meshcell.core.errors import NativeError


def vtk_surface_nets(volume):
    """Extract all labels with VTK's SurfaceNets, unsmoothed."""
    from vtkmodules.vtkFiltersCore import vtkSurfaceNets3D

    image = pyvista.ImageData(dimensions=np.array(volume.data.shape) + 2, spacing=volume.spacing)
    image["labels"] = np.pad(volume.data, 1).ravel(order="F")
    nets = vtkSurfaceNets3D()
    nets.SetInputData(image)
    labels = list(volume.regions)
    nets.SetNumberOfLabels(len(labels))
    for row, label in enumerate(labels):
        nets.SetLabel(row, label)
    nets.SmoothingOff()
    nets.SetOutputMeshTypeToTriangles()
    nets.Update()
    return pyvista.wrap(nets.GetOutput())


def skimage_per_label(volume):
    """Extract every label on its own with scikit-image's marching cubes."""
    from scipy.ndimage import find_objects
    from skimage.measure import marching_cubes

    bodies = []
    for label, box in enumerate(find_objects(volume.data.astype(np.int32)), 1):
        if box is not None:
            padded = np.pad(volume.data[box] == label, 1).astype(np.float32)
            bodies.append(marching_cubes(padded, 0.5, spacing=volume.spacing))
    return bodies


def zmesh_per_label(volume):
    """Extract all labels with zmesh's marching cubes, and every label's mesh."""
    import zmesh

    mesher = zmesh.Mesher(volume.spacing)
    mesher.mesh(np.asfortranarray(volume.data), close=True)
    return [mesher.get(label, normals=False, reduction_factor=0) for label in mesher.ids()]


def raw_tetgen(surface):
    """Return points, tetrahedra (of either orientation) and facets of TetGen alone, as a user would call it."""
    import tetgen

    mesher = tetgen.TetGen(surface.points, surface.triangles)
    points, tets = mesher.tetrahedralize(switches="pq1.4/12AQ", steinerleft=-1, quiet=True)[:2]
    return points, np.asarray(tets)


def ftetwild(points, triangles, edge):
    """Return points and tetrahedra of fTetWild; for `native.run_limited`, because it may take hours."""
    import pytetwild

    points, tets = pytetwild.tetrahedralize(points, triangles, edge_length_abs=edge)
    return {"points": points, "tets": tets}


def ftetwild_limited(surface, edge, seconds):
    """Return points and tetrahedra, or why there are none."""
    arguments = {"points": surface.points, "triangles": surface.triangles, "edge": edge}
    try:
        found = native.run_limited(ftetwild, arguments, seconds=seconds, what="fTetWild")
    except NativeError as error:
        return f"unfinished in {seconds} s" if error.reason == "time" else f"failed: {error.reason}"
    return found["points"], found["tets"]
