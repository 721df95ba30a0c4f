"""Mass on single values, and on the rare labels of a group."""

import math

import pytest
import torch

from skdensity_ar.conditionals import (
    BESIDE_ATOMS,
    FARTHEST,
    UNSEEN_MASS,
    Categorical,
    GaussianMixture,
    WithAtoms,
    code_of_atom,
)
from tests import properties
from tests.properties import generator

K, J = 3, 2
PLACES = (-0.4, 0.9)


def draw(*shape, seed=0, scale=1.5):
    return scale * torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def with_atoms(n_frequencies=0):
    mixture = GaussianMixture(K, torch.full((1,), 1e-3, dtype=torch.float64))
    return WithAtoms(mixture.with_frequencies(n_frequencies), PLACES)


@pytest.mark.parametrize("seed", range(3))
def test_atoms_and_the_integral_make_one(seed):
    conditional, params = with_atoms(), draw(3 * K + J + 1, seed=seed)
    logits, of_others = conditional.split(params[None])
    points = properties.break_points(conditional.others, of_others[0])
    rest = properties.integral(properties.density_of(conditional, params), points)
    codes = torch.tensor([[code_of_atom(float(k))] for k in range(J)])
    masses = conditional.log_prob(params.expand(J, 1, -1), codes.double()).exp()
    assert rest + masses.sum().item() == pytest.approx(1.0, abs=1e-6)
    shares = logits.softmax(-1)[0]
    torch.testing.assert_close(masses[:, 0], shares[1:])


def test_codes_of_many_atoms_are_exact_in_float32_and_within_reach():
    k = torch.arange(2**20, dtype=torch.float64)
    codes = code_of_atom(k)
    assert torch.equal(codes.float().double(), codes)
    assert len(codes.unique()) == len(k)
    assert BESIDE_ATOMS < codes.min()
    assert codes.max() < FARTHEST  # residuals hold all columns within it


def test_draws_have_the_shares_of_their_parts():
    conditional, params = with_atoms(), draw(1, 3 * K + J + 1)
    drawn = conditional.sample(params.expand(20000, 1, -1), generator(2))
    counts = [(drawn == code_of_atom(float(k))).sum().item() for k in range(J)]
    shares = conditional.split(params)[0].softmax(-1)[0]
    properties.check_frequencies([20000 - sum(counts), *counts], shares)
    rest = drawn[drawn <= BESIDE_ATOMS]
    of_others = conditional.split(params)[1]
    cdf = conditional.others.cdf(of_others.expand(len(rest), 1, -1), rest[:, None])
    properties.check_uniform(cdf)


@pytest.mark.parametrize("n_frequencies", [0, 2])
def test_a_network_sees_which_atom_it_is(n_frequencies):
    conditional = with_atoms(n_frequencies)
    x = torch.tensor([[0.75], [code_of_atom(0.0)], [code_of_atom(1.0)]]).double()
    u = conditional.encode(x)[:, 0]
    assert u.shape == (3, conditional.n_inputs)
    assert conditional.n_direct == 1 + J
    assert u[0, :3].tolist() == [0.75, 0.0, 0.0]
    assert u[1].nonzero().flatten().tolist() == [1]
    assert u[2].nonzero().flatten().tolist() == [2]


def test_gradients():
    x = torch.tensor([[0.75], [code_of_atom(0.0)], [code_of_atom(1.0)]]).double()
    params = draw(3, 1, 3 * K + J + 1).requires_grad_()
    conditional = with_atoms()
    assert torch.autograd.gradcheck(lambda p: conditional.log_prob(p, x), (params,))


def test_training_starts_at_the_frequencies_and_the_other_values():
    values = draw(60, 1, scale=1.0)
    codes = torch.full((40, 1), code_of_atom(1.0), dtype=torch.float64)
    x = torch.cat([values, codes])
    conditional = with_atoms().adapted(x)
    bias = conditional.initial_bias(x)
    shares = conditional.split(bias)[0].softmax(-1)[0].tolist()
    assert shares == pytest.approx([0.6, 0.0, 0.4], abs=0.01)
    alone = with_atoms().others.adapted(values)
    assert torch.equal(bias[:, J + 1 :], alone.initial_bias(values))
    members = torch.stack([x, x.where(x > BESIDE_ATOMS, 2.0 * x)])
    adapted = with_atoms().adapted(members)
    assert adapted.log_prob(draw(2, 100, 1, adapted.n_params), members).shape[0] == 2
    only = codes.clone()
    assert with_atoms().adapted(only).initial_bias(only).isfinite().all()


def test_the_likeliest_part_stands_for_a_value():
    conditional, params = with_atoms(), draw(2, 5, 1, 3 * K + J + 1)
    params[..., : J + 1] = torch.tensor([0.0, 0.0, 3.0])
    assert (conditional.center(params, "mean") == code_of_atom(1.0)).all()
    params[..., 2] = -3.0
    params[..., 0] = 1.0
    for kind in ("mean", "median", "mode"):
        expected = conditional.others.center(conditional.split(params)[1], kind)
        assert torch.equal(conditional.center(params, kind), expected)


