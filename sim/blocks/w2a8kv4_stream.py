"""Timing of the W2A8KV4 engine behind streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sim.blocks.handshake import at
from sim.blocks.w2a8kv4 import W2A8KV4EngineConfig
from sim.blocks.w2a8kv4_attention_stream import AttentionPath


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


class LinearMoves(NamedTuple):
    """Cycles in which commands and beats of weights entered and sums left."""

    commands: list[int]
    weights: list[int]
    sums: list[int]


class LinearStalls(NamedTuple):
    """By cycle: whether the sources of commands and weights may offer, and the sink is ready."""

    commands: Sequence[bool] = ()
    weights: Sequence[bool] = ()
    ready: Sequence[bool] = ()


class _Step(NamedTuple):
    """One cycle of work."""

    gives: bool  # sums
    ends_beat: bool


class LinearPath:
    """State of the linear half, and what moved. In each cycle: `offer`, `waits`, then `step`.

    A beat of weights waits until its command is there and may step. It makes as many steps as it
    serves tokens. The next beat is taken with the last step of the one before, the next command
    with the last one of its command. Sums leave from a register behind the pipeline, which stands
    still while that has no room.
    """

    def __init__(
        self, config: W2A8KV4EngineConfig, works: Sequence[Work], stalls: LinearStalls
    ) -> None:
        self.moved = LinearMoves([], [], [])
        self._works, self._stalls = works, stalls
        self._beats = sum(work.beats for work in works)
        self._wanted = sum(work.blocks * work.steps_per_beat for work in works)
        self._stages = [False] * config.latency_cycles  # which hold sums
        self._steps: Iterator[_Step] = iter(())
        self._next: _Step | None = None  # of the command that is held
        self._offers_command = self._offers_beat = self._full = False
        self._entered = self._leaving = False  # a step in the first register, sums in the last

    @property
    def over(self) -> bool:
        """Whether all sums have left."""
        return len(self.moved.sums) == self._wanted

    def holds(self, moves: bool) -> bool:
        """Tell whether a command is held, or a step that stands still in front of the array."""
        return self._next is not None or (self._entered and not moves)

    def offer(self, cycle: int) -> None:
        """Let sources offer what they may."""
        number, beats = len(self.moved.commands), len(self.moved.weights)
        if number < len(self._works) and cycle >= self._works[number].loaded:
            self._offers_command |= at(self._stalls.commands, cycle)
        self._offers_beat |= beats < self._beats and at(self._stalls.weights, cycle)

    def waits(self, cycle: int) -> bool:
        """Tell whether sums at the end of the pipeline find no place."""
        return self._stages[-1] and self._leaving and not at(self._stalls.ready, cycle)

    def step(self, cycle: int, moves: bool, may_step: bool) -> None:
        """Go to the next cycle.

        Args:
            cycle: this one.
            moves: whether the pipeline does; not while something `waits`.
            may_step: whether the array is this half's.
        """
        does = self._next if self._full and moves and may_step else None
        if self._leaving and at(self._stalls.ready, cycle):
            self.moved.sums.append(cycle)
            self._leaving = False
        if moves:
            self._leaving |= self._stages[-1]
            self._entered = does is not None
            self._stages = [does is not None and does.gives, *self._stages[:-1]]
        if not self._full or (does is not None and does.ends_beat):
            self._full = self._offers_beat
            if self._offers_beat:
                self.moved.weights.append(cycle)
                self._offers_beat = False
        if does is not None:
            self._next = next(self._steps, None)
        if self._next is None and self._offers_command:
            self._steps = _steps(self._works[len(self.moved.commands)])
            self._next = next(self._steps)
            self.moved.commands.append(cycle)
            self._offers_command = False


def run_halves(linear: LinearPath, attention: AttentionPath) -> None:
    """Run both halves to their ends on one array, which serves one of them at a time.

    A row of attention begins when no command is held, a command steps when no row is under way.
    The array and the pipelines behind it stand still while something waits at the end of either.
    """
    cycle = 0
    while not (linear.over and attention.over):
        linear.offer(cycle)
        attention.offer(cycle)
        moves = not (linear.waits(cycle) or attention.waits(cycle))
        holds, active = linear.holds(moves), attention.active
        linear.step(cycle, moves, may_step=not active)
        attention.step(cycle, moves, may_start=not holds)
        cycle += 1


def _steps(work: Work) -> Iterator[_Step]:
    for _ in range(work.blocks):
        for group in range(work.groups):
            for place in range(work.steps_per_beat):
                yield _Step(group == work.groups - 1, place == work.steps_per_beat - 1)
