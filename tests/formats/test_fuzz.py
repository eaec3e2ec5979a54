"""A thousand damaged copies of a file of each format: an error by name or a volume, in bounded time and memory."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import h5py
import nrrd
import numpy as np
import pytest
import tifffile
from PIL import Image

import meshcell as mc
from gallery.things import volume

pytest.importorskip("resource")
COPIES = 1000
ZYX = np.random.default_rng(0).integers(0, 4, (6, 20, 30)).astype(np.uint8)


def ours(ending):
    return lambda path: mc.save(path.with_name(f"a{ending}"), volume(shape=(12, 10, 8)))


def packed(path):
    mc.save(path.with_name("a.mrc"), volume("f4"))
    path.write_bytes(gzip.compress(path.with_name("a.mrc").read_bytes()))


def cremi(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("volumes/raw", data=ZYX, compression="gzip").attrs["resolution"] = (40, 4, 4)
        ids = file.create_dataset("volumes/labels/neuron_ids", data=ZYX.astype(np.uint64), chunks=(2, 10, 10))
        ids.attrs.update({"resolution": (40, 4, 4), "offset": (40, 0, 0), "units": "nm"})


def nifti(path):
    import nibabel

    image = nibabel.Nifti1Image(ZYX.T, np.diag([0.008, 0.008, 0.04, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)


def slicer(path):
    header = {
        "space": "LPS",
        "space directions": np.diag([8e-6, 8e-6, 4e-5]),
        "Segment0_ID": "s",
        "Segment0_Name": "er",
    }
    nrrd.write(str(path), ZYX.T, {**header, "encoding": "gzip" if "seg" in path.name else "raw"})


def cellpose(path):
    np.save(path, {"masks": ZYX, "filename": "a.tif", "flows": [ZYX[0], []], "diameter": np.float64(30)})


def palette(path):
    picture = Image.fromarray(ZYX[0], mode="P")
    picture.putpalette([k * n % 256 for k in range(256) for n in (37, 91, 151)])
    picture.save(path)


def series(path):
    mc.save(path, mc.TiltSeries(np.ones((5, 20, 30), np.float32), np.arange(5.0), 0.001))
    path.with_name("damaged.tlt").write_text("0\n1\n2\n3\n4\n")


def pages(path):
    with tifffile.TiffWriter(path) as file:
        for plane in ZYX:
            file.write(plane, photometric="minisblack", compression="lzw")


EXAMPLES = {
    **{f"a{ending}": ours(ending) for ending in (".npz", ".h5", ".tif", ".ome.tif", ".mrc")},
    "a.npy": lambda path: np.save(path, ZYX),
    "plain.npz": lambda path: np.savez(path, raw=ZYX / 2.0, labels=ZYX, names='{"1": "er"}'),
    "a.map.gz": packed,
    "cremi.h5": cremi,
    "a.nii": nifti,
    "a.nii.gz": nifti,
    "a.nrrd": slicer,
    "a.seg.nrrd": slicer,
    "a_seg.npy": cellpose,
    "a.png": palette,
    "a.st": series,
    "plain.tif": pages,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_damage_ends_in_an_error_or_a_checked_volume(tmp_path, name):
    EXAMPLES[name](tmp_path / name)
    tests = str(Path(__file__).parents[1])
    places = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "gallery.mutations", str(tmp_path / name), str(COPIES), "1"],
        capture_output=True,
        text=True,
        cwd=tests,
        env={**os.environ, "PYTHONPATH": places},
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
