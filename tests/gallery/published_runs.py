"""Published models on small bodies in which everything diffuses fast, so that ordinary differential equations hold."""

import dataclasses

import numpy as np

import meshcell as mc
from gallery import published
from gallery.balls import round_ball
from meshcell.models.species import Pool


def stirred(model):
    """Let everything diffuse so fast (um^2/s) that what is left to level is below 1e-4 everywhere here."""
    species = [item if isinstance(item, Pool) else dataclasses.replace(item, diffusion=1e7) for item in model.species]
    return dataclasses.replace(model, species=species)


def nested(radius, patch=None, above=0.0, on_core=False):
    """Make a ball of that radius (um) with a core of half of it; a patch is the cap of either above a share of it."""
    mesh = round_ball(2, radius, core=1)

    def cap(points):
        core = np.linalg.norm(points, axis=1) < 0.75 * radius
        return (core == on_core) & (points[:, 2] > above * radius)

    return mc.patch(mesh, patch, cap) if patch else mesh


# Model -> its mesh, its last time (s), what happens; the tolerance is 1e-3 of how far each species goes, at rtol 1e-4.
CASES = {
    "mechanotransduction": (lambda: nested(6, "contact", above=0.4), 100.0, ()),
    "atp_synthesis": (lambda: nested(0.2), 0.02, ()),
    "release_unit": (lambda: nested(0.3, "junction", on_core=True), 0.02, (published.release_ends(share=0.5),)),
    "spine_calcium": (lambda: nested(0.3, "psd", above=0.4), 0.05, ()),
    # The first spike, and the receptors that it opens.
    "purkinje_calcium": (lambda: nested(2), 0.025, ()),
}
