"""What methods share that drop tokens at a few layers by their scores.

The tokens that may be dropped are one run of the living tokens, the same in every sequence of a
batch: visual tokens in a language model, all but the class token in an encoder.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Batch, Decision, Ratio, WorkloadKind
from algos.token.base import Between, Seen, TokenMethod
from algos.token.shared import top_ordinals, with_others
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass
class CutState:
    """What one batch remembers."""

    counts: Mapping[int, int]  # prunable tokens left before each layer that cuts
    prunable: range  # positions of the tokens that may be dropped
    generators: tuple[Generator, ...]
    layers: int
    memory: Tensor | None = None  # (batch, token) what the method accumulates of living tokens


class CutMethod(TokenMethod):
    """Base of methods that keep the tokens of the highest scores; abstract."""

    trace_kind: ClassVar[str] = "token mask"

    keep_ratio: Ratio = 0.5
    """Prunable tokens that the last layers keep, rounded down, at least 1."""

    @abstractmethod
    def prunable(self, batch: Batch) -> range:
        """Return the positions of the tokens that may be dropped."""

    @abstractmethod
    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Return how many of `n` tokens are left before each layer that drops some."""

    @abstractmethod
    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the score of each living prunable token, (batch, n), those at `where`."""

    def begin(self, batch: Batch) -> CutState:
        """Return the schedule of this batch."""
        prunable = self.prunable(batch)
        layers = batch.shape.layers
        counts = self.counts(layers, len(prunable))
        return CutState(counts, prunable, batch.generators, layers)

    def between(self, entry: Between, state: CutState) -> Decision:
        """Drop the tokens of the lowest scores where the schedule says so."""
        chosen = self.chosen(entry, state)
        if chosen is None:
            return Decision()
        where = living(entry.ids, state.prunable)
        kept = with_others(chosen, where, entry.ids.shape[1])
        if state.memory is not None:
            state.memory = state.memory.gather(1, kept)
        return Decision(kept_tokens=kept)

    def chosen(self, entry: Between, state: CutState) -> Tensor | None:
        """Return which living prunable tokens stay, (batch, k) ascending; None: all."""
        left, where = state.counts.get(entry.layer), living(entry.ids, state.prunable)
        if left is None or left >= where.stop - where.start:
            return None
        return top_ordinals(self.score(entry, where, state), left)


class VisualCuts(CutMethod):
    """Base of methods that drop visual tokens inside a language model; abstract."""

    granularity: ClassVar[str] = "visual token"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("questions",)

    def prunable(self, batch: Batch) -> range:
        """Return the positions of the visual tokens."""
        return required_visual(batch, self.name)


class EncoderCuts(CutMethod):
    """Base of methods that drop tokens of an encoder; abstract."""

    granularity: ClassVar[str] = "token"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "images")

    def prunable(self, batch: Batch) -> range:
        """Return all positions but that of the class token, if there is one."""
        return range(int(batch.layout.class_token), batch.tokens)


def required_visual(batch: Batch, name: str) -> range:
    """Return the positions of the visual tokens.

    Raises:
        InputError: there are none, or no text follows.
    """
    visual = batch.layout.visual
    if not visual:
        raise InputError(f"{name} must have visual tokens to drop, the input has none")
    if visual.stop >= batch.tokens:
        raise InputError(f"{name} must have text after the visual tokens, the input ends with them")
    return visual


def living(ids: Tensor, prunable: range) -> slice:
    """Return where the living prunable tokens are among the living tokens.

    Args:
        ids: (batch, token) positions, ascending; every row holds as many prunable tokens.
        prunable: positions.
    """
    row = ids[0]
    start = int((row < prunable.start).sum())
    return slice(start, int((row < prunable.stop).sum()))


def seen(entry: Between) -> Seen:
    """Return what the block before computed; a cut before the first block has none."""
    assert entry.before is not None  # a schedule cuts before layer 1 at the earliest
    return entry.before
