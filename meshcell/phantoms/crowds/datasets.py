"""Data sets: many samples of one recipe, in parallel processes, resumable."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from meshcell.core.hints import require
from meshcell.core.progress import bar
from meshcell.core.randomness import generator
from meshcell.phantoms.crowds.recipes import Recipe, to_toml
from meshcell.phantoms.crowds.sample_files import read_sample, write_sample
from meshcell.phantoms.crowds.samples import Sample


def samples(
    recipe: Recipe, n: int, *, rng: int | np.random.Generator, folder: Any, processes: int = 1, progress: bool = False
) -> Iterator[Sample]:
    """Make n samples of a recipe with seeds of their own, each saved in a folder of its own; yield them in order.

    Parameters
    ----------
    recipe : Recipe
        Its own seed is not used; ranges are drawn anew for each sample.
    n : int
    rng : int or Generator
        Sample k depends on this and k alone: not on `processes`, nor on what was there already.
    folder : path
        Holds "sample_00000" and so on. Whole samples in it are kept, so a run that was stopped goes on; one of another
        seed or recipe is refused.
    processes : int
    progress : bool
        Show a bar.

    Yields
    ------
    Sample

    Raises
    ------
    ValueError
        A sample in the folder that another recipe or seed made.
    """
    require(recipe, Recipe, "samples(recipe, n)", n)
    root, seeds = Path(folder), generator(rng).integers(2**63, size=n)
    jobs = [(replace(recipe, seed=int(seed)), root / f"sample_{k:05d}") for k, seed in enumerate(seeds)]
    for job in jobs:
        _check(*job)
    if root.exists():
        # What a killed run left behind is never part of a sample.
        for rest in root.glob(".????????????????????????????????"):
            shutil.rmtree(rest, ignore_errors=True)
    for path in _run(jobs, processes, progress):
        yield read_sample(path)


def _check(recipe: Recipe, path: Path) -> None:

    there = path / "recipe.toml"
    if there.exists() and there.read_text(encoding="utf-8") != to_toml(recipe):
        raise ValueError(f"{path} should be a sample of this recipe and seed; it is of another; use another folder")


def _run(jobs: list[tuple[Recipe, Path]], processes: int, progress: bool) -> Iterator[Path]:
    shown = bar(total=len(jobs), progress=progress, desc="samples")
    with shown:
        if processes == 1:
            for job in jobs:
                yield _made(job)
                shown.update()
            return
        # Not by fork: numba's and scipy's threads do not survive it.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for path in pool.map(_made, jobs):
                yield path
                shown.update()


def _made(job: tuple[Recipe, Path]) -> Path:
    recipe, path = job
    if not (path / "recipe.toml").exists():
        write_sample(path, recipe.make())
    return path
