"""What every density of sequences owes its user, checked as `check_estimator` does."""

from __future__ import annotations

import copy
import inspect
import pickle
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

__all__ = ["check_sequence_estimator"]

# The sequence in which a fault is planted, which its message has to name.
_AT = 2

_LENGTHS = (6, 1, 4, 9, 3, 5, 8, 2, 6, 4, 7, 5)


def check_sequence_estimator(
    estimator: Any, *, generate_only: bool = False
) -> Iterator[tuple[Any, partial]] | None:
    """Check that an estimator keeps the contract of densities of sequences.

    The twin of :func:`sklearn.utils.estimator_checks.check_estimator`, which runs
    almost nothing for an estimator whose input is no 2-D array.

    Parameters
    ----------
    estimator : estimator instance
        Its parameters are used as they are, but for `random_state`, which is set to
        an int; choose them such that a fit to 12 short sequences is quick. It is
        cloned, and never fitted itself.
    generate_only : bool, default=False
        Run nothing; return the checks, for `pytest.mark.parametrize`.

    Returns
    -------
    checks : generator of tuple (estimator, check), or None
        With `generate_only=True`: clones of the estimator, each with a
        `functools.partial` that runs one check when called with it.

    Raises
    ------
    AssertionError
        For the first check that fails; the message says the property and what was
        seen. Any other exception that the estimator raises in a check becomes one
        too, with the exception as its cause. Warnings of the class `UserWarning`, and
        so scikit-learn's `ConvergenceWarning`, are no failures.

    Notes
    -----
    A data set `X` is a list, or a 1-D object array, of arrays of shape (n_timesteps_i,
    n_features), or an array of shape (n_sequences, n_timesteps, n_features) whose
    trailing rows may be NaN, which is padding. The checks use reals, positive ones if
    the tag `input_tags.positive_only` is set, and only zeros and ones if
    `input_tags.categorical` is.

    The contract:

    - `fit(X, y=None)` returns the estimator, ignores `y`, sets `n_features_in_` and
      changes neither parameters nor `X`. Fitted again it forgets the first fit. If it
      fails, the estimator is as it was before.
    - `score_samples(X)` is a float64 array of shape (n_sequences,): log p(sequence |
      its length) in nats. It is the same whatever comes with the sequence and
      whatever holds it.
    - `score_timesteps(X)` is a list with one float64 array of shape (n_timesteps_i,)
      per sequence, whose sum is its `score_samples`. A time step's entry depends on
      nothing that comes later.
    - `score(X, y=None)` is a float: the mean of all time steps, in nats per time step.
    - `sample(n_samples=1, n_timesteps=None, random_state=None)` is a list of arrays of
      shape (n_timesteps, n_features). `n_timesteps` is an int, or one per sequence;
      None draws the lengths from those seen in `fit`.
    - `__init__` stores its parameters untouched and does nothing else; before `fit`,
      scoring and sampling raise `NotFittedError`.
    - Input with a fault is refused with a `ValueError` or `TypeError`. If the fault
      lies in one sequence the message has its index, such as "sequence 2"; that for a
      bare 2-D array has the remedy, "[X]"; that for another number of features than in
      `fit` is scikit-learn's own, "X has 3 features, but MyDensity is expecting 2
      features as input".
    - A fit with an int `random_state`, and a sample drawn with one, can be repeated,
      and leave the global random states of numpy and `random` alone.
    - The estimator can be cloned, copied and pickled, and works in `cross_val_score`
      and `GridSearchCV`.
    - Tags: `estimator_type` is "density_estimator", `input_tags.two_d_array` is False
      and `input_tags.three_d_array` True.

    Equal means to 1e-6, relative or absolute.

    Examples
    --------
    In a file of tests::

        @pytest.mark.parametrize(
            ("estimator", "check"),
            check_sequence_estimator(MyDensity(), generate_only=True),
        )
        def test_contract(estimator, check):
            check(estimator)
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"check_sequence_estimator expects an instance, got the class "
            f"{estimator.__name__}; pass {estimator.__name__}(...)."
        )
    pairs = _pairs(estimator)
    if generate_only:
        return pairs
    for other, check in pairs:
        check(other)
    return None


def _pairs(estimator: Any) -> Iterator[tuple[Any, partial]]:
    for check in CHECKS:
        try:
            other = clone(estimator)
        except (RuntimeError, TypeError):  # for check_sequence_clone to say
            other = estimator
        yield other, partial(check, type(estimator).__name__)


CHECKS: list[Callable[[str, Any], None]] = []


def _sequence_check(check: Callable[[Any], None]) -> Callable[[str, Any], None]:
    """Add a check to the list; the first line of its docstring is its property."""
    states = (check.__doc__ or "").splitlines()[0]

    @wraps(check)
    def checked(name: str, estimator: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                estimator = clone(estimator)
                if "random_state" in estimator.get_params(deep=False):
                    estimator.set_params(random_state=0)
                check(estimator)
        except Exception as error:
            seen = str(error)
            if not isinstance(error, AssertionError):
                seen = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{name}: {states} Seen: {seen}") from error

    CHECKS.append(checked)
    return checked


# Data ---------------------------------------------------------------------------------


def _sequences(
    estimator: Any,
    lengths: Sequence[int] = _LENGTHS,
    n_features: int = 2,
    seed: int = 0,
) -> list[np.ndarray]:
    """Sequences that the estimator takes, judged by its tags."""
    rng = np.random.default_rng(seed)
    tags = get_tags(estimator).input_tags
    X = []
    for n in lengths:
        x = rng.normal(size=(n, n_features))
        for t in range(1, n):
            x[t] += 0.6 * x[t - 1]
        if tags.categorical:
            x = (x > 0).astype(np.float64)
        elif tags.positive_only:
            x = np.exp(x)
        # On a grid, so that float32 holds the same values, and 64 x is an integer.
        X.append(x if tags.categorical else np.ceil(64 * x) / 64)
    return X


def _changed(x: np.ndarray) -> np.ndarray:
    """Other values that the estimator takes where it takes x."""
    return 1 - x if np.isin(x, (0, 1)).all() else x + 1


def _object_array(X: list) -> np.ndarray:
    out = np.empty(len(X), dtype=object)
    for i, x in enumerate(X):
        out[i] = x
    return out


def _padded(X: list, extra: int = 0) -> np.ndarray:
    """(n_sequences, n_timesteps, n_features), NaN where a sequence has ended."""
    out = np.full((len(X), max(map(len, X)) + extra, X[0].shape[1]), np.nan)
    for padded, x in zip(out, X, strict=True):
        padded[: len(x)] = x
    return out


# What is seen -------------------------------------------------------------------------


def _require(condition: Any, seen: str) -> None:
    # No `assert`, which `python -O` would drop.
    if not condition:
        raise AssertionError(seen)


def _require_same(found: Any, expected: Any, when: str) -> None:
    """Arrays, or lists of arrays, agree in their shapes and to 1e-6."""
    if isinstance(expected, list):
        _require(len(found) == len(expected), f"{len(found)} arrays {when}")
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            _require_same(a, b, f"{when}, in sequence {i}")
        return
    a, b = np.asarray(found), np.asarray(expected)
    _require(a.shape == b.shape, f"shape {a.shape} instead of {b.shape} {when}")
    differ = np.argwhere(~np.isclose(a, b, rtol=1e-6, atol=1e-6))
    if len(differ):
        at = tuple(differ[0].tolist())
        where = f"at {at} " if at else ""
        raise AssertionError(f"{a[at]:.9g} instead of {b[at]:.9g} {where}{when}")


def _scores(estimator: Any, X: Any) -> np.ndarray:
    """All that is scored, in one array: time steps, sequences, mean."""
    return np.concatenate(
        [
            *estimator.score_timesteps(X),
            estimator.score_samples(X),
            [estimator.score(X)],
        ]
    )


def _complaints(what: str, says: str, call: Callable, *args: Any, **kwargs: Any):
    """Yield why the call is not refused in words that include `says`, if so."""
    try:
        call(*args, **kwargs)
    except (TypeError, ValueError) as error:
        if says and _words(says) not in _words(str(error)):
            kind = type(error).__name__
            yield f"{what}: no {says!r} in the message of the {kind}: {error}"
    except Exception as error:
        yield f"{what}: {type(error).__name__}: {error}"
    else:
        yield f"{what}: no error"


def _words(text: str) -> str:
    """Lower case without punctuation: "Sequence [2]:" says "sequence 2"."""
    return " ".join(["", *re.findall(r"\[x\]|\w+", text.lower()), ""])


def _is_unfitted(estimator: Any, X: Any) -> bool:
    try:
        estimator.score_samples(X)
    except NotFittedError:
        return True
    except Exception:
        return False
    return False


# Parameters ---------------------------------------------------------------------------


@_sequence_check
def check_sequence_clone(estimator):
    """A clone has the same parameters, and nothing that was learned."""
    X = _sequences(estimator)
    names = estimator.get_params(deep=False)
    # Values that no default has, for a clone that goes back to the defaults.
    unusual = clone(estimator).set_params(**{name: object() for name in names})
    for original, when in (
        (estimator, "before fit"),
        (unusual, "with other parameters"),
        (clone(estimator).fit(X), "after fit"),
    ):
        other = clone(original)
        _require(type(other) is type(original), f"a {type(other).__name__} {when}")
        old, new = original.get_params(), other.get_params()
        _require(set(old) == set(new), f"parameters {sorted(new)} {when}")
        for name, value in old.items():
            _require(
                _same_value(value, new[name]),
                f"{name}={value!r} became {new[name]!r} {when}",
            )
        extra = sorted(set(vars(other)) - set(vars(estimator)))
        _require(not extra, f"the clone has {extra} {when}")
        _require(_is_unfitted(other, X), f"the clone is not unfitted {when}")


def _same_value(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    # An object without an equality of its own says nothing when it is copied.
    return getattr(type(a), "__eq__", None) is object.__eq__ or repr(a) == repr(b)


@_sequence_check
def check_sequence_init(estimator):
    """`__init__` stores its parameters untouched, and nothing else."""
    cls = type(estimator)
    given = estimator.get_params(deep=False)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if name in given and parameter.default is not parameter.empty
    }
    required = {name: value for name, value in given.items() if name not in defaults}
    # Objects that nothing can be done with but to store them.
    anything = {name: object() for name in given}
    for passed, expected in (
        (anything, anything),
        (required, required | defaults),
        (given, given),
    ):
        fresh = cls(**passed)
        for name, value in expected.items():
            stored = getattr(fresh, name, "nothing")
            _require(stored is value, f"{name}={value!r} is stored as {stored!r}")
        extra = sorted(set(vars(fresh)) - set(given))
        _require(not extra, f"__init__ also sets {extra}")


@_sequence_check
def check_sequence_params(estimator):
    """What `set_params` sets is what `get_params` gets; unknown names are refused."""
    given = estimator.get_params(deep=False)
    names = set(inspect.signature(type(estimator).__init__).parameters) - {"self"}
    _require(set(given) == names, f"get_params gives {sorted(given)}")
    for name, value in given.items():
        new = object()
        returned = estimator.set_params(**{name: new})
        _require(returned is estimator, f"set_params returned {returned!r}")
        for params in (estimator.get_params(deep=False), estimator.get_params()):
            _require(params[name] is new, f"{name} set to {new} is {params[name]!r}")
        estimator.set_params(**{name: value})
    for complaint in _complaints(
        "a parameter of another name", "", estimator.set_params, no_such_parameter=0
    ):
        raise AssertionError(complaint)


@_sequence_check
def check_sequence_fit_keeps_parameters(estimator):
    """`fit` leaves the parameters alone; what it learns ends in _ or begins with it."""
    before = dict(vars(estimator))
    copies = copy.deepcopy(before)
    estimator.fit(_sequences(estimator))
    for name, value in before.items():
        now = vars(estimator).get(name, "gone")
        _require(
            now is value and _same_value(now, copies[name]),
            f"{name}={copies[name]!r} is {now!r} after fit",
        )
    public = [
        name
        for name in sorted(set(vars(estimator)) - set(before))
        if not name.endswith("_") and not name.startswith("_")
    ]
    _require(not public, f"fit sets {public}")


@_sequence_check
def check_sequence_tags(estimator):
    """The tags say: a density estimator, of sequences, without a target."""
    tags = get_tags(estimator)
    kind = tags.estimator_type
    _require(kind == "density_estimator", f"estimator_type={kind!r}")
    _require(not tags.input_tags.two_d_array, "input_tags.two_d_array is True")
    # True also where a scikit-learn has no such tag.
    three_d_array = getattr(tags.input_tags, "three_d_array", True)
    _require(three_d_array, "input_tags.three_d_array is False")
    _require(not tags.target_tags.required, "target_tags.required is True")


# Fit ----------------------------------------------------------------------------------


@_sequence_check
def check_sequence_fit_returns_self(estimator):
    """`fit` returns the estimator, fitted."""
    returned = estimator.fit(_sequences(estimator))
    _require(returned is estimator, f"fit returned {returned!r}")
    check_is_fitted(estimator)


@_sequence_check
def check_sequence_unfitted(estimator):
    """Before `fit`, scoring and sampling raise `NotFittedError`."""
    X = _sequences(estimator)
    for call in ("score_samples", "score_timesteps", "score", "sample"):
        seen = "nothing"
        try:
            getattr(estimator, call)(*(() if call == "sample" else (X,)))
        except NotFittedError:
            continue
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{call} raised {seen}")


@_sequence_check
def check_sequence_n_features_in(estimator):
    """`n_features_in_` is the number of features, also of one; absent before `fit`."""
    _require(not hasattr(estimator, "n_features_in_"), "n_features_in_ before fit")
    for n_features in (1, 3):
        X = _sequences(estimator, n_features=n_features)
        for fitted_to, holder in ((X, "a list"), (_padded(X), "a 3-D array")):
            found = clone(estimator).fit(fitted_to).n_features_in_
            _require(
                found == n_features,
                f"n_features_in_={found} for {n_features} features in {holder}",
            )


@_sequence_check
def check_sequence_y_is_ignored(estimator):
    """`y` is taken and ignored, by `fit` and by `score`."""
    X = _sequences(estimator)
    y = np.arange(len(X))
    expected = _scores(clone(estimator).fit(X), X)
    _require_same(_scores(clone(estimator).fit(X, y), X), expected, "after fit(X, y)")
    fitted = clone(estimator).fit(X, y=None)
    _require_same(_scores(fitted, X), expected, "after fit(X, y=None)")
    _require_same(fitted.score(X, y), expected[-1], "from score(X, y)")


@_sequence_check
def check_sequence_X_is_not_modified(estimator):
    """X is not modified, and arrays that cannot be are as good as others."""
    X = _sequences(estimator)

    def use(Z):
        other = clone(estimator).fit(Z)
        other.score_samples(Z), other.score_timesteps(Z), other.score(Z)

    held = [x.copy() for x in X]
    container = list(held)
    use(container)
    _require(len(container) == len(held), f"{len(container)} of {len(held)} are left")
    for i, (x, now, before) in enumerate(zip(container, held, X, strict=True)):
        _require(x is now, f"sequence {i} of the list is another object")
        _require(now.tobytes() == before.tobytes(), f"sequence {i} is modified")
    padded = _padded(X)
    use(padded)
    _require(padded.tobytes() == _padded(X).tobytes(), "the 3-D array is modified")
    for x in held:
        x.flags.writeable = False
    padded.flags.writeable = False
    use(held)
    use(padded)


@_sequence_check
def check_sequence_fit_again(estimator):
    """A fit depends on X, the parameters and an int `random_state` alone."""
    X = _sequences(estimator)
    scores = _scores(estimator.fit(X), X)
    _require_same(_scores(clone(estimator).fit(X), X), scores, "by a clone's fit")
    _require_same(_scores(estimator.fit(X), X), scores, "by a second fit")
    for n_features in (3, 2):
        other_X = _sequences(estimator, (11, 2, 10) * 4, n_features, seed=1)
        estimator.fit(other_X).sample(2, random_state=0)
        estimator.fit(X)
        when = f"after a fit to other data, of {n_features} features, between"
        _require_same(_scores(estimator, X), scores, when)
    drawn = {len(x) for x in estimator.sample(30, random_state=0)}
    _require(drawn <= {len(x) for x in X}, f"lengths {sorted(drawn)} of an earlier fit")


@_sequence_check
def check_sequence_lengths(estimator):
    """Sequences of any length are fitted and scored, those of one time step too."""
    estimator.fit(_sequences(estimator, lengths=(1, 13, 1, 2, 1, 5, 1, 8, 3, 1, 2, 1)))
    for lengths in ((1,), (1, 1, 1), (40,), (1, 40, 2)):
        X = _sequences(estimator, lengths=lengths, seed=2)
        found = [len(steps) for steps in estimator.score_timesteps(X)]
        _require(found == list(lengths), f"{found} scores of {lengths} time steps")
        finite = np.isfinite(_scores(estimator, X)).all()
        _require(finite, f"scores that are not finite, of {lengths} time steps")


# Scores -------------------------------------------------------------------------------


@_sequence_check
def check_sequence_scores_add_up(estimator):
    """Time steps sum to `score_samples`; `score` is the mean of all time steps."""
    X = _sequences(estimator)
    estimator.fit(X)
    steps = estimator.score_timesteps(X)
    totals = estimator.score_samples(X)
    score = estimator.score(X)
    _require(isinstance(steps, list), f"score_timesteps is a {type(steps).__name__}")
    _require(len(steps) == len(X), f"{len(steps)} arrays for {len(X)} sequences")
    for i, x in enumerate(X):
        _require_array(steps[i], (len(x),), f"score_timesteps of sequence {i}")
    _require_array(totals, (len(X),), "score_samples")
    _require(isinstance(score, float), f"score is a {type(score).__name__}")
    _require_same(totals, np.array([s.sum() for s in steps]), "in score_samples")
    n_timesteps = sum(map(len, X))
    _require_same(
        score,
        totals.sum() / n_timesteps,
        f"as score of {n_timesteps} time steps in {len(X)} sequences",
    )


def _require_array(found: Any, shape: tuple[int, ...], what: str) -> None:
    _require(isinstance(found, np.ndarray), f"{what} is a {type(found).__name__}")
    _require(found.dtype == np.float64, f"{what} has dtype {found.dtype}")
    _require(found.shape == shape, f"{what} has shape {found.shape}, not {shape}")
    _require(np.isfinite(found).all(), f"{what} is not finite: {found}")


@_sequence_check
def check_sequence_scores_repeat(estimator):
    """Scores are the same when asked for again, also after scoring other data."""
    X = _sequences(estimator)
    estimator.fit(X)
    scores = _scores(estimator, X)
    _require_same(_scores(estimator, X), scores, "when asked again")
    _scores(estimator, _sequences(estimator, seed=1))
    _require_same(_scores(estimator, X), scores, "after scoring other data")
    estimator.sample(2, random_state=0)
    _require_same(_scores(estimator, X), scores, "after sampling")


@_sequence_check
def check_sequence_causality(estimator):
    """The score of a time step depends on nothing that comes later."""
    X = _sequences(estimator)
    estimator.fit(X)
    for i, x in enumerate(X):
        expected = estimator.score_timesteps([x])[0]
        others = [np.concatenate([x[:t], _changed(x[t:])]) for t in range(1, len(x))]
        if not others:
            continue
        for t, steps in enumerate(estimator.score_timesteps(others), start=1):
            _require_same(
                steps[:t],
                expected[:t],
                f"when sequence {i} changes from time step {t} on",
            )


@_sequence_check
def check_sequence_batch(estimator):
    """A sequence's score is the same whatever is scored with it."""
    X = _sequences(estimator)
    estimator.fit(X)
    for method in (
        lambda Z: list(estimator.score_samples(Z)),
        estimator.score_timesteps,
    ):
        expected = method(X)
        _require_same([method([x])[0] for x in X], expected, "alone")
        _require_same(method(X[::-1])[::-1], expected, "in reverse order")
        _require_same(method(X[:5]), expected[:5], "in a smaller batch")
        _require_same(method(X * 20), expected * 20, "in a larger batch")
        longer = _sequences(estimator, lengths=(50,), seed=1)
        _require_same(method(longer + X)[1:], expected, "next to a longer sequence")
        shorter = _sequences(estimator, lengths=(1,), seed=1)
        for x, score in zip(X, expected, strict=True):
            _require_same(method([*shorter, x])[1], score, "next to one time step")
        _require_same(method(_padded(X)), expected, "padded")
        _require_same(method(_padded(X, extra=7)), expected, "padded further")


