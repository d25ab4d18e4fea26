"""Which tiles an attention over a prompt is cut into, and what they move and compute."""

from __future__ import annotations

from typing import NamedTuple

from algos.kernels.base import SMS


class Tiles(NamedTuple):
    """How a program is cut."""

    queries: int
    keys: int
    warps: int
    stages: int


WIDE = {
    ("sm_80", 64): Tiles(128, 32, 4, 4),
    ("sm_80", 128): Tiles(128, 64, 8, 3),
    ("sm_90", 64): Tiles(128, 64, 8, 3),
    ("sm_90", 128): Tiles(128, 64, 8, 3),
}
"""(target, dim) -> tiles where there are many. A warp of an A100 has 32 rows at dim 64, so that K
and V are read from shared memory half as often as with 16; at dim 128 they do not fit into
registers. An H100 has two warpgroups of 64 rows, one of which computes exponentials while the other
multiplies. None of them spills at dim 64 or 128, with or without masks. Loads are issued at the end
of a step and awaited at the start of one: a tile is on its way meanwhile from three stages on."""

NARROW = {
    ("sm_80", 64): Tiles(64, 64, 4, 3),
    ("sm_80", 128): Tiles(64, 32, 4, 3),
    ("sm_90", 64): Tiles(64, 128, 4, 3),
    ("sm_90", 128): Tiles(64, 64, 4, 3),
}
"""The same where there are few: 16 rows a warp are the least that a tensor core multiplies."""


def tiles(heads: int, queries: int, dim: int, target: str) -> Tiles:
    """Return the largest tiles that still give each multiprocessor a block.

    Tiles are not made narrower than 64 rows to occupy more multiprocessors: four warps of 16 rows
    occupy the four tensor cores of one already, so a step would take as long, and K and V would be
    read from L2 once more.

    Args:
        heads: query heads of all sequences.
        queries: of a head.
        dim: channels of a head.
        target: of `workloads.gpu_launch.TARGETS`.
    """
    kind = (target, 128 if dim == 128 else 64)
    wide = WIDE[kind]
    if heads * -(-queries // wide.queries) >= SMS[target]:
        return wide
    if queries > 32:
        return NARROW[kind]
    rows = 32 if queries > 16 else 16
    return Tiles(rows, 32, rows // 16, 3)


def key_tiles(queries: int, keys: int, causal: bool, cut: Tiles) -> list[int]:
    """Return how many tiles of keys each tile of queries reads."""
    rows = -(-queries // cut.queries)
    if not causal:
        return [-(-keys // cut.keys)] * rows
    ends = (min(keys, keys - queries + (row + 1) * cut.queries) for row in range(rows))
    return [-(-end // cut.keys) for end in ends]


def attention_operations(scores: int, steps: int, rows: int, dim: int) -> dict[str, float]:
    """Return the operations of online softmax attention by pipe.

    Args:
        scores: of all tiles, padding included.
        steps: tiles of scores.
        rows: queries of a tile.
        dim: channels of a head.
    """
    return {
        "tensor_fp16": 4.0 * scores * dim,
        "special": float(scores),
        # maximum, scale and difference as one multiply-add, sum; and the mix scaled in each step
        "fp32": 4.0 * scores + float(steps * rows * dim),
    }
