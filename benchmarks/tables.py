"""The tables of the accuracy benchmark and how each is cut into training and test rows.

Read from the folder in the environment variable SKDENSITY_AR_DATA. Real tables lose,
for every model alike, the columns of `MAX_LEVELS` or fewer distinct values, columns
that repeat another one, and then repeated rows; the `_paper` ones are as the RNADE
paper had them, with nothing taken away. Each split is standardised by its training
part, so scores are nats per row in that space.

In mixed tables a column of numbers with `MAX_LEVELS` or fewer values is a category
(penguins: the year; titanic: survived, pclass, sibsp, parch), free text and rows with
missing cells are dropped ("?" of adult is a category of its own), and so is adult's
`education-num`, which says `education` once more and would cost only those models that
do not see that. Scores are in the units of the table.

What is asked besides held-out nats (`queries.py`) takes these tables, the ones that
scikit-learn brings along and those of `anomaly/` in one piece, as frames, and divides
them at random: a row that is there twice would be in both parts.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

MAX_LEVELS = 20
PAPER = "_paper"
DROPPED = ["name", "ticket", "cabin", "education-num"]
BUNDLED = {
    "breast_cancer": load_breast_cancer,
    "diabetes": partial(load_diabetes, scaled=False),
    "iris": load_iris,
    "wine": load_wine,
}


@dataclass
class Split:
    """One training and test part; `rounding` is the width per column, 0 for none."""

    train: np.ndarray | pd.DataFrame
    valid: np.ndarray | None
    test: np.ndarray | pd.DataFrame
    rounding: np.ndarray | None = None


def names(suite: str) -> list[str]:
    """The tables of a suite; a real one also goes by its name with `_paper`."""
    if suite == "images":
        return ["binarized_mnist"]
    if suite == "mixed":
        return ["adult", "penguins", "titanic"]
    return sorted(path.stem for path in (folder() / suite).glob("*.npz"))


def splits(suite: str, name: str, *, noise: bool = False) -> Iterator[Split]:
    """The splits of a table; `noise` hides the rounding of numbers by uniform draws."""
    if suite == "real":
        return _real_splits(name, noise)
    if suite == "mixed":
        return _mixed_splits(name, noise)
    return _bit_splits(suite, name)


def folder() -> Path:
    return Path(os.environ.get("SKDENSITY_AR_DATA", "../shared/data"))


def whole(name: str, *, few_values: bool = False, noise: bool = False) -> pd.DataFrame:
    """A table in one piece, each row once: real columns and categories.

    A column of numbers with `MAX_LEVELS` or fewer values stays with `few_values` alone,
    as a number, and if it has more than one. Of a table in anomaly/ the normal rows.
    `noise` hides the rounding of numbers by uniform draws.
    """
    if name in names("mixed"):
        frame = _mixed_frame(name)[0]
        once = ~frame.duplicated()
        return _mixed_frame(name, noise=noise)[0][once].reset_index(drop=True)
    if name in BUNDLED:
        X = BUNDLED[name]().data
    elif name in names("real"):
        with np.load(folder() / "real" / f"{name}.npz") as file:
            X = _decimals(file["X"])
    else:
        with np.load(folder() / "anomaly" / f"{name}.npz") as file:
            X = _decimals(file["X"][file["y"] == 0])
    X, _ = distinct(X, max_levels=1 if few_values else MAX_LEVELS)
    if noise:
        X = _hide_rounding(X, np.array([rounding_width(x) for x in X.T]))
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])


def divided(
    table: pd.DataFrame, division: int, *, test_share: float, max_rows: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows, of `max_rows` drawn rows if there are more."""
    rows = np.random.default_rng(division).permutation(len(table))[:max_rows]
    test, train = np.split(rows, [round(test_share * len(rows))])
    return (
        table.iloc[train].reset_index(drop=True),
        table.iloc[test].reset_index(drop=True),
    )


def _decimals(X: np.ndarray) -> np.ndarray:
    """Float64, of float32 the decimals that were rounded to it."""
    return X.astype(str).astype(float) if X.dtype == np.float32 else X


