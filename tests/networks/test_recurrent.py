"""Recurrent networks: contexts by step and in parallel, gradients, papers, noise."""

import numpy as np
import pytest
import torch

from skdensity_ar.networks import CELLS
from tests import properties, reference
from tests.properties import generator, make_recurrent

SIZES = [4, 4, 3, 1, 1]  # lengths 5, 3, 3, 2

every_cell = pytest.mark.parametrize("cell", CELLS)
SHAPES = {
    "one layer": {"layer_sizes": (3,)},
    "two layers": {"layer_sizes": (4, 3)},
}
every_shape = pytest.mark.parametrize("shape", SHAPES)


def inputs(recurrent, sizes=SIZES, n_inputs: int = 2) -> torch.Tensor:
    """Packed frames of every member, (members, N, n_inputs)."""
    shape = (*recurrent.members, sum(sizes), n_inputs)
    return torch.randn(shape, generator=generator(3), dtype=recurrent.dtype)


def tensors(state) -> list[torch.Tensor]:
    """All that is carried from step to step."""
    return [s for layer in state for s in layer]


@every_cell
@every_shape
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)]
)
def test_contexts_in_parallel_equal_those_step_by_step(cell, shape, dtype, atol):
    recurrent = make_recurrent(cell, 2, dtype=dtype, **SHAPES[shape])
    u = inputs(recurrent)
    properties.check_contexts_equal_steps(recurrent, u, SIZES, atol=atol)


@every_cell
@every_shape
def test_contexts_equal_the_slow_twin(cell, shape):
    recurrent = make_recurrent(cell, 2, **SHAPES[shape])
    u, (lane, _) = inputs(recurrent), properties.places(SIZES)
    given, _ = recurrent(u, SIZES, recurrent.start(4))
    for e, member in enumerate(properties.members(recurrent)):
        layers = properties.twin_layers(member)
        for i in range(4):
            own = u[e, lane == i].numpy()
            twin = reference.contexts(own, layers, reference.STEPS[cell])
            mine = given[e, lane == i].detach()
            np.testing.assert_allclose(mine, twin, atol=1e-12)


@every_cell
@every_shape
def test_the_first_context_is_the_learned_state(cell, shape):
    recurrent = make_recurrent(cell, 2, **SHAPES[shape])
    contexts, _ = recurrent(inputs(recurrent), SIZES, recurrent.start(4))
    h_0 = getattr(recurrent, f"h_0{len(recurrent.layer_sizes) - 1}")
    assert torch.equal(contexts[:, :4], h_0[:, None].expand(-1, 4, -1))
    assert contexts.shape == (2, sum(SIZES), recurrent.n_context)


@every_cell
def test_inputs_of_all_members_alike_may_be_given_once(cell):
    recurrent = make_recurrent(cell, 2)
    u = inputs(recurrent)[0]
    shared, _ = recurrent(u, SIZES, recurrent.start(4))
    own, _ = recurrent(u.expand(2, -1, -1), SIZES, recurrent.start(4))
    torch.testing.assert_close(shared, own, atol=1e-12, rtol=0.0)


