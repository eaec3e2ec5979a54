"""From interfaces or labels to tetrahedra with bounded angles."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
