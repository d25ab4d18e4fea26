"""Top-k selection of rows of scores: what cascade pruning of tokens, heads and values runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from algos.kernels.base import Count, Kernel, KernelShape, Program, Promise, Tensors, Value
from algos.kernels.draw import Draw
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1_024
"""keys of a row that one warp holds: 32 registers a lane"""
MOST = 32_768
"""keys that one block holds: 128 KiB of shared memory, and 16 bits count them"""
BLOCKS = 128
"""blocks of a wave; an estimate: one on each multiprocessor of an A100 or H100"""
FIXED_KEYS, LAUNCH_KEYS = 20_480, 14_336
"""keys that a block passes in the time of its barriers, and of one more launch; estimates"""
COUNTERS_BYTES = 256 * 8 * 4


class Topk(KernelShape):
    """Size of a selection."""

    rows: int = Field(1, ge=1, le=65_535)  # grid dimension y
    keys: int = Field(1_024, ge=1, le=262_144)
    k: int = Field(512, ge=1)
    score: Literal["fp32", "fp16"] = "fp32"
    parts: int = Field(0, ge=0, le=64)
    """blocks of a row; 0: as many as are best"""

    def model_post_init(self, context: Any) -> None:
        if self.k > self.keys:
            raise InputError(f"topk k must be at most keys ({self.keys}), not {self.k}")
        if not any(fits(self, parts) for parts in choices(self)):
            raise InputError(
                f"topk k must be such that some parts of a row have at most {MOST} keys and as "
                f"many candidates, k {self.k} of {self.keys} keys in {self.parts or 'any'} parts "
                "have not"
            )


def choices(shape: Topk) -> list[int]:
    """Return numbers of parts to choose from, fewest first."""
    return [shape.parts] if shape.parts else [1, 2, 4, 8, 16, 32, 64]


def part_of(shape: Topk, parts: int) -> int:
    """Return the keys of a part: whole vectors, the last part may have fewer."""
    return -(-shape.keys // (8 * parts)) * 8


def fits(shape: Topk, parts: int) -> bool:
    """Tell whether blocks can hold a part, and one block all candidates, and no part is empty."""
    part = part_of(shape, parts)
    candidates = parts * min(shape.k, part) if parts > 1 else 0
    return max(part, candidates) <= MOST and (parts - 1) * part < shape.keys


def best_parts(shape: Topk) -> int:
    """Return how many blocks share a row: more fill the device, but leave candidates to merge."""

    def cost(parts: int) -> int:
        part, waves = part_of(shape, parts), -(-shape.rows * parts // BLOCKS)
        first = waves * (part + FIXED_KEYS)
        if parts == 1:
            return first
        merged = -(-shape.rows // BLOCKS) * (parts * min(shape.k, part) + FIXED_KEYS)
        return first + LAUNCH_KEYS + merged

    return min((parts for parts in choices(shape) if fits(shape, parts)), key=cost)


def tile(keys: int, vector: int) -> tuple[int, int]:
    """Return warps of a block, and keys of a thread, that hold so many keys."""
    warps = 8 if keys <= 2_048 else 16 if keys <= 8_192 else 32
    return warps, -(-keys // (32 * warps * vector)) * vector


class TopkSelect(Kernel):
    """Quick-select by radix digits: a row is read once and stays on the chip."""

    name: ClassVar[str] = "topk-select"
    title: ClassVar[str] = "top-k of rows"
    source: ClassVar[str] = "SpAtten, arXiv:2012.09852, algorithm 2 (top-k engine)"
    tolerance: ClassVar[float] = 0
    promises: ClassVar = {
        name: Promise(blocks_per_sm=1)
        for name in ("topk_small", "topk_rows", "topk_parts", "topk_merge")
    }
    tests: ClassVar = {
        "warp": Topk(rows=5, keys=300, k=77),
        "warp-fp16": Topk(rows=2, keys=1_003, k=500, score="fp16"),
        "block": Topk(rows=2, keys=1_501, k=7),
        "block-fp16": Topk(rows=1, keys=2_064, k=2_000, score="fp16"),
        "parts": Topk(rows=2, keys=2_600, k=300, parts=3),
        "parts-fp16": Topk(rows=1, keys=1_100, k=600, score="fp16", parts=2),
        "all": Topk(rows=2, keys=40, k=40),
        "one": Topk(rows=1, keys=1, k=1),
    }
    papers: ClassVar = {
        "gpt-2-1024": Topk(rows=12, keys=1_024, k=512),
        "bert-base-384": Topk(rows=12 * 384, keys=384, k=192),
        "rows-64-32768": Topk(rows=64, keys=32_768, k=1_024),
        "row-65536": Topk(rows=1, keys=65_536, k=2_048),
        "rows-64-32768-fp16": Topk(rows=64, keys=32_768, k=1_024, score="fp16"),
    }

    def inputs(self, shape: Topk, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        kind = {"fp32": "float32", "fp16": "float16"}[shape.score]
        return {"scores": Draw(seed, device).normal(shape.rows, shape.keys, dtype=kind)}

    def naive(self, shape: Topk, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.topk_select.naive import topk

        return {"output": topk(inputs["scores"], shape.k)}

    def buffers(self, shape: Topk, inputs: Tensors) -> dict[str, Tensor]:
        new, parts = inputs["scores"].new_empty, best_parts(shape)
        kind = {"dtype": _int32()}
        found = {"output": new((shape.rows, shape.k), **kind)}
        if parts > 1:
            kept = min(shape.k, part_of(shape, parts))
            size = (shape.rows, parts, kept)
            found |= {"candidates": new(size, **kind), "places": new(size, **kind)}
        return found

    def scalars(self, shape: Topk) -> dict[str, Value]:
        parts = best_parts(shape)
        part = part_of(shape, parts)
        kept = min(shape.k, part)
        sizes = {"part": part, "kept": kept, "count": parts * kept}
        return {"rows": shape.rows, "keys": shape.keys, "k": shape.k, **sizes}

    def programs(self, shape: Topk, target: str) -> list[Program]:
        parts = best_parts(shape)
        half, read = shape.score == "fp16", self.count(shape).dram_bytes
        vector, pointer = (8, "*fp16") if half else (4, "*fp32")
        rows, bits = shape.rows, 16 if half else 32
        if parts == 1 and shape.keys <= SMALL:
            warps, items = 4 if rows >= 4 * BLOCKS else 1, -(-shape.keys // (32 * vector)) * vector
            names = {"scores": pointer, "output": "*i32", "rows": "i32", "keys": "i32", "k": "i32"}
            grid = (-(-rows // warps), 1, 1)
            work = rows * 32 * items * (2 * bits + 14)
            return [_program("topk_small", names, (warps, items), grid, shape, read, work)]
        part = part_of(shape, parts)
        size = tile(part, vector)
        work = rows * parts * _work(size, bits)
        if parts == 1:
            names = {"scores": pointer, "output": "*i32", "keys": "i32", "k": "i32"}
            return [_program("topk_rows", names, size, (rows, 1, 1), shape, read, work)]
        kept = min(shape.k, part)
        between = 8 * rows * parts * kept  # keys and places
        names = {"scores": pointer, "candidates": "*i32", "places": "*i32"}
        names |= dict.fromkeys(("keys", "part", "kept"), "i32")
        scores = rows * shape.keys * bits // 8 + between
        first = _program("topk_parts", names, size, (parts, rows, 1), shape, scores, work)
        names = {
            "candidates": "*i32",
            "places": "*i32",
            "output": "*i32",
            "count": "i32",
            "k": "i32",
        }
        size = tile(parts * kept, vector)
        moved, work = between // 2 + 8 * rows * shape.k, rows * _work(size, bits)
        return [first, _program("topk_merge", names, size, (rows, 1, 1), shape, moved, work)]

    def count(self, shape: Topk) -> Count:
        size = 2 if shape.score == "fp16" else 4
        return Count(
            flops=float(shape.rows * shape.keys),  # one comparison a score, at the very least
            dram_bytes=shape.rows * (shape.keys * size + 4 * shape.k),
            unit="fp32",
        )


def _int32() -> Any:
    import torch

    return torch.int32


def _work(size: tuple[int, int], bits: int) -> int:
    """Return integer operations of a block: order, one digit, two more a digit, compaction."""
    warps, items = size
    return 32 * warps * items * (6 + 6 + 2 * (bits // 8 - 1) + 12)


def _program(
    function: str,
    arguments: Mapping[str, str],
    size: tuple[int, int],
    grid: tuple[int, int, int],
    shape: Topk,
    moved_bytes: int,
    work: int,
) -> Program:
    warps, items = size
    half = shape.score == "fp16"
    held = 32 * warps * items * (2 if half else 4)
    shared = 0 if function == "topk_small" else held + COUNTERS_BYTES + 4 * warps + 12
    asked = held * 2 if half and function == "topk_merge" else held
    return Program(
        function=function,
        arguments=arguments,
        constants={"HALF": half, "ITEMS": items, "ALIGNED": shape.keys % (8 if half else 4) == 0},
        grid=grid,
        warps=warps,
        stages=1,
        language="cuda",
        shared_bytes=-(-shared // 16) * 16,
        dram_bytes=moved_bytes,
        l2_bytes=moved_bytes,
        operations={"int32": float(work)},
        steps=1,
        inflight_bytes=asked,
    )
