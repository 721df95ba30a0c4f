"""The display of one row's shares: what its bars, labels and titles say."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.neighbors import KernelDensity

from skdensity_ar import DensityOutlierDetector, MADEDensity
from skdensity_ar.plotting import FeatureScoresDisplay
from tests.small import mixed_frame, reals, small, to_polars


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    """A frame with missing cells and zeros that are atoms."""
    X = mixed_frame(80)
    rng = np.random.default_rng(0)
    X["paid"] = np.where(rng.random(80) < 0.4, 0.0, rng.lognormal(size=80))
    X.loc[3, ["length", "species"]] = np.nan
    return X


@pytest.fixture(scope="module")
def density(table):
    made = small(
        MADEDensity,
        ordering="agnostic",
        conditional={"count": "count"},
        bounds={"paid": (0, None)},
        atoms={"paid": 0},
    )
    return made.fit(table)


def lengths(display):
    return [bar.get_width() for bar in display.bars_]


def labels(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_bars_are_the_shares_lowest_first(density, table):
    display = FeatureScoresDisplay.from_estimator(density, table, row=5)
    shares = density.score_features(table)[5]
    np.testing.assert_allclose(lengths(display), np.sort(shares), rtol=1e-6)
    assert sum(lengths(display)) == pytest.approx(display.log_density, abs=1e-5)
    assert display.features_.tolist() == np.argsort(shares).tolist()
    names = [str(table.columns[j]) for j in display.features_]
    assert [label.split(" = ")[0] for label in labels(display)] == names
    assert f"species = {table['species'][5]}" in labels(display)
    assert f"length = {table['length'][5]:.6g}" in labels(display)
    assert display.figure_ is display.ax_.figure
    assert f"{display.log_density:.2f} nats" in display.ax_.get_title()
    assert display.ax_.yaxis_inverted()  # the first bar is on top


def test_missing_cells_are_named_and_have_no_bar(density, table):
    display = FeatureScoresDisplay.from_estimator(density, table, row=3)
    assert set(labels(display)[-2:]) == {"length is missing", "species is missing"}
    assert lengths(display)[-2:] == [0.0, 0.0]
    few = FeatureScoresDisplay.from_estimator(density, table, row=3, max_features=2)
    assert lengths(few) == lengths(display)[:2]
    assert "lowest 2 of 6 columns" in few.ax_.get_xlabel()


def test_relative_to_typical_shares_the_unit_cancels(density, table):
    display = FeatureScoresDisplay.from_estimator(
        density, table, row=5, X_reference=table
    )
    shares = density.score_features(table)
    known = table["length"].notna()
    assert display.reference[0] == pytest.approx(np.median(shares[known, 0]))
    expected = np.sort(shares[5] - display.reference)
    np.testing.assert_allclose(lengths(display), expected, rtol=1e-6)
    assert "typical" in display.ax_.get_xlabel()
    assert display.ax_.get_legend() is None

    X = reals(100)
    scaled = X * [1.0, 1024.0, 1.0]
    of_x, of_scaled = (
        FeatureScoresDisplay.from_estimator(small(MADEDensity).fit(T), T, X_reference=T)
        for T in (X, scaled)
    )
    assert abs(of_x.scores[1] - of_scaled.scores[1]) == pytest.approx(np.log(1024.0))
    np.testing.assert_allclose(lengths(of_x), lengths(of_scaled), atol=1e-6)


def test_an_atom_is_compared_with_atoms(density, table):
    shares, zero = density.score_features(table), (table["paid"] == 0.0).to_numpy()
    for is_zero in (True, False):
        display = FeatureScoresDisplay.from_estimator(
            density,
            table,
            row=int(np.flatnonzero(zero == is_zero)[0]),
            X_reference=table,
        )
        typical = np.median(shares[zero == is_zero, -1])
        assert display.reference[-1] == pytest.approx(typical)
        assert display.is_density.tolist()[-1] is not is_zero
    without = table[~zero]
    with pytest.raises(ValueError, match="X_reference holds no cell in column 'paid'"):
        FeatureScoresDisplay.from_estimator(
            density, table, row=int(np.flatnonzero(zero)[0]), X_reference=without
        )


def test_masses_and_densities_have_two_colours(density, table):
    display = FeatureScoresDisplay.from_estimator(density, table, row=5)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["mass", "density, depends on the unit of its column"]
    colors = {tuple(bar.get_facecolor()) for bar in display.bars_}
    assert len(colors) == 2
    assert display.is_density[list(table.columns).index("length")]
    assert not display.is_density[list(table.columns).index("count")]


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, list])
def test_tables_of_numbers(make):
    X = reals()
    density = small(MADEDensity).fit(X)
    density.__dict__.pop("feature_names_in_", None)
    if make is pd.DataFrame:
        density = small(MADEDensity).fit(pd.DataFrame(X, columns=["x0", "x1", "x2"]))
        X = pd.DataFrame(X, columns=["x0", "x1", "x2"], index=[7] * len(X))
    display = FeatureScoresDisplay.from_estimator(density, make(X), row=-1)
    assert {label.split(" = ")[0] for label in labels(display)} == {"x0", "x1", "x2"}
    np.testing.assert_allclose(
        display.scores, density.score_features(X)[-1], rtol=1e-6, atol=1e-6
    )


def test_a_polars_frame_is_shown_as_pandas_is():
    X = mixed_frame()
    shown = [
        FeatureScoresDisplay.from_estimator(small(MADEDensity).fit(T), T, row=2)
        for T in (X, to_polars(X))
    ]
    assert labels(shown[0]) == labels(shown[1])
    assert lengths(shown[0]) == pytest.approx(lengths(shown[1]), abs=1e-5)


def test_a_detector_and_its_density_show_the_same(density, table):
    detector = DensityOutlierDetector(density).fit(table)
    one, other = (
        FeatureScoresDisplay.from_estimator(e, table, row=5, X_reference=table)
        for e in (detector, detector.estimator_)
    )
    assert lengths(one) == lengths(other)
    assert one.is_density.tolist() == other.is_density.tolist()


def test_columns_given_all_others(density, table):
    display = FeatureScoresDisplay.from_estimator(
        density, table, row=5, given="others", X_reference=table
    )
    scores = density.score_features(table, given="others")[5]
    np.testing.assert_allclose(display.scores, scores, rtol=1e-5, atol=1e-5)
    assert "given" not in display.ax_.get_xlabel()
    assert "other columns" in display.ax_.get_xlabel()


def test_rows_with_contexts():
    X, label = reals(), np.array(["a", "b"] * 30)
    density = small(MADEDensity).fit(X, context=label)
    display = FeatureScoresDisplay.from_estimator(
        density, X, row=3, context=label, X_reference=X, context_reference=label
    )
    shares = density.score_features(X, context=label)
    np.testing.assert_allclose(display.scores, shares[3], rtol=1e-6)
    np.testing.assert_allclose(display.reference, np.median(shares, 0), rtol=1e-6)
    for wrong in (label[:59], np.repeat(label, 2)):
        with pytest.raises(ValueError, match="it must be a table of 60 rows"):
            FeatureScoresDisplay.from_estimator(density, X, context=wrong)
    masked = np.ma.array(label, mask=np.arange(60) < 1)
    with pytest.raises(TypeError, match="context is a numpy masked array"):
        FeatureScoresDisplay.from_estimator(density, X, context=masked)


def test_a_second_plot_on_the_same_axes_has_the_lowest_first_too(density, table):
    _, ax = plt.subplots()
    for row in (0, 1):
        FeatureScoresDisplay.from_estimator(density, table, row=row, ax=ax)
        assert ax.yaxis_inverted()


def test_plain_numbers_are_enough_and_style_is_passed_on():
    _, ax = plt.subplots()
    display = FeatureScoresDisplay(
        [-2.0, -np.inf, 1.0], values=[1.0, 2.5, "b"], feature_names=["a", "b", "c"]
    )
    assert not hasattr(display, "bars_")
    assert display.plot(ax, color="gold", max_features=None) is display
    assert display.ax_ is ax
    assert labels(display) == ["b = 2.5 (-inf nats)", "a = 1", "c = b"]
    assert np.isfinite(lengths(display)).all()
    assert lengths(display)[0] == min(lengths(display))
    assert {bar.get_facecolor() for bar in display.bars_} == {(1.0, 215 / 255, 0, 1)}
    assert ax.get_title() == ""
    assert labels(FeatureScoresDisplay([0.0], values=[None]).plot()) == [
        "x0 is missing"
    ]


def test_what_cannot_be_shown(density, table, monkeypatch):
    show = FeatureScoresDisplay.from_estimator
    with pytest.raises(TypeError, match=r"score_features.*got KernelDensity"):
        show(KernelDensity().fit(reals()), reals())
    with pytest.raises(IndexError):
        show(density, table, row=80)
    X = reals()
    of_numbers = small(MADEDensity, max_iter=1).fit(X)
    with pytest.raises(TypeError, match="X is a numpy masked array"):
        show(of_numbers, np.ma.array(X, mask=X < 0.0))
    with pytest.raises(TypeError, match="X is a numpy masked array"):
        show(of_numbers, X, X_reference=np.ma.array(X, mask=X < 0.0))
    with pytest.raises(TypeError, match="Sparse data was passed"):
        show(of_numbers, scipy.sparse.csr_matrix(X))
    with pytest.raises(TypeError, match="rows of a LazyFrame are not there yet"):
        show(of_numbers, pl.DataFrame(X).lazy())
    for wrong, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="max_features must be an integer >= 1"):
            show(density, table, max_features=wrong)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"FeatureScoresDisplay\.plot requires mat"):
        FeatureScoresDisplay([0.0], values=[1.0]).plot()
    with pytest.raises(ImportError, match=r"FeatureScoresDisplay\.from_estimator req"):
        show(density, table)


def test_a_missing_cell_is_neither_mass_nor_density():
    X = reals(60)
    X[0, 0] = np.nan
    density = small(MADEDensity, ordering="agnostic", max_iter=1).fit(X)
    display = FeatureScoresDisplay.from_estimator(density, X, row=0)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert len(texts) == 1
    assert texts[0].startswith("density")


def test_a_row_that_is_not_there_is_named():
    density = small(MADEDensity, max_iter=1).fit(reals(60))
    with pytest.raises(IndexError, match="row=5 is not among the 2 rows of X"):
        FeatureScoresDisplay.from_estimator(density, reals(60)[:2], row=5)