# Rare labels --------------------------------------------------------------------------

SHARES = torch.tensor([[0.5, 0.2], [0.3, 0.2], [0.2, 0.6]], dtype=torch.float64)


def test_masses_of_rare_labels_share_their_groups():
    conditional = Categorical(3, SHARES)
    params = draw(50, 2, 3)
    # Two labels of their own, three in the group, and what was never seen.
    properties.check_masses_sum_to_one(conditional, params, range(6), atol=1e-13)
    group = params.log_softmax(-1)[..., 2]
    for r in range(3):
        log_p = conditional.log_prob(params, torch.full((50, 2), 2.0 + r).double())
        expected = group + SHARES[r].log() + math.log1p(-UNSEEN_MASS)
        torch.testing.assert_close(log_p, expected)


def test_draws_of_rare_labels():
    for d in range(2):
        conditional = Categorical(3, SHARES).select(d)
        params, outcomes = draw(3), [0.0, 1.0, 2.0, 3.0, 4.0]
        properties.check_samples_follow_masses(conditional, params, outcomes)


def test_a_column_alone_and_its_inputs():
    x = torch.randint(6, (9, 2), generator=generator()).double()
    properties.check_select(Categorical(3, SHARES), draw(9, 2, 3), x)
    codes = torch.arange(6.0).double()[:, None].expand(-1, 2)
    u = Categorical(3, SHARES).encode(codes)[:, 0].tolist()
    one_hot = torch.eye(3).tolist()
    assert u == [*one_hot, one_hot[2], one_hot[2], [0.0, 0.0, 0.0]]


def test_a_rare_label_stands_for_a_value_only_if_it_is_the_likeliest():
    conditional = Categorical(3, SHARES)
    for group, expected in ((0.62, [1.0, 4.0]), (0.9, [2.0, 4.0]), (0.2, [1.0, 1.0])):
        p = torch.tensor([0.1 * (1 - group), 0.9 * (1 - group), group])
        params = p.log().expand(1, 4, 2, -1)
        assert conditional.center(params, "mode").tolist() == [expected] * 4


@pytest.mark.parametrize("places", [PLACES, (-math.inf, 0.2), (-math.inf, math.inf)])
def test_shares_below_are_the_atoms_and_the_integral(places):
    mixture = GaussianMixture(K, torch.full((1,), 1e-3, dtype=torch.float64))
    conditional, params = WithAtoms(mixture, places), draw(1, 3 * K + J + 1)
    logits, of_others = conditional.split(params)
    pi = logits.softmax(-1)[0].tolist()
    x = torch.linspace(-3.0, 3.0, 31, dtype=torch.float64)
    found = conditional.cdf(params.expand(31, 1, -1), x[:, None])[:, 0]
    others = mixture.cdf(of_others.expand(31, 1, -1), x[:, None])[:, 0]
    expected = pi[0] * others
    for mass, place in zip(pi[1:], places, strict=True):
        expected = expected + mass * (place <= x)
    torch.testing.assert_close(found, expected)
    for k, place in enumerate(places):
        code = torch.tensor([[code_of_atom(float(k))]]).double()
        at = conditional.cdf(params, code).item()
        below = mixture.cdf(of_others, torch.tensor([[place]]).double()).item()
        assert at == pytest.approx(pi[0] * below + sum(pi[1 : k + 2]))


@pytest.mark.parametrize("places", [PLACES, (-math.inf, 0.2), (-math.inf, math.inf)])
def test_the_quantile_is_the_first_with_so_much_below(places):
    mixture = GaussianMixture(K, torch.full((1,), 1e-3, dtype=torch.float64))
    conditional, params = WithAtoms(mixture, places), draw(3, 9, 1, 3 * K + J + 1)
    weights = draw(3, 9, 1, seed=1).softmax(0)
    shares = (weights[..., None] * conditional.split(params)[0].softmax(-1)).sum(0)
    hits = 0
    for q in torch.linspace(0.02, 0.98, 25).tolist():
        x = conditional.quantile(params, q, weights)
        up_to = (weights * conditional.cdf(params, x.expand(3, 9, 1))).sum(0)
        is_atom = x > BESIDE_ATOMS
        k = ((x - code_of_atom(0.0)) / (code_of_atom(1.0) - code_of_atom(0.0))).long()
        mass = shares[..., 1:].gather(-1, k.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        assert (up_to >= q - 1e-9).all()
        assert ((up_to - q)[~is_atom] < 1e-6).all()
        assert ((up_to - mass)[is_atom] < q).all()
        hits += int(is_atom.sum())
    assert hits > 20
