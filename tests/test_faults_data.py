"""What bad data must get, row by row of the table of faults.

A heading quotes the row that the tests below it belong to. "As it was" holds an
estimator to its state before the call: unfitted stays unfitted, fitted scores the same.
"""

from __future__ import annotations

import datetime
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar.conditionals import UNSEEN_MASS
from tests.small import (
    DENSITIES,
    EVERY,
    binaries,
    codes,
    mixed_frame,
    reals,
    small,
    to_polars,
)

REAL = [MADEDensity, RNADEDensity]


@contextmanager
def as_it_was(density, X, error, match):
    """The block fails with this error and leaves the density as it was."""
    before = density.score_samples(X) if hasattr(density, "module_") else None
    with pytest.raises(error, match=match):
        yield
    if before is None:
        with pytest.raises(NotFittedError):
            density.score_samples(X)
        assert not [name for name in vars(density) if name.endswith("_")]
    else:
        np.testing.assert_array_equal(density.score_samples(X), before)


def refused(cls, X, bad, error, match, **params):
    """Training, validation and scoring rows like `bad` get the same clear error."""
    density = small(cls, **params)
    with as_it_was(density, X, error, match):
        density.fit(bad)
    with as_it_was(density, X, error, match):
        density.fit(X, X_val=bad)
    density.fit(X)
    with as_it_was(density, X, error, match):
        density.fit(bad)
    with as_it_was(density, X, error, match):
        density.score_samples(bad)
    with as_it_was(density, X, error, match):
        density.score(bad)


def with_value(X, value, row=3, column=1):
    X = np.array(X)
    X[row, column] = value
    return X


# NaN (estimator or call that does not take missing values), ±inf ----------------------


@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-inf")]
)
@pytest.mark.parametrize("cls", DENSITIES)
def test_nan_and_infinity_in_an_array(cls, value, word):
    X = DENSITIES[cls]()
    refused(cls, X, with_value(X, value), ValueError, f"{word}.* in column 1")
    refused(cls, X, with_value(X, value).tolist(), ValueError, f"{word}.* in column 1")


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
@pytest.mark.parametrize(
    ("column", "value"),
    [("length", np.nan), ("length", np.inf), ("count", None), ("species", None)],
)
def test_missing_values_and_infinity_in_a_frame(make, column, value):
    frame = mixed_frame()
    bad = frame.assign(count=frame["count"].astype("Int64"))
    bad.loc[3, column] = value
    word = "infinity" if value == np.inf else "NaN"
    refused(
        MADEDensity,
        make(frame),
        make(bad),
        ValueError,
        f"{word}.* in column '{column}'",
    )


# complex, datetime64, timedelta64; strings (also of digits) in a numpy array, or in a
# column that was numeric at fit -------------------------------------------------------


@pytest.mark.parametrize(
    ("convert", "error", "match"),
    [
        (lambda X: X + 1j, ValueError, "Complex data not supported"),
        (lambda X: X.astype("datetime64[D]"), TypeError, "dates or durations"),
        (lambda X: X.astype("timedelta64[s]"), TypeError, "dates or durations"),
        (lambda X: X.astype(str), ValueError, "array of strings"),
        (lambda X: X.astype(bytes), ValueError, "array of strings"),
        (lambda X: X.astype(str).tolist(), ValueError, "array of strings"),
        (lambda X: with_object(X, "1.5"), ValueError, r"Column 1 .* holds '1.5'"),
        (lambda X: with_object(X, b"1"), ValueError, r"Column 1 .* holds b'1'"),
        (lambda X: with_object(X, pd.NA), ValueError, r"Column 1 .* holds <NA>.*NaN"),
        (
            lambda X: with_object(X, datetime.date(2020, 1, 1)),
            ValueError,
            r"Column 1 .* holds datetime.date\(2020, 1, 1\)",
        ),
    ],
)
@pytest.mark.parametrize("cls", DENSITIES)
def test_no_silent_cast_of_an_array(cls, convert, error, match):
    X = DENSITIES[cls]()
    refused(cls, X, convert(X), error, match)


def with_object(X, value):
    X = X.astype(object)
    X[3, 1] = value
    return X


# What Python's dates are in a frame: as labels they would lose their order.
OBJECTS = [datetime.date(2020, 1, 1), datetime.time(12)]


