"""Dense decode: limits, what it counts, special operands."""

from __future__ import annotations

import pytest
import torch

from algos.kernels.dense_decode.kernel import DenseDecode, DenseShape
from algos.kernels.launch import run
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = DenseDecode()


def test_it_counts_what_a_llama_layer_needs() -> None:
    shape = DenseShape(heads=32, kv_heads=32, keys=4096, dim=128)
    count = KERNEL.count(shape)
    assert count.flops == 2 * 2 * 32 * 4096 * 128
    assert count.dram_bytes == 2 * 32 * 4096 * 128 * 2 + 2 * 32 * 128 * 2
    first, second = KERNEL.programs(shape, "sm_90")
    assert first.grid == (8, 32, 1)
    assert first.steps == 16  # 512 keys, 32 a step
    assert first.dram_bytes + second.dram_bytes == count.dram_bytes
    assert first.inflight_bytes == 3 * 2 * 32 * 128 * 2
    assert first.l2_bytes == 2 * 32 * 4096 * 256 + 8 * 32 * 256 + 32 * 8 * (128 * 4 + 4)


def test_heads_that_share_keys_read_them_once() -> None:
    alone = KERNEL.programs(DenseShape(heads=8, kv_heads=8), "sm_90")[0]
    shared = KERNEL.programs(DenseShape(heads=64, kv_heads=8), "sm_90")[0]
    assert shared.function == "decode_group"
    assert shared.l2_bytes < 1.1 * alone.l2_bytes
    assert shared.operations["tensor_fp16"] == 4 * 8 * 16 * 4096 * 128  # 8 heads fill 16 rows


def test_one_part_writes_the_output_itself() -> None:
    shape = DenseShape(batch=16, heads=32, kv_heads=32, keys=64)
    (program,) = KERNEL.programs(shape, "sm_90")
    assert program.arguments["partial"] == "*fp16"
    assert program.dram_bytes == KERNEL.count(shape).dram_bytes


def test_a_group_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="at most 64 times kv_heads, 65 is not of 1"):
        DenseShape(heads=65, kv_heads=1)


def test_operands_of_another_shape_are_refused() -> None:
    shape = DenseShape(heads=2, kv_heads=2, keys=8, dim=16)
    inputs = KERNEL.inputs(shape, seed=0)
    with pytest.raises(InputError, match="operand key must be"):
        run(KERNEL, shape, {**inputs, "key": inputs["key"][:, :, :7].contiguous()})


@needs_triton
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_large_scores_do_not_overflow(kv_heads: int) -> None:
    shape = DenseShape(heads=4, kv_heads=kv_heads, keys=70, dim=16)
    inputs = KERNEL.inputs(shape, seed=2)
    inputs["query"] = inputs["query"] * 200
    found = run(KERNEL, shape, inputs)["output"].double()
    wanted = KERNEL.naive(shape, inputs)["output"]
    assert torch.allclose(found, wanted, atol=5e-3)
