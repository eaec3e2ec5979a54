"""Ellipses and their analytic shadows."""

import numpy as np


def ellipse_phantom(n):
    """Three ellipses on n x n pixels of size 2 / n: averages over pixels, and the parameters."""
    bodies = [(0.0, 0.0, 0.69, 0.9, 10.0, 1.0), (0.2, 0.1, 0.2, 0.35, -30.0, -0.5), (-0.25, -0.3, 0.15, 0.1, 0.0, 0.7)]
    fine = 8
    axis = (np.arange(n * fine) + 0.5) / (n * fine) * 2 - 1
    x, z = np.meshgrid(axis, axis, indexing="ij")
    picture = np.zeros((n * fine, n * fine))
    for cx, cz, a, b, turn, value in bodies:
        c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        inside = (((x - cx) * c + (z - cz) * s) / a) ** 2 + ((-(x - cx) * s + (z - cz) * c) / b) ** 2 < 1
        picture[inside] += value
    return picture.reshape(n, fine, n, fine).mean(axis=(1, 3)), bodies


def ellipse_shadows(bodies, angles, across, pixel):
    """Line integrals through ellipses averaged over the detector's pixels, in closed form."""
    edges = (np.arange(across + 1) - across / 2) * pixel
    views = np.zeros((len(angles), across))
    for cx, cz, a, b, turn, value in bodies:
        for row, angle in enumerate(np.deg2rad(angles)):
            half = np.hypot(a * np.cos(angle - np.deg2rad(turn)), b * np.sin(angle - np.deg2rad(turn)))
            t = np.clip((edges - cx * np.cos(angle) - cz * np.sin(angle)) / half, -1, 1)
            views[row] += value * np.diff(a * b * (t * np.sqrt(1 - t * t) + np.arcsin(t))) / pixel
    return views
