"""Training: members by themselves, best weights kept, nothing left to chance."""

import math

import numpy as np
import pytest
import torch

from skdensity_ar import MADEDensity, _training
from skdensity_ar._module import DensityModule
from skdensity_ar._training import TensorRows, train
from skdensity_ar.conditionals import Bernoulli
from tests import properties
from tests.properties import generator, make_module, mixture_block

N_ROWS, D = 120, 4

OPTIONS = {
    "max_iter": 4,
    "batch_size": 32,
    "learning_rate": "cosine",
    "learning_rate_init": 0.01,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "weight_averaging": 0.0,
    "n_iter_no_change": 100,
    "tol": 1e-4,
}


class Recorder:
    """Notes every member's weights and validation score after each epoch."""

    def __init__(self, module, rows=None, valid_index=None, stop_after=math.inf):
        self.module, self.rows, self.valid_index = module, rows, valid_index
        self.stop_after, self.n_begun = stop_after, 0
        self.weights = [weights_of(module)]
        self.scores = [self._scores()]

    def _scores(self):
        if self.valid_index is None:
            return None
        with torch.no_grad():
            x = self.rows.x[self.valid_index]
            return self.module.validation_score(x).mean(-1)

    def begin_epoch(self):
        self.n_begun += 1

    def end_epoch(self, history):
        self.weights.append(weights_of(self.module))
        self.scores.append(self._scores())
        return history.n_iter >= self.stop_after