@pytest.mark.parametrize("dtype", [pl.Date, pl.Object])
def test_dates_in_a_polars_frame(dtype):
    frame = to_polars(mixed_frame())
    dates = pl.Series("length", [OBJECTS[0]] * len(frame), dtype=dtype)
    match = "'length' has dtype date; .* days since a reference date"
    refused(MADEDensity, frame, frame.with_columns(dates), TypeError, match)


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (pd.Timestamp("2020-01-01"), TypeError, "'length' has dtype datetime64"),
        (pd.Timestamp("2020", tz="UTC"), TypeError, "'length' has dtype datetime64"),
        (pd.Timedelta("1D"), TypeError, "'length' has dtype timedelta64"),
        (1j, TypeError, "'length' has dtype complex128"),
        (pd.Period("2020-01", "M"), TypeError, "'length' has dtype period"),
        (pd.Interval(0, 1), TypeError, "'length' has dtype interval"),
        (OBJECTS[0], TypeError, "'length' has dtype date; .* days since a reference"),
        (OBJECTS[1], TypeError, "'length' has dtype time;"),
    ],
)
def test_dtypes_of_a_frame_that_no_density_takes(values, error, match):
    frame = mixed_frame()
    kind = object if type(values) in map(type, OBJECTS) else None
    bad = frame.assign(length=pd.Series([values] * len(frame), dtype=kind))
    refused(MADEDensity, frame, bad, error, match)


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
def test_strings_in_a_column_that_was_numeric(make):
    frame = mixed_frame()
    density, X = small(MADEDensity).fit(make(frame)), make(frame)
    for text in ("1.5", "long"):
        bad = make(frame.assign(length=text))
        with as_it_was(density, X, ValueError, f"'length' holds '{text}'"):
            density.score(bad)
        with as_it_was(density, X, ValueError, f"'length' holds '{text}'"):
            density.fit(X, X_val=bad)
    numeric = small(RNADEDensity).fit(frame[["length", "count"]])
    with pytest.raises(ValueError, match=r"'length' holds '1\.5'"):
        numeric.score(frame.assign(length="1.5")[["length", "count"]])


def test_strings_in_a_column_whose_labels_were_numbers():
    frame = pd.DataFrame({"a": np.arange(20.0), "g": np.arange(20) % 3})
    frame = frame.assign(g=frame["g"].astype("category"))
    density = small(MADEDensity).fit(frame)
    for labels in (["1"], [0, "1"]):
        bad = pd.DataFrame({"a": 0.0, "g": pd.Series(labels, dtype=object)})
        with as_it_was(density, frame, ValueError, "'g' holds '1' of type str, but w"):
            density.score(bad)
    # What was never seen scores the same whatever comes with it.
    new, two = ({"a": 0.0, "g": pd.Series(x)} for x in (["new"], [0, "new"]))
    score = density.score_samples(pd.DataFrame(new))
    assert np.isfinite(score).all()
    assert density.score_samples(pd.DataFrame(two))[1] == score[0]
    named = frame.assign(g=frame["g"].astype(str))
    density = small(MADEDensity).fit(named)
    with as_it_was(density, named, ValueError, "'g' holds 0 of type int, but was fitt"):
        density.score(frame)
    encoded = named.assign(g=[text.encode() for text in named["g"]])
    with as_it_was(density, named, ValueError, "'g' holds b'0' of type bytes, but was"):
        density.score(encoded)


def test_numbers_among_objects_are_labels_with_a_warning():
    frame = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20) % 3 + 0.5})
    with pytest.warns(UserWarning, match=r"'b' holds numbers, but has dtype object"):
        density = small(MADEDensity).fit(frame.astype({"b": object}))
    assert density.base_measure_ == {"a": "Lebesgue", "b": "counting"}


def test_rows_that_are_not_there_yet():
    frame = to_polars(mixed_frame())
    lazy, match = frame.lazy(), "rows of a LazyFrame are not there yet; pass its coll"
    with pytest.raises(TypeError, match=match):
        small(MADEDensity).fit(lazy)
    with pytest.raises(TypeError, match=match):
        small(MADEDensity).fit(frame, context=lazy)
    with pytest.raises(TypeError, match=f"Sequence 1: .*{match}"):
        small(RNNRNADE).fit([frame, lazy])
    collected = pd.DataFrame(reals(), columns=["collect", "b", "c"])
    assert np.isfinite(small(MADEDensity).fit(collected).score(collected))


