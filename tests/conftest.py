"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# The real spine is not part of the project: a folder beside it, or the one named in the environment.
SPINE = Path(os.environ.get("MESHCELL_DATA", Path(__file__).parents[2] / "shared" / "data")) / "spine"


@pytest.fixture(scope="session")
def real_spine():
    """Path of the real spine's labels (10 nm); skips where the data is absent."""
    path = SPINE / "labels_10nm.npz"
    if not path.exists():
        pytest.skip(f"the real spine is not here ({path.name}); set MESHCELL_DATA to the folder that holds spine/")
    return path
