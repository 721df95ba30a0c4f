"""u -> params: which columns reach which conditional."""

from skdensity_ar.networks._base import ACTIVATIONS, Network
from skdensity_ar.networks._made import MADE
from skdensity_ar.networks._nade import NADE

__all__ = ["ACTIVATIONS", "MADE", "NADE", "Network"]
