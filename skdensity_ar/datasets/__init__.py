"""Small real data sets that come with the package, credit in each docstring."""

from skdensity_ar.datasets._real import (
    load_binary_digits,
    load_japanese_vowels,
    load_penguins,
    load_wine_quality_red,
)

__all__ = [
    "load_binary_digits",
    "load_japanese_vowels",
    "load_penguins",
    "load_wine_quality_red",
]
