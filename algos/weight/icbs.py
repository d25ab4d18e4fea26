"""iCBS: the combinatorial brain surgeon's problem, solved again and again in small blocks.

Rosenberg et al. 2024, "Scalable iterative pruning of large language and vision models using block
coordinate descent", arXiv:2411.17796. A mask is to minimise the quadratic 1/2 d^T H d of the change
d of an output's weights: unlike single scores it sees which removals make up for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, Need, PrunedWeight
from algos.weight.base import WeightMethod, WeightPlan
from algos.weight.pattern import check_score, keep_rows
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor


def objective(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """Return (rows,): 1/2 d^T H d of the weights that a mask removes from each row."""
    change = weight * ~mask
    return ((change @ hessian) * change).sum(1) / 2


def improve(weight: Tensor, hessian: Tensor, mask: Tensor, block: int, rounds: int) -> Tensor:
    """Return a mask with as many weights in each row and no larger an objective.

    A round takes for each row the `block` kept weights that cost least to remove and the `block`
    removed ones that help most to restore, and makes the one exchange among them that lowers the
    objective most, if one does.

    Args:
        weight: (rows, columns).
        hessian: (columns, columns).
        mask: (rows, columns) bool to begin with.
        block: weights of a block on either side.
        rounds: exchanges of a row, at most.
    """
    import torch

    mask = mask.clone()
    rows = torch.arange(len(weight))
    self_cost = weight.square() * hessian.diagonal() / 2
    slope = (-weight * ~mask) @ hessian  # of the objective by the change of each weight
    sides = min(block, int(mask[0].sum()), int((~mask[0]).sum()))
    for _ in range(rounds if sides else 0):
        remove = torch.where(mask, self_cost - weight * slope, torch.inf)
        restore = torch.where(mask, torch.inf, self_cost + weight * slope)
        out, into = (x.topk(sides, largest=False).indices for x in (remove, restore))
        cross = weight.gather(1, out)[:, :, None] * weight.gather(1, into)[:, None, :]
        total = remove.gather(1, out)[:, :, None] + restore.gather(1, into)[:, None, :]
        total = total - cross * hessian[out[:, :, None], into[:, None, :]]
        best = total.flatten(1).argmin(1)
        i, j = out[rows, best // sides], into[rows, best % sides]
        better = total.flatten(1)[rows, best] < -1e-6 * self_cost[rows, i]
        if not bool(better.any()):
            break
        r, i, j = rows[better], i[better], j[better]
        mask[r, i], mask[r, j] = False, True
        slope[r] += weight[r, j, None] * hessian[j] - weight[r, i, None] * hessian[i]
    return mask


class Icbs(WeightMethod):
    """Drops the weights of each output whose joint removal changes its results least.

    From the description: Wanda's mask to begin with, the Hessian of the matrix's inputs after the
    blocks before, and the best exchange in a block instead of an integer program's solution.
    """

    name: ClassVar[str] = "icbs"
    signal: ClassVar[str] = "quadratic form of all removed weights with the inputs' Hessian"
    paper: ClassVar[str] = "Rosenberg et al. 2024, arXiv:2411.17796"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    block: Annotated[int, Field(ge=1, le=256)] = 16
    """Weights of a block on either side, kept and removed."""
    rounds: Annotated[int, Field(ge=0)] = 32
    """Exchanges of an output's weights, at most."""

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Return one matrix without the weights outside the improved mask."""
        score = wanda_score(linear.weight, linear.input_squares)
        check_score(score, linear.where)
        mask = keep_rows(score, self.keep_ratio)
        mask = improve(linear.weight, linear.hessian, mask, self.block, self.rounds)
        return PrunedWeight(weight=linear.weight * mask)
