"""The scikit-learn side: numpy, pandas and polars in and out."""

from skdensity_ar.estimators._made import MADEDensity
from skdensity_ar.estimators._nade import NADEDensity
from skdensity_ar.estimators._rnade import RNADEDensity

__all__ = ["MADEDensity", "NADEDensity", "RNADEDensity"]
