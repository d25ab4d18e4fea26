"""Pruning by explaining: structures that carry no relevance are pruned.

Relevance is propagated from the output back to each input of a layer by the epsilon rule (Bach et
al., PLoS ONE 2015); what carries least over reference samples is pruned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6  # stabiliser of the rule, of the mean magnitude of the outputs; an estimate


def epsilon_rule(inputs: Tensor, weight: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance (tokens, columns) of the inputs of a linear layer.

    Args:
        inputs: (tokens, columns).
        weight: (outputs, columns).
        relevance: (tokens, outputs) of the outputs; it is shared out by x_j w_oj / z_o.
    """
    outputs = inputs @ weight.T
    small = EPSILON * outputs.abs().mean().clamp_min(1e-30)
    stable = outputs + small * (outputs >= 0).to(outputs.dtype) - small * (outputs < 0)
    return inputs * ((relevance / stable) @ weight)


def unit_relevance(relevance: Tensor, units: int) -> Tensor:
    """Return the score (units,): |relevance| of a unit, its channels summed, mean over tokens.

    Args:
        relevance: (tokens, units * channels).
        units: heads, or neurons with one channel each.
    """
    return relevance.view(len(relevance), units, -1).sum(2).abs().mean(0)
