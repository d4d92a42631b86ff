from .maps import score_maps as score_maps
from .measurement import Measurement as Measurement
from .measurement import Progress as Progress
from .measurement import measure as measure
from .trained import CONTENTS as CONTENTS
from .trained import WeightsMeasurement as WeightsMeasurement
from .trained import measure_weights as measure_weights
