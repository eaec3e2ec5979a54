"""What is simulated: species, reactions, rates, parameters; their binding to a mesh; the solution."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
