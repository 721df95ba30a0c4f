"""The checks of sequence densities: honest ones pass, each planted mistake is seen."""

import inspect
import random
import re
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdensity_ar import checks
from skdensity_ar.checks import check_sequence_estimator

# Honest densities ---------------------------------------------------------------------


def read(X):
    """The sequences of X as float64 arrays of one width."""
    if np.ma.isMaskedArray(X):
        raise TypeError("X is a masked array, whose mask would be dropped.")
    if isinstance(X, np.ndarray) and X.ndim == 2:
        raise ValueError("X is a 2-D array; pass [X] for one sequence.")
    if not isinstance(X, (list, np.ndarray)) or len(X) == 0:
        raise ValueError(f"X holds no sequences: {X!r}")
    padded = isinstance(X, np.ndarray) and X.ndim == 3
    sequences = []
    for i, x in enumerate(X):
        if np.ma.isMaskedArray(x):
            raise TypeError(f"Sequence {i} is a masked array.")
        if padded:
            x = x[: np.flatnonzero(~np.isnan(x).all(1)).max(initial=-1) + 1]
        try:
            sequences.append(check_array(x).astype(np.float64))
        except (TypeError, ValueError) as error:
            raise type(error)(f"Sequence {i}: {error}") from error
        widths = [sequences[j].shape[1] for j in (0, i)]
        if len(set(widths)) > 1:
            raise ValueError(f"Sequence {i} has {widths[1]} features, not {widths[0]}.")
    return sequences


def check_count(n):
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"expected an integer of at least 1, got {n!r}")
    return int(n)


class SequenceDensity(DensityMixin, BaseEstimator):
    """log p(x) = Σ_t log p(x_t | x_{t-1}); a subclass learns, scores, draws a step."""

    def fit(self, X, y=None):
        X = read(X)
        self._learn(X)
        self.n_features_in_ = X[0].shape[1]
        self.lengths_ = [len(x) for x in X]
        return self

    def score_timesteps(self, X):
        check_is_fitted(self)
        X = read(X)
        if X[0].shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X[0].shape[1]} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input"
            )
        return [self._log_prob(x) for x in X]

    def score_samples(self, X):
        return np.array([steps.sum() for steps in self.score_timesteps(X)])

    def score(self, X, y=None):
        return float(np.concatenate(self.score_timesteps(X)).mean())

    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        check_is_fitted(self)
        n_samples, rng = check_count(n_samples), check_random_state(random_state)
        if n_timesteps is None:
            n_timesteps = rng.choice(self.lengths_, n_samples)
        elif np.ndim(n_timesteps) == 0:
            n_timesteps = [n_timesteps] * n_samples
        if len(n_timesteps) != n_samples:
            raise ValueError(f"{len(n_timesteps)} lengths for {n_samples} sequences")
        return [self._draw(check_count(n), rng) for n in n_timesteps]

    def _draw(self, n, rng):
        x = np.empty((n, self.n_features_in_))
        for t in range(n):
            x[t] = self._draw_step(x[:t], rng)
        return x

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


class GaussianAR(SequenceDensity):
    """x_0 ~ N(start, 1), x_t ~ N(a + b x_{t-1}, sigma²), each feature alone."""

    def __init__(self, ridge=0.1):
        self.ridge = ridge

    def _learn(self, X):
        self.start_ = np.mean([x[0] for x in X], axis=0)
        before = np.concatenate([x[:-1] for x in X])
        after = np.concatenate([x[1:] for x in X])
        n = len(before) + self.ridge
        mean = before.sum(0) / n, after.sum(0) / n
        product = ((before - mean[0]) * (after - mean[1])).sum(0)
        self.b_ = product / (((before - mean[0]) ** 2).sum(0) + self.ridge)
        self.a_ = mean[1] - self.b_ * mean[0]
        error = after - self.a_ - self.b_ * before
        self.sigma_ = np.sqrt(((error**2).sum(0) + self.ridge) / n)

    def _log_prob(self, x):
        mu = np.concatenate([self.start_[None], self.a_ + self.b_ * x[:-1]])
        sigma = np.vstack([np.ones_like(mu[:1]), np.tile(self.sigma_, (len(x) - 1, 1))])
        z = (x - mu) / sigma
        return (-0.5 * z**2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)).sum(1)

    def _draw_step(self, past, rng):
        if len(past) == 0:
            return self.start_ + rng.normal(size=self.start_.shape)
        return (
            self.a_ + self.b_ * past[-1] + self.sigma_ * rng.normal(size=len(self.a_))
        )


