"""From labels to interfaces, and interfaces made smooth, well shaped, coarser, whole."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
