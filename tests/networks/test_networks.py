"""Every network: order, steps, members, context, purity, gradients, papers."""

from functools import partial

import numpy as np
import pytest
import torch

from skdensity_ar.networks import (
    ACTIVATIONS,
    MADE,
    NADE,
    EoNADE,
    _made_steps,
    _nade_blocks,
)
from skdensity_ar.networks._nade_kernel import nade_outputs
from tests import properties, reference
from tests.properties import NETWORKS, ORDERINGS, make_network

# One number per column; one-hot columns; a mixed table with a constant column, whose
# widths differ between inputs and outputs where the network allows it; the same with
# inputs that have no direct connections.
WIDTHS = {
    "numbers": ([1] * 7, [1] * 7),
    "one-hot": ([3] * 4, [3] * 4),
    "mixed": ([1, 3, 0, 1, 2], [6, 3, 0, 1, 2]),
    "waves": ([5, 3, 0, 1, 5], [6, 3, 0, 1, 2]),
}
N_DIRECT = {"waves": [1, 3, 0, 1, 1]}


def widths(table: str, network: str) -> tuple[list[int], list[int]]:
    n_inputs, n_params = WIDTHS[table]
    return (n_inputs, n_inputs) if network == "tied NADE" else (n_inputs, n_params)


def network_of(table: str, name: str, *args, **kwargs):
    direct = {"n_direct": N_DIRECT.get(table)}
    return make_network(name, *widths(table, name), *args, **direct, **kwargs)


def inputs(network, n: int = 5, seed: int = 3) -> torch.Tensor:
    size = (n, sum(network.n_inputs))
    rng = properties.generator(seed)
    return torch.randn(size, generator=rng, dtype=network.dtype)


def contexts(network, n: int = 5) -> torch.Tensor:
    rng = properties.generator(4)
    return torch.randn((n, network.n_context), generator=rng, dtype=network.dtype)


AGNOSTIC = ["EoNADE", "EoNADE, not direct", "agnostic belief network"]
every_network = pytest.mark.parametrize("name", NETWORKS)
every_table = pytest.mark.parametrize("table", WIDTHS)
every_ordering = pytest.mark.parametrize("ordering", ORDERINGS)


@every_network
@every_table
@every_ordering
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)]
)
def test_forward_equals_the_unrolled_steps(name, table, ordering, dtype, atol):
    network = network_of(table, name, ordering, dtype=dtype)
    properties.check_forward_equals_steps(network, inputs(network), atol=atol)


@every_table
@pytest.mark.parametrize("sizes", [(1,), (3,), (20,), (3, 20), ()])
@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("as_input", [True, False])
def test_made_steps_across_blocks(table, sizes, block, direct, as_input, monkeypatch):
    monkeypatch.setattr(_made_steps, "BLOCK", block)
    n_inputs, n_params = WIDTHS[table]
    ordering = properties.make_orderings("random", len(n_inputs), 2)
    network = properties.randomise(
        MADE(
            n_inputs,
            n_params,
            ordering,
            n_direct=N_DIRECT.get(table),
            hidden_layer_sizes=sizes,
            direct=direct,
            n_context=2,
            context_as_input=as_input,
            dtype=torch.float64,
        )
    )
    properties.check_forward_equals_steps(
        network, inputs(network), contexts(network), atol=1e-10
    )


@every_network
@every_table
@every_ordering
def test_no_position_sees_itself_or_a_later_one(name, table, ordering):
    network = network_of(table, name, ordering)
    properties.check_order(network, inputs(network, 2))


@every_network
@every_table
def test_every_position_sees_all_earlier_ones(name, table):
    network = network_of(table, name)
    properties.check_reach(network, inputs(network, 8))


@pytest.mark.parametrize("name", AGNOSTIC)
@every_table
def test_told_what_is_visible_it_says_what_it_says_position_by_position(name, table):
    network = network_of(table, name, n_members=3)
    properties.check_visible_equals_before(network, inputs(network), atol=1e-12)


@every_network
@every_table
def test_stacked_members_stand_alone(name, table):
    network = network_of(table, name, n_members=3)
    properties.check_members_stand_alone(network, inputs(network), atol=1e-12)