class PositiveAR(GaussianAR):
    """The logarithms are a Gaussian chain."""

    def _learn(self, X):
        if min(x.min() for x in X) <= 0:
            raise ValueError("expected positive values")
        super()._learn([np.log(x) for x in X])

    def _log_prob(self, x):
        return super()._log_prob(np.log(x)) - np.log(x).sum(1)

    def _draw_step(self, past, rng):
        return np.exp(super()._draw_step(np.log(past), rng))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class BinaryChain(SequenceDensity):
    """logit p(x_t = 1) = c + w·x_{t-1}, from a random start by gradient ascent."""

    def __init__(self, max_iter=20, random_state=None):
        self.max_iter = max_iter
        self.random_state = random_state

    def _learn(self, X):
        if not all(np.isin(x, (0, 1)).all() for x in X):
            raise ValueError("expected zeros and ones")
        warnings.warn("a few steps are not enough", ConvergenceWarning, stacklevel=2)
        rng = check_random_state(self.random_state)
        d = X[0].shape[1]
        self.w_, self.c_ = rng.normal(size=(d, d)), np.zeros(d)
        before = np.concatenate([self._before(x) for x in X])
        after = np.concatenate(X)
        for _ in range(self.max_iter):
            error = after - expit(self.c_ + before @ self.w_)
            self.w_ = self.w_ + before.T @ error / len(error)
            self.c_ = self.c_ + error.mean(0)

    def _before(self, x):
        return np.concatenate([np.zeros((1, x.shape[1])), x])[: len(x)]

    def _log_prob(self, x):
        return log_expit((2 * x - 1) * (self.c_ + self._before(x) @ self.w_)).sum(1)

    def _draw_step(self, past, rng):
        before = past[-1] if len(past) else np.zeros(len(self.c_))
        return rng.random(len(self.c_)) < expit(self.c_ + before @ self.w_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        return tags


HONEST = [GaussianAR(), PositiveAR(), BinaryChain()]


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(*pair, id=f"{type(e).__name__}-{pair[1].func.__name__}")
        for e in HONEST
        for pair in check_sequence_estimator(e, generate_only=True)
    ],
)
def test_an_honest_density_passes(estimator, check):
    check(estimator)


class WithoutParameters(GaussianAR):
    ridge = 0.1

    def __init__(self):
        pass


def test_an_honest_density_without_parameters_passes():
    check_sequence_estimator(WithoutParameters())


# Mistakes -----------------------------------------------------------------------------
# Each is GaussianAR but for what it shows. At module level, for pickle to find them.


class CloneWithItsFit(GaussianAR):
    def __sklearn_clone__(self):
        other = type(self)(self.ridge)
        vars(other).update(vars(self))
        return other


class CloneWithDefaults(GaussianAR):
    def __sklearn_clone__(self):
        return type(self)()


class ConvertingInit(GaussianAR):
    def __init__(self, ridge=1):
        self.ridge = float(ridge)


class CopyingInit(GaussianAR):
    def __init__(self, ridge=0.1):
        self.ridge = np.array(ridge)


class InitWithAnotherDefault(GaussianAR):
    def __init__(self, ridge=None):
        self.ridge = 0.1 if ridge is None else ridge


