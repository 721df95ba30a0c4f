"""The protocol of p(x_d | params)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ColumnSpec:
    """What a conditional may know of a column before training.

    Attributes
    ----------
    n_categories : int
        Number of categories or levels of the column, a group of rare ones counting as
        one; 0 where it has none.
    shares : tuple of float
        Of the labels in the group, which is the last category; none without a group.
    scale_floor : float
        Smallest scale of a mixture component, in the units of the standardised
        column.
    center, scale : float
        What standardises integers, which come as they are: (x - center) / scale.
    first : float
        The smallest integer that can be.
    atoms : tuple of float
        Where single values of a real column lie that have mass, in rising order, in
        the units of the standardised column; -inf and inf for those on a bound or
        beyond it.
    """

    n_categories: int = 0
    shares: tuple[float, ...] = ()
    scale_floor: float = 0.0
    center: float = 0.0
    scale: float = 1.0
    first: float = 0.0
    atoms: tuple[float, ...] = ()


class Conditional(nn.Module):
    """p(x_d | params) for a block of columns that share one family.

    A conditional holds no learned state: its buffers are constants of the columns, of
    shape (..., D), or (members, 1, ..., D) where the members of an ensemble differ.
    Every method acts elementwise along the column axis, so one call evaluates all
    columns of the block, and any axes may lead.

    Attributes
    ----------
    support : {"binary", "category", "ordinal", "count", "real", "raw"}
        What the values are before they come here: {0, 1}; codes 0 … K-1 with K for
        a category not seen in training; likewise of levels in their order; integers
        from `ColumnSpec.first` on; standardised numbers; numbers as they are.
    n_inputs : int
        Network inputs per column.
    n_direct : int or None
        The first so many of them, or all, reach the parameters of later columns by
        direct connections too, where a network has these.
    n_params : int
        Parameters per column.
    n_uniforms : int or None
        Numbers that `from_uniforms` makes a draw of; None where there is none.
    """

    support: ClassVar[Literal["binary", "category", "ordinal", "count", "real", "raw"]]
    n_inputs: int
    n_params: int
    n_direct: int | None = None
    n_uniforms: int | None = None

    @classmethod
    def for_columns(
        cls, specs: Sequence[ColumnSpec], *, n_components: int
    ) -> Conditional:
        """Build the conditional of columns that share one shape of parameters."""
        return cls()

    def encode(self, x: Tensor) -> Tensor:
        """Turn values (..., D) into network inputs (..., D, n_inputs)."""
        raise NotImplementedError

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Evaluate log p(x | params) in nats, (..., D, n_params), (..., D) -> (..., D).

        A density in the units of `x` for real columns, a mass for the others.
        """
        raise NotImplementedError

    def log_vague(self, x: Tensor) -> Tensor:
        """Evaluate a broad density or mass that knows nothing, (..., D) -> (..., D).

        Of what a wrong value may be; there is none by default.
        """
        return torch.full_like(x, -torch.inf)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        """Draw values (..., D) given parameters (..., D, n_params)."""
        if self.n_uniforms is None:
            raise NotImplementedError
        u = torch.rand(
            (self.n_uniforms, *params.shape[:-1]),
            generator=generator,
            dtype=torch.float64,
            device=params.device,
        )
        return self.from_uniforms(params, u)

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        """The draw that uniforms u in [0, 1) make, (n_uniforms, ..., D) -> (..., D).

        So that rows can share what chance there is in their draws.
        """
        raise NotImplementedError

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X ≤ x | params), (..., D, n_params), (..., D) -> (..., D).

        Of values that have an order.
        """
        raise NotImplementedError

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """The least x of P(X ≤ x) ≥ q, (E, ..., D, n_params) -> (..., D).

        Of the average of E densities, by equal weights or those given, (E, ..., D).
        q is a number in (0, 1), or one for each value (..., D).
        """
        raise NotImplementedError

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        """What stands for a value that is not known, (E, ..., D, n_params) -> (..., D).

        The mean, median or mode, as `kind` says, of the average of E densities, by
        equal weights or those given, (E, ..., D); of categories always the mode.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not say what a mean, median or mode is: "
            "define center(params, kind, weights), or impute with strategy='sample'."
        )

    def initial_bias(self, x: Tensor) -> Tensor:
        """Parameters (D, n_params) that fit each column of `x` (n, D) by itself."""
        raise NotImplementedError

    def adapted(self, x: Tensor) -> Conditional:
        """The conditional for training on columns x, (n, D) or (members, n, D).

        For constants that depend on the values; `initial_bias` comes after it.
        """
        return self

    def divided(self, by: Tensor) -> Conditional:
        """The conditional of values that were divided again, by (members, D).

        Only real columns ever are. What is not in units of the values stays.
        """
        return self

    def with_frequencies(self, n_frequencies: int) -> Conditional:
        """The conditional whose inputs show so many waves of a number as well."""
        return self

    def select(self, index: int, member: int = 0) -> Conditional:
        """The conditional of one column of the block (a block of one)."""
        if all(buffer is None for buffer in self.buffers()):
            return self  # there is nothing that columns differ in
        one = type(self).__new__(type(self))
        one.__dict__ = {**self.__dict__}
        one._modules = {
            name: part.select(index, member) if isinstance(part, Conditional) else part
            for name, part in self._modules.items()
        }
        one._buffers = {}
        for name, buffer in self._buffers.items():
            if buffer is not None:
                buffer = buffer[..., index : index + 1]
                if buffer.dim() > 2:
                    buffer = buffer[member % len(buffer)]
            one._buffers[name] = buffer
        return one


def average(values: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the first axis, by equal weights or those given."""
    return values.mean(0) if weights is None else (values * weights).sum(0)
