"""Decode over some channels of K: layout, indices, limits, what it counts."""

from __future__ import annotations

import pytest
import torch

from algos.kernels.channel_scores.kernel import Channels, ChannelScores
from algos.kernels.dense_decode.kernel import DenseDecode
from algos.kernels.launch import run
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = ChannelScores()


def test_it_counts_what_a_llama_layer_needs() -> None:
    shape = Channels(heads=32, kv_heads=32, keys=4096, dim=128, pruned=0.4)
    assert shape.kept == shape.stored == 77  # 51 of 128 are left out
    count = KERNEL.count(shape)
    assert count.flops == 2 * 32 * 4096 * (77 + 128)
    assert count.dram_bytes == 32 * (4096 * (77 + 128) * 2 + 77 * 4 + 2 * 128 * 2)
    first, second = KERNEL.programs(shape, "sm_90")
    assert first.dram_bytes + second.dram_bytes == count.dram_bytes
    assert first.grid == (8, 32, 1)
    assert first.steps == 8
    assert first.operations["tensor_fp16"] == 2 * 32 * 4096 * 16 * (128 + 128)  # tiles of 128
    assert first.inflight_bytes == 2 * 64 * (77 + 128) * 2
    read = 4096 * (77 + 128) * 2 + 8 * 77 * (2 + 4)
    assert first.l2_bytes == 32 * (read + 8 * (512 + 4))


def test_what_is_stored_changes_no_byte_that_is_read() -> None:
    shape = Channels(pruned=0.75)
    assert KERNEL.count(shape) == KERNEL.count(shape.override({"compact": False}))


def test_sparsity_is_the_share_of_channels_left_out() -> None:
    shape = KERNEL.at_sparsity(Channels(dim=128), 0.75)
    assert shape.kept == 32
    assert KERNEL.at_sparsity(shape, 0).kept == 128
    assert KERNEL.dense_shape(shape).keys == 4096


def test_channels_start_at_a_sector() -> None:
    assert [Channels(keys=keys).stride for keys in (1, 16, 17)] == [16, 16, 32]


@needs_triton
@pytest.mark.parametrize("compact", [True, False])
def test_all_channels_are_dense_attention(compact: bool) -> None:
    shape = Channels(heads=4, kv_heads=2, keys=100, dim=32, pruned=0, compact=compact)
    inputs = KERNEL.inputs(shape, seed=1)
    dense = {
        "query": inputs["query"],
        "key": inputs["key"][..., :100].mT,
        "value": inputs["value"],
    }
    wanted = DenseDecode().naive(KERNEL.dense_shape(shape), dense)["output"]
    found = run(KERNEL, shape, inputs)["output"].double()
    assert torch.allclose(found, wanted, atol=1e-3)


@needs_triton
def test_filling_and_channels_that_are_not_listed_do_not_matter() -> None:
    shape = Channels(heads=1, kv_heads=1, keys=70, dim=32, pruned=0.5, compact=False)
    inputs = KERNEL.inputs(shape, seed=2)
    found = run(KERNEL, shape, inputs)["output"]
    inputs["key"][..., 70:] = torch.nan
    others = sorted(set(range(32)) - set(inputs["channels"].flatten().tolist()))
    inputs["key"][:, :, others] = torch.nan
    assert torch.equal(run(KERNEL, shape, inputs)["output"], found)


@pytest.mark.parametrize(("wrong", "told"), [(-1, "not -1"), (32, "not 32")])
def test_a_channel_that_there_is_not_is_refused(wrong: int, told: str) -> None:
    shape = Channels(heads=2, kv_heads=1, keys=20, dim=32)
    inputs = KERNEL.inputs(shape, seed=3)
    inputs["channels"][0, 0, 4] = wrong
    with pytest.raises(InputError, match=f"channels must be 0 to 31, {told}"):
        run(KERNEL, shape, inputs)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"pruned": 1.0}, "pruned"),
        ({"pruned": -0.1}, "pruned"),
        ({"heads": 130, "kv_heads": 2}, "at most 64 times kv_heads"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Channels(**values)
