"""Torch's attention does the work of the dense kernel that it stands beside."""

from __future__ import annotations

import pytest

from algos.kernels import make_kernel
from algos.kernels.dense_prefill.kernel import Prefill
from algos.kernels.numerics import relative_error


@pytest.mark.parametrize(
    "shape",
    [
        Prefill(heads=4, kv_heads=2, queries=8, keys=24, dim=16, causal=True),
        Prefill(heads=2, kv_heads=2, queries=24, keys=24, dim=16, causal=True),
        Prefill(heads=2, kv_heads=1, queries=1, keys=24, dim=16, causal=True),
        Prefill(heads=2, kv_heads=2, queries=8, keys=24, dim=16),
    ],
)
def test_equals_the_naive_twin(shape: Prefill) -> None:
    kernel = make_kernel("dense-prefill")
    inputs = kernel.inputs(shape, 0)
    found = kernel.torch_call(shape, inputs)()
    assert relative_error(found, kernel.naive(shape, inputs)["output"]) < 2e-3
