"""Print the lowest versions that pyproject.toml admits, one pin a line, as constraints for pip.

    python .ci/lowest.py pytest > lowest.txt && pip install -c lowest.txt .

The arguments name packages of the extra `dev` that are pinned as well; what has no lower bound is left to pip.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
tools = [line for line in project["optional-dependencies"]["dev"] if re.match(r"[\w-]+", line)[0] in sys.argv[1:]]
for line in [*project["dependencies"], *tools]:
    name, bound = re.fullmatch(r"([\w-]+)>=([\w.]+)", line).groups()
    sys.stdout.write(f"{name}=={bound}\n")
