"""Lambda decode with KV4: the ring, what it counts, the codes of `algos.quant.kv4`, limits."""

from __future__ import annotations

import pytest
import torch

from algos.kernels.dense_decode.naive import attention
from algos.kernels.lambda_decode.kernel import Lambda, LambdaDecode
from algos.kernels.lambda_decode.naive import slot_of, tokens_read, values_of
from algos.kernels.launch import run
from algos.kernels.nibbles.words import pack
from algos.quant.kv4 import KvCodes, quantize_kv
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError
from workloads.packed import KvFormat

KERNEL = LambdaDecode()


def operands(query: torch.Tensor, key: KvCodes, value: KvCodes) -> dict[str, torch.Tensor]:
    """Return what the kernel takes, of K and V as the method quantises them."""
    scales = torch.cat([key.scale, value.scale], -1).half().flatten(-2)
    zeros = torch.cat([key.zero, value.zero], -1).flatten(-2)
    return {
        "query": query,
        "key": pack(key.code.int()),
        "value": pack(value.code.int()),
        "scales": scales.view(torch.int32),
        "zeros": pack(zeros.int()),
    }


def test_a_token_takes_the_bits_of_the_packed_format() -> None:
    shape = Lambda(dim=128)
    assert 8 * shape.token_bytes == 2 * KvFormat().vector_bits(128)


def test_it_counts_what_a_llama_layer_needs() -> None:
    shape = Lambda(heads=32, kv_heads=32, keys=32_768, dim=128)
    assert shape.held == shape.slots == 2048
    count = KERNEL.count(shape)
    assert count.flops == 4 * 32 * 2048 * 128
    assert count.dram_bytes == 32 * 2048 * 133 + 4 * 32 * 128
    first, second = KERNEL.programs(shape, "sm_90")
    assert first.dram_bytes + second.dram_bytes == count.dram_bytes
    assert first.grid == (8, 32, 1)
    assert first.steps == 4  # 256 tokens, 64 a step
    assert first.inflight_bytes == 3 * 64 * 133
    assert first.l2_bytes == 32 * (2048 * 133 + 8 * 256 + 8 * (512 + 4))
    assert first.operations["int32"] == 32 * 2048 * (4 * 128 + 4 * 14)


def test_context_beyond_the_window_costs_nothing() -> None:
    near, far = Lambda(keys=2048), Lambda(keys=131_072)
    assert KERNEL.count(near) == KERNEL.count(far)
    assert KERNEL.programs(near, "sm_80") == KERNEL.programs(far, "sm_80")


@pytest.mark.parametrize("context", [1, 3, 4, 9, 10, 11, 37])
def test_the_tokens_read_fill_the_slots_held(context: int) -> None:
    shape = Lambda(keys=context, sinks=3, window=7)
    slots = [slot_of(token, 3, 7) for token in tokens_read(context, 3, 7)]
    assert sorted(slots) == list(range(shape.held))


def test_the_newest_token_takes_the_place_of_the_oldest_recent_one() -> None:
    assert tokens_read(12, 2, 4) == [0, 1, 8, 9, 10, 11]
    assert [slot_of(token, 2, 4) for token in (6, 7, 8, 9, 10)] == [2, 3, 4, 5, 2]


def test_sparsity_is_the_share_of_the_context_dropped() -> None:
    shape = KERNEL.at_sparsity(Lambda(keys=8192), 0.75)
    assert shape.held == 2048
    assert KERNEL.at_sparsity(shape, 0).held == 8192
    assert KERNEL.dense_shape(shape).keys == 8192


@needs_triton
def test_it_takes_what_the_method_quantises() -> None:
    shape = Lambda(heads=2, kv_heads=2, keys=100, dim=32, sinks=4, window=96)
    generator = torch.Generator().manual_seed(1)
    key, value = (
        quantize_kv(torch.randn(1, 2, 100, 32, generator=generator) + shift, "K or V")
        for shift in (0.0, 3.0)
    )
    query = torch.randn(1, 2, 32, generator=generator).half()
    inputs = operands(query, key, value)
    for found, wanted in zip(values_of(inputs), (key.value, value.value), strict=True):
        assert torch.allclose(found, wanted.double(), rtol=1e-6)
    found = run(KERNEL, shape, inputs)["output"].double()
    wanted = attention(query, key.value, value.value)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4)


@needs_triton
def test_slots_that_hold_nothing_are_not_read() -> None:
    shape = Lambda(heads=1, kv_heads=1, keys=70, dim=32, sinks=2, window=120)
    inputs = KERNEL.inputs(shape, seed=2)
    found = run(KERNEL, shape, inputs)["output"]
    inputs["scales"][:, :, 70:] = 0x7E007E00  # NaN
    assert torch.equal(run(KERNEL, shape, inputs)["output"], found)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"heads": 8, "kv_heads": 1}, "1, 2, 4 times kv_heads, 8 is not of 1"),
        ({"window": 0}, "window"),
        ({"sinks": -1}, "sinks"),
        ({"dim": 48}, "dim must be one of"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Lambda(**values)