_HOLDERS: dict[str, Callable[[list], Any]] = {
    "an object array": _object_array,
    "Fortran order": lambda X: [np.asfortranarray(x) for x in X],
    "strided views": lambda X: [np.repeat(x, 2, axis=0)[::2] for x in X],
    "float32": lambda X: [x.astype(np.float32) for x in X],
    "nested lists": lambda X: [x.tolist() for x in X],
    "a 3-D array with NaN where a sequence has ended": _padded,
    "a float32 3-D array": lambda X: _padded(X).astype(np.float32),
    "a 3-D array in Fortran order": lambda X: np.asfortranarray(_padded(X)),
}


@_sequence_check
def check_sequence_containers(estimator):
    """The same values score the same, whatever holds them."""
    ragged = _sequences(estimator)
    equal = _sequences(estimator, lengths=(5,) * 12)
    for X in (ragged, equal):
        estimator.fit(X)
        scores = _scores(estimator, X)
        for name, hold in _HOLDERS.items():
            held = hold(X)
            _require_same(_scores(estimator, held), scores, f"in {name}")
            found = _scores(clone(estimator).fit(held), X)
            _require_same(found, scores, f"after a fit to {name}")


@_sequence_check
def check_sequence_integers(estimator):
    """Integers score as the floats that they equal."""
    X = _sequences(estimator, lengths=(5,) * 12)
    factor = 1 if np.isin(X, (0, 1)).all() else 64
    floats = [factor * x for x in X]
    integers = [x.astype(np.int64) for x in floats]
    estimator.fit(floats)
    scores = _scores(estimator, floats)
    for held, name in ((integers, "a list"), (np.stack(integers), "a 3-D array")):
        _require_same(_scores(estimator, held), scores, f"in {name} of integers")
        found = _scores(clone(estimator).fit(held), floats)
        _require_same(found, scores, f"after a fit to {name} of integers")


