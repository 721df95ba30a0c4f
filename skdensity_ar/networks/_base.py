"""The protocol of a network: which x_<d reach the parameters of column d."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from skdensity_ar.networks import _masks

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
}

# The same, written to `out`.
ACTIVATIONS_TO: dict[str, Any] = {
    "logistic": torch.sigmoid,
    "relu": partial(torch.clamp, min=0.0),
    "tanh": torch.tanh,
}

Noise = tuple[Tensor, ...]
Dropout = float | Sequence[float]


class Members(nn.Module):
    """Networks of one shape side by side.

    Every parameter and buffer of a subclass has the leading axes `members`: (E,) for
    E networks, () for a single one.
    """

    def __init__(
        self, members: Sequence[int], *, dtype: torch.dtype, device: torch.device | str
    ):
        super().__init__()
        self.members = tuple(members)
        self.dtype = dtype
        self._factory: dict[str, Any] = {"dtype": dtype, "device": device}

    def _weights(self, *shape: int) -> nn.Parameter:
        """An unset parameter of every member."""
        return nn.Parameter(torch.empty((*self.members, *shape), **self._factory))

    def dropout_masks(
        self, share: Dropout, n: int, sizes: Sequence[int], generator: torch.Generator
    ) -> Noise:
        """Masks (..., n, size) that drop this share of units and scale up the rest.

        One share for all members or one for each.
        """
        if not (any(share) if isinstance(share, Sequence) else share):
            return ()
        shares = torch.tensor(share, dtype=torch.float64, device="cpu").reshape(-1)
        dropped = (shares * 2.0**16).round().clamp(max=2.0**16 - 1.0)
        if not dropped.any():
            return ()
        device, members = generator.device, self.members
        some = dropped.nonzero().flatten()  # of the members; nothing drawn for others
        if 1 < len(dropped) > len(some):
            dropped, members = dropped[some], (len(some),)
        kept = (1.0 - dropped / 2.0**16).to(device, self.dtype)
        least = (dropped - 2.0**15).to(device, torch.int16)
        shape = (*[-1] * len(members), 1, 1)
        masks = []
        for size in sizes:
            bits = torch.empty(
                (*members, size, -(-n // 4)), dtype=torch.int64, device=device
            ).random_(-(2**63), None, generator=generator)
            # Four numbers of 16 bits from each: half as dear as numbers of their own.
            keep = bits.view(torch.int16)[..., :n] >= least.view(shape)
            mask = keep.to(self.dtype).div_(kept.view(shape))
            if members != self.members:
                ones = mask.new_ones((*self.members, size, n))
                mask = ones.index_copy_(0, some.to(device), mask)
            masks.append(mask.mT)
        return tuple(masks)

    def member(self, e: int) -> Self:
        """The e-th network alone; its parameters are views."""
        one = copy.copy(self)
        one.members = self.members[1:]
        one._parameters = {
            name: None if p is None else nn.Parameter(p.detach()[e], p.requires_grad)
            for name, p in self._parameters.items()
        }
        one._buffers = {
            name: None if b is None else b[e] for name, b in self._buffers.items()
        }
        return one


class Network(Members):
    """u -> params, one set of parameters per column, each from the columns before it.

    Column d has `n_inputs[d]` entries of the flat input u (n, Σ n_inputs) and
    `n_params[d]` entries of the flat output (n, Σ n_params); the widths may differ
    from column to column. `ordering[t]` is the column visited at position t.

    Arrays broadcast over leading axes, so `ordering` of shape (members, D) makes
    that many networks of one shape, every parameter and buffer with a leading member
    axis: u (n, U) or (members, n, U) -> params (members, n, P). `member(e)` is one of
    them.

    Parameters
    ----------
    n_inputs, n_params : sequence of int
        Widths per column.
    ordering : Tensor of int, shape (D,) or (members, D)
        Permutation(s) of the columns.
    n_direct : sequence of int, optional
        Of a column's inputs the first so many have direct connections, where the
        network makes them; by default all.
    hidden_layer_sizes : sequence of int
        Hidden units per layer.
    activation : {"logistic", "relu", "tanh"}
        g.
    dropout : float or sequence of float
        Share of hidden units dropped in training, also by member; see `draw_noise`.
    n_context : int
        Width of the context, which enters as extra biases.
    context_to : {"both", "output"}
        Whether it reaches the first hidden layer and the parameters, or these alone.
    context_as_input : bool
        Whether what the first hidden layer makes of it is drawn at the start, as of the
        inputs, and MADE has units of degree 0, which see nothing else. Otherwise it
        starts at 0, and in a MADE the first column is linear in the context.
    dtype, device
        Of the parameters, which are left unset until `reset_parameters`.
    """

    ordering: Tensor
    _direct_units: Tensor  # (*members, Σ n_direct)

    def __init__(
        self,
        n_inputs: Sequence[int],
        n_params: Sequence[int],
        ordering: Tensor,
        *,
        n_direct: Sequence[int] | None = None,
        hidden_layer_sizes: Sequence[int],
        activation: str = "relu",
        dropout: Dropout = 0.0,
        n_context: int = 0,
        context_to: str = "both",
        context_as_input: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__(ordering.shape[:-1], dtype=dtype, device=device)
        self.n_inputs = tuple(n_inputs)
        self.n_params = tuple(n_params)
        self.n_direct = tuple(n_inputs if n_direct is None else n_direct)
        if self.n_direct != self.n_inputs:  # no gathering where all are direct
            units = _masks.first_units(self.n_inputs, self.n_direct)
            index = torch.tensor(units, device=device).expand(*self.members, -1)
            self.register_buffer("_direct_units", index, persistent=False)
        self.hidden_layer_sizes = tuple(hidden_layer_sizes)
        self.activation = activation
        self.dropout = dropout
        self.n_context = n_context
        self.context_to = context_to
        self.context_as_input = context_as_input
        self.register_buffer("ordering", ordering.to(device))

    @property
    def n_from_context(self) -> int:
        """Inputs of the first hidden layer that come from the context."""
        seen = self.context_as_input and self.context_to == "both"
        return self.n_context if seen else 0

    @property
    def direct_units(self) -> Tensor | None:
        """The flat inputs that have direct connections; None where all do."""
        if self.n_direct == self.n_inputs:
            return None
        return self._direct_units.view(-1, sum(self.n_direct))[0]

    def _direct(self, u: Tensor) -> Tensor:
        """Those inputs of u (..., U)."""
        return u if self.direct_units is None else u[..., self.direct_units]

    @property
    def n_activations(self) -> int:
        """Numbers made for one row by all members, to size blocks of rows."""
        units = sum(self.n_inputs) + sum(self.n_params) + sum(self.hidden_layer_sizes)
        return max(1, math.prod(self.members) * units)

    def g(self, a: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](a)

    def reset_parameters(self, generator: torch.Generator, bias: Tensor) -> None:
        """Draw the weights; `bias` (Σ n_params) are the parameters without inputs."""
        raise NotImplementedError

    def draw_noise(self, n: int, generator: torch.Generator) -> Noise:
        """Dropout masks for n rows, one per hidden layer: (..., n, units)."""
        return self.dropout_masks(self.dropout, n, self.hidden_layer_sizes, generator)

    def forward(
        self, u: Tensor, context: Tensor | None = None, *, noise: Noise = ()
    ) -> Tensor:
        """All conditionals in parallel (teacher forcing): (..., n, U) -> (..., n, P).

        `context` (n, n_context) or (..., n, n_context); `noise` as drawn beforehand by
        `draw_noise`.
        """
        raise NotImplementedError

    def start(self, n: int, context: Tensor | None = None) -> Any:
        """The state before the first column, for n rows of one member."""
        raise NotImplementedError

    def step(self, state: Any, t: int) -> Tensor:
        """Parameters (n, n_params[ordering[t]]) of the column visited at position t."""
        raise NotImplementedError

    def observe(self, state: Any, t: int, u_t: Tensor) -> Any:
        """Take in that column's inputs (n, n_inputs[ordering[t]]).

        Returns the state after it; the buffers of the state passed in may be reused.
        """
        raise NotImplementedError


class FeedForward(Network):
    """Layers b0, b1, … and parameters c, whose biases a context is added to."""

    c: nn.Parameter
    C: nn.Parameter
    C_hidden: nn.Parameter

    def _add_context(self) -> None:
        """The context's weights C_hidden, where it reaches the first layer, and C."""
        if self.n_context:
            if self.hidden_layer_sizes and self.context_to == "both":
                n_first = self.hidden_layer_sizes[0]
                self.C_hidden = self._weights(n_first, self.n_context)
            self.C = self._weights(sum(self.n_params), self.n_context)

    def _biases(self, context: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """bˡ of every layer and c, (..., 1 or n, units), with the context's share."""
        layers = range(len(self.hidden_layer_sizes))
        bs = [getattr(self, f"b{i}").unsqueeze(-2) for i in layers]
        c = self.c.unsqueeze(-2)
        if self.n_context and context is not None:
            if bs and self.context_to == "both":
                bs[0] = bs[0] + context @ self.C_hidden.mT
            c = c + context @ self.C.mT
        return bs, c
