"""Attention of one query that fetches only the V rows of its largest probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value
from algos.kernels.decode.shape import (
    REPEAT,
    STAGES,
    WARPS,
    SharedDecode,
    buffers,
    cut,
    lines,
    merge,
    partial_bytes,
    partial_kind,
    power,
    scale_log2,
)
from algos.kernels.dense_decode.kernel import GPT2, LLAMA, DenseDecode, DenseShape
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

MOST_KEYS = 32_768
"""the selection holds a row in the registers of one block"""
SCORE_REPEAT = 2 * REPEAT
CHUNK = 4096
"""keys whose places are found in one scan"""
COUNTS = 18
"""of a selection among 32,768 scores without ties, on average"""


class LocalV(SharedDecode):
    """Size of a decode with local value pruning."""

    share: float = Field(0.3, gt=0, le=1)
    """V rows that are fetched, of the keys; rounded down, at least one"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.keys > MOST_KEYS:
            raise InputError(f"local-v-decode keys must be at most {MOST_KEYS}, not {self.keys}")

    @property
    def kept(self) -> int:
        """V rows of a query head."""
        return max(1, int(self.share * self.keys + 1e-9))


def score_parts(shape: LocalV, target: str) -> tuple[int, int]:
    """Return parts of the keys that are scored, and keys of a part."""
    tile = SCORE_REPEAT * lines(2 * shape.dim)
    return cut(shape.kv_rows, shape.keys, tile, target, shape.parts)


def mix_parts(shape: LocalV, target: str) -> tuple[int, int]:
    """Return parts of the kept V rows, and rows of a part."""
    return cut(shape.rows, shape.kept, REPEAT * lines(2 * shape.dim), target, shape.parts)


