"""Compiled programs beside their promises: each kind of breach is told, each hash follows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from algos.kernels import KERNELS, inspection, make_kernel
from algos.kernels.compile import Compiled, MissingCompiler
from algos.kernels.inspection import Item, derived_items, judge, paper_items, program_hash
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS

KERNEL = make_kernel("dense-prefill")
GOOD = Compiled(registers=120, spilled_bytes=0, shared_bytes=65_536, ptx="wgmma cp.async")


def item(target: str = "sm_90") -> Item:
    return paper_items(["dense-prefill"], [target])[0]


def test_a_kept_promise() -> None:
    row = judge(KERNEL, item(), GOOD)
    assert row.kept
    assert row.broken == ()
    assert row.instructions == ("wgmma", "cp.async")
    assert row.blocks_per_sm == 3  # 65,536 B and 1 KiB of the system's, of 228 KiB
    assert row.occupancy_share == 3 * item().program.warps / 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spilled_bytes": 8}, "must not spill, it spills 8 bytes a thread"),
        ({"ptx": "wgmma"}, "must hold cp.async, its PTX does not"),
        (
            {"shared_bytes": 240_000},
            "must have 1 blocks a streaming multiprocessor, it has 0: 120 registers, 240000",
        ),
    ],
)
def test_a_broken_promise(change: dict[str, object], said: str) -> None:
    row = judge(KERNEL, item(), dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]
    assert not row.kept
    assert len(row.broken) == 1
    assert row.broken[0].startswith("dense-prefill at bert-base-384 on sm_90: dense_prefill must")
    assert said in row.broken[0]


def test_a_function_without_a_promise() -> None:
    program = dataclasses.replace(item().program, function="other")
    row = judge(KERNEL, dataclasses.replace(item(), program=program), GOOD)
    assert row.broken[0].endswith("other must have a promise, dense-prefill has none for it")


def test_no_compiler_is_no_kept_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Compiled:
        raise MissingCompiler("nvcc is missing")

    monkeypatch.setattr(inspection, "compile_program", missing)
    row = inspection.inspect(item())
    assert (row.compiled, row.kept, row.broken) == (False, False, ())
    assert row.reason == "nvcc is missing"


def test_code_that_does_not_compile_breaks_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Compiled:
        raise ValueError("bad\ncode")

    monkeypatch.setattr(inspection, "compile_program", broken)
    row = inspection.inspect(item())
    assert not row.kept
    assert row.broken[0].endswith("must compile, it does not: ValueError: bad code")


def test_hash_follows_what_the_compiler_sees() -> None:
    program = item().program
    own = program_hash(KERNEL, program, "sm_90")
    assert own != program_hash(KERNEL, program, "sm_80")
    for change in ({"warps": 16}, {"stages": 5}, {"constants": {}}, {"divisible": ("keys",)}):
        other = dataclasses.replace(program, **change)  # type: ignore[arg-type]
        assert program_hash(KERNEL, other, "sm_90") != own, change
    for change in ({"grid": (9, 9, 9)}, {"dram_bytes": 1}):
        other = dataclasses.replace(program, **change)  # type: ignore[arg-type]
        assert program_hash(KERNEL, other, "sm_90") == own, change


def test_hash_follows_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = program_hash(KERNEL, item().program, "sm_90")
    changed = tmp_path / "triton.py"
    changed.write_text(inspection._path("algos.kernels.dense_prefill.triton").read_text() + "\n")
    inspection._sources.cache_clear()
    monkeypatch.setattr(inspection, "_path", lambda _: changed)
    assert program_hash(KERNEL, item().program, "sm_90") != own
    monkeypatch.undo()
    inspection._sources.cache_clear()
    assert program_hash(KERNEL, item().program, "sm_90") == own


def test_every_kernel_and_promise_has_programs() -> None:
    items = paper_items(KERNELS, TARGETS)
    for name in KERNELS:
        kernel = make_kernel(name)
        functions = {item.program.function for item in items if item.kernel == name}
        assert functions == set(kernel.promises), name
    assert {item.target for item in items} == set(TARGETS)


def test_sparsity_curves_are_of_sparse_kernels_and_their_controls() -> None:
    sparse = {name for name in KERNELS if make_kernel(name).dense and make_kernel(name).sparsity}
    found = {item.kernel for item in derived_items(KERNELS, TARGETS)}
    assert found == sparse | {make_kernel(name).dense for name in sparse}


def test_bad_names() -> None:
    with pytest.raises(InputError, match="did you mean 'dense-prefill'"):
        inspection.check_names(["dense-prefil"])
    with pytest.raises(InputError, match=r"^target must be one of sm_80, sm_90, not 'sm_91'"):
        inspection.check_target("sm_91")
