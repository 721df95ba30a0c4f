"""The accuracy benchmark fits once, pairs its rows and writes what it found."""

import sys

import accuracy
import numpy as np
import pandas as pd
import pytest
import tables
from accuracy import (
    Result,
    Shelf,
    key,
    markdown,
    published,
    result_of,
    rows,
    statements,
    ties,
)
from rivals import full_gaussian
from sklearn.base import BaseEstimator
from tables import Split

from skdensity_ar import MADEDensity


class Counted(BaseEstimator):
    """A uniform density of width `width` that counts its fits."""

    fits = 0

    def __init__(self, width=1.0):
        self.width = width

    def fit(self, X, y=None, *, X_val=None):
        type(self).fits += 1
        self.note_ = "with validation rows" if X_val is not None else ""
        return self

    def score_samples(self, X):
        return np.full(len(X), -np.log(self.width))


@pytest.fixture
def split():
    X = np.random.default_rng(0).normal(size=(60, 2))
    return Split(X[:40], None, X[40:])


def test_a_result_in_the_cache_is_not_fitted_again(split, tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "fits", 0)
    path = tmp_path / "table" / "00.npz"
    assert result_of(Counted(2.0), split, path, fit=False) is None
    first = result_of(Counted(2.0), split, path)
    second = result_of(Counted(2.0), split, path)
    assert Counted.fits == 1
    np.testing.assert_array_equal(first.log_p, second.log_p)
    assert (first.seconds, first.note) == (second.seconds, second.note)
    assert list(path.parent.iterdir()) == [path]
    split.valid = split.test
    assert (
        result_of(Counted(), split, tmp_path / "1.npz").note == "with validation rows"
    )


def test_the_key_follows_parameters_rows_and_code(split, monkeypatch):
    other = Split(split.train + 1, None, split.test)
    keys = {
        key(Counted(), split),
        key(Counted(2.0), split),
        key(Counted(), other),
        key(MADEDensity(), split),
        key(MADEDensity(n_orderings=2), split),
    }
    assert len(keys) == 5
    assert key(Counted(), split) in keys and key(MADEDensity(), split) in keys
    monkeypatch.setattr(accuracy, "source", lambda: "changed")
    assert key(Counted(), split) in keys and key(MADEDensity(), split) not in keys


def test_comments_and_docstrings_are_no_statements():
    code = '"""What it is."""\n\ndef f(x):\n    """Do."""\n    return x  # done\n'
    assert statements(code) == statements("def f(x): return x")
    assert statements(code) != statements("def f(x): return -x")


def test_differences_are_paired_and_pooled_over_splits():
    difficulty = np.array([0.0, -100.0, 30.0, 7.0, -50.0])
    ours, theirs = difficulty + np.arange(1, 6), difficulty
    results = {
        "MADE": {0: Result(ours[:2], 1.0), 1: Result(ours[2:], 3.0)},
        "other": {0: Result(theirs[:2], 10.0, "a"), 1: Result(theirs[2:], 10.0, "b")},
    }
    made, other = rows("table", results)
    assert other["minus"] == 3.0
    assert other["minus_error"] == pytest.approx(np.sqrt(2.5 / 5))
    assert other["nats"] == theirs.mean()
    assert other["error"] == pytest.approx(theirs.std(ddof=1) / np.sqrt(5))
    assert (made["rank"], other["rank"], other["notes"]) == (1, 2, "a; b")
    assert (made["splits"], made["n_test"], made["seconds"]) == (2, 5, 2.0)


def test_fewer_splits_are_compared_and_ranked_by_those_that_both_have():
    easy, hard = np.array([9.0, 9.0]), np.array([1.0, 1.0])
    results = {
        "MADE": {0: Result(easy, 1.0), 1: Result(hard, 1.0)},
        "flow": {0: Result(easy - 2, 1.0)},
        "elsewhere": {2: Result(easy, 1.0)},
    }
    record = pd.DataFrame(rows("wine", results))
    made, flow, elsewhere = record.to_dict("records")
    assert flow["nats"] > made["nats"]
    assert (flow["minus"], flow["minus_error"]) == (2.0, 0.0)
    assert (made["rank"], flow["rank"]) == (1, 2) and np.isnan(elsewhere["rank"])
    cells = next(line for line in markdown(record, "nats", "error") if "wine" in line)
    assert "**5.000 ± 2.309**" in cells and "| 7.000 ± 0.000 (1) |" in cells


