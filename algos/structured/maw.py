"""MAW: a gated neuron is worth its largest weights.  Martra, arXiv 2512.22671."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def neuron_scores(gate: Tensor | None, up: Tensor) -> Tensor:
    """Return max |w| of each neuron's row of `gate` plus that of `up`, both (neurons, hidden)."""
    largest = up.abs().amax(1)
    return largest if gate is None else largest + gate.abs().amax(1)
