"""The properties notice: each classic mistake, planted, fails the check named here.

Every check is run on the code as it is, where it must pass, and with the mistake.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from skdensity_ar import _training
from skdensity_ar._columns import Columns
from skdensity_ar._module import DensityModule
from skdensity_ar.conditionals import (
    Bernoulli,
    Categorical,
    GaussianMixture,
    Mixture,
)
from skdensity_ar.estimators import RNADEDensity
from skdensity_ar.networks import MADE, NADE, _masks
from tests import properties, reference, test_training

BITS = [(Bernoulli(), list(range(5)))]
CODES = [(Categorical(3), list(range(3)))]
REALS = [(GaussianMixture(3, torch.full((3,), 1e-3)), [0, 1, 2])]


# Checks, each on something built anew ------------------------------------------------


def inputs(network) -> torch.Tensor:
    size = (8, sum(network.n_inputs))
    return torch.randn(size, generator=properties.generator(), dtype=network.dtype)


def order(name: str) -> None:
    network = properties.make_network(name, [1] * 5, [2] * 5)
    properties.check_order(network, inputs(network))


def reach(name: str) -> None:
    network = properties.make_network(name, [1] * 5, [2] * 5)
    properties.check_reach(network, inputs(network))


def steps(name: str) -> None:
    network = properties.make_network(name, [1] * 5, [2] * 5)
    properties.check_forward_equals_steps(network, inputs(network), atol=1e-10)


def sums_to_one(name: str, blocks=BITS, n_members: int = 1) -> None:
    module = properties.make_module(name, blocks, n_members=n_members, scale=2.0)
    properties.check_table_sums_to_one(module, blocks)


def counts(name: str, blocks=BITS, n_members: int = 1) -> None:
    module = properties.make_module(name, blocks, n_members=n_members, scale=2.0)
    properties.check_samples_follow_table(module, blocks)


def twin(name: str, blocks=BITS, n_members: int = 1) -> None:
    module = properties.make_module(name, blocks, n_members=n_members)
    rows = properties.all_rows(blocks)
    properties.check_scores_equal_twin(module, rows, atol=1e-10)


def integral_transform() -> None:
    properties.check_samples_follow_density(properties.make_module("NADE", REALS))


def quadrature() -> None:
    params = torch.tensor([0.3, -0.2, 0.0, -1.0, 0.5, 2.0, -1.0, 0.4, 0.1]).double()
    properties.check_integrates_to_one(REALS[0][0].select(0), params)


def plane() -> None:
    rng = np.random.default_rng(0)
    X = np.array([10.0, -3.0]) + np.array([20.0, 0.5]) * rng.normal(size=(100, 2))
    density = RNADEDensity((5,), n_components=2, n_orderings=1, max_iter=1)
    density.set_params(random_state=0, device="cpu").fit(X)
    properties.check_plane_integrates_to_one(
        density.score_samples, (10.0, -3.0), (20.0, 0.5)
    )


# Mistakes ----------------------------------------------------------------------------


def output_mask_with_equality(patch) -> None:
    """`>=` for `>`: an output sees units of its own degree, and so its own column."""
    patch.setattr(
        _masks,
        "output_mask",
        lambda degrees, m: degrees.unsqueeze(-1) >= m.unsqueeze(-2),
    )


def hidden_mask_without_equality(patch) -> None:
    """`>` for `>=`: each layer loses one column, the density stays one."""
    patch.setattr(
        _masks, "hidden_mask", lambda m, before: m.unsqueeze(-1) > before.unsqueeze(-2)
    )


def hidden_mask_reversed(patch) -> None:
    patch.setattr(
        _masks, "hidden_mask", lambda m, before: m.unsqueeze(-1) <= before.unsqueeze(-2)
    )


def prefix_with_itself(patch) -> None:
    """h_d from a_{d+1}, as the supplement prints it: x_d predicts x_d."""

    def forward(self, u, context=None, *, noise=()):
        members = self.ordering.shape[:-1]
        if members:
            rows = [
                self.member(e)(u[e] if u.dim() > 2 else u) for e in range(members[0])
            ]
            return torch.stack(rows)
        a, V = self.c, self.W if self.tied else self.V
        inputs = reference.units_of(self.n_inputs)
        outputs = reference.units_of(self.n_params)
        params = self.b.expand(len(u), -1).clone()
        for t, d in enumerate(self.ordering.tolist()):
            a = a + u[:, inputs[d]] @ self.W[inputs[d]]
            params[:, outputs[d]] += self._hidden(a, t) @ V[outputs[d]].mT
        return params

    patch.setattr(NADE, "forward", forward)


def sigmoid_in_the_network(patch) -> None:
    """The classic silent one: Bernoulli takes its sigmoid again. It sums to one."""
    for network_class in (MADE, NADE):
        forward, step = network_class.forward, network_class.step
        patch.setattr(
            network_class,
            "forward",
            lambda *a, forward=forward, **k: forward(*a, **k).sigmoid(),
        )
        patch.setattr(
            network_class, "step", lambda *a, step=step, **k: step(*a, **k).sigmoid()
        )


def observe_nothing(patch) -> None:
    patch.setattr(NADE, "observe", lambda self, state, t, u_t: state)


def steps_without_direct_connections(patch) -> None:
    start = MADE.start

    def without(self, n, context=None):
        state = start(self, n, context)
        state.A = None
        return state

    patch.setattr(MADE, "start", without)


def lost_jacobian(patch) -> None:
    patch.setattr(Columns, "log_jacobian", property(lambda self: 0.0))


def jacobian_of_the_wrong_sign(patch) -> None:
    right = Columns.log_jacobian.fget
    patch.setattr(Columns, "log_jacobian", property(lambda self: -right(self)))


def averaged_log_densities(patch) -> None:
    """The mean of logarithms is no density: it sums to less than one."""
    patch.setattr(
        DensityModule,
        "log_prob",
        lambda self, x, context=None: (
            self.log_conditionals(self.network(self.encode(x), context), x)
            .sum(-1)
            .mean(0)
        ),
    )


def averaged_logits(patch) -> None:
    patch.setattr(
        DensityModule,
        "log_prob",
        lambda self, x, context=None: self.log_conditionals(
            self.network(self.encode(x), context).mean(0), x
        ).sum(-1),
    )


def first_member_only(patch) -> None:
    """A sample that never picks its member."""
    patch.setattr(
        torch,
        "randint",
        lambda high, size, **kwargs: torch.zeros(size, dtype=torch.long),
    )


def permuted_mixture_weights(patch) -> None:
    """Samples take the weights in another order than the density does."""
    split, sample = Mixture.split, Mixture.sample

    def permuted(self, params):
        z_alpha, mu, sigma = split(self, params)
        return z_alpha.flip(-1), mu, sigma

    def sample_permuted(self, params, generator):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Mixture, "split", permuted)
            return sample(self, params, generator)

    patch.setattr(Mixture, "sample", sample_permuted)


def lost_log_scale(patch) -> None:
    """f((x - μ) / σ) without the 1 / σ."""

    def log_prob(self, params, x):
        z_alpha, mu, sigma = self.split(params)
        z = (x.unsqueeze(-1) - mu) / sigma
        terms = z_alpha.log_softmax(-1) + self.kernel.log_prob(z)
        return terms.logsumexp(-1)

    patch.setattr(Mixture, "log_prob", log_prob)


def softplus_scale_in_the_sampler(patch) -> None:
    """Two meanings of the same parameter: exp in the density, softplus in samples."""
    split, sample = Mixture.split, Mixture.sample

    def other(self, params):
        z_alpha, mu, sigma = split(self, params)
        return z_alpha, mu, softplus(sigma.log())

    def sample_other(self, params, generator):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Mixture, "split", other)
            return sample(self, params, generator)

    patch.setattr(Mixture, "sample", sample_other)


def logit_of_zero(patch) -> None:
    """The logit read as that of x = 0."""
    patch.setattr(
        Bernoulli,
        "log_prob",
        lambda self, params, x: logsigmoid((1.0 - 2.0 * x) * params.squeeze(-1)),
    )


def mass_for_nothing(patch) -> None:
    """The unseen category's ε is not taken from the seen ones."""
    log_prob = Categorical.log_prob

    def heavier(self, params, x):
        log_p = log_prob(self, params, x)
        return torch.where(x == self.n_params, log_p, log_p + 1e-6)

    patch.setattr(Categorical, "log_prob", heavier)


