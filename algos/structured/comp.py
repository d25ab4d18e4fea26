"""COMP: whole layers first, then neurons by how ill-conditioned they leave a matrix.

Xu et al., arXiv 2501.15255: layers go by importance, neurons of the dense layers that stay by a
metric of the matrix's condition, and the masks of the neurons kept are tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def condition_scores(weight: Tensor, moments: Tensor) -> Tensor:
    """Return each input's share (columns,) of the condition of the product.

    A change of input j by a share changes the outputs by |x_j| |w_j| / |y| of that share, so this
    is the part of the product's condition number that j is answerable for.

    Args:
        weight: (outputs, columns).
        moments: (columns, columns) sum over tokens of x x^T.
    """
    energy = ((weight @ moments) * weight).sum().clamp_min(1e-30)
    return (moments.diagonal() * weight.square().sum(0) / energy).sqrt()


def tuned_mask(weight: Tensor, moments: Tensor, keep: Tensor) -> Tensor:
    """Return the factors (columns,) of the kept inputs that bring the outputs nearest to the whole.

    Least squares over one factor an input: minimises the squared change of x W^T.

    Args:
        weight: (outputs, columns).
        moments: (columns, columns) sum over tokens of x x^T.
        keep: (columns,) bool; where false the factor is 0.
    """
    import torch

    system = (moments * (weight.T @ weight)).double()
    wanted = system.sum(1)[keep]
    inner = system[keep][:, keep]
    inner = inner + 1e-6 * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype)
    factors = torch.zeros(len(keep), dtype=torch.float64)
    factors[keep] = torch.linalg.solve(inner, wanted)
    return factors.to(weight.dtype)