class LocalVDecode(Kernel):
    """Score all keys; select; gather the V rows that are left, weighted as among all keys.

    The selection compares scores, whose order is that of the probabilities. V rows that several
    query heads of a group fetch are counted as different ones, up to all of them.
    """

    name: ClassVar[str] = "local-v-decode"
    title: ClassVar[str] = "decode that fetches the V rows of the largest probabilities"
    source: ClassVar[str] = "SpAtten, arXiv:2012.09852, section III-C; shares of its GPT-2 traces"
    dense: ClassVar[str | None] = "dense-decode"
    sparsity: ClassVar[str] = "share of V rows left out"
    promises: ClassVar = {
        "score_keys": Promise(3, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "select_values": Promise(1),
        "mix_kept": Promise(4, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "add_parts": Promise(4),
    }
    tests: ClassVar = {
        "ragged": LocalV(batch=2, heads=2, kv_heads=2, keys=150, dim=64),
        "group": LocalV(batch=1, heads=8, kv_heads=2, keys=300, dim=32, share=0.5),
        "one row": LocalV(heads=2, kv_heads=2, keys=77, dim=16, share=0.001),
        "all rows": LocalV(heads=1, kv_heads=1, keys=200, dim=128, share=1.0, parts=2),
        "one key": LocalV(heads=2, kv_heads=1, keys=1, dim=32),
        "chunks": LocalV(heads=1, kv_heads=1, keys=5000, dim=16, share=0.02, parts=1),
    }
    papers: ClassVar = {
        "gpt2-1024": LocalV(keys=1024, share=0.2, **GPT2),
        "gpt2-medium-1024": LocalV(heads=16, kv_heads=16, keys=1024, dim=64, share=0.3),
        "llama-2-7b-1024": LocalV(keys=1024, **LLAMA),
        "llama-2-7b-4096": LocalV(keys=4096, **LLAMA),
        "llama-2-7b-32768": LocalV(keys=32_768, **LLAMA),
    }

    def inputs(self, shape: LocalV, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        return DenseDecode().inputs(self.dense_shape(shape), seed, device)

    def naive(self, shape: LocalV, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.local_v_decode.naive import attention

        found = attention(inputs["query"], inputs["key"], inputs["value"], shape.kept)
        return {"output": found}

    def buffers(self, shape: LocalV, inputs: Tensors) -> dict[str, Tensor]:
        import torch

        from algos.kernels.launch import target_here

        device = inputs["query"].device
        kept = (shape.batch, shape.heads, shape.kept)
        parts = buffers(shape, mix_parts(shape, target_here())[0], device)
        del parts["lse"]  # parts are added
        scores = torch.empty(shape.rows, shape.keys, dtype=torch.float32, device=device)
        return {
            **parts,
            "scores": scores,
            "ids": torch.empty(kept, dtype=torch.int32, device=device),
            "weights": torch.empty(kept, dtype=torch.float32, device=device),
        }

    def scalars(self, shape: LocalV) -> dict[str, Value]:
        from algos.kernels.launch import target_here

        parts, kept_length = mix_parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "keys": shape.keys,
            "kept": shape.kept,
            "length": score_parts(shape, target_here())[1],
            "kept_length": kept_length,
            "parts": parts,
        }

    def programs(self, shape: LocalV, target: str) -> list[Program]:
        parts = mix_parts(shape, target)[0]
        programs = [self._score(shape, target), self._select(shape), self._mix(shape, target)]
        return [*programs, *merge(shape, parts, weighted=False)]

    def _score(self, shape: LocalV, target: str) -> Program:
        parts, length = score_parts(shape, target)
        rows = lines(2 * shape.dim)
        of_key, seen = 2 * shape.dim, shape.kv_rows * parts * length
        return Program(
            function="score_keys",
            arguments={
                "query": "*fp16",
                "key": "*fp16",
                "scores": "*fp32",
                "scale_log2": "fp32",
                "keys": "i32",
                "length": "i32",
            },
            constants={
                "GROUP": shape.group,
                "DIM": shape.dim,
                "REPEAT": SCORE_REPEAT,
                "ROWS": rows,
                "STAGES": STAGES,
            },
            grid=(parts, shape.kv_rows, 1),
            warps=WARPS,
            stages=STAGES,
            divisible=tuple(
                name for name, n in (("keys", shape.keys), ("length", length)) if n % 16 == 0
            ),
            dram_bytes=shape.kv_rows * shape.keys * of_key + 2 * shape.rows * shape.dim,
            l2_bytes=shape.kv_rows * shape.keys * of_key
            + 2 * shape.rows * shape.dim * parts
            + 4 * shape.rows * shape.keys,
            # of an element: to float32, a multiply-add a head, the sum of 8 among threads
            operations={"fp32": seen * (1.0 + 2.5 * shape.group) * shape.dim},
            steps=length // (SCORE_REPEAT * rows),
            inflight_bytes=(STAGES - 1) * SCORE_REPEAT * rows * of_key,
            longest=length * parts / shape.keys,
        )

    def _select(self, shape: LocalV) -> Program:
        keys = power(shape.keys)
        return Program(
            function="select_values",
            arguments={
                "scores": "*fp32",
                "ids": "*i32",
                "weights": "*fp32",
                "keys": "i32",
                "kept": "i32",
            },
            constants={"KEYS": keys, "CHUNK": min(keys, CHUNK)},
            grid=(shape.rows, 1, 1),
            warps=min(max(keys // 256, 1), 32),
            stages=1,
            divisible=("keys",) if shape.keys % 16 == 0 else (),
            l2_bytes=shape.rows * (2 * 4 * shape.keys + 8 * shape.kept),
            operations={
                # a count compares, chooses, adds; then order and place of a key
                "int32": shape.rows * keys * (3.5 * COUNTS + 25.0),
                "special": 2.0 * shape.rows * keys,
                "fp32": 3.0 * shape.rows * keys,
            },
            steps=COUNTS,
            inflight_bytes=4 * keys,
        )

    def _mix(self, shape: LocalV, target: str) -> Program:
        parts, length = mix_parts(shape, target)
        rows = lines(2 * shape.dim)
        fetched = 2 * shape.rows * shape.kept * shape.dim
        return Program(
            function="mix_kept",
            arguments={
                "value": "*fp16",
                "ids": "*i32",
                "weights": "*fp32",
                "partial": partial_kind(parts),
                "keys": "i32",
                "kept": "i32",
                "kept_length": "i32",
            },
            constants={
                "GROUP": shape.group,
                "DIM": shape.dim,
                "REPEAT": REPEAT,
                "ROWS": rows,
                "STAGES": STAGES,
            },
            grid=(parts, shape.rows, 1),
            warps=WARPS,
            stages=STAGES,
            divisible=("kept_length",) if length % 16 == 0 else (),
            dram_bytes=self._value_bytes(shape) + (2 * shape.rows * shape.dim if parts == 1 else 0),
            l2_bytes=fetched
            + 8 * shape.rows * shape.kept
            + partial_bytes(shape, parts)
            - 4 * shape.rows * parts,  # no sums
            operations={"fp32": 3.0 * shape.rows * parts * length * shape.dim},
            steps=length // (REPEAT * rows),
            inflight_bytes=(STAGES - 1) * REPEAT * rows * 2 * shape.dim,
            longest=length * parts / shape.kept,
        )

    def _value_bytes(self, shape: LocalV) -> int:
        rows = min(shape.keys, shape.group * shape.kept)
        return 2 * shape.kv_rows * rows * shape.dim

    def count(self, shape: LocalV) -> Count:
        keys = 2 * shape.kv_rows * shape.keys * shape.dim
        return Count(
            flops=2.0 * shape.rows * (shape.keys + shape.kept) * shape.dim,
            dram_bytes=keys + self._value_bytes(shape) + 4 * shape.rows * shape.dim,
            unit="fp32",
        )

    def at_sparsity(self, shape: LocalV, share: float) -> LocalV:
        return shape.override({"share": 1 - share})

    def dense_shape(self, shape: LocalV) -> DenseShape:
        return DenseShape(**shape.model_dump(exclude={"share"}))