@every_network
def test_one_column_has_constant_parameters(name):
    network = make_network(name, [2], [2])
    properties.check_order(network, inputs(network))
    properties.check_forward_equals_steps(network, inputs(network), atol=1e-10)
    params = network(inputs(network))
    torch.testing.assert_close(params, params[:, :1].expand_as(params))


@every_network
@pytest.mark.parametrize("as_input", [True, False])
def test_context_is_a_bias(name, as_input):
    options = {"n_context": 3, "context_as_input": as_input}
    network = make_network(name, *widths("mixed", name), **options)
    u, context = inputs(network), contexts(network)
    properties.check_context_is_bias(network, u, atol=1e-12)
    properties.check_forward_equals_steps(network, u, context, atol=1e-10)
    properties.check_order(network, u, context)


@every_network
@pytest.mark.parametrize("table", ["mixed", "one column"])
def test_given_a_context_forward_equals_the_slow_twin(name, table):
    sizes = ([2], [2]) if table == "one column" else widths(table, name)
    network = make_network(name, *sizes, n_context=3, context_as_input=True)
    u, context = inputs(network), contexts(network)
    out = network(u, context).detach().numpy()
    properties.check_forward_equals_steps(network, u, context, atol=1e-10)
    properties.check_order(network, u, context)
    for e, member in enumerate(properties.members(network)):
        rows = zip(u.numpy(), context.numpy(), strict=True)
        twin = [
            np.concatenate(properties.twin_params(member, row, of_row))
            for row, of_row in rows
        ]
        np.testing.assert_allclose(out[e], twin, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NETWORKS if "belief network" not in n])
def test_as_an_input_a_context_reaches_the_first_column_by_hidden_units(name):
    """From the start: units that nothing reaches would stay at 0, and weights too."""
    options = {"n_context": 3, "context_as_input": True}
    network = make_network(name, *widths("numbers", name), **options)
    bias = torch.zeros(sum(network.n_params), dtype=torch.float64)
    network.reset_parameters(properties.generator(1), bias)
    V = network.W if getattr(network, "tied", False) else network.V
    with torch.no_grad():
        V += torch.randn(V.shape, generator=properties.generator(2), dtype=V.dtype)
        params = network(inputs(network, 40), contexts(network, 40))
    assert not network.C.any()
    for e, d in enumerate(network.ordering[:, 0].tolist()):
        assert params[e, :, d].std() > 0.1


@every_network
def test_forward_is_pure(name):
    network = make_network(name, *widths("mixed", name), dropout=0.5)
    properties.check_pure(network, inputs(network))


@every_network
@every_table
def test_autograd_equals_finite_differences(name, table):
    network = network_of(table, name, n_context=2)
    u, context = inputs(network, 2), contexts(network, 2)
    properties.check_gradients(network, u, context)


@every_network
@every_table
@every_ordering
def test_forward_equals_the_slow_twin(name, table, ordering):
    network = network_of(table, name, ordering)
    u = inputs(network)
    out = network(u).detach().numpy()
    for e, member in enumerate(properties.members(network)):
        twin = [
            np.concatenate(properties.twin_params(member, row)) for row in u.numpy()
        ]
        np.testing.assert_allclose(out[e], twin, atol=1e-12)


@pytest.mark.parametrize("activation", ["logistic", "relu", "tanh"])
@pytest.mark.parametrize("network_class", [MADE, NADE, EoNADE])
def test_activations_are_those_of_the_twin(network_class, activation):
    ordering = properties.make_orderings("random", 4, 1)
    network = network_class(
        [1] * 4,
        [2] * 4,
        ordering,
        hidden_layer_sizes=(5, 5),
        activation=activation,
        dtype=torch.float64,
    )
    (member,) = properties.members(properties.randomise(network))
    u = inputs(network)
    twin = [np.concatenate(properties.twin_params(member, row)) for row in u.numpy()]
    np.testing.assert_allclose(member(u).detach().numpy(), twin, atol=1e-12)


# The papers, each with its own equations, on binary rows -----------------------------


