"""SparseGPT: prune, quantise, and let the weights that come later make up for it.

Frantar and Alistarh, ICML 2023, algorithm 1 and section 3.5. Columns are taken from left to right.
At every fourth column the two weights of the quad that cost least, w^2 / U_jj^2, are dropped from
each row, U being the upper Cholesky factor of the inverse Hessian; what dropping and rounding
change is spread over the columns still to come, within a block of 128 at once and to later blocks
at its end. With quantisation a group's scale and zero point are found when its first column comes,
from the weights and the mask that pruning alone would now give it, errors weighted by 1 / U_jj^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.quant.groupwise import as_packed, best_range, encode, kept_of
from algos.weight.pattern import keep_largest
from workloads.errors import InputError
from workloads.packed import KEPT, QUAD, PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 128  # columns whose changes wait for the end of the block
DAMP = 0.01  # of the Hessian's mean diagonal, added to it


def hessian_of(inputs: Tensor) -> Tensor:
    """Return the Hessian (columns, columns) of (samples, tokens, columns): 2 / samples * X^T X."""
    flat = inputs.flatten(0, 1).float()
    return 2 / len(inputs) * (flat.T @ flat)


def prune(
    weight: Tensor, hessian: Tensor, kept: int = KEPT, of: int = QUAD, layer: str = "the matrix"
) -> Tensor:
    """Return the (rows, columns) weights after N:M pruning, the kept ones adjusted.

    Raises:
        InputError: the Hessian is not finite, or the columns are no multiple of `of`.
    """
    return _Sweep(weight, hessian, kept, of, None, layer).run()


def prune_and_quantize(
    weight: Tensor, hessian: Tensor, form: WeightFormat, layer: str = "the matrix"
) -> PackedMatrix:
    """Return the weights of one pass that prunes 2:4 and quantises.

    Args:
        weight: (rows, columns) float32.
        hessian: (columns, columns).
        form: 2:4, 2 to 8 bits with an integer zero point.
        layer: named by errors.

    Raises:
        InputError: the Hessian is not finite, the columns are no multiple of the group, or a
            scale is not below 1.
    """
    sweep = _Sweep(weight, hessian, KEPT, QUAD, form, layer)
    sweep.run()
    codes = kept_of(sweep.codes, sweep.mask)
    return as_packed(codes, sweep.mask, sweep.scale, sweep.zero, form, weight.shape[1], layer)


class _Sweep:
    """One pass over the columns; all tensors change in place."""

    def __init__(
        self,
        weight: Tensor,
        hessian: Tensor,
        kept: int,
        of: int,
        form: WeightFormat | None,
        layer: str,
    ) -> None:
        import torch

        rows, columns = weight.shape
        if columns % of:
            raise InputError(f"{layer}: inputs must be a multiple of {of}, not {columns}")
        self._weight = weight.clone()
        self._weight[:, hessian.diagonal() == 0] = 0  # of an input that is always 0
        self._inverse = _inverse_factor(hessian, layer)
        self._cost = self._inverse.diagonal().square().reciprocal()  # of a change, by column
        self._kept, self._of, self._form = kept, of, form
        self.mask = torch.zeros(rows, columns, dtype=torch.bool)
        if form is not None:
            self._inputs = form.group_inputs(columns, layer)
            self.codes = torch.zeros_like(weight)
            self.scale = torch.zeros(rows, columns // self._inputs)
            self.zero = torch.zeros_like(self.scale)

    def run(self) -> Tensor:
        """Return the weights that come out."""
        import torch

        columns = self._weight.shape[1]
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            errors = torch.zeros(len(self._weight), end - start)
            for at in range(start, end):
                errors[:, at - start] = self._column(at, end, quantized=self._form is not None)
            self._weight[:, end:] -= errors @ self._inverse[start:end, end:]
        return self._weight

    def _column(self, at: int, end: int, quantized: bool) -> Tensor:
        """Fix one column, spread its error up to column `end` and return it."""
        if at % self._of == 0:
            self.mask[:, at : at + self._of] = self._choose(at, at + self._of)
        if quantized and at % self._inputs == 0:
            self._find_range(at)
        old = self._weight[:, at].clone()
        new = (self._rounded(old, at) if quantized else old) * self.mask[:, at]
        error = (old - new) / self._inverse[at, at]
        self._weight[:, at:end] -= error[:, None] * self._inverse[at, at:end]
        self._weight[:, at] = new
        return error

    def _choose(self, start: int, end: int) -> Tensor:
        score = self._weight[:, start:end].square() * self._cost[start:end]
        return keep_largest(score, self._kept, self._of)

    def _find_range(self, at: int) -> None:
        assert self._form is not None
        group, number = slice(at, at + self._inputs), at // self._inputs
        weight, mask = self._pruned_only(group)
        cost = self._cost[group].expand_as(weight)
        found = best_range(kept_of(weight, mask), self._form.bits, kept_of(cost, mask))
        self.scale[:, number], self.zero[:, number] = found

    def _pruned_only(self, group: slice) -> tuple[Tensor, Tensor]:
        """Return weights and mask that a group would get without quantisation."""
        before = self._weight, self.mask
        self._weight, self.mask = self._weight.clone(), self.mask.clone()
        end = min(group.start - group.start % BLOCK + BLOCK, self._weight.shape[1])
        for column in range(group.start, min(group.stop, end)):
            self._column(column, end, quantized=False)
        if group.stop > end:  # later blocks have not been changed yet
            self.mask[:, end : group.stop] = self._choose(end, group.stop)
        found = self._weight[:, group], self.mask[:, group]
        self._weight, self.mask = before
        return found

    def _rounded(self, column: Tensor, at: int) -> Tensor:
        assert self._form is not None
        number = at // self._inputs
        scale, zero = self.scale[:, number], self.zero[:, number]
        self.codes[:, at] = encode(column, scale, zero, self._form.bits)
        return (self.codes[:, at] - zero) * scale


def _inverse_factor(hessian: Tensor, layer: str) -> Tensor:
    """Return U, upper triangular, with U^T U the inverse of the damped Hessian; float32."""
    import torch

    if not bool(torch.isfinite(hessian).all()):
        raise InputError(f"{layer}: inputs on the calibration text must be finite, some are not")
    damped = hessian.to(torch.float64, copy=True)
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal += DAMP * diagonal.mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True).float()
    return factor
