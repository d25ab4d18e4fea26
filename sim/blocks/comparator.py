"""Comparator array: splits the elements of a row around a pivot.

SpAtten (HPCA 2021), algorithm 2: smaller elements go one way, larger ones the other, equal ones are
only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from workloads.config import Config


class ComparatorConfig(Config):
    """Size of a comparator array."""

    lanes: int = Field(16, ge=1, le=1024)
    """elements compared together"""
    width_bits: int = Field(12, ge=1, le=64)
    """bits of an element, unsigned"""

    @property
    def latency_cycles(self) -> int:
        """Registers between input and output."""
        return 1


class Split(NamedTuple):
    """Lanes on either side of the pivot."""

    below: list[bool]
    above: list[bool]
    equal: int


def compare_golden(elements: Sequence[int], count: int, pivot: int) -> Split:
    """Return how the first `count` elements compare with the pivot; other lanes are on no side."""
    given = [lane < count for lane in range(len(elements))]
    return Split(
        [used and element < pivot for used, element in zip(given, elements, strict=True)],
        [used and element > pivot for used, element in zip(given, elements, strict=True)],
        sum(used and element == pivot for used, element in zip(given, elements, strict=True)),
    )
