"""Formats of voxel volumes and tilt series, one a file."""
