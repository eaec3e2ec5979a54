"""Formats in which programs exchange meshes: each a file of its own, with a reader and a writer."""
