"""What scikit-learn asks of an estimator, and what its users take for granted."""

from __future__ import annotations

import ast
import copy
import inspect
import io
import pickle
import random
import re
import threading

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils._param_validation import (
    InvalidParameterError,
    generate_invalid_param_val,
    make_constraint,
)
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.fixes import parse_version

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from tests.small import (
    DENSITIES,
    EVERY,
    TABLES,
    binaries,
    mixed_frame,
    reals,
    small,
    to_polars,
)

MIXTURES = ["gaussian_mixture", "laplace_mixture", "logistic_mixture"]
MASSES = ["categorical", "ordinal", "count"]
TINY = {"max_iter": 2, "hidden_layer_sizes": (4,), "n_orderings": 2, "device": "cpu"}

# scikit-learn's checks ----------------------------------------------------------------

CHECKED = [
    *(NADEDensity(conditional=c, **TINY) for c in ("auto", "categorical")),
    *(MADEDensity(conditional=c, **TINY) for c in ("auto", *MASSES, *MIXTURES)),
    *(RNADEDensity(conditional=c, **TINY) for c in ("auto", *MIXTURES)),
]
AGNOSTIC = [c(ordering="agnostic", **TINY) for c in (NADEDensity, MADEDensity)]
ESTIMATING = [c(missing="estimate", n_draws=5, **TINY) for c in DENSITIES]
BINARY = [c(conditional="bernoulli", **TINY) for c in (NADEDensity, MADEDensity)]


def checks_of(densities):
    """Every check of scikit-learn for each, with a name."""
    return [
        pytest.param(
            estimator,
            check,
            id=f"{type(density).__name__}-{density.ordering}-{density.conditional}-"
            f"{density.missing}-{check.func.__name__}",
        )
        for density in densities
        for estimator, check in estimator_checks_generator(density)
    ]


class IntegersThatCentre(np.ndarray):
    """Integers whose mean has their dtype."""

    def mean(self, *args, **kwargs):
        return super().mean(*args, **kwargs).astype(self.dtype)


ENFORCE_TAGS = estimator_checks._enforce_estimator_tags_X


@pytest.fixture
def checks_as_intended(monkeypatch, request):
    # Without this variable scikit-learn skips its check of array API input.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    # Before 1.7.2 check_positive_only_tag_during_fit makes int32 data for a
    # `categorical` estimator, and fails at its own `X -= X.mean()` before it calls us.
    # It reads `X -= X.mean().astype(X.dtype)` since, which is what this makes of it.
    if parse_version(sklearn.__version__) < parse_version("1.7.2"):
        if "check_positive_only_tag_during_fit" in request.node.name:
            monkeypatch.setattr(
                estimator_checks,
                "_enforce_estimator_tags_X",
                lambda *args: ENFORCE_TAGS(*args).view(IntegersThatCentre),
            )


# It leaves nine rows with a weight, of which none validate: a warning says so.
@pytest.mark.filterwarnings("ignore:X has 9 rows, too few:UserWarning")
@pytest.mark.parametrize(
    ("estimator", "check"), checks_of([*CHECKED, *AGNOSTIC, *ESTIMATING])
)
def test_check_estimator(estimator, check, checks_as_intended, monkeypatch):
    if estimator.__sklearn_tags__().input_tags.categorical:
        heed_the_tags(estimator, check, monkeypatch)
    check(estimator)


def heed_the_tags(estimator, check, monkeypatch):
    """Have checks of weights that heed no tag feed 0 and 1, as others do for us."""
    if "sample_weight" not in check.func.__name__:
        return
    cls = type(estimator)
    fit = cls.fit

    def fit_to_bits(self, X, y=None, **params):
        if not sparse.issparse(X):  # which is refused, as it is to be
            X = binarised(self, np.asarray(X))
        return fit(self, X, y, **params)

    monkeypatch.setattr(cls, "fit", fit_to_bits)


def binarised(estimator, X, X_test=None, **kwargs):
    """0 or 1 for every entry: above the median of its column or not."""
    middle = np.median(X, axis=0)
    tables = [(Z > middle).astype(np.float64) for Z in (X, X_test) if Z is not None]
    return tables[0] if X_test is None else tuple(tables)


