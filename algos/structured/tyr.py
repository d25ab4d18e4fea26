"""Tyr-the-Pruner: a coarse-to-fine search for the sparsity of each layer.

S030 of the literature list: layers pruned locally at many ratios form a supernet; the search finds
the ratios whose sum is the target and whose model is nearest to the dense one, then goes on with
half the step around them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator

Steps = tuple[int, ...]  # ratio of each layer, in units of the step of the round


def coarse_to_fine(
    layers: int,
    keep_ratio: float,
    distance: Callable[[tuple[float, ...]], float],
    generator: Generator,
    *,
    step: float,
    rounds: int,
    tries: int,
) -> tuple[float, ...]:
    """Return the share kept of each layer; the mean is `keep_ratio`.

    Each round tries exchanges of one step between two layers drawn at random, keeps what brings
    the model nearer, and halves the step.

    Args:
        layers: to be pruned.
        keep_ratio: mean share.
        distance: of the model with these shares from the dense one.
        generator: draws the exchanges.
        step: share exchanged in the first round.
        rounds: the step is halved after each.
        tries: exchanges tried in a round.
    """
    import torch

    best = (keep_ratio,) * layers
    if layers == 1:
        return best
    nearest = distance(best)
    for _ in range(rounds):
        seen = {best}
        for _ in range(tries):
            take, give = torch.randperm(layers, generator=generator)[:2].tolist()
            shares = list(best)
            shares[take] += step
            shares[give] -= step
            trial = tuple(round(share, 9) for share in shares)
            if trial in seen or not (trial[give] > 0 and trial[take] <= 1):
                continue
            seen.add(trial)
            found = distance(trial)
            if found < nearest:
                best, nearest = trial, found
        step /= 2
    return best
