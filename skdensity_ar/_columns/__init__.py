"""Tables <-> codes and standardised numbers, column by column; numpy only.

`fit_columns` decides the kind of every column. A fitted `Columns` turns a table into
the float array that a module takes, {0, 1} for a binary column, codes 0 … K-1 for a
categorical or an ordinal one (K: not seen in training), integers for counts and
(y - center) / scale for a real one, where y is x or, where x has bounds, its logit or
logarithm; and back. Every cell of a real column has a log-Jacobian.
"""

from skdensity_ar._columns._fit import SCALE_FLOOR, fit_columns
from skdensity_ar._columns._kinds import (
    BinaryColumn,
    CategoryColumn,
    ConstantColumn,
    CountColumn,
    LabelColumn,
    LevelColumn,
    RealColumn,
)
from skdensity_ar._columns._table import Columns
from skdensity_ar._columns._values import as_numbers, is_any_of
from skdensity_ar._columns._weights import repetitions

__all__ = [
    "SCALE_FLOOR",
    "BinaryColumn",
    "CategoryColumn",
    "Columns",
    "ConstantColumn",
    "CountColumn",
    "LabelColumn",
    "LevelColumn",
    "RealColumn",
    "as_numbers",
    "fit_columns",
    "is_any_of",
    "repetitions",
]
