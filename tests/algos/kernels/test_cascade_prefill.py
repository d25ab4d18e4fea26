"""Limits, lists, tiles and counts of the cascade prefill, and its tiles in the interpreter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.kernels import launch
from algos.kernels.cascade_prefill import shape as cutting
from algos.kernels.cascade_prefill.kernel import CascadePrefill
from algos.kernels.cascade_prefill.shape import Cascade, cascade_tiles
from algos.kernels.dense_prefill import tiles as dense_cutting
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import Tiles
from algos.kernels.numerics import relative_error as error
from tests.algos.kernels.conftest import needs_triton
from workloads.errors import InputError

KERNEL = CascadePrefill()
SMALL = Cascade(batch=2, heads=3, kv_heads=3, tokens=40, dim=16, kept=25, kept_heads=2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"tokens": 100, "kept": 101}, r"kept must be at most tokens \(100\), not 101"),
        ({"kept_heads": 13}, r"kept_heads must be at most heads \(12\), not 13"),
        ({"dim": 48}, "dim must be one of"),
        ({"kv_heads": 7}, "multiple of kv_heads"),
        ({"tokens": 9000, "kept": 8193}, "8192"),
        ({"kept": 0}, "kept"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Cascade(**values)


@pytest.mark.parametrize(
    ("name", "place", "value", "sentence"),
    [
        ("token_ids", (1, 24), 40, "token_ids must be 0 to 39, not 40"),
        ("token_ids", (0, 0), -1, "token_ids must be 0 to 39, not -1"),
        ("head_ids", (0, 1), 3, "head_ids must be 0 to 2, not 3"),
    ],
)
def test_ids_out_of_range_are_refused(
    name: str, place: tuple[int, int], value: int, sentence: str
) -> None:
    inputs = KERNEL.inputs(SMALL, seed=0)
    inputs[name][place] = value
    with pytest.raises(InputError, match=sentence):
        launch.run(KERNEL, SMALL, inputs)


def test_ids_out_of_order_are_refused() -> None:
    inputs = KERNEL.inputs(SMALL, seed=0)
    inputs["token_ids"][0] = torch.arange(25)
    inputs["token_ids"][1] = torch.arange(25)
    inputs["token_ids"][1, 7] = 6
    with pytest.raises(InputError, match="must ascend without equals, 6 follows 6"):
        launch.run(KERNEL, SMALL, inputs)


def test_tiles() -> None:
    # 11 heads x 4 tiles of 64 are few
    assert cascade_tiles(Cascade(), "sm_80") == Tiles(32, 256, 4, 1)
    assert cascade_tiles(Cascade(), "sm_90") == Tiles(32, 256, 4, 1)
    many = Cascade(batch=3)
    assert cascade_tiles(many, "sm_80") == Tiles(32, 256, 4, 1)
    assert cascade_tiles(many, "sm_90") == Tiles(64, 256, 4, 1)
    assert cascade_tiles(Cascade(kept=11, kept_heads=1), "sm_80") == Tiles(32, 64, 2, 1)
    assert cascade_tiles(Cascade(kept=128), "sm_80") == Tiles(32, 128, 4, 1)
    assert cascade_tiles(Cascade(kept=256), "sm_80").stages == 1
    assert cascade_tiles(Cascade(kept=257), "sm_80") == Tiles(64, 64, 4, 5)
    assert cascade_tiles(Cascade(kept=257), "sm_90") == Tiles(64, 64, 4, 5)
    assert cascade_tiles(Cascade(kept=128, dim=128), "sm_90").stages == 1
    assert cascade_tiles(Cascade(kept=129, dim=128), "sm_90") == Tiles(64, 64, 4, 5)
    assert cascade_tiles(Cascade(batch=64, kept=129, dim=128), "sm_80") == Tiles(64, 32, 4, 5)


def test_counts_of_bert() -> None:
    shape = KERNEL.papers["bert-base-384"]
    count = KERNEL.count(shape)
    assert count.flops == 4 * 11 * 202 * 202 * 64
    # Q, K, V and results of 11 heads, ids in and importance out
    assert count.dram_bytes == 4 * 11 * 202 * 128 + 2 * 4 * (202 + 11)
    attention, sums = KERNEL.programs(shape, "sm_80")
    assert attention.dram_bytes + sums.dram_bytes == count.dram_bytes
    assert (attention.function, attention.grid) == ("cascade_short", (7, 11, 1))
    scores = 77 * 32 * 256
    assert attention.operations == {
        "tensor_fp16": 4 * scores * 64,
        "special": scores,
        "fp32": 6 * scores,
    }
    # a block loads 32 rows of Q and 256 of K and of V by their ids
    loaded = 77 * (32 + 256 + 256) * (128 + 4)
    written = 11 * 202 * 128 + 77 * (202 + 1) * 4
    assert attention.l2_bytes == loaded + written
    assert (attention.steps, attention.inflight_bytes) == (1, (32 + 2 * 256) * 128)
    assert sums.grid == (7 + 11, 1, 1)
    assert sums.l2_bytes == 4 * (77 * 202 + 77 + 202 + 11)
    assert sums.steps == 2


def test_counts_of_a_long_causal_prompt() -> None:
    shape = KERNEL.papers["gpt-2-992"]
    assert KERNEL.count(shape).flops == 4 * 11 * (261 * 262 // 2) * 64
    attention, sums = KERNEL.programs(shape, "sm_80")
    assert (attention.function, attention.grid) == ("cascade_prefill", (5, 11, 1))
    # tiles of queries see 1, 2, 3, 4 and 5 tiles of 64 keys, twice
    scores = 11 * 15 * 64 * 64
    assert attention.operations == {
        "tensor_fp16": 6 * scores * 64,
        "special": 2 * scores,
        "fp32": 7 * scores + 11 * 15 * 64 * 64,
    }
    loaded = 11 * (5 * 64 + 3 * 15 * 64) * (128 + 4)
    parts = 64 + 128 + 192 + 256 + 261
    assert attention.l2_bytes == loaded + 11 * 261 * 128 + 4 * 11 * (parts + 5)
    assert (attention.steps, attention.longest) == (10, 5 / 3)
    assert sums.l2_bytes == 4 * (11 * parts + 55 + 261 + 11)


def test_sparsity_and_the_control() -> None:
    shape = Cascade(batch=2, tokens=384, causal=True)
    assert KERNEL.at_sparsity(shape, 0.0).kept == 384
    assert KERNEL.at_sparsity(shape, 0.5).kept == 192
    assert KERNEL.at_sparsity(shape, 0.999).kept == 1
    assert KERNEL.dense_shape(shape) == Prefill(batch=2, queries=384, keys=384, causal=True)


def run_and_compare(shape: Cascade, seed: int) -> dict[str, torch.Tensor]:
    inputs = KERNEL.inputs(shape, seed)
    found, wanted = launch.run(KERNEL, shape, inputs), KERNEL.naive(shape, inputs)
    for name in KERNEL.results:
        assert error(found[name], wanted[name]) < KERNEL.tolerance, name
    return found


@needs_triton
@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("dim", "kept"), [(32, 230), (16, 300), (128, 170)])
@pytest.mark.parametrize("causal", [False, True])
def test_wide_tiles(
    target: str, dim: int, kept: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cutting, dense_cutting):
        monkeypatch.setattr(module, "SMS", {"sm_80": 1, "sm_90": 1})
    monkeypatch.setattr(launch, "target_here", lambda: target)
    shape = Cascade(
        heads=2, kv_heads=1, tokens=310, dim=dim, kept=kept, kept_heads=1, causal=causal
    )
    run_and_compare(shape, seed=5)


@needs_triton
def test_importance_adds_up_and_is_repeatable() -> None:
    first = run_and_compare(SMALL, seed=6)
    # each query of each kept head gives 1
    assert first["token_importance"].sum(-1).tolist() == pytest.approx([2 * 25] * 2, rel=1e-5)
    second = run_and_compare(SMALL, seed=6)
    assert all(torch.equal(first[name], second[name]) for name in KERNEL.results)


@needs_triton
def test_what_is_pruned_is_not_read() -> None:
    inputs = KERNEL.inputs(SMALL, seed=7)
    wanted = launch.run(KERNEL, SMALL, inputs)
    for one in range(SMALL.batch):
        pruned = torch.ones(SMALL.tokens, dtype=torch.bool)
        pruned[inputs["token_ids"][one].long()] = False
        heads = torch.ones(SMALL.heads, dtype=torch.bool)
        heads[inputs["head_ids"][one].long()] = False
        for name in ("query", "key", "value"):
            inputs[name][one, :, pruned] = torch.nan
            inputs[name][one, heads] = torch.nan
    found = launch.run(KERNEL, SMALL, inputs)
    assert all(torch.equal(found[name], wanted[name]) for name in KERNEL.results)
