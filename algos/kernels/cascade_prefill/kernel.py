"""Attention among the tokens and heads that cascade pruning keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from algos.kernels.base import Count, Kernel, Program, Promise, Tensors, Value, scale_log2
from algos.kernels.cascade_prefill.programs import attention_program, padded, sums_program
from algos.kernels.cascade_prefill.shape import Cascade, cascade_tiles, is_short
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.draw import Draw
from algos.kernels.lists import check_ids

if TYPE_CHECKING:
    from torch import Tensor


class CascadePrefill(Kernel):
    """Attention by lists of kept tokens and heads, with the importance of both.

    Q, K and V stay where they are, whole: rows of kept tokens are gathered by ascending ids, which
    all heads of a sequence share; pruned heads are not run. Results are packed: (batch, kept heads,
    kept, dim), so nothing is written for what is pruned, and the layers that follow see kept tokens
    only. Importance is of this layer and is not added to that of earlier ones: of a token, the sum
    of its probabilities over kept heads and queries; of a head, the sum of its absolute results.

    Probabilities are final when all keys of a row are known. Up to 256 kept tokens (128 at dim 128)
    one tile holds a row, and sums are taken from it. Beyond, the keys are visited once more in the
    same program. At dim 64 and tiles of 64 that is 128 flops and an exponential a pair of query and
    key, half and all of the first visit's, and 2 bytes of K from L2, in a block that holds Q and
    the row sums already. A second program would do the same work, read Q and row sums again, and
    wait for a launch, to save the additions across a warp's rows. Writing probabilities to add them
    up later costs 2 bytes a pair twice, once out and once in, and a correction of what was written
    before the row's maximum was known: for 32 heads of 4,096 tokens, 1 GiB that no cache holds.

    Differs from the paper: half precision in place of 12 bits of fixed point.
    """

    name: ClassVar[str] = "cascade-prefill"
    title: ClassVar[str] = "attention among kept tokens and heads, with importance"
    source: ClassVar[str] = "Wang et al., SpAtten, HPCA 2021, arXiv:2012.09852, cascade pruning"
    dense: ClassVar[str | None] = "dense-prefill"
    sparsity: ClassVar[str] = "share of tokens left out"
    promises: ClassVar = {
        "cascade_prefill": Promise(
            blocks_per_sm=2,
            instructions={"sm_80": ("mma.sync", "cp.async"), "sm_90": ("wgmma", "cp.async")},
        ),
        "cascade_short": Promise(
            blocks_per_sm=2, instructions={"sm_80": ("mma.sync",), "sm_90": ("mma",)}
        ),
        "importance_sums": Promise(blocks_per_sm=6),
    }
    tests: ClassVar = {
        "short": Cascade(batch=2, heads=3, kv_heads=3, tokens=90, dim=32, kept=70, kept_heads=2),
        "short-causal": Cascade(
            heads=4, kv_heads=2, tokens=50, dim=16, kept=37, kept_heads=3, causal=True
        ),
        "long": Cascade(batch=2, heads=4, kv_heads=2, tokens=330, dim=16, kept=290, kept_heads=2),
        "long-causal": Cascade(
            heads=2, kv_heads=2, tokens=150, dim=128, kept=131, kept_heads=2, causal=True
        ),
        "whole": Cascade(heads=2, kv_heads=1, tokens=320, dim=64, kept=320, kept_heads=1),
        "one-token": Cascade(heads=2, kv_heads=2, tokens=9, dim=16, kept=1, kept_heads=1),
    }
    papers: ClassVar = {
        # on average token and value pruning leave 1/1.9 of the work of 30 benchmarks, 1/3.8 of
        # GPT-2's, and head pruning 1/1.1 (section V)
        "bert-base-384": Cascade(tokens=384, kept=202, kept_heads=11),
        "bert-base-384-batch-32": Cascade(batch=32, tokens=384, kept=202, kept_heads=11),
        "gpt-2-992": Cascade(tokens=992, kept=261, kept_heads=11, causal=True),
    }

    @property
    def results(self) -> Sequence[str]:
        return ("output", "token_importance", "head_importance")

    def inputs(self, shape: Cascade, seed: int, device: str = "cpu") -> dict[str, Tensor]:
        draw = Draw(seed, device)
        kv = (shape.batch, shape.kv_heads, shape.tokens, shape.dim)
        return {
            "query": draw.normal(shape.batch, shape.heads, shape.tokens, shape.dim),
            "key": draw.normal(*kv),
            "value": draw.normal(*kv),
            "token_ids": draw.chosen(shape.batch, count=shape.kept, among=shape.tokens),
            "head_ids": draw.chosen(shape.batch, count=shape.kept_heads, among=shape.heads),
        }

    def naive(self, shape: Cascade, inputs: Tensors) -> dict[str, Tensor]:
        from algos.kernels.cascade_prefill.naive import cascade

        return dict(zip(self.results, cascade(**inputs, causal=shape.causal), strict=True))

    def buffers(self, shape: Cascade, inputs: Tensors) -> dict[str, Tensor]:
        """Return tensors for results and parts of sums.

        Raises:
            InputError: ids that are out of range or order, if they are in the host's memory.
        """
        import torch

        check_ids("cascade-prefill: token_ids", inputs["token_ids"], shape.tokens)
        check_ids("cascade-prefill: head_ids", inputs["head_ids"], shape.heads)
        rows = (shape.batch, shape.kept_heads)
        # as many tiles as there may be: which there are depends on the target
        parts = (*rows, -(-shape.kept // (32 if is_short(shape) else 64)))
        query = inputs["query"]
        single = {"dtype": torch.float32, "device": query.device}
        return {
            "output": query.new_empty(*rows, shape.kept, shape.dim),
            "token_parts": torch.empty(*parts, padded(shape.kept), **single),
            "head_parts": torch.empty(parts, **single),
            "token_importance": torch.empty(shape.batch, shape.kept, **single),
            "head_importance": torch.empty(rows, **single),
        }

    def scalars(self, shape: Cascade) -> dict[str, Value]:
        return {
            "scale_log2": scale_log2(shape.dim),
            "tokens": shape.tokens,
            "kept": shape.kept,
            "stride": padded(shape.kept),
        }

    def programs(self, shape: Cascade, target: str) -> list[Program]:
        cut = cascade_tiles(shape, target)
        return [attention_program(shape, cut), sums_program(shape, cut)]

    def count(self, shape: Cascade) -> Count:
        return shape.count

    def at_sparsity(self, shape: Cascade, share: float) -> Cascade:
        kept = max(1, round((1 - share) * shape.tokens))
        return Cascade(**{**shape.model_dump(), "kept": kept})

    def dense_shape(self, shape: Cascade) -> Prefill:
        return Prefill(
            batch=shape.batch,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            queries=shape.tokens,
            keys=shape.tokens,
            dim=shape.dim,
            causal=shape.causal,
        )
