"""Dense attention of a whole prompt: the control that sparse prefills must beat."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algos.kernels.base import Count, Kernel, KernelShape, Program, Promise, Tensors, Value
from algos.kernels.draw import Draw
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

DIMS = (16, 32, 64, 128)


class Prefill(KernelShape):
    """Size of an attention over a prompt."""

    batch: int = Field(1, ge=1)
    heads: int = Field(12, ge=1)
    kv_heads: int = Field(12, ge=1)
    queries: int = Field(384, ge=1, le=131_072)
    keys: int = Field(384, ge=1, le=131_072)
    dim: int = 64
    causal: bool = False

    def model_post_init(self, context: Any) -> None:
        if self.dim not in DIMS:
            raise InputError(f"prefill dim must be one of {DIMS}, not {self.dim}")
        if self.heads % self.kv_heads:
            raise InputError(
                f"prefill heads must be a multiple of kv_heads, {self.heads} is not of "
                f"{self.kv_heads}"
            )
        if self.causal and self.queries > self.keys:
            raise InputError(
                f"prefill queries must be at most keys ({self.keys}) if causal, not {self.queries}"
            )
        if self.batch * self.heads > 65_535:  # grid dimension y
            raise InputError(
                f"prefill batch x heads must be at most 65535, not {self.batch * self.heads}"
            )


def tiles(shape: Prefill, target: str) -> tuple[int, int, int, int]:
    """Return queries and keys of a tile, warps, and stages."""
    block_m = 128 if shape.queries > 64 else max(16, 1 << (shape.queries - 1).bit_length())
    return block_m, 64 if target == "sm_90" else 32, 8 if block_m == 128 else 4, 3


class DensePrefill(Kernel):
    """Attention with online softmax (FlashAttention-2)."""

    name: ClassVar[str] = "dense-prefill"
    title: ClassVar[str] = "dense attention of a prompt"
    source: ClassVar[str] = "control; Dao, arXiv:2307.08691, algorithm 1"
    library: ClassVar[str] = "torch scaled_dot_product_attention"
    promises: ClassVar = {
        "dense_prefill": Promise(
            blocks_per_sm=1,
            instructions={"sm_80": ("mma.sync", "cp.async"), "sm_90": ("wgmma", "cp.async")},
        )
    }
    tests: ClassVar = {
        "plain": Prefill(batch=1, heads=2, kv_heads=2, queries=40, keys=40, dim=32),
        "causal": Prefill(heads=2, kv_heads=1, queries=48, keys=80, dim=16, causal=True),
    }
    papers: ClassVar = {
        "bert-base-384": Prefill(heads=12, kv_heads=12, queries=384, keys=384, dim=64),
        "llama-2-7b-4096": Prefill(
            heads=32, kv_heads=32, queries=4096, keys=4096, dim=128, causal=True
        ),
    }

    def inputs(self, shape: Prefill, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        kv = (shape.batch, shape.kv_heads, shape.keys, shape.dim)
        return {
            "query": draw.normal(shape.batch, shape.heads, shape.queries, shape.dim),
            "key": draw.normal(*kv),
            "value": draw.normal(*kv),
        }

    def naive(self, shape: Prefill, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.dense_prefill.naive import attention

        return {"output": attention(inputs["query"], inputs["key"], inputs["value"], shape.causal)}

    def buffers(self, shape: Prefill, inputs: Tensors) -> dict[str, Tensor]:
        import torch

        return {"output": torch.empty_like(inputs["query"])}

    def scalars(self, shape: Prefill) -> dict[str, Value]:
        return {
            "scale_log2": math.log2(math.e) / math.sqrt(shape.dim),
            "queries": shape.queries,
            "keys": shape.keys,
        }

    def programs(self, shape: Prefill, target: str) -> list[Program]:
        block_m, block_n, warps, stages = tiles(shape, target)
        rows, columns = -(-shape.queries // block_m), -(-shape.keys // block_n)
        seen = columns * rows  # tiles of scores a head
        if shape.causal:
            behind = shape.keys - shape.queries
            ends = (min(shape.keys, behind + (tile + 1) * block_m) for tile in range(rows))
            lengths = [-(-end // block_n) for end in ends]
            seen, columns = sum(lengths), max(lengths)
        heads = shape.batch * shape.heads
        scores = heads * seen * block_m * block_n
        step_bytes = 2 * block_n * shape.dim * 2  # a tile of K and of V
        q_bytes = heads * rows * block_m * shape.dim * 2
        return [
            Program(
                function="dense_prefill",
                arguments={
                    "query": "*fp16",
                    "key": "*fp16",
                    "value": "*fp16",
                    "output": "*fp16",
                    "scale_log2": "fp32",
                    "queries": "i32",
                    "keys": "i32",
                },
                constants={
                    "HEADS": shape.heads,
                    "KV_HEADS": shape.kv_heads,
                    "DIM": shape.dim,
                    "CAUSAL": shape.causal,
                    "BLOCK_M": block_m,
                    "BLOCK_N": block_n,
                },
                grid=(rows, heads, 1),
                warps=warps,
                stages=stages,
                dram_bytes=self.count(shape).dram_bytes,
                l2_bytes=heads * seen * step_bytes + 2 * q_bytes,
                operations={
                    "tensor_fp16": 4.0 * scores * shape.dim,
                    "special": float(scores),
                    "fp32": 6.0 * scores,  # scale, maximum, difference, sum and its rescaling
                },
                steps=columns,
                inflight_bytes=(stages - 1) * step_bytes,
                longest=columns * rows / seen,
            )
        ]

    def library_call(self, shape: Prefill, inputs: Tensors) -> Callable[[], Any]:
        from algos.kernels.attention_library import attention_call

        return attention_call(inputs["query"], inputs["key"], inputs["value"], shape.causal)

    def count(self, shape: Prefill) -> Count:
        seen = shape.queries * shape.keys
        if shape.causal:
            seen -= shape.queries * (shape.queries - 1) // 2
        return Count(
            flops=4.0 * shape.batch * shape.heads * seen * shape.dim,
            dram_bytes=2
            * shape.batch
            * shape.dim
            * (2 * shape.heads * shape.queries + 2 * shape.kv_heads * shape.keys),
        )
