"""Where the real data lies, if it is here."""

import os
from pathlib import Path

# The real spine is not part of the project: a folder beside it, or the one named in the environment.
SPINE = Path(os.environ.get("MESHCELL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "spine"
