"""Run the calibration on pruned models, each from the first block that is not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from algos.static.apply import applied
from algos.static.base import Outcome, Pruning
from algos.static.calibrate import Calibration, passing, rows_of
from workloads.capture import find_blocks

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class _Run:
    pruning: Pruning
    left: list[list[Any]]  # [layer][sample]: what each block returned
    outcome: Outcome


class Prober:
    """Measures prunings of one model, which is always put back to what it was.

    What leaves a block depends on that block and those before alone, so a pruning that begins as
    the dense model or the pruning measured last takes their states up to the first difference.
    """

    def __init__(self, model: Any, calibration: Calibration) -> None:
        self._model, self._calibration = model, calibration
        self._blocks = find_blocks(model)
        self._last: _Run | None = None

    @cached_property
    def _dense(self) -> _Run:
        return self._run(Pruning.only(len(self._blocks), {}), [])

    def __call__(self, pruning: Pruning) -> Outcome:
        """Run the calibration on the dense model with this pruning applied."""
        runs = [self._dense] + ([self._last] if self._last else [])
        shared = [_shared(run.pruning, pruning) for run in runs]
        best = runs[shared.index(max(shared))]
        if max(shared) < len(self._blocks):
            best = self._last = self._run(pruning, best.left[: max(shared)])
        return best.outcome

    def _run(self, pruning: Pruning, known: Sequence[Sequence[Any]]) -> _Run:
        """Run all samples, the first blocks answering what is known of them."""
        import torch

        losses: list[float] = []
        outputs: list[Tensor] = []
        rest = {i: b for i, b in enumerate(pruning.blocks) if i >= len(known)}
        with (
            torch.no_grad(),
            applied(self._model, Pruning.only(len(self._blocks), rest)),
            _answering(self._blocks, known),
            passing(self._blocks) as (_, *left),
        ):
            for number, sample in enumerate(self._calibration.samples):
                outputs.append(self._calibration.read(self._model(**sample)))
                losses.append(float(self._calibration.loss(outputs[-1], number)))
        hidden = tuple(tuple(map(rows_of, samples)) for samples in left)
        outcome = Outcome(losses=tuple(losses), outputs=tuple(outputs), hidden=hidden)
        return _Run(pruning=pruning, left=left, outcome=outcome)


@contextmanager
def _answering(blocks: Sequence[Any], known: Sequence[Sequence[Any]]) -> Iterator[None]:
    """Let the first blocks return what is known of each sample instead of computing it."""

    def answers(samples: Sequence[Any]) -> Any:
        rest = iter(samples)
        return lambda *_args, **_kwargs: next(rest)

    for block, samples in zip(blocks, known, strict=False):
        block.forward = answers(samples)
    try:
        yield
    finally:
        for block, _ in zip(blocks, known, strict=False):
            del block.forward


def _shared(one: Pruning, other: Pruning) -> int:
    """Return how many blocks from the first on lose the same."""
    pairs = zip(one.blocks, other.blocks, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if not same(a, b)), len(one.blocks))


def same(one: Any, other: Any) -> bool:
    """Tell whether two decisions, or parts of them, are equal, number for number."""
    from torch import Tensor

    if is_dataclass(one):
        names = [field.name for field in fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or one.equal(other)
    return bool(one is other or (type(one) is type(other) and one == other))
