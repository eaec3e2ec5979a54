"""Findings and reports: what the doctor says, as values and as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

import numpy as np

from meshcell.core.arrays import Array

SEVERITIES = ("error", "warning", "note")
# Rows or voxels that a problem lists.
LISTED = 1000
WIDTH = 110


@dataclass(frozen=True, eq=False)
class Problem:
    """One finding.

    Parameters
    ----------
    severity : str
        "error": the next stage refuses or fails; "warning": it runs, but the result may mislead; "note": good to know.
    message : str
        What was found, where, and what to do.
    where : array
        Rows (of triangles, tets, facets) or (k, 3) voxels, at most a thousand.
    """

    severity: str
    message: str
    where: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def __str__(self) -> str:
        head = f"  {self.severity + ':':9}"
        return textwrap.fill(head + self.message, WIDTH, subsequent_indent=" " * len(head), break_long_words=False)


def sizes(counts: Array) -> str:
    """List the largest of many counts, and the smallest."""
    largest = np.sort(counts)[::-1]
    more = f" ... {largest[-1]:,}" if len(largest) > 4 else ""
    return ", ".join(f"{n:,}" for n in largest[:4]) + more


def listed(names: list[str], most: int = 6) -> str:
    """List the first of many names and say how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
