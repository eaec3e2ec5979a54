"""Habits of the project: docstrings of public names by numpydoc, one ruff, one version, a changelog of single lines."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest
from numpydoc.validate import validate

import meshcell

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]

# Sections known, in order and underlined; a docstring, its summary one line in the imperative; every parameter there
# and known, with a type; what is returned and yielded. Left out: texts for parameters whose name and type say it all
# (PR07), the signature's order where the text groups by sense (PR03), sections that not every function needs (EX01,
# SA01, ES01), capitals, as descriptions begin with units (PR08), and how summaries are laid out (GL01 to GL03).
CHECKS = {
    *("GL05", "GL06", "GL07", "GL08", "GL09"),
    *("SS01", "SS02", "SS03", "SS04", "SS05", "SS06"),
    *("PR01", "PR02", "PR04", "PR05", "PR09", "PR10"),
    *("RT01", "YD01"),
}


PUBLIC = [name for name in meshcell.__all__ if not inspect.ismodule(getattr(meshcell, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    thing = getattr(meshcell, name)
    found = validate(f"{thing.__module__}.{thing.__qualname__}")["errors"]
    assert not [f"{code}: {text}" for code, text in found if code in CHECKS]


def test_pre_commit_runs_the_ruff_of_the_check():
    (pinned,) = (line for line in PROJECT["optional-dependencies"]["dev"] if line.startswith("ruff"))
    (rev,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", read(".pre-commit-config.yaml"))
    assert pinned == f"ruff=={rev}"


def test_the_citation_is_of_this_version():
    said = dict(re.findall(r"^([\w-]+): (\S.*)$", read("CITATION.cff"), re.MULTILINE))
    assert said["title"] == PROJECT["name"]
    assert said["license"] == PROJECT["license"]
    assert said["version"] == meshcell.__version__


def test_the_changelog_has_one_line_a_change():
    """Under the headings of Keep a Changelog; what takes longer belongs to docs/design.md."""
    text = read("CHANGELOG.md")
    assert "## [Unreleased]" in text or f"## [{meshcell.__version__}]" in text
    assert {*re.findall(r"^### (.*)$", text, re.MULTILINE)} <= {
        *("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }
    entries = re.findall(r"^- .*(?:\n(?![-#\n]).+)*", text, re.MULTILINE)
    assert len(entries) > 1
    assert not [entry for entry in entries if "\n" in entry or len(entry) > 120]
