"""Exact log-densities for any table or sequence, with one fit."""

from skdensity_ar.estimators import (
    RNNRNADE,
    DensityImputer,
    DensityOutlierDetector,
    MADEDensity,
    NADEDensity,
    RNADEDensity,
    TransformedDensity,
)

__all__ = [
    "RNNRNADE",
    "DensityImputer",
    "DensityOutlierDetector",
    "MADEDensity",
    "NADEDensity",
    "RNADEDensity",
    "TransformedDensity",
]

__version__ = "0.1.0"
