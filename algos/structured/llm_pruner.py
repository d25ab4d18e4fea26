"""LLM-Pruner: coupled structures scored by a Taylor expansion of the loss.

Ma et al., NeurIPS 2023, arXiv 2305.11627, section 3.2. Gradients are of the loss on a few samples;
the diagonal of the Hessian is the sum over samples of squared gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from algos.structured.groups import Rows

Order = Literal["vectorize", "param_first", "param_second", "param_mix"]


def taylor_score(weights: Rows, gradients: Rows, squares: Rows | None, order: Order) -> Tensor:
    """Return the score (units,) of each coupled group, summed over its matrices.

    vectorize: |sum of w g| in each matrix; param_first: sum of |w g|; param_second: sum of
    w^2 h; param_mix: sum of |w g - w^2 h / 2|.

    Args:
        weights: of the groups.
        gradients: as weights.
        squares: h, sums over samples of squared gradients; None for the first two orders.
        order: which terms.
    """
    import torch

    scores = []
    for number, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        first = weight * gradient
        if order == "vectorize":
            scores.append(first.sum(1).abs())
            continue
        if order == "param_first":
            term = first
        else:
            assert squares is not None
            second = weight.square() * squares[number]
            term = second if order == "param_second" else first - second / 2
        scores.append(term.abs().sum(1))
    return torch.stack(scores).sum(0)