@_sequence_check
def check_sequence_copies(estimator):
    """A fitted estimator that was pickled, or deep-copied, scores as before."""
    X = _sequences(estimator)
    estimator.fit(X)
    scores = _scores(estimator, X)
    drawn = estimator.sample(3, random_state=0)
    for other, how in (
        (pickle.loads(pickle.dumps(estimator)), "pickled"),
        (copy.deepcopy(estimator), "deep-copied"),
    ):
        _require_same(_scores(other, X), scores, f"after it was {how}")
        _require_same(other.sample(3, random_state=0), drawn, f"after it was {how}")
    pickle.loads(pickle.dumps(clone(estimator))).fit(X)


# Samples ------------------------------------------------------------------------------


@_sequence_check
def check_sequence_sample(estimator):
    """`sample` draws sequences of the lengths asked for, which can be scored."""
    X = _sequences(estimator, lengths=(3, 6) * 6)
    estimator.fit(X)
    _require_lengths(estimator, [4] * 5, n_samples=5, n_timesteps=4)
    _require_lengths(estimator, [1, 9, 2], n_samples=3, n_timesteps=[1, 9, 2])
    _require_lengths(estimator, [7, 2], n_samples=2, n_timesteps=np.array([7, 2]))
    _require_lengths(estimator, [2] * 3, n_samples=np.int64(3), n_timesteps=np.int64(2))
    _require_lengths(estimator, [12], n_timesteps=12)
    one = estimator.sample()
    _require(len(one) == 1, f"{len(one)} sequences from sample()")
    # Either length is absent from 64 fair draws once in 2^63.
    lengths = {len(x) for x in estimator.sample(64, random_state=0)}
    _require(
        lengths == {3, 6}, f"lengths {sorted(lengths)} after a fit to lengths 3 and 6"
    )


