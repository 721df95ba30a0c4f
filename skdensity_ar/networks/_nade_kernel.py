"""NADE's recursion over the columns with a backward pass that keeps nothing.

Autograd would keep several (n, H) tensors for every column. Here the backward pass
takes the running activation apart again, a_d = a_{d+1} - W_d u_d, as Algorithm 1 of
the RNN-RNADE supplement does: a few such buffers serve whatever D is. What it finds
differs from the forward pass by rounding: a rectified unit so close to zero may take
its slope from the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from skdensity_ar.networks import _nade_blocks
from skdensity_ar.networks._base import ACTIVATIONS_TO


def nade_outputs(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
    order: Sequence[int] | None = None,
    compiled: bool = False,
) -> Tensor:
    """V_d (g(ρ_d a_d) ⊙ mask) of all columns, with a_{d+1} = a_d + W_d u_d.

    Rows come last: sums over them then share out the units among threads just as other
    operations do, and no memory goes from core to core.

    Parameters
    ----------
    a : Tensor of shape (E, H, n)
        a_1.
    u : Tensor of shape (D, E, I, n)
    W : Tensor of shape (D, E, I, H)
    V : Tensor of shape (D, E, P, H)
    rho : Tensor of shape (D, E) or None
        By position in the order of the visit; None stands for ones.
    mask : Tensor of shape (E, H, n) or None
        Of dropout.
    activation : {"logistic", "relu", "tanh"}
        g.
    order : sequence of int, optional
        In which the columns are visited; by default as they stand.
    compiled : bool
        Whether `_nade_blocks` does it.

    Returns
    -------
    out : Tensor of shape (D, E, P, n)
    """
    order = range(len(u)) if order is None else order
    if rho is not None and activation == "relu" and _all_positive(rho):
        # max(ρ_d a_d, 0) = ρ_d max(a_d, 0): all columns are multiplied in the end.
        given = (mask, activation, order, compiled)
        positions = torch.tensor(order, device="cpu").argsort()
        return nade_outputs(a, u, W, V, None, *given) * rho[positions, :, None, None]
    passes = (_nade_blocks.forward, _nade_blocks.backward)
    return _NADEOutputs.apply(
        *(a, u, W, V, rho, mask, activation),
        order,
        passes if compiled else (_forward, _backward),
    )


def _all_positive(rho: Tensor) -> bool:
    """Whether all are; a GPU would have to be waited for, and is not asked."""
    return rho.is_cpu and bool((rho > 0.0).all())


class _NADEOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a, u, W, V, rho, mask, activation, order, passes):
        forward, ctx.backward_pass = passes
        out, a, *ctx.found = forward(a, u, W, V, rho, mask, activation, order)
        ctx.save_for_backward(a, u, W, V, rho, mask)
        ctx.activation, ctx.order = activation, order
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out):
        needs_u = ctx.needs_input_grad[1]
        given = (*ctx.saved_tensors, grad_out.contiguous())
        how = (ctx.activation, ctx.order, needs_u, *ctx.found)
        grads = ctx.backward_pass(*given, *how)
        return *grads, None, None, None, None


def _forward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
    order: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The outputs, and the running activation after the last column."""
    a = a.clone(memory_format=torch.contiguous_format)
    h, out = torch.empty_like(a), a.new_empty((*V.shape[:3], a.shape[-1]))
    columns = list(zip(u, W.mT, V, out, strict=True))
    for d, rho_d in zip(order, _of_positions(rho, order), strict=True):
        u_d, W_d, V_d, out_d = columns[d]
        _hidden(a, rho_d, activation, out=h)
        if mask is not None:
            h.mul_(mask)
        torch.bmm(V_d, h, out=out_d)
        _add_product(a, W_d, u_d, 1.0)
    return out, a


