# The public names of this room, each once; loaded when first used.
from . import quality as quality, topology as topology
from .features import feature_edges as feature_edges, interface_ids as interface_ids, point_kinds as point_kinds
from .finite_elements import gradients as gradients, lumped_mass as lumped_mass, mass as mass, stiffness as stiffness
from .intersections import self_intersections as self_intersections
from .measures import areas as areas, enclosed_volumes as enclosed_volumes
from .openings import open_triangles as open_triangles, region_edges as region_edges
from .point_location import containing as containing
from .proximity import nearest as nearest
from .quality import Quality as Quality, angles as angles, edge_lengths as edge_lengths, radius_ratios as radius_ratios
from .topology import Topology as Topology, shells as shells
from .voxels import component_numbers as component_numbers
