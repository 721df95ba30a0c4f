"""Sequences: masses of one, order of time, windows, packing, samples, Algorithm 2."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from skdensity_ar import _sequences
from skdensity_ar._sequences import Carry
from skdensity_ar.conditionals import Bernoulli, Categorical, GaussianMixture
from skdensity_ar.estimators import RNNRNADE
from skdensity_ar.networks import CELLS
from tests import properties, reference
from tests.properties import (
    REALS,
    draw_sequences,
    frame_scores,
    generator,
    make_sequence_module,
    mixture_block,
)

# Networks within a frame; the belief network has no hidden layer to give a context to.
INNER = {
    "NADE": {"hidden_layer_sizes": (4,)},
    "MADE": {"hidden_layer_sizes": (5,)},
    "RNADE, sigmoid": {"hidden_layer_sizes": (4,)},
    "belief network": {},
}
SHAPES = {
    "one layer": {"layer_sizes": (3,)},
    "two layers": {"layer_sizes": (4, 3)},
    "two lags": {"layer_sizes": (3,), "n_lags": 2},
}

every_cell = pytest.mark.parametrize("cell", CELLS)
every_context = pytest.mark.parametrize("context_to", ["output", "both"])
nade_and_made = pytest.mark.parametrize("inner", ["NADE", "MADE"])
every_inner = pytest.mark.parametrize("inner", INNER)
every_shape = pytest.mark.parametrize("shape", SHAPES)

LENGTHS = [3, 1, 7, 4, 7, 2]


# Scores equal the papers --------------------------------------------------------------


@every_cell
@every_context
@every_inner
@every_shape
def test_scores_equal_the_slow_twins(cell, context_to, inner, shape):
    options = {"context_to": context_to, **INNER[inner], **SHAPES[shape]}
    for blocks in (properties.BITS, REALS):
        module = make_sequence_module(cell, inner, blocks, **options)
        sequences = draw_sequences(module, [4, 1, 5])
        properties.check_frames_equal_twin(module, sequences, atol=1e-10)


@every_cell
def test_scores_of_mixed_frames_equal_the_slow_twins(cell):
    blocks = [
        mixture_block("laplace_mixture", [3]),
        *properties.discrete_blocks("both")[1:2],
        (Categorical(3), [1]),
    ]
    module = make_sequence_module(cell, "RNADE, ReLU", blocks, n_lags=1)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (6, 5)).astype(float)
    x[:, 1], x[:, 3] = rng.integers(0, 4, 6), 3.0 * rng.normal(size=6)
    properties.check_frames_equal_twin(module, [torch.from_numpy(x)], atol=1e-10)


# Probabilities sum to one -------------------------------------------------------------


def bits(n_columns: int):
    return [(Bernoulli(), list(range(n_columns)))]


@every_cell
@every_context
@nade_and_made
def test_probabilities_of_all_sequences_sum_to_one(
    cell, context_to, inner, monkeypatch
):
    monkeypatch.setattr(_sequences, "_LANES", 2**12)  # all at once
    for T in range(1, 13):
        monkeypatch.setattr(_sequences, "_STEPS", T)
        module = make_sequence_module(
            cell,
            inner,
            bits(12 // T),
            context_to=context_to,
            scale=2.0,
            **INNER[inner],
        )
        properties.check_sequences_sum_to_one(module, T)


@every_cell
@pytest.mark.parametrize(("T", "D"), [(2, 4), (8, 1)])
def test_probabilities_sum_to_one_a_few_lanes_at_a_time(cell, T, D):
    options = {"layer_sizes": (4, 3), "scale": 2.0}
    module = make_sequence_module(cell, "NADE", bits(D), **options)
    properties.check_sequences_sum_to_one(module, T)


@every_cell
@nade_and_made
@pytest.mark.parametrize("n_lags", [0, 1])
@pytest.mark.parametrize(("T", "D"), [(2, 1), (1, 2)])
def test_a_density_of_two_real_numbers_integrates_to_one(
    cell, inner, n_lags, T, D, monkeypatch
):
    floors = torch.full((D,), 0.2)
    blocks = [mixture_block("gaussian_mixture", range(D), 2, scale_floor=floors)]
    module = make_sequence_module(cell, inner, blocks, n_lags=n_lags, scale=0.5)
    monkeypatch.setattr(_sequences, "_LANES", 2**12)
    monkeypatch.setattr(_sequences, "_STEPS", T)

    def score(rows):
        sequences = torch.from_numpy(rows).reshape(-1, T, D)
        return properties.sequence_log_prob(module, sequences).numpy()

    properties.check_plane_integrates_to_one(score, (0.0, 0.0), (1.0, 1.0))


# The order of time --------------------------------------------------------------------


@every_cell
@every_context
@nade_and_made
@every_shape
def test_no_frame_sees_itself_or_a_later_one(cell, context_to, inner, shape):
    blocks = [mixture_block("gaussian_mixture", range(3), 1)]
    options = {"context_to": context_to, **INNER[inner], **SHAPES[shape]}
    module = make_sequence_module(cell, inner, blocks, **options)
    (x,) = draw_sequences(module, [4])
    if module.innovations is None:
        properties.check_order_of_frames(module, x)
    sequences = draw_sequences(module, [3, 2, 2, 4, 3, 1])
    properties.check_reach_of_frames(module, sequences)


# One value, many ways -----------------------------------------------------------------


@every_cell
@every_shape
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)]
)
def test_a_sequence_scores_the_same_in_any_company(cell, shape, dtype, atol):
    """More lanes than run at once, and sequences longer than a run of steps.

    Up to rounding: some processors round a product's rows by where they stand.
    """
    module = make_sequence_module(
        cell, "RNADE, sigmoid", REALS, dtype=dtype, **SHAPES[shape]
    )
    lengths = [5, 40, 17, 1, 33, *range(1, 15)]
    sequences = draw_sequences(module, lengths)
    properties.check_scores_stand_alone(module, sequences, atol=atol)


@pytest.mark.parametrize("inner", ["nade", "made"])
def test_an_estimators_scores_are_the_same_in_any_container(inner):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(T, 2)).cumsum(0) for T in [*LENGTHS, 20, *LENGTHS]]
    density = RNNRNADE(
        (4,), (4,), inner=inner, n_orderings=2, max_iter=2, device="cpu", random_state=0
    ).fit(X)
    scores = density.score_samples(X)
    padded = np.full((len(X), 20, 2), np.nan)
    for i, x in enumerate(X):
        padded[i, : len(x)] = x
    longer = np.concatenate([padded, np.full((len(X), 5, 2), np.nan)], 1)
    for other in (padded, longer):
        np.testing.assert_allclose(density.score_samples(other), scores, atol=1e-6)
    alone = [density.score_samples([x]).item() for x in X]
    np.testing.assert_allclose(alone, scores, atol=1e-6)
    backwards = density.score_samples(X[::-1])[::-1]
    np.testing.assert_allclose(backwards, scores, atol=1e-6)
    steps = density.score_timesteps(padded)
    assert [len(s) for s in steps] == [len(x) for x in X]
    np.testing.assert_allclose([s.sum() for s in steps], scores, atol=1e-6)


# Windows ------------------------------------------------------------------------------


@every_cell
@every_shape
@pytest.mark.parametrize(("window", "size"), [(3, 2), (3, 6), (1, 4), (1000, 3)])
def test_windows_make_up_whole_sequences(cell, shape, window, size):
    module = make_sequence_module(cell, "RNADE, sigmoid", REALS, **SHAPES[shape])
    sequences = draw_sequences(module, LENGTHS)
    properties.check_windows_equal_scores(module, sequences, window, size)


def gradients(module, sequences, window: int) -> dict[str, torch.Tensor]:
    """Of the loss of all examples, window after window."""
    rows = properties.rows_of(module, sequences, window)
    index = properties.every_example(rows, module.n_members)
    module.zero_grad()
    for batch in rows.batches(index, 2):
        module.loss(batch.take()).sum().backward()
    return {name: p.grad.clone() for name, p in module.named_parameters()}


def untruncated_gradients(module, sequences) -> dict[str, torch.Tensor]:
    """Of the same, every sequence alone and whole, without windows or packing."""
    module.zero_grad()
    for x in sequences:
        start = module.recurrent.start(1)
        u = module.frame.encode(x)
        contexts, _ = module.recurrent(u, [1] * len(x), start)
        own = x.expand(module.n_members, -1, -1)
        module.frame.loss(own, context=contexts).sum().backward()
    return {name: p.grad.clone() for name, p in module.named_parameters()}


@every_cell
def test_windows_cut_the_gradient_through_time_and_nothing_else(cell):
    module = make_sequence_module(cell, "RNADE, sigmoid", REALS, layer_sizes=(4, 3))
    sequences = draw_sequences(module, LENGTHS)
    full = untruncated_gradients(module, sequences)
    for window in (7, 1000):
        for name, gradient in gradients(module, sequences, window).items():
            torch.testing.assert_close(gradient, full[name], atol=1e-10, rtol=1e-10)
    for name, gradient in gradients(module, sequences, 3).items():
        cut = name.startswith("recurrent.")
        assert torch.allclose(gradient, full[name], atol=1e-10) != cut, name


@every_cell
def test_the_gradient_of_a_window_stays_in_it(cell):
    module = make_sequence_module(cell, "NADE", REALS)
    (x,) = draw_sequences(module, [7])
    properties.check_window_keeps_its_gradient(module, x)


# Packing ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [1, 3, 5, 100])
@pytest.mark.parametrize("size", [1, 2, 5, 50])
@pytest.mark.parametrize("n_examples", [None, 4])
def test_every_frame_counts_once_an_epoch(seed, window, size, n_examples):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, 9).tolist()
    for skips in ([0] * 9, (rng.random(9) * lengths).astype(int).tolist(), lengths):
        properties.check_every_frame_counts_once(
            lengths, skips, window, size, n_examples=n_examples, seed=seed
        )


def test_all_windows_share_one_denominator():
    """Σ over windows of Σ loss / share = windows × mean loss of the counted frames."""
    module = make_sequence_module("rnn", "NADE", REALS)
    sequences = draw_sequences(module, LENGTHS)
    skips = [1, 0, 2, 4, 0, 0]
    rows = properties.rows_of(module, sequences, 3, skips)
    # Members with different examples, and so with different numbers of frames.
    index = torch.tensor([[0, 1, 2, 4], [5, 3, 1, 2]])
    windows = rows.batches(index, 2, generator())
    total = sum(module.loss(w.take()).sum(-1) / w.share for w in windows)
    scores = frame_scores(module, sequences)
    for e in range(2):
        counted = torch.cat([scores[i][e, skips[i] :] for i in index[e].tolist()])
        mean = -counted.mean()
        torch.testing.assert_close(total[e], len(windows) * mean)


def test_losses_are_zero_where_nothing_counts():
    module = make_sequence_module("lstm", "NADE", REALS)
    rows = properties.rows_of(
        module, draw_sequences(module, LENGTHS), 3, [2, 0, 5, 0, 0, 2]
    )
    index = properties.every_example(rows, 2)
    for window in rows.batches(index, 3):
        frames = window.take()
        first, second = (replace(frames, carry=Carry()) for _ in range(2))
        loss, log_p = module.loss(first), module.validation_score(second)
        torch.testing.assert_close(-loss.double(), log_p)
        assert torch.equal(loss != 0.0, frames.weight != 0.0)
        torch.testing.assert_close(first.carry.state, second.carry.state)


# Samples ------------------------------------------------------------------------------


@every_cell
@nade_and_made
def test_samples_follow_the_density(cell, inner):
    module = make_sequence_module(cell, inner, scale=2.0)
    properties.check_samples_follow_sequences(module, 2)


@every_cell
@nade_and_made
@pytest.mark.parametrize("n_lags", [0, 1])
def test_real_samples_follow_the_density(cell, inner, n_lags):
    """F(x_t | x_<t) is uniform, the members weighed by how well they predicted x_<t."""
    n, blocks = 10000, [mixture_block("gaussian_mixture", [0], 2)]
    module = make_sequence_module(cell, inner, blocks, n_lags=n_lags)
    conditional, frame = module.frame.conditionals[0], module.frame
    frames = properties.whole(module, module.sample([2] * n, generator(1)))
    with torch.no_grad():
        u, context = frame.encode(frames.z), module._contexts(frames)
        params = frame.network(u, context)
        log_p = frame.log_conditionals(params, frames.z)[..., 0]  # (E, 2 n)
        log_p = log_p - frames.log_det
        # Of x_t too: z_t rises with it.
        cdf = conditional.cdf(params.unsqueeze(-2), frames.z)[..., 0]
    first, second = cdf.split(n, 1)
    weight = log_p[:, :n].softmax(0)
    transformed = torch.stack([first.mean(0), (weight * second).sum(0)], 1)
    properties.check_uniform(transformed)


@every_cell
@nade_and_made
@every_shape
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)]
)
def test_the_sampler_draws_from_the_parameters_of_the_parallel_pass(
    cell, inner, shape, dtype, atol, monkeypatch
):
    options = {"dtype": dtype, **SHAPES[shape]}
    module = make_sequence_module(cell, inner, REALS, n_members=1, **options)
    network, asked = module.network, []
    step = type(network).step

    def noted(self, state, t):
        asked.append(step(self, state, t))
        return asked[-1]

    monkeypatch.setattr(type(network), "step", noted)
    lengths = [5, 4, 4, 2]
    drawn = module.sample(lengths, generator())
    assert [len(x) for x in drawn] == lengths
    frames = properties.whole(module, drawn)
    with torch.no_grad():
        params = network(module.frame.encode(frames.z), module._contexts(frames))[0]
    units = reference.units_of(network.n_params)
    for params_t in params.split(frames.sizes):
        for d in network.ordering[0].tolist():
            torch.testing.assert_close(
                asked.pop(0), params_t[:, units[d]], atol=atol, rtol=atol
            )
    assert not asked


@every_cell
def test_samples_have_the_lengths_asked_for(cell):
    module = make_sequence_module(cell, "NADE", n_members=3)
    lengths = [3, 1, 4, 1, 5, 9, 2, 6]
    drawn = module.sample(lengths, generator(2))
    assert [tuple(x.shape) for x in drawn] == [(T, 2) for T in lengths]
    again, other = (
        module.sample(lengths, generator(2)),
        module.sample(lengths, generator(3)),
    )
    assert all(map(torch.equal, drawn, again))
    assert not all(map(torch.equal, drawn, other))
    (one,) = module.sample([7], generator())
    assert one.shape == (7, 2)


# The gradient of RNN-RNADE, by hand ---------------------------------------------------

D, K, H, R = 3, 2, 4, 6  # D K = R: products with a transpose forgotten can be read


def rnade_arrays(network, values: dict[str, np.ndarray], e: int) -> dict:
    """Weights or gradients of member e in the supplement's shapes and order."""
    order = network.ordering[e].numpy()

    def by_part(p):  # (Σ P, …) -> (α, μ, σ) of (D, K, …), in the order of the visit
        return p[e].reshape(D, 3, K, *p.shape[2:])[order].swapaxes(0, 1)

    names = ("alpha", "mu", "sigma")
    out = {
        "W": values["frame.network.W"][e].T[:, order],
        "c": values["frame.network.c"][e],
        "rho": values["frame.network.rho"][e],
        "W_in": values["recurrent.W_in0"][e][:, order],
        "W_rec": values["recurrent.W_rec0"][e],
        "b_h": values["recurrent.b_h0"][e],
        "h_0": values["recurrent.h_00"][e],
    }
    parts = zip(
        names,
        by_part(values["frame.network.V"]).swapaxes(-1, -2),
        by_part(values["frame.network.b"]),
        by_part(values["frame.network.C"]),
        strict=True,
    )
    for part, V, b, C in parts:
        out |= {f"V_{part}": V, f"b_{part}": b, f"W_{part}": C.reshape(D * K, R)}
    return out


