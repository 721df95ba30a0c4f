"""Maximum likelihood by mini-batches: train(module, rows, ...) -> History."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

# Rows of all members evaluated at a time when validating; and so many are few enough
# to keep what never changes of them.
_VALID_BLOCK, _FEW = 4096, 2**13


class Batch(Protocol):
    """Some rows of every member."""

    @property
    def n(self) -> int:
        """Rows of each member: noise is drawn for so many."""

    @property
    def share(self) -> float | Tensor:
        """What the sum of the losses is divided by, for all members or each."""

    def loss(self, module: Any, noise: Any) -> Tensor:
        """`module.loss` of the rows, each times its weight: (members, n)."""

    def scorer(self, module: Any, *, keep: bool) -> Callable[[], Tensor]:
        """What says `module.validation_score` likewise, by the weights there are then.

        With `keep` whatever no weight changes may be found once.
        """


class Rows(Protocol):
    """Where mini-batches come from: in memory, memory-mapped or a stream."""

    def batches(
        self,
        index: Tensor,
        size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Sequence[Batch]:
        """Mini-batches that hold every row of `index` (members, n) once.

        Shuffled if there is a generator; of about `size` rows, or of as many as
        scoring takes at a time.
        """

    def n_rows(self, index: Tensor) -> float | Tensor:
        """How many rows these are, or their weights, for all members or each."""


class Monitor(Protocol):
    """Who follows the training, epoch by epoch."""

    def begin_epoch(self) -> None: ...

    def end_epoch(self, history: History) -> bool:
        """Whether to stop here."""


@dataclass
class TensorRows:
    """Rows that lie on the device already.

    Attributes
    ----------
    x : Tensor of shape (n, D)
    context : Tensor of shape (n, C), optional
    weights : Tensor of shape (n,), optional
        How often each row counts.
    which : Tensor of int, shape (n,), optional
        What a module wants to know of each row besides.
    """

    x: Tensor
    context: Tensor | None = None
    weights: Tensor | None = None
    which: Tensor | None = None

    def batches(
        self,
        index: Tensor,
        size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> list[TensorBatch]:
        if generator is not None:
            index = shuffle(index, generator)
        n_members, n = index.shape
        size = max(1, _VALID_BLOCK // n_members) if size is None else size
        parts = index.tensor_split(math.ceil(n / size), dim=1)
        # All batches are divided by the mean weight, so that every row counts by its
        # own: the gradient is in the mean that of all rows.
        weight = self.n_rows(index) / n
        return [TensorBatch(self, part, weight * part.shape[1]) for part in parts]

    def take(self, index: Tensor) -> Tensor:
        """Rows (members, n, D) by their index (members, n)."""
        return self.x[index]

    def n_rows(self, index: Tensor) -> float | Tensor:
        if self.weights is None:
            return index.shape[1]
        return self.weights[index].sum(1, dtype=torch.float64)


@dataclass
class TensorBatch:
    """A mini-batch of `TensorRows`."""

    rows: TensorRows
    index: Tensor
    share: float | Tensor

    @property
    def n(self) -> int:
        return self.index.shape[1]

    def take(self) -> Tensor:
        return self.rows.take(self.index)

    def loss(self, module: Any, noise: Any) -> Tensor:
        return self._weighed(module.loss(self.take(), noise=noise, **self._beside()))

    def scorer(self, module: Any, *, keep: bool) -> Callable[[], Tensor]:
        if keep:
            score = module.validation(self.take(), **self._beside())
            return lambda: self._weighed(score())
        return lambda: self._weighed(
            module.validation_score(self.take(), **self._beside())
        )

    def _beside(self) -> dict[str, Tensor]:
        """What else there is of the rows."""
        beside = {"context": self.rows.context, "which": self.rows.which}
        return {k: v[self.index] for k, v in beside.items() if v is not None}

    def _weighed(self, each: Tensor) -> Tensor:
        weights = self.rows.weights
        return each if weights is None else each * weights[self.index]


@dataclass
class History:
    """What happened in training, an entry per epoch, nats per row.

    Attributes
    ----------
    loss_curve : list of float
        Mean training loss over the members.
    validation_scores : list of float
        Mean log-density of the validation rows over the members; empty without them.
    best_iter : list of int
        The epoch, counted from 1, that scores each member's validation rows best; 0 is
        before the first.
    kept_iter : list of int
        The epoch that its weights come from.
    stopped_by : str
        "max_iter", "no_change", "callback" or "diverged".
    """

    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    best_iter: list[int] = field(default_factory=list)
    kept_iter: list[int] = field(default_factory=list)
    stopped_by: str = "max_iter"

    @property
    def n_iter(self) -> int:
        return len(self.loss_curve)


@torch.enable_grad()
def train(
    module,
    rows: Rows,
    train_index: Tensor,
    valid_index: Tensor | None,
    *,
    max_iter: int,
    batch_size: int,
    learning_rate: str,
    learning_rate_init: float,
    weight_decay: float,
    max_grad_norm: float,
    weight_averaging: float,
    n_iter_no_change: int,
    tol: float,
    generator: torch.Generator,
    monitor: Monitor,
    past_best: float = 1.0,
) -> History:
    """Train every member on its own rows and leave it with its best weights.

    Members share nothing but the mini-batch loop: gradients are clipped, and the best
    weights chosen, for each by itself.

    Parameters
    ----------
    module : DensityModule
        With `loss`, `validation`, `validation_score` and `draw_noise`.
    train_index, valid_index : Tensor of int, shape (members, n)
        Rows per member. Without validation rows the training loss decides.
    learning_rate : {"constant", "cosine"}
        Cosine falls from `learning_rate_init` to 0 over `max_iter` epochs.
    max_grad_norm : float
        Longer gradients of a member are scaled down to this norm.
    weight_averaging : float
        Decay of the running average of the weights, which validation scores.
    monitor : Monitor
        Told of every epoch; training ends when its `end_epoch` returns True.
    past_best : float
        With validation rows weights are those after so many times the epochs that are
        best for the member, or the last before training ends, of those whose training
        loss is no higher than it was then; 1 leaves the best ones.
    """
    params = list(module.parameters())
    weights = [p for p in params if p.dim() > 2]  # the others are biases
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": [p for p in params if p.dim() <= 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate_init, fused=True)
    n_members, step = train_index.shape[0], 0
    history = History()
    values = [p.detach() for p in params]
    averaged = [p.clone() for p in values]
    kept = [p.clone() for p in values]
    # Without validation rows the training loss decides, which epoch 0 has none of.
    best_score = torch.full_like(train_index[:, 0], -torch.inf, dtype=torch.float64)
    if valid_index is None:
        past_best = 1.0
    else:
        validate = _validation(module, rows, valid_index)
        best_score = validate()
    best_iter = torch.zeros(n_members, dtype=torch.long, device=best_score.device)
    kept_iter = best_iter
    best_loss = torch.full_like(best_score, torch.inf)
    target, n_without_gain = best_score.clone(), 0

    for epoch in range(max_iter):
        monitor.begin_epoch()
        total = torch.zeros(n_members, dtype=torch.float64, device=generator.device)
        batches = rows.batches(train_index, batch_size, generator)
        for i, batch in enumerate(batches):
            if learning_rate == "cosine":
                done = (epoch * len(batches) + i) / (max_iter * len(batches))
                share = (1 + math.cos(math.pi * done)) / 2
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate_init * share
            noise = module.draw_noise(batch.n, generator)
            loss = batch.loss(module, noise)  # (members, n)
            for p in params:
                p.grad = None
            (loss.sum(-1) / batch.share).sum().backward()
            _clip(params, max_grad_norm)
            optimizer.step()
            total += loss.detach().sum(-1)
            step += 1
            # At first the mean of all steps so far: the start is soon forgotten.
            weight = max(1.0 - weight_averaging, 1.0 / (step + 1))
            torch._foreach_lerp_(averaged, values, weight)

        _swap(values, averaged)
        train_loss = total / rows.n_rows(train_index)
        history.loss_curve.append(train_loss.mean().item())
        score = -train_loss
        if valid_index is not None:
            score = validate()
            history.validation_scores.append(score.mean().item())
        better = (score > best_score) & score.isfinite()
        best_score = torch.where(better, score, best_score)
        best_iter = torch.where(better, epoch + 1, best_iter)
        best_loss = torch.where(better, train_loss, best_loss)
        fits = (train_loss <= best_loss) & score.isfinite()
        keep = better | ((epoch + 1 <= past_best * best_iter) & fits)
        for p, k in zip(params, kept, strict=True):
            k.copy_(torch.where(keep.view(-1, *[1] * (p.dim() - 1)), p.detach(), k))
        kept_iter = torch.where(keep, epoch + 1, kept_iter)
        gained = score > target + tol
        target = torch.where(gained, score, target)
        n_without_gain = 0 if gained.any().item() else n_without_gain + 1
        stop = monitor.end_epoch(history)
        _swap(values, averaged)
        if stop:
            history.stopped_by = "callback"
            break
        if not math.isfinite(history.loss_curve[-1]):
            history.stopped_by = "diverged"
            break
        if n_without_gain >= n_iter_no_change:
            history.stopped_by = "no_change"
            break

    for p, k in zip(params, kept, strict=True):
        p.data, p.grad = k, None
    history.best_iter, history.kept_iter = best_iter.tolist(), kept_iter.tolist()
    return history


@torch.no_grad()
def _swap(params: Iterable[Tensor], others: Iterable[Tensor]) -> None:
    """Exchange the values of the parameters with those kept beside them."""
    for p, other in zip(params, others, strict=True):
        kept = p.clone()
        p.copy_(other)
        other.copy_(kept)


def shuffle(index: Tensor, generator: torch.Generator) -> Tensor:
    """Every member's rows in an order of their own."""
    keys = torch.rand(
        index.shape, generator=generator, dtype=torch.float64, device=index.device
    )
    return index.gather(1, keys.argsort(1))


def _clip(params: Sequence[Tensor], max_norm: float) -> None:
    """Scale each member's gradient down to `max_norm`."""
    grads = [p.grad for p in params if p.grad is not None]
    norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (members,)
    if norm.is_cpu and (norm <= max_norm).all():  # a GPU would have to be waited for
        return
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


@torch.no_grad()
def _validation(module, rows: Rows, index: Tensor) -> Callable[[], Tensor]:
    """What says the mean log-density of every member's rows `index`, (members,)."""
    keep = index.numel() <= _FEW
    scorers = [batch.scorer(module, keep=keep) for batch in rows.batches(index)]
    n_rows = rows.n_rows(index)

    @torch.no_grad()
    def validate() -> Tensor:
        total = torch.zeros(index.shape[0], dtype=torch.float64, device=index.device)
        for score in scorers:
            total += score().sum(-1)
        return total / n_rows

    return validate
