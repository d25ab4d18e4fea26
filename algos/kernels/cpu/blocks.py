"""Weights of blocks of 4 outputs x 1 input, the same number of blocks in every block row.

Shen et al. 2023, arXiv:2306.16601: blocks of constant size, so that the values of a block are read
at once and meet one row of activations. The paper's kernels multiply int8; these float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.errors import InputError

ROWS = 4
"""outputs of a block"""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BlockSparse:
    """A matrix of (outputs, inputs) in float32, of which only some blocks are held."""

    values: Floats
    """(outputs / 4, blocks, 4)"""
    columns: npt.NDArray[np.int32]
    """(outputs / 4, blocks), ascending: the input of each block"""
    inputs: int

    def __post_init__(self) -> None:
        if self.columns.size and not (self.columns.min() >= 0 and self.columns.max() < self.inputs):
            raise InputError(
                f"columns of blocks must be 0 to {self.inputs - 1}, they are "
                f"{self.columns.min()} to {self.columns.max()}"
            )

    @property
    def outputs(self) -> int:
        """Rows of the matrix."""
        return ROWS * len(self.values)

    @property
    def sparsity(self) -> float:
        """Share of weights that are left out."""
        return 1 - int(self.columns.shape[1]) / self.inputs

    @property
    def held_bytes(self) -> int:
        """Bytes of values and columns."""
        return self.values.nbytes + self.columns.nbytes

    def dense(self) -> Floats:
        """Return the whole matrix, (outputs, inputs)."""
        whole = np.zeros((len(self.values), self.inputs, ROWS), np.float32)
        np.put_along_axis(whole, self.columns[:, :, None].astype(np.int64), self.values, axis=1)
        return np.ascontiguousarray(whole.transpose(0, 2, 1).reshape(self.outputs, self.inputs))


def pack(weight: Floats, sparsity: float) -> BlockSparse:
    """Keep, in each block row, the blocks of largest sum of absolute weights.

    Args:
        weight: (outputs, inputs).
        sparsity: share of blocks left out of each block row, to the nearest block.

    Raises:
        InputError: outputs that are not a multiple of 4, or a sparsity that keeps no block.
    """
    outputs, inputs = weight.shape
    if outputs % ROWS:
        raise InputError(f"outputs must be a multiple of {ROWS}, {outputs} is not")
    kept = round(inputs * (1 - sparsity))
    if not 0 <= sparsity < 1 or kept < 1:
        raise InputError(
            f"sparsity must be 0 to below 1 and keep one of {inputs} inputs, not {sparsity}"
        )
    blocks = weight.reshape(outputs // ROWS, ROWS, inputs).transpose(0, 2, 1)
    order = np.argsort(-np.abs(blocks).sum(2), axis=1, kind="stable")[:, :kept]
    columns = np.sort(order, axis=1)
    values = np.take_along_axis(blocks, columns[:, :, None], axis=1)
    return BlockSparse(np.ascontiguousarray(values, np.float32), columns.astype(np.int32), inputs)
