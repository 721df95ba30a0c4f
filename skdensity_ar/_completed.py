"""Training rows whose missing cells are drawn anew, epoch by epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from skdensity_ar._estimate import EstimateModule
from skdensity_ar._training import TensorBatch, TensorRows


class CompletedRows(TensorRows):
    """Rows with missing cells, completed by every member for itself.

    Before every epoch each member draws the missing cells of its training rows given
    what is known of them, and then learns from rows without holes. (Stochastic EM
    [1]_: the gradient of log p(x_known) is the mean of that of log p(x) over
    p(missing | known).) Validation rows are left as they are.

    Parameters
    ----------
    x : Tensor of shape (n, D)
        NaN where cells are missing.
    context, weights
        As in `TensorRows`.
    module : EstimateModule
        That is trained.
    start : Tensor of shape (n, D)
        The rows with values for a start.
    train_index : Tensor of int, shape (members, n)
        What each member completes.

    References
    ----------
    .. [1] B. Delyon, M. Lavielle, E. Moulines (1999). Convergence of a Stochastic
       Approximation Version of the EM Algorithm.
    """

    def __init__(
        self,
        x: Tensor,
        context: Tensor | None,
        weights: Tensor | None,
        *,
        module: EstimateModule,
        start: Tensor,
        train_index: Tensor,
    ):
        super().__init__(x, context, weights)
        self.module = module
        self.filled = x.expand(len(train_index), -1, -1).clone()
        for filled, index in zip(self.filled, train_index, strict=True):
            filled[index] = start[index]

    def batches(
        self,
        index: Tensor,
        size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> list[TensorBatch]:
        if generator is not None:
            self._redraw(index, generator)
        return super().batches(index, size, generator)

    def _redraw(self, index: Tensor, generator: torch.Generator) -> None:
        has_hole = self.x.isnan().any(-1)
        for e, (filled, rows) in enumerate(zip(self.filled, index, strict=True)):
            rows = rows[has_hole[rows]]
            if len(rows) == 0:
                continue
            context = None if self.context is None else self.context[rows]
            filled[rows] = self.module.redrawn(
                e, self.x[rows], filled[rows], generator, context
            )

    def take(self, index: Tensor) -> Tensor:
        members = torch.arange(len(index), device=index.device).unsqueeze(-1)
        return self.filled[members, index]
