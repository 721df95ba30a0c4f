"""MADE column after column: every unit computed once, as soon as it can be.

All units stand in rising order of degree: inputs and outputs in the order in which the
columns are visited, hidden units as `hidden_degrees` has them. A layer's units that
become known at a position are then a slice, and so are the units that they see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

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
        Filled in from outside; numbers, if not yet the right ones, from the start.
    ends : sequence of int
        At position t the units ends[t] … ends[t + 1] are computed.
    seen : sequence of int
        From the sources before seen[t]; the others have no weight.
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
            self._begin_block(t)
        units, W = next(self.positions)
        return torch.addmm(units, W, self.since) if W.shape[0] else units

    def _begin_block(self, t: int) -> None:
        last = min(t + BLOCK, len(self.ends) - 1)
        rows, before = slice(self.ends[t], self.ends[last]), self.seen[t]
        since = slice(before, self.seen[last - 1])
        block = torch.addmm(self.b[rows], self.W[rows, :before], self.sources[:before])
        sizes = _differences(self.ends[t : last + 1])
        parts = (block.split(sizes), self.W[rows, since].split(sizes))
        self.positions = zip(*parts, strict=True)
        self.since = self.sources[since]


class Steps:
    """The state of sampling n rows of one network.

    Parameters
    ----------
    Ws, bs : list of Tensor
        Of the hidden layers, the columns of the first W in visiting order.
    V : Tensor
        From all that the outputs see, in rising order of degree, to the parameters in
        visiting order.
    c : Tensor of shape (P, 1) or (P, n)
        Biases of the parameters, in visiting order.
    g : callable
        Activation, with `out`.
    known : list of list of int
        known[l][t]: how many units of layer l have a degree ≤ t; layer 0 are the
        inputs. Those of degree 0 are known from the start.
    ends : list of int
        Bounds of the parameters of each position.
    direct : bool
        Whether the outputs see the inputs, which then come before the units of the last
        hidden layer with the same degree.
    """

    def __init__(
        self,
        n: int,
        Ws: list[Tensor],
        bs: list[Tensor],
        V: Tensor,
        c: Tensor,
        *,
        g: Callable[..., Any],
        known: list[list[int]],
        ends: list[int],
        direct: bool,
    ):
        self.g = g
        self.units = [c.new_zeros((known_[-1], n)) for known_ in known[: len(Ws)]]
        self.layers = [
            Layer(W, b, self.units[i], ends=known[i + 1], seen=known[i][1:])
            for i, (W, b) in enumerate(zip(Ws, bs, strict=True))
        ]
        visible = known[: int(direct)] + (known[-1:] if Ws else [])
        visible_known = [sum(of_degree) for of_degree in zip(*visible, strict=True)]
        self.visible = c.new_zeros((visible_known[-1], n))
        self.outputs = Layer(V, c, self.visible, ends=ends, seen=visible_known)
        self._begin(Ws, bs, known)
        self._share_out(known, visible)

    def _begin(
        self, Ws: list[Tensor], bs: list[Tensor], known: list[list[int]]
    ) -> None:
        """Compute the units of degree 0, which see no column."""
        h = self.units[0][:0] if self.units else self.visible[:0]
        for i, (W, b) in enumerate(zip(Ws, bs, strict=True)):
            n_units = known[i + 1][0]
            into = self.units[i + 1] if i + 1 < len(self.units) else self.visible
            h = torch.addmm(b[:n_units], W[:n_units, : len(h)], h)
            self.g(h, out=into[:n_units])
            h = into[:n_units]

    def _share_out(self, known: list[list[int]], visible: list[list[int]]) -> None:
        """The places of every position's inputs and of its units, layer by layer."""
        places = [
            units[known_[0] :].split(_differences(known_))
            for units, known_ in zip(self.units, known, strict=False)
        ]
        by_position = zip(*(_differences(known_) for known_ in visible), strict=True)
        sizes = [size for sizes in by_position for size in sizes]
        seen = self.visible[sum(known_[0] for known_ in visible) :].split(sizes)
        of_kind = [seen[i :: len(visible)] for i in range(len(visible))]
        self.hidden = [*places[1:], *of_kind[-1:]] if self.layers else []
        self.inputs = [*places[:1], *of_kind[: len(of_kind) - bool(self.layers)]]

    def step(self, t: int) -> Tensor:
        return self.outputs.at(t).T

    def observe(self, t: int, u_t: Tensor) -> None:
        u = u_t.T
        for places in self.inputs:
            places[t].copy_(u)
        for layer, places in zip(self.layers, self.hidden, strict=True):
            self.g(layer.at(t), out=places[t])


def _differences(ends: Sequence[int]) -> list[int]:
    return [end - begin for begin, end in pairwise(ends)]
