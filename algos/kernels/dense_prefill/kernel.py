"""Dense attention of a whole prompt: the control that sparse prefills must beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from algos.kernels.base import (
    Count,
    Kernel,
    Program,
    Promise,
    Tensors,
    Value,
    divisible,
    scale_log2,
)
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import attention_operations, key_tiles, tiles
from algos.kernels.draw import Draw

if TYPE_CHECKING:
    from torch import Tensor


class DensePrefill(Kernel):
    """Attention with online softmax (FlashAttention-2)."""

    name: ClassVar[str] = "dense-prefill"
    title: ClassVar[str] = "dense attention of a prompt"
    source: ClassVar[str] = "control; Dao, arXiv:2307.08691, algorithm 1"
    torch_kernel: ClassVar[str] = "torch SDPA"
    promises: ClassVar = {
        "dense_prefill": Promise(
            blocks_per_sm=1,
            instructions={"sm_80": ("mma.sync", "cp.async"), "sm_90": ("wgmma", "cp.async")},
        )
    }
    tests: ClassVar = {
        "plain": Prefill(heads=2, kv_heads=2, queries=70, keys=256, dim=32),
        "ragged": Prefill(batch=2, heads=4, kv_heads=2, queries=70, keys=301, dim=16),
        "causal": Prefill(heads=2, kv_heads=1, queries=130, keys=300, dim=64, causal=True),
        "causal-square": Prefill(heads=1, kv_heads=1, queries=256, keys=256, dim=128, causal=True),
        "short": Prefill(heads=1, kv_heads=1, queries=17, keys=90, dim=16, causal=True),
        "one-key": Prefill(heads=2, kv_heads=1, queries=3, keys=1, dim=16),
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
            "scale_log2": scale_log2(shape.dim),
            "queries": shape.queries,
            "keys": shape.keys,
        }

    def programs(self, shape: Prefill, target: str) -> list[Program]:
        heads = shape.batch * shape.heads
        cut = tiles(heads, shape.queries, shape.dim, target)
        columns = key_tiles(shape.queries, shape.keys, shape.causal, cut)
        steps = heads * sum(columns)
        read = heads * sum(min(shape.keys, tile * cut.keys) for tile in columns)  # rows of K, of V
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
                    "RAGGED": shape.keys % cut.keys > 0,
                    "BLOCK_M": cut.queries,
                    "BLOCK_N": cut.keys,
                },
                grid=(len(columns), heads, 1),
                warps=cut.warps,
                stages=cut.stages,
                divisible=divisible(queries=shape.queries, keys=shape.keys),
                dram_bytes=shape.count.dram_bytes,
                l2_bytes=2 * shape.dim * (2 * heads * shape.queries + 2 * read),
                operations=attention_operations(
                    steps * cut.queries * cut.keys, steps, cut.queries, shape.dim
                ),
                steps=max(columns),
                inflight_bytes=(cut.stages - 1) * 2 * cut.keys * shape.dim * 2,
                longest=max(columns) * len(columns) / sum(columns),
            )
        ]

    def torch_call(self, shape: Prefill, inputs: Tensors) -> Callable[[], Tensor]:
        from algos.kernels.attention_library import attention_call

        return attention_call(inputs["query"], inputs["key"], inputs["value"], shape.causal)

    def count(self, shape: Prefill) -> Count:
        return shape.count