def test_an_array_where_labels_are_expected():
    frame = mixed_frame()
    density = small(MADEDensity).fit(frame)
    with as_it_was(density, frame, TypeError, "pass such a frame, not ndarray"):
        density.score(frame.to_numpy())


# numpy.ma masked array ----------------------------------------------------------------


@pytest.mark.parametrize("cls", DENSITIES)
def test_a_masked_array(cls):
    X = DENSITIES[cls]()
    masked = np.ma.masked_array(X, mask=X > X.mean())
    refused(cls, X, masked, TypeError, r"masked array.*X.filled\(np.nan\)")


# sparse matrix ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("cls", DENSITIES)
def test_a_sparse_matrix(cls, make):
    X = DENSITIES[cls]()
    refused(cls, X, make(X), TypeError, "toarray")


# 1-D array, 3-D array, 0 rows, 1 row, 0 columns ---------------------------------------


@pytest.mark.parametrize(
    ("cut", "match"),
    [
        (lambda X: X[:, 0], "Expected 2D array, got 1D array"),
        (lambda X: X[None], "Found array with dim 3"),
        (lambda X: X[:0], r"Found array with 0 sample\(s\)"),
        (lambda X: X[:, :0], r"Found array with 0 feature\(s\)"),
    ],
)
@pytest.mark.parametrize("cls", DENSITIES)
def test_wrong_shapes_get_scikit_learns_words(cls, cut, match):
    X = DENSITIES[cls]()
    refused(cls, X, cut(X), ValueError, match)


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("cls", DENSITIES)
def test_one_row_is_scored_but_not_fitted(cls, make):
    X = DENSITIES[cls]()
    density = small(cls)
    with as_it_was(density, X, ValueError, r"Found array with 1 sample\(s\)"):
        density.fit(make(X[:1]))
    assert density.fit(make(X)).score_samples(make(X[:1])).shape == (1,)


def test_empty_frames_get_scikit_learns_words():
    frame = mixed_frame()
    density = small(MADEDensity)
    for bad, match in ((frame[:0], "0 sample"), (frame[[]], "0 feature")):
        with as_it_was(density, frame, ValueError, rf"Found array with {match}\(s\)"):
            density.fit(bad)


# constant column, column with two distinct values, all rows equal ---------------------


@pytest.mark.parametrize("cls", REAL)
def test_a_constant_column_is_a_point_mass_with_a_warning_that_names_it(cls):
    X = reals()
    constant = np.insert(X, 1, 7.5, axis=1)
    with pytest.warns(UserWarning, match=r"Columns \[1\] are constant"):
        density = small(cls, n_orderings=1).fit(constant)
    log_p = density.score_samples(constant)
    assert np.isfinite(log_p).all()
    assert (density.sample(20, random_state=0)[:, 1] == 7.5).all()
    # It contributes nothing: the rest is a density by itself.
    marginal = density.module_.network.n_params
    assert marginal[1] == 0
    assert density.score_samples(with_value(constant, 7.6))[3] == -np.inf
    with pytest.warns(UserWarning, match=r"Columns \['b'\] are constant"):
        small(cls).fit(pd.DataFrame(constant, columns=list("abcd")))


@pytest.mark.parametrize("cls", REAL)
def test_all_rows_equal(cls):
    X = np.tile([1.5, -2.0, 1e9], (30, 1))
    with pytest.warns(UserWarning, match=r"Columns \[0, 1, 2\] are constant"):
        density = small(cls).fit(X)
    assert (density.score_samples(X) == 0.0).all()
    np.testing.assert_array_equal(density.sample(3), X[:3])


@pytest.mark.parametrize("value", [0.0, 1.0, 3.0])
def test_a_constant_column_of_codes_keeps_mass_for_others(value):
    X = codes()
    X[:, 1] = value
    density = small(NADEDensity, max_iter=20).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    other = with_value(X, 1.0 - value if value < 2 else 0.0)
    assert np.isfinite(density.score_samples(other)[3])
    assert density.score_samples(other)[3] < density.score_samples(X)[3] - 2.0


