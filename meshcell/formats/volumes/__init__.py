"""Formats of voxels: each family of programs a file, and what all of them ask: which array, how large, what it is."""
