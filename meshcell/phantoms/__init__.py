"""Volumes whose truth is known because they were drawn: cells and spines; in `crowds` molecules packed into voxels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
