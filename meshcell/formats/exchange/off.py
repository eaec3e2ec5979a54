"""OFF (Geomview, CGAL): points and polygons of one closed body.

Source: Geomview 1.9 manual, "OFF files".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, check_sum, checksum, commented, numbers_of, replacing, tagged, truncated
from meshcell.core.types import Surface
from meshcell.formats.foreign import runs_of_cells
from meshcell.formats.single_bodies import body, single_body

# Numbers of a point before or after its place: colours, normals, texture.
HEAD = re.compile(rb"\s*(ST)?(C)?(N)?OFF\b")


def read_off(path: Path, names: Mapping[int, str] | None) -> Surface:
    """Read a closed body, polygons as fans of triangles; colours are left out."""
    text = path.read_bytes()
    notes = commented(text, "Surface")
    text = re.sub(rb"#[^\n]*", b"", text)
    head = HEAD.match(text)
    if head is None or re.match(rb"\s*(BINARY|4OFF|nOFF)", text[head.end() :]):
        raise FileError(f"{path} should be a text file that begins with OFF, in 3D; it is none; export it so")
    counts = re.compile(rb"\s*(\d+)\s+(\d+)\s+\d+[ \t]*\r?\n").match(text, head.end())
    if counts is None:
        truncated(path, "numbers of points, faces and edges", "they are missing")
    n_points, n_faces = int(counts.group(1)), int(counts.group(2))
    lines = text[counts.end() :].split(b"\n")
    if n_points + n_faces > len(lines):
        truncated(path, f"{n_points:,} points and {n_faces:,} faces", f"{len(lines):,} lines follow")
    lines = [line for line in lines if line.strip()]
    points = numbers_of(path, b"\n".join(lines[:n_points]))
    width = len(points) // n_points if n_points else 3
    if len(points) != width * n_points or width < 3 or len(lines) < n_points + n_faces:
        truncated(path, f"{n_points:,} points of {width} numbers", f"{len(points):,} numbers are there")
    triangles = _fans(path, lines[n_points : n_points + n_faces])
    if notes and [n_points, len(triangles)] != notes["counts"]:
        truncated(path, "{:,} points and {:,} triangles".format(*notes["counts"]), "it has others")
    check_sum(path, notes, points, triangles)
    named = {int(label): name for label, name in notes["names"].items()} if notes else None
    return body(path, points.reshape(-1, width)[:, :3], triangles, names or named)


def write_off(path: Path, surface: Surface) -> None:
    """Write text with 17 digits; several regions, and patches, have no place here."""
    triangles, name = single_body(path, surface, "OFF")
    label = int(surface.sides.max())
    crc = checksum(surface.points, triangles.astype(np.int64))
    notes = tagged("Surface", names={str(label): name}, counts=[len(surface.points), len(triangles)], crc=crc)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"OFF\n# {notes}\n{len(surface.points)} {len(triangles)} 0\n")
        file.writelines(f"{x!r} {y!r} {z!r}\n" for x, y, z in surface.points.tolist())
        file.writelines(f"3 {a} {b} {c}\n" for a, b, c in triangles.tolist())


def _fans(path: Path, lines: list[bytes]) -> Array:
    """Divide faces into triangles; what follows the corners of a face is its colour."""
    kept = [b" ".join(words[: 1 + int(words[0])]) for words in (line.split() for line in lines)]
    flat, seen = numbers_of(path, b"\n".join(kept)), 0
    parts = [np.empty((0, 3), np.int64)]
    for rows in runs_of_cells(flat, 1, lambda head: 1 + int(head[0])):
        seen += rows.size
        corners = rows[:, 1:].astype(np.int64)
        fans = [corners[:, [0, k, k + 1]] for k in range(1, corners.shape[1] - 1)]
        parts += [np.stack(fans, axis=1).reshape(-1, 3)] if fans else []
    if seen != len(flat):
        truncated(path, "faces of as many corners as they tell", "some have fewer")
    return np.concatenate(parts)