@every_cell
@every_shape
def test_autograd_equals_finite_differences(cell, shape):
    """By the inputs and every parameter, of the contexts and the state after them."""
    recurrent = make_recurrent(cell, 2, **SHAPES[shape])
    sizes = [2, 2, 1]
    u = inputs(recurrent, sizes).requires_grad_()
    names, values = zip(*recurrent.named_parameters(), strict=True)

    class FromTheStart(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = recurrent

        def forward(self, u):
            contexts, state = self.recurrent(u, sizes, self.recurrent.start(2))
            return contexts, *tensors(state)

    def call(u, *weights):
        named = {f"recurrent.{n}": w for n, w in zip(names, weights, strict=True)}
        return torch.func.functional_call(FromTheStart(), named, (u,))

    weights = tuple(v.detach().clone().requires_grad_() for v in values)
    assert torch.autograd.gradcheck(call, (u, *weights))


# The cells of torch: other orders of the gates, a second bias, one member -------------

# Where torch has each gate of ours.
TORCH_CELLS = {
    "gru": (torch.nn.GRU, [0, 1, 2]),
    "lstm": (torch.nn.LSTM, [0, 1, 3, 2]),
}


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_gated_cells_are_those_of_torch(cell):
    R, T, lanes = 3, 6, 4
    recurrent = make_recurrent(cell, 2, n_members=1).member(0)
    torch_cell, gates = TORCH_CELLS[cell]
    theirs = torch_cell(2, R, dtype=torch.float64)

    def reordered(p):
        return p.detach().unflatten(0, (len(gates), R))[gates].flatten(0, 1)

    theirs.load_state_dict(
        {
            "weight_ih_l0": reordered(recurrent.W_in0),
            "weight_hh_l0": reordered(recurrent.W_rec0),
            "bias_ih_l0": reordered(recurrent.b_h0),
            "bias_hh_l0": torch.zeros(len(gates) * R),
        }
    )
    u = torch.randn((T, lanes, 2), generator=generator(), dtype=torch.float64)
    contexts, _ = recurrent(u.flatten(0, 1), [lanes] * T, recurrent.start(lanes))
    (start,) = recurrent.start(lanes)
    start = tuple(s[None].contiguous() for s in start)
    h, _ = theirs(u, start if cell == "lstm" else start[0])
    after_first = contexts.unflatten(0, (T, lanes))[1:]
    torch.testing.assert_close(after_first, h[:-1], atol=1e-12, rtol=0.0)


# Noise and initial weights ------------------------------------------------------------


@every_cell
def test_dropout_is_on_what_leaves_a_layer_never_from_step_to_step(cell):
    recurrent = make_recurrent(cell, 2, dropout=0.25)
    u = inputs(recurrent)
    (mask,) = noise = recurrent.draw_noise(len(u[0]), generator())
    assert set(mask.unique().tolist()) == {0.0, 1.0 / 0.75}
    start = recurrent.start(4)
    contexts, after = recurrent(u, SIZES, start)
    dropped, same = recurrent(u, SIZES, start, noise=noise)
    assert torch.equal(dropped, contexts * mask)
    assert all(map(torch.equal, tensors(same), tensors(after)))
    assert make_recurrent(cell, 2).draw_noise(5, generator()) == ()


@every_cell
def test_dropout_reaches_the_layer_above(cell):
    """Its states, not those of the layer below it."""
    recurrent = make_recurrent(cell, 2, layer_sizes=(4, 3), dropout=0.5)
    u, start = inputs(recurrent), recurrent.start(4)
    masks = recurrent.draw_noise(len(u[0]), generator())
    assert [m.shape[-1] for m in masks] == [4, 3]
    _, plain = recurrent(u, SIZES, start)
    _, dropped = recurrent(u, SIZES, start, noise=masks)
    assert torch.equal(dropped[0][0], plain[0][0])
    assert not torch.allclose(dropped[1][0], plain[1][0])


@every_cell
def test_initial_weights_depend_on_the_generator_alone(cell):
    def initial(seed):
        recurrent = make_recurrent(cell, 2, layer_sizes=(5, 3))
        state = torch.random.get_rng_state()
        recurrent.reset_parameters(generator(seed))
        assert torch.equal(torch.random.get_rng_state(), state)
        return torch.cat([p.detach().flatten() for p in recurrent.parameters()])

    assert torch.equal(initial(0), initial(0))
    assert not torch.equal(initial(0), initial(1))


@every_cell
def test_initial_recurrences_are_orthogonal_gate_by_gate(cell):
    recurrent = make_recurrent(cell, 2, layer_sizes=(5, 3))
    recurrent.reset_parameters(generator())
    for i, R in enumerate((5, 3)):
        gates = getattr(recurrent, f"W_rec{i}").detach().unflatten(1, (-1, R))
        eye = torch.eye(R, dtype=torch.float64).expand_as(gates)
        torch.testing.assert_close(gates @ gates.mT, eye, atol=1e-12, rtol=0.0)
        assert not torch.allclose(gates[0], gates[1])  # of the two members
        b_h = getattr(recurrent, f"b_h{i}").detach().unflatten(1, (-1, R))
        forget = 1 if cell == "lstm" else None
        for gate in range(b_h.shape[1]):
            assert (b_h[:, gate] == (1.0 if gate == forget else 0.0)).all()
        h_0, *c_0 = recurrent.start(1)[i]
        assert 0.0 < h_0.abs().min() and h_0.abs().max() < 0.5
        assert all((c == 0.0).all() for c in c_0)


@every_cell
def test_forward_is_pure(cell):
    recurrent = make_recurrent(cell, 2, layer_sizes=(4, 3), dropout=0.5)
    u = inputs(recurrent)
    given, start = u.clone(), recurrent.start(4)
    kept = [s.clone() for s in tensors(start)]
    before = {name: v.clone() for name, v in recurrent.state_dict().items()}
    random_state = torch.random.get_rng_state()
    first, _ = recurrent(u, SIZES, start)
    second, _ = recurrent(u, SIZES, start)
    assert torch.equal(first, second)
    assert torch.equal(u, given)
    assert all(map(torch.equal, tensors(start), kept))
    after = recurrent.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.random.get_rng_state(), random_state)
