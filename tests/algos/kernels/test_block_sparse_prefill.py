"""Limits, lists, tiles and counts of the block-sparse prefill, and its tiles in the interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.kernels import launch
from algos.kernels.block_sparse_prefill.kernel import BlockSparsePrefill
from algos.kernels.block_sparse_prefill.naive import mask_of
from algos.kernels.block_sparse_prefill.shape import QUERY_BLOCKS, BlockSparse, block_tiles
from algos.kernels.dense_prefill.kernel import DensePrefill
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import Tiles
from algos.kernels.numerics import relative_error as error
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = BlockSparsePrefill()
SMALL = BlockSparse(
    heads=2, kv_heads=1, queries=70, keys=110, dim=16, block_queries=32, block_keys=16, kept=4
)
SIZES = [
    {"queries": 70, "keys": 110, "block_queries": 32, "block_keys": 16},
    {"queries": 128, "keys": 128, "block_queries": 64, "block_keys": 64},
    {"queries": 64, "keys": 200, "block_queries": 32, "block_keys": 64},
    {"queries": 33, "keys": 47, "block_queries": 32, "block_keys": 4},
    {"queries": 100, "keys": 100, "block_queries": 64, "block_keys": 1},
    {"queries": 5, "keys": 300, "block_queries": 128, "block_keys": 128},
]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"block_queries": 16}, r"block_queries must be one of \(32, 64, 128\), not 16"),
        ({"block_keys": 3}, "block_keys must be one of .*, not 3"),
        # 32 queries lie in 16 blocks of 2 keys; 384 keys are 192 blocks
        ({"kept": 15}, "kept must be 16 to 192, not 15"),
        ({"kept": 193}, "kept must be 16 to 192, not 193"),
        ({"dim": 24}, "dim must be one of"),
        ({"queries": 385}, r"at most keys \(384\)"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BlockSparse(**{"kept": 20, **values})


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        # the first block of queries sees places below 72: 5 blocks of 16
        ((0, 1, 0, 3), 5, "blocks of query block 0 must be 0 to 4, the last that it sees, not 5"),
        ((0, 0, 2, 0), -1, "blocks of query block 2 must be 0 to 6, .*, not -1"),
        ((0, 0, 2, 3), 0, "blocks must ascend without equals"),
    ],
)
def test_lists_of_what_is_not_seen_are_refused(
    place: tuple[int, ...], value: int, sentence: str
) -> None:
    inputs = KERNEL.inputs(SMALL, seed=0)
    inputs["blocks"][place] = value
    with pytest.raises(InputError, match=sentence):
        launch.run(KERNEL, SMALL, inputs)


@pytest.mark.parametrize("count", [-1, 5])
def test_lengths_out_of_range_are_refused(count: int) -> None:
    inputs = KERNEL.inputs(SMALL, seed=0)
    inputs["counts"][0, 1, 2] = count
    with pytest.raises(InputError, match=f"counts must be 0 to 4, not {count}"):
        launch.run(KERNEL, SMALL, inputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_what_is_seen_and_what_is_masked_by_brute_force(size: dict[str, int], causal: bool) -> None:
    all_kept = -(-size["keys"] // size["block_keys"])
    shape = BlockSparse(**size, heads=1, kv_heads=1, causal=causal, kept=all_kept)
    sees = torch.ones(shape.queries, shape.keys).bool()
    if causal:
        sees = sees.tril(shape.keys - shape.queries)
    masked = []
    for tile in range(shape.query_blocks):
        rows = sees[tile * shape.block_queries :][: shape.block_queries]
        blocks = rows.split(shape.block_keys, dim=1)
        assert shape.seen(tile) == sum(bool(block.any()) for block in blocks)
        whole = [bool(block.all()) and block.shape[1] == shape.block_keys for block in blocks]
        masked.append(sum(not full for full in whole[: shape.seen(tile)]))
    assert max(masked) <= shape.masked


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("extra", [0, 2])
def test_counts_equal_the_drawn_masks(size: dict[str, int], extra: int) -> None:
    blocks = -(-size["keys"] // size["block_keys"])
    least = BlockSparse(**size, heads=2, kv_heads=1, dim=16, kept=blocks).least
    shape = BlockSparse(**size, heads=2, kv_heads=1, dim=16, kept=min(least + extra, blocks))
    inputs = KERNEL.inputs(shape, seed=2)
    cut = (shape.block_queries, shape.block_keys)
    mask = mask_of(inputs["blocks"], inputs["counts"], shape.queries, shape.keys, cut, True)
    assert mask.any(-1).all()
    assert mask.sum() == 2 * shape.listed_pairs
    assert inputs["counts"][0, 0].tolist() == shape.lengths


def test_tiles() -> None:
    paper = KERNEL.papers["llama-2-7b-4096"]
    assert block_tiles(paper, "sm_80") == Tiles(32, 32, 2, 5)
    wide = BlockSparse(block_queries=128, block_keys=64, kept=3)
    assert block_tiles(wide, "sm_80") == Tiles(128, 32, 4, 5)
    assert block_tiles(wide, "sm_90") == Tiles(128, 64, 8, 5)


def test_counts_of_blocks_of_64() -> None:
    shape = KERNEL.papers["llama-2-7b-4096-blocks-of-64"]
    count = KERNEL.count(shape)
    # lists of 1, 2, .. 9 blocks and 55 of 10; the last block of each is half seen
    blocks = 45 + 55 * 10
    pairs = (blocks - 64) * 64 * 64 + 64 * (64 * 65 // 2)
    assert count.flops == 4 * 32 * pairs * 128
    rows = 4 * 32 * 4096
    assert count.dram_bytes == rows * 256 + 4 * 32 * (blocks + 64)
    (program,) = KERNEL.programs(shape, "sm_80")
    assert (program.grid, program.warps) == ((64, 32, 1), 4)
    scores = 32 * blocks * 64 * 64
    assert program.operations == {
        "tensor_fp16": 4 * scores * 128,
        "special": scores,
        "fp32": 4 * scores + 32 * 2 * blocks * 64 * 128,  # two steps of 32 keys a block
    }
    gathered = 2 * 32 * blocks * 64 * (256 + 4)
    assert program.l2_bytes == 2 * 32 * 4096 * 256 + gathered + 4 * 32 * 64
    assert (program.steps, program.longest) == (20, pytest.approx(10 * 64 / blocks))
    assert program.inflight_bytes == 2 * 2 * 32 * 256
    assert program.constants["MASKED_BLOCKS"] == 1


def test_a_step_gathers_several_small_blocks() -> None:
    (program,) = KERNEL.programs(KERNEL.papers["llama-2-7b-4096"], "sm_90")
    assert program.constants["BLOCK_N"] == 32
    assert program.constants["MASKED_BLOCKS"] == 16
    assert program.steps == 320 * 2 // 32


def test_sparsity_and_the_control() -> None:
    shape = KERNEL.papers["llama-2-7b-4096-blocks-of-64"]
    assert KERNEL.at_sparsity(shape, 0.0).kept == 64
    half = KERNEL.at_sparsity(shape, 0.5)
    seen = 64 * 65 // 2
    assert sum(half.lengths) == pytest.approx(seen / 2, abs=64)
    assert KERNEL.at_sparsity(shape, 0.999).kept == 1
    assert KERNEL.dense_shape(shape) == DensePrefill.papers["llama-2-7b-4096"]
    assert type(KERNEL.dense_shape(shape)) is Prefill


def run_and_compare(shape: BlockSparse, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    found = launch.run(KERNEL, shape, inputs)["output"]
    assert error(found, KERNEL.naive(shape, inputs)["output"]) < KERNEL.tolerance
    return found


@needs_triton
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("block_queries", QUERY_BLOCKS)
@pytest.mark.parametrize(("dim", "block_keys"), [(64, 32), (128, 128)])
def test_tiles_of_each_target(
    target: str, block_queries: int, dim: int, block_keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "target_here", lambda: target)
    shape = BlockSparse(
        heads=1,
        kv_heads=1,
        queries=150,
        keys=515,
        dim=dim,
        block_queries=block_queries,
        block_keys=block_keys,
        kept=5,
    )
    run_and_compare(shape, KERNEL.inputs(shape, seed=3))


@needs_triton
def test_queries_that_see_no_listed_key_give_0() -> None:
    inputs = KERNEL.inputs(SMALL, seed=4)
    inputs["counts"][0, 0, 1] = 0
    # queries 64 .. 69 are at 104 .. 109: of block 6, 96 .. 111, all see some; of none, nothing
    inputs["blocks"][0, 1, 0, 0], inputs["counts"][0, 1, 0] = 4, 1  # 64 .. 79, queries at 40 .. 71
    found = run_and_compare(SMALL, inputs)
    assert (found[0, 0, 32:64] == 0).all()
    assert (found[0, 1, :24] == 0).all()
    assert (found[0, 1, 24:32] != 0).any(-1).all()


@needs_triton
def test_what_is_not_listed_is_not_read() -> None:
    inputs = KERNEL.inputs(SMALL, seed=5)
    inputs["blocks"][...] = torch.tensor([0, 2, 3, 4], dtype=torch.int32)
    inputs["counts"][...] = 4
    wanted = launch.run(KERNEL, SMALL, inputs)["output"]
    for name in ("key", "value"):
        inputs[name][:, :, 16:32] = torch.nan
        inputs[name][:, :, 80:] = torch.nan
    found = run_and_compare_to(wanted, inputs)
    assert torch.isfinite(found).all()


def run_and_compare_to(wanted: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    found = launch.run(KERNEL, SMALL, inputs)["output"]
    assert torch.equal(found, wanted)
    return found