def _require_lengths(estimator: Any, lengths: list[int], **asked: Any) -> None:
    drawn = estimator.sample(**asked, random_state=0)
    _require(isinstance(drawn, list), f"a {type(drawn).__name__}, not a list")
    shapes = [np.shape(x) for x in drawn]
    expected = [(n, estimator.n_features_in_) for n in lengths]
    _require(shapes == expected, f"shapes {shapes} for {asked}")
    for x in drawn:
        _require(isinstance(x, np.ndarray), f"a {type(x).__name__} in the list")
        _require(np.isfinite(x).all(), f"values that are not finite: {x.tolist()}")
    scores = estimator.score_samples(drawn)
    _require(np.isfinite(scores).all(), f"samples score {scores}")


@_sequence_check
def check_sequence_sample_repeats(estimator):
    """The same `random_state` draws the same sample, another one another."""
    estimator.fit(_sequences(estimator))
    first = estimator.sample(6, random_state=0)
    estimator.sample(2, n_timesteps=3, random_state=1)
    again = estimator.sample(6, random_state=0)
    _require_same(again, first, "when drawn again")
    long = estimator.sample(2, n_timesteps=60, random_state=0)
    other = estimator.sample(2, n_timesteps=60, random_state=1)
    _require(not np.array_equal(long, other), "random_state 0 and 1 draw the same")
    a, b = (
        estimator.sample(3, random_state=np.random.RandomState(5)) for _ in range(2)
    )
    _require_same(a, b, "from an equal RandomState")


