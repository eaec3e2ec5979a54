"""The table of placed units."""

from __future__ import annotations

import numpy as np

# One row of a sample's motif table.
MOTIF = np.dtype(
    [
        ("species", "U64"),
        ("instance", np.int32),
        ("chain", np.int32),
        ("host", np.int32),
        ("voxels", np.int32),
        ("position", np.float64, (3,)),
        ("quaternion", np.float64, (4,)),
    ]
)
