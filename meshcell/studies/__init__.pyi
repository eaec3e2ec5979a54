# The public names of this room, each once; loaded when first used.
from .seeing import Outcome as Outcome, compare as compare, report as report, wedge_classifier as wedge_classifier
