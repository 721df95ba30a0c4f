"""scikit-learn's transformers that are bijections: log-Jacobians and inverses."""

from __future__ import annotations

import warnings
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import check_array, get_tags

_TAKEN = (
    "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, PowerTransformer, PCA "
    "of full rank, and pipelines and ColumnTransformers of these are taken"
)


def takes_missing(transformer: Any) -> bool:
    """Whether all of a transformer that is not fitted yet leaves NaN as NaN."""
    if isinstance(transformer, Pipeline):
        parts = [step for _, step in transformer.steps]
    elif isinstance(transformer, ColumnTransformer):
        parts = [part for _, part, _ in transformer.transformers]
        parts.append(transformer.remainder)
    else:
        return transformer in (None, "passthrough", "drop") or bool(
            get_tags(transformer).input_tags.allow_nan
        )
    return all(takes_missing(part) for part in parts)


@singledispatch
def log_slopes(transformer: Any, X: Any) -> np.ndarray:
    """Shares of the columns that come out in log |det ∂ transformed / ∂ x|, (n, D).

    In nats; of columns that a PCA mixes all have the same. Missing cells, NaN, have no
    share, where columns are transformed one by one.

    Raises
    ------
    ValueError
        Where the fitted transformer is no bijection, or is not known to be one.
    """
    raise ValueError(
        f"{type(transformer).__name__} is not known to be a smooth bijection, by which "
        f"a density could be transformed (a QuantileTransformer is flat outside of "
        f"what it was fitted to); {_TAKEN}."
    )


def _numbers(X: Any) -> np.ndarray:
    """Columns (n, D) of an array or a frame, missing cells as NaN."""
    return check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")


def _scaled(scale: np.ndarray | None, X: Any) -> np.ndarray:
    """Of columns that were divided by `scale`."""
    missing = np.isnan(_numbers(X))
    slopes = 0.0 if scale is None else -np.log(np.abs(scale))
    return np.where(missing, 0.0, slopes)


def _refuse_clipping(transformer: Any) -> None:
    if getattr(transformer, "clip", False):
        raise ValueError(
            f"{type(transformer).__name__}(clip=True) takes what lies outside to its "
            "edge, so it has no density there; set clip=False."
        )


@log_slopes.register
def _(transformer: StandardScaler, X: Any) -> np.ndarray:
    return _scaled(transformer.scale_, X)


@log_slopes.register
def _(transformer: RobustScaler, X: Any) -> np.ndarray:
    return _scaled(transformer.scale_, X)


@log_slopes.register
def _(transformer: MaxAbsScaler, X: Any) -> np.ndarray:
    _refuse_clipping(transformer)
    return _scaled(transformer.scale_, X)


@log_slopes.register
def _(transformer: MinMaxScaler, X: Any) -> np.ndarray:
    _refuse_clipping(transformer)
    return _scaled(1.0 / transformer.scale_, X)


@log_slopes.register
def _(transformer: PowerTransformer, X: Any) -> np.ndarray:
    x, power = _numbers(X), transformer.lambdas_ - 1.0
    if transformer.method == "box-cox":  # slope x^(λ-1)
        each = power * np.log(x)
    else:  # (1 + x)^(λ-1) at 0 and above, (1 - x)^(1-λ) below
        each = np.sign(x) * power * np.log1p(np.abs(x))
    of_power = np.where(np.isnan(x), 0.0, each)
    return of_power + (
        log_slopes(transformer._scaler, x) if transformer.standardize else 0.0
    )


@log_slopes.register
def _(transformer: PCA, X: Any) -> np.ndarray:
    n_kept, variances = transformer.n_components_, transformer.explained_variance_
    # Smaller ones are rounding errors of the eigenvalues.
    least = np.finfo(variances.dtype).eps * len(variances) * variances.max()
    n_kept = min(n_kept, int((variances > least).sum()))
    if n_kept < transformer.n_features_in_:
        raise ValueError(
            f"PCA keeps {n_kept} of {transformer.n_features_in_} dimensions, in which "
            "rows have no density; keep all, which takes as many rows and columns that "
            "do not depend on each other."
        )
    log_det = -0.5 * np.log(variances).sum() if transformer.whiten else 0.0
    return np.full((len(X), n_kept), log_det / n_kept)


@log_slopes.register
def _(transformer: Pipeline, X: Any) -> np.ndarray:
    total = np.zeros(X.shape)
    for step in _steps(transformer):
        total = carried(step, total) + log_slopes(step, X)
        X = step.transform(X)
    return total


