"""What every stage stands on: volumes, surfaces and meshes, their checks, units, neighbours, errors, files, threads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
