"""NADE's recursion in blocks of columns that `torch.compile` makes one loop each.

The same arithmetic as in `_nade_kernel`, written as values of values: a compiler then
keeps the running activation of a block in registers, and reads it once for sixteen
columns where operation after operation would go over it some thirty times.

Where inputs are 0 or 1 and g is logistic, a block takes one exponential for each unit
and not one for every column: the odds (1 - h) / h = exp(-a) that a unit is off then
grow from column to column by a factor exp(-W_d) or not at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from skdensity_ar.networks._base import ACTIVATIONS

# Columns of a block. More make compiling slower and the loop no faster.
_COLUMNS = 16

# Nothing of a block is to be written out because many read it.
_ONE_LOOP = {
    "realize_opcount_threshold": 10**6,
    "realize_reads_threshold": 10**6,
    "realize_acc_reads_threshold": 10**6,
}

# The logarithm of odds is held within ± _FARTHEST at the start of a block, beyond which
# h is 0 or 1 to the last digit, and the weights of a block can move it by _ROOM: e^±85
# and its inverse are normal numbers in float32.
_FARTHEST, _ROOM = 60.0, 25.0


def forward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
    order: Sequence[int],
) -> tuple[Tensor, Tensor, bool]:
    """The outputs, the running activation after the last column, and `follow`."""
    run, out = _compiled(_forward_block), a.new_empty((*V.shape[:3], a.shape[-1]))
    index = _index(order, a.device)
    u, W = _visited(u, index), _visited(W, index)
    follow = rho is None and _can_follow_odds(u, W, activation)
    gain = torch.expm1(-W) if follow else None
    a = a.contiguous()  # as later blocks have it: other strides are compiled anew
    for positions, columns in _blocks(len(u), index):
        u_b, W_b, rho_b, gain_b = (_taken(x, positions) for x in (u, W, rho, gain))
        V_b = _taken(V, columns)
        out_b, a = run(a, u_b, W_b, V_b, rho_b, gain_b, mask, activation)
        _put(out, columns, out_b)
    return out, a, follow


def backward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    grad_out: Tensor,
    activation: str,
    order: Sequence[int],
    needs_u: bool,
    follow: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None]:
    """Derivatives by a, u, W, V and ρ; `follow` as `forward` found it."""
    run, grad_a = _compiled(_backward_block), torch.zeros_like(a)
    index = _index(order, a.device)
    u, W = _visited(u, index), _visited(W, index)
    gain = torch.expm1(W) if follow else None
    grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
    grad_u = torch.empty_like(u) if needs_u else None
    grad_rho = None if rho is None else torch.empty_like(rho)
    for positions, columns in reversed(_blocks(len(u), index)):
        u_b, W_b, rho_b, gain_b = (_taken(x, positions) for x in (u, W, rho, gain))
        V_b, g_b = (_taken(x, columns) for x in (V, grad_out))
        given = (u_b, W_b, V_b, rho_b, g_b, gain_b, mask, activation, needs_u)
        a, grad_a, by_u, by_W, by_V, by_rho = run(a, grad_a, *given)
        _put(grad_W, positions, by_W)
        _put(grad_V, columns, by_V)
        if grad_u is not None:
            _put(grad_u, positions, by_u)
        if grad_rho is not None:
            _put(grad_rho, positions, by_rho)
    back = None if index is None else index.argsort()
    grad_u = None if grad_u is None else _visited(grad_u, back)
    return grad_a, grad_u, _visited(grad_W, back), grad_V, grad_rho


def _forward_block(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    gain: Tensor | None,
    mask: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor]:
    one_input, hs = W.shape[2] == 1, []
    if gain is not None:
        hs = _inverses(_odds(a, u, gain, range(len(u)))[:-1])
    for d in range(len(u)):
        if gain is None:
            hs.append(_hidden(a, rho, d, activation))
        a = a + (W[d].mT * u[d] if one_input else W[d].mT @ u[d])
    hs = hs if mask is None else [h * mask for h in hs]
    if V.shape[2] > 1:  # products of all columns in one, outside of the loop
        return V @ torch.stack(hs), a
    out = [(V_d.mT * h).sum(-2, True) for V_d, h in zip(V, hs, strict=True)]
    return torch.stack(out), a


def _backward_block(
    a: Tensor,
    grad_a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    grad_out: Tensor,
    gain: Tensor | None,
    mask: Tensor | None,
    activation: str,
    needs_u: bool,
) -> tuple[Tensor | None, ...]:
    """The block's first a and its gradient, and what `backward` gives after that."""
    one_input, one_output = W.shape[2] == 1, V.shape[2] == 1
    by_h = V.mT * grad_out if one_output else V.mT @ grad_out
    backwards, hs = range(len(u))[::-1], []
    grads: list[tuple[Tensor | None, ...]] = []
    if gain is not None:
        hs = _inverses(_odds(a, u, gain, backwards)[1:])
    for d in backwards:
        a = a - (W[d].mT * u[d] if one_input else W[d].mT @ u[d])  # a_d
        # W_d reaches a_{d+1} and all later ones: before position d joins.
        by_W = _product_of_rows(u[d], grad_a)
        by_u = W[d] @ grad_a if needs_u else None
        if gain is None:
            hs.append(_hidden(a, rho, d, activation))
        by_psi = by_h[d] if mask is None else by_h[d] * mask
        by_psi = _SLOPE[activation](hs[len(grads)]) * by_psi
        by_rho = None if rho is None else (by_psi * a).sum((-2, -1))
        grads.append((by_u, by_W, by_rho))
        grad_a = grad_a + (by_psi if rho is None else by_psi * rho[d, :, None, None])
    hs = [h if mask is None else h * mask for h in reversed(hs)]
    if one_output:
        pairs = zip(grad_out, hs, strict=True)
        by_V = torch.stack([_product_of_rows(g, h) for g, h in pairs])
    else:
        by_V = grad_out @ torch.stack(hs).mT
    of_u, of_W, of_rho = (
        None if each[0] is None else torch.stack(each)
        for each in zip(*reversed(grads), strict=True)
    )
    return a, grad_a, of_u, of_W, by_V, of_rho