@pytest.mark.filterwarnings("ignore:X has 9 rows, too few:UserWarning")
@pytest.mark.parametrize(("estimator", "check"), checks_of(BINARY))
def test_check_estimator_on_binary_data(
    estimator, check, checks_as_intended, monkeypatch
):
    # scikit-learn cannot be told to feed 0 and 1 only, so its data are binarised where
    # it adapts them to the tags. All checks run this way, none is left out.
    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", binarised)
    heed_the_tags(estimator, check, monkeypatch)
    check(estimator)


@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity, RNADEDensity])
def test_the_tags_say_whether_cells_may_be_missing(cls):
    assert not cls().__sklearn_tags__().input_tags.allow_nan
    for how in ({"ordering": "agnostic"}, {"missing": "estimate"}):
        assert cls(**how).__sklearn_tags__().input_tags.allow_nan


def test_the_tags_say_what_X_may_hold():
    for conditional, takes_codes in {
        "auto": False,
        "bernoulli": True,
        "categorical": True,
        "count": True,
        "ordinal": False,
        "gaussian_mixture": False,
    }.items():
        tags = MADEDensity(conditional=conditional).__sklearn_tags__()
        assert tags.input_tags.categorical is takes_codes
        assert tags.input_tags.positive_only is takes_codes
        assert tags.estimator_type == "density_estimator"
    assert NADEDensity().__sklearn_tags__().input_tags.categorical


# Parameters ---------------------------------------------------------------------------

# Those that describe a network, or one class alone; all others are shared.
OWN = {
    "hidden_layer_sizes",
    "activation",
    "conditional",
    "n_components",
    "n_frequencies",
    "direct_connections",
    "tied",
    "compile",
    "n_networks",
    "missing",
    "n_draws",
    "recurrent_layer_sizes",
    "cell",
    "context_to",
    "inner",
    "bptt_length",
    "n_lags",
}


def signature(cls):
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])


@pytest.mark.parametrize("cls", EVERY)
def test_every_parameter_is_validated_at_fit_and_not_before(cls):
    X = EVERY[cls]()
    constraints = cls._parameter_constraints
    assert set(constraints) == set(signature(cls))
    for name, allowed in constraints.items():
        wrong = [object()]
        for constraint in map(make_constraint, allowed):
            try:
                wrong.append(generate_invalid_param_val(constraint))
            except NotImplementedError:  # scikit-learn knows no value that is wrong
                continue
        for value in wrong:
            if any(make_constraint(c).is_satisfied_by(value) for c in allowed):
                continue
            density = small(cls).set_params(**{name: value})
            with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of"):
                density.fit(X)
            with pytest.raises(NotFittedError):
                density.score(X)


def test_shared_parameters_have_one_name_order_and_default():
    shared = [
        [(name, p.default) for name, p in signature(cls).items() if name not in OWN]
        for cls in EVERY
    ]
    assert all(others == shared[0] for others in shared)
    assert len(shared[0]) == len(MADEDensity._parameter_constraints) - 9
    for cls in EVERY:  # the others lead
        names = list(signature(cls))
        own = [name for name in names if name in OWN]
        assert names[: len(own)] == own


def numpydoc_section(docstring, title):
    """Lines "name : type" of a section of a numpydoc docstring."""
    text = inspect.cleandoc(docstring)
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)", text, re.S | re.M)
    assert match, f"no section {title!r}"
    return dict(re.findall(r"^([\w, ]+?) : (.*)$", match[1], re.M))


@pytest.mark.parametrize("cls", EVERY)
def test_the_docstring_lists_the_signature(cls):
    listed = numpydoc_section(cls.__doc__, "Parameters")
    assert list(listed) == list(signature(cls))
    for name, parameter in signature(cls).items():
        default = ast.literal_eval(listed[name].split("default=")[-1])
        assert default == parameter.default, name


