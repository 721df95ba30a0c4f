"""Tables to codes and standardised numbers, and back."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skdensity_ar._columns import (
    SCALE_FLOOR,
    BinaryColumn,
    CategoryColumn,
    ConstantColumn,
    CountColumn,
    LabelColumn,
    LevelColumn,
    RealColumn,
    fit_columns,
)
from skdensity_ar.conditionals import (
    FARTHEST,
    Bernoulli,
    Categorical,
    GaussianMixture,
    LaplaceMixture,
    LogisticMixture,
    Ordinal,
    code_of_atom,
)
from tests.small import codes, mixed_frame, reals, to_polars


def fitted(
    X,
    conditional="auto",
    numeric="gaussian_mixture",
    handle_unknown="score",
    **asked,
):
    return fit_columns(
        X,
        conditional=conditional,
        numeric=numeric,
        handle_unknown=handle_unknown,
        **asked,
    )


def only(values, **kwargs):
    """The one column of an array or of a frame made of `values`."""
    X = values if hasattr(values, "columns") else np.asarray(values, float)[:, None]
    return fitted(X, **kwargs).columns[0]


# Kinds --------------------------------------------------------------------------------

LABELS = ["b", "a", "b", "c"]
PANDAS = {
    "category of strings": (pd.Categorical(LABELS), LabelColumn),
    "category of integers": (pd.Categorical([10, -3, 10, 7]), LabelColumn),
    "category of 0 and 1": (pd.Categorical([0, 1, 1, 0]), LabelColumn),
    "category of booleans": (pd.Categorical([True, False, True, True]), BinaryColumn),
    "strings": (LABELS, LabelColumn),
    "ordered category": (
        pd.Categorical(LABELS, categories=list("cabd"), ordered=True),
        LabelColumn,
    ),
    "ordered category of booleans": (
        pd.Categorical([True, False, True], categories=[True, False], ordered=True),
        LabelColumn,
    ),
    "string": (pd.array(LABELS, dtype="string"), LabelColumn),
    "object": (np.array(LABELS, dtype=object), LabelColumn),
    "object of numbers": (np.array([1.5, 0, 2, 1.5], dtype=object), LabelColumn),
    "object of booleans": (
        np.array([True, False, True, True], dtype=object),
        BinaryColumn,
    ),
    "bool": ([True, False, True, True], BinaryColumn),
    "boolean": (pd.array([True, False, True, True], dtype="boolean"), BinaryColumn),
    "integers": ([3, 1, 2, 3], RealColumn),
    "integers in {0, 1}": ([0, 1, 1, 0], BinaryColumn),
    "floats in {0, 1}": ([0.0, 1.0, 1.0, 0.0], BinaryColumn),
    "uint8": (np.array([3, 1, 2, 3], dtype="uint8"), RealColumn),
    "Int64": (pd.array([3, 1, 2, 3], dtype="Int64"), RealColumn),
    "Float64": (pd.array([0.5, 1.5, 2.0, 3.0], dtype="Float64"), RealColumn),
    "float16": (np.array([0.5, 1.5, 2.0, 3.0], dtype="float16"), RealColumn),
    "sparse": (pd.arrays.SparseArray([0.0, 1.5, 0.0, 3.0]), RealColumn),
}


@pytest.mark.parametrize("kind", PANDAS)
def test_the_dtype_of_a_pandas_column_tells_its_kind(kind):
    values, expected = PANDAS[kind]
    frame = pd.DataFrame({"x": values})
    warns = pytest.warns(UserWarning, match="'x' holds numbers, but has dtype object")
    with warns if kind == "object of numbers" else nullcontext():
        columns = fitted(frame)
    assert type(columns.columns[0]) is expected
    assert columns.reads_labels is (expected is LabelColumn)
    assert columns.container == "pandas"
    back = columns.inverse(columns.transform(frame))
    if kind != "sparse":
        pd.testing.assert_frame_equal(back, frame)


POLARS = {
    "Categorical": (pl.Series(LABELS, dtype=pl.Categorical), LabelColumn),
    "Enum": (pl.Series(LABELS, dtype=pl.Enum(["c", "a", "b", "d"])), LabelColumn),
    "String": (pl.Series(LABELS), LabelColumn),
    "Boolean": (pl.Series([True, False, True, True]), BinaryColumn),
    "Int8": (pl.Series([3, 1, 2, 3], dtype=pl.Int8), RealColumn),
    "UInt64 in {0, 1}": (pl.Series([0, 1, 1, 0], dtype=pl.UInt64), BinaryColumn),
    "Float32": (pl.Series([0.5, 1.5, 2.0, 3.0], dtype=pl.Float32), RealColumn),
    "Decimal": (
        pl.Series(["0.5", "1.5", "2.0", "3.0"]).cast(pl.Decimal(10, 2)),
        RealColumn,
    ),
}


@pytest.mark.parametrize("kind", POLARS)
def test_the_dtype_of_a_polars_column_tells_its_kind(kind):
    values, expected = POLARS[kind]
    frame = pl.DataFrame({"x": values})
    columns = fitted(frame)
    assert type(columns.columns[0]) is expected
    assert columns.container == "polars"
    back = columns.inverse(columns.transform(frame))
    assert back.equals(frame)
    assert back.schema == frame.schema


@pytest.mark.parametrize(
    ("numeric", "conditional"),
    [("gaussian_mixture", GaussianMixture), ("categorical", Categorical)],
)
def test_numbers_of_an_array_are_what_the_density_takes(numeric, conditional):
    X = np.column_stack([codes()[:, 0], codes()[:, 0] % 2])
    columns = fitted(X, numeric=numeric)
    assert columns.container == "numpy"
    assert [c.conditional for c in columns.columns] == [conditional, Bernoulli]
    assert [c.name for c in columns.columns] == [0, 1]
    assert [c.dtype for c in columns.columns] == [None, None]


# Round trips --------------------------------------------------------------------------


def test_an_array_comes_back():
    X = np.column_stack([reals()[:, 0], codes()[:, 0], codes()[:, 0] % 2])
    columns = fitted(X, conditional={1: "categorical"})
    encoded = columns.transform(X)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded[:, 1], X[:, 1])
    np.testing.assert_array_equal(encoded[:, 2], X[:, 2])
    np.testing.assert_allclose(columns.inverse(encoded), X, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
def test_a_mixed_frame_comes_back(make):
    frame = make(mixed_frame())
    columns = fitted(frame)
    back = columns.inverse(columns.transform(frame))
    assert list(back.dtypes) == list(frame.dtypes)
    for name in frame.columns:
        if name != "length":
            assert list(back[name]) == list(frame[name])
    np.testing.assert_allclose(back["length"], frame["length"], rtol=1e-12)


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_copies_of_fitted_columns(how):
    frame = mixed_frame()
    columns = fitted(frame)
    np.testing.assert_array_equal(
        how(columns).transform(frame), columns.transform(frame)
    )


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 255),
        ("int8", -128, 127),
        ("Int16", -(2**15), 2**15 - 1),
        ("uint64", 0, 2**64 - 2**11),
        ("int64", -(2**63), 2**63 - 2**10),
        ("float16", -65504.0, 65504.0),
        ("Float32", -3.4028235e38, 3.4028235e38),
        ("float64", -1.7976931348623157e308, 1.7976931348623157e308),
    ],
)
def test_draws_fit_the_dtype_of_their_column(dtype, low, high):
    frame = pd.DataFrame({"x": pd.array([1, 2, 4, 9], dtype=dtype)})
    columns = fitted(frame)
    far = columns.inverse(np.array([[-FARTHEST * 1e300], [FARTHEST * 1e300], [0.1]]))
    assert far["x"].dtype == frame["x"].dtype
    values = far["x"].astype(object).tolist()
    assert values[:2] == pytest.approx(
        [low, high], rel=1e-15 if "64" in dtype else 1e-6
    )
    assert np.isfinite(float(values[2]))


# Real columns -------------------------------------------------------------------------


def test_center_and_scale_of_normal_values():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=10_000)
    column = only(x)
    assert column.center == pytest.approx(x.mean(), abs=1e-12)
    assert column.scale == pytest.approx(x.std(), rel=1e-12)
    assert (column.log_jacobian(np.zeros(2)) == -np.log(column.scale)).all()


@pytest.mark.parametrize("outlier", [1e12, -1e12, 1e300])
def test_one_far_value_does_not_flatten_the_rest(outlier):
    x = np.random.default_rng(0).normal(size=200)
    column, other = only(x), only(np.append(x, outlier))
    assert other.scale == pytest.approx(column.scale, rel=0.2)
    assert abs(other.center - column.center) < 0.1
    assert np.isfinite(other.transform(np.append(x, outlier))).all()


@pytest.mark.parametrize("power", [-1000, -100, -3, 5, 100, 900])
def test_powers_of_two_change_nothing_of_the_standardised_column(power):
    x = np.random.default_rng(0).standard_cauchy(size=101) + 5.0
    column, scaled = only(x), only(x * 2.0**power)
    assert scaled.scale == column.scale * 2.0**power
    assert scaled.center == column.center * 2.0**power
    assert scaled.spec == column.spec
    np.testing.assert_array_equal(scaled.transform(x * 2.0**power), column.transform(x))


def test_the_log_jacobian_is_that_of_all_real_columns():
    frame = mixed_frame()
    columns = fitted(frame)
    real = [c for c in columns.columns if isinstance(c, RealColumn)]
    assert [c.name for c in real] == ["length", "count"]
    expected = -np.log([c.scale for c in real]).sum()
    log_jacobians = columns.log_jacobians(columns.transform(frame))
    assert log_jacobians.sum(1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30, 1e307])
def test_extremes_neither_overflow_nor_become_nan(scale):
    x = np.random.default_rng(0).uniform(-10.0, 10.0, size=50) * scale
    column = only(x)
    assert np.isfinite([column.center, column.scale]).all()
    assert 0.9 < column.transform(x).std() < 1.1
    limit = np.finfo(np.float64).max
    z = column.transform(np.array([limit, -limit, 0.0]))
    assert (np.abs(z) <= FARTHEST).all()
    assert (column.log_jacobian(z) == -np.log(column.scale)).all()
    assert np.isfinite(column.inverse(np.array([FARTHEST, -FARTHEST]))).all()


def test_spread_is_found_behind_a_heap_of_equal_values():
    # Quartiles that coincide: the spread comes from further out.
    x = np.append(np.zeros(180), np.random.default_rng(0).normal(size=20))
    assert 0.05 < only(x).scale < 1.0
    x = np.append(np.zeros(199), 1e6)
    assert np.isfinite(only(x, conditional="gaussian_mixture").transform(x)).all()


@pytest.mark.parametrize("step", [0.1, 0.5, 3.0, 1e-30])
def test_the_width_of_rounding_is_the_floor_of_the_scale(step):
    x = np.random.default_rng(0).normal(20.0, 5.0, size=500)
    column = only(np.round(x) * step)
    width = step / column.scale
    assert column.spec.scale_floor == pytest.approx(width / np.sqrt(12.0), rel=1e-6)


def test_values_that_hardly_repeat_have_the_small_floor():
    x = np.random.default_rng(0).normal(size=500)
    assert only(x).spec.scale_floor == SCALE_FLOOR
    # A heap at one value is no grid.
    x[:200] = 0.5
    assert only(x).spec.scale_floor == SCALE_FLOOR
    # Nor are three heaps, however far apart.
    x[200:260], x[260:300] = -0.5, 1.0
    assert only(x).spec.scale_floor == SCALE_FLOOR
    # So fine a grid hardly shows.
    assert only(np.round(x * 1e6)).spec.scale_floor == SCALE_FLOOR


def test_a_constant_column():
    columns = fitted(pd.DataFrame({"a": [7.5] * 4, "b": [1, 2, 3, 4], "c": [2] * 4}))
    with pytest.warns(UserWarning, match=r"Columns \['a', 'c'\] are constant"):
        columns.warn_of_constants()
    constant = columns.columns[0]
    assert isinstance(constant, ConstantColumn)
    assert columns.log_jacobians(np.zeros((1, 3)))[0, 0] == 0.0
    np.testing.assert_array_equal(constant.transform(np.array([7.5, 7.6])), [0.0, 1.0])
    np.testing.assert_array_equal(constant.inverse(np.zeros(2)), [7.5, 7.5])
    assert list(columns.inverse(np.zeros((2, 3)))["c"]) == [2, 2]


# Categories ---------------------------------------------------------------------------


def test_codes_are_those_of_the_values_seen():
    column = only([5.0, 0.0, 9.0, 5.0], numeric="categorical")
    assert isinstance(column, CategoryColumn)
    assert column.spec.n_categories == 3
    x = np.array([0.0, 5.0, 9.0])
    np.testing.assert_array_equal(column.transform(x), [0, 1, 2])
    np.testing.assert_array_equal(column.inverse(np.array([0.0, 1.0, 2.0])), x)


def test_an_unseen_category_is_coded_one_past_the_last():
    numbers = only([5.0, 0.0, 9.0], numeric="categorical")
    np.testing.assert_array_equal(numbers.transform(np.array([1.0, 9.0])), [3, 2])
    labels = only(pd.DataFrame({"x": LABELS}))
    values = np.array(["a", "zebra", 3, 2.5], dtype=object)
    np.testing.assert_array_equal(labels.transform(values), [0, 3, 3, 3])
    # A category that the dtype declares but no row has is unseen, too.
    declared = pd.DataFrame({"x": pd.Categorical(LABELS, categories=list("abcd"))})
    column = only(declared)
    assert column.spec.n_categories == 3
    assert column.transform(np.array(["d"], dtype=object)) == 3


def test_an_unseen_category_may_be_an_error():
    for table, value, match in (
        (pd.DataFrame({"x": LABELS}), "zebra", "Column 'x' holds 'zebra', a category"),
        (np.array([[5.0], [0.0], [9.0]]), 1.0, r"Column 0 holds 1.0, a category"),
    ):
        columns = fitted(table, numeric="categorical", handle_unknown="error")
        columns.transform(table)
        with pytest.raises(ValueError, match=match):
            columns.columns[0].transform(np.array([value], dtype=object))


def test_labels_of_several_types_name_the_column():
    with pytest.raises(
        TypeError, match=r"'x' holds labels of several types.*'int', 'st"
    ):
        only(pd.DataFrame({"x": np.array([1, "a", 2], dtype=object)}))


def test_rare_labels_are_coded_after_those_that_stay():
    x = np.repeat([4.0, 7.0, 1.0, 9.0, 2.0], [3, 20, 1, 30, 3])
    column = only(x, numeric="categorical", max_categories=3)
    assert column.spec.n_categories == 3
    assert column.spec.shares == pytest.approx((3 / 7, 3 / 7, 1 / 7))
    labels = np.array([9.0, 7.0, 2.0, 4.0, 1.0])
    np.testing.assert_array_equal(column.transform(labels), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(column.inverse(np.arange(5.0)), labels)
    assert column.transform(np.array([5.0])) == 5  # not seen
    plain = only(x, numeric="categorical", max_categories=5)
    assert plain.spec == only(x, numeric="categorical").spec


@pytest.mark.parametrize("alone", [40, 42])
def test_labels_that_most_rows_have_alone_are_warned_of(alone):
    frame = pd.DataFrame({"x": [*range(alone), *[100 + i // 4 for i in range(40)]]})
    frame = frame.astype("str")
    if alone == 42:
        with pytest.warns(UserWarning, match="'x' has 52 labels, 42 of which"):
            fitted(frame)
    else:
        fitted(frame)
    fitted(frame, max_categories=3)
    fitted(frame.head(50))  # not many


# Levels and counts --------------------------------------------------------------------


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_ordered_categories_are_levels_all_of_which_have_a_code(container):
    categories = ["low", "middle", "high", "top"]
    values = ["high", "low", "low", "middle"]
    if container == "pandas":
        kind = pd.CategoricalDtype(categories, ordered=True)
        frame = pd.DataFrame({"x": pd.Series(values, dtype=kind)})
    else:
        frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Enum(categories))})
    columns = fitted(frame)
    column = columns.columns[0]
    assert column.conditional is Ordinal
    assert column.spec.n_categories == 4
    np.testing.assert_array_equal(columns.transform(frame)[:, 0], [2, 0, 0, 1])
    drawn = columns.inverse(np.array([[3.0], [0.0]]))
    assert list(drawn["x"]) == ["top", "low"]
    assert list(drawn.dtypes) == list(frame.dtypes)
    as_labels = fitted(frame, conditional="categorical").columns[0]
    assert as_labels.conditional is Categorical
    assert as_labels.spec.n_categories == 3


def test_levels_of_numbers_are_those_seen():
    column = only([5.5, -1.0, 2.0, 5.5], conditional="ordinal")
    assert isinstance(column, LevelColumn)
    codes = column.transform(np.array([-1.0, 2.0, 5.5, 3.0]))
    np.testing.assert_array_equal(codes, [0, 1, 2, 3])
    np.testing.assert_array_equal(column.inverse(codes[:3]), [-1.0, 2.0, 5.5])
    assert only([3.0, 3.0], conditional="ordinal").spec.n_categories == 1
    objects = pd.DataFrame({"x": np.array([3, 1, 2], dtype=object)})
    codes = fitted(objects, conditional="ordinal").transform(objects)
    np.testing.assert_array_equal(codes[:, 0], [2, 0, 1])


def test_counts_keep_their_digits_in_float32():
    x = 1e9 + np.random.default_rng(0).poisson(50.0, 200)
    column = only(x, conditional="count")
    assert isinstance(column, CountColumn)
    codes = column.transform(x).astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(column.inverse(codes), x)
    assert column.spec.first == -column.offset
    assert abs(column.spec.center) <= 0.5
    assert only(np.zeros(5), conditional="count").spec.scale == 0.5
    far = column.transform(np.array([1e300]))
    assert np.isfinite(far).all()


# Bounds and atoms ---------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(0.0, None), (None, 9.0), (0.0, 9.0)])
def test_the_jacobian_of_every_cell_is_the_quotient_of_differences(bounds):
    x = np.random.default_rng(0).uniform(0.1, 8.9, size=(40, 2))
    columns = fitted(x, bounds={1: bounds}, atoms={1: [x[3, 1]]})
    h = 1e-6
    codes = columns.transform(x)
    up, down = columns.transform(x + h), columns.transform(x - h)
    expected = np.log((up - down) / (2.0 * h))
    expected[3, 1] = 0.0  # a mass has none
    log_jacobians = columns.log_jacobians(codes)
    np.testing.assert_allclose(log_jacobians, expected, atol=1e-6)
    codes[5] = np.nan
    assert (columns.log_jacobians(codes)[5] == 0.0).all()
    np.testing.assert_allclose(columns.inverse(columns.transform(x)), x, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "Float64", "int64", "UInt8"])
def test_draws_lie_strictly_inside_in_every_dtype(dtype):
    x = np.random.default_rng(0).integers(2, 19, 50)
    frame = pd.DataFrame({"x": pd.array(x, dtype=dtype)})
    columns = fitted(frame, bounds={"x": (1, 20)})
    far = columns.inverse(np.array([[-1e14], [1e14], [-9.0], [9.0]]))
    assert far["x"].dtype == frame["x"].dtype
    assert ((far["x"] > 1) & (far["x"] < 20)).all()
    assert np.isfinite(columns.transform(far)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_atom_is_found_in_the_dtype_of_the_column(dtype):
    x = np.random.default_rng(0).normal(size=(60, 1)).astype(dtype)
    x[:20] = 0.1
    columns = fitted(x, atoms={0: [0.1, 99.0]})
    codes = columns.transform(x).astype(np.float32).astype(np.float64)
    assert (codes[:20] == code_of_atom(0)).all()
    assert (np.abs(codes[20:]) < 10.0).all()
    back = columns.inverse(np.array([[code_of_atom(0)], [code_of_atom(1)]]))
    assert back[:, 0].tolist() == [0.1, 99.0]


def test_atoms_say_nothing_of_the_spread_of_the_rest():
    x = np.random.default_rng(0).normal(size=400)
    heaped = np.append(x, np.full(3000, 1000.0))
    column, plain = only(heaped, atoms={0: 1000.0}), only(x)
    assert (column.center, column.scale) == (plain.center, plain.scale)
    assert column.spec.scale_floor == plain.spec.scale_floor
    zeros = np.append(np.exp(x), np.zeros(900))
    positive = only(zeros, bounds={0: (0, None)}, atoms={0: 0})
    assert (positive.center, positive.scale) == pytest.approx(
        (plain.center, plain.scale)
    )


def test_rounding_beside_bounds_bounds_the_scale():
    x = np.round(np.random.default_rng(0).gamma(20.0, size=500)) + 1.0
    assert only(x, bounds={0: (0, None)}).spec.scale_floor > 0.01
    smooth = np.random.default_rng(0).gamma(20.0, size=500)
    assert only(smooth, bounds={0: (0, None)}).spec.scale_floor == SCALE_FLOOR


# Grids --------------------------------------------------------------------------------


def decimals(step: str, k: np.ndarray) -> np.ndarray:
    """k times a decimal step, each the float64 that is nearest."""
    return np.array([float(Decimal(step) * int(i)) for i in k])


def drawn(X, spread=1.5, **asked):
    """Draws of a fitted column as they are and rounded, both (n,)."""
    columns = fitted(X, **asked)
    codes = spread * np.random.default_rng(1).normal(size=(400, 1))
    plain, rounded = (columns.inverse(codes, rounded=r) for r in (False, True))
    if columns.container == "numpy":
        return plain[:, 0], rounded[:, 0]
    return plain["x"].to_numpy(), rounded["x"].to_numpy()


STEPS = ["0.1", "0.25", "0.002", "1", "5", "20", "2.5e-7", "1e-20", "2e6", "1e22"]


@pytest.mark.parametrize("step", STEPS)
def test_rounded_draws_are_multiples_of_the_step_to_the_last_bit(step):
    k = np.round(np.random.default_rng(0).normal(20.0, 15.0, size=500))
    x = decimals(step, k)
    plain, rounded = drawn(x[:, None])
    assert np.isin(rounded, decimals(step, np.arange(-200, 200))).all()
    assert len(np.unique(rounded)) > 40
    assert not np.signbit(rounded[rounded == 0.0]).any()
    assert (np.abs(rounded - plain) <= 0.5 * float(step) * (1.0 + 1e-9)).all()
    # Products have other last bits, as float32 has; one row in twenty may be off.
    for other in (k * float(step), np.float32(x), np.r_[x, x[:20] + float(step) / 3]):
        others = drawn(other[:, None])[1]
        assert np.isin(others, decimals(step, np.arange(-200, 200))).all()


def test_the_most_frequent_value_does_not_count():
    k = np.random.default_rng(0).normal(300.0, 30.0, size=100).round()
    x = np.r_[np.full(900, 0.123), decimals("0.5", k)]
    rounded = drawn(x[:, None])[1]
    np.testing.assert_array_equal(2.0 * rounded, np.round(2.0 * rounded))


def test_of_few_values_that_repeat_the_nearest_is_drawn():
    values = np.array([-3.7, 0.1, 0.912345, 2.0, 7.5])
    x = np.repeat(values, [3, 100, 120, 60, 1])
    plain, rounded = drawn(x[:, None], spread=5.0)
    assert set(rounded) == set(values)
    distances = np.abs(plain[:, None] - values)
    np.testing.assert_array_equal(np.abs(plain - rounded), distances.min(1))


NO_GRID = {
    "normal": lambda rng: rng.normal(size=500),
    "heaps": lambda rng: np.r_[np.repeat([0.0, 0.5, 1.0], 600), rng.normal(size=20)],
    "mostly zero": lambda rng: np.r_[np.zeros(490), rng.normal(size=10)],
    "heavy tails": lambda rng: rng.standard_cauchy(size=5000),
    "heavy tails far out": lambda rng: 1000.0 + 1e-3 * rng.standard_cauchy(size=5000),
    "few rows": lambda rng: rng.normal(size=12),
    "rows twice": lambda rng: np.repeat(rng.normal(size=9), 2),
    "three rows": lambda rng: np.array([0.5, 1.0, 2.5]),
    "too fine": lambda rng: np.round(rng.normal(size=500), 8),
    "half of it": lambda rng: np.r_[np.round(rng.normal(size=250), 1), rng.random(250)],
    "no decimals": lambda rng: np.round(rng.normal(10.0, 9.0, size=500)) / 7.0,
    "small": lambda rng: np.round(rng.normal(size=500), 1) * 1e-300,
    "large": lambda rng: np.round(rng.normal(size=500), 1) * 1e300,
}


@pytest.mark.parametrize("table", NO_GRID)
def test_without_a_grid_draws_stay_as_they_are(table):
    x = NO_GRID[table](np.random.default_rng(0))
    assert only(x).grid is None
    np.testing.assert_array_equal(*drawn(x[:, None]))


@pytest.mark.parametrize("outlier", [1e12, -1e300])
def test_one_far_value_does_not_coarsen_the_grid(outlier):
    x = np.append(np.random.default_rng(0).normal(size=200).round(1), outlier)
    rounded = drawn(x[:, None])[1]
    assert np.isin(rounded, decimals("0.1", np.arange(-200, 200))).all()
    assert len(np.unique(rounded)) > 30


@pytest.mark.parametrize("step", ["0.1", "0.2"])
@pytest.mark.parametrize("bounds", [(0.0, None), (None, 5.0), (0.0, 5.0)])
def test_rounded_draws_are_the_nearest_multiples_strictly_inside(bounds, step):
    rng = np.random.default_rng(0)
    inside = np.arange(1, round(5.0 / float(step)))
    x = decimals(step, rng.choice(inside, 500))
    plain, rounded = drawn(x[:, None], spread=4.0, bounds={0: bounds})
    low, high = (-np.inf if bounds[0] is None else 0.0), (bounds[1] or np.inf)
    grid = decimals(step, np.arange(-4000, 4000))
    grid = grid[(grid > low) & (grid < high)]
    near = np.abs(plain) < 90.0
    distances = np.abs(plain[near, None] - grid)
    assert np.isin(rounded[near], grid).all()
    np.testing.assert_array_equal(np.abs(plain - rounded)[near], distances.min(axis=1))
    assert ((rounded > low) & (rounded < high)).all()


def test_atoms_stay_and_no_other_draw_is_rounded_to_one():
    rng = np.random.default_rng(0)
    x = decimals("0.1", rng.normal(0.0, 20.0, 600).round())
    x[:100], x[100:150], x[150:160] = 0.0, -999.123, 0.05
    atoms = [0.0, -999.123, 0.05]
    columns = fitted(x[:, None], atoms={0: atoms})
    codes = np.append(rng.normal(size=2000), [code_of_atom(k) for k in range(3)])
    rounded = columns.inverse(codes[:, None], rounded=True)[:, 0]
    assert rounded[-3:].tolist() == sorted(atoms)
    assert not np.isin(rounded[:-3], atoms).any()
    assert np.isin(rounded[:-3], decimals("0.1", np.arange(-2000, 2000))).all()
    plain = columns.inverse(codes[:, None])[:, 0]
    assert np.abs(rounded - plain).max() < 0.1 + 1e-9


def test_beside_an_atom_the_one_other_value_is_drawn():
    x = np.repeat([0.0, 3.5], [40, 10])
    assert (drawn(x[:, None], atoms={0: 0.0})[1] == 3.5).all()


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "Float64", "int64", "UInt8", "bool"]
)
def test_rounded_draws_keep_the_dtype_of_their_column(dtype):
    rng = np.random.default_rng(0)
    k = rng.integers(1, 40, 300)
    x = {"i": 5 * k, "u": 5 * k, "b": k > 9}.get(
        dtype[0].lower(), decimals("0.1", 2 * k)
    )
    frame = pd.DataFrame({"x": pd.array(x, dtype=dtype)})
    columns = fitted(frame, conditional="gaussian_mixture")
    z = np.append(1.5 * rng.normal(size=300), [1e14, -1e14])
    rounded = columns.inverse(z[:, None], rounded=True)
    assert list(rounded.dtypes) == list(frame.dtypes)
    values = rounded["x"].to_numpy()
    if dtype == "bool":
        assert set(values) == {True, False}
    elif dtype in ("int64", "UInt8"):
        assert (values[:300] % 5 == 0).all()
    else:
        grid = decimals("0.2", np.arange(-200, 200)).astype(values.dtype)
        assert np.isin(values[:300], grid).all()
    assert np.isfinite(values.astype(float)).all()


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Float64, pl.Int16, pl.Decimal(10, 2)])
def test_rounded_draws_of_polars(dtype):
    k = np.random.default_rng(0).integers(-90, 90, 400)
    x = 5 * k if dtype == pl.Int16 else decimals("0.05", k)
    frame = pl.DataFrame({"x": pl.Series(x.tolist()).round(2).cast(dtype)})
    columns = fitted(frame)
    z = np.random.default_rng(1).normal(size=(300, 1))
    rounded = columns.inverse(z, rounded=True)
    assert rounded.schema == frame.schema
    every = np.arange(-1000, 1000)
    grid = 5 * every if dtype == pl.Int16 else decimals("0.05", every)
    held = pl.Series(grid.tolist()).round(2).cast(dtype).to_list()
    assert set(rounded["x"].to_list()) <= set(held)


def test_rounded_draws_lie_strictly_inside_as_float32_holds_them():
    high = 0.1 + 1e-10  # above 0.1, but not above what float32 makes of it
    k = np.random.default_rng(0).integers(-40, 1, 300)
    frame = pd.DataFrame({"x": np.float32(decimals("0.1", k))})
    columns = fitted(frame, bounds={"x": (None, high)})
    z = np.linspace(-2.0, 30.0, 300)[:, None]
    rounded = columns.inverse(z, rounded=True)
    assert rounded["x"].dtype == np.float32
    assert rounded["x"].max() == 0.0
    assert np.isfinite(columns.transform(rounded)).all()


def test_weights_do_not_matter_for_a_grid():
    x = np.random.default_rng(0).normal(3.0, 2.0, 60).round(1)[:, None]
    few = np.random.default_rng(0).choice([0.5, 1.2, 7.7], 60)[:, None]
    for values in (x, few):
        weights = np.random.default_rng(1).lognormal(sigma=3.0, size=60)
        weighted = fitted(values, weights=weights).columns[0]
        assert weighted.grid == only(values[:, 0]).grid
        assert weighted.grid is not None


def test_columns_of_other_kinds_are_on_their_grid():
    frame = mixed_frame().drop(columns="length").assign(one=2.5)
    columns = fitted(frame, conditional={"count": "count"})
    codes = columns.transform(frame)
    pd.testing.assert_frame_equal(columns.inverse(codes, rounded=True), frame)


# The parameter conditional ------------------------------------------------------------


def kinds(columns):
    return [c.conditional for c in columns.columns]


def test_one_conditional_for_all_columns():
    for name, conditional in {
        "gaussian_mixture": GaussianMixture,
        "laplace_mixture": LaplaceMixture,
        "logistic_mixture": LogisticMixture,
        "categorical": Categorical,
    }.items():
        assert kinds(fitted(codes(), conditional=name)) == [conditional] * 3
        assert kinds(fitted(codes(), conditional=conditional)) == [conditional] * 3


def test_conditionals_by_name_and_by_index():
    frame = pd.DataFrame(codes(), columns=list("abc"))
    expected = [Categorical, GaussianMixture, LaplaceMixture]
    for chosen in (
        {"a": "categorical", "c": "laplace_mixture"},
        {0: "categorical", 2: "laplace_mixture"},
        {"a": Categorical, np.int64(2): LaplaceMixture, "b": "auto"},
    ):
        assert kinds(fitted(frame, conditional=chosen)) == expected
    array = {0: "categorical", 2: "laplace_mixture"}
    assert kinds(fitted(codes(), conditional=array)) == expected
    # Where labels are integers, they come before positions.
    years = frame.set_axis([2, 0, 7], axis=1)
    assert kinds(fitted(years, conditional={2: "categorical"}))[0] is Categorical
    assert kinds(fitted(years, conditional="categorical")) == [Categorical] * 3
    assert (
        kinds(fitted(frame[["a", "a"]], conditional=Categorical)) == [Categorical] * 2
    )


@pytest.mark.parametrize(
    ("conditional", "match"),
    [
        ({"d": "categorical"}, r"names the column 'd'.*\['a', 'b', 'c'\]"),
        ({3: "categorical"}, "names the column 3"),
        ({"a": "poisson"}, "conditional of column 'a' must be 'auto'.*got 'poisson'"),
        ({"a": ["categorical"]}, "got \\['categorical'\\]"),
        ({"a": np.ones(2)}, "got array"),
        (str, "got <class 'str'>"),
    ],
)
def test_conditionals_that_cannot_be(conditional, match):
    with pytest.raises(ValueError, match=match):
        fitted(pd.DataFrame(codes(), columns=list("abc")), conditional=conditional)


@pytest.mark.parametrize(
    ("conditional", "match"),
    [
        (
            "gaussian_mixture",
            "Column 'species' holds 'Adelie' where numbers are expected",
        ),
        ("bernoulli", "Column 'species' holds 'Adelie' where numbers are expected"),
    ],
)
def test_labels_under_a_conditional_of_numbers(conditional, match):
    with pytest.raises(ValueError, match=match):
        fitted(mixed_frame(), conditional={"species": conditional})


def test_booleans_under_every_conditional():
    frame = pd.DataFrame({"x": [True, False, True, True]})
    for conditional in ("auto", "bernoulli", "categorical", "gaussian_mixture"):
        columns = fitted(frame, conditional=conditional)
        pd.testing.assert_frame_equal(columns.inverse(columns.transform(frame)), frame)


def test_values_outside_a_bernoulli_column():
    column = only([0.0, 1.0, 1.0])
    with pytest.raises(
        ValueError, match=r"expects values in {0, 1}, got 0.5 in column 0"
    ):
        column.transform(np.array([0.0, 0.5, 2.0]))
    with pytest.raises(ValueError, match="Negative values in data"):
        column.transform(np.array([2.0, -1.0]))


@pytest.mark.parametrize("spread", [1e5, 3e7, 1e9, 1e12])
def test_draws_of_large_counts_are_counts(spread):
    values = np.floor(np.random.default_rng(0).exponential(spread, 500))
    column = only(values, conditional="count")
    first = np.full(3, np.float32(column.spec.first), dtype=float)
    assert (column.inverse(first) == 0.0).all()
    # Small counts have codes of their own in float32, above the first.
    small = np.float32(column.transform(np.arange(200.0)))
    assert len(np.unique(small)) == 200
    assert (small[1:] > np.float32(column.spec.first)).all()


def test_weights_count_where_rows_do():
    rng = np.random.default_rng(0)
    labels = np.array(["big"] * 600 + ["A"] * 300 + ["B"] * 20, dtype=object)
    weights = np.array([1.0] * 600 + [0.01] * 300 + [15.2] * 20)
    frame = pd.DataFrame({"label": labels})
    kinds = {"conditional": "auto", "numeric": "gaussian_mixture"}
    kinds |= {"handle_unknown": "score", "max_categories": 2}
    column = fit_columns(frame, weights=weights, **kinds).columns[0]
    assert column.spec.shares == pytest.approx((304.0 / 307.0, 3.0 / 307.0))
    near, far = rng.normal(size=900), 1000.0 + rng.normal(size=900)
    X = np.r_[near, far][:, None]
    for light, heavy in ((1e-4, 1.0), (1.0, 1e4)):
        weights = np.r_[np.full(900, heavy), np.full(900, light)]
        column = fit_columns(X, weights=weights, **kinds).columns[0]
        assert column.center == pytest.approx(0.0, abs=0.2)
        assert column.scale == pytest.approx(1.0, abs=0.1)
    # A column that has one value of those that count still has two.
    X = np.array([[0.5], [0.5], [0.5], [2.0]])
    weights = np.array([1.0, 1.0, 1.0, 1e-6])
    assert type(fit_columns(X, weights=weights, **kinds).columns[0]).__name__ == (
        "RealColumn"
    )


def test_numbers_of_a_boolean_column_are_rounded_to_booleans():
    frame = pd.DataFrame({"b": [True, False, False, True]})
    columns = fit_columns(
        frame,
        conditional="gaussian_mixture",
        numeric="gaussian_mixture",
        handle_unknown="score",
    )
    codes = columns.transform(pd.DataFrame({"b": [0.9, 0.1, 0.4]}))
    for dtype in ("bool", "boolean"):
        columns.columns[0].dtype = pd.Series([], dtype=dtype).dtype
        assert columns.inverse(codes)["b"].tolist() == [True, False, False]
