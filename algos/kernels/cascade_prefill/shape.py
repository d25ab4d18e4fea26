"""Sizes of an attention among kept tokens and heads, and how it is cut."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from algos.kernels.base import SMS, Count, KernelShape
from algos.kernels.dense_prefill.shape import Prefill, check_heads
from algos.kernels.dense_prefill.tiles import NARROW, Tiles, tiles
from workloads.errors import InputError


class Cascade(KernelShape):
    """Size of an attention among kept tokens and heads of a prompt."""

    batch: int = Field(1, ge=1)
    heads: int = Field(12, ge=1)
    kv_heads: int = Field(12, ge=1)
    tokens: int = Field(384, ge=1, le=131_072)
    dim: int = 64
    causal: bool = False
    kept: int = Field(202, ge=1, le=8192)
    """tokens of each sequence; what programs hand on of sums of importance grows with its square"""
    kept_heads: int = Field(11, ge=1)
    """query heads of each sequence"""

    def model_post_init(self, context: Any) -> None:
        check_heads(self.batch, self.heads, self.kv_heads, self.dim)
        if self.kept > self.tokens:
            raise InputError(
                f"cascade kept must be at most tokens ({self.tokens}), not {self.kept}"
            )
        if self.kept_heads > self.heads:
            raise InputError(
                f"cascade kept_heads must be at most heads ({self.heads}), not {self.kept_heads}"
            )

    @property
    def among_kept(self) -> Prefill:
        """The dense attention among what is kept."""
        return Prefill(
            batch=self.batch,
            heads=self.kept_heads,
            kv_heads=self.kept_heads,
            queries=self.kept,
            keys=self.kept,
            dim=self.dim,
            causal=self.causal,
        )

    @property
    def count(self) -> Count:
        """Two products of all pairs; rows of what is kept and the ids read, results written."""
        kv_rows = 2 * min(self.kv_heads, self.kept_heads)  # of K and V: as many heads as may be
        rows = self.batch * self.kept * (2 * self.kept_heads + kv_rows)
        ids = self.batch * (self.kept + self.kept_heads)
        return Count(
            flops=self.among_kept.count.flops,
            dram_bytes=2 * self.dim * rows + 4 * ids + 4 * ids,  # importance as large as the ids
        )


def is_short(shape: Cascade) -> bool:
    """Tell whether one tile holds all kept keys: 256, at dim 128 half of them."""
    return shape.kept <= (128 if shape.dim == 128 else 256)


def cascade_tiles(shape: Cascade, target: str) -> Tiles:
    """Return tiles of which none spills at dim 64, that of the paper.

    Short ones have 32 rows, for 64 by 256 scores do not fit into the registers of an A100, and
    their warps share the keys; an H100 with enough blocks takes 64 rows for its warpgroup products.
    Others are those of the dense kernel with at most 64 keys, for ids take registers too; five
    stages, for a row is loaded two stages after its id, so that two tiles are on their way as with
    three stages there.
    """
    heads = shape.batch * shape.kept_heads
    if is_short(shape):
        keys = max(64, 1 << (shape.kept - 1).bit_length())
        if target == "sm_90" and heads * -(-shape.kept // 64) >= SMS[target]:
            return Tiles(64, keys, 4, 1)
        return Tiles(32, keys, min(4, keys // 32), 1)
    if (target, shape.dim) == ("sm_80", 128):
        return NARROW["sm_80", 128]._replace(stages=5)
    cut = tiles(heads, shape.kept, shape.dim, target)
    return cut._replace(keys=min(cut.keys, 64), stages=5)
