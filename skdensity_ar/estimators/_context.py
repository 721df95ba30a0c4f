"""What a density is conditioned on from outside: tables of contexts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdensity_ar._columns import Columns, fit_columns
from skdensity_ar._validation import check_context
from skdensity_ar.conditionals import Conditional
from skdensity_ar.estimators._build import conditional_blocks
from skdensity_ar.networks._masks import first_units


@dataclass
class Context:
    """A fitted table of contexts, and how networks take it in.

    Attributes
    ----------
    columns : Columns
        Kinds, categories and scaling, learned as those of X are.
    blocks : list of (Conditional, list of int)
        What encodes them.
    """

    columns: Columns
    blocks: Sequence[tuple[Conditional, Sequence[int]]]

    @property
    def n_inputs(self) -> int:
        """Inputs of a network."""
        return sum(c.n_inputs * len(columns) for c, columns in self.blocks)

    @property
    def linear(self) -> list[int]:
        """Those that are values themselves, or labels, and not waves of a value."""
        each = [c for c, columns in self.blocks for _ in columns]
        n_direct = [c.n_inputs if c.n_direct is None else c.n_direct for c in each]
        return first_units([c.n_inputs for c in each], n_direct)

    def read(self, C: Any, n: int) -> Any:
        """Check a table of n contexts."""
        return check_context(C, n, self.columns.names)

    def encode(self, C: Any) -> Tensor:
        """Turn a checked table into what networks take, (n, n_inputs), float64."""
        try:
            codes = torch.as_tensor(self.columns.transform(C), device="cpu")
        except ValueError as error:
            raise ValueError(_of_context(error)) from error
        encoded = [c.encode(codes[:, list(d)]).flatten(-2) for c, d in self.blocks]
        return torch.cat(encoded, -1)


def _of_context(error: Exception) -> str:
    """Say what is wrong with a context; what X could have, it cannot."""
    problem = str(error)
    if "conditional=" in problem:
        problem += " (Of X: contexts are numbers, or labels where they are strings.)"
    return f"context: {problem}"


def fit_context(
    C: Any,
    *,
    handle_unknown: str,
    max_categories: int | None,
    n_frequencies: int,
    weights: np.ndarray | None = None,
) -> Context:
    """Learn the columns of a checked table.

    A label that comes only when scoring is encoded as none of those seen, or refused,
    as `handle_unknown` says.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            columns = fit_columns(
                C,
                conditional="auto",
                numeric="gaussian_mixture",
                handle_unknown=handle_unknown,
                max_categories=max_categories,
                weights=weights,
            )
    except (ValueError, TypeError) as error:
        raise type(error)(_of_context(error)) from error
    for warning in caught:
        text = f"context: {warning.message}"
        warnings.warn(text, warning.category, stacklevel=2)
    if columns.constant:
        warnings.warn(
            f"context: the columns {columns.constant} are constant, so nothing is "
            "learnt from them, and whatever they hold when scoring changes nothing. "
            "Drop them to be rid of this warning.",
            UserWarning,
            stacklevel=2,
        )
    blocks = conditional_blocks(columns, 1, n_frequencies, torch.device("cpu"))
    return Context(columns, blocks)