@_sequence_check
def check_sequence_global_random_state(estimator):
    """The global random states of numpy and `random` are left alone."""
    X = _sequences(estimator)

    def states() -> dict[str, Any]:
        name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
        return {
            "numpy": (name, np.asarray(keys).tolist(), *rest),
            "random": random.getstate(),
        }

    for name, call in (
        ("fit", lambda: estimator.fit(X)),
        ("scoring", lambda: _scores(estimator, X)),
        ("sample", lambda: estimator.sample(3, random_state=0)),
    ):
        before = states()
        call()
        after = states()
        for module in before:
            _require(
                after[module] == before[module],
                f"{name} changes the global state of {module}",
            )


# Faults -------------------------------------------------------------------------------


def _with_nan(x: np.ndarray, t: int, d: int | slice = slice(None)) -> np.ndarray:
    x = x.copy()
    x[t, d] = np.nan
    return x


def _in_3d(change: Callable[[np.ndarray], None]) -> Callable[[list], np.ndarray]:
    """A 3-D array in which one sequence, with its padding, is changed in place."""

    def planted(X):
        padded = _padded(X)
        change(padded[_AT])
        return padded

    return planted


def _nan_at(rows: slice | int, columns: slice | int = slice(None)) -> Callable:
    def change(x):
        x[rows, columns] = np.nan

    return change