class InitOfMore(GaussianAR):
    def __init__(self, ridge=0.1):
        self.ridge = ridge
        self.history_ = []


class ForgottenParameter(GaussianAR):
    def get_params(self, deep=True):
        return {}


class SetParamsOfNothing(GaussianAR):
    def set_params(self, **params):
        vars(self).update(params)


class SetParamsOfAnything(GaussianAR):
    def set_params(self, **params):
        vars(self).update(params)
        return self


class FitThatResolves(GaussianAR):
    def _learn(self, X):
        self.ridge = max(self.ridge, 1.0)
        super()._learn(X)


class FitWithoutUnderscore(GaussianAR):
    def _learn(self, X):
        self.n_sequences = len(X)
        super()._learn(X)


class TableTags(GaussianAR):
    def __sklearn_tags__(self):
        return super(SequenceDensity, self).__sklearn_tags__()


class NoKind(GaussianAR):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = None
        return tags


class FitReturnsNothing(GaussianAR):
    def fit(self, X, y=None):
        super().fit(X)


class FitOfAnother(GaussianAR):
    def fit(self, X, y=None):
        return clone(self)._fit(X)

    def _fit(self, X):
        return super().fit(X)


class SampleBeforeFit(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        rng = check_random_state(random_state)
        return [self._draw(n_timesteps or 3, rng) for _ in range(n_samples)]


class ScoresNothingBeforeFit(GaussianAR):
    def score(self, X, y=None):
        return super().score(X) if hasattr(self, "a_") else float("nan")


class CountsTimeSteps(GaussianAR):
    def fit(self, X, y=None):
        super().fit(X)
        self.n_features_in_ = len(X[0])
        return self


class FixedWidth(GaussianAR):
    n_features_in_ = 2


class FitWithoutY(GaussianAR):
    def fit(self, X):
        return super().fit(X)


class FitWithWeights(GaussianAR):
    def fit(self, X, y=None):
        return super().fit(X if y is None else X[: np.argmax(y)])


class ScoreWithoutY(GaussianAR):
    def score(self, X):
        return super().score(X)


class CentresInPlace(GaussianAR):
    def fit(self, X, y=None):
        super().fit(X)
        for x in X:
            x -= np.nanmean(x, axis=0)
        return self


class EmptiesTheList(GaussianAR):
    def score_timesteps(self, X):
        scores = super().score_timesteps(X)
        if isinstance(X, list):
            X.pop()
        return scores


class SortsTheList(GaussianAR):
    def fit(self, X, y=None):
        super().fit(X)
        if isinstance(X, list):
            X.sort(key=len)
        return self


class BorrowsX(GaussianAR):
    """Modifies X and gives it back as it was."""

    def fit(self, X, y=None):
        super().fit(X)
        for x in X:
            x += 0.0
        return self


class KeepsTheLastFit(GaussianAR):
    def _learn(self, X):
        start = getattr(self, "start_", None)
        super()._learn(X)
        if start is not None and start.shape == self.start_.shape:
            self.start_ = (self.start_ + start) / 2


class KeepsLengths(GaussianAR):
    def fit(self, X, y=None):
        lengths = getattr(self, "lengths_", [])
        super().fit(X)
        self.lengths_ = self.lengths_ + lengths
        return self


class UnseededFit(GaussianAR):
    def _learn(self, X):
        super()._learn(X)
        self.start_ = self.start_ + np.random.default_rng().normal(scale=0.1)


class NoTransitionNoScore(GaussianAR):
    def _log_prob(self, x):
        if len(x) == 1:
            return np.zeros(0)
        return super()._log_prob(x)


class OnlySeenLengths(GaussianAR):
    def _log_prob(self, x):
        return (
            super()._log_prob(x) if len(x) <= max(self.lengths_) else x[:, 0] * np.nan
        )


class MeanOfSequences(GaussianAR):
    def score(self, X, y=None):
        return float(self.score_samples(X).mean())


class MeanOfMeans(GaussianAR):
    def score(self, X, y=None):
        return float(np.mean([steps.mean() for steps in self.score_timesteps(X)]))


class ScoresPerStep(GaussianAR):
    def score_samples(self, X):
        return np.array([steps.mean() for steps in self.score_timesteps(X)])


class SinglePrecision(GaussianAR):
    def score_timesteps(self, X):
        return [steps.astype(np.float32) for steps in super().score_timesteps(X)]


class TupleOfSteps(GaussianAR):
    def score_timesteps(self, X):
        return tuple(super().score_timesteps(X))


class ScoreInAnArray(GaussianAR):
    def score(self, X, y=None):
        return np.array(super().score(X))


class ScoresThatDrift(GaussianAR):
    def _log_prob(self, x):
        self.start_ = 0.9 * self.start_ + 0.1 * x[0]
        return super()._log_prob(x)


class NoiseInScores(GaussianAR):
    def _log_prob(self, x):
        kept = np.random.default_rng().random(len(x)) > 0.5
        return super()._log_prob(x) * kept


class SeesTheMean(GaussianAR):
    def _log_prob(self, x):
        return super()._log_prob(x - x.mean(0))


class SeesTheNextStep(GaussianAR):
    def _log_prob(self, x):
        return super()._log_prob(x) + 0.1 * np.append(x[1:, 0], 0)


class BatchMean(GaussianAR):
    def score_timesteps(self, X):
        scores = super().score_timesteps(X)
        mean = np.concatenate(scores).mean()
        return [steps - 0.1 * mean for steps in scores]


class StateOfTheSequenceBefore(GaussianAR):
    def score_timesteps(self, X):
        scores = super().score_timesteps(X)
        for i in range(1, len(scores)):
            scores[i][0] += 0.1 * scores[i - 1][-1]
        return scores


class CountsPadding(GaussianAR):
    def score_timesteps(self, X):
        scores = super().score_timesteps(X)
        longest = max(map(len, scores))
        for steps in scores:
            steps[-1] -= 0.9 * (longest - len(steps))
        return scores


class ScoresPadding(GaussianAR):
    def score_samples(self, X):
        scores = super().score_samples(X)
        padded = isinstance(X, np.ndarray) and X.ndim == 3
        return scores - X.shape[1] if padded else scores


class ListsOnly(GaussianAR):
    def fit(self, X, y=None):
        if not isinstance(X, list):
            raise TypeError("expected a list")
        return super().fit(X)


class ArraysOnly(GaussianAR):
    def score_timesteps(self, X):
        if isinstance(X, list):
            X = [x.astype(np.float64) for x in X]
        return super().score_timesteps(X)


class MemoryOrder(GaussianAR):
    def fit(self, X, y=None):
        if isinstance(X, list) and all(hasattr(x, "ravel") for x in X):
            X = [x.ravel(order="K").reshape(x.shape) for x in X]
        return super().fit(X)


class RoundsFloat32(GaussianAR):
    def score_timesteps(self, X):
        single = getattr(X[0], "dtype", None) == np.float32
        return [s.round(2) if single else s for s in super().score_timesteps(X)]


class IntegerBuffers(GaussianAR):
    def fit(self, X, y=None):
        super().fit(X)
        self.start_ = self.start_.astype(np.asarray(X[0]).dtype)
        return self


class Unpicklable(GaussianAR):
    def _learn(self, X):
        super()._learn(X)
        self.link_ = lambda x: x


class LosesItsFit(GaussianAR):
    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "sigma_"}


