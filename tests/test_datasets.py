"""The shipped tables are those that were published."""

import gzip
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import PredefinedSplit

from skdensity_ar import datasets
from skdensity_ar.datasets import (
    load_binary_digits,
    load_japanese_vowels,
    load_penguins,
    load_wine_quality_red,
)


def test_wine_has_the_published_shape_and_marks():
    wine = load_wine_quality_red()
    assert wine.data.shape == (1599, 11) and wine.data.dtype == np.float64
    assert wine.target.shape == (1599,) and wine.target.dtype == np.int64
    assert len(wine.feature_names) == 11 and wine.frame is None
    marks, counts = np.unique(wine.target, return_counts=True)
    assert dict(zip(marks.tolist(), counts.tolist(), strict=True)) == {
        3: 10,
        4: 53,
        5: 681,
        6: 638,
        7: 199,
        8: 18,
    }
    assert len(np.unique(wine.data, axis=0)) == 1359


def test_wine_folds_are_those_of_the_rnade_paper():
    # Table 1 of the paper: one full-covariance Gaussian scores -13.18 nats per test
    # row, columns standardised by the training part.
    wine = load_wine_quality_red()
    scores = []
    for train, test in PredefinedSplit(wine.folds).split():
        z = (wine.data - wine.data[train].mean(0)) / wine.data[train].std(0)
        precision = np.linalg.inv(z[train].T @ z[train] / len(train))
        squared = np.einsum("ni,ij,nj->n", z[test], precision, z[test])
        log_det = np.linalg.slogdet(precision)[1] - 11 * np.log(2 * np.pi)
        scores.append(np.mean(0.5 * (log_det - squared)))
    assert [len(test) for _, test in PredefinedSplit(wine.folds).split()] == [
        *[159] * 9,
        168,
    ]
    assert np.mean(scores) == pytest.approx(-13.18, abs=0.005)


def test_wine_decimals_are_exact():
    path = resources.files("skdensity_ar.datasets") / "data" / "winequality_red.csv.gz"
    with path.open("rb") as file, gzip.open(file, "rt") as text:
        first = text.readlines()[1].split(",")[:11]
    assert load_wine_quality_red().data[0].tolist() == [float(cell) for cell in first]


def test_wine_comes_as_arrays_frames_and_pairs():
    wine = load_wine_quality_red(as_frame=True)
    assert isinstance(wine.data, pd.DataFrame) and isinstance(wine.target, pd.Series)
    assert list(wine.data.columns) == wine.feature_names
    assert list(wine.frame.columns) == [*wine.feature_names, "quality"]
    assert (wine.frame.dtypes.iloc[:11] == np.float64).all()
    X, y = load_wine_quality_red(return_X_y=True)
    np.testing.assert_array_equal(X, wine.data)
    np.testing.assert_array_equal(y, wine.target)


def test_penguins_have_the_published_counts():
    frame = load_penguins().data
    assert frame.shape == (344, 8)
    assert frame["species"].value_counts().to_dict() == {
        "Adelie": 152,
        "Gentoo": 124,
        "Chinstrap": 68,
    }
    assert frame.isna().sum().to_dict() == {
        "species": 0,
        "island": 0,
        "bill_length_mm": 2,
        "bill_depth_mm": 2,
        "flipper_length_mm": 2,
        "body_mass_g": 2,
        "sex": 11,
        "year": 0,
    }
    for name in ("species", "island", "sex"):
        assert {type(v) for v in frame[name].dropna()} == {str}
    measured = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
    assert (frame[measured].dtypes == np.float64).all()
    assert frame["year"].dtype == np.int64
    assert frame["bill_length_mm"].iloc[0] == 39.1


def test_penguins_dropna_keeps_the_complete_rows_and_their_index():
    everything, complete = load_penguins().data, load_penguins(dropna=True).data
    assert complete.shape == (333, 8) and not complete.isna().any(axis=None)
    pd.testing.assert_frame_equal(complete, everything.loc[complete.index])


def test_binary_digits_are_thresholded_digits():
    digits = load_binary_digits()
    assert digits.data.shape == (1797, 64) and digits.data.dtype == np.float64
    assert set(np.unique(digits.data)) == {0.0, 1.0}
    np.testing.assert_array_equal(digits.data, load_digits().data >= 8)
    np.testing.assert_array_equal(digits.images.reshape(-1, 64), digits.data)
    X, y = load_binary_digits(threshold=1, return_X_y=True)
    assert X.mean() > digits.data.mean()
    np.testing.assert_array_equal(y, load_digits().target)


def test_vowels_have_the_published_sequences():
    vowels = load_japanese_vowels()
    assert len(vowels.data) == 640 and vowels.target.dtype == np.int64
    assert {x.shape[1] for x in vowels.data} == {12}
    assert {x.dtype for x in vowels.data} == {np.dtype(np.float64)}
    lengths = np.array([len(x) for x in vowels.data])
    assert (lengths.min(), lengths.max()) == (7, 29)
    assert lengths[vowels.train_index].sum() == 4274
    assert lengths[vowels.test_index].sum() == 5687
    both = np.concatenate([vowels.train_index, vowels.test_index])
    np.testing.assert_array_equal(both, np.arange(640))


def test_vowels_have_the_published_speakers():
    X, speakers = load_japanese_vowels(return_X_y=True)
    vowels = load_japanese_vowels()
    published = {
        "train_index": [30] * 9,
        "test_index": [31, 35, 88, 44, 29, 24, 40, 50, 29],
    }
    for part, counts in published.items():
        expected = np.repeat(np.arange(1, 10), counts)
        np.testing.assert_array_equal(speakers[vowels[part]], expected)
    for x, same in zip(X, vowels.data, strict=True):
        np.testing.assert_array_equal(x, same)


def test_vowels_have_the_published_decimals():
    # The first line of UCI's ae.train.
    first = "1.860936 -0.207383 0.261557 -0.214562 -0.171253 -0.118167 -0.277557"
    assert load_japanese_vowels().data[0][0, :7].tolist() == [
        float(cell) for cell in first.split()
    ]


@pytest.mark.parametrize("name", datasets.__all__)
def test_every_bunch_describes_itself_with_its_source(name):
    bunch = getattr(datasets, name)()
    assert "Notes" in bunch.DESCR and "https://" in bunch.DESCR
    table = bunch.data[0] if isinstance(bunch.data, list) else bunch.data
    assert len(bunch.feature_names) == table.shape[1]


def test_credit_and_licences_are_shipped_with_the_files():
    folder = resources.files("skdensity_ar.datasets") / "data"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in folder.iterdir()} - {"README.md"}
    assert files == {
        "winequality_red.csv.gz",
        "penguins.csv.gz",
        "japanese_vowels.npz",
    }
    for words in (*files, "CC BY 4.0", "CC0", "Cortez", "Gorman", "Horst", "Kudo"):
        assert words in readme
