"""EoNADE: one network for all orderings (Uria, Murray & Larochelle 2014)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from skdensity_ar.networks import _masks
from skdensity_ar.networks._base import FeedForward, Noise


class EoNADE(FeedForward):
    """Feed-forward network that is told which columns it sees.

        h⁰ = [u ⊙ v, v]                               (2014, section 3: mask as input)
        hˡ = g(bˡ + Wˡ hˡ⁻¹)
        params = c + V hᴸ + A [u_direct ⊙ v, v]

    v_d = 1 where column d is visible. The parameters of every column that is not are
    those of p(x_d | visible columns), whatever these are, so the same weights serve
    every ordering, and each network any of the k that `ordering` (k, D) has: `along(e)`
    are all of them in the e-th, side by side. The first hidden layer carries over from
    position to position; later ones need a pass for each.

    Parameters
    ----------
    n_networks : int
        Sets of weights.
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
        n_networks: int = 1,
        direct: bool = True,
        **kwargs,
    ):
        several = ordering.dim() > 1
        one_each = ordering[:1].expand(n_networks, -1) if several else ordering
        super().__init__(n_inputs, n_params, one_each, **kwargs)
        self.register_buffer("ordering", ordering.to(self.ordering.device))
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
        if self.n_context:  # all parameters of a row have a share of it
            return super().n_activations
        of_one_position = max(self.n_params) - sum(self.n_params)
        return super().n_activations + math.prod(self.members) * of_one_position

    def along(self, e: int) -> Self:
        """All networks in the e-th ordering; parameters are the same."""
        one = copy.copy(self)
        one._buffers = {**self._buffers, "ordering": self.ordering[e]}
        return one

    def member(self, e: int) -> Self:
        """The network e mod n_networks in the e-th ordering; parameters are views."""
        ordering, networks = self.ordering[e], self.members[0]
        one = super().member(e % networks)
        one._buffers["ordering"] = ordering
        return one

    def reset_parameters(self, generator: torch.Generator, bias: Tensor) -> None:
        for name, p in self.named_parameters():
            if name[0] == "W":
                n_before = p.shape[-1] + (self.n_from_context if name == "W0" else 0)
                nn.init.normal_(p, std=(2.0 / n_before) ** 0.5, generator=generator)
            elif name == "C_hidden" and self.n_from_context:
                std = (2.0 / (self.W0.shape[-1] + self.n_from_context)) ** 0.5
                nn.init.normal_(p, std=std, generator=generator)
            else:
                nn.init.zeros_(p)
        self.c.data += bias

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
        ones then mean nothing. Without `visible` given those before it, position after
        position, by `member(e)` for every ordering e.
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
            params = params + self._seen_directly(seen) @ self.A.mT
        return params

    def _seen_directly(self, seen: Tensor) -> Tensor:
        """Of h⁰ what A sees."""
        if self.direct_units is None:
            return seen
        visible = seen[..., sum(self.n_inputs) :]
        return torch.cat([self._direct(seen), visible], -1)

    def _by_position(self, u: Tensor, context: Tensor | None) -> Tensor:
        if self.members:
            each = []
            for e in range(len(self.ordering)):
                of_e = [x if x is None or x.dim() == 2 else x[e] for x in (u, context)]
                i = e % self.members[0]
                weights = {name: p[i] for name, p in self.named_parameters()}
                each.append(functional_call(self.member(e), weights, tuple(of_e)))
            return torch.stack(each)
        inputs = _masks.unit_bounds(self.n_inputs)
        outputs = _masks.unit_bounds(self.n_params)
        state = self.start(len(u), context)
        params = u.new_zeros((len(u), sum(self.n_params)))
        for t, d in enumerate(self.ordering.tolist()):
            params[:, slice(*outputs[d])] = self.step(state, t)
            state = self.observe(state, t, u[:, slice(*inputs[d])])
        return params

    # The first layer, before g, grows by a column's share once it is known.

    def start(
        self,
        n: int,
        context: Tensor | None = None,
        *,
        u: Tensor | None = None,
        given: Tensor | None = None,
    ) -> _State:
        """The state at position 0, with the columns given (n, D) of u (n, U) known."""
        bs, c = self._biases(context)
        lead = (*self.members, n, -1)
        bs, c = [b.expand(lead) for b in bs], c.expand(lead)
        n_direct = sum(self.n_direct) + len(self.n_inputs) if self.direct else 0
        directly = c.new_zeros((n, n_direct))
        if u is not None and given is not None:
            seen = self._seen(u, given)
            bs[:1] = [b + seen @ self.W0.mT for b in bs[:1]]
            directly = self._seen_directly(seen) if self.direct else directly
        return _State(bs, c, directly, self.ordering.tolist())

    def step(self, state: _State, t: int, rows: Tensor | None = None) -> Tensor:
        """The parameters of the column at position t, of all rows or these."""
        outputs = slice(*_masks.unit_bounds(self.n_params)[state.ordering[t]])
        bs, params, directly = state.bs, state.c[..., outputs], state.directly
        if rows is not None:
            bs, params = [b[..., rows, :] for b in bs], params[..., rows, :]
            directly = directly[rows]
        if self.direct:
            params = params + directly @ self.A[..., outputs, :].mT
        if bs:
            h = self.g(bs[0])
            for layer, b in enumerate(bs[1:], start=1):
                h = self.g(b + h @ getattr(self, f"W{layer}").mT)
            params = params + h @ self.V[..., outputs, :].mT
        return params

    def observe(
        self, state: _State, t: int, u_t: Tensor, rows: Tensor | None = None
    ) -> _State:
        """The state once the column is known, of all rows or these."""
        d, bs = state.ordering[t], list(state.bs)
        if bs:
            inputs = slice(*_masks.unit_bounds(self.n_inputs)[d])
            visible = self.W0[..., sum(self.n_inputs) + d]  # the unit that says so
            share = u_t @ self.W0[..., inputs].mT + visible.unsqueeze(-2)
            b = bs[0]
            bs[0] = b + share if rows is None else b.index_add(-2, rows, share)
        if not self.direct:
            return replace(state, bs=bs)
        directly = state.directly.clone()
        some = slice(None) if rows is None else rows
        inputs = slice(*_masks.unit_bounds(self.n_direct)[d])
        directly[some, inputs] = u_t[..., : self.n_direct[d]]
        directly[some, sum(self.n_direct) + d] = 1.0
        return replace(state, bs=bs, directly=directly)


@dataclass
class _State:
    """What is known of n rows.

    W⁰ h⁰ + b⁰, the biases of later layers and c, each (..., n, units), of as many
    networks as are asked, and what A sees, (n, units).
    """

    bs: list[Tensor]
    c: Tensor
    directly: Tensor
    ordering: list[int]
