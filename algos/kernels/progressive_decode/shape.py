"""Size of a decode with progressive quantisation, and how its work is cut."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from algos.kernels.decode.shape import REPEAT, SharedDecode, cut, lines
from workloads.errors import InputError

LSB_BITS = 4
VALUE_REPEAT, VALUE_STAGES = 2, 5
"""V rows that a line takes in a step: registers also hold the query for the LSBs"""


class Progressive(SharedDecode):
    """Size of a decode with progressive quantisation."""

    most_group: ClassVar[int] = 4

    msb_bits: Literal[4, 8] = 8
    """bits of K's MSB plane; the LSB plane has 4. 6 bits would straddle bytes"""
    threshold: float = Field(0.1, gt=0, lt=1)
    """a head is recomputed if its largest probability is below"""
    share: float = Field(0.059, ge=0, le=1)
    """query heads that are recomputed, rounded: a property of the data"""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        least = 4 / self.threshold
        if self.unsure and self.keys < least:
            raise InputError(
                f"progressive-decode keys must be at least {least:g} for heads below threshold "
                f"{self.threshold:g}, not {self.keys}"
            )

    @property
    def unsure(self) -> list[int]:
        """Query heads of the batch that are recomputed, evenly spread."""
        count = round(self.share * self.rows)
        return [place * self.rows // count for place in range(count)]

    @property
    def key_bytes(self) -> int:
        """Bytes of a row of the MSB plane."""
        return self.dim * self.msb_bits // 8

    @property
    def low_bytes(self) -> int:
        """Bytes of the LSB plane that are fetched."""
        rows = len({head // self.group for head in self.unsure})
        return rows * self.keys * self.dim * LSB_BITS // 8


def score_parts(shape: Progressive, target: str) -> tuple[int, int]:
    """Return parts of the MSB plane, and keys of a part."""
    return cut(shape.kv_rows, shape.keys, REPEAT * lines(shape.key_bytes), target, shape.parts)


def value_parts(shape: Progressive, target: str) -> tuple[int, int]:
    """Return parts of V, and keys of a part."""
    tile = VALUE_REPEAT * lines(shape.dim)
    return cut(shape.kv_rows, shape.keys, tile, target, shape.parts)