@log_slopes.register
def _(transformer: ColumnTransformer, X: Any) -> np.ndarray:
    total = np.zeros(X.shape)
    for part, columns, places in _parts(transformer):
        if part is not None:
            total[:, places] = log_slopes(part, _columns_of(X, columns))
    return total


@singledispatch
def carried(transformer: Any, shares: np.ndarray) -> np.ndarray:
    """Shares (n, D) of the columns that come in as those of the ones that come out.

    A column out of a PCA has a share of all that come in.
    """
    return shares


@carried.register
def _(transformer: PCA, shares: np.ndarray) -> np.ndarray:
    return np.broadcast_to(shares.mean(1, keepdims=True), shares.shape)


@carried.register
def _(transformer: Pipeline, shares: np.ndarray) -> np.ndarray:
    for step in _steps(transformer):
        shares = carried(step, shares)
    return shares


@carried.register
def _(transformer: ColumnTransformer, shares: np.ndarray) -> np.ndarray:
    out = np.empty_like(shares)
    for part, columns, places in _parts(transformer):
        some = shares[:, columns]
        out[:, places] = some if part is None else carried(part, some)
    return out


@singledispatch
def inverse(transformer: Any, Z: np.ndarray) -> np.ndarray:
    """The rows (n, D) that were transformed to Z, columns in their order in `fit`.

    Of objects where columns that a ColumnTransformer passes through hold labels. Not
    finite where nothing is transformed to Z: a PowerTransformer's values end somewhere
    unless 0 ≤ λ ≤ 2.
    """
    with warnings.catch_warnings():  # of numpy and scikit-learn about these
        warnings.simplefilter("ignore")
        return np.asarray(transformer.inverse_transform(Z.astype(np.float64)))


@inverse.register
def _(transformer: Pipeline, Z: np.ndarray) -> np.ndarray:
    for step in _steps(transformer)[::-1]:
        Z = inverse(step, Z)
    return Z


@inverse.register
def _(transformer: ColumnTransformer, Z: np.ndarray) -> np.ndarray:
    X = np.empty_like(Z)
    for part, columns, places in _parts(transformer):
        values = Z[:, places]
        X[:, columns] = values if part is None else inverse(part, values)
    return X


def _steps(transformer: Pipeline) -> list[Any]:
    steps = [step for _, step in transformer.steps]
    return [step for step in steps if step is not None and step != "passthrough"]


def _parts(transformer: ColumnTransformer) -> list[tuple[Any, list[int], slice]]:
    """Fitted transformers, None where there is none, their columns and outputs."""
    weights = [w for w in (transformer.transformer_weights or {}).values() if w != 1]
    if weights:
        raise ValueError(
            "ColumnTransformer(transformer_weights=...) multiplies what its parts "
            "give; leave it out, the density is the same without."
        )
    n = transformer.n_features_in_
    names = list(getattr(transformer, "feature_names_in_", range(n)))
    parts, seen = [], []
    for name, part, columns in transformer.transformers_:
        indices = _indices(columns, names)
        if not indices:
            continue
        if isinstance(part, str) and part == "drop":
            dropped = [names[d] for d in indices]
            raise ValueError(
                f"ColumnTransformer drops the columns {dropped}, of which there is no "
                "density then; leave them out of X, or set remainder='passthrough'."
            )
        is_none = isinstance(part, str) or _is_identity(part)
        places = transformer.output_indices_[name]
        parts.append((None if is_none else part, indices, places))
        seen += indices
    if len(set(seen)) < len(seen):
        twice = sorted({names[d] for d in seen if seen.count(d) > 1})
        raise ValueError(
            f"ColumnTransformer takes the columns {twice} twice, so its output has no "
            "density; take each once."
        )
    return parts


def _is_identity(part: Any) -> bool:
    """Whether it is what scikit-learn puts in the place of "passthrough"."""
    return (
        isinstance(part, FunctionTransformer)
        and part.func is None
        and part.inverse_func is None
    )


def _indices(columns: Any, names: list[Any]) -> list[int]:
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = None if columns.start is None else names.index(columns.start)
            stop = None if columns.stop is None else names.index(columns.stop) + 1
            columns = slice(start, stop, columns.step)
        return list(range(len(names)))[columns]
    with warnings.catch_warnings():  # 1.6 warns of what the remainder will be
        warnings.simplefilter("ignore", FutureWarning)
        listed = np.atleast_1d(np.asarray(columns))
    if listed.dtype == bool:
        return np.flatnonzero(listed).tolist()
    if listed.dtype.kind in "iu":
        return (listed % len(names)).tolist()
    return [names.index(column) for column in listed.tolist()]


def _columns_of(X: Any, columns: list[int]) -> Any:
    return (X.iloc if hasattr(X, "iloc") else X)[:, columns]