def binary_rows(n: int, n_columns: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, n_columns)).astype(float)


def log_mass_by_network(network, x: np.ndarray) -> np.ndarray:
    """Σ_d log p(x_d | x_<d) of one member whose parameters are logits."""
    logits = network.member(0)(torch.from_numpy(x)).detach().numpy()
    return -np.logaddexp(0.0, (1.0 - 2.0 * x) * logits).sum(1)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("tied", [False, True])
def test_nade_is_larochelle_and_murray(ordering, tied):
    name = "tied NADE" if tied else "NADE"
    network = make_network(name, [1] * 6, [1] * 6, ordering, n_members=1)
    w = {name: p[0].detach().numpy() for name, p in network.named_parameters()}
    order, x = network.ordering[0].tolist(), binary_rows(9, 6)
    W, c, b = w["W"].T, w["c"], w["b"]
    twin = [
        reference.tied_nade_log_mass(row, order, W, c, b)
        if tied
        else reference.nade_log_mass(row, order, W, c, w["V"], b)
        for row in x
    ]
    np.testing.assert_allclose(log_mass_by_network(network, x), twin, atol=1e-12)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_made_without_hidden_layer_is_the_sigmoid_belief_network(ordering):
    network = make_network("belief network", [1] * 6, [1] * 6, ordering, n_members=1)
    alpha, c = network.A[0].detach().numpy(), network.c[0].detach().numpy()
    order, x = network.ordering[0].tolist(), binary_rows(9, 6)
    twin = [reference.fvsbn_log_mass(row, order, alpha, c) for row in x]
    np.testing.assert_allclose(log_mass_by_network(network, x), twin, atol=1e-12)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_made_without_hidden_layer_is_the_softmax_belief_network(ordering):
    D, K = 5, 3
    network = make_network("belief network", [K] * D, [K] * D, ordering, n_members=1)
    P, c = network.A[0].detach().numpy(), network.c[0].detach().numpy()
    x = np.random.default_rng(0).integers(0, K, (9, D))
    logits = network.member(0)(torch.eye(K, dtype=torch.float64)[x].flatten(1))
    log_p = logits.unflatten(1, (D, K)).log_softmax(-1).detach().numpy()
    fast = np.take_along_axis(log_p, x[:, :, None], 2).sum((1, 2))
    order = network.ordering[0].tolist()
    twin = [reference.softmax_belief_log_mass(row, order, P, c, K) for row in x]
    np.testing.assert_allclose(fast, twin, atol=1e-12)


# Initial weights and noise -----------------------------------------------------------


@every_network
@every_table
def test_initial_parameters_are_the_bias_alone(name, table):
    """V = 0 (and A = 0) at the start; a tied NADE starts near it, its V being Wᵀ."""
    network = network_of(table, name)
    bias = torch.arange(float(sum(network.n_params)), dtype=torch.float64)
    network.reset_parameters(properties.generator(1), bias)
    params = network(inputs(network))
    atol = 1.5 if name == "tied NADE" else 0.0
    torch.testing.assert_close(params, bias.expand_as(params), atol=atol, rtol=0.0)


@every_network
def test_initial_weights_depend_on_the_generator_alone(name):
    def initial(seed: int, default: torch.dtype = torch.float32):
        network = NETWORKS[name](
            [1] * 4, [1] * 4, properties.make_orderings("random", 4, 2)
        )
        torch.set_default_dtype(default)
        try:
            network.reset_parameters(properties.generator(seed), torch.zeros(4))
        finally:
            torch.set_default_dtype(torch.float32)
        return torch.cat([p.flatten() for p in network.parameters()])

    state = torch.random.get_rng_state()
    assert torch.equal(initial(0), initial(0))
    assert torch.equal(torch.random.get_rng_state(), state)
    for default in (torch.float64, torch.float16):
        assert torch.equal(initial(0), initial(0, default))
    if network_has_hidden_units(name):
        assert not torch.equal(initial(0), initial(1))


