"""NADE's recursion over the columns with a backward pass that keeps nothing.

Autograd would keep several (n, H) tensors for every column. Here the backward pass
takes the running activation apart again, a_d = a_{d+1} - W_d u_d, as Algorithm 1 of
the RNN-RNADE supplement does: a few such buffers serve whatever D is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def nade_outputs(
    a: Tensor,
    u: Tensor,
    W: Tensor,
    V: Tensor,
    rho: Tensor | None,
    mask: Tensor | None,
    activation: str,
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

    Returns
    -------
    out : Tensor of shape (D, E, n, P)
    """
    return _NADEOutputs.apply(a, u, W, V, rho, mask, activation)


class _NADEOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a, u, W, V, rho, mask, activation):
        a, h = a.clone(), torch.empty_like(a)
        out = a.new_empty((len(u), *a.shape[:2], V.shape[2]))
        for d in range(len(u)):
            _hidden(a, rho, d, activation, out=h)
            if mask is not None:
                h.mul_(mask)
            torch.bmm(h, V[d].mT, out=out[d])
            _add_product(a, u[d], W[d], 1.0)
        ctx.save_for_backward(a, u, W, V, rho, mask)
        ctx.activation = activation
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out):
        a, u, W, V, rho, mask = ctx.saved_tensors
        times_slope = _TIMES_SLOPE[ctx.activation]
        a, h, grad_h = a.clone(), torch.empty_like(a), torch.empty_like(a)
        grad_a = torch.zeros_like(a)
        grad_u = torch.empty_like(u) if ctx.needs_input_grad[1] else None
        grad_W, grad_V = torch.empty_like(W), torch.empty_like(V)
        grad_rho = None if rho is None else torch.empty_like(rho)
        for d in reversed(range(len(u))):
            _add_product(a, u[d], W[d], -1.0)  # a_d
            # W_d reaches a_{d+1} and all later ones: before position d joins.
            torch.bmm(u[d].mT, grad_a, out=grad_W[d])
            if grad_u is not None:
                torch.bmm(grad_a, W[d].mT, out=grad_u[d])
            _hidden(a, rho, d, ctx.activation, out=h)
            if V.shape[2] == 1:
                torch.mul(grad_out[d], V[d], out=grad_h)
            else:
                torch.bmm(grad_out[d], V[d], out=grad_h)
            if mask is not None:
                grad_h.mul_(mask)
            times_slope(grad_h, h)  # of ψ_d = ρ_d a_d
            torch.bmm(
                grad_out[d].mT, h if mask is None else h.mul_(mask), out=grad_V[d]
            )
            if rho is None or grad_rho is None:
                grad_a.add_(grad_h)
            else:
                grad_rho[d] = torch.linalg.vecdot(grad_h.flatten(1), a.flatten(1))
                grad_a.addcmul_(grad_h, rho[d, :, None, None])
        return grad_a, grad_u, grad_W, grad_V, grad_rho, None, None


def _hidden(
    a: Tensor, rho: Tensor | None, d: int, activation: str, out: Tensor
) -> None:
    """g(ρ_d a_d), written to `out`."""
    psi = a if rho is None else torch.mul(a, rho[d, :, None, None], out=out)
    _WRITE_TO[activation](psi, out=out)


def _add_product(a: Tensor, u_d: Tensor, W_d: Tensor, sign: float) -> None:
    """a ± W_d u_d, in place."""
    if u_d.shape[-1] == 1:  # a product of a column and a row needs no gemm
        a.addcmul_(u_d, W_d, value=sign)
    else:
        a.baddbmm_(u_d, W_d, alpha=sign)


_WRITE_TO: dict[str, Any] = {
    "logistic": torch.sigmoid,
    "relu": partial(torch.clamp, min=0.0),
    "tanh": torch.tanh,
}

# Multiply a gradient in place by g', told by h = g(ψ).
_TIMES_SLOPE = {
    "logistic": lambda grad, h: torch.ops.aten.sigmoid_backward.grad_input(
        grad, h, grad_input=grad
    ),
    "relu": lambda grad, h: torch.ops.aten.threshold_backward.grad_input(
        grad, h, 0.0, grad_input=grad
    ),
    "tanh": lambda grad, h: torch.ops.aten.tanh_backward.grad_input(
        grad, h, grad_input=grad
    ),
}
