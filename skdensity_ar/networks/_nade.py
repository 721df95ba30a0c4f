"""NADE and RNADE: neural autoregressive distribution estimators.

Larochelle & Murray (2011), Uria, Murray & Larochelle (2013), Uria et al. (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from skdensity_ar.networks import _masks
from skdensity_ar.networks._base import Network, Noise
from skdensity_ar.networks._nade_kernel import nade_outputs


class NADE(Network):
    """One running activation serves the hidden layers of all conditionals.

    In the order of the visit, with g the activation function,

        a_1 = c,   a_{d+1} = a_d + W_d u_d,   h_d = g(ρ_d a_d)      (2016, eq. 3)
        params_d = b_d + V_d h_d                                     (2016, eq. 2)

    so all D hidden layers cost O(D H). ρ_d is RNADE's rescaling (2013, section 3):
    a_d sums more and more terms as d grows, and ρ_d keeps the units from saturating.
    Further hidden layers act on each h_d (Deep NADE: 2016, section 4).

    Parameters
    ----------
    tied : bool
        V = Wᵀ: needs as many parameters as inputs per column
        and equal first and last hidden layers.
    rescale : bool
        Whether ρ_d is there (RNADE); otherwise it is 1 (NADE).
    compiled : bool
        Whether training with a single hidden layer runs what `torch.compile` makes of
        it.

    Other parameters as in `Network`.
    """

    input_slots: Tensor
    output_slots: Tensor
    rho: nn.Parameter | None
    V: nn.Parameter | None

    def __init__(
        self,
        n_inputs: Sequence[int],
        n_params: Sequence[int],
        ordering: Tensor,
        *,
        tied: bool = False,
        rescale: bool = False,
        compiled: bool = False,
        **kwargs,
    ):
        super().__init__(n_inputs, n_params, ordering, **kwargs)
        sizes = self.hidden_layer_sizes
        if not sizes:
            raise ValueError(
                "NADE needs a hidden layer, got hidden_layer_sizes=(); MADE does not."
            )
        if tied and (sizes[0] != sizes[-1] or self.n_inputs != self.n_params):
            raise ValueError(
                "tied=True makes one matrix serve as W and V: it needs a first and a "
                f"last hidden layer of one size, got hidden_layer_sizes={sizes}, and "
                "conditionals with as many parameters as inputs per column."
            )
        self.tied, self.compiled = tied, compiled
        n_in, n_out, D = sum(self.n_inputs), sum(self.n_params), len(self.n_inputs)
        slots = _masks.unit_slots(self.ordering, self.n_inputs)  # (..., D, I)
        self.register_buffer("input_slots", slots)
        self.register_buffer(
            "output_slots", _masks.unit_slots(self.ordering, self.n_params)
        )
        self.W = self._weights(n_in, sizes[0])
        self.c = self._weights(sizes[0])
        self.register_parameter("rho", self._weights(D) if rescale else None)
        for layer in range(1, len(sizes)):
            deeper = self._weights(sizes[layer], sizes[layer - 1])
            self.register_parameter(f"W{layer}", deeper)
            self.register_parameter(f"c{layer}", self._weights(sizes[layer]))
        self.register_parameter("V", None if tied else self._weights(n_out, sizes[-1]))
        self.b = self._weights(n_out)
        if self.n_context:
            if self.context_to == "both":
                self.C_hidden = self._weights(sizes[0], self.n_context)
            self.C = self._weights(n_out, self.n_context)

    @property
    def n_activations(self) -> int:
        return super().n_activations * len(self.n_inputs)

    def reset_parameters(self, generator: torch.Generator, bias: Tensor) -> None:
        D = len(self.n_inputs)
        for name, p in self.named_parameters():
            if name == "W":
                nn.init.normal_(p, std=(1.0 / D) ** 0.5, generator=generator)
                if self.tied:  # W is V too: start near the parameters without inputs
                    p.data.mul_(0.1)
            elif name == "C_hidden" and self.n_from_context:
                std = (1.0 / self.n_from_context) ** 0.5
                nn.init.normal_(p, std=std, generator=generator)
            elif name[0] == "W":
                std = (2.0 / p.shape[-1]) ** 0.5
                nn.init.normal_(p, std=std, generator=generator)
            else:
                nn.init.zeros_(p)
        if self.rho is not None:
            nn.init.ones_(self.rho)
        self.b.data += bias

    def _output_weights(self) -> Tensor:
        return self.W if self.V is None else self.V  # (..., P, H)

    def forward(
        self, u: Tensor, context: Tensor | None = None, *, noise: Noise = ()
    ) -> Tensor:
        a, b = self._biases(context)
        a = a.expand(*self.members, u.shape[-2], -1)  # (..., n, H)
        if len(self.hidden_layer_sizes) == 1:
            return self._shallow(a, u, noise) + b
        return self._deep(a, u, noise) + b

    def _shallow(self, a: Tensor, u: Tensor, noise: Noise) -> Tensor:
        """V_d h_d of all columns, (..., n, P)."""
        D, V = len(self.n_inputs), self._output_weights()
        order = self._order_of_one()
        if order is None:  # in that of the visit, one entry per position
            u_d = _take(u, self.input_slots, -1).movedim(-3, -1)  # (..., D, I, n)
            W_d = _take(self.W, self.input_slots, -2)  # (..., D, I, H)
            V_d = _take(V, self.output_slots, -2)
        else:
            u_d = u.expand(*self.members, -1, -1).mT
            u_d, W_d, V_d = (x.unflatten(-2, (D, -1)) for x in (u_d, self.W, V))
        a, mask = a.mT, noise[0].mT if noise else None
        if not self.members:
            a, u_d, W_d, V_d = (x.unsqueeze(0) for x in (a, u_d, W_d, V_d))
            mask = None if mask is None else mask.unsqueeze(0)
        u_d, W_d, V_d = (x.movedim(1, 0) for x in (u_d.contiguous(), W_d, V_d))
        rho = None if self.rho is None else self.rho.view(-1, D).mT
        given = (a, u_d, W_d, V_d, rho, mask, self.activation, order)
        out = nade_outputs(*given, self.compiled and torch.is_grad_enabled())
        out = out.movedim((0, 3), (2, 1))  # (members, n, D, P)
        out = out if self.members else out.squeeze(0)
        if order is not None:
            return out.flatten(-2)
        return _untake(out, self.output_slots, sum(self.n_params))

    def _order_of_one(self) -> list[int] | None:
        """The order of a single member's visit, if its columns have units alike.

        They can then stay where they are. A GPU would have to be asked for it.
        """
        one = self.ordering.is_cpu and self.ordering.numel() == len(self.n_inputs)
        if one and len(set(self.n_inputs)) == len(set(self.n_params)) == 1:
            return self.ordering.flatten().tolist()
        return None

    def _deep(self, a: Tensor, u: Tensor, noise: Noise) -> Tensor:
        """Deep NADE likewise, by autograd."""
        # Units in the order of the visit, one entry per position.
        u_d = _take(u, self.input_slots, -1).movedim(-2, 0)  # (D, ..., n, I)
        W_d = _take(self.W, self.input_slots, -2).movedim(-3, 0)  # (D, ..., I, H)
        V_d = _take(self._output_weights(), self.output_slots, -2).movedim(-3, 0)
        out = []
        for t in range(len(self.n_inputs)):
            out.append(self._hidden(a, t, noise) @ V_d[t].mT)  # (..., n, P)
            a = a + u_d[t] @ W_d[t]  # a_{d+1} = a_d + W_d u_d
        params = torch.stack(out, -2)  # (..., n, D, P)
        return _untake(params, self.output_slots, sum(self.n_params))

    def _biases(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """c and b, (..., 1 or n, units), with the context's share."""
        c, b = self.c.unsqueeze(-2), self.b.unsqueeze(-2)
        if self.n_context and context is not None:
            b = b + context @ self.C.mT
            if self.context_to == "both":
                c = c + context @ self.C_hidden.mT
        return c, b

    def _hidden(self, a: Tensor, t: int, noise: Noise = ()) -> Tensor:
        """h_d = g(ρ_d a_d) and the layers after it, for the column at position t."""
        if self.rho is not None:
            a = a * self.rho[..., t, None, None]
        h = self.g(a)  # (..., n, H)
        if noise:
            h = h * noise[0]
        for layer in range(1, len(self.hidden_layer_sizes)):
            W, c = getattr(self, f"W{layer}"), getattr(self, f"c{layer}").unsqueeze(-2)
            h = self.g(h @ W.mT + c)
            if noise:
                h = h * noise[layer]
        return h

    def start(self, n: int, context: Tensor | None = None) -> _State:
        a, b = self._biases(context)
        return _State(
            a=a.expand(n, -1).clone(),
            b=b.expand(n, -1),
            inputs=_columns(self.n_inputs, self.ordering),
            outputs=_columns(self.n_params, self.ordering),
        )

    def step(self, state: _State, t: int) -> Tensor:
        h = self._hidden(state.a, t)  # (n, H)
        units = state.outputs[t]
        return h @ self._output_weights()[units].mT + state.b[:, units]

    def observe(self, state: _State, t: int, u_t: Tensor) -> _State:
        W_t = self.W[state.inputs[t]]
        if len(W_t) == 1:  # a product of a column and a row needs no gemm
            state.a.addcmul_(u_t, W_t)
        else:
            state.a.addmm_(u_t, W_t)
        return state


