"""Maps from open intervals to the line: there and back, and how steep they are."""

import numpy as np
import pytest

from skdensity_ar._bounds import OpenInterval

INTERVALS = {
    "line": OpenInterval(),
    "positive": OpenInterval(0.0),
    "above": OpenInterval(-3.5),
    "below": OpenInterval(high=7.0),
    "unit": OpenInterval(0.0, 1.0),
    "between": OpenInterval(-20.0, 300.0),
}
every_interval = pytest.mark.parametrize("name", INTERVALS)
Y = np.linspace(-12.0, 12.0, 49)


@every_interval
def test_there_and_back(name):
    interval = INTERVALS[name]
    x = interval.from_line(Y)
    assert interval.holds(x).all()
    assert (np.diff(x) > 0.0).all()
    np.testing.assert_allclose(interval.to_line(x), Y, atol=1e-6)


@every_interval
def test_the_slope_is_the_quotient_of_differences(name):
    interval, h = INTERVALS[name], 1e-5
    x = interval.from_line(Y)
    dx = interval.from_line(Y + h) - interval.from_line(Y - h)
    np.testing.assert_allclose(
        interval.log_slope(Y), np.log(2.0 * h / dx), atol=1e-4, rtol=1e-6
    )
    assert interval.holds(x).all()


def test_digits_near_either_bound_are_kept():
    unit = OpenInterval(0.0, 1.0)
    for x in (1e-300, 1e-12, 0.5, 1.0 - 2.0**-50):
        there = unit.to_line(np.array([x]))
        assert unit.from_line(there)[0] == pytest.approx(x, rel=1e-12)
        at = np.exp(-unit.log_slope(there))[0]
        assert at == pytest.approx(x * (1.0 - x), rel=1e-12)


def test_a_missing_value_has_no_slope_and_warns_of_nothing():
    for interval in INTERVALS.values():
        slope = interval.log_slope(np.array([np.nan, 0.0]))
        assert np.isfinite(slope[1])