def differences(by_algorithm, ordering="random", seed=0) -> dict[str, float]:
    """Of log p and its gradients, an algorithm's from autograd's: the largest."""
    conditional = GaussianMixture(K, torch.zeros(D, dtype=torch.float64), 0.0)
    module = make_sequence_module(
        "rnn",
        "RNADE, sigmoid",
        [(conditional, list(range(D)))],
        ordering,
        hidden_layer_sizes=(H,),
        layer_sizes=(R,),
        context_to="output",
        seed=seed,
    )
    sequences = draw_sequences(module, [5, 3, 1], seed)
    frames = properties.whole(module, sequences)
    loss = module.loss(frames)
    (-loss.sum()).backward()
    values = {name: p.detach().numpy() for name, p in module.named_parameters()}
    grads = {name: p.grad.numpy() for name, p in module.named_parameters()}
    largest: dict[str, float] = {}
    for e in range(2):
        w = rnade_arrays(module.network, values, e)
        V, b, W_context = (
            tuple(w[f"{letter}_{part}"] for part in ("alpha", "mu", "sigma"))
            for letter in "VbW"
        )
        order, by_hand, log_p = module.network.ordering[e].numpy(), {}, 0.0
        for x in sequences:
            args = (x.numpy()[:, order], w["W"], w["c"], w["rho"], V, b, W_context)
            recurrent = (w["W_in"], w["W_rec"], w["b_h"], w["h_0"])
            log_p_x, gradient = by_algorithm(*args, *recurrent)
            log_p += log_p_x
            by_hand = {k: by_hand.get(k, 0.0) + g for k, g in gradient.items()}
        by_hand["log p"] = log_p
        auto = rnade_arrays(module.network, grads, e)
        auto["log p"] = -loss[e].sum().item()
        assert by_hand.keys() == auto.keys()
        for name, g in by_hand.items():
            assert np.abs(auto[name]).max() > 1e-3
            far = np.abs(g - auto[name]).max()
            largest[name] = max(far, largest.get(name, 0.0))
    return largest


