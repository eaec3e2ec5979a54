"""VTK's XML files (.vtp, .vtu), read and written without VTK, which ends the process on a damaged header.

Ours are text with base64, zlib-compressed arrays; any file of one piece is read, appended or inline, raw or base64,
compressed by zlib or not. Format: VTK User's Guide, "VTK File Formats", XML file formats.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from meshcell.core.arrays import Array
from meshcell.core.files import FileError, check_values, replacing, truncated

BLOCK = 1 << 20
# Level 6 took seven times as long for a hundredth less (meshes of 70k triangles and 200k tetrahedra).
LEVEL = 1
DTYPES = {
    "Int8": "i1",
    "UInt8": "u1",
    "Int16": "i2",
    "UInt16": "u2",
    "Int32": "i4",
    "UInt32": "u4",
    "Int64": "i8",
    "UInt64": "u8",
    "Float32": "f4",
    "Float64": "f8",
}
TYPES = {np.dtype(code): name for name, code in DTYPES.items()}
# Section -> name -> array, or the element that `encoded_array` made of it.
Sections = Mapping[str, Mapping[str, Array | str]]
ENDIAN = {"LittleEndian": "<", "BigEndian": ">"}


@dataclass(frozen=True)
class Piece:
    """The arrays of a file by section and the texts of FieldData; sections are called as in the file."""

    counts: dict[str, int]
    sections: dict[str, dict[str, Array]]
    texts: dict[str, str] = field(default_factory=dict)


def read_vtk(path: Path, kind: str) -> Piece:
    """Read the one piece of a file of this kind ("PolyData" or "UnstructuredGrid")."""
    content = path.read_bytes()
    root, appended = _parsed(path, content)
    pieces = root.findall(f"{kind}/Piece")
    if root.tag != "VTKFile" or len(pieces) != 1:
        raise FileError(
            f"{path} should be a VTK XML file of type {kind} with one piece; got {root.get('type')!r} with "
            f"{len(pieces)}; merge or convert it, for instance in ParaView"
        )
    decoder = Decoder(path, root, appended)
    counts = {key: int(value) for key, value in pieces[0].attrib.items() if key.startswith("NumberOf")}
    sections = {part.tag: {a.get("Name", ""): decoder.array(a) for a in part.iter("DataArray")} for part in pieces[0]}
    texts = {a.get("Name", ""): decoder.text(a) for a in root.findall(f"{kind}/FieldData/*") if _is_text(a)}
    _check_counts(path, counts, sections)
    return Piece(counts, sections, texts)


def write_vtk(
    path: Path,
    kind: str,
    counts: Mapping[str, int],
    sections: Sections,
    texts: Mapping[str, str],
) -> None:
    """Write one piece, every array as compressed base64; a text in its place is what `encoded_array` made of it."""
    lines = [
        '<?xml version="1.0"?>',
        f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
        'compressor="vtkZLibDataCompressor">',
        f"<{kind}>",
    ]
    if texts:
        # As bytes, not as VTK's String array, which ends the process that reads it with meshio.
        rows = (encoded_array(name, np.frombuffer(text.encode("ascii"), np.uint8)) for name, text in texts.items())
        lines += ["<FieldData>", *rows, "</FieldData>"]
    lines.append("<Piece " + " ".join(f'{name}="{count}"' for name, count in counts.items()) + ">")
    for section, arrays in sections.items():
        lines += [f"<{section}>", *(encoded_array(name, array) for name, array in arrays.items()), f"</{section}>"]
    lines += ["</Piece>", f"</{kind}>", "</VTKFile>\n"]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), "ascii", newline="\n")


# --- writing ---


def encoded_array(name: str, array: Array | str) -> str:
    """Return an array as a DataArray element, so that one that many files share is compressed once."""
    if isinstance(array, str):
        return array
    columns = f' NumberOfComponents="{array.shape[1]}"' if array.ndim == 2 else ""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    head = f'<DataArray type="{TYPES[array.dtype]}" Name="{name}"{columns} format="binary">'
    return f"{head}\n{_encoded(little.tobytes())}\n</DataArray>"


def _encoded(content: bytes) -> str:
    blocks = [zlib.compress(content[start : start + BLOCK], LEVEL) for start in range(0, len(content), BLOCK)]
    header = np.array([len(blocks), BLOCK, len(content) % BLOCK, *map(len, blocks)], "<u8").tobytes()
    return (base64.b64encode(header) + base64.b64encode(b"".join(blocks))).decode("ascii")


# --- reading ---


def _parsed(path: Path, content: bytes) -> tuple[ElementTree.Element, bytes]:
    """Divide a file into its XML and the bytes of AppendedData, which are no XML when they are raw."""
    start = re.search(rb"<AppendedData[^>]*>\s*_", content)
    if start is None:
        return ElementTree.fromstring(content), b""
    end = content.rfind(b"</AppendedData>")
    if end < 0:
        truncated(path, "appended arrays up to </AppendedData>", f"it ends at byte {len(content):,}")
    head = content[: start.end() - 1] + content[end:]
    return ElementTree.fromstring(head), content[start.end() : end]


def _is_text(element: ElementTree.Element) -> bool:
    """Tell texts: ours are bytes; those of our older files and of VTK are called String."""
    return element.get("type") == "String" or (element.get("type") == "UInt8" and element.get("Name") == "meshcell")


class Decoder:
    """Turns the DataArray elements of one file into arrays."""

    def __init__(self, path: Path, root: ElementTree.Element, appended: bytes) -> None:
        self.path = path
        self.order = ENDIAN[root.get("byte_order", "LittleEndian")]
        self.word = np.dtype(self.order + DTYPES[root.get("header_type", "UInt32")])
        self.compressor = root.get("compressor", "")
        self.appended = appended
        element = root.find("AppendedData")
        self.raw = element is not None and element.get("encoding") == "raw"
        if self.compressor not in ("", "vtkZLibDataCompressor"):
            raise FileError(f"{path} should be compressed by zlib or not at all; got {self.compressor}; save it so")

    def array(self, element: ElementTree.Element) -> Array:
        """Decode numbers; several components become columns."""
        dtype = np.dtype(self.order + DTYPES[element.get("type", "")])
        if element.get("format") == "ascii":
            # Through Python's own numbers, since 64-bit integers do not pass through floats.
            number: Any = float if dtype.kind == "f" else int
            flat = np.array([number(word) for word in (element.text or "").split()], dtype)
        else:
            content = self._content(element)
            if len(content) % dtype.itemsize:
                self._broken(element, f"{len(content):,} bytes are no whole numbers")
            flat = np.frombuffer(content, dtype)
        columns = int(element.get("NumberOfComponents") or 1)
        if len(flat) % columns:
            self._broken(element, f"{len(flat):,} numbers are no rows of {columns}")
        return flat.astype(dtype.newbyteorder("="), copy=False).reshape((-1, columns) if columns > 1 else -1)

    def text(self, element: ElementTree.Element) -> str:
        """Decode one text; VTK ends each by a zero."""
        if element.get("format") == "ascii":
            content = bytes(int(word) for word in (element.text or "").split())
        else:
            content = self._content(element)
        return content.split(b"\0")[0].decode("utf-8")

    def _content(self, element: ElementTree.Element) -> bytes:
        if element.get("format") == "appended":
            source, raw = self.appended[int(element.get("offset", 0)) :], self.raw
        else:
            source, raw = (element.text or "").strip().encode("ascii"), False
        read = _raw if raw else _base64
        if not self.compressor:
            size = int(self._words(element, read(source, 0, self.word.itemsize))[0])
            content = read(source, 0, self.word.itemsize + size)[self.word.itemsize :]
            if len(content) != size:
                self._broken(element, f"{len(content):,} of {size:,} bytes are there")
            return content
        return self._decompressed(element, source, read)

    def _decompressed(self, element: ElementTree.Element, source: bytes, read: Any) -> bytes:
        width = self.word.itemsize
        blocks = int(self._words(element, read(source, 0, width))[0])
        head = (3 + blocks) * width
        if head > len(source):
            self._broken(element, f"{blocks:,} blocks cannot be there")
        _, full, last, *sizes = (int(n) for n in self._words(element, read(source, 0, head)))
        # The header is encoded by itself, so the blocks begin where its base64 ends.
        packed = read(source, head if read is _raw else 4 * (-(-head // 3)), sum(sizes))
        if len(packed) != sum(sizes):
            self._broken(element, f"{len(packed):,} of {sum(sizes):,} compressed bytes are there")
        parts, start = [], 0
        for number, size in enumerate(sizes):
            promised = last if last and number == blocks - 1 else full
            # max_length, so that a block never takes more memory than it promises.
            part = zlib.decompressobj().decompress(packed[start : start + size], max(promised, 1))
            if len(part) != promised:
                self._broken(element, f"block {number} has {len(part):,} of {promised:,} bytes")
            parts.append(part)
            start += size
        return b"".join(parts)

    def _words(self, element: ElementTree.Element, content: bytes) -> Array:
        if len(content) % self.word.itemsize or not content:
            self._broken(element, "its length is missing")
        return np.frombuffer(content, self.word)

    def _broken(self, element: ElementTree.Element, found: str) -> None:
        truncated(self.path, f"an array {element.get('Name')!r}", found)


def _raw(source: bytes, start: int, size: int) -> bytes:
    return source[start : start + size]


def _base64(source: bytes, start: int, size: int) -> bytes:
    """Decode `size` bytes from character `start` on."""
    return base64.b64decode(source[start : start + 4 * (-(-size // 3))])[:size]


def _check_counts(path: Path, counts: Mapping[str, int], sections: Mapping[str, Mapping[str, Array]]) -> None:
    points = counts.get("NumberOfPoints", 0)
    cells = sum(counts.get(f"NumberOf{name}", 0) for name in ("Cells", "Verts", "Lines", "Strips", "Polys"))
    for section, rows in (("Points", points), ("PointData", points), ("CellData", cells)):
        for name, array in sections.get(section, {}).items():
            check_values(path, f"rows of {section} {name!r}", len(array), rows)
    for section in ("Cells", "Polys", "Strips"):
        arrays = sections.get(section, {})
        if counts.get(f"NumberOf{section}", 0) == 0:
            continue
        check_values(path, f"rows of {section}", len(arrays["offsets"]), counts[f"NumberOf{section}"])
        check_values(path, "corners", len(arrays["connectivity"]), int(arrays["offsets"][-1]))
