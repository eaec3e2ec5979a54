# The public names, in the order in which data flows; each stands here once and is loaded when first used.
from . import (
    adaptivity as adaptivity,
    analysis as analysis,
    core as core,
    formats as formats,
    geometry as geometry,
    imaging as imaging,
    io as io,
    jobs as jobs,
    labels as labels,
    meshing as meshing,
    models as models,
    phantoms as phantoms,
    pictures as pictures,
    solving as solving,
    studies as studies,
    surfaces as surfaces,
)
from .adaptivity.estimators import estimate as estimate, mark as mark
from .adaptivity.refinement import refine as refine, transfer as transfer
from .analysis.checks import check as check
from .analysis.curvature import mean_curvature as mean_curvature
from .analysis.quantities import (
    area_under_curve as area_under_curve,
    flux as flux,
    gains as gains,
    mean as mean,
    probe as probe,
    profile as profile,
    total as total,
)
from .core.errors import MeshError as MeshError, SolveError as SolveError
from .core.types import Surface as Surface, TetMesh as TetMesh, TiltSeries as TiltSeries, Volume as Volume
from .geometry.intersections import self_intersections as self_intersections
from .geometry.measures import areas as areas, enclosed_volumes as enclosed_volumes
from .geometry.quality import angles as angles, quality as quality
from .geometry.topology import topology as topology
from .imaging.metrics import cl_dice as cl_dice, dice as dice, point_dice as point_dice, surface_dice as surface_dice
from .imaging.microscope import CTF as CTF, distort as distort
from .imaging.projection import project as project, tilt_angles as tilt_angles
from .imaging.reconstruction import reconstruct as reconstruct
from .imaging.segmentation import clean as clean, segment as segment
from .imaging.tomograms import tomogram as tomogram
from .io import load as load, save as save
from .labels.resampling import resample as resample
from .meshing.improvement import improve as improve
from .meshing.tetrahedra import tetrahedralize as tetrahedralize
from .models.events import Event as Event
from .models.mixing import well_mixed as well_mixed
from .models.model import Model as Model
from .models.observables import Quantity as Quantity
from .models.parameters import Course as Course, Field as Field, Table as Table
from .models.solutions import Solution as Solution
from .models.species import Pool as Pool, Reaction as Reaction, Species as Species
from .models.well_mixed import WellMixed as WellMixed
from .phantoms import cell as cell, crowd as crowd, samples as samples, spine as spine
from .phantoms.crowds.samples import Sample as Sample
from .pictures.plotting import film as film, histogram as histogram, plot as plot
from .solving.solver import solve as solve
from .solving.steady_states import steady as steady
from .surfaces.combining import combine as combine
from .surfaces.extraction import extract as extract
from .surfaces.meshlab_filters import meshlab as meshlab
from .surfaces.patches import patch as patch
from .surfaces.remeshing import decimate as decimate, remesh as remesh
from .surfaces.repairs import repair as repair
from .surfaces.smoothing import smooth as smooth
from .surfaces.voxelizing import voxelize as voxelize

__version__: str
