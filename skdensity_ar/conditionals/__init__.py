"""p(x_d | params): what the numbers of a network mean."""

from skdensity_ar.conditionals._atoms import BESIDE_ATOMS, WithAtoms, code_of_atom
from skdensity_ar.conditionals._base import ColumnSpec, Conditional
from skdensity_ar.conditionals._bernoulli import Bernoulli
from skdensity_ar.conditionals._categorical import (
    UNSEEN_MASS,
    Categorical,
    drawn_index,
)
from skdensity_ar.conditionals._mixture_start import N_SETS
from skdensity_ar.conditionals._mixtures import (
    BACKGROUND_MASS,
    FAR,
    FARTHEST,
    GaussianMixture,
    LaplaceMixture,
    LogisticMixture,
    Mixture,
    Prediction,
    compress,
    halved,
)
from skdensity_ar.conditionals._point_mass import PointMass
from skdensity_ar.conditionals._rounded import Count, Ordinal

# A new family is one file and one line here.
CONDITIONALS: dict[str, type[Conditional]] = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian_mixture": GaussianMixture,
    "laplace_mixture": LaplaceMixture,
    "logistic_mixture": LogisticMixture,
    "ordinal": Ordinal,
    "count": Count,
}

__all__ = [
    "BACKGROUND_MASS",
    "BESIDE_ATOMS",
    "CONDITIONALS",
    "FAR",
    "FARTHEST",
    "N_SETS",
    "UNSEEN_MASS",
    "Bernoulli",
    "Categorical",
    "ColumnSpec",
    "Conditional",
    "Count",
    "GaussianMixture",
    "LaplaceMixture",
    "LogisticMixture",
    "Mixture",
    "Ordinal",
    "PointMass",
    "Prediction",
    "WithAtoms",
    "code_of_atom",
    "compress",
    "drawn_index",
    "halved",
]
