"""README keeps its word: the page runs as it stands, and its commands are the ones that CI runs."""

import re
from pathlib import Path

import matplotlib
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs_as_written(tmp_path, monkeypatch):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    (page,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names = {}
    exec(page, names)
    assert names["solution"].message == ""
    # Four rounds of refinement: more tetrahedra, the same regions of the same volumes.
    first, last = names["surface"], names["mesh"]
    import meshcell as mc

    assert len(last.tets) > len(names["solution"].mesh.tets)
    assert mc.enclosed_volumes(last) == pytest.approx(mc.enclosed_volumes(first), rel=0.01)


def test_both_commands_are_marked_for_ci():
    for mark in ("demo", "tests"):
        (command,) = re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)\n```", README, flags=re.DOTALL)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert "\n" not in command