def joint_clipping(patch) -> None:
    """One norm over all members: one that explodes stops the others."""

    def clip(params, max_norm):
        torch.nn.utils.clip_grad_norm_(params, max_norm)

    patch.setattr(_training, "_clip", clip)


def one_order_of_rows_for_all_members(patch) -> None:
    def shuffle(index, generator):
        order = torch.randperm(index.shape[1], generator=generator)
        return index[:, order]

    patch.setattr(_training, "_shuffle", shuffle)


def drawn_with_replacement(patch) -> None:
    def shuffle(index, generator):
        picks = torch.randint(index.shape[1], index.shape, generator=generator)
        return index.gather(1, picks)

    patch.setattr(_training, "_shuffle", shuffle)


ensemble = {"n_members": 3}

CAUGHT = [
    (output_mask_with_equality, partial(order, "MADE")),
    (output_mask_with_equality, partial(order, "belief network")),
    (output_mask_with_equality, partial(sums_to_one, "MADE")),
    (output_mask_with_equality, partial(sums_to_one, "MADE", CODES)),
    (output_mask_with_equality, partial(twin, "MADE")),
    (hidden_mask_without_equality, partial(reach, "MADE, not direct")),
    (hidden_mask_without_equality, partial(twin, "MADE")),
    (hidden_mask_reversed, partial(order, "MADE")),
    (hidden_mask_reversed, partial(sums_to_one, "MADE")),
    (prefix_with_itself, partial(order, "NADE")),
    (prefix_with_itself, partial(order, "RNADE, sigmoid")),
    (prefix_with_itself, partial(steps, "NADE")),
    (prefix_with_itself, partial(sums_to_one, "NADE")),
    (prefix_with_itself, partial(twin, "NADE")),
    (sigmoid_in_the_network, partial(twin, "NADE")),
    (sigmoid_in_the_network, partial(twin, "MADE", CODES)),
    (observe_nothing, partial(steps, "NADE")),
    (observe_nothing, partial(counts, "NADE")),
    (steps_without_direct_connections, partial(steps, "MADE")),
    (steps_without_direct_connections, partial(counts, "MADE")),
    (lost_jacobian, plane),
    (jacobian_of_the_wrong_sign, plane),
    (averaged_log_densities, partial(sums_to_one, "NADE", **ensemble)),
    (averaged_log_densities, partial(twin, "MADE", **ensemble)),
    (averaged_logits, partial(sums_to_one, "NADE", **ensemble)),
    (averaged_logits, partial(twin, "MADE", **ensemble)),
    (first_member_only, partial(counts, "NADE", **ensemble)),
    (permuted_mixture_weights, integral_transform),
    (softplus_scale_in_the_sampler, integral_transform),
    (lost_log_scale, quadrature),
    (logit_of_zero, partial(counts, "NADE")),
    (logit_of_zero, partial(twin, "NADE")),
    (mass_for_nothing, partial(sums_to_one, "NADE", CODES)),
    (joint_clipping, test_training.test_gradients_are_clipped_member_by_member),
    (
        drawn_with_replacement,
        partial(test_training.test_batches_of_any_size_cover_the_rows_once_an_epoch, 7),
    ),
    (
        one_order_of_rows_for_all_members,
        test_training.test_every_member_sees_each_of_its_rows_once_an_epoch,
    ),
]


def name_of(value) -> str:
    if isinstance(value, partial):
        given = [v for v in value.args if isinstance(v, str)]
        return "-".join([value.func.__name__, *given])
    return value.__name__


@pytest.mark.parametrize(("plant", "check"), CAUGHT, ids=name_of)
def test_a_planted_mistake_is_caught(plant, check, monkeypatch):
    check()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize(
    ("plant", "check"),
    [
        (sigmoid_in_the_network, partial(sums_to_one, "NADE")),
        (sigmoid_in_the_network, partial(counts, "NADE")),
        (hidden_mask_without_equality, partial(sums_to_one, "MADE")),
        (logit_of_zero, partial(sums_to_one, "NADE")),
    ],
    ids=name_of,
)
def test_why_one_check_is_not_enough(plant, check, monkeypatch):
    """These mistakes leave a true density, only not that of the paper."""
    plant(monkeypatch)
    check()
