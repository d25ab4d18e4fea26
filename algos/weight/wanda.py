"""Wanda: a weight is worth |w| times the norm of its input.  Sun et al., ICLR 2024, section 3.

As in the authors' program, the square of an input's norm is the mean over samples of the sum over
tokens of its squares; only ratios of norms matter. No weight is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def input_squares(inputs: Tensor) -> Tensor:
    """Return the squared norm of each input, (columns,), of (samples, tokens, columns)."""
    return inputs.float().square().sum(1).mean(0)


def wanda_score(weight: Tensor, squares: Tensor) -> Tensor:
    """Return |w| * norm of (rows, columns) weights; `squares` (columns,) are squared norms."""
    return weight.abs() * squares.sqrt()
