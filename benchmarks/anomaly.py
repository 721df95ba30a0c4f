"""Anomalies: ranking rows by -log p(x) against detectors made for the purpose.

    OMP_NUM_THREADS=1 python benchmarks/anomaly.py
    OMP_NUM_THREADS=1 python benchmarks/anomaly.py 38_thyroid --protocol normals

Reads `anomaly/` (the classical sets of ADBench) of the folder in the environment
variable SKDENSITY_AR_DATA; ECOD, COPOD, HBOS and PCA are pyod's (`.[benchmarks]`). Two
protocols, those of Livernoche et al. (2024):

all      fit on all rows without labels and rank the same rows,
normals  fit on a random half of the normal rows, rank the other half and the anomalies.

Sets of more than 50 000 rows are subsampled to as many. They also resample sets of
fewer than 1000 rows to 1000 with replacement, which gives test rows their copies in
training; here `--published` does so. At most `--max-rows` rows train, all are ranked.
Columns that are constant in training are dropped for all models and the rest
standardised by the training rows; `MADEDensity` takes them as they are.

Of ours there are -log p(x) of the default and two rankings that were chosen on the sets
of odd numbers: `ours, outliers` for the protocol "all", `ours, novelties` for
"normals". They sum what each column's log-conditional lacks to what is usual, of
densities without waves and with weight decay (`AS_CHOSEN`).

Where training rows are ranked, the nearest-neighbour methods and the kernel density
leave out the row itself. Scores are kept in the cache, under the code that they come
from: a run that is broken off goes on where it stopped. Seconds are those of the
processor, to fit and to rank. The record keeps the sets and models that a run leaves
out; it is not written with `--seeds`, `--max-rows` or `--published`.
"""

import argparse
import hashlib
import inspect
import os
import textwrap
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accuracy import source
from scipy.special import logsumexp
from sklearn.covariance import MinCovDet
from sklearn.decomposition import PCA as Components
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from timing import described

from skdensity_ar import MADEDensity

HERE = Path(__file__).parent
PROTOCOLS = ("all", "normals")
MOST_ROWS, FEWEST_ROWS = 50_000, 1000
OURS = "MADEDensity"

# What the default had when the rankings made of it were chosen.
AS_CHOSEN = {"n_frequencies": 0, "weight_decay": 0.01}


def sets() -> dict[str, Path]:
    """The files, by name in the order of their numbers."""
    folder = Path(os.environ.get("SKDENSITY_AR_DATA", "../shared/data"))
    paths = (folder / "anomaly").glob("*.npz")
    return {p.stem: p for p in sorted(paths, key=lambda p: number(p.stem))}


def number(name: str) -> int:
    return int(name.split("_")[0])


@dataclass
class Task:
    """Rows to fit, rows to rank and their labels.

    Z_train and Z_test are X_train and X_test standardised by the former; `trained` says
    which row of X_test each row of X_train is, where it is one.
    """

    X_train: np.ndarray
    X_test: np.ndarray
    y: np.ndarray
    trained: np.ndarray

    def __post_init__(self):
        moving = np.ptp(self.X_train, 0) > 0
        self.X_train, self.X_test = self.X_train[:, moving], self.X_test[:, moving]
        mean, std = self.X_train.mean(0), self.X_train.std(0)
        self.Z_train = (self.X_train - mean) / std
        self.Z_test = (self.X_test - mean) / std


def split(
    X: np.ndarray,
    y: np.ndarray,
    protocol: str,
    *,
    seed: int,
    max_rows: int,
    published: bool = False,
) -> Task:
    """Decide what trains and what is ranked."""
    rng = np.random.default_rng(seed)
    if published and len(X) < FEWEST_ROWS:
        rows = rng.choice(len(X), FEWEST_ROWS)
        X, y = X[rows], y[rows]
    if len(X) > MOST_ROWS:
        rows = rng.choice(len(X), MOST_ROWS, replace=False)
        X, y = X[rows], y[rows]
    if protocol == "all":
        train = rng.permutation(len(X))[:max_rows]
        return Task(X[train], X, y, train)
    normal, anomalous = rng.permutation(np.flatnonzero(y == 0)), np.flatnonzero(y == 1)
    half = len(normal) // 2
    train, test = normal[:half][:max_rows], np.r_[normal[half:], anomalous]
    return Task(X[train], X[test], y[test], np.empty(0, dtype=int))