@pytest.mark.parametrize("cls", DENSITIES)
@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (3, 7)])
def test_a_column_with_two_distinct_values(cls, pair):
    X = DENSITIES[cls]()
    X[:, 1] = np.where(np.arange(len(X)) % 3, *pair)
    density = small(cls).fit(X)
    assert np.isfinite(density.score_samples(X)).all()


@pytest.mark.parametrize("n", [30, 2])
def test_equal_rows_of_codes_and_of_labels(n):
    for cls, X in (
        (NADEDensity, np.tile([1.0, 0.0, 3.0], (n, 1))),
        (NADEDensity, np.zeros((n, 3))),
        (MADEDensity, pd.DataFrame({"a": ["x"] * n, "b": [True] * n})),
    ):
        density = small(cls, early_stopping=False).fit(X)
        assert np.isfinite(density.score_samples(X)).all()
        assert density.score(X) <= 0.0


# column in units of 1e-30 or 1e30, or with mean 1e9 and spread 1: see
# tests/estimators/test_units.py -------------------------------------------------------


# 1 000 columns × 20 rows; 3 rows; more columns than rows ------------------------------


@pytest.mark.parametrize("cls", DENSITIES)
def test_a_thousand_columns_of_twenty_rows(cls):
    X = DENSITIES[cls](n=20, D=1000)
    density = small(cls, max_iter=1, n_orderings=1)
    if cls in REAL:
        density.set_params(n_components=2)
    assert np.isfinite(density.fit(X).score_samples(X)).all()
    assert len(density.validation_scores_) == 1  # a validation share is possible


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("cls", DENSITIES)
def test_too_few_rows_for_early_stopping_are_said(cls, n):
    X = DENSITIES[cls](n=10)[:n]
    with pytest.warns(UserWarning, match=f"X has {n} rows.*early stopping is off"):
        density = small(cls).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.validation_scores_ == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small(cls, early_stopping=False).fit(X)
        assert small(cls).fit(X, X_val=X).validation_scores_


# heavy tails (Cauchy), one outlier at 1e12 beside 200 normal values -------------------


@pytest.mark.parametrize("cls", REAL)
def test_an_outlier_costs_the_others_nothing(cls):
    X = np.random.default_rng(0).normal(size=(200, 2))
    with_outlier = np.vstack([X, [1e12, 0.0]])
    density, other = (small(cls, max_iter=20).fit(Z) for Z in (X, with_outlier))
    assert other.score(X) == pytest.approx(density.score(X), abs=0.05)
    log_p = other.score_samples(with_outlier)
    assert np.isfinite(log_p).all()
    assert log_p[-1] < log_p[:-1].min() - 30.0


@pytest.mark.parametrize("cls", REAL)
def test_heavy_tails(cls):
    X = np.random.default_rng(0).standard_cauchy(size=(400, 2))
    density = small(cls, max_iter=20).fit(X)
    test = np.random.default_rng(1).standard_cauchy(size=(2000, 2))
    log_p = density.score_samples(test)
    assert np.isfinite(log_p).all()
    true = -np.log(np.pi * (1.0 + test**2)).sum(1)
    assert log_p.mean() > true.mean() - 0.5


# row at 1e300 at scoring time ---------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("conditional", ["gaussian_mixture", "laplace_mixture"])
@pytest.mark.parametrize("cls", REAL)
def test_a_row_at_1e300(cls, conditional, dtype):
    density = small(cls, conditional=conditional, dtype=dtype).fit(reals())
    far = np.array([[1e300, 0, 0], [0, -1e300, 0], [1e308, -1e308, 1e308]])
    log_p = density.score_samples(far)  # a warning would fail here
    assert not np.isnan(log_p).any()
    assert (log_p < density.score_samples(reals()).min()).all()


# non-{0,1} under "bernoulli", non-integer or negative under "categorical" -------------


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0])
@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity])
def test_values_that_are_not_binary(cls, value):
    X = binaries()
    bad = with_value(X, value)
    match = rf"expects values in {{0, 1}}, got {value} in column 1"
    refused(cls, X, bad, ValueError, match, conditional="bernoulli")
    # A column seen as {0, 1} stays so: the message says how to keep room for more.
    density = small(cls).fit(X)
    with pytest.raises(ValueError, match=r"conditional=\{1: 'categorical'\}"):
        density.score(bad)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (1.5, r"integers >= 0, got 1.5 in column 1"),
        (-1.0, r"Negative values in data.* got -1.0 in column 1"),
    ],
)
@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity])
def test_values_that_are_no_codes(cls, value, match):
    X = codes()
    bad = with_value(X, value)
    refused(cls, X, bad, ValueError, match, conditional="categorical")