def weights_of(module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def real_module(name: str = "MADE", n_members: int = 3, **kwargs) -> DensityModule:
    block = mixture_block("gaussian_mixture", range(D), 2)
    module = make_module(name, [block], n_members=n_members, scale=0.5, **kwargs)
    return module


def real_rows(n: int = N_ROWS, seed: int = 0) -> TensorRows:
    x = torch.randn((n, D), generator=generator(seed), dtype=torch.float64)
    x[:, 1] += x[:, 0].square()
    return TensorRows(x)


def indices(n_members: int, n_valid: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of every member to train and to validate on."""
    rng = generator(4)
    order = torch.stack(
        [torch.randperm(N_ROWS, generator=rng) for _ in range(n_members)]
    )
    return order[:, n_valid:], order[:, :n_valid]


def run(module, rows, train_index, valid_index, *, monitor=None, seed=0, **options):
    return train(
        module,
        rows,
        train_index,
        valid_index,
        **{**OPTIONS, **options},
        generator=generator(seed),
        monitor=Recorder(module) if monitor is None else monitor,
    )


# Members side by side ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["MADE", "belief network", "RNADE, sigmoid"])
@pytest.mark.parametrize("validated", [True, False])
def test_members_trained_together_equal_members_trained_alone(
    name, validated, monkeypatch
):
    """The same order of rows and the same initial weights give the same weights."""
    monkeypatch.setattr(_training, "shuffle", lambda index, generator: index.roll(7, 1))
    module, rows = real_module(name), real_rows()
    train_index, valid_index = indices(3)
    alone = [properties.one_member(module, e) for e in range(3)]
    given = valid_index if validated else None
    options = {"max_grad_norm": 0.5, "learning_rate_init": 0.05}
    together = run(module, rows, train_index, given, **options)
    for e, one in enumerate(alone):
        own = valid_index[e : e + 1] if validated else None
        history = run(one, rows, train_index[e : e + 1], own, **options)
        assert history.best_iter == [together.best_iter[e]]
        for p, q in zip(module.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(p[e : e + 1], q, atol=1e-12, rtol=1e-10)


def test_a_member_that_breaks_leaves_the_others_alone(monkeypatch):
    """Rows of infinity in one member's share do not reach the weights of another."""
    monkeypatch.setattr(_training, "shuffle", lambda index, generator: index)
    rows = real_rows()
    train_index, valid_index = indices(2)
    broken = TensorRows(torch.cat([rows.x, torch.full((1, D), torch.inf).double()]))
    module, twin = real_module(n_members=2), real_module(n_members=2)
    spoilt = train_index.clone()
    spoilt[0, -1] = N_ROWS  # in the last batch of the first epoch
    options = {"max_iter": 1}
    run(module, broken, spoilt, valid_index, **options)
    run(twin, broken, train_index, valid_index, **options)
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        assert p.isfinite().all()
        assert torch.equal(p[1], q[1])


def test_gradients_are_clipped_member_by_member():
    rng, norms = generator(1), torch.tensor([0.1, 1.0, 50.0, 1e6]).double()
    shapes = [(4, 5, 3), (4, 5), (4, 1)]
    params = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    grads = [torch.randn(s, generator=rng, dtype=torch.float64) for s in shapes]
    flat = torch.cat([g.reshape(4, -1) for g in grads], 1)
    scale = norms / flat.norm(dim=1)
    for p, g in zip(params, grads, strict=True):
        p.grad = g * scale.view(-1, *[1] * (g.dim() - 1))
    unused = torch.zeros((4, 2), requires_grad=True)
    _training._clip([*params, unused], 2.0)
    clipped = torch.cat([p.grad.reshape(4, -1) for p in params], 1)
    expected = flat / flat.norm(dim=1, keepdim=True) * norms.clamp(max=2.0)[:, None]
    torch.testing.assert_close(clipped, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(clipped[:2], (flat * scale[:, None])[:2])  # short ones untouched


def test_every_member_sees_each_of_its_rows_once_an_epoch():
    """In an order of its own, another each time."""
    index = torch.arange(50, 90).expand(3, -1)
    rng = generator(2)
    first, second = _training.shuffle(index, rng), _training.shuffle(index, rng)
    for shuffled in (first, second):
        assert torch.equal(shuffled.sort(1).values, index)
    orders = torch.cat([index[:1], first, second])
    assert len(orders.unique(dim=0)) == len(orders)


# Best weights ------------------------------------------------------------------------


def trained(n_members: int, learning_rate_init: float, **options):
    """The history of a training that leaves each member with the weights it says."""
    module, rows = real_module(n_members=n_members), real_rows()
    train_index, valid_index = indices(n_members)
    monitor = Recorder(module, rows, valid_index)
    options |= {"learning_rate": "constant", "learning_rate_init": learning_rate_init}
    history = run(module, rows, train_index, valid_index, monitor=monitor, **options)
    scores = torch.stack(monitor.scores)  # (epochs + 1, members)
    assert history.best_iter == scores.argmax(0).tolist()
    means = scores[1:].mean(1).tolist()
    assert history.validation_scores == pytest.approx(means, abs=1e-12)
    for e, kept in enumerate(history.kept_iter):
        for p, recorded in zip(module.parameters(), monitor.weights[kept], strict=True):
            assert torch.equal(p[e], recorded[e])
    return history


@pytest.mark.parametrize("learning_rate_init", [0.01, 0.3])
def test_each_member_keeps_the_weights_of_its_best_epoch(learning_rate_init):
    history = trained(3, learning_rate_init, max_iter=8)
    assert history.kept_iter == history.best_iter


@pytest.mark.parametrize("past_best", [1.2, 2.0])
def test_members_of_an_average_train_past_their_best_epoch(past_best):
    history = trained(3, 0.3, past_best=past_best, max_iter=12)
    expected = [min(int(past_best * best), 12) for best in history.best_iter]
    assert history.kept_iter == expected != history.best_iter
    assert min(expected) < 12 or past_best == 2.0  # the last epoch does not end all


@pytest.mark.parametrize(
    "seed, learning_rate_init, best, kept", [(0, 0.2, 18, 19), (2, 0.3, 14, 14)]
)
def test_past_its_best_epoch_the_training_loss_must_not_rise(
    seed, learning_rate_init, best, kept
):
    history = trained(1, learning_rate_init, past_best=2.0, max_iter=20, seed=seed)
    loss = [math.inf, *history.loss_curve]
    fits = [e for e in range(best, 21) if loss[e] <= loss[best]]
    assert (history.best_iter, history.kept_iter) == ([best], [kept])
    assert kept == max(fits) < 20


def test_without_validation_rows_no_member_trains_past_its_best_epoch():
    module, rows = real_module(), real_rows()
    train_index, _ = indices(3)
    options = {"learning_rate": "constant", "learning_rate_init": 1.0, "max_iter": 12}
    history = run(module, rows, train_index, None, past_best=2.0, **options)
    assert history.kept_iter == history.best_iter
    assert min(history.best_iter) == 1


def test_training_that_only_harms_keeps_the_initial_weights():
    """Rows to train on say the opposite of those to validate on."""
    blocks = [(Bernoulli(), list(range(D)))]
    module = make_module("NADE", blocks, n_members=2)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    x = torch.cat([torch.zeros((90, D)), torch.ones((30, D))]).double()
    rows = torch.arange(120).expand(2, -1)
    history = run(module, TensorRows(x), rows[:, :90], rows[:, 90:])
    assert history.best_iter == history.kept_iter == [0, 0]
    assert all((p == 0.0).all() for p in module.parameters())


def test_without_validation_rows_the_training_loss_decides():
    module, rows = real_module(), real_rows()
    train_index, _ = indices(3)
    start = -module.member_log_prob(rows.x[train_index]).mean().item()
    history = run(module, rows, train_index, None, max_iter=5)
    assert history.validation_scores == []
    assert history.n_iter == 5
    assert history.loss_curve[-1] < history.loss_curve[0] < start + 1.0
    assert all(best > 0 for best in history.best_iter)
    end = -module.member_log_prob(rows.x[train_index]).mean().item()
    assert end < start


def test_a_loss_that_is_nan_leaves_the_best_weights_finite():
    module, rows = real_module(), real_rows()
    train_index, valid_index = indices(3)
    monitor = Recorder(module, rows, valid_index)

    class RowsThatBreak(TensorRows):
        def batches(self, *args):
            broken = TensorRows(self.x * torch.nan)
            return TensorRows.batches(broken if monitor.n_begun > 2 else self, *args)

    broken = RowsThatBreak(rows.x)
    history = run(module, broken, train_index, valid_index, monitor=monitor)
    assert history.stopped_by == "diverged"
    assert history.n_iter == 3
    assert not math.isfinite(history.loss_curve[-1])
    scores = torch.stack(monitor.scores[:3])
    assert history.best_iter == history.kept_iter == scores.argmax(0).tolist()
    for e, best in enumerate(history.best_iter):
        for p, recorded in zip(module.parameters(), monitor.weights[best], strict=True):
            assert p.isfinite().all()
            assert torch.equal(p[e], recorded[e])


def test_a_loss_that_is_nan_at_once_leaves_the_initial_weights():
    module, rows = real_module(), real_rows()
    before = weights_of(module)
    train_index, valid_index = indices(3)
    broken = TensorRows(rows.x * torch.nan)
    history = run(module, broken, train_index, valid_index)
    assert (history.stopped_by, history.n_iter) == ("diverged", 1)
    assert history.best_iter == history.kept_iter == [0, 0, 0]
    for p, q in zip(module.parameters(), before, strict=True):
        assert torch.equal(p, q)


# When to stop ------------------------------------------------------------------------


def test_training_stops_when_no_member_gains():
    module, rows = real_module(), real_rows()
    history = run(module, rows, *indices(3), tol=1e6, n_iter_no_change=3, max_iter=50)
    assert (history.stopped_by, history.n_iter) == ("no_change", 3)


def test_one_member_that_gains_keeps_all_going():
    """The count of epochs without a gain starts anew when any member gains by tol."""
    module, rows = real_module(), real_rows()
    train_index, valid_index = indices(3)
    monitor = Recorder(module, rows, valid_index)
    tol, patience = 0.02, 2
    history = run(
        module,
        rows,
        train_index,
        valid_index,
        monitor=monitor,
        tol=tol,
        n_iter_no_change=patience,
        max_iter=60,
    )
    target, waited = monitor.scores[0].clone(), 0
    for epoch, score in enumerate(monitor.scores[1:], start=1):
        gained = score > target + tol
        target = torch.where(gained, score, target)
        waited = 0 if gained.any() else waited + 1
        assert (waited >= patience) == (
            history.stopped_by == "no_change" and epoch == history.n_iter
        )


def test_a_monitor_stops_training():
    module, rows = real_module(), real_rows()
    monitor = Recorder(module, stop_after=2)
    history = run(module, rows, *indices(3), monitor=monitor)
    assert (history.stopped_by, history.n_iter) == ("callback", 2)
    assert monitor.n_begun == 2


# Reproducible, and it learns ---------------------------------------------------------


@pytest.mark.parametrize("name", ["MADE", "NADE"])
def test_training_depends_on_the_generator_alone(name):
    def trained(seed: int) -> list[torch.Tensor]:
        module = real_module(name, dropout=0.3)
        run(module, real_rows(), *indices(3), seed=seed)
        return weights_of(module)

    state = torch.random.get_rng_state()
    first, again, other = trained(0), trained(0), trained(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = list(zip(first, again, other, strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("batch_size", [1, 7, 90, 1000])
def test_batches_of_any_size_cover_the_rows_once_an_epoch(batch_size):
    module, rows, seen = real_module(), real_rows(), []

    class Noting(DensityModule):
        def loss(self, x, **kwargs):
            seen.append(x[..., 0])
            return super().loss(x, **kwargs)

    module.__class__ = Noting
    train_index, valid_index = indices(3)
    run(module, rows, train_index, valid_index, batch_size=batch_size, max_iter=1)
    assert all(x.shape[1] <= batch_size for x in seen)
    expected = rows.x[train_index, 0]
    assert torch.equal(torch.cat(seen, 1).sort(1).values, expected.sort(1).values)


def test_loss_curve_is_the_mean_loss_over_members_and_rows():
    """A learning rate that changes nothing leaves the loss of the initial weights."""
    module, rows = real_module(), real_rows()
    train_index, valid_index = indices(3)
    loss = module.loss(rows.x[train_index]).mean().item()
    history = run(
        module, rows, train_index, valid_index, learning_rate_init=1e-300, max_iter=1
    )
    assert history.loss_curve == [pytest.approx(loss, abs=1e-10)]


@pytest.mark.parametrize("name", properties.NETWORKS)
def test_training_finds_a_dependence(name):
    """A coin copied into the next column: the second costs nothing once it is seen."""
    coin = torch.arange(200).remainder(2).double()
    rows = TensorRows(coin[:, None].expand(-1, 2))
    module = make_module(name, [(Bernoulli(), [0, 1])], n_members=2, seed=1)
    index = torch.arange(200).expand(module.n_members, -1)
    run(
        module,
        rows,
        index[:, :160],
        index[:, 160:],
        max_iter=30,
        learning_rate_init=0.1,
        weight_decay=0.0,
    )
    nats = module.log_prob(rows.x).mean().item()
    assert -math.log(2.0) - 0.1 < nats < -math.log(2.0) + 1e-6


def test_weight_decay_pulls_weights_and_no_biases():
    """Where the loss is flat decay alone moves: it scales matrices by 1 - lr · λ."""
    blocks = [(Bernoulli(), list(range(D)))]
    module = make_module("MADE", blocks, n_members=1)
    before = dict(zip(dict(module.named_parameters()), weights_of(module), strict=True))

    class Flat(DensityModule):
        def loss(self, x, *, context=None, noise=()):
            zero = sum((0.0 * p).sum() for p in self.parameters())
            return zero + torch.zeros(x.shape[:-1], dtype=x.dtype)

    module.__class__ = Flat
    rows = TensorRows(torch.zeros((N_ROWS, D), dtype=torch.float64))
    index = torch.arange(N_ROWS)[None]
    monitor = Recorder(module)
    lr, decay = 0.01, 0.5
    run(
        module,
        rows,
        index,
        None,
        monitor=monitor,
        max_iter=1,
        batch_size=N_ROWS,
        learning_rate="constant",
        learning_rate_init=lr,
        weight_decay=decay,
    )
    for (name, old), new in zip(before.items(), monitor.weights[1], strict=True):
        factor = 1.0 if old.dim() <= 2 else 1.0 - lr * decay
        torch.testing.assert_close(new, old * factor, msg=name)


# Averaged weights ---------------------------------------------------------------------


def test_what_is_scored_and_kept_is_the_running_average_of_the_weights():
    rows, (train_index, valid_index) = real_rows(), indices(3)
    one_step = {"batch_size": N_ROWS, "max_iter": 20, "learning_rate_init": 0.05}
    walks = []
    for decay in (0.0, 0.8):
        module = real_module()
        walk = Recorder(module)
        given = {**one_step, "weight_averaging": decay}
        run(module, rows, train_index, valid_index, monitor=walk, **given)
        walks.append(walk.weights)
    steps, averages = walks
    average = steps[0]
    for k, weights in enumerate(steps[1:], start=1):
        share = max(0.2, 1.0 / (k + 1))  # at first the plain mean of all so far
        average = [a + share * (w - a) for a, w in zip(average, weights, strict=True)]
        for expected, found in zip(average, averages[k], strict=True):
            torch.testing.assert_close(found, expected)


def test_further_training_without_validation_rows_is_kept():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    X[:, 1] += np.sin(3.0 * X[:, 0])
    X[:, 2] += X[:, 1] ** 2
    density = MADEDensity(50, max_iter=10, early_stopping=False, warm_start=True)
    density.set_params(random_state=0, n_orderings=1, dropout=0.2)
    scores = [density.fit(X).score(X) for _ in range(3)]
    assert density.history_.best_iter[0] > 0
    assert scores[0] < scores[1] < scores[2]


def test_further_training_validates_on_the_same_rows(monkeypatch):
    seen = []
    split = MADEDensity._split

    def recorded(self, *args):
        seen.append(split(self, *args))
        return seen[-1]

    monkeypatch.setattr(MADEDensity, "_split", recorded)
    X = np.random.default_rng(0).normal(size=(100, 2))
    density = MADEDensity(4, max_iter=1, warm_start=True, n_orderings=2)
    for state in (0, None):
        seen.clear()
        density.set_params(random_state=state, warm_start=False).fit(X)
        density.set_params(warm_start=True).fit(X).fit(X)
        for further in seen[1:]:
            for first, again in zip(seen[0], further, strict=True):
                assert torch.equal(first, again)


def test_training_where_gradients_are_off():
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = MADEDensity(4, max_iter=2, random_state=0)
    expected = density.fit(X).score(X)
    with torch.no_grad():
        assert density.fit(X).score(X) == expected
        assert not torch.is_grad_enabled()