def network_has_hidden_units(name: str) -> bool:
    return "belief network" not in name


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in AGNOSTIC])
def test_dropout_keeps_the_mean_and_the_order(name):
    network = make_network(name, [1] * 5, [1] * 5, n_members=2, dropout=0.25)
    noise = network.draw_noise(4000, properties.generator())
    assert len(noise) == len(network.hidden_layer_sizes)
    for mask, size in zip(noise, network.hidden_layer_sizes, strict=True):
        assert mask.shape == (2, 4000, size)
        assert set(mask.unique().tolist()) == {0.0, 1.0 / 0.75}
        kept = (mask > 0).double().mean((1, 2))
        n = 4000 * size
        assert ((kept - 0.75).abs() < 6 * np.sqrt(0.75 * 0.25 / n)).all()

    u = inputs(network, 3)
    noise = network.draw_noise(3, properties.generator())
    for e, member in enumerate(properties.members(network)):
        given = tuple(mask[e] for mask in noise)
        torch.testing.assert_close(network(u, noise=noise)[e], member(u, noise=given))
        for t, d in enumerate(member.ordering.tolist()):
            changed = u.clone()
            changed[:, member.ordering[t:]] += 1.0
            same = member(u, noise=given)[:, d] == member(changed, noise=given)[:, d]
            assert same.all()


@pytest.mark.parametrize("name", ["MADE", "deep NADE", "EoNADE"])
def test_every_member_may_drop_a_share_of_its_own(name):
    shares = [0.75] if name == "EoNADE" else [0.0, 0.25, 0.5]
    network = make_network(name, [1] * 5, [1] * 5, n_members=3, dropout=shares)
    for mask in network.draw_noise(4000, properties.generator()):
        assert mask.shape[:2] == (len(shares), 4000)
        for share, member in zip(shares, mask, strict=True):
            assert set(member.unique().tolist()) <= {0.0, 1.0 / (1.0 - share)}
            error = np.sqrt(share * (1.0 - share) / member.numel())
            assert abs((member == 0.0).double().mean() - share) <= 6 * error


def test_a_share_of_nearly_all_units_keeps_finite_masks():
    network = make_network("MADE", [1] * 5, [1] * 5, dropout=0.9999999)
    for mask in network.draw_noise(50, properties.generator()):
        assert mask.isfinite().all()


@every_network
def test_sampling_leaves_the_network_as_it_was(name):
    network = make_network(name, [1] * 5, [1] * 5, n_members=1)
    before = {name: v.clone() for name, v in network.state_dict().items()}
    u = inputs(network)
    with torch.no_grad():
        first = properties.unrolled(network.member(0), u)
        assert torch.equal(properties.unrolled(network.member(0), u), first)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# NADE's backward pass -----------------------------------------------------------------


def nade_outputs_by_autograd(a, u, W, V, rho, mask, activation, order):
    """The slow twin of `nade_outputs`: its equations, a tensor for every column."""
    out = {}
    for t, d in enumerate(order):
        h = ACTIVATIONS[activation](a if rho is None else rho[t, :, None, None] * a)
        out[d] = V[d] @ (h if mask is None else h * mask)
        a = a + W[d].mT @ u[d]
    return torch.stack([out[d] for d in range(len(u))])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rescaled", ["by any", "by positive", None])
@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("widths_", [(1, 1), (1, 6), (3, 4)])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-4)]
)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("order", [range(9), [4, 5, 6, 7, 0, 8, 3, 1, 2]])
def test_nades_own_backward_pass_equals_autograd(
    activation, rescaled, dropped, widths_, dtype, atol, compiled, n, order, monkeypatch
):
    # What is compiled is checked before it is: that takes seconds for each of these.
    monkeypatch.setattr(_nade_blocks, "_compiled", lambda block: block)
    monkeypatch.setattr(_nade_blocks, "_COLUMNS", 4)  # the last block is not full
    (D, E, H), (n_in, n_out) = (9, 2, 7), widths_
    rng = properties.generator(0)

    def draw(*shape):
        return torch.randn(shape, generator=rng, dtype=dtype, requires_grad=True)

    inputs = [draw(E, H, n), draw(D, E, n_in, n), draw(D, E, n_in, H)]
    rho = draw(D, E) if rescaled else None
    if rescaled == "by positive":
        rho = rho.detach().abs().requires_grad_()
    inputs += [draw(D, E, n_out, H), rho]
    mask = (draw(E, H, n) > 0).to(dtype) * 2.0 if dropped else None
    weights = draw(D, E, n_out, n).detach()
    found = []
    for outputs in (partial(nade_outputs, compiled=compiled), nade_outputs_by_autograd):
        out = outputs(*inputs, mask, activation, order)
        wanted = [x for x in inputs if x is not None]
        found.append([out, *torch.autograd.grad((out * weights).sum(), wanted)])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=atol)