@pytest.mark.parametrize("ordering", properties.ORDERINGS)
@pytest.mark.parametrize("seed", range(3))
def test_autograd_equals_the_corrected_second_algorithm(ordering, seed):
    far = differences(reference.rnn_rnade_gradients, ordering, seed)
    assert max(far.values()) < 1e-8, far


PARTS = ("alpha", "mu", "sigma")
BIASES, OF_STATE = {f"b_{p}" for p in PARTS}, {f"W_{p}" for p in PARTS}
OUTPUTS = {f"V_{p}" for p in PARTS}
INSIDE = {"W", "c", "rho"}
THROUGH_TIME = {"W_in", "W_rec", "b_h", "h_0"}
SUM = "grad[name] = grad.get(name, 0.0) + of_frame"

# Each "wrong" or "missing" of the errata that can be put back, by its number: the lines
# of the twin, what is printed, and the gradients that are wrong then.
PRINTED = {
    "1": (
        [
            ("        a = a - x[d] * W[:, d]  # erratum 1\n", ""),
            ("# erratum 11\n", "\n        a = a - x[d] * W[:, d]\n"),
        ],
        OUTPUTS | BIASES | OF_STATE | INSIDE | THROUGH_TIME,
    ),
    "3": (
        [("-0.5 * (mu - x[d])", "0.5 * (mu - x[d])")],
        OUTPUTS | BIASES | OF_STATE | INSIDE | THROUGH_TIME,
    ),
    "4": (
        [
            ("weighted = alpha * np.exp(phi)", "weighted = alpha * phi"),
            ("log_p += math.log(weighted.sum())", ""),  # of a negative number
        ],
        OUTPUTS | BIASES | OF_STATE | INSIDE | THROUGH_TIME,
    ),
    "7": (
        [("(x[d] - mu) ** 2 / sigma**2 - 1.0", "(x[d] - mu) / sigma**2 - 1.0")],
        {"V_sigma", "b_sigma", "W_sigma"} | INSIDE | THROUGH_TIME,
    ),
    "8": (
        [
            ("V_alpha[d] @ dz_alpha", "V_alpha[d] @ z_alpha"),
            ("V_mu[d] @ dz_mu", "V_mu[d] @ z_mu"),
            ("V_sigma[d] @ dz_sigma", "V_sigma[d] @ z_sigma"),
        ],
        INSIDE,
    ),
    "11": ([("da + rho[d] * dpsi", "da + dpsi")], {"W", "c"}),
    "12": (
        [
            ('        grad["W"][:, d] = da * x[d]  # erratum 12', "        #"),
            ("# erratum 11\n", '\n        grad["W"][:, d] = da * x[d]\n'),
        ],
        {"W"},
    ),
    "16": (
        [
            ("da = np.zeros(H)  # erratum 2", "da = left.pop() if left else 0.0"),
            ('grad["c"] = da\n', 'grad["c"] = da\n    left.append(da)\n'),
            ("    T, parts = len(x)", "    left.clear()\n    T, parts = len(x)"),
        ],
        {"W", "c"},
    ),
    "17, V": ([(SUM, f"{SUM} if name[0] != 'V' else of_frame")], OUTPUTS),
    "17, W": ([(SUM, f"{SUM} if name != 'W' else of_frame")], {"W"}),
    "17, c": ([(SUM, f"{SUM} if name != 'c' else of_frame")], {"c"}),
    "17, rho": ([(SUM, f"{SUM} if name != 'rho' else of_frame")], {"rho"}),
    "18": ([(SUM, f"{SUM} if name[0] != 'b' else of_frame")], BIASES),
    # b_{T+1} read as the last one that there is, b_T.
    "19": (
        [
            (
                "        dpsi = dh * h[t]",
                "        if t == T:\n"
                "            for part, W_p in zip(parts, W_context, strict=True):\n"
                '                dh = dh + W_p.T @ frame[f"b_{part}"].ravel()\n'
                "        dpsi = dh * h[t]",
            )
        ],
        THROUGH_TIME,
    ),
    "20": ([("W_rec.T @ dpsi", "W_rec @ dpsi")], THROUGH_TIME),
    "21": ([("W_p.T @ db_p", "W_p @ db_p")], THROUGH_TIME),
    "22": ([("W_rec.T @ dpsi", "W_rec.T @ dh * h[t] * (1.0 - h[t])")], THROUGH_TIME),
    "23": ([('grad["h_0"] = dh', 'grad["h_0"] = 0.0 * dh')], {"h_0"}),
}


