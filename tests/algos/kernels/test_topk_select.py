"""Limits, ties, parts and counts of the selection."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.kernels.emulate import emulate
from algos.kernels.launch import run
from algos.kernels.topk_select.kernel import Topk, TopkSelect, best_parts, fits, part_of, tile
from algos.kernels.topk_select.naive import topk
from workloads.errors import InputError

KERNEL = TopkSelect()


def check(scores: torch.Tensor, **sizes: Any) -> torch.Tensor:
    """Return the selection after comparing it with the twin's."""
    shape = Topk(rows=scores.shape[0], keys=scores.shape[1], **sizes)
    found = run(KERNEL, shape, {"scores": scores})["output"]
    assert torch.equal(found, topk(scores, shape.k))
    return found


def test_naive_by_hand() -> None:
    scores = torch.tensor([[3.0, 1.0, 3.0, 2.0, 3.0], [0.0, -0.0, -1.0, 0.0, -2.0]])
    assert topk(scores, 2).tolist() == [[0, 2], [0, 1]]
    assert topk(scores, 4).tolist() == [[0, 2, 3, 4], [0, 1, 2, 3]]


@pytest.mark.parametrize("keys", [300, 1_200], ids=["warp", "block"])
@pytest.mark.parametrize("score", ["fp32", "fp16"])
def test_equal_scores_are_taken_from_the_lowest_place(keys: int, score: str) -> None:
    draw = torch.Generator().manual_seed(3)
    few = torch.randint(-2, 3, (4, keys), generator=draw).float()
    few[1] = 1.0  # one value only
    few[2] = torch.where(few[2] > 0, 0.0, -0.0)  # both zeros are equal
    few[3, ::3] = -torch.inf
    few[3, 1::3] = torch.inf
    scores = few.to(torch.float16 if score == "fp16" else torch.float32)
    found = check(scores, k=keys // 2, score=score)
    assert found[1].tolist() == list(range(keys // 2))
    assert found[2].tolist() == list(range(keys // 2))


def test_equal_scores_of_several_parts() -> None:
    scores = torch.ones(2, 2_100)
    scores[1, 2_000:] = 2.0
    found = check(scores, k=150, parts=3)
    assert found[0].tolist() == list(range(150))
    assert found[1].tolist() == [*range(50), *range(2_000, 2_100)]


def test_a_last_part_of_fewer_keys_than_are_kept() -> None:
    shape = Topk(rows=1, keys=1_603, k=700, parts=2)
    assert part_of(shape, 2) == 808
    check(torch.randn(1, 2_410), k=800, parts=3)  # parts of 808, 808 and 794


def test_neighbouring_floats_are_told_apart() -> None:
    bits = torch.arange(1_500, dtype=torch.int32).flip(0)
    scores = (torch.tensor(1.0).view(torch.int32) + bits).view(torch.float32)[None]
    assert check(scores, k=9)[0].tolist() == list(range(9))
    assert check(-scores, k=9)[0].tolist() == list(range(1_491, 1_500))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("case", ["warp", "block", "parts"])
def test_the_order_of_threads_does_not_matter(case: str, order: int) -> None:
    shape = KERNEL.tests[case]
    inputs = KERNEL.inputs(shape, seed=order)
    buffers = KERNEL.buffers(shape, inputs)
    known = {**inputs, **buffers, **KERNEL.scalars(shape)}
    for program in KERNEL.programs(shape, "sm_90"):
        emulate(KERNEL, program, [known[name] for name in program.arguments], order)
    assert torch.equal(buffers["output"], topk(inputs["scores"], shape.k))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"keys": 5, "k": 6}, r"topk k must be at most keys \(5\), not 6"),
        ({"rows": 0}, "rows must be greater than or equal to 1"),
        ({"keys": 262_145}, "keys must be less than or equal to 262144"),
        ({"keys": 65_536, "k": 20_000}, "k 20000 of 65536 keys in any parts have not"),
        ({"keys": 65_536, "k": 2_048, "parts": 32}, "k 2048 of 65536 keys in 32 parts have not"),
        ({"keys": 9, "k": 1, "parts": 3}, "k 1 of 9 keys in 3 parts have not"),
    ],
)
def test_limits_are_told(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Topk(**values)


def test_operands_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"operand scores must be \(2, 40\) of torch.float32"):
        run(KERNEL, Topk(rows=2, keys=40, k=3), {"scores": torch.zeros(2, 41)})


@pytest.mark.parametrize(
    ("rows", "keys", "k", "parts"),
    [(64, 32_768, 1_024, 1), (1, 65_536, 2_048, 4), (1, 131_072, 256, 16), (1, 32_768, 32_768, 1)],
)
def test_long_rows_are_cut_where_it_pays(rows: int, keys: int, k: int, parts: int) -> None:
    assert best_parts(Topk(rows=rows, keys=keys, k=k)) == parts


def test_the_most_keys_are_held() -> None:
    assert fits(Topk(keys=65_536, k=16_384), 2)
    assert not fits(Topk(keys=65_536, k=2_048), 1)
    assert not fits(Topk(keys=65_536, k=2_048), 32)
    for keys in (1_025, 2_048, 2_049, 8_192, 8_193, 32_768):
        for vector in (4, 8):
            warps, items = tile(keys, vector)
            assert 32 * warps * items >= keys > 32 * warps * (items - vector)
            assert items % vector == 0


def test_counts_by_hand() -> None:
    count = KERNEL.count(Topk(rows=64, keys=32_768, k=1_024))
    assert count.dram_bytes == 64 * 32_768 * 4 + 64 * 1_024 * 4
    first, second = KERNEL.programs(Topk(rows=1, keys=65_536, k=2_048), "sm_80")
    assert (first.function, first.grid, first.warps) == ("topk_parts", (4, 1, 1), 32)
    assert first.constants == {"HALF": False, "ITEMS": 16, "ALIGNED": True}
    assert first.dram_bytes == 65_536 * 4 + 4 * 2_048 * 8
    assert first.shared_bytes == 16_384 * 4 + 8_192 + 32 * 4 + 16
    assert second.grid == (1, 1, 1)
    assert second.dram_bytes == 4 * 2_048 * 4 + 2_048 * 8
    assert second.inflight_bytes == 8_192 * 4
    (small,) = KERNEL.programs(Topk(rows=600, keys=384, k=192), "sm_80")
    assert (small.function, small.grid, small.warps) == ("topk_small", (150, 1, 1), 4)


def test_a_threshold_that_is_a_key() -> None:
    scores = torch.where(torch.arange(64)[None] % 3 == 0, 0.0, -1.0)
    check(scores, k=22)  # all zeros, whose key is a power of two


def test_warps_behind_the_last_row_write_nothing() -> None:
    shape = Topk(rows=513, keys=9, k=2)
    (program,) = KERNEL.programs(shape, "sm_90")
    assert program.grid[0] * program.warps == 516
    scores, output = torch.randn(516, 9), torch.full((516, 2), -1, dtype=torch.int32)
    emulate(KERNEL, program, [scores, output, 513, 9, 2])
    assert torch.equal(output[:513], topk(scores[:513], 2))
    assert (output[513:] == -1).all()
