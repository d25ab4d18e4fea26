"""Attention of one query that fetches only the V rows of its largest probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value, scale_log2
from algos.kernels.decode.shape import (
    buffers,
    merge,
)
from algos.kernels.dense_decode.kernel import GPT2, LLAMA, DenseDecode, DenseShape
from algos.kernels.local_v_decode.programs import (
    mix_program,
    score_program,
    select_program,
    value_bytes,
)
from algos.kernels.local_v_decode.shape import LocalV, mix_parts, score_parts

if TYPE_CHECKING:
    from torch import Tensor


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
        programs = [
            score_program(shape, target),
            select_program(shape),
            mix_program(shape, target),
        ]
        return [*programs, *merge(shape, parts, weighted=False)]

    def count(self, shape: LocalV) -> Count:
        keys = 2 * shape.kv_rows * shape.keys * shape.dim
        return Count(
            flops=2.0 * shape.rows * (shape.keys + shape.kept) * shape.dim,
            dram_bytes=keys + value_bytes(shape) + 4 * shape.rows * shape.dim,
            unit="fp32",
        )

    def at_sparsity(self, shape: LocalV, share: float) -> LocalV:
        return shape.override({"share": 1 - share})

    def dense_shape(self, shape: LocalV) -> DenseShape:
        return DenseShape(**shape.model_dump(exclude={"share"}))
