"""Sizes of an attention by lists of key blocks, and how it is cut."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from algos.kernels.base import Count
from algos.kernels.dense_prefill.shape import Prefill
from algos.kernels.dense_prefill.tiles import Tiles
from workloads.errors import InputError

QUERY_BLOCKS = (32, 64, 128)
KEY_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128)


class BlockSparse(Prefill):
    """Size of an attention in which each block of queries reads listed blocks of keys.

    A block of queries lists as many blocks as `kept` says, or all that it sees if these are fewer.
    """

    causal: bool = True
    block_queries: int = 32
    block_keys: int = 2
    kept: int = Field(320, ge=1)
    """blocks of keys of a list; among them those of the queries' own places, if causal"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        for name, known in (("block_queries", QUERY_BLOCKS), ("block_keys", KEY_BLOCKS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"block-sparse {name} must be one of {known}, not {getattr(self, name)}"
                )
        if not self.least <= self.kept <= self.key_blocks:
            raise InputError(
                f"block-sparse kept must be {self.least} to {self.key_blocks}, not {self.kept}"
            )

    @property
    def query_blocks(self) -> int:
        """Blocks of queries; the last may be shorter."""
        return -(-self.queries // self.block_queries)

    @property
    def key_blocks(self) -> int:
        """Blocks of keys; the last may be shorter."""
        return -(-self.keys // self.block_keys)

    def places(self, tile: int) -> tuple[int, int]:
        """Return the key place of the first query of a block, and the one after the last."""
        behind = self.keys - self.queries
        first = tile * self.block_queries
        return behind + first, behind + min(self.queries, first + self.block_queries)

    def seen(self, tile: int) -> int:
        """Return how many blocks of keys a block of queries sees."""
        end = self.places(tile)[1] if self.causal else self.keys
        return -(-end // self.block_keys)

    def own(self, tile: int) -> int:
        """Return how many blocks hold places of a block of queries, if causal."""
        return self.seen(tile) - self.places(tile)[0] // self.block_keys if self.causal else 0

    @property
    def least(self) -> int:
        """The least blocks of a list: each query sees itself."""
        return max(1, *(self.own(tile) for tile in range(self.query_blocks)))

    @property
    def masked(self) -> int:
        """Blocks of a list that may need a mask: they hold a key that some query does not see."""
        if self.causal:
            return self.least
        return 1 if self.keys % self.block_keys else 0

    @property
    def lengths(self) -> list[int]:
        """Blocks of the list of each block of queries."""
        return [min(self.kept, self.seen(tile)) for tile in range(self.query_blocks)]

    @property
    def listed_pairs(self) -> int:
        """Pairs of query and listed key of a head that see each other."""
        pairs = 0
        for tile, length in enumerate(self.lengths):
            first, end = self.places(tile)
            rows = end - first
            keys = (length - self.own(tile)) * self.block_keys
            pairs += rows * min(keys, self.keys)
            if self.causal:
                start = first // self.block_keys * self.block_keys
                pairs += rows * (first - start) + rows * (rows + 1) // 2
        return pairs

    @property
    def listed_count(self) -> Count:
        """Two products of listed pairs; rows of all lists and the lists read, results written."""
        heads, blocks = self.batch * self.heads, sum(self.lengths)
        together = self.heads // self.kv_heads * blocks * self.block_keys  # lists of a head of K
        rows = 2 * heads * self.queries
        rows += 2 * self.batch * self.kv_heads * min(self.keys, together)
        return Count(
            flops=4.0 * heads * self.listed_pairs * self.dim,
            dram_bytes=2 * self.dim * rows + 4 * heads * (blocks + self.query_blocks),
        )


CUTS = {
    ("sm_80", 64): {32: (32, 2), 64: (64, 4), 128: (32, 4)},
    ("sm_80", 128): {32: (32, 2), 64: (32, 4), 128: (32, 8)},
    ("sm_90", 64): {32: (32, 2), 64: (64, 4), 128: (64, 8)},
    ("sm_90", 128): {32: (32, 2), 64: (32, 4), 128: (64, 8)},
}
"""(target, dim) -> queries of a block -> keys of a step, and warps: at least 8 warps of each
multiprocessor, and no spill."""


def block_tiles(shape: BlockSparse, target: str) -> Tiles:
    """Return tiles; a row is loaded two stages after its block's id, hence five stages."""
    keys, warps = CUTS[target, 128 if shape.dim == 128 else 64][shape.block_queries]
    return Tiles(shape.block_queries, keys, warps, 5)