# Faults of the whole; each takes a good data set.
_WHOLE: dict[str, Callable[[list], Any]] = {
    "an empty list": lambda X: [],
    "a 3-D array without sequences": lambda X: _padded(X)[:0],
    "a bare 2-D array": lambda X: X[0],
    "a 1-D array of numbers": lambda X: X[0][:, 0],
    "a number": lambda X: 1.0,
    "None": lambda X: None,
    "a masked 3-D array": lambda X: np.ma.masked_invalid(_padded(X)),
}

# Faults of one sequence; each takes a good sequence of some time steps.
_ONE: dict[str, Callable[[np.ndarray], Any]] = {
    "0 time steps": lambda x: x[:0],
    "one feature more than the others": lambda x: np.column_stack([x, x[:, 0]]),
    "rows of unequal length": lambda x: [*x[:-1].tolist(), x[-1, 1:].tolist()],
    "one dimension": lambda x: x[:, 0],
    "three dimensions": lambda x: x[None],
    "NaN in the middle": lambda x: _with_nan(x, 1, 0),
    "a row of NaN in the middle": lambda x: _with_nan(x, 1),
    "inf": lambda x: np.where(np.arange(len(x))[:, None] == 1, np.inf, x),
    "strings": lambda x: x.astype(str),
    "complex numbers": lambda x: x.astype(complex),
    "a mask": lambda x: np.ma.masked_array(x, mask=np.arange(x.size) == 1),
    "a sparse matrix": lambda x: OneHotEncoder().fit_transform(np.arange(4)[:, None])[
        :, : x.shape[1]
    ],
    "None": lambda x: None,
}

