"""Tyr-the-Pruner: a coarse-to-fine search for the sparsity of each layer.

Li et al., NeurIPS 2025, arXiv:2503.09657: layers pruned locally at many ratios form a supernet; the
search finds the ratios whose sum is the target and whose model is nearest to the dense one, then
goes on with half the step around them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.layer.finercut import outcome_distance
from algos.static.base import BlockView, ModelView, Need, Pruning
from algos.structured.base import StructuredMethod, by_head, plain, pruned, sizes_of, stacked
from algos.structured.budget import local_masks
from algos.structured.fluctuation import wifn

if TYPE_CHECKING:
    from torch import Generator, Tensor


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


class Tyr(StructuredMethod):
    """Keep of each layer the share that a search over the whole model gives it.

    From the description: units are ranked within a layer by weights times input norms, a head by
    the sum over its channels; the model's distance is the mean angle of its outputs; errors of
    layers pruned before are not fed to later ones (the paper's expectation error accumulation).
    Budget: short of it by less than one neuron a layer.
    """

    name: ClassVar[str] = "tyr"
    signal: ClassVar[str] = "search by the outputs of the pruned model"
    paper: ClassVar[str] = "Li et al., NeurIPS 2025, arXiv:2503.09657"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    step: Annotated[float, Field(gt=0, lt=1)] = 0.125
    """Share exchanged between two layers in the first round; an estimate."""
    rounds: Annotated[int, Field(ge=1, le=10)] = 4
    """Rounds of the search, each with half the step; an estimate."""
    tries: Annotated[int, Field(ge=1)] = 8
    """Exchanges tried in a round, each a run of the calibration samples; an estimate."""

    def plan(self, model: ModelView) -> Pruning:
        """Search the shares of the layers."""
        scores, sizes = stacked(model, _scores), sizes_of(model.shape)

        def pruning(shares: tuple[float, ...]) -> Pruning:
            return pruned(local_masks(*scores, sizes, shares))

        shares = coarse_to_fine(
            len(model.blocks),
            self.keep_ratio,
            lambda trial: outcome_distance(model.dense, model.probe(pruning(trial))),
            model.generator,
            step=self.step,
            rounds=self.rounds,
            tries=self.tries,
        )
        return pruning(shares)


def _scores(block: BlockView) -> tuple[Tensor, Tensor]:
    output, down = block.linears["output"], plain(block, "down")
    heads = by_head(wifn(output.weight, output.input_squares), block.shape.heads)
    return heads, wifn(down.weight, down.input_squares)
