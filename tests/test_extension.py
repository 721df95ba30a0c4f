"""A new conditional and a new network, each in one place, work with all the rest.

Nothing of the package is told of either: no registry, no fit, no sampler.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.model_selection import cross_val_score
from torch import nn

from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar.conditionals import Conditional
from skdensity_ar.networks import Network
from tests import properties
from tests.small import DENSITIES, binaries, mixed_frame, reals, small

# A new conditional --------------------------------------------------------------------


class Poisson(Conditional):
    """Counts: p(k) = λ^k exp(-λ) / k!, where log λ is the parameter."""

    support = "raw"
    n_inputs = 1
    n_params = 1

    def encode(self, x):
        return x.log1p().unsqueeze(-1)

    def log_prob(self, params, x):
        log_rate = params.squeeze(-1)
        return x * log_rate - log_rate.exp() - torch.lgamma(x + 1.0)

    def sample(self, params, generator):
        return torch.poisson(params.squeeze(-1).exp(), generator=generator)

    def initial_bias(self, x):
        return (x.mean(0) + 0.5).log().unsqueeze(-1)


def counts(n=300):
    """Visits that depend on each other: the second column follows the first."""
    rng = np.random.default_rng(0)
    first = rng.poisson(3.0, n)
    return np.column_stack([first, rng.poisson(0.5 + first)]).astype(float)


@pytest.mark.parametrize("cls", DENSITIES)
def test_a_class_of_ones_own_is_a_conditional(cls):
    X = counts()
    density = small(cls, conditional=Poisson, max_iter=15).fit(X)
    alone = small(cls, conditional=Poisson, max_iter=1, learning_rate_init=1e-9).fit(X)
    assert density.score(X) > alone.score(X) + 0.1  # the dependence was learnt

    # Probabilities sum to one; what lies beyond 39 visits is beyond float32.
    rows = np.array([[a, b] for a in range(40) for b in range(40)], dtype=float)
    p = np.exp(density.score_samples(rows))
    assert p.sum() == pytest.approx(1.0, abs=1e-5)

    # Samples follow them.
    drawn = density.sample(4000, random_state=0)
    assert (drawn == np.floor(drawn)).all()
    first = np.bincount(drawn[:, 0].astype(int), minlength=40)[:40]
    expected = p.reshape(40, 40).sum(1)
    likely = expected * len(drawn) > 5
    statistic = ((first - expected * len(drawn)) ** 2 / (expected * len(drawn)))[likely]
    p_value = stats.chi2.sf(statistic.sum(), likely.sum() - 1)
    assert p_value > properties.P_VALUE


def test_what_it_does_not_say_is_named():
    X = counts()
    density = small(MADEDensity, conditional=Poisson, ordering="agnostic", max_iter=1)
    X[0, 0] = np.nan
    density.fit(X)
    assert np.isfinite(density.impute(X, "sample", random_state=0)).all()
    with pytest.raises(NotImplementedError, match="Poisson does not say what a mean"):
        density.impute(X)
    with pytest.raises(ValueError, match="Poisson knows no order of its values"):
        density.cdf(X, 0)

    class WithCdf(Poisson):
        def cdf(self, params, x):
            return torch.special.gammaincc(x + 1.0, params.squeeze(-1).exp())

    density = small(MADEDensity, conditional=WithCdf, n_orderings=1, max_iter=1)
    density.fit(counts())
    assert 0.0 < density.cdf(counts()[:1], 1)[0] < 1.0
    with pytest.raises(ValueError, match="WithCdf has cdf but no quantile; define it"):
        density.quantile(counts()[:1], 1, 0.5)


def test_values_that_it_is_not_for_are_refused():
    X = counts() - 9.0
    density = small(MADEDensity, conditional=Poisson)
    with pytest.raises(ValueError, match=r"Poisson\.initial_bias gives nan: the colum"):
        density.fit(X)
    assert not hasattr(density, "module_")


def test_it_may_be_chosen_for_one_column():
    frame = mixed_frame()
    frame["visits"] = np.random.default_rng(1).poisson(2.0, len(frame))
    density = small(MADEDensity, conditional={"visits": Poisson}).fit(frame)
    kinds = {c.name: c.conditional for c in density.columns_.columns}
    assert kinds["visits"] is Poisson
    assert sum(kind is Poisson for kind in kinds.values()) == 1
    assert density.base_measure_["visits"] == "that of Poisson"
    assert np.isfinite(cross_val_score(density, frame, cv=3)).all()
    drawn = density.sample(200, random_state=0)
    assert drawn["visits"].dtype == frame["visits"].dtype
    assert (drawn["visits"] >= 0).all()
    by_index = small(MADEDensity, conditional={5: Poisson}).fit(frame)
    assert by_index.score(frame) == density.score(frame)


# A new network ------------------------------------------------------------------------


class Chain(Network):
    """Markov chain: params_d = b_d + A_d u_{d-1}, where d-1 is visited before d."""

    def __init__(self, n_inputs, n_params, ordering, **kwargs):
        super().__init__(n_inputs, n_params, ordering, **kwargs)
        inputs = torch.tensor([d for d, w in enumerate(n_inputs) for _ in range(w)])
        outputs = torch.tensor([d for d, w in enumerate(n_params) for _ in range(w)])
        position = self.ordering.argsort(-1)
        before = position[..., outputs].unsqueeze(-1) - 1
        self.register_buffer("M", before == position[..., inputs].unsqueeze(-2))
        self.A = self._weights(sum(n_params), sum(n_inputs))
        self.b = self._weights(sum(n_params))
        self.inputs = [(inputs == d).nonzero().flatten() for d in range(len(n_inputs))]
        self.outputs = [
            (outputs == d).nonzero().flatten() for d in range(len(n_params))
        ]

    def reset_parameters(self, generator, bias):
        nn.init.zeros_(self.A)
        nn.init.zeros_(self.b)
        self.b.data += bias

    def forward(self, u, context=None, *, noise=()):
        return u @ (self.A * self.M).mT + self.b.unsqueeze(-2)  # (..., n, P)

    def start(self, n, context=None):
        return torch.zeros((n, sum(self.n_inputs)), **self._factory)

    def step(self, state, t):
        return self.forward(state)[:, self.outputs[self.ordering[t]]]

    def observe(self, state, t, u_t):
        state[:, self.inputs[self.ordering[t]]] = u_t
        return state


class ChainDensity(MADEDensity):
    """The same parameters with another network."""

    def _make_network(self, n_inputs, n_params, ordering, **kwargs):
        return Chain(n_inputs, n_params, ordering, **kwargs)


def test_a_network_of_ones_own_keeps_the_protocol():
    ordering = properties.make_orderings("random", 4, 2)
    network = Chain(
        (1, 3, 1, 2), (2, 3, 1, 2), ordering, hidden_layer_sizes=(), dtype=torch.float64
    )
    properties.randomise(network)
    u = torch.randn(5, 7, generator=properties.generator(1), dtype=torch.float64)
    properties.check_forward_equals_steps(network, u, atol=1e-10)
    properties.check_order(network, u)
    properties.check_members_stand_alone(network, u, atol=1e-10)


@pytest.mark.parametrize("n_orderings", [1, 3])
def test_its_probabilities_sum_to_one_and_samples_follow_them(n_orderings):
    X = binaries(300, 5)
    X[:, 3] = X[:, 2]  # a chain can learn this
    density = small(ChainDensity, max_iter=20, n_orderings=n_orderings).fit(X)
    rows = np.array(np.meshgrid(*[[0.0, 1.0]] * 5)).reshape(5, -1).T
    p = np.exp(density.score_samples(rows))
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    drawn = density.sample(5000, random_state=0)
    observed = [(drawn == row).all(1).sum() for row in rows]
    assert stats.chisquare(observed, p / p.sum() * 5000).pvalue > properties.P_VALUE


@pytest.mark.parametrize("table", [reals(200), mixed_frame(200)])
def test_it_fits_any_table(table):
    density = small(ChainDensity, max_iter=5).fit(table)
    assert np.isfinite(density.score_samples(table)).all()
    drawn = density.sample(10, random_state=0)
    assert drawn.shape == (10, table.shape[1])
    if isinstance(table, pd.DataFrame):
        assert list(drawn.dtypes) == list(table.dtypes)


def test_both_together():
    density = small(ChainDensity, conditional=Poisson, max_iter=15).fit(counts())
    rows = np.array([[a, b] for a in range(40) for b in range(40)], dtype=float)
    assert np.exp(density.score_samples(rows)).sum() == pytest.approx(1.0, abs=1e-5)


def test_what_is_no_conditional_is_refused():
    for cls in (NADEDensity, MADEDensity, RNADEDensity):
        with pytest.raises(ValueError, match=r"subclass of Conditional, got"):
            small(cls, conditional=dict).fit(counts())

    class Misspelt(Poisson):
        support = "reel"

    for wrong, said in ((Misspelt, "'reel'"), (Conditional, "None")):
        with pytest.raises(ValueError, match=f"support must be one of .* got {said}"):
            small(MADEDensity, conditional=wrong).fit(counts())