def test_the_page_marks_the_best_and_ranks():
    results = {
        "MADE": {0: Result(np.array([-1.0, -2.0]), 1.0)},
        "flow": {0: Result(np.array([-3.0, -3.0]), 1.0, "time limit: 3 epochs")},
    }
    record = pd.DataFrame(rows("wine", results))
    assert list(markdown(record, "nats", "error")) == [
        "| | MADE | flow |",
        "|---|---|---|",
        "| wine | **−1.500 ± 0.500** | −3.000 ± 0.000 † |",
        "| mean rank | 1.00 | 2.00 |",
    ]
    assert "| wine |  | +1.500 ± 0.500 |" in markdown(record, "minus", "minus_error")


def test_published_figures_stand_beside_our_best():
    results = {
        "MADE": {0: Result(np.array([-6.5, -5.5]), 1.0)},
        "reference": {0: Result(np.array([-5.5, -5.0]), 1.0)},
        "flow": {0: Result(np.array([-1.0, -1.0]), 1.0)},
    }
    lines = list(published(pd.DataFrame(rows("nltcs", results))))
    assert len(lines) == 3
    assert lines[2].startswith(
        "| nltcs | CM-CLT | −5.99 | reference | −5.250 ± 0.250 | +0.740 |"
    )
    assert len(list(published(pd.DataFrame(rows("unknown", results))))) == 2


def test_ties_are_what_noise_takes_from_the_lead():
    def record(flow, kernel):
        results = {
            "MADE": {0: Result(np.zeros(2), 1.0)},
            "reference": {0: Result(np.ones(2), 1.0)},
            "flow": {0: Result(np.full(2, flow), 1.0)},
            "kernel": {0: Result(np.full(2, kernel), 1.0)},
        }
        return pd.DataFrame(rows("wine", results))

    lines = list(ties(record(-5.0, -4.0), record(1.0, -2.0)))
    assert lines[2:] == ["| wine | kernel | +4.000 ± 0.000 | flow | −1.000 ± 0.000 |"]


def test_a_run_resumes_and_keeps_the_other_tables(split, tmp_path, monkeypatch):
    known = {"MADE": Counted(1.0), "wide": Counted(2.0), "Gaussian": full_gaussian()}
    monkeypatch.setattr(Counted, "fits", 0)
    monkeypatch.setattr(accuracy, "models", lambda *args, **options: known)
    monkeypatch.setattr(tables, "splits", lambda *args, **options: [split, split])
    monkeypatch.setattr(tables, "names", lambda suite: ["first", "second"])

    def run(*arguments):
        paths = ["--cache", str(tmp_path / "cache"), "--record", str(tmp_path)]
        monkeypatch.setattr(
            sys, "argv", ["accuracy.py", "--suite", "real", *paths, *arguments]
        )
        accuracy.main()
        return pd.read_csv(tmp_path / "accuracy_real.csv").set_index(["table", "model"])

    record = run("first", "--models", "MADE", "wide")
    assert Counted.fits == 4 and len(record) == 2
    record = run()
    assert Counted.fits == 8 and len(record) == 6
    record = run("second", "--models", "MADE")
    assert Counted.fits == 8 and len(record) == 6
    for cached in tmp_path.glob("cache/real/*/*.npz"):
        cached.unlink()
    record = run("second", "--models", "none")  # all stays known without the cache
    assert Counted.fits == 8 and len(record) == 6
    # Rivals stay known when others are asked for, ours only as it is now.
    shelf = tmp_path / "rows" / "accuracy_real" / "second.npz"
    assert len(Shelf(shelf)) == 6
    known["MADE"], known["wide"] = Counted(1.5), Counted(2.5)
    run("second", "--models", "MADE")
    assert Counted.fits == 10 and len(Shelf(shelf)) == 6
    assert record.loc[("first", "wide"), "minus"] == pytest.approx(np.log(2), rel=1e-5)
    page = (tmp_path / "accuracy_real.md").read_text()
    assert "| mean rank |" in page and "--suite real" in page
