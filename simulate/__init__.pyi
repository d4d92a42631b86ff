from .maps import score_maps as score_maps
from .measurement import Measurement as Measurement
from .measurement import Progress as Progress
from .measurement import measure as measure
