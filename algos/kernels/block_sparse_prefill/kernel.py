"""Attention of a prompt in which each block of queries reads listed blocks of keys."""

from __future__ import annotations

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
from algos.kernels.block_sparse_prefill.lists import check_lists, draw_lists
from algos.kernels.block_sparse_prefill.shape import BlockSparse, block_tiles
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import attention_operations
from algos.kernels.draw import Draw

if TYPE_CHECKING:
    from torch import Tensor


class BlockSparsePrefill(Kernel):
    """Attention by lists of key blocks, one list a block of queries and head (HiP's masks).

    Lists are given, ascending, with their lengths: the tree search that finds them is not part of
    the kernel. Small blocks are gathered several at a time; what a query does not see of a listed
    block is masked, to the key. A query that sees no listed key gives 0. A list may not name a
    block that begins behind its last query.

    Differs from HiP: sinks and the sliding window, which are added there to what the search finds,
    are blocks of the lists, so that a window begins at a block.
    """

    name: ClassVar[str] = "block-sparse-prefill"
    title: ClassVar[str] = "attention of a prompt by lists of key blocks"
    source: ClassVar[str] = "Lee et al., HiP, ICLR 2025, arXiv:2406.09827, block sparse attention"
    dense: ClassVar[str | None] = "dense-prefill"
    sparsity: ClassVar[str] = "share of key blocks left out"
    promises: ClassVar = {
        "block_sparse_prefill": Promise(
            blocks_per_sm=2,
            instructions={"sm_80": ("mma.sync", "cp.async"), "sm_90": ("mma", "cp.async")},
        )
    }
    tests: ClassVar = {
        "pairs": BlockSparse(
            heads=4, kv_heads=2, queries=70, keys=203, dim=16, block_queries=32, kept=40
        ),
        "blocks-of-64": BlockSparse(
            batch=2,
            heads=2,
            kv_heads=2,
            queries=150,
            keys=330,
            dim=32,
            block_queries=64,
            block_keys=64,
            kept=4,
        ),
        "square": BlockSparse(
            heads=1,
            kv_heads=1,
            queries=256,
            keys=256,
            dim=128,
            block_queries=128,
            block_keys=16,
            kept=11,
        ),
        "not-causal": BlockSparse(
            heads=2,
            kv_heads=1,
            queries=90,
            keys=270,
            dim=64,
            causal=False,
            block_queries=64,
            block_keys=8,
            kept=21,
        ),
        "everything": BlockSparse(
            heads=1, kv_heads=1, queries=40, keys=75, dim=16, block_keys=4, kept=19
        ),
        "one-key": BlockSparse(heads=1, kv_heads=1, queries=1, keys=1, dim=16, kept=1),
    }
    papers: ClassVar = {
        # the authors' program, version 1.1: 512 keys in blocks of 2 for 32 queries, window of 128
        "llama-2-7b-4096": BlockSparse(heads=32, kv_heads=32, queries=4096, keys=4096, dim=128),
        # the same share in blocks of 64 by 64, the sizes of version 1.2
        "llama-2-7b-4096-blocks-of-64": BlockSparse(
            heads=32,
            kv_heads=32,
            queries=4096,
            keys=4096,
            dim=128,
            block_queries=64,
            block_keys=64,
            kept=10,
        ),
    }

    def inputs(self, shape: BlockSparse, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        kv = (shape.batch, shape.kv_heads, shape.keys, shape.dim)
        operands = {
            "query": draw.normal(shape.batch, shape.heads, shape.queries, shape.dim),
            "key": draw.normal(*kv),
            "value": draw.normal(*kv),
        }
        blocks, counts = draw_lists(shape, draw)
        return {**operands, "blocks": blocks, "counts": counts}

    def naive(self, shape: BlockSparse, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.block_sparse_prefill.naive import attention, mask_of

        size = (shape.block_queries, shape.block_keys)
        mask = mask_of(
            inputs["blocks"], inputs["counts"], shape.queries, shape.keys, size, shape.causal
        )
        return {"output": attention(inputs["query"], inputs["key"], inputs["value"], mask)}

    def buffers(self, shape: BlockSparse, inputs: Tensors) -> dict[str, Tensor]:
        """Return a tensor for the results.

        Raises:
            InputError: lists that do not ascend or name what is not seen, in the host's memory.
        """
        import torch

        check_lists(shape, inputs["blocks"], inputs["counts"])
        return {"output": torch.empty_like(inputs["query"])}

    def scalars(self, shape: BlockSparse) -> dict[str, Value]:
        return {
            "scale_log2": scale_log2(shape.dim),
            "queries": shape.queries,
            "keys": shape.keys,
        }

    def programs(self, shape: BlockSparse, target: str) -> list[Program]:
        cut = block_tiles(shape, target)
        heads = shape.batch * shape.heads
        columns = [-(-length * shape.block_keys // cut.keys) for length in shape.lengths]
        steps = heads * sum(columns)
        row_bytes = 2 * shape.dim
        gathered = 2 * steps * cut.keys * (row_bytes + 4)  # a row of K or V and its block's id
        return [
            Program(
                function="block_sparse_prefill",
                arguments={
                    "query": "*fp16",
                    "key": "*fp16",
                    "value": "*fp16",
                    "blocks": "*i32",
                    "counts": "*i32",
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
                    "KEPT": shape.kept,
                    "BLOCK_KEYS": shape.block_keys,
                    "MASKED_BLOCKS": shape.masked,
                    "BLOCK_M": cut.queries,
                    "BLOCK_N": cut.keys,
                },
                grid=(len(columns), heads, 1),
                warps=cut.warps,
                stages=cut.stages,
                divisible=divisible(queries=shape.queries, keys=shape.keys),
                dram_bytes=shape.listed_count.dram_bytes,
                l2_bytes=2 * heads * shape.queries * row_bytes
                + gathered
                + 4 * heads * len(columns),
                operations=attention_operations(
                    steps * cut.queries * cut.keys, steps, cut.queries, shape.dim
                ),
                steps=max(columns),
                inflight_bytes=(cut.stages - 1) // 2 * 2 * cut.keys * row_bytes,
                longest=max(columns) * len(columns) / sum(columns),
            )
        ]

    def count(self, shape: BlockSparse) -> Count:
        return shape.listed_count

    def at_sparsity(self, shape: BlockSparse, share: float) -> BlockSparse:
        seen = [shape.seen(tile) for tile in range(shape.query_blocks)]
        wanted = (1 - share) * sum(seen)

        def missed(kept: int) -> float:
            return abs(sum(min(kept, blocks) for blocks in seen) - wanted)

        kept = min(range(shape.least, shape.key_blocks + 1), key=missed)
        return BlockSparse(**{**shape.model_dump(), "kept": kept})

    def dense_shape(self, shape: BlockSparse) -> Prefill:
        return Prefill(**{name: getattr(shape, name) for name in Prefill.model_fields})
