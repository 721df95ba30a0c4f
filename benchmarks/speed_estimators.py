"""The suites of `speed.py` that use fitted estimators: scoring, scaling, joblib."""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from memory import scoring_peak
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from speed_networks import bernoulli, bits, make_module
from speed_rows import Options, Row, cost, figure, speed_up
from speed_training import codes, fitted_once, real_rows, train_epochs
from timing import interleaved, seconds, slope, summary
from twins import gradient_step

from skdensity_ar import MADEDensity
from skdensity_ar.networks import MADE, NADE

# Scoring -----------------------------------------------------------------------------


def scoring(options: Options) -> Iterator[Row]:
    """Scoring many rows against a mixture and a kernel density, and its memory."""
    quick = options.quick
    n, D, n_scored, n_kernel = (
        (400, 4, 2000, 50) if quick else (50_000, 20, 1_000_000, 1000)
    )
    X, X_scored = real_rows(n, D), real_rows(n_scored, D, seed=1)
    mixture = GaussianMixture(8, covariance_type="full", random_state=0)
    kernel = _kernel_density(X, n_kernel)
    fits = {"mixture": _fit_seconds(mixture, X), "kernel": _fit_seconds(kernel, X)}
    for n_orderings in (1, "auto"):
        model = MADEDensity(
            n_orderings=n_orderings, random_state=0, device=str(options.device)
        )
        model.set_params(max_iter="auto" if options.full_fit else 2)
        fits["ours"] = _fit_seconds(model, X)
        for each in (model, mixture, kernel):
            each.score_samples(X_scored[:n_kernel])
        E = len(model.ordering_)
        times = options.timed(
            {
                "ours": partial(model.score_samples, X_scored),
                "mixture": partial(mixture.score_samples, X_scored),
                "kernel": partial(kernel.score_samples, X_scored[:n_kernel]),
            },
            at_most=3,
            warm_up=0,
        )
        all_rows = [t * n_scored / n_kernel for t in times["kernel"]]
        case = f"{n_scored} x {D}, orderings: {E}"
        weights = "as fitted" if options.full_fit else "of 2 epochs: no time differs"
        yield speed_up(
            case,
            "kernel density / ours",
            times["ours"],
            all_rows,
            f"KernelDensity of {n} rows",
            target="≥ 50",
            note=f"timed on {n_kernel} rows, in proportion; weights {weights}",
        )
        yield cost(
            case,
            "ours / Gaussian mixture",
            times["ours"],
            times["mixture"],
            "GaussianMixture(8, full)",
            target=f"≤ {5 * E}",
        )
        if options.full_fit:
            yield _nats_row(case, model, mixture, X_scored[:n], fits)
        yield from _scoring_memory(case, model, D, quick)


def _fit_seconds(model: Any, X: np.ndarray) -> float:
    return seconds(lambda: model.fit(X), torch.device("cpu"), 1)[0][0]


