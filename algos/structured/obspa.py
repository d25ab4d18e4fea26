"""OBSPA: coupled channels scored and repaired by second-order information.

Wang et al., arXiv 2403.18955: structures coupled across operators are one group, whose importance
is the sum of its members'; in OBSPA a member's is the optimal-brain-surgeon cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

DAMP = 0.01  # of the Hessian's mean diagonal, added to it, as SparseGPT does


def inverse_hessian(hessian: Tensor, what: str = "the layer") -> Tensor:
    """Return the inverse (columns, columns) of the damped Hessian X^T X, float64.

    Raises:
        InputError: the Hessian is not finite.
    """
    import torch

    if not bool(hessian.isfinite().all()):
        raise InputError(f"{what}: the Hessian of the inputs must be finite, it is not")
    damped = hessian.double().clone()
    diagonal = damped.diagonal()
    diagonal += DAMP * diagonal.mean().clamp_min(1e-30)
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return inverse


def column_costs(weight: Tensor, inverse: Tensor) -> Tensor:
    """Return the error (columns,) of removing one column: its squared norm / [H^-1]_cc."""
    return (weight.double().square().sum(0) / inverse.diagonal()).float()


def row_costs(weight: Tensor, hessian: Tensor) -> Tensor:
    """Return the error (rows,) of removing one row: the energy of its output, w H w^T."""
    return ((weight @ hessian.to(weight.dtype)) * weight).sum(1)


def repaired(weight: Tensor, inverse: Tensor, keep: Tensor) -> Tensor:
    """Return (rows, columns) weights without the pruned columns, the others making up for them.

    Least change of the outputs: w -= w_p ([H^-1]_pp)^-1 [H^-1]_p, jointly for all pruned p.
    """
    import torch

    if bool(keep.all()):
        return weight
    gone = ~keep
    part = inverse[gone]
    change: Tensor = weight.double()[:, gone] @ torch.linalg.solve(part[:, gone], part)
    return ((weight.double() - change) * keep).to(weight.dtype)
