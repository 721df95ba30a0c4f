"""MADE column after column: every unit computed once, as soon as it can be.

All units stand in rising order of degree: inputs and outputs in the order in which the
columns are visited, hidden units as `hidden_degrees` has them. A layer's units that
become known at a position are then a slice, and so are the units that they see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Positions of a block. A block's units read what was known before it in one product,
# and at their own position only what has come since: else every position would read
# all units so far, and memory, not arithmetic, would set the pace.
BLOCK = 32


class Layer:
    """b + W s, position after position, for sources s that become known meanwhile.

    Parameters
    ----------
    W : Tensor of shape (units, sources)
        Masked already.
    b : Tensor of shape (units, 1) or (units, n)
    sources : Tensor of shape (sources, n)
        Filled in from outside.
    ends : sequence of int
        At position t the units ends[t] … ends[t + 1] are computed.
    seen : sequence of int
        From the sources before seen[t].
    """

    def __init__(
        self,
        W: Tensor,
        b: Tensor,
        sources: Tensor,
        *,
        ends: Sequence[int],
        seen: Sequence[int],
    ):
        self.W, self.b, self.sources = W, b, sources
        self.ends, self.seen = ends, seen

    def at(self, t: int) -> Tensor:
        """The units of position t, (units, n)."""
        if t % BLOCK == 0:
            last = min(t + BLOCK, len(self.ends) - 1)
            self.first, self.before = self.ends[t], self.seen[t]
            rows = slice(self.first, self.ends[last])
            self.block = torch.addmm(
                self.b[rows], self.W[rows, : self.before], self.sources[: self.before]
            )
        begin, end, seen = self.ends[t], self.ends[t + 1], self.seen[t]
        units = self.block[begin - self.first : end - self.first]
        if seen == self.before or begin == end:
            return units
        since = slice(self.before, seen)
        return torch.addmm(units, self.W[begin:end, since], self.sources[since])


class Steps:
    """The state of sampling n rows of one network.

    Parameters
    ----------
    Ws, bs : list of Tensor
        Of the hidden layers, the columns of the first W in visiting order.
    outputs : list of (Tensor, int)
        Weights from the units of a layer, 0 the inputs, to the parameters; their rows
        in visiting order, and the columns of those from the inputs too.
    c : Tensor of shape (P, 1) or (P, n)
        Biases of the parameters, in visiting order.
    g : callable
        Activation.
    known : list of list of int
        known[l][t]: how many units of layer l have a degree ≤ t.
    ends : list of int
        Bounds of the parameters of each position.
    """

    def __init__(
        self,
        n: int,
        Ws: list[Tensor],
        bs: list[Tensor],
        outputs: list[tuple[Tensor, int]],
        c: Tensor,
        *,
        g: Callable[[Tensor], Tensor],
        known: list[list[int]],
        ends: list[int],
    ):
        self.g, self.known = g, known
        self.units = [c.new_empty((ends_[-1], n)) for ends_ in known]
        self.layers = [
            Layer(W, b, self.units[i], ends=known[i + 1], seen=known[i][1:])
            for i, (W, b) in enumerate(zip(Ws, bs, strict=True))
        ]
        none = c.new_zeros(()).expand(c.shape[0], 1)
        self.outputs = [
            Layer(W, none if i else c, self.units[layer], ends=ends, seen=known[layer])
            for i, (W, layer) in enumerate(outputs)
        ]

    def step(self, t: int) -> Tensor:
        first, *others = (layer.at(t) for layer in self.outputs)
        return sum(others, first).T

    def observe(self, t: int, u_t: Tensor) -> None:
        self.units[0][self.known[0][t] : self.known[0][t + 1]] = u_t.T
        for i, layer in enumerate(self.layers, start=1):
            h = self.units[i][self.known[i][t] : self.known[i][t + 1]]
            h.copy_(self.g(layer.at(t)))
