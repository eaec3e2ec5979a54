"""Fixtures that several test files share."""

import pytest

from gallery.files import SPINE


@pytest.fixture(scope="session")
def real_spine():
    """Path of the real spine's labels (10 nm); skips where the data is absent."""
    path = SPINE / "labels_10nm.npz"
    if not path.exists():
        pytest.skip(f"the real spine is not here ({path.name}); set MESHCELL_DATA to the folder that holds spine/")
    return path