# unseen category when scoring ---------------------------------------------------------


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
def test_an_unseen_category_scores_low_or_is_refused(make):
    frame = mixed_frame()
    X, new = make(frame), make(frame.assign(species="Emperor"))
    density = small(MADEDensity).fit(X)
    log_p = density.score_samples(new)
    assert np.isfinite(log_p).all()
    assert (log_p < density.score_samples(X) + np.log(UNSEEN_MASS) / 2).all()
    strict = small(MADEDensity, handle_unknown="error").fit(X)
    assert strict.score(X) == density.score(X)
    with as_it_was(strict, X, ValueError, "'species' holds 'Emperor', a category not"):
        strict.score(new)


def test_an_unseen_code_scores_low_or_is_refused():
    X = codes()
    density = small(NADEDensity).fit(X)
    log_p = density.score_samples(with_value(X, 9.0))
    assert np.isfinite(log_p).all()
    assert log_p[3] < density.score_samples(X)[3] + np.log(UNSEEN_MASS) / 2
    strict = small(NADEDensity, handle_unknown="error").fit(X)
    with as_it_was(strict, X, ValueError, "Column 1 holds 9.0, a category not seen"):
        strict.score(with_value(X, 9.0))


# different column names, order or number at scoring: see
# tests/estimators/test_sklearn_contract.py::test_feature_names_are_checked ------------


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
def test_another_frame_gets_scikit_learns_error(make):
    frame = mixed_frame()
    density = small(MADEDensity).fit(make(frame))
    for bad in (
        frame[frame.columns[::-1]],
        frame.rename(columns={"length": "width"}),
        frame.drop(columns="length"),
        frame.assign(width=1.0),
    ):
        error = "feature names should match those that were passed during fit"
        with as_it_was(density, make(frame), ValueError, error):
            density.score(make(bad))


# float16, int8, uint8, bool, Fortran order, negative strides, read-only memmap,
# big-endian ---------------------------------------------------------------------------


def read_only_memmap(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


LAYOUTS = {
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "negative strides": lambda X, _: X[::-1, ::-1].copy()[::-1, ::-1],
    "every other row": lambda X, _: np.repeat(X, 2, axis=0)[::2],
    "read-only memmap": read_only_memmap,
    "big-endian": lambda X, _: X.astype(">f8"),
    "object": lambda X, _: X.astype(object),
    "list": lambda X, _: X.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cls", DENSITIES)
def test_the_layout_of_an_array_does_not_matter(cls, layout, tmp_path):
    X = DENSITIES[cls]()
    expected = small(cls).fit(X).score_samples(X)
    other = LAYOUTS[layout](X, tmp_path)
    density = small(cls).fit(other, X_val=None)
    np.testing.assert_array_equal(density.score_samples(other), expected)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "int8", "uint8", "bool", ">i4"]
)
@pytest.mark.parametrize("cls", DENSITIES)
def test_the_dtype_of_an_array_does_not_matter(cls, dtype):
    X = codes() if dtype != "bool" else binaries()
    X = X.astype(dtype)
    as_float64 = X.astype(np.float64)
    expected = small(cls).fit(as_float64).score_samples(as_float64)
    np.testing.assert_array_equal(small(cls).fit(X).score_samples(X), expected)


# pandas with nullable dtypes, polars, duplicated column names -------------------------


def test_nullable_dtypes_score_as_those_of_numpy():
    frame = mixed_frame()
    nullable = frame.astype(
        {
            "length": "Float64",
            "count": "Int64",
            "tagged": "boolean",
            "species": "string",
        }
    )
    density, other = small(MADEDensity).fit(frame), small(MADEDensity).fit(nullable)
    expected = density.score_samples(frame)
    np.testing.assert_array_equal(other.score_samples(nullable), expected)
    np.testing.assert_array_equal(density.score_samples(nullable), expected)
    assert list(other.sample(5).dtypes) == list(nullable.dtypes)


