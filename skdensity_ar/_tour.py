"""The tour: our estimators against tuned rivals on data that neither has seen."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import ShuffleSplit

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar._baselines import (
    IndependentColumns,
    PerClassGaussian,
    bernoulli_mixture_search,
    gaussian_mixture_search,
    kernel_density_search,
)
from skdensity_ar._sequence_baselines import hmm_search, var_search
from skdensity_ar._tour_picture import draw
from skdensity_ar.datasets import (
    load_binary_digits,
    load_japanese_vowels,
    load_penguins,
    load_wine_quality_red,
)

WIDTH = 100


@dataclass(frozen=True)
class Study:
    """One table, our estimators for it and their rivals.

    Attributes
    ----------
    name : str
        Name of the table.
    X : DataFrame
        The rows; its index counts the rows of the table as it was loaded.
    note : str
        What was done to them.
    ours : dict
        Name of each estimator of this package, and a function that makes it.
    rivals : dict
        The same for the rivals.
    """

    example: ClassVar[str] = "row"  # what is held out as a whole
    unit: ClassVar[str] = "row"  # what log p is given per

    name: str
    X: Any
    note: str
    ours: dict[str, Callable[[], Any]]
    rivals: dict[str, Callable[[], Any]]

    @property
    def extent(self):
        """How much data there is, in words."""
        n, D = self.X.shape
        return f"{n} rows, {D} columns"

    @property
    def size(self):
        """Number of cells."""
        return self.X.size

    def take(self, index):
        """Return the examples at these positions."""
        return self.X.iloc[index]

    def n_units(self, index):
        """Return the number of units in each of the examples at these positions."""
        return np.ones(len(index))


@dataclass(frozen=True)
class SequenceStudy(Study):
    """A study whose X is a list of arrays (n_timesteps, n_features), see `Study`."""

    example: ClassVar[str] = "sequence"
    unit: ClassVar[str] = "frame"

    @property
    def extent(self):
        """How much data there is, in words."""
        n_frames = sum(len(x) for x in self.X)
        D = self.X[0].shape[1]
        return f"{len(self.X)} sequences, {n_frames} frames, {D} columns"

    @property
    def size(self):
        """Number of cells."""
        return sum(x.size for x in self.X)

    def take(self, index):
        """Return the sequences at these positions."""
        return [self.X[i] for i in index]

    def n_units(self, index):
        """Return the number of frames of each sequence at these positions."""
        return np.array([len(self.X[i]) for i in index])


@dataclass
class Outcome:
    """What came of a study.

    Attributes
    ----------
    study : Study
        The study.
    splits : list of (train, test)
        Positions of the examples of each split.
    log_p : dict
        For every model, the log-densities of the held-out examples in nats: by split.
    seconds : dict
        For every model, the seconds that each fit took: by split.
    models : dict
        Every model as fitted in the first split.
    """

    study: Study
    splits: list[tuple[np.ndarray, np.ndarray]]
    log_p: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)

    @property
    def makers(self):
        """Every model of the study, ours first."""
        return self.study.ours | self.study.rivals

    def best(self, names):
        """Return the model among `names` with the highest mean."""
        return max(names, key=lambda name: np.mean(self.means(name)))

    @property
    def best_of_ours(self):
        """Name of our better estimator."""
        return self.best(self.study.ours)

    @property
    def best_rival(self):
        """Name of the best rival."""
        return self.best(self.study.rivals)

    def mean(self, name, split):
        """Return the held-out log p of one split, in nats per unit."""
        _, test = self.splits[split]
        return self.log_p[name][split].sum() / self.study.n_units(test).sum()

    def means(self, name, minus=None):
        """Return the `mean` of each split, less that of the model `minus`."""
        means = np.array([self.mean(name, i) for i in range(len(self.splits))])
        return means if minus is None else means - self.means(minus)

    def rates(self, name):
        """Return log p of each held-out example of all splits, in nats per unit."""
        return np.concatenate(
            [
                self.log_p[name][i] / self.study.n_units(test)
                for i, (_, test) in enumerate(self.splits)
            ]
        )


def tour(
    output,
    *,
    n_splits=3,
    seed=0,
    max_rows=None,
    max_iter=None,
    small_grids=False,
    n_jobs=1,
    silent=False,
    say=print,
):
    """Run every study, print the table and the rest, write the picture.

    Parameters
    ----------
    output : path-like
        Where the picture goes, a PNG.
    n_splits : int, default=3
        Random 80/20 splits, the same for all models.
    seed : int, default=0
        Decides the splits and every `random_state`.
    max_rows : int or None, default=None
        Take a random part of a longer table, and a fourth as many sequences.
    max_iter : int or None, default=None
        Epochs of our estimators; None leaves their default.
    small_grids : bool, default=False
        Let the rivals choose among fewer settings.
    n_jobs : int, default=1
        Fits to run at the same time, each in a process with one thread; 1 runs them
        in this process.
    silent : bool, default=False
        Drop the warnings of the fits.
    say : callable, default=print
        Takes each line of text.

    Returns
    -------
    outcomes : list of Outcome
        One per study.
    """
    say(
        "skdensity_ar on real data: fit on 80 % of the rows or sequences, score the "
        f"rest, {_count(n_splits, 'random split')}."
    )
    if max_rows or max_iter or small_grids:
        say("Shortened (few rows, few epochs, small grids): a look, not a result.")
    splitter = ShuffleSplit(n_splits, test_size=0.2, random_state=seed)
    outcomes = [
        Outcome(study, list(splitter.split(study.X)))
        for study in _studies(seed, max_rows, max_iter, small_grids)
    ]
    for study in (outcome.study for outcome in outcomes):
        say(f"{study.name + ':':<10}{study.extent}; {study.note}")
    say("")
    _run(outcomes, n_jobs, silent, say)
    for line in _table(outcomes, n_splits):
        say(line)
    say("")
    for outcome in outcomes:
        say(_verdict(outcome))
    for outcome in outcomes[0], outcomes[2]:
        say("")
        for line in _anomalies(outcome):
            say(line)
    draw(outcomes, output, seed)
    say("")
    say(f"Picture: {output}")
    return outcomes


def _studies(seed, max_rows, max_iter, small_grids):
    """Return the four studies; the picture knows them by their order."""
    few_folds = {"n_splits": 2} if small_grids else {}
    mixture = {"n_components": (6,)} | few_folds if small_grids else {}
    bits = {"n_components": (30,)} | few_folds if small_grids else {}
    lags = {"order": (2,), "ridge": (1.0,)} | few_folds if small_grids else {}
    states = {"n_components": (10,) if small_grids else (10, 20), "n_splits": 2}
    epochs = {} if max_iter is None else {"max_iter": max_iter}

    def ours(*classes):
        return {
            cls.__name__: partial(cls, random_state=seed, **epochs) for cls in classes
        }

    def part(X):
        few = max_rows is not None and len(X) > max_rows
        return X.sample(max_rows, random_state=seed).sort_index() if few else X

    def some(sequences):
        n = None if max_rows is None else max_rows // 4
        chosen = np.random.RandomState(seed).permutation(len(sequences))[:n]
        return [sequences[i] for i in np.sort(chosen)]

    wine = load_wine_quality_red(as_frame=True).data
    distinct = wine.drop_duplicates()
    digits = load_binary_digits()
    penguins = load_penguins().data
    complete = penguins.dropna().astype({"year": str})
    vowels = load_japanese_vowels()
    return [
        Study(
            "wine",
            part(distinct),
            f"{len(wine) - len(distinct)} duplicated rows dropped before splitting.",
            ours(MADEDensity, RNADEDensity),
            {
                "GaussianMixture": partial(
                    gaussian_mixture_search, random_state=seed, **mixture
                ),
                "KernelDensity": partial(
                    kernel_density_search, random_state=seed, **few_folds
                ),
            },
        ),
        Study(
            "digits",
            part(pd.DataFrame(digits.data, columns=digits.feature_names)),
            "pixels of 8 and more made 1, the others 0.",
            ours(NADEDensity, MADEDensity),
            {
                "BernoulliMixture": partial(
                    bernoulli_mixture_search, random_state=seed, **bits
                )
            },
        ),
        Study(
            "penguins",
            part(complete),
            f"{len(penguins) - len(complete)} rows with missing cells dropped, the "
            "year made a category.",
            ours(MADEDensity),
            {
                "IndependentColumns": partial(
                    IndependentColumns, random_state=seed, **few_folds
                ),
                "PerClassGaussian": partial(
                    PerClassGaussian, random_state=seed, **few_folds
                ),
            },
        ),
        SequenceStudy(
            "vowels",
            some([vowels.data[i] for i in vowels.train_index]),
            "the published training part.",
            ours(RNNRNADE),
            {
                "GaussianVAR": partial(var_search, random_state=seed, **lags),
                "GaussianHMM": partial(hmm_search, random_state=seed, **states),
            },
        ),
    ]


def _run(outcomes, n_jobs, silent, say):
    """Fit and score every model on every split, and fill the outcomes."""
    # The longest fits first, so that no process is left with one at the end.
    by_size = sorted(range(len(outcomes)), key=lambda o: -outcomes[o].study.size)
    tasks = [
        (o, i, name)
        for o in by_size
        for i in range(len(outcomes[o].splits))
        for name in outcomes[o].makers
    ]

    def arguments(task):
        o, i, name = task
        parts = [outcomes[o].study.take(part) for part in outcomes[o].splits[i]]
        return task, outcomes[o].makers[name], *parts, silent

    # Whole fits side by side, one thread each: networks and tables this small gain
    # little from a second thread, and wait for it when the machine is busy.
    with parallel_config("loky", inner_max_num_threads=1):
        finished = Parallel(n_jobs, return_as="generator_unordered")(
            delayed(_fit_and_score)(*arguments(task)) for task in tasks
        )
        for (o, i, name), model, log_p, seconds in finished:
            outcome = outcomes[o]
            outcome.log_p.setdefault(name, {})[i] = log_p
            outcome.seconds.setdefault(name, {})[i] = seconds
            if i == 0:
                outcome.models[name] = model
            line = (
                f"{outcome.study.name:<10}split {i + 1} of {len(outcome.splits)}  "
                f"{name:<19}{outcome.mean(name, i):7.2f} "
                f"{'nats/' + outcome.study.unit:<10}{seconds:6.1f} s  "
            )
            say((line + _settings(model, WIDTH - len(line))).rstrip())


def _fit_and_score(task, make, train, test, silent):
    """Return the task, the fitted model, log p of the test part and the seconds."""
    with warnings.catch_warnings():
        if silent:
            warnings.simplefilter("ignore")
        start = time.perf_counter()
        model = make().fit(train)
        seconds = time.perf_counter() - start
        return task, model, model.score_samples(test), seconds


def _settings(model, width):
    """Return what a model chose by itself, as much of it as fits the width."""
    if hasattr(model, "best_params_"):
        chosen = [
            f"{name.removeprefix('estimator__')}={_number(value)}"
            for name, value in model.best_params_.items()
            if not name.endswith("n_init")
        ]
    elif hasattr(model, "class_columns_"):
        chosen = ["classes by " + (" and ".join(model.class_columns_) or "nothing")]
    elif hasattr(model, "n_iter_"):
        chosen = [_count(model.n_iter_, "epoch")]
    else:
        chosen = []
    while len(", ".join(chosen)) > width:
        chosen.pop()
    return ", ".join(chosen)


def _table(outcomes, n_splits):
    """Yield the lines of the table."""
    yield ""
    per_frame = [o.study.name for o in outcomes if o.study.unit == "frame"]
    yield (
        f"Nats per held-out row ({', '.join(per_frame)}: per held-out frame), in the "
        f"units of the data: mean over {_count(n_splits, 'split')},"
    )
    yield (
        "higher is better. s.e.: standard error over splits. fit: seconds, with the "
        "choice of settings."
    )
    yield ""
    yield (
        f"{'data':<10}{'model':<22}{'log p':>9}{'s.e.':>8}"
        f"{'minus best rival':>20}{'s.e.':>8}{'fit (s)':>11}"
    )
    for outcome in outcomes:
        yield "-" * 88
        label = outcome.study.name
        for name in outcome.makers:
            means = outcome.means(name)
            line = f"{label:<10}{name:<22}{means.mean():9.2f}{_error(means):>8}"
            if name == outcome.best_rival:
                line += f"{'(best rival)':>20}{'':>8}"
            else:
                paired = outcome.means(name, minus=outcome.best_rival)
                line += f"{paired.mean():+20.2f}{_error(paired):>8}"
            seconds = np.mean(list(outcome.seconds[name].values()))
            yield line + f"{seconds:11.1f}"
            label = ""
    yield "-" * 88


def _verdict(outcome):
    """Return who is ahead, by how much."""
    ours, rival = outcome.best_of_ours, outcome.best_rival
    paired = outcome.means(ours, minus=rival)
    first, second = (ours, rival) if paired.mean() >= 0 else (rival, ours)
    error = _error(paired)
    line = f"{outcome.study.name}: {first} is ahead of {second} "
    line += f"by {abs(paired.mean()):.2f}{error and f' ± {error}'} "
    line += f"nats per {outcome.study.unit}"
    if error and abs(paired.mean()) < 2 * float(error):
        line += " (under two s.e.)"
    return line + "."


def _anomalies(outcome, n_rows=3):
    """Yield, in words, the held-out rows that our model finds least probable.

    A cell is named when log p would rise by a nat or more if it held the best of the
    column's everyday values instead: every category, or the 5, 10, ..., 95 % quantiles.
    """
    X, name = outcome.study.X, outcome.best_of_ours
    model, log_p = outcome.models[name], outcome.log_p[name][0]
    _, test = outcome.splits[0]
    yield (
        f"{outcome.study.name}: the least probable held-out rows of split 1 under "
        f"{name} (median log p {np.median(log_p):.1f})"
    )
    everyday = {
        column: np.unique(X[column].quantile(np.linspace(0.05, 0.95, 19)))
        if pd.api.types.is_numeric_dtype(X[column])
        else X[column].unique()
        for column in X.columns
    }
    for i in np.argsort(log_p)[:n_rows]:
        row = X.iloc[[test[i]]]
        yield f"  row {row.index[0]}, log p {log_p[i]:.1f}"
        gains = []
        for column, values in everyday.items():
            changed = row.iloc[np.zeros(len(values), int)].copy()
            changed[column] = values
            rises = model.score_samples(changed) - log_p[i]
            gains.append((rises.max(), column, values[rises.argmax()]))
        gains.sort(key=lambda gain: -gain[0])
        for gain, column, value in gains[:2]:
            if gain >= 1:
                yield (
                    f"    {column} is {_number(row[column].iloc[0])}; "
                    f"at {_number(value)} log p would be {gain:.1f} higher"
                )


def _error(values):
    """Return the standard error of the mean as text; there is none for one value."""
    if len(values) == 1:
        return ""
    return f"{np.std(values, ddof=1) / np.sqrt(len(values)):.2f}"


def _number(value):
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return f"{value:.4g}" if number else str(value)


def _count(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
