"""Size of a decode with local value pruning, and how its work is cut."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from algos.kernels.decode.shape import REPEAT, SharedDecode, cut, lines
from workloads.errors import InputError

MOST_KEYS = 32_768
"""the selection holds a row in the registers of one block"""
SCORE_REPEAT = 2 * REPEAT


class LocalV(SharedDecode):
    """Size of a decode with local value pruning."""

    share: float = Field(0.3, gt=0, le=1)
    """V rows that are fetched, of the keys; rounded down, at least one"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if self.keys > MOST_KEYS:
            raise InputError(f"local-v-decode keys must be at most {MOST_KEYS}, not {self.keys}")

    @property
    def kept(self) -> int:
        """V rows of a query head."""
        return max(1, int(self.share * self.keys + 1e-9))


def score_parts(shape: LocalV, target: str) -> tuple[int, int]:
    """Return parts of the keys that are scored, and keys of a part."""
    tile = SCORE_REPEAT * lines(2 * shape.dim)
    return cut(shape.kv_rows, shape.keys, tile, target, shape.parts)


def mix_parts(shape: LocalV, target: str) -> tuple[int, int]:
    """Return parts of the kept V rows, and rows of a part."""
    return cut(shape.rows, shape.kept, REPEAT * lines(2 * shape.dim), target, shape.parts)
