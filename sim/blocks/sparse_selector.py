"""2:4 selector: of every four inputs, a quad, the activations that meet the two kept weights.

AccLLM (arXiv 2505.03745): neighbouring output rows keep different inputs, so each weight selects
its own activation. For one token the two that a quad keeps leave together; for two tokens, whose
products share a weight, the first kept one of both leaves, then the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config


class SparseSelectorConfig(Config):
    """Size of a selector."""

    quads: int = Field(16, ge=1)
    """quads that it serves together; 16: a group of 64 inputs"""

    @property
    def latency_cycles(self) -> int:
        """Registers between input and output."""
        return 1


@dataclass(frozen=True)
class Selection:
    """What a selector is given.

    Attributes:
        tokens: (2, quads, 4) activations; of one token the second is not looked at.
        positions: (quads, 2) of the kept weights, 0 to 3, ascending.
        pair: two tokens.
        second: of two tokens, those of the second kept weight.
    """

    tokens: Any
    positions: Any
    pair: bool = False
    second: bool = False


def select_golden(given: Selection) -> np.ndarray[Any, Any]:
    """Return (quads, 2) activations: both that are kept, or one of each token."""
    tokens, positions = np.asarray(given.tokens), np.asarray(given.positions)
    quads = np.arange(len(positions))
    if not given.pair:
        return np.stack([tokens[0, quads, positions[:, kept]] for kept in (0, 1)], 1)
    place = positions[:, int(given.second)]
    return np.stack([tokens[token, quads, place] for token in (0, 1)], 1)