@dataclass
class _State:
    """The running activation a_t (n, H)."""

    a: Tensor
    b: Tensor
    inputs: list[slice]  # units of the column at each position
    outputs: list[slice]


def _columns(widths: Sequence[int], ordering: Tensor) -> list[slice]:
    bounds = _masks.unit_bounds(widths)
    return [slice(*bounds[d]) for d in ordering.tolist()]


def _take(x: Tensor, slots: Tensor, dim: int) -> Tensor:
    """Units by `slots` (..., D, I) along `dim`, zero where a slot is padding.

    dim=-1: (..., n, U) -> (..., n, D, I); dim=-2: (..., U, H) -> (..., D, I, H).
    """
    if math.prod(slots.shape[-2:]) != x.shape[dim]:
        x = pad(x, (0, 1) if dim == -1 else (0, 0, 0, 1))
    return _gather(x, slots.flatten(-2), dim).unflatten(dim, slots.shape[-2:])


def _untake(x: Tensor, slots: Tensor, n_units: int) -> Tensor:
    """Back to the flat order: (..., n, D, P), padded, -> (..., n, Σ P_d)."""
    index = slots.flatten(-2).argsort(stable=True, dim=-1)[..., :n_units]
    return _gather(x.flatten(-2), index, -1)


def _gather(x: Tensor, index: Tensor, dim: int) -> Tensor:
    """Entries `index` (members, k) of x along `dim`, for every member the same rows."""
    members = torch.broadcast_shapes(x.shape[:-2], index.shape[:-1])
    x = x.expand(*members, *x.shape[-2:])
    if math.prod(members) == 1:  # rows as a whole, not number by number
        return x.index_select(dim, index.flatten())
    index = index.unsqueeze(-2 if dim == -1 else -1)
    shape = list(x.shape)
    shape[dim] = index.shape[dim]
    return x.gather(dim, index.expand(shape))
