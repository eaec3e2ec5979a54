"""Legacy VTK files (.vtk): triangles or tetrahedra with arrays, text or big-endian binary, versions 1 to 5.1.

Source: VTK User's Guide, "VTK File Formats", simple legacy formats.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, numbers_of, replacing, truncated
from meshcell.core.types import Surface, TetMesh
from meshcell.formats.cell_arrays import Choice
from meshcell.formats.vtk import mesh_arrays, mesh_in, surface_arrays, surface_in
from meshcell.formats.vtk_xml import Piece, Sections

DTYPES = {"char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2", "int": "i4", "unsigned_int": "u4"}
DTYPES |= {"long": "i8", "unsigned_long": "u8", "vtktypeint64": "i8", "vtktypeuint64": "u8", "vtkidtype": "i4"}
DTYPES |= {"float": "f4", "double": "f8", "bit": "u1", "signed_char": "i1", "long_long": "i8"}
# Since version 5.1, types may be told by their width.
DTYPES |= {f"vtktype{kind}int{8 * n}": f"{kind or 'i'}{n}" for kind in ("", "u") for n in (1, 2, 4)}
DTYPES |= {"unsigned_long_long": "u8", "vtktypefloat32": "f4", "vtktypefloat64": "f8"}
NAMES = {np.dtype(code): name for name, code in reversed(DTYPES.items()) if name not in ("bit", "vtkidtype")}
CELLS = {"VERTICES": "Verts", "LINES": "Lines", "POLYGONS": "Polys", "TRIANGLE_STRIPS": "Strips", "CELLS": "Cells"}
# What our files are called in their second line, and then the CRC-32 of all that follows the third.
TITLE = "meshcell, lengths in um, checksum "
KINDS = {"POLYDATA": "PolyData", "UNSTRUCTURED_GRID": "UnstructuredGrid"}


def read_legacy_vtk(path: Path, names: Mapping[int, str] | None, regions: Choice = None) -> Surface | TetMesh:
    """Read ours exactly; others as VTP and VTU."""
    reader = Reader(path, path.read_bytes())
    kind, piece = reader.piece()
    return surface_in(path, piece, names, regions) if kind == "PolyData" else mesh_in(path, piece, names, regions)


def write_legacy_vtk(path: Path, thing: Surface | TetMesh) -> None:
    """Write binary, version 4.2, which all programs read: the arrays of VTP or VTU, names as a field of bytes."""
    is_mesh = isinstance(thing, TetMesh)
    (_, sections), texts = mesh_arrays(thing) if isinstance(thing, TetMesh) else surface_arrays(thing)
    points = np.asarray(sections["Points"]["Points"])
    lines = [b"DATASET UNSTRUCTURED_GRID" if is_mesh else b"DATASET POLYDATA", b"FIELD FieldData 1"]
    lines += _field("meshcell", np.frombuffer(texts["meshcell"].encode("ascii"), np.uint8))
    lines += [f"POINTS {len(points)} double".encode(), points.astype(">f8").tobytes()]
    lines += _cells(sections, is_mesh)
    arrays = {name: np.asarray(array) for name, array in sections["CellData"].items()}
    n = len(next(iter(arrays.values()), np.empty(0)))
    lines += [f"CELL_DATA {n}".encode(), f"FIELD FieldData {len(arrays)}".encode()]
    for name, array in arrays.items():
        # Blanks end a name; readers undo the percent signs.
        lines += _field(_quoted(name), array)
    content = b"\n".join(lines) + b"\n"
    title = f"{TITLE}{zlib.crc32(content):08x}".encode()
    with replacing(path) as temporary:
        temporary.write_bytes(b"\n".join([b"# vtk DataFile Version 4.2", title, b"BINARY", content]))


def _cells(sections: Sections, is_mesh: bool) -> list[bytes]:
    own = {name: np.asarray(array) for name, array in sections["Cells" if is_mesh else "Polys"].items()}
    sizes = np.diff(own["offsets"], prepend=0)
    flat = np.insert(own["connectivity"], own["offsets"] - sizes, sizes).astype(">i4")
    title = "CELLS" if is_mesh else "POLYGONS"
    lines = [f"{title} {len(sizes)} {len(flat)}".encode(), flat.tobytes()]
    if is_mesh:
        lines += [f"CELL_TYPES {len(sizes)}".encode(), own["types"].astype(">i4").tobytes()]
    return lines


def _field(name: str, array: Array) -> list[bytes]:
    columns = 1 if array.ndim == 1 else array.shape[1]
    kind = NAMES[array.dtype.newbyteorder("=")]
    big = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return [f"{name} {columns} {len(array)} {kind}".encode(), big]


def _quoted(name: str) -> str:
    return re.sub(r"[^\w:.|-]", lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), name)


def _unquoted(name: str) -> str:
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found.group(1), 16)]), name.encode())
    return raw.decode("utf-8", "replace")


class Reader:
    """Goes through a file from keyword to keyword."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content = path, content
        head = re.match(rb"# vtk DataFile Version (\d+)\.(\d+)[^\n]*\n([^\n]*)\n\s*(ASCII|BINARY)\s*?\n", content)
        if head is None:
            raise FileError(
                f"{path} should be a legacy VTK file (# vtk DataFile Version ...); it is none; give it its own ending"
            )
        self.new, self.binary = int(head.group(1)) >= 5, head.group(4) == b"BINARY"
        self.place = head.end()
        title = head.group(3).decode("utf-8", "replace")
        if title.startswith(TITLE) and title != f"{TITLE}{zlib.crc32(content[self.place :]):08x}":
            raise FileError(
                f"{path} promises other bytes than it holds (by its checksum): it is damaged, copy it again; or it was "
                "edited, then give it another title in its second line, and load it as a file of another program"
            )

    def piece(self) -> tuple[str, Piece]:
        """Return the kind of the dataset and its arrays, as in VTK's XML files."""
        dataset = self.words()
        if dataset[:1] != ["DATASET"] or dataset[-1] not in KINDS:
            raise FileError(f"{self.path} should hold POLYDATA or an UNSTRUCTURED_GRID; got {dataset}; convert it")
        sections: dict[str, dict[str, Array]] = {"Points": {}, "CellData": {}, "PointData": {}}
        counts: dict[str, int] = {}
        texts: dict[str, str] = {}
        target, rows = "", 0
        while words := self.words():
            title, *rest = words
            if title == "POINTS":
                sections["Points"]["Points"] = self.array(rest[1], 3 * int(rest[0])).reshape(-1, 3)
                counts["NumberOfPoints"] = int(rest[0])
            elif title in CELLS:
                own = sections[CELLS[title]] = self.cells(int(rest[0]), int(rest[1]))
                counts[f"NumberOf{CELLS[title]}"] = len(own["offsets"])
            elif title == "CELL_TYPES":
                sections["Cells"]["types"] = self.array("int", int(rest[0])).astype(np.int64)
            elif title in ("CELL_DATA", "POINT_DATA"):
                target, rows = {"CELL_DATA": "CellData", "POINT_DATA": "PointData"}[title], int(rest[0])
            elif title == "FIELD":
                self.fields(int(rest[-1]), sections[target] if target else None, texts)
            elif title == "METADATA":
                self.skip_metadata()
            elif target:
                self.attribute(title, rest, rows, sections[target])
            else:
                raise FileError(f"{self.path} should hold points, cells and their data; got {title!r}; convert it")
        self.check(sections, counts)
        return KINDS[dataset[-1]], Piece(counts, sections, texts)

    def words(self) -> list[str]:
        """Return the words of the next line that has any; none at the end."""
        while self.place < len(self.content):
            end = self.content.find(b"\n", self.place)
            end = len(self.content) if end < 0 else end
            line, self.place = self.content[self.place : end], end + 1
            if line.strip():
                return line.decode("utf-8", "replace").split()
        return []

    def array(self, kind: str, count: int) -> Array:
        """Take `count` numbers."""
        if kind.lower() not in DTYPES or count < 0:
            raise FileError(f"{self.path} should have arrays of numbers; got {count} of {kind!r}; convert it")
        dtype = np.dtype(DTYPES[kind.lower()])
        left = len(self.content) - self.place
        if self.binary:
            size = -(-count // 8) if kind == "bit" else count * dtype.itemsize
            if size > left:
                truncated(self.path, f"{count:,} numbers of {kind}", f"{left:,} bytes are left")
            raw = np.frombuffer(self.content, dtype.newbyteorder(">"), size // dtype.itemsize, self.place)
            self.place += size
            return np.unpackbits(raw)[:count] if kind == "bit" else raw.astype(dtype)
        if 2 * count > left + 1:
            truncated(self.path, f"{count:,} numbers", f"{left:,} bytes are left")
        stop = re.compile(rb"^[ \t]*[A-Za-z_]", re.MULTILINE).search(self.content, self.place)
        end = stop.start() if stop else len(self.content)
        flat = numbers_of(self.path, self.content[self.place : end])
        if len(flat) != count:
            truncated(self.path, f"{count:,} numbers", f"{len(flat):,} are there")
        self.place = end
        return flat.astype(np.int64 if dtype.kind in "iu" else dtype)

    def cells(self, first: int, second: int) -> dict[str, Array]:
        """Take cells: offsets and corners since 5.0, before that each cell's number of corners and its corners."""
        if self.new:
            found = {}
            for title, count in (("OFFSETS", first), ("CONNECTIVITY", second)):
                words = self.words()
                if words[:1] != [title] or len(words) != 2:
                    truncated(self.path, f"a block {title}", f"{words} is there")
                found[title] = self.array(words[1], count).astype(np.int64)
            return {"offsets": found["OFFSETS"][1:], "connectivity": found["CONNECTIVITY"]}
        flat = self.array("int", second).astype(np.int64)
        starts = np.empty(first, np.int64)
        place = 0
        for row in range(first):
            if place >= second or flat[place] < 0:
                truncated(self.path, f"{first:,} cells", f"{row:,} are there")
            starts[row] = place
            place += int(flat[place]) + 1
        if place != second:
            truncated(self.path, f"{second:,} numbers of cells", f"the cells have {place:,}")
        return {"offsets": np.cumsum(flat[starts]), "connectivity": np.delete(flat, starts)}

    def fields(self, count: int, target: dict[str, Array] | None, texts: dict[str, str]) -> None:
        """Take the arrays of a field, of the whole file if `target` is None."""
        for _ in range(count):
            words = self.words()
            if words[:1] == ["METADATA"]:
                self.skip_metadata()
                words = self.words()
            if len(words) != 4:
                truncated(self.path, f"{count:,} arrays of a field", f"{words} is there")
            name, columns, rows, kind = _unquoted(words[0]), int(words[1]), int(words[2]), words[3]
            own = self.array(kind, columns * rows)
            if target is not None:
                target[name] = own.reshape(rows, columns) if columns > 1 else own
            elif name == "meshcell":
                texts[name] = own.astype(np.uint8).tobytes().decode("ascii", "replace")

    def attribute(self, title: str, rest: list[str], rows: int, target: dict[str, Array]) -> None:
        """Take scalars, vectors and the like; colours and textures are of no use here."""
        columns = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}
        if title == "SCALARS":
            width = int(rest[2]) if len(rest) > 2 else 1
            place = self.place
            if self.words()[:1] != ["LOOKUP_TABLE"]:
                self.place = place
            own = self.array(rest[1], rows * width)
            target[_unquoted(rest[0])] = own.reshape(rows, width) if width > 1 else own
        elif title in columns:
            target[_unquoted(rest[0])] = self.array(rest[1], rows * columns[title]).reshape(rows, -1)
        elif title == "TEXTURE_COORDINATES":
            self.array(rest[2], rows * int(rest[1]))
        elif title in ("COLOR_SCALARS", "LOOKUP_TABLE"):
            size = rows * int(rest[1]) if title == "COLOR_SCALARS" else 4 * int(rest[1])
            self.array("unsigned_char" if self.binary else "float", size)
        else:
            raise FileError(f"{self.path} should have data of cells and points; got {title!r}; convert it")

    def skip_metadata(self) -> None:
        """Go to the blank line that ends a block of metadata."""
        end = re.compile(rb"\n[ \t]*\r?\n").search(self.content, self.place - 1)
        self.place = end.end() if end else len(self.content)

    def check(self, sections: Mapping[str, Mapping[str, Array]], counts: Mapping[str, int]) -> None:
        """Refuse arrays of another length than the cells."""
        n = sum(counts.get(f"NumberOf{name}", 0) for name in CELLS.values())
        for name, array in sections["CellData"].items():
            if len(array) != n:
                truncated(self.path, f"{n:,} values of {name!r}", f"it has {len(array):,}")
        if "Cells" in sections and len(sections["Cells"].get("types", ())) != n:
            truncated(self.path, f"{n:,} types of cells", "it has others")
