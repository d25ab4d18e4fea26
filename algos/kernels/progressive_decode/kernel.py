"""Attention of one query that fetches the low bits of K only where it is unsure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value
from algos.kernels.decode.nibbles import pack
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
from algos.kernels.dense_decode.kernel import GPT2, LLAMA, DenseShape
from algos.kernels.draw import Draw
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LSB_BITS = 4
LARGEST = 4.0
"""of K and V: about that of standard normal numbers; codes are uniform up to it"""
FLAT = 0.2
"""scale of the queries of unsure heads: scores of deviation 0.5"""


class Progressive(SharedDecode):
    """Size of a decode with progressive quantisation."""

    most_group: ClassVar[int] = 4

    msb_bits: Literal[4, 8] = 8
    """bits of K's MSB plane; the LSB plane has 4. 6 bits would straddle bytes"""
    threshold: float = Field(0.1, gt=0, lt=1)
    """a head is recomputed if its largest probability is below"""
    share: float = Field(0.059, ge=0, le=1)
    """query heads that are recomputed, rounded: a property of the data"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        least = 4 / self.threshold
        if self.unsure and self.keys < least:
            raise InputError(
                f"progressive-decode keys must be at least {least:g} for heads below threshold "
                f"{self.threshold:g}, not {self.keys}"
            )

    @property
    def unsure(self) -> list[int]:
        """Query heads of the batch that are recomputed, evenly spread."""
        count = round(self.share * self.rows)
        return [place * self.rows // count for place in range(count)]

    @property
    def key_bytes(self) -> int:
        """Bytes of a row of the MSB plane."""
        return self.dim * self.msb_bits // 8

    @property
    def low_bytes(self) -> int:
        """Bytes of the LSB plane that are fetched."""
        rows = len({head // self.group for head in self.unsure})
        return rows * self.keys * self.dim * LSB_BITS // 8


def score_parts(shape: Progressive, target: str) -> tuple[int, int]:
    """Return parts of the MSB plane, and keys of a part."""
    return cut(shape.kv_rows, shape.keys, REPEAT * lines(shape.key_bytes), target, shape.parts)


def value_repeat(shape: Progressive) -> int:
    """Return the V rows that a line takes in a step: fewer where registers hold four heads."""
    return REPEAT if shape.group < 4 else REPEAT // 2


def value_parts(shape: Progressive, target: str) -> tuple[int, int]:
    """Return parts of V, and keys of a part."""
    tile = value_repeat(shape) * lines(shape.dim)
    return cut(shape.kv_rows, shape.keys, tile, target, shape.parts)


class ProgressiveDecode(Kernel):
    """Score by K's MSB plane; add the LSB plane where the largest probability is small; mix V.

    K and V are linear symmetric codes with one scale for each sequence and KV head, K in two
    planes, V in 8 bits in one, as in SpAtten's GPT-2-Medium traces (K 8 + 4 bits, V 8 bits). The
    query is half precision. The second pass adds to the scores of the first, so MSBs are fetched
    once; a group that shares K fetches LSBs if one of its heads does.
    """

    name: ClassVar[str] = "progressive-decode"
    title: ClassVar[str] = "decode that fetches K's low bits only where it is unsure"
    source: ClassVar[str] = "SpAtten, arXiv:2012.09852, section III-D; 5.9 % of inputs need LSBs"
    dense: ClassVar[str | None] = "dense-decode"
    sparsity: ClassVar[str] = "share of query heads that do without LSBs"
    promises: ClassVar = {
        "msb_scores": Promise(4, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "fetch_values": Promise(3, {"sm_80": ("cp.async",), "sm_90": ("cp.async",)}),
        "merge_parts": Promise(4),
    }
    tests: ClassVar = {
        "some unsure": Progressive(heads=4, kv_heads=4, keys=150, dim=64, share=0.5),
        "all unsure": Progressive(heads=2, kv_heads=2, keys=330, dim=64, msb_bits=4, share=1.0),
        "none unsure": Progressive(heads=1, kv_heads=1, keys=150, dim=128, msb_bits=4, share=0),
        "group": Progressive(batch=2, heads=8, kv_heads=2, keys=150, dim=32, share=0.25),
        "group of nibbles": Progressive(heads=4, kv_heads=2, keys=300, dim=16, msb_bits=4, share=1),
        "one part": Progressive(heads=2, kv_heads=2, keys=300, dim=128, share=0.5, parts=1),
        "one key": Progressive(heads=2, kv_heads=1, keys=1, dim=32, share=0),
    }
    papers: ClassVar = {
        "gpt2-1024": Progressive(keys=1024, **GPT2),
        "gpt2-medium-1024": Progressive(heads=16, kv_heads=16, keys=1024, dim=64),
        "llama-2-7b-1024": Progressive(keys=1024, **LLAMA),
        "llama-2-7b-4096": Progressive(keys=4096, **LLAMA),
        "llama-2-7b-4096-4-bit": Progressive(keys=4096, msb_bits=4, **LLAMA),
        "llama-2-7b-32768": Progressive(keys=32_768, **LLAMA),
    }

    def inputs(self, shape: Progressive, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        """Return random operands; queries of unsure heads are small, others meet a like key."""
        import torch

        draw = Draw(seed, device)
        most = 2 ** (shape.msb_bits + LSB_BITS - 1) - 1
        kv = (shape.batch, shape.kv_heads, shape.keys, shape.dim)
        query = draw.normal(shape.batch, shape.heads, shape.dim)
        codes = draw.integers(*kv, low=-most, high=most, dtype="int16")
        of_head, rows = query.view(shape.rows, -1), codes.view(shape.kv_rows, shape.keys, -1)
        of_head[shape.unsure] *= FLAT
        for head in sorted(set(range(shape.rows)) - set(shape.unsure)):
            row, place = divmod(head, shape.group)
            rows[row, place * shape.keys // shape.group] = of_head[head].sign().short() * most
        high = codes >> LSB_BITS
        scale = torch.full(kv[:2], LARGEST, device=device)
        return {
            "query": query,
            "msb": high.to(torch.int8) if shape.msb_bits == 8 else pack(high + 8),
            "lsb": pack(codes & 15),
            "value": draw.integers(*kv, low=-127, high=127),
            "key_scale": scale / most,
            "value_scale": scale / 127,
        }

    def naive(self, shape: Progressive, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.progressive_decode.naive import attention

        return attention(inputs, shape.msb_bits, shape.threshold)

    @property
    def results(self) -> tuple[str, ...]:
        return ("output", "recomputed")

    def buffers(self, shape: Progressive, inputs: Tensors) -> dict[str, Tensor]:
        import torch

        from algos.kernels.launch import target_here

        device = inputs["query"].device
        of_part = (shape.rows, score_parts(shape, target_here())[0])
        heads = (shape.batch, shape.heads)
        return {
            **buffers(shape, value_parts(shape, target_here())[0], device),
            "recomputed": torch.empty(heads, dtype=torch.int32, device=device),
            "scores": torch.empty(shape.rows, shape.keys, dtype=torch.float32, device=device),
            "tops": torch.empty(of_part, dtype=torch.float32, device=device),
            "sums": torch.empty(of_part, dtype=torch.float32, device=device),
        }

    def scalars(self, shape: Progressive) -> dict[str, Value]:
        from algos.kernels.launch import target_here

        score_count, length = score_parts(shape, target_here())
        parts, value_length = value_parts(shape, target_here())
        return {
            "scale_log2": scale_log2(shape.dim),
            "threshold": shape.threshold,
            "keys": shape.keys,
            "length": length,
            "score_parts": score_count,
            "value_length": value_length,
            "parts": parts,
        }

    def programs(self, shape: Progressive, target: str) -> list[Program]:
        return [
            self._score(shape, target),
            self._fetch(shape, target),
            *merge(shape, value_parts(shape, target)[0], weighted=True),
        ]

    def _score(self, shape: Progressive, target: str) -> Program:
        parts, length = score_parts(shape, target)
        rows, nibbles = lines(shape.key_bytes), shape.msb_bits == 4
        plane = shape.kv_rows * shape.keys * shape.key_bytes
        elements = float(shape.kv_rows * parts * length * shape.dim)
        across = shape.key_bytes // 16  # threads a row
        exponentials = 1 + 1 / REPEAT
        return Program(
            function="msb_scores",
            arguments={
                "query": "*fp16",
                "msb": "*i32" if nibbles else "*i8",
                "key_scale": "*fp32",
                "scores": "*fp32",
                "tops": "*fp32",
                "sums": "*fp32",
                "scale_log2": "fp32",
                "keys": "i32",
                "length": "i32",
            },
            constants={
                "GROUP": shape.group,
                "DIM": shape.dim,
                "NIBBLES": nibbles,
                "REPEAT": REPEAT,
                "ROWS": rows,
                "STAGES": STAGES,
            },
            grid=(parts, shape.kv_rows, 1),
            warps=WARPS,
            stages=STAGES,
            divisible=_divisible(keys=shape.keys, length=length),
            dram_bytes=plane + 2 * shape.rows * shape.dim + 4 * shape.kv_rows,
            l2_bytes=plane
            + shape.rows * (2 * shape.dim * parts + 4 * shape.keys + 8 * parts)
            + 4 * shape.kv_rows * parts,
            operations={
                "fp32": elements * 2 * shape.group,
                "int32": elements * 2,  # a shift and a mask, or a byte and its conversion
                "special": elements / shape.dim * shape.group * max(across, 1) * exponentials,
            },
            steps=length // (REPEAT * rows),
            inflight_bytes=(STAGES - 1) * REPEAT * rows * shape.key_bytes,
            longest=length * parts / shape.keys,
        )

    def _fetch(self, shape: Progressive, target: str) -> Program:
        parts, length = value_parts(shape, target)
        score_count = score_parts(shape, target)[0]
        rows, repeat = lines(shape.dim), value_repeat(shape)
        plane = shape.kv_rows * shape.keys * shape.dim
        elements = float(shape.kv_rows * parts * length * shape.dim)
        low = elements * shape.low_bytes / (plane / 2)
        across = max(shape.dim // 16, 1)
        return Program(
            function="fetch_values",
            arguments={
                "query": "*fp16",
                "lsb": "*i32",
                "value": "*i8",
                "key_scale": "*fp32",
                "value_scale": "*fp32",
                "scores": "*fp32",
                "tops": "*fp32",
                "sums": "*fp32",
                "recomputed": "*i32",
                "partial": partial_kind(parts),
                "lse": "*fp32",
                "scale_log2": "fp32",
                "threshold": "fp32",
                "keys": "i32",
                "score_parts": "i32",
                "value_length": "i32",
            },
            constants={
                "GROUP": shape.group,
                "DIM": shape.dim,
                "PARTS": power(score_count),
                "REPEAT": repeat,
                "ROWS": rows,
                "STAGES": STAGES,
            },
            grid=(parts, shape.kv_rows, 1),
            warps=WARPS,
            stages=STAGES,
            divisible=_divisible(keys=shape.keys, value_length=length),
            dram_bytes=plane
            + shape.low_bytes
            + 4 * shape.kv_rows
            + 4 * shape.rows
            + (2 * shape.rows * shape.dim if parts == 1 else 0),
            l2_bytes=plane
            + shape.low_bytes
            + shape.rows * (4 * shape.keys + 8 * score_count * parts + 4)
            + 8 * shape.kv_rows * parts
            + 2 * len(shape.unsure) * shape.dim * parts
            + partial_bytes(shape, parts),
            operations={
                "fp32": (elements * (2 + 1 / repeat) + low * 2) * shape.group,
                "int32": elements * 2 + low * 2,
                "special": elements / shape.dim * shape.group * across * (1 + 1 / repeat),
            },
            steps=length // (repeat * rows),
            inflight_bytes=(STAGES - 1) * repeat * rows * shape.dim,
            longest=length * parts / shape.keys,
        )

    def count(self, shape: Progressive) -> Count:
        element = shape.kv_rows * shape.keys
        low_heads = len(shape.unsure)
        return Count(
            flops=(4.0 * shape.rows + 2.0 * low_heads) * shape.keys * shape.dim,
            dram_bytes=element * (shape.key_bytes + shape.dim)
            + shape.low_bytes
            + 4 * shape.rows * shape.dim
            + 8 * shape.kv_rows
            + 4 * shape.rows,
            unit="fp32",
        )

    def at_sparsity(self, shape: Progressive, share: float) -> Progressive:
        return shape.override({"share": 1 - share})

    def dense_shape(self, shape: Progressive) -> DenseShape:
        return DenseShape(**shape.model_dump(exclude={"msb_bits", "threshold", "share"}))


def _divisible(**numbers: int) -> tuple[str, ...]:
    return tuple(name for name, number in numbers.items() if number % 16 == 0)
