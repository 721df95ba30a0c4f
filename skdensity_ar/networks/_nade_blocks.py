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

Values = tuple[Tensor, ...]


def forward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """The outputs, and the running activation after the last column."""
    n_columns, run = len(u), _compiled(_forward_block)
    gain = _gain(u, W, rho, activation, -1.0) if u.shape[3] == 1 else None
    columns = _padded(u, W, V, rho, gain)
    out = []
    for begin in range(0, n_columns, _COLUMNS):
        out_block, a = run(a, *_block(begin, columns), mask, activation)
        out.append(out_block)
    return torch.cat(out)[:n_columns], a


def backward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    grad_out: Tensor,
    activation: str,
    needs_u: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None]:
    """Derivatives by a, u, W, V and ρ; every matrix is transposed, and they too."""
    n_columns, run = len(u), _compiled(_backward_block)
    gain = _gain(u, W, rho, activation, 1.0) if W.shape[3] == 1 else None
    columns = _padded(u, W, V, rho, grad_out, gain)
    grad_a, of_blocks = torch.zeros_like(a), []
    for begin in reversed(range(0, n_columns, _COLUMNS)):
        block = _block(begin, columns)
        a, grad_a, *grads = run(a, grad_a, *block, mask, activation, needs_u)
        of_blocks.append(grads)
    grad_u, grad_W, grad_V, grad_rho = (
        torch.stack([g for block in reversed(of_blocks) for g in block[i]])[:n_columns]
        if of_blocks[0][i]
        else None
        for i in range(4)
    )
    return grad_a, grad_u, grad_W, grad_V, grad_rho  # type: ignore[return-value]


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
    out = []
    hs = None if gain is None else _inverses(_odds(a, u, gain, range(len(u)))[:-1])
    for d in range(len(u)):
        h = _hidden(a, rho, d, activation) if hs is None else hs[d]
        h = h if mask is None else h * mask
        one = V.shape[2] == 1
        out.append((h * V[d]).sum(-1, keepdim=True) if one else h @ V[d].mT)
        a = a + (u[d] * W[d] if u.shape[3] == 1 else u[d] @ W[d])
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
) -> tuple[Tensor, Tensor, Values, Values, Values, Values]:
    n_columns, one_input, one_output = len(u), W.shape[3] == 1, V.shape[3] == 1
    grads: list[tuple] = []
    backwards = range(n_columns)[::-1]
    hs = None if gain is None else _inverses(_odds(a, u, gain, backwards)[1:])[::-1]
    for d in backwards:
        a = a - (W[d] * u[d] if one_input else W[d] @ u[d])  # a_d
        # W_d reaches a_{d+1} and all later ones: before position d joins.
        by_W = (grad_a * u[d]).sum(-1, True) if one_input else grad_a @ u[d].mT
        by_u = W[d].mT @ grad_a if needs_u else None
        h = _hidden(a, rho, d, activation) if hs is None else hs[d]
        by_psi = V[d] * grad_out[d] if one_output else V[d] @ grad_out[d]
        by_psi = _SLOPE[activation](h) * (by_psi if mask is None else by_psi * mask)
        h = h if mask is None else h * mask
        by_V = (h * grad_out[d]).sum(-1, True) if one_output else h @ grad_out[d].mT
        by_rho = None if rho is None else (by_psi * a).sum((-2, -1))
        grads.append((by_u, by_W, by_V, by_rho))
        by_a = by_psi if rho is None else by_psi * rho[d, :, None, None]
        grad_a = grad_a + by_a
    by = [
        tuple(g for g in each if g is not None)
        for each in zip(*grads[::-1], strict=True)
    ]
    return a, grad_a, *by  # type: ignore[return-value]


def _gain(
    u: Tensor, W: Tensor, rho: Tensor | None, activation: str, sign: float
) -> Tensor | None:
    """exp(± W) - 1, the share by which an input of 1 changes odds; None if unfit."""
    if activation != "logistic" or rho is not None or not u.is_cpu:
        return None  # a GPU would have to be waited for
    moved = max(block.abs().sum(0).amax() for block in W.split(_COLUMNS))
    is_bits = ((u == 0.0) | (u == 1.0)).all()
    return (sign * W).expm1() if is_bits and moved <= _ROOM else None


def _odds(a: Tensor, u: Tensor, gain: Tensor, columns: Sequence[int]) -> list[Tensor]:
    """The odds at a, and after each of these columns."""
    odds = [(-a.clamp(-_FARTHEST, _FARTHEST)).exp()]
    for d in columns:
        odds.append(odds[-1] * (1.0 + u[d] * gain[d]))
    return odds


def _inverses(odds: list[Tensor]) -> list[Tensor]:
    """1 / (1 + odds), by one division for two of them."""
    ps, hs = [1.0 + o for o in odds], []
    for p, q in zip(ps[::2], ps[1::2], strict=True):
        both = 1.0 / (p * q)
        hs += [both * q, both * p]
    return hs


def _hidden(a: Tensor, rho: Tensor | None, d: int, activation: str) -> Tensor:
    return ACTIVATIONS[activation](a if rho is None else a * rho[d, :, None, None])


def _padded(*of_columns: Tensor | None) -> list[Tensor | None]:
    """With columns of zeros, which do nothing, to fill the last block."""
    extra = -len(of_columns[0]) % _COLUMNS  # type: ignore[arg-type]
    return [
        None if x is None else pad(x, (0, 0) * (x.dim() - 1) + (0, extra))
        for x in of_columns
    ]


def _block(begin: int, of_columns: list[Tensor | None]) -> list[Tensor | None]:
    return [None if x is None else x[begin : begin + _COLUMNS] for x in of_columns]


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
