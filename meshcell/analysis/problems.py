"""Findings and reports: what the doctor says, as values and as text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from meshcell.types import Array

if TYPE_CHECKING:
    from meshcell.fidelity import Fidelity

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


@dataclass(frozen=True, eq=False)
class Report:
    """What `check` found; `print` it.

    Parameters
    ----------
    subject : str
        What was looked at.
    problems : tuple of Problem
        Errors first, then warnings, then notes.
    fidelity : Fidelity, optional
        What `check(mesh, against=labels)` measured.
    """

    subject: str
    problems: tuple[Problem, ...]
    fidelity: Fidelity | None = None

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not any(problem.severity == "error" for problem in self.problems)

    def __str__(self) -> str:
        counts = {kind: sum(problem.severity == kind for problem in self.problems) for kind in SEVERITIES}
        found = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.items() if n)
        verdict = (
            "mend the errors first" if not self.ok else "read the warnings first" if counts["warning"] else "ready"
        )
        table = [] if self.fidelity is None else [str(self.fidelity)]
        return "\n".join(
            [self.subject, *table, *map(str, self.problems), f"  => {verdict} ({found or 'nothing found'})"]
        )

    def __repr__(self) -> str:
        return str(self)


def sizes(counts: Array) -> str:
    """List the largest of many counts, and the smallest."""
    largest = np.sort(counts)[::-1]
    more = f" ... {largest[-1]:,}" if len(largest) > 4 else ""
    return ", ".join(f"{n:,}" for n in largest[:4]) + more


def listed(names: list[str], most: int = 6) -> str:
    """List the first of many names and say how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
