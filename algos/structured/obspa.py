"""OBSPA: coupled channels scored and repaired by second-order information.

Wang et al., arXiv:2403.18955: structures coupled across operators are one group, whose importance
is the sum of its members'; in OBSPA a member's is the optimal-brain-surgeon cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.static.base import BlockView, LinearView, ModelView, Need, Pruning
from algos.structured.base import (
    StructuredMethod,
    by_head,
    plain,
    pruned,
    refitted,
    sizes_of,
    stacked,
)
from algos.structured.budget import global_masks
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


class Obspa(StructuredMethod):
    """Keep the coupled heads and neurons that cost most to remove, and repair what reads them.

    From the description: a group's importance is the sum of its matrices' costs, each divided by
    the mean of its matrix, those of what reads the group after repair, those of what makes it by
    the energy of its output. The Hessian is taken from the calibration samples, in the paper also
    from noise; shared key/value heads have no part in the score. Budget: short of it by less than
    one head.
    """

    name: ClassVar[str] = "obspa"
    signal: ClassVar[str] = "second-order cost of coupled channels"
    paper: ClassVar[str] = "Wang et al., arXiv:2403.18955"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    def plan(self, model: ModelView) -> Pruning:
        """Score all groups, cut globally, then let the kept columns make up for the others."""
        masks = global_masks(*stacked(model, _scores), sizes_of(model.shape), self.keep_ratio)
        parts = zip(model.blocks, pruned(masks).blocks, strict=True)
        return Pruning(blocks=tuple(refitted(block, part, _repaired) for block, part in parts))


def _scores(block: BlockView) -> tuple[Tensor, Tensor]:
    plain(block, "down")
    heads = block.shape.heads
    read = {name: _column_costs(block.linears[name]) for name in ("output", "down")}
    made = {
        name: row_costs(matrix.weight, matrix.hessian)
        for name, matrix in block.linears.items()
        if name in ("query", "up", "gate")
    }
    neurons = [share(made[name]) for name in ("up", "gate") if name in made]
    head_score = share(by_head(read["output"], heads)) + share(by_head(made["query"], heads))
    return head_score, share(read["down"]) + sum(neurons)


def share(costs: Tensor) -> Tensor:
    """Return costs divided by their mean, so that matrices can be added."""
    return costs / costs.mean().clamp_min(1e-30)


def _column_costs(matrix: LinearView) -> Tensor:
    return column_costs(matrix.weight, inverse_hessian(matrix.hessian, matrix.where))


def _repaired(matrix: LinearView, keep: Tensor) -> Tensor:
    return repaired(matrix.weight, inverse_hessian(matrix.hessian, matrix.where), keep)
