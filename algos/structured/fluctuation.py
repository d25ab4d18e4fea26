"""FLAP's signal: how much what enters a projection fluctuates, times the weights it meets.

An et al., AAAI 2024, arXiv:2312.11983. An input of the output or down projection is worth its
fluctuation over calibration samples times the squared norm of its weight column (WIFV): a constant
input can be replaced by a bias. WIFN is the mean over outputs of |w| times the input's norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def running_statistics(samples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and fluctuation (columns,) of samples (tokens, columns), as the authors run them.

    Each sample is measured from the mean so far, itself included, and the first one counts as 0:
    the sum over tokens of squared distances, averaged over samples.
    """
    import torch

    mean = torch.zeros(samples[0].shape[-1])
    fluctuation = torch.zeros_like(mean)
    for before, sample in enumerate(samples):
        mean = (mean * before + sample.mean(0)) / (before + 1)
        if before:
            change = (sample - mean).square().sum(0)
            fluctuation = fluctuation * ((before - 1) / before) + change / (before + 1)
    return mean, fluctuation


def wifv(weight: Tensor, fluctuation: Tensor) -> Tensor:
    """Return the score (columns,) of (outputs, columns) weights: fluctuation * column norm^2."""
    return fluctuation * weight.square().sum(0)


def wifn(weight: Tensor, squares: Tensor) -> Tensor:
    """Return the score (columns,): mean over outputs of |w| * square root of `squares`."""
    return (weight.abs() * squares.sqrt()).mean(0)


def standardised(score: Tensor) -> Tensor:
    """Return scores (layers, n) of mean 0 and deviation 1 in each layer; all 0 if equal."""
    centred = score - score.mean(1, keepdim=True)
    deviation = score.std(1, keepdim=True)
    return centred / deviation.masked_fill(deviation == 0, 1)


def adaptive_scores(output: Tensor, down: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Return scores of heads (layers, heads) and neurons on one scale (the AL-AM structure).

    Args:
        output: (layers, heads * head_dim) scores of the output projection's inputs.
        down: (layers, neurons) scores of the down projection's inputs.
        heads: heads of a layer.
    """
    by_channel = standardised(output.square())
    return by_channel.view(len(output), heads, -1).mean(2), standardised(down)


def uniform_scores(output: Tensor, heads: int) -> Tensor:
    """Return scores (layers, heads) of (layers, heads * head_dim): sums of squares (UL-UM)."""
    return output.square().view(len(output), heads, -1).sum(2)


def bias_compensation(weight: Tensor, mean: Tensor, keep: Tensor) -> Tensor:
    """Return the bias (outputs,) that stands in for the mean of the pruned inputs.

    Args:
        weight: (outputs, columns) as it was.
        mean: (columns,) mean inputs.
        keep: (columns,) bool.
    """
    return weight @ (mean * ~keep)