def _product_of_rows(few: Tensor, many: Tensor) -> Tensor:
    """few manyᵀ, summed over the rows, which come last."""
    one = few.shape[-2] == 1
    return (many * few).sum(-1).unsqueeze(-2) if one else few @ many.mT


def _hidden(a: Tensor, rho: Tensor | None, d: int, activation: str) -> Tensor:
    return ACTIVATIONS[activation](a if rho is None else a * rho[d, :, None, None])


def _can_follow_odds(u: Tensor, W: Tensor, activation: str) -> bool:
    """Whether inputs are bits and no weights, as visited, are too large."""
    if activation != "logistic" or W.shape[2] > 1 or not u.is_cpu:
        return False  # a GPU would have to be waited for
    filled = pad(W.abs(), (0, 0) * 3 + (0, -len(W) % _COLUMNS))
    moved = filled.unflatten(0, (-1, _COLUMNS)).sum(1).amax()
    return bool(moved <= _ROOM and ((u == 0.0) | (u == 1.0)).all())


def _odds(a: Tensor, u: Tensor, gain: Tensor, columns: Sequence[int]) -> list[Tensor]:
    """The odds at a, and after each of these columns, whose input of 1 adds a share."""
    odds = [(-a.clamp(-_FARTHEST, _FARTHEST)).exp()]
    for d in columns:
        odds.append(odds[-1] * (1.0 + gain[d].mT * u[d]))
    return odds


def _inverses(odds: list[Tensor]) -> list[Tensor]:
    """1 / (1 + odds), by one division for two of them."""
    ps, hs = [1.0 + o for o in odds], []
    for p, q in zip(ps[::2], ps[1::2], strict=True):
        both = 1.0 / (p * q)
        hs += [both * q, both * p]
    return hs


def _index(order: Sequence[int], device: torch.device) -> Tensor | None:
    """The columns as visited; None where they stand in this order."""
    if list(order) == list(range(len(order))):
        return None
    return torch.tensor(order, device=device)


def _visited(x: Tensor, index: Tensor | None) -> Tensor:
    return x if index is None else x.index_select(0, index)


def _blocks(n_columns: int, index: Tensor | None) -> list[tuple[slice, slice | Tensor]]:
    """The positions and the columns of every block; slices need no copies."""
    ends = range(_COLUMNS, n_columns + _COLUMNS, _COLUMNS)
    slices = [slice(end - _COLUMNS, min(end, n_columns)) for end in ends]
    if index is None:
        return [(positions, positions) for positions in slices]
    return list(zip(slices, index.split(_COLUMNS), strict=True))


def _taken(x: Tensor | None, where: slice | Tensor) -> Any:
    """These columns, and columns of zeros, which do nothing, to fill a block."""
    if x is None:
        return None
    x = x[where] if isinstance(where, slice) else x.index_select(0, where)
    if extra := _COLUMNS - len(x):
        x = pad(x, (0, 0) * (x.dim() - 1) + (0, extra))
    return x


def _put(x: Tensor, where: slice | Tensor, values: Tensor) -> None:
    n = where.stop - where.start if isinstance(where, slice) else len(where)
    x[where] = values[:n]


# g', told by h = g(ψ).
_SLOPE: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": lambda h: h * (1.0 - h),
    "relu": lambda h: (h > 0.0).to(h.dtype),
    "tanh": lambda h: 1.0 - h * h,
}


@cache
def _compiled(block: Callable[..., Any]) -> Callable[..., Any]:
    """`block` compiled, or as it is where that fails."""
    compiled = torch.compile(block, options=dict(_ONE_LOOP))
    works: list[bool] = []

    def run(*args: Any) -> Any:
        if not works:
            try:
                result = compiled(*args)
            except Exception as error:  # there is no compiler, or it does not work
                works.append(False)
                warnings.warn(
                    "compile=True: torch.compile failed, and the fit goes on without "
                    f"it; a C++ compiler may be missing. {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                works.append(True)
                return result
        return compiled(*args) if works[0] else block(*args)

    return run
