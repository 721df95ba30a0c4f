"""The suites of `speed.py` that train on tables: made and fit."""

import copy
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import rivals
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from speed_networks import gaussians, make_module
from speed_rows import Options, Row, figure, speed_up
from timing import seconds, summary
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from twins import (
    MaskedLinearMADE,
    relative_difference,
    train_as_in_tutorials,
)

from skdensity_ar import MADEDensity
from skdensity_ar._device import threads_for
from skdensity_ar._training import History, TensorRows, train
from skdensity_ar.networks import MADE

HIDDEN = (128, 128)
GAUSSIAN = {"n_orderings": 1, "n_components": 1, "n_frequencies": 0, "dropout": 0.0}

# Rows that `train` validates on where only its steps are of interest.
_FEW_ROWS = 32

# Of `train` in a call: what it does once is then little.
_EPOCHS = 4


def real_rows(n: int, n_columns: int, seed: int = 0) -> np.ndarray:
    """Correlated columns, bent and with a spread that depends on the one before."""
    noise = np.random.default_rng(seed).standard_normal((n, n_columns))
    X = noise.copy()
    for d in range(1, n_columns):
        bent = np.sin(2 * X[:, d - 1]) + 0.3 * X[:, d // 2]
        X[:, d] = bent + 0.5 * np.exp(0.5 * np.tanh(X[:, d - 1])) * noise[:, d]
    return X


# Training steps ----------------------------------------------------------------------


class _Silent:
    """Follows a training and says nothing."""

    def begin_epoch(self) -> None:
        pass

    def end_epoch(self, history: History) -> bool:
        return False


def fitted_once(estimator: MADEDensity, X: np.ndarray, batch_size: int) -> MADEDensity:
    """`estimator` after an epoch: its module is what the rows and parameters make."""
    estimator.set_params(max_iter=1, batch_size=batch_size, random_state=0)
    return estimator.fit(X)


def train_epochs(estimator: MADEDensity, x: Tensor, n_epochs: int) -> None:
    """`_training.train` on a fitted module, with threads as `fit` has them.

    `x` are rows as `codes` makes them.
    """
    module = estimator.module_
    device = module.network.ordering.device
    index = torch.arange(len(x), device=device).expand(module.n_members, -1)
    names = ["batch_size", "learning_rate", "learning_rate_init", "weight_decay"]
    names += ["max_grad_norm", "weight_averaging", "tol"]
    with threads_for(estimator.batch_size * module.n_weights):
        train(
            module,
            TensorRows(x),
            index,
            index[:, :_FEW_ROWS],
            max_iter=n_epochs,
            n_iter_no_change=n_epochs + 1,
            generator=torch.Generator(device).manual_seed(0),
            monitor=_Silent(),
            **{name: getattr(estimator, name) for name in names},
        )


def bare_steps(estimator: MADEDensity, x: Tensor, n_steps: int) -> Callable:
    """As many steps as a call: dropout, loss, gradient and AdamW on one batch."""
    module = copy.deepcopy(estimator.module_)
    x = x[: estimator.batch_size].expand(module.n_members, -1, -1)
    x = x.contiguous()
    generator = torch.Generator(x.device).manual_seed(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6, fused=True)

    def steps() -> None:
        with threads_for(x.shape[1] * module.n_weights):
            for _ in range(n_steps):
                noise = module.draw_noise(x.shape[1], generator)
                loss = module.loss(x, noise=noise).sum() / x.shape[1]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return steps


def codes(estimator: MADEDensity, X: np.ndarray) -> Tensor:
    """What the fitted module takes, on its device."""
    network = estimator.module_.network
    values = estimator.columns_.transform(X)
    return torch.as_tensor(values, dtype=network.dtype, device=network.ordering.device)


def _adam_epoch(module: Any, log_prob: Callable, x: Tensor, batch_size: int) -> None:
    """An epoch as `rivals` trains flows."""
    adam = torch.optim.Adam(module.parameters(), lr=1e-3)
    for batch in torch.randperm(len(x), device=x.device).split(batch_size):
        adam.zero_grad()
        (-log_prob(x[batch]).mean()).backward()
        adam.step()


def _flow_epochs(x: Tensor, batch_size: int) -> dict[str, Callable[[], None]]:
    """An epoch of each rival flow, by name."""
    from zuko import flows

    D = x.shape[1]
    calls: dict[str, Callable[[], None]] = {}
    for kind in ("MAF", "NSF"):
        flow = getattr(flows, kind)(D, hidden_features=HIDDEN).to(x.device)

        def log_prob(rows: Tensor, flow: Any = flow) -> Tensor:
            return flow().log_prob(rows)

        calls[f"zuko {kind} {HIDDEN}"] = partial(
            _adam_epoch, flow, log_prob, x, batch_size
        )
    denmarf = rivals.DenmarfFlow("MAF")._make(D).to(x.device)
    calls["denmarf"] = partial(_adam_epoch, denmarf, denmarf.log_probs, x, batch_size)
    return calls


def made(options: Options) -> Iterator[Row]:
    """A step of training, the loop around it included, by whole epochs of `train`."""
    for D in (3, 5) if options.quick else (8, 43):
        yield from _made_steps(D, options)


def _made_steps(D: int, options: Options) -> Iterator[Row]:
    batch_size, n_steps = (32, 4) if options.quick else (256, 32)  # of an epoch
    X = real_rows(batch_size * n_steps, D)
    device = str(options.device)
    ours = {
        "Gaussian": MADEDensity(HIDDEN, **GAUSSIAN, device=device),
        "one ordering": MADEDensity(HIDDEN, n_orderings=1, device=device),
        "default": MADEDensity(HIDDEN, device=device),
    }
    for estimator in ours.values():
        fitted_once(estimator, X, batch_size)
    rows = {name: codes(estimator, X) for name, estimator in ours.items()}
    x = torch.as_tensor(X, dtype=torch.float32, device=options.device)
    generator = options.generator()
    same = make_module(MADE, gaussians(D, 1), D, HIDDEN, generator)
    plain = MaskedLinearMADE(cast(MADE, same.network))
    near = x.clamp(-4.0, 4.0)  # beyond, ours shows the network a logarithm
    with torch.no_grad():
        difference = relative_difference(plain(near), same.loss(near[None])[0])
    tutorial = {"n_epochs": 1, "batch_size": batch_size}
    calls: dict[str, Callable] = {
        **{k: partial(train_epochs, e, rows[k], _EPOCHS) for k, e in ours.items()},
        **{f"bare {k}": bare_steps(e, rows[k], n_steps) for k, e in ours.items()},
        **_flow_epochs(x, batch_size),
        "masked linear": partial(train_as_in_tutorials, plain, x, **tutorial),
    }
    n_steps_of = {k: n_steps * (_EPOCHS if k in ours else 1) for k in calls}
    times = {
        name: [t / n_steps_of[name] for t in turns]
        for name, turns in options.timed(calls).items()
    }
    case = f"{D} columns, {batch_size} rows"
    pairs = [(name, rival) for name in ours for rival in _RIVALS_OF[name]]
    for name, rival in pairs:
        note = _described(ours[name])
        if rival == "masked linear":
            note += f"; losses of twin and ours differ by {difference:.0e}"
        what = f"step, {rival} / ours {name}"
        yield speed_up(case, what, times[name], times[rival], rival, note=note)
    for name, estimator in ours.items():
        yield _overhead_row(case, name, times[name], times[f"bare {name}"])
        steps = bare_steps(estimator, rows[name], n_steps)
        yield _python_row(case, name, steps, options)


_MAF, _NSF = f"zuko MAF {HIDDEN}", f"zuko NSF {HIDDEN}"
_RIVALS_OF = {
    "Gaussian": (_MAF, "denmarf", "masked linear"),
    "one ordering": (_MAF, _NSF, "denmarf", "masked linear"),
    "default": (_MAF, _NSF, "denmarf", "masked linear"),
}


def _described(estimator: MADEDensity) -> str:
    module = estimator.module_
    mixture = module.conditionals[0]
    return (
        f"networks: {module.n_members}, components: {mixture.n_components}, "
        f"frequencies: {mixture.n_frequencies}"
    )


def _overhead_row(
    case: str, name: str, step: Sequence[float], bare: Sequence[float]
) -> Row:
    shares = [1 - b / s for s, b in zip(step, bare, strict=True)]
    return figure(
        case,
        f"share of the loop around the step, {name}",
        summary(shares),
        ours_ms=1e3 * summary(step).value,
        rival="dropout, loss, gradient and AdamW alone",
        rival_ms=1e3 * summary(bare).value,
        target="≤ 0.15",
    )


def _python_row(case: str, name: str, steps: Callable, options: Options) -> Row:
    """What the operations leave of the time; the profiler's own time is in both."""
    steps()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        took = seconds(steps, options.device, 1)[0][0]
    within = sum(
        event.self_cpu_time_total
        for event in recorded.key_averages()
        if event.key.startswith("aten::")
    )
    return figure(
        case,
        f"share of time outside of operations, {name}",
        1 - within / 1e6 / took,
        note="of the step alone, under torch.profiler, which slows both",
    )


# Whole fits --------------------------------------------------------------------------


class WideFlow(rivals.ZukoFlow):
    """A flow of zuko with hidden layers as large as ours."""

    def _make(self, n_columns):
        from zuko import flows

        return getattr(flows, self.kind)(n_columns, hidden_features=HIDDEN)


SIZES = ((1600, 11), (4000, 8), (4000, 43), (20000, 8), (20000, 43))


def fit(options: Options) -> Iterator[Row]:
    """Whole fits, and what they give rows that nobody saw."""
    default_sizes = ((200, 3),) if options.quick else SIZES
    for n, D in options.sizes or default_sizes:
        yield from _fits(n, D, options)


def _fits(n: int, D: int, options: Options) -> Iterator[Row]:
    n_test = 100 if options.quick else 2000
    X = real_rows(n + n_test, D)
    X = (X - X[:n].mean(0)) / X[:n].std(0)
    models = _models(options)
    first, *others = models
    took, told = {}, {}
    for name, model in models.items():
        took[name], told[name] = _one_fit(model, X[:n], X[n:])
    case = f"{n} x {D}"
    for name in others:
        yield speed_up(
            case,
            f"fit, {name} / {first}",
            [took[first]],
            [took[name]],
            name,
            note=f"nats {told[first][0]:.3f} and {told[name][0]:.3f}; "
            f"{told[first][1]} and {told[name][1]}",
        )
    for name in others[1:]:
        yield speed_up(
            case,
            f"fit, {name} / {others[0]}",
            [took[others[0]]],
            [took[name]],
            name,
            note=f"nats {told[others[0]][0]:.3f} and {told[name][0]:.3f}",
        )


def _models(options: Options) -> dict[str, BaseEstimator]:
    """Ours as it is by default, then a Gaussian in one ordering, then the rivals."""
    flow = {"time_limit": options.time_limit, "random_state": 0}
    zuko = flow | {"max_epochs": 3 if options.quick else 500}
    denmarf = flow | {"max_epochs": 3 if options.quick else 1000, "patience": 50}
    ours: dict[str, Any] = {"random_state": 0, "device": str(options.device)}
    if options.quick:
        ours["max_iter"] = 3
    return {
        "MADE": MADEDensity(**ours),
        "MADE, one Gaussian": MADEDensity(**ours, **GAUSSIAN),
        "zuko MAF": rivals.ZukoFlow("MAF", **zuko),
        "zuko NSF": rivals.ZukoFlow("NSF", **zuko),
        _MAF: WideFlow("MAF", **zuko),
        _NSF: WideFlow("NSF", **zuko),
        "denmarf": rivals.DenmarfFlow("MAF", **denmarf),
    }


def _one_fit(
    model: Any, X: np.ndarray, X_test: np.ndarray
) -> tuple[float, tuple[float, str]]:
    """Seconds, and the mean of log p over X_test with what the fit says of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(X)
        took = time.perf_counter() - start
    note = getattr(model, "note_", None) or f"{model.n_iter_} epochs"
    return took, (float(model.score(X_test)), note)