def test_polars_scores_as_pandas():
    frame = mixed_frame()
    density = small(MADEDensity).fit(frame)
    other = small(MADEDensity).fit(to_polars(frame))
    expected = density.score_samples(frame)
    np.testing.assert_array_equal(other.score_samples(to_polars(frame)), expected)
    np.testing.assert_array_equal(density.score_samples(to_polars(frame)), expected)


def test_any_index_of_rows_and_labels_that_are_no_strings():
    frame = mixed_frame().set_axis(range(2000, 2005), axis=1)
    density = small(MADEDensity).fit(frame)
    expected = density.score_samples(frame)
    n = len(frame)
    for index in (np.arange(n)[::-1] * 0.5, pd.date_range("2020", periods=n), [0] * n):
        found = density.score_samples(frame.set_axis(index))
        np.testing.assert_array_equal(found, expected)
    assert list(density.sample(2).columns) == list(range(2000, 2005))


def test_duplicated_column_names_work_or_get_the_error_of_scikit_learn():
    frame = mixed_frame()
    twice = frame[["length", "length", "species"]]
    density = small(MADEDensity)
    try:
        density.fit(twice)
    except Exception as error:  # scikit-learn 1.9 reads names by narwhals
        assert "unique column names" in str(error)
        with pytest.raises(NotFittedError):
            density.score(twice)
    else:
        assert np.isfinite(density.score(twice))
        assert list(density.sample(2).columns) == list(twice.columns)


# y given ------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [np.arange(60), [None] * 60, "text", np.full(60, np.nan)])
@pytest.mark.parametrize("cls", EVERY)
def test_y_is_ignored(cls, y):
    X = EVERY[cls]()
    density = small(cls).fit(X, y)
    assert density.score(X, y) == small(cls).fit(X).score(X)


# Validation rows and warm starts ------------------------------------------------------


def test_validation_rows_that_leave_a_constant_column():
    X = reals(40)
    X[:, 1] = 3.0
    X_val = X.copy()
    X_val[0, 1] = 4.0
    density = small(MADEDensity)
    with pytest.warns(UserWarning, match="constant"):
        with pytest.raises(ValueError, match=r"X_val has other values than 3.0 in col"):
            density.fit(X, X_val=X_val)
    assert not hasattr(density, "module_")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", (9,)),
        ("n_orderings", 5),
        ("n_components", 4),
        ("n_frequencies", 3),
    ],
)
def test_warm_start_of_another_network(name, value):
    X = reals(40)
    density = small(MADEDensity, warm_start=True).fit(X)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match=f"warm_start=True .* {name}="):
        density.set_params(**{name: value}).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conditional", "laplace_mixture"),
        ("direct_connections", False),
        ("ordering", "reversed"),
        ("ordering", [2, 1, 0]),
        ("bounds", {0: (-100.0, None)}),
        ("atoms", {0: 0.5}),
        ("max_categories", 2),
        ("handle_unknown", "error"),
    ],
)
def test_warm_start_of_what_would_be_ignored(name, value):
    X = reals(40)
    density = small(MADEDensity, warm_start=True).fit(X)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match=f"warm_start=True .* {name}="):
        density.set_params(**{name: value}).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), before)


def test_warm_start_with_parameters_that_say_the_same():
    X = reals(40)
    ordering = np.array([2, 0, 1])
    density = small(MADEDensity, warm_start=True, ordering=ordering, atoms={0: [0.5]})
    density.fit(X)
    density.set_params(ordering=[2, 0, 1], atoms={0: [0.5]}).fit(X)


def test_warm_start_with_another_value_in_a_constant_column():
    X = reals(40)
    constant = X.copy()
    constant[:, 1] = 3.0
    density = small(MADEDensity, warm_start=True)
    with pytest.warns(UserWarning, match="constant"):
        density.fit(constant)
    with pytest.raises(ValueError, match=r"X has other values than 3.0 in column 1"):
        density.fit(X)


def test_values_without_a_spread_in_float64():
    X = 5e-324 * np.random.default_rng(0).integers(0, 2, (60, 1))
    with pytest.raises(ValueError, match=r"column 0, from 0.0 to .* no spread"):
        small(MADEDensity).fit(X)


@pytest.mark.parametrize("ordering", [[0.0, 1.0, 2.0], [True, False, True]])
def test_orderings_are_integers(ordering):
    with pytest.raises(ValueError, match="ordering must be a permutation"):
        small(MADEDensity, ordering=ordering).fit(reals(40))
