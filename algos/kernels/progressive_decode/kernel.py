"""Attention of one query that fetches the low bits of K only where it is unsure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value, scale_log2
from algos.kernels.decode.shape import (
    buffers,
    merge,
)
from algos.kernels.dense_decode.kernel import GPT2, LLAMA, DenseShape
from algos.kernels.draw import Draw
from algos.kernels.nibbles.words import pack
from algos.kernels.progressive_decode.programs import fetch_program, score_program
from algos.kernels.progressive_decode.shape import LSB_BITS, Progressive, score_parts, value_parts

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 4.0
"""of K and V: about that of standard normal numbers; codes are uniform up to it"""
FLAT = 0.2
"""scale of the queries of unsure heads: scores of deviation 0.5"""


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
            score_program(shape, target),
            fetch_program(shape, target),
            *merge(shape, value_parts(shape, target)[0], weighted=True),
        ]

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
