"""Limits, tiles and counts of the dense prefill; tiles of each target in the interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.kernels import launch
from algos.kernels.dense_prefill import tiles as cutting
from algos.kernels.dense_prefill.kernel import DensePrefill
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import NARROW, WIDE, Tiles, key_tiles, tiles
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = DensePrefill()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dim": 80}, r"dim must be one of \(16, 32, 64, 128\), not 80"),
        ({"heads": 12, "kv_heads": 5}, "heads must be a multiple of kv_heads, 12 is not of 5"),
        ({"queries": 9, "keys": 8, "causal": True}, r"at most keys \(8\) if causal, not 9"),
        ({"batch": 8192, "heads": 8, "kv_heads": 8}, "at most 65535, not 65536"),
        ({"keys": 0}, "keys"),
        ({"queries": 131_073}, "queries"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Prefill(**values)


def test_narrow_tiles_where_wide_ones_do_not_fill_the_device() -> None:
    # BERT-Base: 12 heads x 3 tiles of 128 queries are 36 blocks for 108 or 132 multiprocessors
    assert tiles(12, 384, 64, "sm_80") == NARROW["sm_80", 64] == Tiles(64, 64, 4, 3)
    assert tiles(12, 384, 64, "sm_90").queries == 64
    # at a batch of 4 there are 144
    assert tiles(48, 384, 64, "sm_90") == WIDE["sm_90", 64]
    assert tiles(32, 4096, 128, "sm_80") == WIDE["sm_80", 128]
    # the least heads that fill: 44 x 3 = 132
    assert tiles(44, 384, 64, "sm_90").queries == 128
    assert tiles(43, 384, 64, "sm_90").queries == 64
    assert tiles(36, 384, 64, "sm_80").queries == 128
    assert tiles(35, 384, 64, "sm_80").queries == 64
    # a warp has 16 rows at least
    assert tiles(1, 33, 64, "sm_80").queries == 64
    assert tiles(1, 32, 64, "sm_80") == Tiles(32, 32, 2, 3)
    assert tiles(1, 1, 16, "sm_90") == Tiles(16, 32, 1, 3)


def test_tiles_of_keys_end_at_the_diagonal() -> None:
    cut = Tiles(64, 32, 4, 3)
    assert key_tiles(130, 100, False, cut) == [4, 4, 4]
    assert key_tiles(130, 130, True, cut) == [2, 4, 5]
    # 70 keys before the first query: rows see up to 134, 198 and all 200
    assert key_tiles(130, 200, True, cut) == [5, 7, 7]


def test_counts_of_bert() -> None:
    shape = KERNEL.papers["bert-base-384"]
    count = KERNEL.count(shape)
    assert count.flops == 4 * 12 * 384 * 384 * 64
    assert count.dram_bytes == 4 * 12 * 384 * 64 * 2  # Q, K, V and the output
    (program,) = KERNEL.programs(shape, "sm_80")
    assert program.grid == (6, 12, 1)
    assert program.blocks == 72
    assert program.dram_bytes == count.dram_bytes
    # each of 72 blocks reads 64 queries, 384 keys and values, and writes 64 rows, of 128 bytes
    assert program.l2_bytes == 72 * (64 + 384 + 384 + 64) * 128
    scores = 12 * 384 * 384
    assert program.operations == {
        "tensor_fp16": count.flops,
        "special": scores,
        "fp32": 4 * scores + 72 * 6 * 64 * 64,  # the mix is scaled at each of 6 steps
    }
    assert (program.steps, program.longest) == (6, 1.0)
    assert program.inflight_bytes == 2 * (64 + 64) * 128
    assert program.divisible == ("queries", "keys")
    assert program.constants["RAGGED"] is False


def test_counts_of_a_causal_and_ragged_prompt() -> None:
    shape = Prefill(heads=4, kv_heads=2, queries=100, keys=110, dim=32, causal=True)
    # query i sees 11 + i keys
    pairs = sum(11 + query for query in range(100))
    assert KERNEL.count(shape).flops == 4 * 4 * pairs * 32
    assert KERNEL.count(shape).dram_bytes == 2 * 32 * (2 * 4 * 100 + 2 * 2 * 110)
    (program,) = KERNEL.programs(shape, "sm_80")
    # 64 x 64: the first tile's last row sees 74 keys, the second's 110: two tiles of keys each
    assert program.constants["BLOCK_M"] == program.constants["BLOCK_N"] == 64
    assert program.constants["RAGGED"] is True
    assert program.divisible == ()
    assert program.operations["special"] == 4 * (2 + 2) * 64 * 64
    assert program.l2_bytes == 2 * 32 * 4 * (2 * 100 + 2 * (110 + 110))
    assert (program.steps, program.longest) == (2, 1.0)


def test_the_longest_block_of_a_long_causal_prompt_is_twice_the_mean() -> None:
    (program,) = KERNEL.programs(KERNEL.papers["llama-2-7b-4096"], "sm_90")
    assert program.grid == (32, 32, 1)
    # 128 queries see 2, 4, .. 64 tiles of 64 keys
    assert program.steps == 64
    assert program.longest == pytest.approx(64 / 33)


@needs_triton
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_wide_tiles(target: str, dim: int, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "SMS", {"sm_80": 1, "sm_90": 1})
    monkeypatch.setattr(launch, "target_here", lambda: target)
    shape = Prefill(heads=2, kv_heads=1, queries=150, keys=290, dim=dim, causal=causal)
    assert KERNEL.programs(shape, target)[0].constants["BLOCK_M"] == 128
    inputs = KERNEL.inputs(shape, seed=3)
    found = launch.run(KERNEL, shape, inputs)["output"].double()
    wanted = KERNEL.naive(shape, inputs)["output"]
    assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()


@needs_triton
def test_scores_of_millions() -> None:
    shape = Prefill(heads=1, kv_heads=1, queries=20, keys=70, dim=16)
    inputs = KERNEL.inputs(shape, seed=4)
    inputs["query"] = inputs["query"].sign() * 500
    inputs["key"] = inputs["key"].sign() * 500
    found = launch.run(KERNEL, shape, inputs)["output"].double()
    assert torch.isfinite(found).all()
    wanted = KERNEL.naive(shape, inputs)["output"]
    assert (found - wanted).abs().max() < 2e-3 * wanted.abs().max()


def test_operands_of_another_shape_are_refused() -> None:
    shape = Prefill(heads=1, kv_heads=1, queries=20, keys=70, dim=16)
    inputs = KERNEL.inputs(shape, seed=4)
    inputs["key"] = inputs["key"][:, :, :69]
    with pytest.raises(InputError, match="operand key must be"):
        launch.run(KERNEL, shape, inputs)