# Faults of one sequence in a 3-D array.
_PADDED: dict[str, Callable[[list], np.ndarray]] = {
    "NaN before the padding": _in_3d(_nan_at(1, 0)),
    "a row of NaN before the padding": _in_3d(_nan_at(1)),
    "padding of a part of a row": _in_3d(_nan_at(3, 0)),
    "nothing but padding": _in_3d(_nan_at(slice(None))),
}


def _faults(X: list[np.ndarray]) -> Iterator[tuple[str, Any, str]]:
    """Name, data set, and what the message has to say."""
    for name, plant in _WHOLE.items():
        yield name, plant(X), "[X]" if name == "a bare 2-D array" else ""
    says = f"sequence {_AT}"
    for name, spoil in _ONE.items():
        bad = [*X[:_AT], spoil(X[_AT]), *X[_AT + 1 :]]
        yield f"a list in which a sequence has {name}", bad, says
    for name, plant in _PADDED.items():
        yield f"a 3-D array in which a sequence has {name}", plant(X), says


@_sequence_check
def check_sequence_faults_in_fit(estimator):
    """`fit` refuses faulty data, and says in which sequence the fault is."""
    complaints: list[str] = []
    for name, bad, says in _faults(_sequences(estimator)):
        complaints += _complaints(name, says, clone(estimator).fit, bad)
    _require(not complaints, "; ".join(complaints))


