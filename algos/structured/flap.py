"""FLAP: prune what fluctuates least, and let a bias stand in for its mean.

An et al., AAAI 2024, arXiv 2312.11983. An input of the output or down projection is worth its
fluctuation over calibration samples times the squared norm of its weight column (WIFV): a constant
input can be replaced by a bias. WIFN is the mean over outputs of |w| times the input's norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from algos.structured.budget import Masks, check_scores

if TYPE_CHECKING:
    from torch import Tensor


def running_statistics(inputs: Tensor, compat: Literal["paper", "authors"]) -> list[Tensor]:
    """Return mean and fluctuation (columns,) of inputs (samples, tokens, columns).

    The fluctuation is the sum over tokens of squared distances from the mean over samples. On
    paper it is a sample variance of all tokens with the final mean. The authors' running update
    measures each sample from the mean so far, itself included, and counts the first sample as 0.
    """
    import torch

    mean = torch.zeros(inputs.shape[-1])
    fluctuation = torch.zeros(inputs.shape[-1])
    if compat == "paper":
        mean = inputs.mean((0, 1))
        squares = (inputs - mean).square().sum((0, 1))
        return [mean, squares / max(len(inputs) - 1, 1)]
    for before, sample in enumerate(inputs):
        mean = (mean * before + sample.mean(0)) / (before + 1)
        if before:
            change = (sample - mean).square().sum(0)
            fluctuation = fluctuation * ((before - 1) / before) + change / (before + 1)
    return [mean, fluctuation]


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


def authors_adaptive(heads: Tensor, neurons: Tensor, prune_ratio: float, head_dim: int) -> Masks:
    """Return the masks of the authors' program for scores of `adaptive_scores`.

    One threshold for all: the score at which the cost of all that is better or equal comes
    closest to the share kept. What equals the threshold is pruned too. A neuron costs 1 and a head
    4 / 3 of its channels, cut to an integer.
    """
    import torch

    check_scores(heads, neurons)
    score = torch.cat([heads.flatten(), neurons.flatten()])
    ranked, order = score.sort(descending=True, stable=True)
    cost = torch.ones_like(order)
    cost[order < heads.numel()] = 4 * head_dim // 3
    target = cost.sum() * (1 - prune_ratio)
    threshold = ranked[(cost.cumsum(0) - target).abs().argmin()]
    return Masks(heads > threshold, neurons > threshold)


def authors_uniform(output: Tensor, down: Tensor, heads: int, prune_ratio: float) -> Masks:
    """Return the masks of the authors' program with one ratio for every layer (UL-UM).

    Args:
        output: (layers, heads * head_dim) scores; a head has the sum of their squares.
        down: (layers, neurons) scores.
        heads: heads of a layer.
        prune_ratio: share pruned of the heads and of the neurons of each layer, rounded down.
    """
    by_head = output.square().view(len(output), heads, -1).sum(2)
    check_scores(by_head, down)
    masks = []
    for score in (by_head, down):
        at = int(score.shape[1] * prune_ratio)
        masks.append(score >= score.sort(1).values[:, at : at + 1])
    return Masks(*masks)


def bias_compensation(weight: Tensor, mean: Tensor, keep: Tensor) -> Tensor:
    """Return the bias (outputs,) that stands in for the mean of the pruned inputs.

    Args:
        weight: (outputs, columns) as it was.
        mean: (columns,) mean inputs.
        keep: (columns,) bool.
    """
    return weight @ (mean * ~keep)