def _real_splits(name: str, noise: bool) -> Iterator[Split]:
    with np.load(folder() / "real" / f"{name.removesuffix(PAPER)}.npz") as file:
        X = file["X"]
        if "fold" in file:
            tests = [file["fold"] == k for k in range(10)]
        else:
            index = file["test_index"][: 10 if len(X) < 2000 else 5]
            tests = [np.isin(np.arange(len(X)), rows) for rows in index]
    X = _decimals(X)
    if not name.endswith(PAPER):
        X, rows = distinct(X)
        tests = [test[rows] for test in tests]
    rounding = np.array([rounding_width(x) for x in X.T])
    if noise:
        X = _hide_rounding(X, rounding)
    for test in tests:
        mean, std = X[~test].mean(0), X[~test].std(0)
        z = (X - mean) / std
        yield Split(z[~test], None, z[test], rounding / std)


def distinct(
    X: np.ndarray, *, max_levels: int = MAX_LEVELS
) -> tuple[np.ndarray, np.ndarray]:
    """X without columns of few or of repeated values; and the rows kept, each once."""
    varied = [j for j, x in enumerate(X.T) if len(np.unique(x)) > max_levels]
    _, first = np.unique(X[:, varied], axis=1, return_index=True)
    X = X[:, np.array(varied)[np.sort(first)]]
    _, rows = np.unique(X, axis=0, return_index=True)
    rows.sort()
    return X[rows], rows


def rounding_width(x: np.ndarray) -> float:
    """The largest of 1, 2, 2.5, 5 times a power of ten whose multiples the values are.

    Of one value in twenty it may be untrue, and the most frequent value does not count:
    it is often a zero for "none". 0 if the width is below a millionth of the spread.
    """
    values, counts = np.unique(x, return_counts=True)
    x = x[x != values[counts.argmax()]]
    if len(values) < 3:
        return 0.0
    exponents = np.arange(np.log10(np.ptp(values)) // 1, np.log10(1e-6 * x.std()), -1)
    for width in (10.0 ** exponents[:, None] * (5, 2.5, 2, 1)).ravel():
        steps = x / width
        if np.mean(np.abs(steps - np.round(steps)) < 0.01) >= 0.95:
            return float(width)
    return 0.0


def _hide_rounding(X: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    return X + rounding * np.random.default_rng(0).uniform(-0.5, 0.5, X.shape)


def _bit_splits(suite: str, name: str) -> Iterator[Split]:
    with np.load(folder() / suite / f"{name}.npz") as file:
        if "train" in file:
            parts = [file[part] for part in ("train", "valid", "test")]
        else:
            parts = [
                np.unpackbits(file[f"{part}_packed"], axis=1, count=file["n_features"])
                for part in ("train", "valid", "test")
            ]
    yield Split(*parts)


def _mixed_splits(name: str, noise: bool) -> Iterator[Split]:
    frame, rounding, n_train = _mixed_frame(name, noise=noise)
    for test in _test_rows(name, n_train, len(frame)):
        train, test = frame[~test], frame[test]
        yield Split(
            train.reset_index(drop=True), None, test.reset_index(drop=True), rounding
        )


def _mixed_frame(
    name: str, *, noise: bool = False
) -> tuple[pd.DataFrame, np.ndarray, int]:
    """All rows of a table, the rounding of its numbers, how many rows begin it."""
    if name == "adult":
        parts = [_read("adult_train"), _read("adult_test")]
    else:
        parts = [_read(name)]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.drop(columns=DROPPED, errors="ignore").dropna(ignore_index=True)
    numbers = frame.select_dtypes("number").columns
    real = [c for c in numbers if frame[c].nunique() > MAX_LEVELS]
    for column in frame.columns.difference(real):
        frame[column] = frame[column].astype(str).astype("category")
    values = frame[real].to_numpy(dtype=float)
    rounding = np.array([rounding_width(x) for x in values.T])
    frame[real] = _hide_rounding(values, rounding) if noise else values
    return frame, rounding, len(parts[0])


def _test_rows(name: str, n_train: int, n: int) -> Iterator[np.ndarray]:
    """The given test part of adult, five draws of a fifth of the others."""
    if name == "adult":
        yield np.arange(n) >= n_train
        return
    for repeat in range(5):
        order = np.random.default_rng(repeat).permutation(n)
        yield np.isin(np.arange(n), order[: n // 5])


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(folder() / "mixed" / f"{name}.csv.gz")
