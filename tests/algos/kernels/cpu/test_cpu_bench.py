"""The CPU bench with a clock of its own: turns, rows, failures, resuming; and what it times."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algos.kernels.cpu import bench, cases, host
from algos.kernels.cpu.attention import attention_flops, gathered_attention
from algos.kernels.cpu.bench import Settings
from algos.kernels.cpu.cases import Group, Member, attention_group, product_group
from algos.kernels.rows import Rows

SETTINGS = Settings(windows=5, window_ns=1000, cold_factor=2.0, most_copies=3)
ABOUT = {"label": "measured:cpu", "cache_bytes": 1000, "threads": 1}


class Clock:
    """Time that passes when a member is called."""

    def __init__(self) -> None:
        self.now, self.order = 0, ""

    def __call__(self) -> int:
        return self.now

    def member(self, name: str, sparsity: float, costs: int, error: float = 0.0) -> Member:
        def call() -> None:
            self.now += costs
            self.order += name

        return Member(name, "made up", sparsity, 1, 8.0, 500, lambda: call, lambda: error)


def group(*members: Member) -> Group:
    return Group("tiny", "{}", members)


def test_rows() -> None:
    clock = Clock()
    made = group(
        clock.member("a", 0.0, 100), clock.member("b", 0.0, 80), clock.member("c", 0.5, 40)
    )
    rows = bench.measure(made, SETTINGS, ABOUT, clock)
    assert [row["median_ns"] for row in rows] == [100, 80, 40]
    assert [row["copies"] for row in rows] == [3, 3, 3]  # 4 would be twice the cache
    assert [row["calls"] for row in rows] == [12, 15, 27]  # rounds of 3 that last 1000 ns
    assert [row["speedup"] for row in rows] == [None, None, 2.0]  # than the faster dense one
    assert rows[0]["flops_per_s"] == pytest.approx(8 / 100e-9)
    turns = clock.order[-(12 + 15 + 27) * 5 :]
    assert turns == ("a" * 12 + "b" * 15 + "c" * 27) * 5


def broken(*_: Any) -> Any:
    raise RuntimeError("no\nmemory")


def test_what_is_wrong_or_fails_costs_its_own_row() -> None:
    clock = Clock()
    wrong = clock.member("b", 0.5, 80, error=0.5)
    fails = replace(clock.member("c", 0.5, 40), copy=broken)
    nan = clock.member("d", 0.5, 40, error=float("nan"))
    rows = bench.measure(
        group(clock.member("a", 0.0, 100), wrong, fails, nan), SETTINGS, ABOUT, clock
    )
    assert [row["status"] for row in rows] == ["measured", "refused", "failed", "refused"]
    assert rows[1]["reason"] == "its error must be at most 0.0001, it is 0.5"
    assert rows[2]["reason"] == "RuntimeError: no memory"
    assert set(clock.order) == {"a"}


def test_resume(tmp_path: Path) -> None:
    clock = Clock()
    store = Rows(tmp_path / "cpu.jsonl", resume=False)
    first = group(clock.member("a", 0.0, 100), replace(clock.member("b", 0.5, 9), copy=broken))
    bench.bench([first], store, SETTINGS, ABOUT, clock=clock)
    again = group(clock.member("a", 0.0, 50), clock.member("b", 0.5, 25))
    told: list[str] = []
    for _ in range(2):
        bench.bench([again], store, SETTINGS, ABOUT, told.append, clock)
    assert [row["status"] for row in store.last().values()] == ["measured"] * 2
    count = len((tmp_path / "cpu.jsonl").read_text().splitlines())
    assert count == 4  # the whole group again, then nothing
    bench.bench([again], store, SETTINGS, {**ABOUT, "threads": 2}, clock=clock)
    assert len(store.last()) == 4
    assert told == ["tiny", "tiny"]


def test_a_clock_that_stands_still() -> None:
    clock = Clock()
    rows = bench.measure(
        group(clock.member("a", 0.0, 0)), replace(SETTINGS, window_ns=4), ABOUT, clock
    )
    assert rows[0]["status"] == "measured"
    assert rows[0]["median_ns"] > 0


def test_products_are_of_the_same_work() -> None:
    made = product_group("tiny", 16, 40, 5, np.random.default_rng(0))
    assert [m.sparsity for m in made.members] == pytest.approx([0, 0, *cases.SPARSITIES])
    assert json.loads(made.size) == {"outputs": 16, "inputs": 40, "tokens": 5}
    for member in made.members:
        assert member.check() < 1e-6
        member.copy()()
    dense, _, sparse, *_ = made.members
    assert dense.flops == 2 * 16 * 40 * 5
    assert dense.dram_bytes == 4 * (16 * 40 + 40 * 5 + 16 * 5)
    assert sparse.flops == pytest.approx(0.3 * dense.flops)
    assert sparse.dram_bytes == 4 * (16 * 12 + 4 * 12 + 40 * 5 + 16 * 5)


@pytest.mark.parametrize("queries", [1, 20])
def test_attention_of_what_is_left(queries: int) -> None:
    made = attention_group("tiny", 16, queries, 20, 8, np.random.default_rng(0))
    for member in made.members:
        assert member.check() < 1e-5
        member.copy()()
    dense, *tokens = made.members[:5]
    assert dense.flops == 4 * 16 * queries * 20 * 8
    assert dense.dram_bytes == 4 * 16 * 8 * (2 * queries + 40)
    power = 2 if queries == 20 else 1  # queries are pruned with their tokens
    for member in tokens:
        assert member.flops == pytest.approx(dense.flops * (1 - member.sparsity) ** power)
    heads = made.members[5:]
    assert [member.flops / dense.flops for member in heads] == [13 / 16, 10 / 16]


def test_gathered_attention_equals_a_masked_one() -> None:
    query, key, value = torch.randn(3, 1, 4, 6, 8, dtype=torch.float64)
    tokens, heads = torch.tensor([0, 2, 5]), torch.tensor([1, 3])
    scores = query @ key.mT / 8**0.5
    hidden = torch.ones(6, dtype=torch.bool).index_fill(0, tokens, False)
    wanted = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value
    found = gathered_attention(query, key, value, tokens, heads)
    assert torch.allclose(found, wanted[:, heads][:, :, tokens])
    one = gathered_attention(query[:, :, :1], key, value, tokens, None)
    assert torch.allclose(one, wanted[:, :, :1])
    assert attention_flops((1, 4, 6, 8), 5) == 4 * 4 * 6 * 5 * 8


def test_the_shapes_of_the_bench() -> None:
    sizes = [json.loads(made.size) for made in every_group()]
    products = [size for size in sizes if "tokens" in size]
    assert {(s["outputs"], s["inputs"]) for s in products} == {(768, 3072), (1024, 4096)}
    assert {s["tokens"] for s in products} == {1, 16, 128, 384}
    assert [s["keys"] for s in sizes if "keys" in s] == [384, 1024]


def every_group() -> list[Group]:
    made: Callable[[], Any] = cases.groups
    return [*made()]


def test_host(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 9R14\nmodel name\t: other\n")
    assert host.cpu_name(info) == "AMD EPYC 9R14"
    assert host.cpu_name(tmp_path / "none") is None
    for at, size in enumerate(("32K", "1024K", "32M")):
        (tmp_path / f"index{at}").mkdir()
        (tmp_path / f"index{at}" / "size").write_text(f"{size}\n")
    assert host.cache_bytes(tmp_path) == 32 << 20
    assert host.cache_bytes(tmp_path / "none") == 32 << 20
    assert host.facts(2)["threads"] == 2


def test_threads_are_the_same_everywhere() -> None:
    import numba

    before = torch.get_num_threads()
    try:
        assert host.use_threads(1) == 1
        assert (torch.get_num_threads(), numba.get_num_threads()) == (1, 1)
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(min(before, numba.config.NUMBA_NUM_THREADS))
