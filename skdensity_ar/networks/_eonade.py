"""EoNADE: one network for all orderings (Uria, Murray & Larochelle 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from skdensity_ar.networks import _masks
from skdensity_ar.networks._base import FeedForward, Noise


class EoNADE(FeedForward):
    """Feed-forward network that is told which columns it sees.

        h⁰ = [u ⊙ v, v]                               (2014, section 3: mask as input)
        hˡ = g(bˡ + Wˡ hˡ⁻¹)
        params = c + V hᴸ + A [u_direct ⊙ v, v]

    v_d = 1 where column d is visible. The parameters of every column that is not are
    those of p(x_d | visible columns), whatever these are, so the same weights serve
    every ordering: `ordering` of shape (k, D) makes k densities of one network, and
    the parameters have one member. The first hidden layer carries over from position
    to position; later ones need a pass for each.

    Parameters
    ----------
    direct : bool
        Whether A is there; always so without a hidden layer.

    Other parameters as in `Network`.
    """

    W0: Tensor
    A: Tensor

    def __init__(
        self,
        n_inputs: Sequence[int],
        n_params: Sequence[int],
        ordering: Tensor,
        *,
        direct: bool = True,
        **kwargs,
    ):
        first = ordering if ordering.dim() == 1 else ordering[:1]
        super().__init__(n_inputs, n_params, first, **kwargs)
        self.register_buffer("ordering", ordering.to(first.device))
        self.direct = direct or not self.hidden_layer_sizes
        D, n_out = len(self.n_inputs), sum(self.n_params)
        n_before = sum(self.n_inputs) + D
        for layer, size in enumerate(self.hidden_layer_sizes):
            self.register_parameter(f"W{layer}", self._weights(size, n_before))
            self.register_parameter(f"b{layer}", self._weights(size))
            n_before = size
        self.c = self._weights(n_out)
        if self.hidden_layer_sizes:
            self.V = self._weights(n_out, n_before)
        if self.direct:
            self.A = self._weights(n_out, sum(self.n_direct) + D)
        self._add_context()

    @property
    def n_activations(self) -> int:
        return super().n_activations * (self.ordering.numel() // len(self.n_inputs))

    def reset_parameters(self, generator: torch.Generator, bias: Tensor) -> None:
        for name, p in self.named_parameters():
            if name[0] == "W":
                std = (2.0 / p.shape[-1]) ** 0.5
                nn.init.normal_(p, std=std, generator=generator)
            else:
                nn.init.zeros_(p)
        self.c.data += bias

    def member(self, e: int) -> Self:
        """The network with its e-th ordering alone; its parameters are views."""
        one = super().member(0)
        one._buffers["ordering"] = self.ordering[e]
        return one

    def _seen(self, u: Tensor, visible: Tensor) -> Tensor:
        """h⁰ (..., n, U + D) of inputs (..., n, U) and columns visible (..., n, D)."""
        columns, visible = _masks.columns_of_units(self.n_inputs), visible.to(u)
        return torch.cat([u * visible[..., columns], visible], -1)

    def forward(
        self,
        u: Tensor,
        context: Tensor | None = None,
        *,
        visible: Tensor | None = None,
        noise: Noise = (),
    ) -> Tensor:
        """The parameters of every column, (..., n, U) -> (..., n, P).

        Given the columns visible (..., n, D), 0 or 1, in one pass: those of the visible
        ones then mean nothing. Without `visible` given those before it, by every
        ordering, position after position.
        """
        if visible is None:
            return self._by_position(u, context)
        seen = self._seen(u, visible)
        bs, params = self._biases(context)
        h = seen
        for layer, b in enumerate(bs):
            h = self.g(b + h @ getattr(self, f"W{layer}").mT)  # (..., n, H)
            if noise:
                h = h * noise[layer]
        if bs:
            params = params + h @ self.V.mT
        if self.direct:
            direct = seen
            if self.direct_units is not None:
                direct = torch.cat([self._direct(seen), seen[..., u.shape[-1] :]], -1)
            params = params + direct @ self.A.mT
        return params

    def _by_position(self, u: Tensor, context: Tensor | None) -> Tensor:
        inputs = _masks.unit_bounds(self.n_inputs)
        by_ordering = []
        for e, ordering in enumerate(self.ordering.view(-1, len(inputs)).tolist()):
            u_e = u if u.dim() == 2 else u[e]
            given = context if context is None or context.dim() == 2 else context[e]
            state, params = self._start(ordering, len(u_e), given), {}
            for t, d in enumerate(ordering):
                params[d] = self.step(state, t)
                state = self.observe(state, t, u_e[:, slice(*inputs[d])])
            by_ordering.append(torch.cat([params[d] for d in range(len(inputs))], -1))
        return torch.cat(by_ordering)  # along the members, or there is one only

    # The first layer, before g, and A h⁰ grow by a column's share once it is known.

    def start(self, n: int, context: Tensor | None = None) -> _State:
        return self._start(self.ordering.tolist(), n, context)

    def _start(self, ordering: list[int], n: int, context: Tensor | None) -> _State:
        bs, c = self._biases(context)
        every_row = (*self.members, n, -1)
        return _State([b.expand(every_row) for b in bs], c.expand(every_row), ordering)

    def step(self, state: _State, t: int) -> Tensor:
        outputs = slice(*_masks.unit_bounds(self.n_params)[state.ordering[t]])
        params = state.c[..., outputs]
        if state.bs:
            h = self.g(state.bs[0])
            for layer, b in enumerate(state.bs[1:], start=1):
                h = self.g(b + h @ getattr(self, f"W{layer}").mT)
            params = params + h @ self.V[..., outputs, :].mT
        return params

    def observe(self, state: _State, t: int, u_t: Tensor) -> _State:
        d = state.ordering[t]

        def share(W: Tensor, widths: Sequence[int]) -> Tensor:
            inputs = slice(*_masks.unit_bounds(widths)[d])
            visible = W[..., sum(widths) + d].unsqueeze(-2)  # of the unit that says so
            return u_t[..., : widths[d]] @ W[..., inputs].mT + visible

        bs = [b + share(self.W0, self.n_inputs) for b in state.bs[:1]] + state.bs[1:]
        c = state.c + share(self.A, self.n_direct) if self.direct else state.c
        return replace(state, bs=bs, c=c)


@dataclass
class _State:
    """What is known of n rows: W⁰ h⁰ + b⁰, the biases of later layers, c + A h⁰."""

    bs: list[Tensor]
    c: Tensor
    ordering: list[int]
