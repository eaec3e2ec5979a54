"""meshcell: from a voxel picture of a cell to a simulation that can be trusted.

    labels or phantom -> surface -> tetrahedra -> reaction-diffusion -> numbers, pictures, error bars

`__init__.pyi` lists the public names, in the order in which data flows. Modules are loaded when one of their names is
first used, so that the import stays light.
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _public(name)
    from difflib import get_close_matches

    # Private and dunder names are asked for by tools that take "no" for an answer.
    near = [] if name.startswith("_") else get_close_matches(name, __all__, 1, 0.7)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise AttributeError(f"module 'meshcell' has no attribute {name!r}{hint}")