class RestoredWithoutItsStart(GaussianAR):
    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "start_"):
            self.start_ = self.start_ * 0


class SamplesInAnArray(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        drawn = super().sample(n_samples, n_timesteps, random_state)
        return checks._object_array(drawn)


class SamplesTheLongest(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        n_timesteps = max(self.lengths_) if n_timesteps is None else n_timesteps
        return super().sample(n_samples, n_timesteps, random_state)


class SamplesOneLength(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        if np.ndim(n_timesteps):
            n_timesteps = int(n_timesteps[0])
        return super().sample(n_samples, n_timesteps, random_state)


class SamplesExplode(GaussianAR):
    def _draw(self, n, rng):
        x = super()._draw(n, rng)
        x[8:] = np.inf
        return x


class IgnoresTheSeed(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        return super().sample(n_samples, n_timesteps, np.random.RandomState())


class OneSampleForAll(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        return super().sample(n_samples, n_timesteps, 0)


class SeedsNumpy(GaussianAR):
    def _learn(self, X):
        np.random.seed(0)  # noqa: NPY002
        super()._learn(X)


class DrawsFromRandom(GaussianAR):
    def _draw(self, n, rng):
        return super()._draw(n, rng) + 0 * random.random()


class DrawsToScore(GaussianAR):
    def _log_prob(self, x):
        return super()._log_prob(x) + 0 * np.random.normal()  # noqa: NPY002


def repaired(repair):
    """Reads X after a repair of every sequence, one that hides a fault."""

    def lenient(X):
        if isinstance(X, list):
            X = [repair(x) for x in X]
        return X

    return lenient


class Lenient(GaussianAR):
    """Takes what it should refuse, in fit and in scores."""

    def fit(self, X, y=None):
        return super().fit(self._lenient(X))

    def score_timesteps(self, X):
        return super().score_timesteps(self._lenient(X))


class DropsMasks(Lenient):
    _lenient = staticmethod(repaired(np.asarray))


class DropsImaginaryParts(Lenient):
    _lenient = staticmethod(repaired(np.real))


class ReadsDigits(Lenient):
    _lenient = staticmethod(
        repaired(lambda x: x.astype(float) if getattr(x, "dtype", 0).kind == "U" else x)
    )


class Densifies(Lenient):
    _lenient = staticmethod(
        repaired(lambda x: x.toarray() if hasattr(x, "toarray") else x)
    )


class FillsNaN(Lenient):
    _lenient = staticmethod(
        repaired(
            lambda x: (
                np.nan_to_num(x, posinf=np.inf)
                if getattr(x, "dtype", None) == np.float64
                and not np.ma.isMaskedArray(x)
                and not hasattr(x, "toarray")
                else x
            )
        )
    )


class OneColumnForOneDimension(Lenient):
    _lenient = staticmethod(
        repaired(lambda x: np.column_stack([x, x]) if np.ndim(x) == 1 else x)
    )


class DropsEmptySequences(Lenient):
    @staticmethod
    def _lenient(X):
        if isinstance(X, list) and X:
            return [x for x in X if np.shape(x)[:1] != (0,)]
        return X


class WrapsATable(Lenient):
    @staticmethod
    def _lenient(X):
        return [X] if isinstance(X, np.ndarray) and X.ndim == 2 else X


class PaddingAnywhere(Lenient):
    @staticmethod
    def _lenient(X):
        if isinstance(X, np.ndarray) and X.ndim == 3 and X.dtype.kind == "f":
            return [x[~np.isnan(x).any(1)] for x in X] if len(X) else X
        return X


class WithoutIndex(GaussianAR):
    """Says that something is wrong, not where."""

    def _tell(self, call, X):
        try:
            return call(X)
        except ValueError as error:
            raise ValueError(
                re.sub(r"Sequence \d+", "A sequence", str(error))
            ) from None

    def fit(self, X, y=None):
        return self._tell(super().fit, X)

    def score_timesteps(self, X):
        return self._tell(super().score_timesteps, X)


class WithoutRemedy(WithoutIndex):
    def _tell(self, call, X):
        if isinstance(X, np.ndarray) and X.ndim == 2:
            raise ValueError("X is a 2-D array.")
        return call(X)


class FailsByChance(WithoutIndex):
    """Fails where numpy does."""

    def _tell(self, call, X):
        try:
            return call(X)
        except TypeError as error:
            raise AttributeError(str(error)) from None


class OwnWordsForWidth(WithoutIndex):
    def _tell(self, call, X):
        if hasattr(self, "a_") and {np.shape(x)[-1:] for x in read(X)} == {(3,)}:
            raise ValueError("wrong number of features")
        return call(X)


class HalfFitted(GaussianAR):
    def fit(self, X, y=None):
        self.n_features_in_ = 2
        return super().fit(X)


class LearnsAsItReads(GaussianAR):
    """Only a fault in a late sequence is found when something has been learned."""

    def fit(self, X, y=None):
        read(X[:-1] if len(X) > 1 else X)
        self.start_ = np.zeros(np.shape(X[0])[-1])
        return super().fit(X)


class ForgetsWhenItFails(GaussianAR):
    def fit(self, X, y=None):
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        return super().fit(X)


class SamplesNothing(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        if n_samples == 0:
            return []
        return super().sample(n_samples, n_timesteps, random_state)


class RoundsCounts(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        return super().sample(int(n_samples), n_timesteps, random_state)


class RepeatsLengths(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        if np.ndim(n_timesteps) and len(n_timesteps):
            n_timesteps = np.resize(n_timesteps, n_samples)
        return super().sample(n_samples, n_timesteps, random_state)


class SamplesEmptySequences(GaussianAR):
    def sample(self, n_samples=1, n_timesteps=None, random_state=None):
        if np.ndim(n_timesteps) == 0 and n_timesteps == 0:
            return [np.empty((0, self.n_features_in_))] * n_samples
        return super().sample(n_samples, n_timesteps, random_state)


class NoScore(GaussianAR):
    score = DensityMixin.score


class NoObjectArrays(GaussianAR):
    def score(self, X, y=None):
        return super().score(np.stack(X) if isinstance(X, np.ndarray) else X)


class CountsStepsOfPadding(GaussianAR):
    def score(self, X, y=None):
        n = sum(map(len, X))
        return float(self.score_samples(X).sum() / n)


CAUGHT = [
    (CloneWithItsFit, "clone", "the clone has .*'start_'"),
    (CloneWithDefaults, "clone", "ridge=.* with other parameters"),
    (CopyingInit, "clone", "constructor either does not set or modifies"),
    (ConvertingInit, "init", "float"),
    (InitWithAnotherDefault, "init", "ridge=None is stored as 0.1"),
    (InitOfMore, "init", r"also sets \['history_'\]"),
    (ForgottenParameter, "params", r"get_params gives \[\]"),
    (SetParamsOfNothing, "params", "set_params returned None"),
    (SetParamsOfAnything, "params", "another name: no error"),
    (FitThatResolves, "fit_keeps_parameters", "ridge=0.1 is 1.0 after fit"),
    (FitWithoutUnderscore, "fit_keeps_parameters", r"sets \['n_sequences'\]"),
    (TableTags, "tags", "two_d_array is True"),
    (NoKind, "tags", "estimator_type=None"),
    (FitReturnsNothing, "fit_returns_self", "fit returned None"),
    (FitOfAnother, "fit_returns_self", "fit returned FitOfAnother"),
    (SampleBeforeFit, "unfitted", "sample raised AttributeError"),
    (ScoresNothingBeforeFit, "unfitted", "score raised nothing"),
    (CountsTimeSteps, "n_features_in", "n_features_in_=6 for 1 features in a list"),
    (FixedWidth, "n_features_in", "before fit"),
    (FitWithoutY, "y_is_ignored", "TypeError"),
    (FitWithWeights, "y_is_ignored", r"after fit\(X, y\)"),
    (ScoreWithoutY, "y_is_ignored", "TypeError"),
    (CentresInPlace, "X_is_not_modified", "sequence 0 is modified"),
    (EmptiesTheList, "X_is_not_modified", "are left"),
    (SortsTheList, "X_is_not_modified", "of the list is another object"),
    (BorrowsX, "X_is_not_modified", "read-only"),
    (KeepsTheLastFit, "fit_again", "after a fit to other data"),
    (KeepsLengths, "fit_again", "of an earlier fit"),
    (UnseededFit, "fit_again", "by a clone's fit"),
    (NoTransitionNoScore, "lengths", r"\[0\] scores of \(1,\) time steps"),
    (OnlySeenLengths, "lengths", r"not finite, of \(40,\) time steps"),
    (MeanOfSequences, "scores_add_up", "as score of 60 time steps in 12 sequences"),
    (MeanOfMeans, "scores_add_up", "as score of"),
    (ScoresPerStep, "scores_add_up", "in score_samples"),
    (SinglePrecision, "scores_add_up", "has dtype float32"),
    (TupleOfSteps, "scores_add_up", "score_timesteps is a tuple"),
    (ScoreInAnArray, "scores_add_up", "score is a ndarray"),
    (ScoresThatDrift, "scores_repeat", "when asked again"),
    (NoiseInScores, "scores_repeat", "when asked again"),
    (SeesTheMean, "causality", "sequence 0 changes from time step 1 on"),
    (SeesTheNextStep, "causality", "changes from time step"),
    (BatchMean, "batch", "alone"),
    (StateOfTheSequenceBefore, "batch", "alone"),
    (CountsPadding, "batch", "alone"),
    (ScoresPadding, "batch", "padded"),
    (ListsOnly, "containers", "TypeError: expected a list"),
    (ArraysOnly, "containers", "'list' object has no attribute"),
    (MemoryOrder, "containers", "after a fit to Fortran order"),
    (RoundsFloat32, "containers", "in float32"),
    (IntegerBuffers, "integers", "after a fit to a list of integers"),
    (Unpicklable, "copies", "pickle"),
    (LosesItsFit, "copies", "sigma_"),
    (RestoredWithoutItsStart, "copies", "after it was pickled"),
    (SamplesInAnArray, "sample", "a ndarray, not a list"),
    (SamplesTheLongest, "sample", r"lengths \[6\] after a fit to lengths 3 and 6"),
    (SamplesOneLength, "sample", "shapes .*n_timesteps"),
    (SamplesExplode, "sample", "values that are not finite"),
    (IgnoresTheSeed, "sample_repeats", "when drawn again"),
    (OneSampleForAll, "sample_repeats", "0 and 1 draw the same"),
    (SeedsNumpy, "global_random_state", "fit changes the global state of numpy"),
    (DrawsFromRandom, "global_random_state", "sample changes .* of random"),
    (DrawsToScore, "global_random_state", "scoring changes .* of numpy"),
    *[
        (mistake, f"faults_in_{where}", f"{fault}: {seen}")
        for where in ("fit", "scores")
        for mistake, fault, seen in [
            (DropsMasks, "has a mask", "no error"),
            (DropsImaginaryParts, "has complex numbers", "no error"),
            (ReadsDigits, "has strings", "no error"),
            (Densifies, "has a sparse matrix", "no error"),
            (FillsNaN, "has NaN in the middle", "no error"),
            (OneColumnForOneDimension, "has one dimension", "no error"),
            (DropsEmptySequences, "has 0 time steps", "no error"),
            (WrapsATable, "a bare 2-D array", "no error"),
            (PaddingAnywhere, "a row of NaN before the padding", "no error"),
            (WithoutIndex, "has inf", "no 'sequence 2' in the message"),
            (WithoutRemedy, "a bare 2-D array", r"no '\[X\]' in the message"),
            (FailsByChance, "has a mask", "AttributeError"),
        ]
    ],
    (OwnWordsForWidth, "faults_in_scores", "with 3 features: no 'X has 3"),
    (HalfFitted, "failed_fit", "not unfitted after a fit to"),
    (LearnsAsItReads, "failed_fit", "not unfitted after .* NaN in the last sequence"),
    (ForgetsWhenItFails, "failed_fit", "n_features_in_"),
    (SamplesNothing, "faults_in_sample", "{'n_samples': 0}: no error"),
    (RoundsCounts, "faults_in_sample", "{'n_samples': '3'}: no error"),
    (RepeatsLengths, "faults_in_sample", r"'n_timesteps': \[3\]}: no error"),
    (SamplesEmptySequences, "faults_in_sample", "'n_timesteps': 0}: no error"),
    (NoScore, "model_selection", "score"),
    (NoObjectArrays, "model_selection", "ValueError"),
    (CountsStepsOfPadding, "model_selection", "in a 3-D array, by a search"),
]


@pytest.mark.parametrize(("mistake", "name", "words"), CAUGHT)
def test_a_planted_mistake_is_caught(mistake, name, words):
    check = getattr(checks, f"check_sequence_{name}")
    check("GaussianAR", GaussianAR())
    with pytest.raises(AssertionError, match=f"(?s)^{mistake.__name__}: .*({words})"):
        check(mistake.__name__, mistake())


def test_every_check_has_a_mistake_and_every_mistake_a_row():
    caught = {f"check_sequence_{name}" for _, name, _ in CAUGHT}
    assert caught == {check.__name__ for check in checks.CHECKS}
    planted = {mistake for mistake, _, _ in CAUGHT}
    mistakes = {
        value
        for value in globals().values()
        if inspect.isclass(value) and issubclass(value, GaussianAR)
    }
    assert mistakes - planted == {GaussianAR, PositiveAR, WithoutParameters, Lenient}


# The function itself ------------------------------------------------------------------


def test_checks_are_generated_or_run():
    pairs = list(check_sequence_estimator(GaussianAR(2), generate_only=True))
    assert len(pairs) == len(checks.CHECKS)
    for estimator, check in pairs:
        assert isinstance(check, partial)
        assert check.func.__name__.startswith("check_sequence_")
        assert estimator.get_params() == {"ridge": 2}
    assert len({id(estimator) for estimator, _ in pairs}) == len(pairs)
    given = GaussianAR(2)
    assert check_sequence_estimator(given) is None
    assert vars(given) == {"ridge": 2}


def test_the_first_failure_is_raised_and_says_what_was_seen():
    with pytest.raises(AssertionError) as caught:
        check_sequence_estimator(MeanOfSequences())
    assert str(caught.value).startswith(
        "MeanOfSequences: Time steps sum to `score_samples`; `score` is the mean of "
        "all time steps. Seen: "
    )
    with pytest.raises(
        AssertionError, match="Seen: TypeError: expected a list"
    ) as caught:
        check_sequence_estimator(ListsOnly())
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("mistake", [CopyingInit(), object()])
def test_what_cannot_be_cloned_fails_as_a_check(mistake):
    pairs = list(check_sequence_estimator(mistake, generate_only=True))
    with pytest.raises(AssertionError, match=r"constructor|clone"):
        check_sequence_estimator(mistake)
    assert all(estimator is mistake for estimator, _ in pairs)


def test_a_class_is_refused():
    with pytest.raises(TypeError, match=re.escape("pass GaussianAR(...)")):
        check_sequence_estimator(GaussianAR)


def test_other_warnings_are_failures_where_they_are_errors():
    class Deprecated(GaussianAR):
        def _learn(self, X):
            warnings.warn("old", DeprecationWarning, stacklevel=2)
            super()._learn(X)

    with pytest.raises(AssertionError, match="DeprecationWarning: old"):
        checks.check_sequence_lengths("Deprecated", Deprecated())


def test_the_checks_hold_under_python_O():
    # `python -O` drops assert statements: there must be none.
    assert not re.search(r"^\s*assert\b", inspect.getsource(checks), re.MULTILINE)