@pytest.mark.parametrize("cls", EVERY)
def test_the_docstring_lists_the_fitted_attributes(cls):
    X = EVERY[cls]()
    named = [pd.DataFrame(x).add_prefix("x") for x in (X if cls is RNNRNADE else [X])]
    density = small(cls).fit(named if cls is RNNRNADE else named[0])
    fitted = {a for a in vars(density) if a.endswith("_") and not a.startswith("_")}
    assert set(numpydoc_section(cls.__doc__, "Attributes")) == fitted


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("method", ["fit", "score_samples", "score", "sample"])
def test_the_docstring_of_a_method_lists_its_signature(cls, method):
    parameters = list(inspect.signature(getattr(cls, method)).parameters)[1:]
    doc = getattr(cls, method).__doc__
    assert list(numpydoc_section(doc, "Parameters")) == parameters


# Copies -------------------------------------------------------------------------------


def through_joblib(density):
    file = io.BytesIO()
    joblib.dump(density, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda density: pickle.loads(pickle.dumps(density)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_fitted_density_is_the_density(how, table):
    X = TABLES[table]()
    density = small(MADEDensity).fit(X)
    other = COPIES[how](density)
    np.testing.assert_array_equal(other.score_samples(X), density.score_samples(X))
    drawn, expected = other.sample(5, random_state=0), density.sample(5, random_state=0)
    assert type(drawn) is type(expected)
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    other.fit(X)  # training the copy leaves the original alone
    np.testing.assert_array_equal(
        np.asarray(density.sample(5, random_state=0)), np.asarray(expected)
    )


@pytest.mark.parametrize("cls", DENSITIES)
def test_clone_and_set_params(cls):
    X = DENSITIES[cls]()
    density = small(cls, ordering=[2, 0, 1]).fit(X)
    other = clone(density)
    assert other.get_params() == density.get_params()
    with pytest.raises(NotFittedError):
        other.score(X)
    other.set_params(max_iter=1, ordering="random").fit(X)
    assert other.n_iter_ == 1
    with pytest.raises(ValueError, match="Invalid parameter 'epochs'"):
        other.set_params(epochs=3)


# Tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("cls", DENSITIES)
def test_a_frame_of_numbers_scores_as_its_array_and_is_sampled_as_a_frame(cls, make):
    X = DENSITIES[cls]()
    frame = make(dict(zip("abc", X.T, strict=True)))
    density, of_array = small(cls).fit(frame), small(cls).fit(X)
    np.testing.assert_array_equal(
        density.score_samples(frame), of_array.score_samples(X)
    )
    assert list(density.feature_names_in_) == ["a", "b", "c"]
    drawn = density.sample(5, random_state=0)
    assert isinstance(drawn, make)
    assert list(drawn.columns) == ["a", "b", "c"]
    assert list(drawn.dtypes) == list(frame.dtypes)
    np.testing.assert_array_equal(drawn, of_array.sample(5, random_state=0))


@pytest.mark.parametrize("make", [pd.DataFrame, to_polars])
def test_samples_of_a_mixed_frame_have_its_columns_dtypes_and_categories(make):
    frame = make(mixed_frame())
    density = small(MADEDensity).fit(frame)
    drawn = density.sample(40, random_state=0)
    assert type(drawn) is type(frame)
    assert list(drawn.columns) == list(frame.columns)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert set(drawn["species"]) <= set(frame["species"])


def test_feature_names_are_checked():
    frame = pd.DataFrame(reals(), columns=list("abc"))
    density = small(RNADEDensity).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        density.score(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="feature names should match"):
        density.score(frame.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="feature names should match"):
        density.score(frame[["a", "b"]])
    of_array = small(RNADEDensity).fit(frame.to_numpy())
    with pytest.raises(ValueError, match="expecting 3 features"):
        of_array.score(frame.to_numpy()[:, :2])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        from_array = density.score(frame.to_numpy())
    assert from_array == density.score(frame)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        of_array.score(frame)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_of_a_transformer_before_the_density(container):
    X = pd.DataFrame(reals(), columns=list("abc"))
    pipeline = make_pipeline(StandardScaler(), small(RNADEDensity))
    expected = pipeline.fit(X).score_samples(X)
    pipeline.set_output(transform=container).fit(X)
    np.testing.assert_array_equal(pipeline.score_samples(X), expected)
    assert list(pipeline[-1].feature_names_in_) == ["a", "b", "c"]
    with sklearn.config_context(transform_output=container):
        np.testing.assert_array_equal(pipeline.fit(X).score_samples(X), expected)


def test_metadata_routing_of_X_val():
    X, X_val = reals(), reals(seed=1)
    scaler = StandardScaler().fit(X)
    expected = small(RNADEDensity).fit(
        scaler.transform(X), X_val=scaler.transform(X_val)
    )
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = sklearn.pipeline.Pipeline(
            [
                ("scale", StandardScaler()),
                ("density", small(RNADEDensity).set_fit_request(X_val=True)),
            ],
            transform_input=["X_val"],
        )
        pipeline.fit(X, X_val=X_val)
    density = pipeline["density"]
    assert density.validation_scores_ == expected.validation_scores_


# Randomness and the state of the process ----------------------------------------------


def global_states():
    return (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        np.random.get_state()[2],  # noqa: NPY002
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )


@pytest.mark.parametrize("table", TABLES)
def test_the_state_of_the_process_stays_as_it_was(table):
    X = TABLES[table]()
    before = global_states()
    density = small(MADEDensity, dropout=0.2, ordering="random").fit(X)
    density.score_samples(X)
    density.sample(5, random_state=3)
    assert global_states() == before


def test_no_random_state_means_numpys_global_generator():
    X, scores, draws = reals(), [], []
    for _ in range(2):
        np.random.seed(7)  # noqa: NPY002
        density = small(RNADEDensity, random_state=None).fit(X)
        scores.append(density.score(X))
        draws.append(density.sample(4))
    assert scores[0] == scores[1]
    np.testing.assert_array_equal(*draws)
    assert small(RNADEDensity, random_state=None).fit(X).score(X) != scores[0]
    assert not np.array_equal(density.sample(4), density.sample(4))


def test_a_random_state_instance_is_drawn_from():
    X = reals()
    density = small(RNADEDensity, random_state=np.random.RandomState(3)).fit(X)
    again = small(RNADEDensity, random_state=np.random.RandomState(3)).fit(X)
    assert density.score(X) == again.score(X)
    state = np.random.RandomState(3)
    assert not np.array_equal(
        density.sample(4, random_state=state), density.sample(4, random_state=state)
    )


@pytest.mark.parametrize("table", TABLES)
def test_one_seed_one_fit_bit_for_bit(table):
    X = TABLES[table]()
    densities = [small(MADEDensity, dropout=0.2).fit(X) for _ in range(2)]
    densities.append(densities[0].fit(X))
    first, *others = (density.module_.state_dict() for density in densities)
    for other in others:
        for name, value in first.items():
            torch.testing.assert_close(value, other[name], rtol=0, atol=0)
    a, b = (d.sample(5, random_state=1) for d in densities[:2])
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    other_seed = small(MADEDensity, random_state=1).fit(X)
    assert other_seed.loss_curve_ != densities[0].loss_curve_


@pytest.mark.parametrize("table", TABLES)
def test_torch_defaults_change_nothing(table):
    X = TABLES[table]()

    def outcome():
        density = small(MADEDensity, dropout=0.2).fit(X)
        return density.score_samples(X), np.asarray(density.sample(20, random_state=0))

    expected = outcome()
    try:
        torch.set_default_dtype(torch.float64)
        for got, value in zip(outcome(), expected, strict=True):
            np.testing.assert_array_equal(got, value)
    finally:
        torch.set_default_dtype(torch.float32)
    # A tensor made on the default device would hold no numbers here.
    with torch.device("meta"):
        for got, value in zip(outcome(), expected, strict=True):
            np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("cls", DENSITIES)
def test_a_score_does_not_depend_on_its_batch(cls):
    X = np.tile(DENSITIES[cls](), (40, 1))  # more rows than a block
    density = small(cls).fit(X[:60])
    together = density.score_samples(X)
    shuffled = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(
        density.score_samples(X[shuffled]), together[shuffled]
    )
    alone = [density.score_samples(X[i : i + 1])[0] for i in range(20)]
    np.testing.assert_array_equal(alone, together[:20])
    np.testing.assert_array_equal(density.score_samples(X[:7]), together[:7])


def test_two_threads_score_as_one():
    X = reals(3000)
    density = small(RNADEDensity).fit(X[:60])
    expected, found = density.score_samples(X), {}

    def score(i):
        found[i] = density.score_samples(X)

    threads = [threading.Thread(target=score, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        np.testing.assert_array_equal(found[i], expected)


# Fit and score ------------------------------------------------------------------------


@pytest.mark.parametrize("cls", DENSITIES)
def test_what_a_fitted_density_returns(cls):
    X = DENSITIES[cls]()
    density = small(cls)
    assert density.fit(X) is density
    log_p = density.score_samples(X)
    assert log_p.shape == (len(X),)
    assert log_p.dtype == np.float64
    assert density.score(X) == pytest.approx(log_p.mean(), abs=1e-12)
    assert isinstance(density.score(X), float)
    assert density.sample().shape == (1, X.shape[1])
    assert density.sample(7, random_state=0).shape == (7, X.shape[1])
    assert density.score_kind_ == "exact"
    assert density.n_features_in_ == X.shape[1]
    assert density.n_iter_ == len(density.loss_curve_) == 3
    assert len(density.validation_scores_) == 3
    assert sorted(density.ordering_[0]) == list(range(X.shape[1]))


def test_warm_start_continues_where_the_last_fit_ended():
    X = reals(200)
    # Without a validation share the rows are the same in every fit.
    density = small(RNADEDensity, warm_start=True, early_stopping=False, max_iter=20)
    first = density.fit(X).score(X)
    weights = copy.deepcopy(density.module_.state_dict())
    density.set_params(max_iter=1, learning_rate_init=1e-9).fit(X)
    for name, value in density.module_.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-5, atol=1e-6)
    assert density.score(X) == pytest.approx(first, abs=1e-4)
    density.set_params(max_iter=20, learning_rate_init=0.005).fit(X)
    assert density.score(X) > first
    density.set_params(warm_start=False, max_iter=1).fit(X)
    assert density.score(X) < first


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity, RNADEDensity])
def test_warm_start_goes_on_with_the_dropout_asked_for(cls, name):
    X = (reals(200) > 0).astype(float) if cls is NADEDensity else reals(200)
    first = small(cls, warm_start=True, early_stopping=False, dropout=0.0).fit(X)
    again = [copy.deepcopy(first).set_params(**{name: p}).fit(X) for p in (0.0, 0.5)]
    scores = [density.score(X) for density in again]
    assert abs(scores[0] - scores[1]) > 1e-3


def test_X_val_is_what_early_stopping_watches():
    X, X_val = reals(300), reals(200, seed=1)
    density = small(RNADEDensity, n_orderings=1, max_iter=30).fit(X, X_val=X_val)
    # The weights are those of the epoch that scored X_val highest. Training scores
    # standardised columns.
    best_score = (
        max(density.validation_scores_) + density.columns_.log_jacobians(X[:1]).sum()
    )
    assert density.score(X_val) == pytest.approx(best_score)
    best = int(np.argmax(density.validation_scores_)) + 1
    assert density.history_.best_iter == [best]
    far = small(RNADEDensity, max_iter=50, n_iter_no_change=2, tol=10.0)
    assert far.fit(X, X_val=X_val).n_iter_ == 2
    with pytest.raises(ValueError, match="X_val is what early stopping watches"):
        small(RNADEDensity, early_stopping=False).fit(X, X_val=X_val)


def test_verbose_shows_epochs_and_nats(capsys):
    small(RNADEDensity, verbose=True).fit(reals())
    shown = capsys.readouterr().err
    assert "RNADEDensity" in shown
    assert "3/3" in shown
    assert re.search(r"train=-?\d+\.\d+ nats, validation=-?\d+\.\d+ nats", shown)
    small(RNADEDensity).fit(reals())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_y_is_ignored():
    X = binaries()
    with_y = small(NADEDensity).fit(X, np.arange(len(X)))
    assert with_y.score(X, y="anything") == small(NADEDensity).fit(X).score(X)
