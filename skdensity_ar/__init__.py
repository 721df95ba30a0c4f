"""Exact log-densities for any table, with one fit."""

from skdensity_ar.estimators import MADEDensity, NADEDensity, RNADEDensity

__all__ = ["MADEDensity", "NADEDensity", "RNADEDensity"]

__version__ = "0.1.0"