def made(task: Task, seed: int) -> np.ndarray:
    """-log p(x) of the default."""
    return -fitted(task.X_train, task, seed).score_samples(task.X_test)


def outliers(task: Task, seed: int) -> np.ndarray:
    """For training rows with anomalies among them: conditionals and marginals.

    A conditional has one Gaussian, which cannot grow a component around a cluster of
    anomalies. It counts twice, fitted to all rows and fitted to the half of them that
    ranks lowest; the half is found by the concentration steps of MinCovDet (Rousseeuw
    & van Driessen 1999): rank, fit to the better half, rank again, three times over.
    The marginals are the density of rows whose columns were shuffled each on its own.
    No column counts for more than 10 nats in any of the three.
    """
    shuffled = np.random.default_rng(seed).permuted(task.X_train, axis=0)
    small = {"n_orderings": 1, "hidden_layer_sizes": (8,)}
    marginals = _lacking(fitted(shuffled, task, seed, **small, **AS_CHOSEN), task)
    scores = marginals[1].copy()
    X = task.X_train
    for step in range(4):
        density = fitted(X, task, seed, n_components=1, **AS_CHOSEN)
        conditionals = _lacking(density, task)
        if step in (0, 3):
            scores += conditionals[1]
        ranked = conditionals[0] + marginals[0]
        X = task.X_train[ranked <= np.median(ranked)]
    return scores


