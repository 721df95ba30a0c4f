"""MADE: masked autoencoder for distribution estimation (Germain et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from skdensity_ar.networks import _masks
from skdensity_ar.networks._base import ACTIVATIONS_TO, FeedForward, Noise
from skdensity_ar.networks._made_steps import Steps


class MADE(FeedForward):
    """Feed-forward network whose masks leave only paths from x_<d to output d.

        h⁰ = u
        hˡ = g(bˡ + (Wˡ ⊙ M^Wˡ) hˡ⁻¹)                   (masks: eq. 8)
        params = c + (V ⊙ M^V) hᴸ + (A ⊙ M^A) u_direct   (masks: eq. 9)

    M^W lets a hidden unit of degree m see degrees ≤ m, M^V and M^A let column d see
    degrees < d. A is the direct connection to the outputs from `n_direct` inputs of
    each column; without a hidden layer it is the whole network, a fully visible sigmoid
    (or softmax) belief network.

    Parameters
    ----------
    direct : bool
        Whether A is there; always so without a hidden layer.

    Other parameters as in `Network`.
    """

    M0: Tensor
    M_V: Tensor
    M_A: Tensor

    def __init__(
        self,
        n_inputs: Sequence[int],
        n_params: Sequence[int],
        ordering: Tensor,
        *,
        direct: bool = True,
        **kwargs,
    ):
        super().__init__(n_inputs, n_params, ordering, **kwargs)
        ordering = self.ordering
        self.direct = direct or not self.hidden_layer_sizes
        m_in = _masks.column_degrees(ordering, self.n_inputs)  # (..., U)
        m_out = _masks.column_degrees(ordering, self.n_params)  # (..., P)

        # A hidden layer that sees a context has units that see nothing else.
        self.first_degree = 0 if self.n_from_context else 1
        m, n_before = m_in, sum(self.n_inputs)
        for layer, size in enumerate(self.hidden_layer_sizes):
            m_hidden = self._hidden_degrees(size)  # (H,)
            m_hidden = m_hidden.expand(*ordering.shape[:-1], -1)
            self._register_mask(f"M{layer}", _masks.hidden_mask(m_hidden, m))
            self.register_parameter(f"W{layer}", self._weights(size, n_before))
            self.register_parameter(f"b{layer}", self._weights(size))
            m, n_before = m_hidden, size
        n_out = sum(self.n_params)
        self.c = self._weights(n_out)
        if self.hidden_layer_sizes:
            self._register_mask("M_V", _masks.output_mask(m_out, m))
            self.V = self._weights(n_out, n_before)
        if self.direct:
            m_direct = _masks.column_degrees(ordering, self.n_direct)
            self._register_mask("M_A", _masks.output_mask(m_out, m_direct))
            self.A = self._weights(n_out, sum(self.n_direct))
        self._add_context()

    def _hidden_degrees(self, size: int) -> Tensor:
        device, D = self.ordering.device, len(self.n_inputs)
        return _masks.hidden_degrees(size, D, device, self.first_degree)

    def _register_mask(self, name: str, mask: Tensor) -> None:
        # As numbers: a product with truth values would convert them in every step.
        self.register_buffer(name, mask.to(self.dtype))

    def reset_parameters(self, generator: torch.Generator, bias: Tensor) -> None:
        for name, p in self.named_parameters():
            if name[0] == "W":
                # He et al. 2015, with the fan-in that the mask leaves.
                fan_in = getattr(self, f"M{name[1:]}").sum(-1, True)
                fan_in = fan_in + (self.n_from_context if name == "W0" else 0)
                nn.init.normal_(p, generator=generator)
                p.data.mul_((2.0 / fan_in.clamp(min=1)).sqrt())
            elif name == "C_hidden" and self.n_from_context:
                fan_in = self.M0.sum(-1, True) + self.n_from_context
                nn.init.normal_(p, generator=generator)
                p.data.mul_((2.0 / fan_in).sqrt())
            else:
                nn.init.zeros_(p)
        self.c.data += bias

    def _masked(self) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """Wˡ ⊙ M^Wˡ of every layer, V ⊙ M^V, A ⊙ M^A."""
        layers = range(len(self.hidden_layer_sizes))
        Ws = [getattr(self, f"W{i}") * getattr(self, f"M{i}") for i in layers]
        V = self.V * self.M_V if self.hidden_layer_sizes else None
        A = self.A * self.M_A if self.direct else None
        return Ws, V, A

    def forward(
        self, u: Tensor, context: Tensor | None = None, *, noise: Noise = ()
    ) -> Tensor:
        # Rows come last in memory: what follows goes over the units one by one.
        Ws, V, A = self._masked()
        bs, c = self._biases(context)
        h = u.mT  # (..., U, n)
        for layer, (W, b) in enumerate(zip(Ws, bs, strict=True)):
            h = self.g(_add_product(b.mT, W, h))  # (..., H, n)
            if noise:
                h = h * noise[layer].mT
        params = c.mT if V is None else _add_product(c.mT, V, h)  # (..., P, n)
        if A is not None:
            params = _add_product(params, A, self._direct(u).mT, owned=V is not None)
        return params.mT

    def start(self, n: int, context: Tensor | None = None) -> Steps:
        Ws, V, A = self._masked()
        bs, c = self._biases(context)
        inputs, params = self._visiting(self.n_inputs), self._visiting(self.n_params)
        if Ws:
            Ws[0] = Ws[0].index_select(1, inputs)
        # What the outputs see, in rising order of degree: inputs first, then hidden.
        seen, degrees = [], []
        if A is not None:
            if self.direct_units is not None:  # others have no weights: those are 0
                A = A.new_zeros(len(A), len(inputs)).index_copy(1, self.direct_units, A)
            seen.append(A.index_select(1, inputs))
            degrees.append(_masks.column_degrees(self.ordering, self.n_inputs)[inputs])
        D, first = len(self.n_inputs), self.first_degree
        if V is not None:
            seen.append(V)
            degrees.append(self._hidden_degrees(V.shape[1]))
        by_degree = torch.cat(degrees).argsort(stable=True)
        hidden = (
            [_masks.n_of_degree_at_most(t, size, D, first) for t in range(D + 1)]
            for size in self.hidden_layer_sizes
        )
        return Steps(
            n,
            Ws,
            [b.mT for b in bs],
            torch.cat(seen, 1)[params].index_select(1, by_degree),
            c.mT[params],
            g=ACTIVATIONS_TO[self.activation],
            known=[self._ends(self.n_inputs), *hidden],
            ends=self._ends(self.n_params),
            direct=A is not None,
        )

    def _visiting(self, widths: Sequence[int]) -> Tensor:
        """The flat units of all columns in the order in which they are visited."""
        return _masks.column_degrees(self.ordering, widths).argsort(stable=True)

    def _ends(self, widths: Sequence[int]) -> list[int]:
        """How many of them belong to the columns before each position, and to all."""
        visited = (widths[d] for d in self.ordering.tolist())
        return [0, *accumulate(visited)]

    def step(self, state: Steps, t: int) -> Tensor:
        return state.step(t)

    def observe(self, state: Steps, t: int, u_t: Tensor) -> Steps:
        state.observe(t, u_t)
        return state


# In products of fewer outputs some processors round a row by where it stands among the
# others (MKL on AMD's, up to 11), and a row's score must not depend on that.
_FEWEST_OUTPUTS = 12


def _add_product(b: Tensor, W: Tensor, h: Tensor, *, owned: bool = False) -> Tensor:
    """b + W h of the columns of h, (..., units, n); written over b if that is owned."""
    n_outputs = W.shape[-2]
    if n_outputs < _FEWEST_OUTPUTS and not torch.is_grad_enabled():
        W = pad(W, (0, 0, 0, _FEWEST_OUTPUTS - n_outputs))
        return b + (W @ h)[..., :n_outputs, :]
    if W.dim() > 2:
        h = h.expand(len(W), -1, -1)
        return b.baddbmm_(W, h) if owned else torch.baddbmm(b, W, h)
    return b + W @ h
