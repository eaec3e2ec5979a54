# The public names of this room, each once; loaded when first used.
from .filters import denoise as denoise, sheetness as sheetness
from .metrics import (
    cl_dice as cl_dice,
    dice as dice,
    fsc as fsc,
    point_dice as point_dice,
    rand_index as rand_index,
    scores as scores,
    snr as snr,
    surface_dice as surface_dice,
    variation_of_information as variation_of_information,
)
from .microscope import (
    CTF as CTF,
    ctf_correct as ctf_correct,
    distort as distort,
    half_sets as half_sets,
    light as light,
    sections as sections,
)
from .pixel_classifier import (
    Classifier as Classifier,
    load_classifier as load_classifier,
    save_classifier as save_classifier,
    train as train,
)
from .projection import backproject as backproject, project as project, tilt_angles as tilt_angles
from .reconstruction import reconstruct as reconstruct
from .segmentation import clean as clean, segment as segment
from .tomograms import membranes as membranes, stain as stain, tomogram as tomogram
from .unet import UNet as UNet, load_unet as load_unet, save_unet as save_unet, train_unet as train_unet
