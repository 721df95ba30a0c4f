"""The density of a network that serves every ordering."""

from __future__ import annotations

import torch
from torch import Tensor

from skdensity_ar._module import DensityModule

# Prefixes per row by which validation rows are scored.
_N_PREFIXES = 16


class AgnosticModule(DensityModule):
    """log p(x) = log (1/k) Σ_e Π_d p(x_d | x_<d by ordering e), one network for all.

    Training draws, for every row anew, an ordering and how many of its columns are
    visible, and predicts each of the others from them (Uria, Murray & Larochelle 2014,
    section 3): the mean over draws of

        D / (D - d + 1) Σ_{d' ≥ d} -log p(x_d' | x_<d)

    is the mean of -log p(x) over all orderings. `network` is an `EoNADE`, `ordering`
    (k, D) are those that scoring averages and sampling draws from.
    """

    @property
    def n_members(self) -> int:
        return 1

    def draw_noise(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Which columns are visible, (1, n, D), before the masks of dropout."""
        D, device = len(self.network.n_inputs), generator.device
        # Prefixes of every length equally often: one draw shifts them all.
        shift = torch.randint(D, (1,), generator=generator, device=device)
        visible = _visible(n, D, shift, generator).to(self.network.dtype)
        return visible, *self.network.draw_noise(n, generator)

    def loss(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        noise: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Estimate of -log p(x), (1, n, D) -> (1, n), by what `draw_noise` drew."""
        visible, *masks = noise
        return -self._given(x, visible, context, tuple(masks))

    def _given(
        self,
        x: Tensor,
        visible: Tensor,
        context: Tensor | None,
        noise: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """D times the mean log p(x_d | visible columns) over the others."""
        u = self.encode(x)
        params = self.network(u, context, visible=visible, noise=noise)
        hidden = 1.0 - visible
        log_p = (self.log_conditionals(params, x) * hidden).sum(-1)
        return log_p * (x.shape[-1] / hidden.sum(-1))

    def validation_score(self, x: Tensor) -> Tensor:
        """Estimate of log p(x), (1, n, D) -> (1, n), by the same prefixes each time."""
        n, D = x.shape[-2:]
        generator = torch.Generator(x.device).manual_seed(0)
        total = x.new_zeros((), dtype=torch.float64)
        for i in range(_N_PREFIXES):
            visible = _visible(n, D, i * D // _N_PREFIXES, generator).to(x)
            total = total + self._given(x, visible, None).double()
        return total / _N_PREFIXES


def _visible(n: int, D: int, shift: Tensor | int, generator: torch.Generator) -> Tensor:
    """A drawn ordering's first (row + shift) mod D columns for each row, (1, n, D)."""
    device = generator.device
    ranks = torch.rand(
        (1, n, D), generator=generator, dtype=torch.float64, device=device
    ).argsort(-1)
    length = (torch.arange(n, device=device) + shift) % D
    return ranks < length.unsqueeze(-1)
