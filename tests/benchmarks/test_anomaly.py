"""The anomaly benchmark splits without leaks, fits once and ranks as it says."""

import sys

import anomaly
import numpy as np
import pandas as pd
import pytest
from anomaly import Task, kde, knn, results, split, summary


@pytest.fixture
def table():
    """120 rows that are all different, 20 of them anomalies far away."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 3)), np.repeat([0, 1], (100, 20))
    X[y == 1] += 10.0
    return X, y


@pytest.fixture
def folder(table, tmp_path, monkeypatch):
    """A data folder of two sets, and two detectors instead of all."""
    (tmp_path / "anomaly").mkdir()
    for name in ("2_even", "11_odd"):
        np.savez(tmp_path / "anomaly" / f"{name}.npz", X=table[0], y=table[1])
    monkeypatch.setenv("SKDENSITY_AR_DATA", str(tmp_path))
    detectors = {"distance": distance, "contrary": contrary}
    monkeypatch.setattr(anomaly, "DETECTORS", detectors)
    monkeypatch.setattr(sys.modules[__name__], "CALLS", [])
    return tmp_path


CALLS: list[str] = []


def distance(task, seed):
    CALLS.append("distance")
    return np.linalg.norm(task.Z_test, axis=1)


def contrary(task, seed):
    CALLS.append("contrary")
    return -np.linalg.norm(task.Z_test - task.Z_train.mean(0), axis=1)


def rows(X):
    return {tuple(x) for x in X}


def test_normals_train_on_half_of_the_normal_rows_and_rank_the_rest(table):
    X, y = table
    task = split(X, y, "normals", seed=0, max_rows=1000)
    train, test = rows(task.X_train), rows(task.X_test)
    assert len(task.X_train) == 50 and len(task.X_test) == 70
    assert train <= rows(X[y == 0])
    assert not train & test and train | test == rows(X)
    assert rows(task.X_test[task.y == 1]) == rows(X[y == 1])
    assert len(task.trained) == 0
    np.testing.assert_allclose(task.Z_train.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(task.Z_train.std(0), 1.0)
    another = split(X, y, "normals", seed=1, max_rows=1000)
    assert rows(another.X_train) != train


def test_without_labels_all_rows_are_ranked_and_max_rows_train(table):
    X, y = table
    task = split(X, y, "all", seed=0, max_rows=30)
    np.testing.assert_array_equal(task.X_test, X)
    np.testing.assert_array_equal(task.y, y)
    assert len(task.X_train) == len(rows(task.X_train)) == 30
    np.testing.assert_array_equal(task.X_test[task.trained], task.X_train)


@pytest.mark.parametrize("protocol", anomaly.PROTOCOLS)
def test_small_and_large_sets_as_published(table, protocol, monkeypatch):
    X, y = table
    task = split(X, y, protocol, seed=0, max_rows=5000, published=True)
    n_normal = 1000 - task.y.sum()
    expected = 1000 if protocol == "all" else n_normal // 2
    assert len(task.X_train) == expected
    assert rows(task.X_train) <= rows(X)
    monkeypatch.setattr(anomaly, "MOST_ROWS", 60)
    task = split(X, y, "all", seed=0, max_rows=5000)
    assert len(task.X_test) == len(rows(task.X_test)) == 60


def test_columns_that_are_constant_in_training_are_dropped():
    X = np.array([[1.0, 0.0], [1.0, 2.0], [5.0, 4.0]])
    task = Task(X[:2], X, np.array([0, 0, 1]), np.empty(0, dtype=int))
    np.testing.assert_array_equal(task.X_test, X[:, 1:])
    np.testing.assert_array_equal(task.Z_test[:, 0], [-1.0, 1.0, 3.0])


@pytest.mark.parametrize("detector", [knn, kde])
def test_a_ranked_training_row_does_not_count_itself(table, detector):
    """Alone among the anomalies in training, a row has no neighbour near."""
    X, y = table
    here = np.r_[np.flatnonzero(y == 0), 100]
    task = Task(X[here], X, y, here)
    scores = detector(task, 0)
    assert np.argmax(scores[here]) == len(here) - 1
    assert np.isfinite(scores).all()


def test_results_are_computed_once_and_their_auroc_is_right(folder):
    paths = anomaly.sets()
    assert list(paths) == ["2_even", "11_odd"]

    def run(max_rows):
        return results(
            "2_even",
            paths["2_even"],
            "normals",
            0,
            models=["distance", "contrary"],
            cache=folder / "cache",
            max_rows=max_rows,
        )

    first = run(1000)
    assert run(1000) == first
    assert CALLS == ["distance", "contrary"]
    run(40)
    assert len(CALLS) == 4
    assert [r["auroc"] for r in first] == pytest.approx([100.0, 0.0])
    assert first[0]["ap"] == pytest.approx(100.0) and first[1]["ap"] < 30.0
    assert (first[0]["n_train"], first[0]["n_anomalies"]) == (50, 20)


def test_the_summary_averages_over_seeds_and_over_sets_that_all_have_ranked():
    record = [
        ("1_a", 0, "ours", 90.0),
        ("1_a", 1, "ours", 80.0),
        ("1_a", 0, "theirs", 70.0),
        ("2_b", 0, "ours", 60.0),
        ("2_b", 0, "theirs", 95.0),
        ("3_c", 0, "ours", 0.0),
    ]
    records = pd.DataFrame(record, columns=["set", "seed", "model", "auroc"])
    table = summary(records.assign(seconds=1.0), "auroc")
    assert list(table.columns) == ["all 2", "odd 1", "even 1", "rank", "seconds"]
    assert list(table.index) == ["theirs", "ours"]
    assert list(table.loc["ours"]) == [72.5, 85.0, 60.0, 1.5, 1.0]
    assert list(table.loc["theirs"]) == [82.5, 70.0, 95.0, 1.5, 1.0]


def test_the_record_keeps_what_a_run_leaves_out(folder, monkeypatch, capsys):
    record = folder / "record"

    def run(*arguments):
        where = ["--cache", str(folder / "cache"), "--record", str(record)]
        monkeypatch.setattr(sys, "argv", ["anomaly.py", *where, *arguments])
        anomaly.main()

    run("--odd", "--max-rows", "40")
    printed = capsys.readouterr().out
    assert "11_odd, all, seed 0: distance" in printed and "2_even" not in printed
    assert not record.exists()
    run("--odd")
    run("--models", "distance", "--protocol", "normals")
    table = pd.read_csv(record / "anomaly.csv")
    assert table.set.tolist() == ["2_even"] + ["11_odd"] * 4
    run()
    table = pd.read_csv(record / "anomaly.csv")
    assert len(table) == 8  # two sets, two protocols, two detectors
    assert table.model.tolist() == ["distance", "contrary"] * 4
    best = table.groupby(["protocol", "model"]).auroc.mean().unstack()
    assert (best["distance"] > best["contrary"]).all()
    text = (record / "anomaly.md").read_text()
    assert "| distance |" in text and "    $ python anomaly.py" in text


@pytest.mark.parametrize("ranking", [anomaly.outliers, anomaly.novelties])
def test_a_row_far_from_all_others_ranks_first(ranking):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2)) @ [[1.0, 0.9], [0.0, 0.2]]
    test = np.r_[X[:50], [[2.0, -2.0]], X[50:100]]  # usual values, an unusual pair
    bits = rng.integers(0, 2, (301, 1))
    task = Task(
        np.c_[X, bits[:200]], np.c_[test, bits[200:]], np.zeros(101), np.empty(0, int)
    )
    scores = ranking(task, 0)
    assert scores.shape == (101,) and np.isfinite(scores).all()
    assert scores.argmax() == 50


def test_columns_that_fit_better_than_usual_do_not_count(monkeypatch):
    usual = np.tile([[-1.0, -2.0], [-3.0, -4.0]], (100, 1))  # medians -2 and -3
    log_p = {200: usual, 2: np.array([[9.0, -3.0], [-3.0, -6.0]])}
    monkeypatch.setattr(anomaly, "_log_conditionals", lambda _, X: log_p[len(X)])
    task = Task(np.eye(200), np.ones((2, 200)), np.zeros(2), np.empty(0, int))
    train, test = anomaly._excess(None, task)
    np.testing.assert_array_equal(train[:2], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(test, [[0, 0], [1, 3]])
