"""One file format each: bytes to volumes, surfaces and meshes and back. `load` and `save` are the doors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
