"""Block-sparse weights times activations, on all cores."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numba import njit, prange

from algos.kernels.cpu.blocks import ROWS, BlockSparse, Floats
from algos.kernels.cpu.lanes import block_product, token_product
from workloads.errors import InputError

TOKENS = 128
"""tokens that all block rows pass before the next ones: their activations stay in the L2 cache"""

_BY_64, _BY_32, _BY_16 = block_product(16, 4), block_product(16, 2), block_product(16, 1)
_BY_8, _BY_4, _BY_1 = block_product(8, 1), block_product(4, 1), token_product()


def multiply(weight: BlockSparse, activations: Floats, out: Floats | None = None) -> Floats:
    """Return weight x activations.

    Args:
        weight: (outputs, inputs).
        activations: (inputs, tokens), contiguous.
        out: where the result goes; None: a new array.

    Returns:
        (outputs, tokens) float32.

    Raises:
        InputError: sizes or types that do not fit.
    """
    tokens = _checked(activations, "activations", weight.inputs, None).shape[1]
    if out is None:
        out = np.empty((weight.outputs, tokens), np.float32)
    _checked(out, "out", weight.outputs, tokens)
    _multiply(weight.values, weight.columns, activations, out)
    return out


def vector_bits() -> int:
    """Return the width of the widest registers that multiply in the machine code; 0: none do."""
    some = np.zeros((1, ROWS), np.float32)
    compiled: Any = block_row
    compiled(some, np.zeros(1, np.int32), some, np.empty((ROWS, ROWS), np.float32), 4 * ROWS)
    code = "\n".join(compiled.inspect_asm().values())
    found = re.findall(r"\b(?:vfmadd|mulps|fmla)\S*\s.*?([xyz]mm|v)\d+", code)
    return max(({"zmm": 512, "ymm": 256}.get(name, 128) for name in found), default=0)


def _checked(array: Any, name: str, rows: int, tokens: int | None) -> Any:
    fits = array.ndim == 2 and array.shape[0] == rows and tokens in (None, array.shape[1])
    if not (fits and array.dtype == np.float32 and array.flags.c_contiguous):
        wanted = f"({rows}, {'tokens' if tokens is None else tokens})"
        raise InputError(
            f"{name} must be {wanted} of contiguous float32, not {array.shape} of {array.dtype}"
        )
    return array


@njit(parallel=True, fastmath=True)
def _multiply(values: Any, columns: Any, activations: Any, out: Any) -> None:
    tokens = activations.shape[1]
    for first in range(0, tokens, TOKENS):
        last = min(tokens, first + TOKENS)
        for row in prange(values.shape[0]):
            place = ROWS * row
            block_row(
                values[row],
                columns[row],
                activations[:, first:last],
                out[place : place + ROWS, first:last],
                4 * tokens,
            )


@njit(nogil=True)
def block_row(values: Any, columns: Any, activations: Any, out: Any, stride: int) -> None:
    """Multiply one block row with some tokens: 64, 32, 16, 8 or 4 at a time.

    The last tokens are multiplied together with some before them again. Fewer than 4 are
    multiplied one by one.

    Args:
        values: (blocks, 4).
        columns: (blocks,).
        activations: (inputs, tokens).
        out: (4, tokens).
        stride: bytes from one input's activations to the next, and of outputs alike.
    """
    blocks, tokens = columns.shape[0], out.shape[1]
    weights, places = values.ctypes.data, columns.ctypes.data
    read, written = activations.ctypes.data, out.ctypes.data
    at = 0
    while at + 64 <= tokens:
        _BY_64(weights, places, read + 4 * at, written + 4 * at, blocks, stride)
        at += 64
    if at + 32 <= tokens:
        _BY_32(weights, places, read + 4 * at, written + 4 * at, blocks, stride)
        at += 32
    if tokens >= 16:
        while at < tokens:
            at = min(at, tokens - 16)
            _BY_16(weights, places, read + 4 * at, written + 4 * at, blocks, stride)
            at += 16
    elif tokens >= 8:
        _BY_8(weights, places, read, written, blocks, stride)
        at = 4 * (tokens - 8)
        _BY_8(weights, places, read + at, written + at, blocks, stride)
    elif tokens >= 4:
        _BY_4(weights, places, read, written, blocks, stride)
        at = 4 * (tokens - 4)
        _BY_4(weights, places, read + at, written + at, blocks, stride)
    else:
        result = np.empty(ROWS, np.float32)
        for token in range(tokens):
            _BY_1(weights, places, read + 4 * token, result.ctypes.data, blocks, stride)
            out[:, token] = result
