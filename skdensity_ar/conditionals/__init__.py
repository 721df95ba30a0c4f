"""p(x_d | params): what the numbers of a network mean."""

from skdensity_ar.conditionals._base import ColumnSpec, Conditional
from skdensity_ar.conditionals._bernoulli import Bernoulli
from skdensity_ar.conditionals._categorical import UNSEEN_MASS, Categorical
from skdensity_ar.conditionals._mixture_start import N_SETS
from skdensity_ar.conditionals._mixtures import (
    BACKGROUND_MASS,
    FAR,
    FARTHEST,
    GaussianMixture,
    LaplaceMixture,
    LogisticMixture,
    Mixture,
    compress,
)
from skdensity_ar.conditionals._point_mass import PointMass

# A new family is one file and one line here.
CONDITIONALS: dict[str, type[Conditional]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian_mixture": GaussianMixture,
    "laplace_mixture": LaplaceMixture,
    "logistic_mixture": LogisticMixture,
}

__all__ = [
    "BACKGROUND_MASS",
    "CONDITIONALS",
    "FAR",
    "FARTHEST",
    "N_SETS",
    "UNSEEN_MASS",
    "Bernoulli",
    "Categorical",
    "ColumnSpec",
    "Conditional",
    "GaussianMixture",
    "LaplaceMixture",
    "LogisticMixture",
    "Mixture",
    "PointMass",
    "compress",
]
