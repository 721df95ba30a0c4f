"""NADE's recursion over the columns with a backward pass that keeps nothing.

Autograd would keep several (n, H) tensors for every column. Here the backward pass
takes the running activation apart again, a_d = a_{d+1} - W_d u_d, as Algorithm 1 of
the RNN-RNADE supplement does: a few such buffers serve whatever D is.
"""

from __future__ import annotations

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
    compiled: bool = False,
) -> Tensor:
    """V_d (g(ρ_d a_d) ⊙ mask) of all columns, with a_{d+1} = a_d + W_d u_d.

    Everything is in the order of the visit.

    Parameters
    ----------
    a : Tensor of shape (E, n, H)
        a_1.
    u : Tensor of shape (D, E, n, I)
    W : Tensor of shape (D, E, I, H)
    V : Tensor of shape (D, E, P, H)
    rho : Tensor of shape (D, E) or None
        None stands for ones.
    mask : Tensor of shape (E, n, H) or None
        Of dropout.
    activation : {"logistic", "relu", "tanh"}
        g.
    compiled : bool
        Whether `_nade_blocks` does it.

    Returns
    -------
    out : Tensor of shape (D, E, n, P)
    """
    passes = (_nade_blocks.forward, _nade_blocks.backward)
    return _NADEOutputs.apply(
        *(a, u, W, V, rho, mask, activation),
        passes if compiled else (_forward, _backward),
    )


class _NADEOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a, u, W, V, rho, mask, activation, passes):
        forward, ctx.backward_pass = passes
        out, a = forward(a, u, W, V, rho, mask, activation)
        ctx.save_for_backward(a, u, W, V, rho, mask)
        ctx.activation = activation
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out):
        a, u, W, V, rho, mask = ctx.saved_tensors
        # Rows come last here. Then sums over them share out the units among threads
        # just as other operations do, and no memory goes from core to core.
        a = a.mT.clone(memory_format=torch.contiguous_format)
        u, W, V, grad_out = (x.mT.contiguous() for x in (u, W, V, grad_out))
        mask = None if mask is None else mask.mT.contiguous()
        needs_u = ctx.needs_input_grad[1]
        *grads, grad_rho = ctx.backward_pass(
            a, u, W, V, rho, mask, grad_out, ctx.activation, needs_u
        )
        grads = (None if g is None else g.mT for g in grads)
        return *grads, grad_rho, None, None, None


def _forward(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor]:
    """The outputs, and the running activation after the last column."""
    a, h = a.clone(), torch.empty_like(a)
    out = a.new_empty((len(u), *a.shape[:2], V.shape[2]))
    for d, (u_d, W_d, V_d, out_d) in enumerate(zip(u, W, V.mT, out, strict=True)):
        _hidden(a, rho, d, activation, out=h)
        if mask is not None:
            h.mul_(mask)
        torch.bmm(h, V_d, out=out_d)
        _add_product(a, u_d, W_d, 1.0)
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
    needs_u: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None]:
    """Derivatives by a, u, W, V and ρ; every matrix is transposed, and they too."""
    times_slope = _TIMES_SLOPE[activation]
    h, grad_h, grad_a = torch.empty_like(a), torch.empty_like(a), torch.zeros_like(a)
    grad_u = torch.empty_like(u) if needs_u else None
    grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
    grad_rho = None if rho is None else torch.empty_like(rho)
    of_columns = [u, u.mT, W, V, grad_out, grad_out.mT, grad_W, grad_V]
    unbound = zip(*(x.unbind() for x in of_columns), strict=True)
    for d, column in reversed(list(enumerate(unbound))):
        u_d, uT_d, W_d, V_d, g_d, gT_d, grad_W_d, grad_V_d = column
        _add_product(a, W_d, u_d, -1.0)  # a_d
        # W_d reaches a_{d+1} and all later ones: before position d joins.
        torch.bmm(grad_a, uT_d, out=grad_W_d)
        if grad_u is not None:
            torch.bmm(W_d.mT, grad_a, out=grad_u[d])
        _hidden(a, rho, d, activation, out=h)
        if mask is None and rho is None and V.shape[3] == 1:
            torch.bmm(h, gT_d, out=grad_V_d)
            times_slope(V_d, h, grad_h)
            grad_a.addcmul_(grad_h, g_d)
            continue
        if V.shape[3] == 1:
            torch.mul(V_d, g_d, out=grad_h)
        else:
            torch.bmm(V_d, g_d, out=grad_h)
        if mask is not None:
            grad_h.mul_(mask)
        times_slope(grad_h, h, grad_h)  # of ψ_d = ρ_d a_d
        torch.bmm(h if mask is None else h.mul_(mask), gT_d, out=grad_V_d)
        if rho is None or grad_rho is None:
            grad_a.add_(grad_h)
        else:
            grad_rho[d] = torch.linalg.vecdot(grad_h.flatten(1), a.flatten(1))
            grad_a.addcmul_(grad_h, rho[d, :, None, None])
    return grad_a, grad_u, grad_W, grad_V, grad_rho


def _hidden(
    a: Tensor, rho: Tensor | None, d: int, activation: str, out: Tensor
) -> None:
    """g(ρ_d a_d), written to `out`."""
    psi = a if rho is None else torch.mul(a, rho[d, :, None, None], out=out)
    ACTIVATIONS_TO[activation](psi, out=out)


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
