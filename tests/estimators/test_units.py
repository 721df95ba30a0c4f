"""Scores are in the caller's units, and the units do not change the fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skdensity_ar import MADEDensity, RNADEDensity
from tests.small import mixed_frame, reals, small

REAL = [MADEDensity, RNADEDensity]
MIXTURES = ["gaussian_mixture", "laplace_mixture", "logistic_mixture"]

# Powers of two, one per column of a table: they scale every number exactly.
POWERS = {
    "small": [2.0**-100, 2.0**-7, 2.0**-1],
    "large": [2.0**100, 2.0**9, 2.0],
    "both": [2.0**-100, 1.0, 2.0**100],
}


def standardised(density, X):
    return density.columns_.transform(X)


@pytest.mark.parametrize("conditional", ["auto", *MIXTURES])
@pytest.mark.parametrize("powers", POWERS)
@pytest.mark.parametrize("cls", REAL)
def test_powers_of_two_leave_the_log_jacobian_and_nothing_else(
    cls, powers, conditional
):
    X, A = reals(), np.array(POWERS[powers])
    density = small(cls, conditional=conditional).fit(X)
    scaled = small(cls, conditional=conditional).fit(X * A)
    np.testing.assert_array_equal(standardised(scaled, X * A), standardised(density, X))
    np.testing.assert_allclose(
        scaled.score_samples(X * A),
        density.score_samples(X) - np.log(A).sum(),
        rtol=0,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        scaled.sample(20, random_state=0), density.sample(20, random_state=0) * A
    )


def test_powers_of_two_in_real_columns_of_a_mixed_frame():
    frame = mixed_frame()
    scaled = frame.assign(length=frame["length"] * 2.0**-100)
    density, other = small(MADEDensity).fit(frame), small(MADEDensity).fit(scaled)
    np.testing.assert_allclose(
        other.score_samples(scaled),
        density.score_samples(frame) + 100.0 * np.log(2.0),
        rtol=0,
        atol=1e-6,
    )


# Standardised data then differ in their last bits, and training a little more.
OTHER_UNITS = {
    "inches": ([1 / 2.54] * 3, [0.0] * 3),
    "fahrenheit": ([1.8] * 3, [32.0] * 3),
    "1e-30": ([1e-30] * 3, [0.0] * 3),
    "1e30": ([1e30] * 3, [0.0] * 3),
    "one of each": ([1e-30, 3.0, 1e30], [1e-29, -7.0, 1e31]),
}


@pytest.mark.parametrize("units", OTHER_UNITS)
@pytest.mark.parametrize("cls", REAL)
def test_other_units_differ_by_rounding(cls, units):
    A, b = map(np.array, OTHER_UNITS[units])
    X = reals()
    density, scaled = small(cls).fit(X), small(cls).fit(X * A + b)
    np.testing.assert_allclose(
        scaled.score_samples(X * A + b),
        density.score_samples(X) - np.log(A).sum(),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("cls", REAL)
def test_a_mean_of_1e9_and_a_spread_of_1(cls):
    X = reals()
    density, shifted = small(cls).fit(X), small(cls).fit(X + 1e9)
    # One step of a float64 near 1e9 is 1.2e-7, of a unit that switches on or off more.
    np.testing.assert_allclose(
        shifted.score_samples(X + 1e9), density.score_samples(X), rtol=0, atol=1e-3
    )
    drawn = shifted.sample(200, random_state=0)
    assert abs(np.median(drawn, axis=0) - 1e9).max() < 1.0


def test_scores_are_densities_in_the_units_of_X():
    # In kilometres a density is a thousand times that in metres.
    X = pd.DataFrame(reals(), columns=list("abc"))
    metres = small(RNADEDensity).fit(X * 1024.0)
    kilometres = small(RNADEDensity).fit(X)
    gain = kilometres.score(X) - metres.score(X * 1024.0)
    assert gain == pytest.approx(3 * np.log(1024.0), abs=1e-6)
