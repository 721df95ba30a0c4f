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
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

MAX_LEVELS = 20
PAPER = "_paper"
DROPPED = ["name", "ticket", "cabin", "education-num"]


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


def _real_splits(name: str, noise: bool) -> Iterator[Split]:
    with np.load(folder() / "real" / f"{name.removesuffix(PAPER)}.npz") as file:
        X = file["X"]
        if "fold" in file:
            tests = [file["fold"] == k for k in range(10)]
        else:
            index = file["test_index"][: 10 if len(X) < 2000 else 5]
            tests = [np.isin(np.arange(len(X)), rows) for rows in index]
    if X.dtype == np.float32:
        X = X.astype(str).astype(float)  # the decimals that were rounded to float32
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


def distinct(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X without columns of few or of repeated values; and the rows kept, each once."""
    varied = [j for j, x in enumerate(X.T) if len(np.unique(x)) > MAX_LEVELS]
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
    if len(x) == 0:
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
    for test in _test_rows(name, len(parts[0]), len(frame)):
        train, test = frame[~test], frame[test]
        yield Split(
            train.reset_index(drop=True), None, test.reset_index(drop=True), rounding
        )


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
