"""Cascade controller: which tokens and heads stay alive, chosen in hardware by their importance.

SpAtten (HPCA 2021), algorithm 1 and modules 1, 2 and 12: probabilities are added to the importance
of their tokens, magnitudes of outputs to that of their heads, beside the main pipeline; between
layers one top-k engine keeps the most important tokens, or heads. What is dropped does not come
back, unless the host lists it again.

Sums are held by position in the token list, so rows of probabilities never meet in one bank; when
tokens are kept their sums and numbers move up together. The paper gives neither the width of the
sums nor where they are: both are ours. The engine compares whole sums, the paper's has 12 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from sim.blocks.accumulate import (
    HeadImportanceConfig,
    ImportanceConfig,
    head_importance_golden,
    token_importance_golden,
)
from sim.blocks.topk import TopKConfig, topk_golden
from workloads.config import Config

IntArray = np.ndarray[Any, np.dtype[np.int64]]

TOKENS, HEADS, SELECT_TOKENS, SELECT_HEADS = range(4)
"""Commands: a row of the token list, a row of heads, keep the best tokens, keep the best heads."""


class CascadeConfig(Config):
    """Size of the cascade controller."""

    lanes: int = Field(16, ge=1, le=1024)
    """elements compared per cycle, a power of 2 (paper: 16)"""
    rows: int = Field(8, ge=1, le=64)
    """probabilities that enter together, a power of 2, at most `lanes` (paper: 8)"""
    channels: int = Field(64, ge=1, le=1024)
    """output elements that enter together (paper: head dimension, 64)"""
    tokens: int = Field(1024, ge=1)
    """longest token list, a multiple of lanes (paper: 1,024)"""
    heads: int = Field(16, ge=1, le=256)
    """heads of a layer (GPT-2 Medium, BERT-Large: 16)"""
    prob_bits: int = Field(12, ge=1, le=32)
    """bits of a probability, unsigned; as many low bits of outputs do not count"""
    value_bits: int = Field(34, ge=3, le=62)
    """bits of an output element, signed, more than prob_bits + 1"""
    importance_bits: int = Field(32, ge=1, le=47)
    """bits of a sum, unsigned, saturating: 32 hold 1,024 queries of 16 heads of 24 layers"""

    @model_validator(mode="after")
    def _sizes_agree(self) -> CascadeConfig:
        for name in ("lanes", "rows"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(f"Cascade {name} must be a power of 2, not {value}")
        if self.rows > self.lanes:
            raise ValueError(f"Cascade rows must be at most lanes, {self.lanes}, not {self.rows}")
        if self.tokens % self.lanes:
            raise ValueError(
                f"Cascade tokens must be a multiple of lanes, {self.lanes}, not {self.tokens}"
            )
        if self.value_bits < self.prob_bits + 2:
            raise ValueError(
                f"Cascade value_bits must be at least prob_bits + 2, {self.prob_bits + 2}, "
                f"not {self.value_bits}"
            )
        return self

    @property
    def list_rows(self) -> int:
        """Rows of `lanes` tokens in the list."""
        return self.tokens // self.lanes

    @property
    def head_rows(self) -> int:
        """Rows of `lanes` heads."""
        return -(-self.heads // self.lanes)

    @property
    def token_importance(self) -> ImportanceConfig:
        return ImportanceConfig(
            lanes=self.lanes,
            tokens=self.tokens,
            prob_bits=self.prob_bits,
            sum_bits=self.importance_bits,
        )

    @property
    def head_importance(self) -> HeadImportanceConfig:
        return HeadImportanceConfig(
            lanes=self.channels,
            value_bits=self.value_bits - self.prob_bits,
            sum_bits=self.importance_bits,
        )

    @property
    def topk(self) -> TopKConfig:
        """Of both selections; the highest bit of an element tells that it may be kept."""
        return TopKConfig(
            lanes=self.lanes,
            depth=max(self.tokens, self.heads),
            width_bits=self.importance_bits + 1,
        )


class Kept(NamedTuple):
    """One selection: what the engine sees, and what leaves, row by row of its input."""

    scores: IntArray
    k: int
    rows: list[tuple[IntArray, IntArray]]
    """(numbers of tokens or heads, importances); rows that keep nothing only as the last"""


class CascadeState:
    """What the controller holds; its methods are the golden functions of what it does.

    Attributes:
        tokens: (tokens,) numbers of tokens by position in the list.
        token_importance: (tokens,) their sums.
        alive: (heads,) which heads are alive.
        head_importance: (heads,) their sums.
    """

    def __init__(self, config: CascadeConfig) -> None:
        self.config = config
        self.tokens = np.zeros(config.tokens, np.int64)
        self.token_importance = np.zeros(config.tokens, np.int64)
        self.alive = np.ones(config.heads, np.bool_)
        self.head_importance = np.zeros(config.heads, np.int64)

    def list_tokens(self, row: int, numbers: Any, importance: Any) -> None:
        """Replace a row of the list, (lanes,) numbers and sums."""
        part = slice(row * self.config.lanes, (row + 1) * self.config.lanes)
        self.tokens[part] = numbers
        self.token_importance[part] = importance

    def list_heads(self, row: int, alive: Any, importance: Any) -> None:
        """Replace a row of heads, (lanes,) whether they are alive, and sums."""
        first = row * self.config.lanes
        there = len(self.alive[first : first + self.config.lanes])
        self.alive[first : first + there] = np.asarray(alive, np.bool_)[:there]
        self.head_importance[first : first + there] = np.asarray(importance)[:there]

    def add_probabilities(self, probabilities: IntArray, first: int = 0) -> None:
        """Add (queries, keys) probabilities of the tokens from a position on."""
        part = slice(first, first + probabilities.shape[1])
        self.token_importance[part] = token_importance_golden(
            self.token_importance[part], probabilities, self.config.importance_bits
        )

    def add_output(self, head: int, output: IntArray) -> None:
        """Add the magnitudes of a head's output, (queries, channels) exact sums.

        The fraction that the probabilities bring is cut: floor(output / 2^prob_bits).
        """
        self.head_importance[head] = head_importance_golden(
            int(self.head_importance[head]),
            np.asarray(output, np.int64) >> self.config.prob_bits,
            self.config.importance_bits,
        )

    def select_tokens(self, count: int, keep: int) -> Kept:
        """Keep the most important of the first `count` tokens, in order; ties keep the first."""
        scores = self.token_importance[:count].copy()
        kept = topk_golden(self.config.topk, scores, keep)
        rows = self._rows(kept, count, self.tokens, scores)
        moved = -(-len(kept) // self.config.lanes) * self.config.lanes
        for held, values in (
            (self.tokens, self.tokens[kept]),
            (self.token_importance, scores[kept]),
        ):
            held[:moved] = 0
            held[: len(kept)] = values
        return Kept(scores, keep, rows)

    def select_heads(self, keep: int) -> Kept:
        """Keep the most important of the heads that are alive; ties keep the first."""
        k = min(keep, int(self.alive.sum()))
        scores = self.head_importance | (self.alive.astype(np.int64) << self.config.importance_bits)
        kept = topk_golden(self.config.topk, scores, k)
        rows = self._rows(kept, len(scores), np.arange(len(scores)), self.head_importance)
        self.alive[:] = False
        self.alive[kept] = True
        return Kept(scores, k, rows)

    def _rows(
        self, kept: IntArray, count: int, numbers: IntArray, importance: IntArray
    ) -> list[tuple[IntArray, IntArray]]:
        lanes = self.config.lanes
        last = max(1, -(-count // lanes)) - 1
        parts = [kept[kept // lanes == row] for row in range(last + 1)]
        return [
            (numbers[part], importance[part])
            for row, part in enumerate(parts)
            if len(part) or row == last
        ]