def novelties(task: Task, seed: int) -> np.ndarray:
    """For normal training rows: the default and a smoother density together.

    The latter is of two copies of the rows with normal noise of 0.3 standard deviations
    in every column that is not of 0 and 1.
    """
    rng = np.random.default_rng(seed)
    width = 0.3 * task.X_train.std(axis=0) * ~_of_bits(task.X_train)
    rows = np.repeat(rng.permutation(task.X_train), 2, axis=0)
    rows += width * rng.standard_normal(rows.shape)
    n_valid = 2 * max(len(rows) // 20, 1)  # both copies of a row
    smooth = fitted(rows[n_valid:], task, seed, X_val=rows[:n_valid], **AS_CHOSEN)
    sharp = fitted(task.X_train, task, seed, **AS_CHOSEN)
    scores = np.zeros(len(task.X_test))
    for density in (sharp, smooth):
        train, test = ((e**2).sum(axis=1) for e in _excess(density, task))
        low, high = np.quantile(train, (0.5, 0.9))
        scores += (test - low) / max(high - low, np.finfo(float).tiny)
    return scores


def fitted(
    X: np.ndarray, task: Task, seed: int, *, X_val: np.ndarray | None = None, **params
) -> MADEDensity:
    # A column of 0 and 1 in training with other values beyond is not a binary one.
    only_trained = _of_bits(X) & ~_of_bits(task.X_test)
    conditional = dict.fromkeys(np.flatnonzero(only_trained), "gaussian_mixture")
    density = MADEDensity(
        conditional=conditional or "auto", random_state=seed, **params
    )
    return density.fit(X, X_val=X_val)


def _of_bits(X: np.ndarray) -> np.ndarray:
    return np.isin(X, (0, 1)).all(axis=0)


def _lacking(density: MADEDensity, task: Task) -> list[np.ndarray]:
    """What the columns of training and of test rows lack together, (n,)."""
    return [
        (np.minimum(excess, 10.0) ** 1.5).sum(axis=1)
        for excess in _excess(density, task)
    ]


def _excess(density: MADEDensity, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Max(m_d - log p_d, 0) of training and test rows, (n, D).

    m_d is the median of training rows: a column that fits better than usual does not
    make up for one that fits worse. Log-conditionals are means over the orderings.
    """
    train, test = (_log_conditionals(density, X) for X in (task.X_train, task.X_test))
    usual = np.median(train, axis=0)
    return np.maximum(usual - train, 0.0), np.maximum(usual - test, 0.0)


@torch.no_grad()
def _log_conditionals(density: MADEDensity, X: np.ndarray) -> np.ndarray:
    """Log p(x_d | x_<d) up to a constant of the column, mean over orderings, (n, D)."""
    parts = np.array_split(density.columns_.transform(X), len(X) // 1000 + 1)
    means = []
    for part in parts:
        x = torch.as_tensor(part, dtype=torch.float32)
        log_p, _ = density.module_._log_conditionals(x, None)
        # Another value of a column that was constant has the logarithm of 0.
        means.append(log_p.double().mean(0).clamp(min=-1e9).numpy())
    return np.concatenate(means)


def isolation_forest(task: Task, seed: int) -> np.ndarray:
    forest = IsolationForest(random_state=seed).fit(task.Z_train)
    return -forest.score_samples(task.Z_test)


def knn(task: Task, seed: int) -> np.ndarray:
    """Distance to the fifth neighbour."""
    neighbors = NearestNeighbors(n_neighbors=5).fit(task.Z_train)
    scores = neighbors.kneighbors(task.Z_test)[0][:, -1]
    if len(task.trained):
        scores[task.trained] = neighbors.kneighbors()[0][:, -1]
    return scores


def lof(task: Task, seed: int) -> np.ndarray:
    factor = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(task.Z_train)
    scores = -factor.score_samples(task.Z_test)
    if len(task.trained):
        scores[task.trained] = -factor.negative_outlier_factor_
    return scores


def min_cov_det(task: Task, seed: int) -> np.ndarray:
    """Mahalanobis distance; beyond 300 columns, of 100 principal components."""
    Z_train, Z_test = task.Z_train, task.Z_test
    if Z_train.shape[1] > 300:
        n_components = min(100, len(Z_train) // 2)
        reduction = Components(n_components, random_state=seed).fit(Z_train)
        Z_train, Z_test = reduction.transform(Z_train), reduction.transform(Z_test)
    return MinCovDet(random_state=seed).fit(Z_train).mahalanobis(Z_test)


def gmm(task: Task, seed: int) -> np.ndarray:
    """The mixture of 1, 2, 4 or 8 Gaussians, full or diagonal, of the smallest BIC."""
    D = task.Z_train.shape[1]
    mixtures = [
        GaussianMixture(k, covariance_type=kind, reg_covar=1e-3, random_state=seed)
        for kind in ("diag", "full")
        for k in (1, 2, 4, 8)
        if kind == "diag" or D <= 300  # beyond, BIC takes none of them
    ]
    for mixture in mixtures:
        mixture.fit(task.Z_train)
    best = min(mixtures, key=lambda mixture: mixture.bic(task.Z_train))
    return -best.score_samples(task.Z_test)


def kde(task: Task, seed: int) -> np.ndarray:
    """Gaussian kernels on at most 5000 rows; the width by leave-one-out likelihood."""
    kernels = task.Z_train[:5000]  # the rows are shuffled already
    n, D = kernels.shape
    left_out = euclidean_distances(kernels, squared=True)
    np.fill_diagonal(left_out, np.inf)

    def log_p(squared: np.ndarray, width: float) -> np.ndarray:
        return logsumexp(-0.5 * squared / width**2, axis=1) - D * np.log(width)

    widths = np.geomspace(0.03, 3.0, 9)
    width = max(widths, key=lambda width: log_p(left_out, width).mean())
    parts = np.array_split(task.Z_test, len(task.Z_test) // 2000 + 1)
    squared = (euclidean_distances(part, kernels, squared=True) for part in parts)
    scores = np.concatenate([-log_p(part, width) for part in squared])
    trained = task.trained[:n]
    scores[trained] = -log_p(left_out[: len(trained)], width)
    return scores


def from_pyod(module: str, name: str) -> Callable:
    """A detector of pyod with its default parameters."""

    def detector(task: Task, seed: int) -> np.ndarray:
        fitted = pyod_class(module, name)().fit(task.Z_train)
        return fitted.decision_function(task.Z_test)

    return detector


def pyod_class(module: str, name: str) -> type:
    try:
        return getattr(import_module(f"pyod.models.{module}"), name)
    except ImportError as error:
        raise SystemExit(
            f"{name} is pyod's: pip install pyod, or leave it out with --models."
        ) from error


def pca(task: Task, seed: int) -> np.ndarray:
    """pyod's, without the components of no variance, by which it would divide."""
    rank = int(np.linalg.matrix_rank(task.Z_train, tol=1e-6 * len(task.Z_train) ** 0.5))
    fitted = pyod_class("pca", "PCA")(rank, random_state=seed).fit(task.Z_train)
    return fitted.decision_function(task.Z_test)


DETECTORS: dict[str, Callable] = {
    OURS: made,
    "ours, outliers": outliers,
    "ours, novelties": novelties,
    "IsolationForest": isolation_forest,
    "kNN": knn,
    "LOF": lof,
    "MinCovDet": min_cov_det,
    "ECOD": from_pyod("ecod", "ECOD"),
    "COPOD": from_pyod("copod", "COPOD"),
    "HBOS": from_pyod("hbos", "HBOS"),
    "PCA": pca,
    "GMM": gmm,
    "KDE": kde,
}

FOR_ONE = {"ours, outliers": "all", "ours, novelties": "normals"}  # made for a protocol


def fingerprint(model: str) -> str:
    """Changes with the code that a result comes from."""
    sources = [inspect.getsource(part) for part in (Task, split, DETECTORS[model])]
    if DETECTORS[model] in (made, outliers, novelties):
        shared = (fitted, _of_bits, _lacking, _excess, _log_conditionals)
        sources += [inspect.getsource(part) for part in shared] + [source()]
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:12]


def results(
    name: str,
    path: Path,
    protocol: str,
    seed: int,
    *,
    models: list[str],
    cache: Path,
    max_rows: int,
    published: bool = False,
) -> list[dict]:
    """One set, one split: a record for each model."""
    with np.load(path) as file:
        X, y = file["X"].astype(float), file["y"]
    task = split(X, y, protocol, seed=seed, max_rows=max_rows, published=published)
    known = {
        "set": name,
        "protocol": protocol,
        "seed": seed,
        "n_train": len(task.X_train),
        "n_test": len(task.X_test),
        "n_columns": task.X_train.shape[1],
        "n_anomalies": int(task.y.sum()),
    }
    records = []
    for model in models:
        kind = f"{max_rows}{'-published' * published}-{fingerprint(model)}"
        stored = cache / f"{name}-{protocol}-{seed}-{model}-{kind}.npz"
        if not stored.exists():
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = DETECTORS[model](task, seed)
            seconds = time.process_time() - start
            cache.mkdir(parents=True, exist_ok=True)
            unfinished = stored.with_suffix(".part.npz")
            np.savez_compressed(
                unfinished, labels=task.y, seconds=seconds, **{model: scores}
            )
            unfinished.rename(stored)
        with np.load(stored) as file:
            y, seconds = file["labels"], float(file["seconds"])
            scores = file[model]
        measured = {
            "model": model,
            "auroc": 100 * roc_auc_score(y, scores),
            "ap": 100 * average_precision_score(y, scores),
            "seconds": seconds,
        }
        records.append(known | measured)
    return records


def summary(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean of `metric` over all, odd- and even-numbered sets; mean rank; seconds.

    Only sets count that every model has ranked.
    """
    table = records.pivot_table(metric, "set", "model", sort=False).dropna()
    odd = np.array([number(name) % 2 == 1 for name in table.index], dtype=bool)
    of_set = records[records.set.isin(table.index)]
    means = {
        f"all {len(table)}": table.mean(),
        f"odd {odd.sum()}": table[odd].mean(),
        f"even {(~odd).sum()}": table[~odd].mean(),
        "rank": table.rank(axis=1, ascending=False).mean(),
        "seconds": of_set.groupby("model").seconds.mean(),
    }
    return pd.DataFrame(means).sort_values(f"all {len(table)}", ascending=False)


def markdown(table: pd.DataFrame, digits: int = 1) -> str:
    """A table in Markdown, its index first."""
    head = [table.index.name or "", *map(str, table.columns)]
    rows = [
        [str(index), *("" if np.isnan(v) else f"{v:.{digits}f}" for v in values)]
        for index, values in zip(table.index, table.to_numpy(), strict=True)
    ]
    rule = ["---", *["---:"] * len(table.columns)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def report(records: pd.DataFrame) -> str:
    """All tables of a run."""
    parts = []
    for protocol, part in records.groupby("protocol", sort=False):
        for metric, title in (("auroc", "AUROC"), ("ap", "Average precision")):
            table = summary(part, metric)
            parts += [f"## {title}, %, protocol {protocol}: means", markdown(table)]
            by_set = part.pivot_table(metric, "set", "model", sort=False)
            parts += [f"## {title}, %, protocol {protocol}: sets", markdown(by_set)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help="names of files in anomaly/")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="one of the two only")
    parser.add_argument("--models", nargs="+", choices=DETECTORS, default=[*DETECTORS])
    parser.add_argument("--seeds", type=int, default=1, help="how many splits")
    parser.add_argument("--max-rows", type=int, default=10_000, help="rows to fit")
    parser.add_argument(
        "--published", action="store_true", help="small sets resampled to 1000 rows"
    )
    half = parser.add_mutually_exclusive_group()
    half.add_argument("--odd", action="store_true", help="odd-numbered sets only")
    half.add_argument("--even", action="store_true", help="even-numbered sets only")
    parser.add_argument(
        "--quick", action="store_true", help="sets in files below 50 kB only"
    )
    parser.add_argument("--cache", type=Path, default=HERE / ".cache" / "anomaly")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()

    paths = sets()
    chosen = [
        name
        for name in args.sets or paths
        if not (args.odd and number(name) % 2 == 0)
        and not (args.even and number(name) % 2 == 1)
        and not (args.quick and paths[name].stat().st_size > 50_000)
    ]
    protocols = [args.protocol] if args.protocol else PROTOCOLS
    where = described()
    print(where)
    records: list[dict] = []
    for name in chosen:
        for protocol in protocols:
            models = [m for m in args.models if FOR_ONE.get(m, protocol) == protocol]
            for seed in range(args.seeds):
                of_split = results(
                    name,
                    paths[name],
                    protocol,
                    seed,
                    models=models,
                    cache=args.cache,
                    max_rows=args.max_rows,
                    published=args.published,
                )
                line = ", ".join(f"{r['model']} {r['auroc']:.1f}" for r in of_split)
                print(f"{name}, {protocol}, seed {seed}: {line}", flush=True)
                records += of_split
    table = pd.DataFrame(records).round(4)
    print(f"\n{report(table)}")
    others = ("seeds", "max_rows", "published")
    if any(getattr(args, name) != parser.get_default(name) for name in others):
        return
    path = args.record / "anomaly.csv"
    if path.exists():
        table = merged(pd.read_csv(path), table)
    args.record.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    head = "# Anomalies\n\n" + textwrap.indent(where, " " * 4)
    left_out = "What the command leaves out comes from earlier runs."
    path.with_suffix(".md").write_text(f"{head}\n\n{left_out}\n\n{report(table)}\n")


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of `new`, and those of `old` of other sets, protocols or models."""
    names = ["set", "protocol", "model"]
    both = pd.concat([old, new]).drop_duplicates(names, keep="last")
    both = both[both["model"].isin(DETECTORS)]
    ranks = {
        "set": lambda name: number(name),
        "protocol": PROTOCOLS.index,
        "model": [*DETECTORS].index,
    }
    return both.sort_values(names, key=lambda c: c.map(ranks[c.name]), kind="stable")


if __name__ == "__main__":
    main()
