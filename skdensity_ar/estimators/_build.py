"""From fitted columns and an estimator's parameters to what its module is made of."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdensity_ar._columns import Columns
from skdensity_ar._device import free_memory
from skdensity_ar._validation import InvalidParameterError
from skdensity_ar.conditionals import Conditional, Mixture, WithAtoms

# Copies of every weight while training: itself, its gradient, Adam's two moments, the
# running average and the best so far.
_COPIES_OF_WEIGHTS = 6


def conditional_blocks(
    columns: Columns, n_components: int, n_frequencies: int, device: torch.device
) -> list[tuple[Conditional, list[int]]]:
    """Group the columns that one call can evaluate; a conditional for each group."""
    groups: dict[tuple, list[int]] = {}
    for d, column in enumerate(columns.columns):
        spec = column.spec
        alone = d if spec.atoms else None
        key = (column.conditional, spec.n_categories, len(spec.shares), alone)
        groups.setdefault(key, []).append(d)
    blocks = []
    for (cls, *_), members in groups.items():
        specs = [columns.columns[d].spec for d in members]
        conditional = cls.for_columns(specs, n_components=n_components)
        if specs[0].atoms:
            conditional = WithAtoms(conditional, specs[0].atoms)
        conditional = conditional.with_frequencies(n_frequencies).to(device)
        blocks.append((conditional, members))
    return blocks


def column_widths(
    blocks: Sequence[tuple[Conditional, Sequence[int]]],
) -> tuple[list[int], list[int], list[int]]:
    """Read off how many inputs, parameters and direct inputs every column has."""
    by_column = {d: conditional for conditional, members in blocks for d in members}
    ordered = [by_column[d] for d in range(len(by_column))]
    n_inputs = [c.n_inputs for c in ordered]
    n_direct = [c.n_inputs if c.n_direct is None else c.n_direct for c in ordered]
    return n_inputs, [c.n_params for c in ordered], n_direct


def mixture_columns(
    blocks: Sequence[tuple[Conditional, Sequence[int]]],
) -> list[int]:
    """List the columns whose conditionals are mixtures of components on the line."""
    return [d for c, columns in blocks if isinstance(c, Mixture) for d in columns]


def with_predictions(
    blocks: list[tuple[Conditional, list[int]]], J: int
) -> list[tuple[Conditional, list[int]]]:
    """Give J more components to mixtures, for what Gaussians say of their columns."""
    return [
        (c.with_predicted(J) if isinstance(c, Mixture) else c, columns)
        for c, columns in blocks
    ]


def check_memory(
    n_networks: int,
    n_weights: int,
    layers: dict[str, tuple[int, ...]],
    dtype: torch.dtype,
    device: torch.device,
    *,
    parameter: str = "n_orderings",
) -> None:
    """Refuse networks whose weights would not fit, before they are made.

    `parameter` says how many there are; `n_weights` is of one of them, `layers` are the
    parameters that decide it.
    """
    needed = n_networks * n_weights * dtype.itemsize * _COPIES_OF_WEIGHTS
    free = free_memory(device)
    if free is not None and needed > free:
        described = " and ".join(f"{name}={sizes}" for name, sizes in layers.items())
        raise ValueError(
            f"{parameter}={n_networks} networks with {described} take about "
            f"{needed / 2**30:.1f} GiB to train, {free / 2**30:.1f} GiB are free on "
            f"{device}; lower {parameter} or {' or '.join(layers)}."
        )


def make_orderings(
    ordering: Any, n: int, n_columns: int, generator: torch.Generator
) -> Tensor:
    """Make n orderings (n, n_columns): the first as asked for, the others drawn."""
    device = generator.device
    drawn = [
        torch.randperm(n_columns, generator=generator, device=device) for _ in range(n)
    ]
    natural = torch.arange(n_columns, device=device)
    if isinstance(ordering, str):
        named = {"natural": natural, "reversed": natural.flip(0)}
        drawn[0] = named.get(ordering, drawn[0])
    else:
        given = np.asarray(ordering)
        whole = given.dtype.kind in "iu" and given.shape == (n_columns,)
        if not whole or set(given.tolist()) != set(range(n_columns)):
            raise ValueError(
                f"ordering must be a permutation of the {n_columns} columns 0 … "
                f"{n_columns - 1}, got {ordering!r}."
            )
        drawn[0] = torch.as_tensor(given.astype(np.int64), device=device)
    return torch.stack(drawn)


def layer_sizes(sizes: Any, parameter: str) -> tuple[int, ...]:
    """Check a parameter of layer sizes, an integer or a sequence of such."""
    listed = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
    for size in listed:
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise InvalidParameterError(
                f"{parameter} must be integers >= 1, got {size!r} in {sizes!r}."
            )
    return tuple(int(size) for size in listed)
