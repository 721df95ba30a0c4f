"""The scikit-learn side: numpy, pandas and polars in and out."""

from skdensity_ar.estimators._imputer import DensityImputer
from skdensity_ar.estimators._made import MADEDensity
from skdensity_ar.estimators._nade import NADEDensity
from skdensity_ar.estimators._outlier import DensityOutlierDetector
from skdensity_ar.estimators._rnade import RNADEDensity
from skdensity_ar.estimators._rnn_rnade import RNNRNADE
from skdensity_ar.estimators._transformed import TransformedDensity

__all__ = [
    "RNNRNADE",
    "DensityImputer",
    "DensityOutlierDetector",
    "MADEDensity",
    "NADEDensity",
    "RNADEDensity",
    "TransformedDensity",
]
