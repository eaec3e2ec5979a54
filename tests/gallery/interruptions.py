"""Runs that are stopped in the middle, as by Ctrl-C or a full disk."""

import contextlib

from meshcell.solving import checkpoints
from meshcell.solving.discretisation import Discretisation


def write_always(monkeypatch):
    """Let checkpoints be written at every step."""
    monkeypatch.setattr(checkpoints, "PAUSE", 0.0)
    monkeypatch.setattr(checkpoints, "PAUSE_SHARE", 0.0)


def stop_after(patch, calls):
    """Let Ctrl-C come when the reactions have been asked for so many times."""
    reacted, left = Discretisation.reacted, [calls]

    def interrupted(self, t, u):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return reacted(self, t, u)

    patch.setattr(Discretisation, "reacted", interrupted)


@contextlib.contextmanager
def full_disk(room=4000):
    """Let no file grow beyond so many bytes: a limit of the process stands in for the disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
