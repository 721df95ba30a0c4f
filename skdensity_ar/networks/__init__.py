"""u -> params: which columns, and which frames, reach which conditional."""

from skdensity_ar.networks._base import ACTIVATIONS, Dropout, Network
from skdensity_ar.networks._eonade import EoNADE
from skdensity_ar.networks._made import MADE
from skdensity_ar.networks._nade import NADE
from skdensity_ar.networks._recurrent import CELLS, Recurrent, State

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "MADE",
    "NADE",
    "Dropout",
    "EoNADE",
    "Network",
    "Recurrent",
    "State",
]
