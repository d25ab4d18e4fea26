"""Timing of the W2A8KV4 engine behind streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sim.blocks.handshake import at
from sim.blocks.w2a8kv4 import W2A8KV4EngineConfig


@dataclass(frozen=True)
class Work:
    """What a command costs.

    Attributes:
        matrix: mode.
        groups: of a row.
        blocks: of `units` rows.
        pairs: of tokens, in matrix mode.
        loaded: first cycle in which it may be offered, for its activations are there.
    """

    matrix: bool
    groups: int
    blocks: int
    pairs: int = 1
    loaded: int = 0

    @property
    def steps_per_beat(self) -> int:
        """Cycles that a beat of weights occupies the engine."""
        return 2 * self.pairs if self.matrix else 1

    @property
    def beats(self) -> int:
        """Beats of weights."""
        return self.groups * self.blocks

    @property
    def cycles(self) -> int:
        """Cycles that the command occupies the engine when no stream stalls."""
        return self.beats * self.steps_per_beat


class EngineMoves(NamedTuple):
    """Cycles in which commands and beats of weights entered and outputs left."""

    commands: list[int]
    weights: list[int]
    outputs: list[int]


class EngineStalls(NamedTuple):
    """By cycle: whether the sources of commands and weights may offer, and the sink is ready."""

    commands: Sequence[bool] = ()
    weights: Sequence[bool] = ()
    ready: Sequence[bool] = ()


class _Step(NamedTuple):
    """One cycle of work."""

    gives: bool  # an output
    ends_beat: bool


def engine_moves(
    config: W2A8KV4EngineConfig, works: Sequence[Work], stalls: EngineStalls
) -> EngineMoves:
    """Return when everything moves.

    A beat of weights waits until its command is there and the pipeline behind moves, which it does
    unless an output waits. It makes as many steps as it serves tokens. The next beat is taken with
    the last step of the one before, the next command with the last one of its command.
    """
    stages = [False] * config.latency_cycles  # which hold an output
    moves, cycle = EngineMoves([], [], []), 0
    beats = sum(work.beats for work in works)
    wanted = sum(work.blocks * work.steps_per_beat for work in works)
    steps: Iterator[_Step] = iter(())
    step: _Step | None = None  # of the command that is held
    offers_command = offers_beat = full = False
    while len(moves.outputs) < wanted:
        number = len(moves.commands)
        if number < len(works) and cycle >= works[number].loaded:
            offers_command = offers_command or at(stalls.commands, cycle)
        offers_beat = offers_beat or (len(moves.weights) < beats and at(stalls.weights, cycle))
        leaves = stages[-1] and at(stalls.ready, cycle)
        runs = leaves or not stages[-1]
        does = step if full and runs else None
        if leaves:
            moves.outputs.append(cycle)
        if runs:
            stages = [does is not None and does.gives, *stages[:-1]]
        if not full or (does is not None and does.ends_beat):
            full = offers_beat
            if offers_beat:
                moves.weights.append(cycle)
                offers_beat = False
        if does is not None:
            step = next(steps, None)
        if step is None and offers_command:
            steps = _steps(works[number])
            step = next(steps)
            moves.commands.append(cycle)
            offers_command = False
        cycle += 1
    return moves


def _steps(work: Work) -> Iterator[_Step]:
    for _ in range(work.blocks):
        for group in range(work.groups):
            for place in range(work.steps_per_beat):
                yield _Step(group == work.groups - 1, place == work.steps_per_beat - 1)