@pytest.mark.parametrize("far", [0.0, 30.0, 70.0, 200.0])
@pytest.mark.parametrize("weight", [1.0, 20.0])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-5)]
)
@pytest.mark.parametrize("order", [range(19), [*range(7, 19), *range(7)][::-1]])
def test_bits_change_odds_from_column_to_column(
    far, weight, dtype, atol, order, monkeypatch
):
    """Blocks of bits take an exponential per unit; where they cannot, per column."""
    used = []

    def watched(*args):
        used.append(can_follow(*args))
        return used[-1]

    can_follow = _nade_blocks._can_follow_odds
    monkeypatch.setattr(_nade_blocks, "_can_follow_odds", watched)
    monkeypatch.setattr(_nade_blocks, "_compiled", lambda block: block)
    rng = properties.generator(0)
    a, W, V = (
        torch.randn(shape, generator=rng, dtype=dtype)
        for shape in ((2, 8, 6), (19, 2, 1, 8), (19, 2, 1, 8))
    )
    u = (torch.rand((19, 2, 1, 6), generator=rng) < 0.5).to(dtype)
    wanted = [a + far * a.sign(), u, weight * W, V]
    found = []
    for outputs in (partial(nade_outputs, compiled=True), nade_outputs_by_autograd):
        given = [x.clone().requires_grad_() for x in wanted]
        out = outputs(*given, None, None, "logistic", order)
        found.append([out, *torch.autograd.grad(out.sin().sum(), given)])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=0, atol=atol * weight)
    assert used == [weight == 1.0]


def outputs_and_gradients(compiled):
    rng = properties.generator(0)
    shapes = [(1, 7, 6), (19, 1, 1, 6), (19, 1, 1, 7), (19, 1, 1, 7)]
    a, u, W, V = (torch.randn(s, generator=rng, requires_grad=True) for s in shapes)
    found = []
    for inputs in (u, (u > 0.0).to(u.dtype)):
        given = (a, inputs, W, V, None, None, "logistic")
        out = nade_outputs(*given, compiled=compiled)
        found += [out, *torch.autograd.grad(out.square().sum(), [a, W, V])]
    return found


@pytest.fixture
def nothing_compiled():
    _nade_blocks._compiled.cache_clear()
    yield
    _nade_blocks._compiled.cache_clear()


@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_what_torch_compiles_equals_what_it_runs(nothing_compiled, monkeypatch):
    """Also where there is no compiler: then it says so, and runs it."""
    monkeypatch.setattr(_nade_blocks, "_COLUMNS", 4)  # sixteen take a minute
    state = torch.get_rng_state()
    for one, other in zip(*map(outputs_and_gradients, [True, False]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_compiler_the_plain_way(nothing_compiled, monkeypatch):
    def no_compiler(*args):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda block, options: no_compiler)
    with pytest.warns(
        RuntimeWarning, match="torch.compile failed.*no C\\+\\+ compiler"
    ):
        found = outputs_and_gradients(True)
    for one, other in zip(found, outputs_and_gradients(False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_training_alone_is_compiled(monkeypatch):
    """A score does not depend on how the weights were found."""
    used = []
    monkeypatch.setattr(_nade_blocks, "forward", lambda *args: used.append(args))
    network = make_network("NADE", [1] * 5, [1] * 5, compiled=True)
    with torch.no_grad():
        network(inputs(network))
    assert not used
    with pytest.raises(TypeError):
        network(inputs(network))
    assert used
