"""What can be measured on triangles, tetrahedra and voxels without changing them.

`quality` and `topology` are modules here; the functions of these names are `meshcell.quality` and `meshcell.topology`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