def _kernel_density(X: np.ndarray, n_valid: int) -> KernelDensity:
    """The best of several multiples of Scott's bandwidth on rows left out."""
    part = X[: 5 * n_valid]
    scott = len(X) ** (-1 / (X.shape[1] + 4))
    models = [
        KernelDensity(bandwidth=scott * factor).fit(part[n_valid:])
        for factor in (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
    ]
    return max(models, key=lambda model: model.score(part[:n_valid]))


def _nats_row(
    case: str, model: Any, mixture: Any, X: np.ndarray, fits: dict[str, float]
) -> Row:
    gained = model.score(X) - mixture.score(X)
    return figure(
        case,
        "nats per row over the mixture, per second of fit beyond its",
        gained / (fits["ours"] - fits["mixture"]),
        ours_ms=1e3 * fits["ours"],
        rival="GaussianMixture(8, full)",
        rival_ms=1e3 * fits["mixture"],
        note=f"{gained:+.3f} nats per row; the times are those of the fits",
    )


def _scoring_memory(case: str, model: Any, D: int, quick: bool) -> Iterator[Row]:
    sizes = (6000, 20_000) if quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.joblib"
        joblib.dump(model, path)
        grown = [scoring_peak(path, n, D) for n in sizes]
    beyond = [(g - 8 * n) / 2**20 for g, n in zip(grown, sizes, strict=True)]
    yield figure(
        case,
        f"MiB of memory more for {sizes[1]} rows than for {sizes[0]}, output apart",
        beyond[1] - beyond[0],
        target="0",
        note=f"grown by {beyond[0]:.1f} and {beyond[1]:.1f} MiB beyond the output",
    )


# Scaling -----------------------------------------------------------------------------


# What the rows of a curve say, and `speed.py` looks for.
PER_ONE = "µs for each of them"


def scaling(options: Options) -> Iterator[Row]:
    """Times against sizes; `speed.py` draws them."""
    for curve, target, sizes, calls in _curves(options):
        times = options.timed(dict(zip(map(str, sizes), calls, strict=True)))
        for size in sizes:
            median = summary(times[str(size)]).value
            yield figure(
                f"{curve}: {size}",
                PER_ONE,
                1e6 * median / size,
                ours_ms=1e3 * median,
            )
        fitted = slope(sizes, list(times.values()))
        yield figure(curve, "slope of log time against log size", fitted, target=target)


def _curves(
    options: Options,
) -> Iterator[tuple[str, str, Sequence[int], list[Callable]]]:
    """What the size is of, the slope hoped for, the sizes and a call for each."""
    quick, generator = options.quick, options.generator()
    ns = [64, 128, 256] if quick else [1000 * 2**k for k in range(7)]
    X = real_rows(ns[-1], 4 if quick else 8)
    model = MADEDensity(n_orderings=1, device=str(options.device))
    fitted_once(model, X, 32 if quick else 250)
    x = codes(model, X)
    epochs: list[Callable] = [partial(train_epochs, model, x[:n], 1) for n in ns]
    yield "epoch of training, rows", "1", ns, epochs
    scores: list[Callable] = [partial(model.score_samples, X[:n]) for n in ns]
    yield "score_samples, rows", "1", ns, scores
    samples: list[Callable] = [partial(model.sample, n, 0) for n in ns]
    yield "sample, rows", "≤ 1", ns, samples

    def step(network: Any, D: int, sizes: tuple[int, ...], n: int) -> Callable:
        kwargs = {"activation": "logistic"} if network is NADE else {}
        module = make_module(network, bernoulli(D), D, sizes, generator, **kwargs)
        x = bits((1, n, D), 0.2, generator)
        return gradient_step(module, lambda: module.loss(x).mean())

    n, D, H = (8, 16, 8) if quick else (128, 196, 256)
    Ds = [8, 16, 32] if quick else [98, 196, 392, 784, 1568]
    yield "NADE step, columns", "1", Ds, [step(NADE, d, (H,), n) for d in Ds]
    Hs = [8, 16, 32] if quick else [64, 128, 256, 512, 1024]
    yield "NADE step, hidden units", "≤ 1", Hs, [step(NADE, D, (h,), n) for h in Hs]
    Bs = [8, 16, 32] if quick else [64, 128, 256, 512, 1024, 2048]
    sizes = (H, H)
    yield "MADE step, rows", "≤ 1", Bs, [step(MADE, D, sizes, b) for b in Bs]


# joblib ------------------------------------------------------------------------------


def nats_of(estimator: Any, X: np.ndarray, y: Any = None) -> float:
    return estimator.score(X)


def threads_of(estimator: Any, X: np.ndarray, y: Any = None) -> int:
    """Threads of torch in the process that fits and scores."""
    return torch.get_num_threads()


def search(X: np.ndarray, n_jobs: int, n_points: int) -> float:
    """A grid search of as many points; the most threads of a process in it."""
    grid = {"learning_rate_init": np.geomspace(0.001, 0.02, n_points)}
    found = GridSearchCV(
        MADEDensity(max_iter=3, random_state=0, device="cpu"),
        grid,
        scoring={"nats": nats_of, "threads": threads_of},
        refit=False,
        cv=2,
        n_jobs=n_jobs,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit(X)
    return float(found.cv_results_["mean_test_threads"].max())


def parallel(options: Options) -> Iterator[Row]:
    """A grid search on two processes, with OMP_NUM_THREADS as it is and without."""
    n_points = 2 if options.quick else 8
    X = real_rows(*((200, 4) if options.quick else (4000, 8)))
    kept = os.environ.get("OMP_NUM_THREADS")
    settings = [kept, None] if kept is not None else [None]
    for setting in settings:
        get_reusable_executor().shutdown()  # workers keep what they started with
        _set_threads(setting)
        try:
            yield from _searches(X, n_points, options.repeats, setting)
        finally:
            _set_threads(kept)
    get_reusable_executor().shutdown()


def _set_threads(setting: str | None) -> None:
    os.environ.pop("OMP_NUM_THREADS", None)
    if setting is not None:
        os.environ["OMP_NUM_THREADS"] = setting


def _searches(
    X: np.ndarray, n_points: int, repeats: int, setting: str | None
) -> Iterator[Row]:
    threads = search(X, 2, n_points)  # starts the processes, too
    calls = {f"{n}": partial(search, X, n, n_points) for n in (1, 2)}
    times = interleaved(calls, min(repeats, 3), warm_up=0)
    case = f"grid search, {2 * n_points} fits of {len(X)} x {X.shape[1]}"
    case += f", OMP_NUM_THREADS {setting or 'not set'}"
    yield speed_up(
        case,
        "n_jobs=1 / n_jobs=2",
        times["2"],
        times["1"],
        "n_jobs=1",
        note="the processes had started",
    )
    n_cores = joblib.cpu_count()
    yield figure(
        case,
        "processes x threads",
        2 * threads,
        target=f"≤ {n_cores} cores",
        note=f"torch.get_num_threads() of {threads:.0f} in each",
    )