@_sequence_check
def check_sequence_faults_in_scores(estimator):
    """Scoring refuses faulty data, and says in which sequence the fault is."""
    X = _sequences(estimator)
    estimator.fit(X)
    wrong = _sequences(estimator, n_features=3)
    says = (
        f"X has 3 features, but {type(estimator).__name__} is expecting 2 features as "
        "input"
    )
    faults = [
        *_faults(X),
        ("a list of sequences with 3 features", wrong, says),
        ("a 3-D array with 3 features", _padded(wrong), says),
    ]
    complaints: list[str] = []
    for method in ("score_samples", "score_timesteps", "score"):
        for name, bad, says in faults:
            score = getattr(estimator, method)
            complaints += _complaints(f"{method} of {name}", says, score, bad)
    _require(not complaints, "; ".join(complaints))


@_sequence_check
def check_sequence_failed_fit(estimator):
    """After a `fit` that failed the estimator is as it was before."""
    X = _sequences(estimator)
    fitted = clone(estimator).fit(X)
    scores = _scores(fitted, X)
    wider = _sequences(estimator, n_features=3)
    late = [*wider[:-1], _with_nan(wider[-1], 1)]
    for name, bad, _ in [*_faults(wider), ("NaN in the last sequence", late, "")]:
        other = clone(estimator)
        for failing in (other, fitted):
            try:
                failing.fit(bad)
            except Exception:
                continue
            raise AssertionError(f"fit took {name}")
        _require(_is_unfitted(other, X), f"not unfitted after a fit to {name}")
        _require(
            fitted.n_features_in_ == 2,
            f"n_features_in_={fitted.n_features_in_} after a fit to {name}",
        )
        _require_same(_scores(fitted, X), scores, f"after a fit to {name}")


@_sequence_check
def check_sequence_faults_in_sample(estimator):
    """`sample` refuses counts and lengths that are no integers of at least 1."""
    estimator.fit(_sequences(estimator))
    asked: list[dict[str, Any]] = [
        *({"n_samples": n} for n in (0, -1, 2.5, "3", True)),
        *({"n_samples": 2, "n_timesteps": n} for n in (0, -1, 2.5, "3")),
        *({"n_samples": 2, "n_timesteps": n} for n in ([3], [3, 3, 3], [], [3, 0])),
        {"n_samples": 2, "n_timesteps": [3, 2.5]},
    ]
    complaints: list[str] = []
    for given in asked:
        call = partial(estimator.sample, random_state=0)
        complaints += _complaints(str(given), "", call, **given)
    _require(not complaints, "; ".join(complaints))


# Model selection ----------------------------------------------------------------------


@_sequence_check
def check_sequence_model_selection(estimator):
    """`cross_val_score` and `GridSearchCV` work, whatever holds the sequences."""
    X = _sequences(estimator)
    params = estimator.get_params(deep=False)
    if "random_state" in params:
        grid = {"random_state": [0, 1]}
    else:
        grid = {name: [value, value] for name, value in [*params.items()][:1]}
    expected = None
    for held, name in (
        (X, "a list"),
        (_object_array(X), "an object array"),
        (_padded(X), "a 3-D array"),
    ):
        scores = cross_val_score(estimator, held, cv=3, error_score="raise")
        _require(np.isfinite(scores).all(), f"cross_val_score of {name} is {scores}")
        search = GridSearchCV(estimator, grid, cv=3, error_score="raise").fit(held)
        best = search.best_score_
        _require(np.isfinite(best), f"best_score_={best} with {name}")
        score = search.best_estimator_.score(X)
        _require_same(search.score(held), score, f"in {name}, by a search")
        found = np.array([*scores, *search.cv_results_["mean_test_score"]])
        expected = found if expected is None else expected
        _require_same(found, expected, f"in folds of {name} instead of a list")
