"""The properties notice: each classic mistake, planted, fails the check named here.

Every check is run on the code as it is, where it must pass, and with the mistake.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from skdensity_ar import _agnostic, _innovations, _sequences, _training
from skdensity_ar._agnostic import AgnosticModule
from skdensity_ar._columns import Columns
from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import SequenceModule, Window
from skdensity_ar.conditionals import (
    Bernoulli,
    Categorical,
    GaussianMixture,
    Mixture,
)
from skdensity_ar.estimators import RNNRNADE, RNADEDensity
from skdensity_ar.estimators import _sequences as sequence_estimators
from skdensity_ar.networks import CELLS, MADE, NADE, EoNADE, Recurrent, _masks
from tests import properties, reference, test_sequences, test_training

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


def several_networks(blocks, n_members: int = 1) -> AgnosticModule:
    """They differ, and come nearer to each other."""
    module = properties.make_module(
        "EoNADE", blocks, n_members=n_members, n_networks=3, scale=2.0
    )
    module.contraction.fill_(0.4)
    return module


def networks_sum_to_one() -> None:
    properties.check_table_sums_to_one(several_networks(BITS, 2), BITS)


def networks_count() -> None:
    properties.check_samples_follow_table(several_networks(BITS, 2), BITS)


def networks_twin() -> None:
    rows = torch.randn((6, 3), generator=properties.generator(), dtype=torch.float64)
    module = several_networks(REALS, 2)
    properties.check_scores_equal_twin(module, rows, atol=1e-10)


def networks_cells() -> None:
    rows = torch.randn((6, 3), generator=properties.generator(), dtype=torch.float64)
    properties.check_cells_are_given_all_others(several_networks(REALS, 2), rows)


def networks_transform() -> None:
    properties.check_samples_follow_density(several_networks(REALS))


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


def sequence_module(cell="gru", name="NADE", blocks=properties.BITS, **kwargs):
    """Members that differ: what is averaged, and when, is seen."""
    return properties.make_sequence_module(cell, name, blocks, scale=2.0, **kwargs)


def frames_sum_to_one(cell: str) -> None:
    properties.check_sequences_sum_to_one(sequence_module(cell), 3)


def frame_order(cell: str) -> None:
    module = sequence_module(cell, blocks=properties.REALS)
    (x,) = properties.draw_sequences(module, [4])
    properties.check_order_of_frames(module, x)


def frame_reach(cell: str, n_lags: int = 0) -> None:
    module = sequence_module(cell, blocks=properties.REALS, n_lags=n_lags)
    sequences = properties.draw_sequences(module, [3, 2, 2, 4, 3, 1])
    properties.check_reach_of_frames(module, sequences)


def innovations_reach() -> None:
    frame_reach("gru", n_lags=2)


def innovations_twin() -> None:
    frame_twin("gru", blocks=properties.REALS, n_lags=2)


def frames_integrate() -> None:
    check = test_sequences.test_a_density_of_two_real_numbers_integrates_to_one
    with pytest.MonkeyPatch.context() as patch:
        check("gru", "NADE", 1, 2, 1, patch)


def frame_twin(cell: str, name: str = "NADE", **kwargs) -> None:
    module = sequence_module(cell, name, **kwargs)
    sequences = properties.draw_sequences(module, [4, 2])
    properties.check_frames_equal_twin(module, sequences, atol=1e-10)


def frame_counts(cell: str) -> None:
    properties.check_samples_follow_sequences(sequence_module(cell), 2)


def frame_steps(cell: str) -> None:
    recurrent = properties.make_recurrent(cell, 2)
    u = torch.randn((2, 9, 2), generator=properties.generator(3), dtype=recurrent.dtype)
    properties.check_contexts_equal_steps(recurrent, u, [3, 3, 2, 1], atol=1e-10)


def company(cell: str) -> None:
    module = sequence_module(cell)
    sequences = properties.draw_sequences(module, [3, 3, 5, 20, *[2] * 20])
    properties.check_scores_stand_alone(module, sequences, atol=1e-10)


def windows(cell: str) -> None:
    module = sequence_module(cell)
    sequences = properties.draw_sequences(module, [7] * 4)
    properties.check_windows_equal_scores(module, sequences, 3, 2)


def window_gradient(cell: str) -> None:
    module = sequence_module(cell, blocks=properties.REALS)
    (x,) = properties.draw_sequences(module, [7])
    properties.check_window_keeps_its_gradient(module, x)


def packing() -> None:
    properties.check_every_frame_counts_once([3, 7, 1, 4, 9], [1, 0, 0, 2, 5], 3, 2)


def bit_sequences() -> tuple[RNNRNADE, np.ndarray]:
    """A fitted density with random weights, and all sequences of two frames."""
    x = properties.all_sequences(2, 2).numpy()
    density = RNNRNADE((3,), (4,), n_orderings=2, max_iter=1, early_stopping=False)
    density.set_params(random_state=0, device="cpu", dtype="float64").fit(list(x))
    properties.randomise(density.module_.recurrent, 1, 2.0)
    properties.randomise(density.module_.network, 2, 2.0)
    return density, x


def scores_sum_to_one() -> None:
    density, x = bit_sequences()
    properties.check_sums_to_one(density.score_samples(x))


def scores_count() -> None:
    density, x = bit_sequences()
    drawn = np.stack(density.sample(20000, 2, random_state=0))
    counted = properties.count_rows(drawn.reshape(-1, 4), x.reshape(-1, 4))
    properties.check_frequencies(counted, np.exp(density.score_samples(x)))


def steps_sum_to_scores() -> None:
    density, x = bit_sequences()
    totals = [steps.sum() for steps in density.score_timesteps(x)]
    np.testing.assert_allclose(totals, density.score_samples(x), atol=1e-10)


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
        A, self.A = self.A, torch.nn.Parameter(torch.zeros_like(self.A))
        state = start(self, n, context)
        self.A = A
        return state

    patch.setattr(MADE, "start", without)


def lost_jacobian(patch) -> None:
    patch.setattr(Columns, "log_jacobians", lambda self, codes: np.zeros(codes.shape))


def jacobian_of_the_wrong_sign(patch) -> None:
    right = Columns.log_jacobians
    patch.setattr(Columns, "log_jacobians", lambda self, codes: -right(self, codes))


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


def averaged_logarithms_of_networks(patch) -> None:
    """In every conditional: it sums to less than one."""
    patch.setattr(_agnostic, "_average", lambda log_p: log_p.mean(0))


def a_network_for_every_ordering(patch) -> None:
    """The average over networks of whole rows: a true density, another one."""
    along = EoNADE.along

    def one(self, o):
        networks = along(self, o)
        i = o % networks.members[0]
        networks._parameters = {
            name: p if p is None else torch.nn.Parameter(p[[i] * len(p)])
            for name, p in networks._parameters.items()
        }
        return networks

    patch.setattr(EoNADE, "along", one)


def left_apart(patch, name: str) -> None:
    """One method goes by networks as they were trained, the others do not."""
    method = getattr(AgnosticModule, name)

    def apart(self, *args):
        kept, self.contraction = self.contraction, torch.zeros_like(self.contraction)
        try:
            return method(self, *args)
        finally:
            self.contraction = kept

    patch.setattr(AgnosticModule, name, apart)


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

    patch.setattr(_training, "shuffle", shuffle)


def drawn_with_replacement(patch) -> None:
    def shuffle(index, generator):
        picks = torch.randint(index.shape[1], index.shape, generator=generator)
        return index.gather(1, picks)

    patch.setattr(_training, "shuffle", shuffle)


# Mistakes with sequences -------------------------------------------------------------


def context_of_the_frame_itself(patch) -> None:
    """h_t for h_{t-1}: a frame is predicted from itself."""
    forward = Recurrent.forward

    def shifted(self, u, sizes, state, *, noise=()):
        contexts = []
        for u_t in u.split(list(sizes), -2):
            _, state = forward(self, u_t, [u_t.shape[-2]], state)
            contexts.append(self.context(state))
        return torch.cat(contexts, -2), state

    patch.setattr(Recurrent, "forward", shifted)


def lags_from_the_frame_itself(patch) -> None:
    """x_t, x_{t-1}, … for x_{t-1}, x_{t-2}, …"""
    lags = _innovations._lags

    def shifted(c, number, n_lags):
        return torch.cat([c, lags(c, number, n_lags)], -1)[:, : n_lags * c.shape[1]]

    patch.setattr(_innovations, "_lags", shifted)


def lags_across_sequences(patch) -> None:
    """The last frames of the sequence above are the lags of the first ones."""
    lags = _innovations._lags
    patch.setattr(_innovations, "_lags", lambda c, number, n: lags(c, number + n, n))


def lost_determinant(patch) -> None:
    right = _innovations.Innovations.transform

    def transform(self, x, lengths):
        z, log_det = right(self, x, lengths)
        return z, 0.0 * log_det

    patch.setattr(_innovations.Innovations, "transform", transform)


def lanes_mixed_up(patch) -> None:
    """The state of the lanes that end is handed to those that go on."""
    for cell, (n_gates, states, step) in CELLS.items():

        def reversed_lanes(a, state, W_rec, step=step):
            return step(a, tuple(s.flip(-2) for s in state), W_rec)

        patch.setitem(CELLS, cell, type(CELLS[cell])(n_gates, states, reversed_lanes))


def state_kept_between_calls(patch) -> None:
    """A network that remembers: the next sequences begin where the last ones ended."""
    forward, start, left = Recurrent.forward, Recurrent.start, []

    def remembering(self, u, sizes, state, *, noise=()):
        contexts, state = forward(self, u, sizes, state, noise=noise)
        left.append((state, sizes[-1]))
        return contexts, state

    def remembered(self, n):
        if not left or left[-1][1] != n:
            return start(self, n)
        return left[-1][0]

    patch.setattr(Recurrent, "forward", remembering)
    patch.setattr(Recurrent, "start", remembered)


def one_state_for_all_groups(patch) -> None:
    """A group of sequences goes on from where the one before it ended."""

    class Kept:
        state_ = None

        @property
        def state(self):
            return Kept.state_

        @state.setter
        def state(self, state):
            Kept.state_ = Kept.state_ if state is None else state

    patch.setattr(_sequences, "Carry", Kept)


def every_window_from_the_start(patch) -> None:
    class Forgetful:
        state = property(lambda self: None, lambda self, state: None)

    patch.setattr(_sequences, "Carry", Forgetful)


def gradient_through_all_windows(patch) -> None:
    patch.setattr(torch.Tensor, "detach", lambda self: self)


def start_of_zeros(patch) -> None:
    """h_0 is learned and not used."""
    start = Recurrent.start

    def zeros(self, n):
        state = start(self, n)
        return tuple(tuple(0.0 * s for s in layer) for layer in state)

    patch.setattr(Recurrent, "start", zeros)


def context_for_the_output_alone(patch) -> None:
    """Under context_to="both" too."""
    for network_class in (MADE, NADE):
        biases = network_class._biases

        def without(self, context, biases=biases):
            hidden, _ = biases(self, None)
            return hidden, biases(self, context)[1]

        patch.setattr(network_class, "_biases", without)


def forget_and_input_gates_swapped(patch) -> None:
    n_gates, states, step = CELLS["lstm"]

    def swapped(a, state, W_rec):
        i, f, o, g = a.chunk(4, -1)
        U_i, U_f, U_o, U_g = W_rec.chunk(4, -2)
        U = torch.cat([U_f, U_i, U_o, U_g], -2)
        return step(torch.cat([f, i, o, g], -1), state, U)

    patch.setitem(CELLS, "lstm", type(CELLS["lstm"])(n_gates, states, swapped))


def reset_gate_for_the_update_gate(patch) -> None:
    """(1 - z) h + z n for (1 - z) n + z h."""
    n_gates, states, step = CELLS["gru"]

    def swapped(a, state, W_rec):
        (h,), (after,) = state, step(a, state, W_rec)
        R = h.shape[-1]
        z = torch.sigmoid(a + h @ W_rec.mT)[..., R : 2 * R]
        n = (after - z * h) / (1.0 - z)
        return ((1.0 - z) * h + z * n,)

    patch.setitem(CELLS, "gru", type(CELLS["gru"])(n_gates, states, swapped))


def averaged_log_densities_of_sequences(patch) -> None:
    patch.setattr(sequence_estimators, "_log_mean_exp", lambda log_p: log_p.mean(0))


def averaged_frame_by_frame(patch) -> None:
    """Π_t of averages is a density, and not that of the samples."""
    right = sequence_estimators._log_mean_exp

    def score_samples(self, X):
        log_p, lengths = self._member_log_prob(X)
        return np.add.reduceat(right(log_p), np.cumsum(lengths) - lengths)

    patch.setattr(RNNRNADE, "score_samples", score_samples)


def a_member_for_every_frame(patch) -> None:
    def sample(self, lengths, generator):
        n, T, D = len(lengths), max(lengths), len(self.network.n_inputs)
        state = self.recurrent.start(n)
        x = torch.zeros((T, n, D), dtype=self.network.dtype)
        for t in range(T):
            context = self.recurrent.context(state)  # of every member
            member = torch.randint(self.n_members, (n,), generator=generator)
            for e in member.unique().tolist():
                lanes = member == e
                draw = self.frame.sampler(e)
                x[t, lanes] = draw(int(lanes.sum()), generator, context[e, lanes])
            _, state = self.recurrent(self.frame.encode(x[t]), [n], state)
        return [x[:length, lane] for lane, length in enumerate(lengths)]

    patch.setattr(SequenceModule, "sample", torch.no_grad()(sample))


def padding_counted(patch) -> None:
    take = Window.take

    def all_of_it(self):
        frames = take(self)
        frames.weight = torch.ones_like(frames.weight)
        frames.any_counts = True
        return frames

    patch.setattr(Window, "take", all_of_it)


def read_frames_counted(patch) -> None:
    """The beginnings that validation only reads count as well."""
    take = Window.take

    def without_skips(self):
        rows = self.rows
        self.rows = replace(rows, skips=0 * rows.skips)
        try:
            return take(self)
        finally:
            self.rows = rows

    patch.setattr(Window, "take", without_skips)


def last_window_dropped(patch) -> None:
    batches = _sequences.SequenceRows.batches
    patch.setattr(_sequences.SequenceRows, "batches", lambda *args: batches(*args)[:-1])


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
    (first_member_only, networks_count),
    (averaged_logarithms_of_networks, networks_sum_to_one),
    (averaged_logarithms_of_networks, networks_twin),
    (a_network_for_every_ordering, networks_twin),
    (partial(left_apart, name="_scored_by"), networks_twin),
    (partial(left_apart, name="_completed"), networks_transform),
    (partial(left_apart, name="cell_log_prob"), networks_cells),
    (partial(left_apart, name="cell_params"), networks_cells),
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
    *((context_of_the_frame_itself, partial(frame_order, cell)) for cell in CELLS),
    *((context_of_the_frame_itself, partial(frames_sum_to_one, c)) for c in CELLS),
    (context_of_the_frame_itself, partial(frame_twin, "gru")),
    (context_of_the_frame_itself, partial(frame_steps, "gru")),
    (lags_from_the_frame_itself, innovations_twin),
    (lags_from_the_frame_itself, frames_integrate),
    (lags_across_sequences, innovations_twin),
    (lags_across_sequences, innovations_reach),
    (lost_determinant, innovations_twin),
    (lost_determinant, frames_integrate),
    (lanes_mixed_up, partial(frame_steps, "lstm")),
    (lanes_mixed_up, partial(frame_reach, "lstm")),
    (lanes_mixed_up, partial(company, "lstm")),
    (state_kept_between_calls, partial(company, "gru")),
    (state_kept_between_calls, partial(frames_sum_to_one, "gru")),
    (one_state_for_all_groups, partial(windows, "gru")),
    (every_window_from_the_start, partial(windows, "gru")),
    (every_window_from_the_start, partial(window_gradient, "gru")),
    (gradient_through_all_windows, partial(window_gradient, "lstm")),
    *((start_of_zeros, partial(frame_twin, cell)) for cell in CELLS),
    (context_for_the_output_alone, partial(frame_twin, "rnn", "NADE")),
    (context_for_the_output_alone, partial(frame_twin, "rnn", "MADE")),
    (forget_and_input_gates_swapped, partial(frame_twin, "lstm")),
    (reset_gate_for_the_update_gate, partial(frame_twin, "gru")),
    (averaged_log_densities_of_sequences, scores_sum_to_one),
    (averaged_frame_by_frame, scores_count),
    (averaged_frame_by_frame, steps_sum_to_scores),
    (a_member_for_every_frame, partial(frame_counts, "gru")),
    (a_member_for_every_frame, scores_count),
    (first_member_only, partial(frame_counts, "gru")),
    (padding_counted, packing),
    (read_frames_counted, packing),
    (last_window_dropped, packing),
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
        (start_of_zeros, partial(frames_sum_to_one, "gru")),
        (start_of_zeros, partial(frame_counts, "gru")),
        (context_for_the_output_alone, partial(frame_counts, "gru")),
        (averaged_frame_by_frame, scores_sum_to_one),
    ],
    ids=name_of,
)
def test_why_one_check_is_not_enough(plant, check, monkeypatch):
    """These mistakes leave a true density, only not that of the paper."""
    plant(monkeypatch)
    check()
