"""From a volume through a microscope and back to labels, and how well that went."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