def as_printed(changes):
    """The twin of Algorithm 2 with some of its lines as the supplement prints them."""
    source = inspect.getsource(reference.rnade_gradients)
    source += inspect.getsource(reference.rnn_rnade_gradients)
    for right, printed in changes:
        assert source.count(right) == 1, right
        source = source.replace(right, printed)
    namespace = {**vars(reference), "left": []}
    exec(source, namespace)
    return namespace["rnn_rnade_gradients"]


@pytest.mark.parametrize("erratum", PRINTED)
def test_each_erratum_of_the_algorithms_put_back_is_wrong(erratum):
    changes, wrong = PRINTED[erratum]
    far = differences(as_printed(changes))
    del far["log p"]
    assert {name for name, d in far.items() if not d < 1e-8} == wrong
    assert all(not far[name] < 1e-3 for name in wrong)


# Few long sequences -------------------------------------------------------------------


def test_pieces_of_few_sequences_cover_the_heads_and_the_rest_validates():
    lengths, heads = np.array([95, 7, 31, 12]), np.array([85, 6, 31])
    x = torch.arange(lengths.sum(), dtype=torch.float64)[:, None]
    table = _sequences.Table(x, x[None], torch.zeros(1, len(x)))
    rows, n_pieces = _sequences.SequenceRows.of_few(
        table, lengths, heads, np.ones(len(lengths)), window=3
    )
    begins = np.cumsum(lengths) - lengths
    counted = [
        set(range(b + skip, b + n))
        for b, n, skip in zip(rows.begins, rows.lengths, rows.skips, strict=True)
    ]
    pieces, beyond = counted[:n_pieces], counted[n_pieces:]
    assert max(map(len, pieces)) <= 30 and min(map(len, pieces)) >= 6
    assert sum(map(len, pieces)) == heads.sum()
    trained = set().union(*pieces)
    assert trained == {b + t for b, h in zip(begins, heads) for t in range(h)}  # noqa: B905
    assert set().union(*beyond) == set(range(lengths.sum())) - trained
    assert sum(map(len, beyond)) == lengths.sum() - heads.sum()
    # What validates is read from up to ten windows before on; not before the beginning.
    assert list(rows.begins[n_pieces:] - begins[[0, 1, 3]]) == [55, 0, 0]
    assert list(rows.skips[n_pieces:]) == [30, 6, 0]
