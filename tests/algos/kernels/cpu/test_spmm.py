"""Block-sparse products: packing by hand, products against plain Python, vectors, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algos.kernels.cpu.blocks import ROWS, BlockSparse, pack
from algos.kernels.cpu.spmm import TOKENS, multiply, vector_bits
from workloads.errors import InputError


def plain(weight: BlockSparse, activations: Any) -> Any:
    """Multiply block by block, in Python's floats."""
    tokens = activations.shape[1]
    out = [[0.0] * tokens for _ in range(weight.outputs)]
    for block_row, columns in enumerate(weight.columns):
        for place, column in enumerate(columns):
            for row in range(ROWS):
                value = float(weight.values[block_row, place, row])
                for token in range(tokens):
                    out[ROWS * block_row + row][token] += value * float(activations[column, token])
    return np.array(out)


def drawn(outputs: int, inputs: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((outputs, inputs), dtype=np.float32)


def test_pack_keeps_the_largest_blocks_of_each_row() -> None:
    weight = np.zeros((8, 4), np.float32)
    weight[0:4, 2] = [1, -1, 1, -1]  # sum of absolute values 4
    weight[3, 0] = 3.5
    weight[2, 1] = -3
    weight[4:8, 3] = 1
    weight[5, 1] = 2
    found = pack(weight, 0.5)
    assert found.columns.tolist() == [[0, 2], [1, 3]]
    assert found.values[0].tolist() == [[0, 0, 0, 3.5], [1, -1, 1, -1]]
    assert found.sparsity == 0.5
    assert found.held_bytes == 2 * 2 * (16 + 4)
    kept = weight.copy()
    kept[2, 1] = 0
    assert np.array_equal(found.dense(), kept)


def test_ties_keep_the_lowest_input() -> None:
    assert pack(np.ones((4, 6), np.float32), 0.5).columns.tolist() == [[0, 1, 2]]


def test_without_sparsity_all_is_kept() -> None:
    weight = drawn(8, 5)
    assert np.array_equal(pack(weight, 0).dense(), weight)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 3),
    inputs=st.integers(1, 20),
    tokens=st.integers(1, 150),
    kept=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_equals_plain_python(rows: int, inputs: int, tokens: int, kept: float, seed: int) -> None:
    weight = pack(drawn(ROWS * rows, inputs, seed), min(1 - kept, 1 - 1 / inputs))
    activations = drawn(inputs, tokens, seed + 1)
    found = multiply(weight, activations)
    assert np.abs(found - plain(weight, activations)).max() < 1e-5 * inputs


@pytest.mark.parametrize("tokens", [*range(1, 34), 63, 64, 65, 96, 113, TOKENS, TOKENS + 1, 300])
def test_every_number_of_tokens(tokens: int) -> None:
    weight = pack(drawn(8, 37), 0.7)
    activations = drawn(37, tokens, 3)
    out = np.full((10, tokens), np.nan, np.float32)  # nothing beyond the result is written
    multiply(weight, activations, out[1:9])
    assert np.allclose(out[1:9], weight.dense() @ activations, atol=1e-4)
    assert np.isnan(out[[0, 9]]).all()


def test_it_multiplies_vectors() -> None:
    assert vector_bits() >= 128


@pytest.mark.parametrize(
    ("shape", "sparsity", "said"),
    [
        ((6, 4), 0.5, "outputs must be a multiple of 4, 6 is not"),
        ((4, 4), 1.0, "sparsity must be 0 to below 1 and keep one of 4 inputs, not 1.0"),
        ((4, 4), 0.99, "keep one of 4 inputs, not 0.99"),
        ((4, 4), -0.5, "sparsity must be 0 to below 1"),
    ],
)
def test_what_cannot_be_packed(shape: tuple[int, int], sparsity: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pack(np.ones(shape, np.float32), sparsity)


def test_operands_that_do_not_fit() -> None:
    weight = pack(drawn(8, 4), 0.5)
    good = drawn(4, 6)
    for bad in (drawn(5, 6), good.astype(np.float64), good[:, ::2], good[0]):
        with pytest.raises(InputError, match=r"^activations must be \(4, tokens\) of contiguous"):
            multiply(weight, bad)
    with pytest.raises(InputError, match=r"^out must be \(8, 6\) of contiguous float32, not"):
        multiply(weight, good, np.empty((8, 5), np.float32))


@pytest.mark.parametrize("column", [-1, 4])
def test_columns_out_of_range(column: int) -> None:
    columns = np.array([[0, column]], np.int32)
    with pytest.raises(InputError, match="columns of blocks must be 0 to 3, they are"):
        BlockSparse(np.zeros((1, 2, 4), np.float32), columns, 4)
