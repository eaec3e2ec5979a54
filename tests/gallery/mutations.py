"""Damaged copies of a file, loaded one by one in a process of its own: python -m gallery.mutations FILE N SEED.

Each copy is made by a seeded mutation. What ends otherwise than well, or by ValueError or OSError, takes longer than
`SLOWEST`, or takes more memory than `SPARE` and twenty times the file, is printed as one line of JSON.
"""

import gzip
import json
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

SLOWEST, SPARE = 5.0, 256 * 2**20
# What headers hold and readers trip over: nothing, one, and the ends of the types.
EXTREMES = [
    bytes(4),
    b"\1\0\0\0",
    b"\0\0\0\1",
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"9999",
]


def mutated(content, rng):
    """Return a copy with one kind of damage: bits, bytes, numbers, a cut, a hole, a doubled or a moved piece."""
    data = bytearray(content)
    # Headers are where the harm is done.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 600)
    place, length = int(rng.integers(reach)), int(rng.integers(1, 200))
    kind = rng.integers(8)
    if kind == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for where in rng.integers(0, reach, rng.integers(1, 9)):
            data[where] = rng.integers(256)
    elif kind in (2, 3):
        data[place : place + 4] = EXTREMES[rng.integers(len(EXTREMES))] * int(rng.integers(1, 3))
    elif kind == 4:
        del data[place:]
    elif kind == 5:
        del data[place : place + length]
    elif kind == 6:
        data[place:place] = data[place : place + length]
    else:
        other = int(rng.integers(len(data)))
        data[place : place + length] = data[other : other + length]
    return bytes(data)


def faults(path, n, seed):
    """Yield what went wrong in `n` loads of damaged copies of a file."""
    import meshcell as mc

    content = path.read_bytes()
    # Packed, any damage is found by the checksum: it goes inside.
    packed = content[:2] == b"\x1f\x8b"
    content = gzip.decompress(content) if packed else content
    endings = "".join(path.suffixes) if not path.name.endswith("_seg.npy") else "_seg.npy"
    copy = path.with_name(f"damaged{endings}")
    rng = np.random.default_rng(seed)
    mc.load(path, **options(path))
    before = peak()
    for number in range(n):
        damaged = mutated(content, rng)
        copy.write_bytes(gzip.compress(damaged, 1) if packed else damaged)
        start, wrong = time.perf_counter(), None
        signal.alarm(60)
        try:
            mc.load(copy, **options(path))
        except (ValueError, OSError) as error:
            wrong = None if copy.name in str(error) else f"does not name the file: {error}"
        except BaseException as error:
            wrong = f"{type(error).__name__}: {error}"
        signal.alarm(0)
        if (seconds := time.perf_counter() - start) > SLOWEST:
            wrong = f"{seconds:.1f} s"
        if (grown := peak() - before) > SPARE + 20 * len(damaged):
            wrong = f"{grown / 2**20:.0f} MiB"
            before = peak()
        if wrong:
            yield number, wrong[:300]


def options(path):
    return {"spacing": 0.01} if path.suffix in (".npy", ".png", ".st") or "plain" in path.name else {}


def peak():
    """Return the most memory this process has held, in bytes; macOS counts in bytes, Linux in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for fault in faults(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):
        sys.stdout.write(json.dumps(fault) + "\n")
