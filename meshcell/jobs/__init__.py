"""Runs as jobs: from a model and a mesh to a folder of files, stopped and taken up again by the same line."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
