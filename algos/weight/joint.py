"""Joint pruning and quantisation: one pass that makes weights 2:4 and rounds them.

Frantar and Alistarh, ICML 2023, section 3.5. A group's scale and zero point are found when its
first column comes, from the weights and the mask that pruning alone would now give it, errors
weighted by 1 / U_jj^2, U being the upper Cholesky factor of the inverse Hessian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.quant.groupwise import as_packed, kept_of
from algos.weight.sweep import Choice, Sweep
from workloads.packed import KEPT, QUAD, PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Tensor


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
    sweep = Sweep(weight, hessian, Choice.n_of_m(KEPT, QUAD, weight, layer), layer, form)
    sweep.run()
    codes = kept_of(sweep.codes, sweep.mask)
    return as_packed(codes, sweep.mask, sweep.scale, sweep.zero, form, weight.shape[1], layer)
