"""The pass over the columns of a matrix that prunes, quantises and repairs.

Frantar and Alistarh, ICML 2023, algorithm 1. Columns are taken from left to right; what dropping
and rounding change in one is spread over the columns still to come, within a block at once and to
later blocks at its end, by U, the upper Cholesky factor of the inverse Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from algos.quant.groupwise import best_range, encode, kept_of
from algos.weight.pattern import keep_largest
from workloads.errors import InputError
from workloads.packed import WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 128  # columns whose changes wait for the end of the block
DAMP = 0.01  # of the Hessian's mean diagonal, added to it


class Choice(NamedTuple):
    """How it is decided which weights stay."""

    columns: int  # decided together, when the first of them comes
    mask: Callable[[Tensor], Tensor]  # (rows, columns) scores -> which stay
    block: int = BLOCK

    @classmethod
    def n_of_m(cls, kept: int, of: int, weight: Tensor, layer: str) -> Choice:
        """Let the best `kept` of every `of` columns of `weight` (rows, columns) stay.

        Raises:
            InputError: the columns are no multiple of `of`.
        """
        if weight.shape[1] % of:
            raise InputError(f"{layer}: inputs must be a multiple of {of}, not {weight.shape[1]}")
        return cls(of, lambda score: keep_largest(score, kept, of))


class Sweep:
    """One pass over the columns; all tensors change in place."""

    def __init__(
        self,
        weight: Tensor,
        hessian: Tensor,
        choice: Choice,
        layer: str,
        form: WeightFormat | None = None,
    ) -> None:
        import torch

        rows, columns = weight.shape
        self._weight = weight.clone()
        self._weight[:, hessian.diagonal() == 0] = 0  # of an input that is always 0
        self._inverse = _inverse_factor(hessian, layer)
        self._cost = self._inverse.diagonal().square().reciprocal()  # of a change, by column
        self._choice, self._form = choice, form
        self.mask = torch.zeros(rows, columns, dtype=torch.bool)
        if form is not None:
            self._inputs = form.group_inputs(columns, layer)
            self.codes = torch.zeros_like(weight)
            self.scale = torch.zeros(rows, columns // self._inputs)
            self.zero = torch.zeros_like(self.scale)

    def run(self) -> Tensor:
        """Return the weights that come out."""
        import torch

        columns, block = self._weight.shape[1], self._choice.block
        for start in range(0, columns, block):
            end = min(start + block, columns)
            errors = torch.zeros(len(self._weight), end - start)
            for at in range(start, end):
                errors[:, at - start] = self._column(at, end, quantized=self._form is not None)
            self._weight[:, end:] -= errors @ self._inverse[start:end, end:]
        return self._weight

    def _column(self, at: int, end: int, quantized: bool) -> Tensor:
        """Fix one column, spread its error up to column `end` and return it."""
        if at % self._choice.columns == 0:
            stop = min(at + self._choice.columns, self._weight.shape[1])
            self.mask[:, at:stop] = self._choose(at, stop)
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
        return self._choice.mask(score)

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
        block = self._choice.block
        end = min(group.start - group.start % block + block, self._weight.shape[1])
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
