"""Loads damaged files in a process of its own, whose memory has a limit; prints one JSON line of what went wrong."""

import json
import logging
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from meshcell.core.types import Surface, TetMesh, Volume
from meshcell.io import load

NUMBERS = [b"0", b"-1", b"1", b"3", b"255", b"4294967295", b"99999999999999", b"1e308", b"nan", b"-2147483649"]


def mutated(content, rng):
    """Change a few bytes, cut, repeat or exchange pieces, or put another number in a number's place."""
    damaged, n = bytearray(content), len(content)
    kind = rng.integers(6)
    if kind == 0:
        for place in rng.integers(0, n, 1 + rng.integers(8)):
            damaged[place] = rng.integers(256)
    elif kind == 1:
        del damaged[rng.integers(n) :]
    elif kind in (2, 3):
        start, size = int(rng.integers(n)), int(rng.integers(1, 60))
        piece = content[int(rng.integers(n)) :][:size] if kind == 2 else b""
        damaged[start : start + size] = piece
    elif kind == 4:
        # Headers are at the front, and there a number does the most harm.
        front = content[: 400 if rng.integers(2) else n]
        digits = [k for k in range(len(front)) if front[k : k + 1].isdigit()]
        if digits:
            start = end = int(digits[rng.integers(len(digits))])
            while content[end : end + 1].isdigit():
                end += 1
            damaged[start:end] = NUMBERS[rng.integers(len(NUMBERS))]
    else:
        place = int(rng.integers(max(n - 8, 1)))
        damaged[place : place + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
    return bytes(damaged)


def main(path, target, first, count, seconds):
    content, target, faults = Path(path).read_bytes(), Path(target), []
    for seed in range(first, first + count):
        target.write_bytes(mutated(content, np.random.default_rng(seed)))
        start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            thing = load(target)
            if not isinstance(thing, Surface | TetMesh | Volume):
                faults.append([seed, f"a {type(thing).__name__}"])
        except (ValueError, OSError):
            pass
        except BaseException as error:
            faults.append([seed, f"{type(error).__name__}: {error}"])
        took = time.process_time() - start
        if took > seconds:
            faults.append([seed, f"{took:.1f} s"])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown * 1024 > 256 * 2**20 + 20 * len(content):
            faults.append([seed, f"{grown / 1024:.0f} MiB"])
    sys.stdout.write(json.dumps({"faults": faults[:20]}) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable()
    # More address space than the readers should need, less than would hurt the machine.
    limit = 6 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
