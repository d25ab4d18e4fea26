"""One published figure beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

CLOSE, NEAR = 0.15, 2.0
"""A ratio within 1 +- CLOSE is `met`; within a factor of NEAR, `near`."""

COLUMNS: dict[str, str] = {
    "section": "part of the page",
    "quantity": "what is compared",
    "unit": "of both values",
    "published": "what the source states; empty: nothing to compare with, or only in words",
    "ours": "what the models give",
    "ratio": "ours over published",
    "verdict": f"met: within {CLOSE:.0%}; near: within a factor of {NEAR:g}; off; holds or fails: "
    "a statement in words; shown: no published value",
    "inputs": "published: the authors' files; synthetic: made from their ratios or assumed; "
    "measured: a real model",
    "assumed": "what was assumed where the source is silent, and why ours differs",
    "source": "where the published value stands",
}
"""Columns of the CSV."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published value or statement, and ours."""

    section: str
    quantity: str
    unit: str
    ours: float
    inputs: str  # published, synthetic or measured
    source: str
    published: float | None = None
    holds: bool | None = None  # of a statement in words
    assumed: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over published."""
        return self.ours / self.published if self.published else None

    @property
    def verdict(self) -> str:
        """Say how near ours is."""
        if self.holds is not None:
            return "holds" if self.holds else "fails"
        ratio = self.ratio
        if ratio is None:
            return "shown"
        if abs(ratio - 1) <= CLOSE + 1e-9:
            return "met"
        return "near" if 1 / NEAR <= ratio <= NEAR else "off"


def claim_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Return one row per claim, columns as `COLUMNS`."""
    rows = [{name: getattr(claim, name) for name in COLUMNS} for claim in claims]
    return pd.DataFrame(rows, columns=list(COLUMNS))