def _backward(
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
) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None]:
    """Derivatives by a, u, W, V and ρ."""
    times_slope = _TIMES_SLOPE[activation]
    one_input, one_output = W.shape[2] == 1, V.shape[2] == 1
    E, a = len(a), a.clone()
    h, grad_h, grad_a = torch.empty_like(a), torch.empty_like(a), torch.zeros_like(a)
    grad_u = torch.empty_like(u) if needs_u else None
    grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
    grad_rho = None if rho is None else rho.new_empty((*rho.shape, 1, 1))
    dots = grad_h.view(E, 1, -1), a.view(E, -1, 1)
    of_columns = [u, W.mT, V.mT, grad_out]
    of_columns += [u.mT, grad_W.mT] if one_input else [u, grad_W]
    of_columns += [grad_out.mT, grad_V.mT] if one_output else [grad_out, grad_V]
    columns = list(zip(*(x.unbind() for x in of_columns), strict=True))
    positions = (order, *(_of_positions(x, order) for x in (rho, grad_rho)))
    for d, rho_d, grad_rho_d in reversed(list(zip(*positions, strict=True))):
        u_d, W_d, V_d, g_d, few_u, grad_W_d, few_g, grad_V_d = columns[d]
        _add_product(a, W_d, u_d, -1.0)  # a_d
        # W_d reaches a_{d+1} and all later ones: before position d joins.
        _sum_over_rows(grad_a, few_u, one_input, out=grad_W_d)
        if grad_u is not None:
            torch.bmm(W_d.mT, grad_a, out=grad_u[d])
        _hidden(a, rho_d, activation, out=h)
        if mask is None and rho is None and one_output:
            _sum_over_rows(h, few_g, one_output, out=grad_V_d)
            times_slope(V_d, h, grad_h)
            grad_a.addcmul_(grad_h, g_d)
            continue
        if one_output:
            torch.mul(V_d, g_d, out=grad_h)
        else:
            torch.bmm(V_d, g_d, out=grad_h)
        if mask is not None:
            grad_h.mul_(mask)
        times_slope(grad_h, h, grad_h)  # of ψ_d = ρ_d a_d
        h = h if mask is None else h.mul_(mask)
        _sum_over_rows(h, few_g, one_output, out=grad_V_d)
        if rho_d is None:
            grad_a.add_(grad_h)
        else:
            torch.bmm(*dots, out=grad_rho_d)
            grad_a.addcmul_(grad_h, rho_d)
    if rho is not None and grad_rho is not None:
        grad_rho = grad_rho.view_as(rho)
    return grad_a, grad_u, grad_W, grad_V, grad_rho


def _of_positions(rho: Tensor | None, order: Sequence[int]) -> Sequence[Any]:
    """Numbers of the positions, (E, 1, 1) each, or nothing for any."""
    if rho is None:
        return [None] * len(order)
    return rho.view(*rho.shape[:2], 1, 1).unbind()


def _hidden(a: Tensor, rho: Tensor | None, activation: str, out: Tensor) -> None:
    """g(ρ_d a_d), written to `out`."""
    psi = a if rho is None else torch.mul(a, rho, out=out)
    ACTIVATIONS_TO[activation](psi, out=out)


def _sum_over_rows(many: Tensor, few: Tensor, one: bool, out: Tensor) -> None:
    """few manyᵀ, or many few where that is one vector (n, 1) and the result (H, 1)."""
    if one:
        torch.bmm(many, few, out=out)
    else:
        torch.bmm(few, many.mT, out=out)


def _add_product(a: Tensor, left: Tensor, right: Tensor, sign: float) -> None:
    """a ± a product, in place."""
    if left.shape[-1] == 1:  # a product of a column and a row needs no gemm
        a.addcmul_(left, right, value=sign)
    else:
        a.baddbmm_(left, right, alpha=sign)


# A gradient times g', told by h = g(ψ), written to `out`.
_TIMES_SLOPE = {
    "logistic": lambda grad, h, out: torch.ops.aten.sigmoid_backward.grad_input(
        grad, h, grad_input=out
    ),
    "relu": lambda grad, h, out: torch.ops.aten.threshold_backward.grad_input(
        grad, h, 0.0, grad_input=out
    ),
    "tanh": lambda grad, h, out: torch.ops.aten.tanh_backward.grad_input(
        grad, h, grad_input=out
    ),
}
