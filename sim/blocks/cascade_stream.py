"""Timing of the cascade controller: rows, commands, and the selections that they ask for.

Values decide how long a selection takes, so the cycles and the golden state are stepped together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sim.blocks.cascade import (
    HEADS,
    SELECT_HEADS,
    SELECT_TOKENS,
    TOKENS,
    CascadeConfig,
    CascadeState,
    IntArray,
    Kept,
)
from sim.blocks.handshake import at
from sim.blocks.topk_stream import (
    Selection,
    filter_moves,
    passes_cycles,
    rows_leaving,
    rows_of,
)

FIRST_ROW_CYCLES = {SELECT_TOKENS: 2, SELECT_HEADS: 1}
"""A selection's command to the first row of sums into the engine."""
KEPT_TO_IDLE_CYCLES = 3
"""A selection's last row leaves to the first command that can follow: it is packed and written."""


@dataclass(frozen=True)
class Command:
    """One command; fields that its kind does not have do not matter."""

    kind: int
    row: int = 0
    numbers: Sequence[int] = ()
    importance: Sequence[int] = ()
    alive: Sequence[int] = ()
    count: int = 0
    keep: int = 0


@dataclass(frozen=True)
class OutputRow:
    """The output of one query."""

    data: IntArray  # (channels,)
    head: int
    last: bool  # of the head


@dataclass(frozen=True)
class CascadeStalls:
    """By cycle: when sources may offer, when the sink is ready."""

    probabilities: Sequence[bool] = ()
    outputs: Sequence[bool] = ()
    command: Sequence[bool] = ()
    kept: Sequence[bool] = ()


@dataclass
class CascadeMoves:
    """Cycles in which rows and commands entered and rows left; what was kept."""

    probabilities: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    command: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    selections: list[Kept] = field(default_factory=list)


class SelectionWork(NamedTuple):
    """What data decide of a selection's time."""

    kind: int
    rows: int  # of sums that enter
    passes_cycles: int
    leaving: list[int]  # numbers of the rows that leave


def selection_work(config: CascadeConfig, kind: int, kept: Kept) -> SelectionWork:
    """Return a selection's work from what the engine sees."""
    selection = Selection(kept.scores, kept.k)
    return SelectionWork(
        kind,
        rows_of(config.topk, selection),
        passes_cycles(config.topk, selection),
        rows_leaving(config.topk, selection),
    )


def selection_moves(
    config: CascadeConfig, work: SelectionWork, taken: int, ready: Sequence[bool]
) -> list[int]:
    """Return when a selection's rows leave.

    Args:
        config: the controller.
        work: the selection.
        taken: cycle of its command.
        ready: of the sink, by cycle.
    """
    last_in = taken + FIRST_ROW_CYCLES[work.kind] + work.rows - 1
    start = last_in + 1 + work.passes_cycles + config.topk.pass_overhead_cycles
    return filter_moves(start, work.leaving, ready)


def settled_cycles(config: CascadeConfig) -> int:
    """Return the cycles from a head's last row of outputs to the first command that can follow."""
    return config.head_importance.latency_cycles + 1


def first_idle(config: CascadeConfig) -> int:
    """Return the first cycle in which something is taken: the sums become zero before."""
    return config.list_rows + 1


def cascade_moves(
    config: CascadeConfig,
    probabilities: Sequence[Sequence[IntArray]],
    outputs: Sequence[OutputRow],
    commands: Sequence[Command],
    stalls: CascadeStalls,
) -> CascadeMoves:
    """Return when everything moves, and what was kept.

    Args:
        config: the controller.
        probabilities: of one query after another, in rows of up to `rows`.
        outputs: of one head after another.
        commands: in order.
        stalls: of sources and sink.
    """
    return _Run(config, probabilities, outputs, commands, stalls).run()


class _Run:
    """The registers that decide when something moves, and the golden state."""

    def __init__(
        self,
        config: CascadeConfig,
        probabilities: Sequence[Sequence[IntArray]],
        outputs: Sequence[OutputRow],
        commands: Sequence[Command],
        stalls: CascadeStalls,
    ) -> None:
        self.config, self.commands, self.stalls = config, commands, stalls
        self.rows = [
            (number * config.rows, row, row is query[-1])
            for query in probabilities
            for number, row in enumerate(query)
        ]
        self.outputs = outputs
        self.state, self.moves = CascadeState(config), CascadeMoves()
        self.idle, self.settled = first_idle(config), 0  # from when
        self.between = {"probabilities": True, "outputs": True}  # queries, heads that are begun
        self.offers = dict.fromkeys(("probabilities", "outputs", "command"), False)

    def run(self) -> CascadeMoves:
        items = {
            "probabilities": len(self.rows),
            "outputs": len(self.outputs),
            "command": len(self.commands),
        }
        cycle = 0
        while any(len(getattr(self.moves, name)) < number for name, number in items.items()):
            for name, number in items.items():
                left = len(getattr(self.moves, name)) < number
                pattern = getattr(self.stalls, name)
                self.offers[name] = self.offers[name] or (left and at(pattern, cycle))
            if cycle >= self.idle:
                self._step(cycle)
            cycle += 1
        return self.moves

    def _step(self, cycle: int) -> None:
        """Take a command, or else rows."""
        if self.offers["command"] and all(self.between.values()) and cycle >= self.settled:
            self._take(cycle, "command")
            self._execute(cycle, self.commands[len(self.moves.command) - 1])
            return
        if self.offers["probabilities"]:
            first, row, last = self.rows[len(self.moves.probabilities)]
            self._take(cycle, "probabilities")
            self.state.add_probabilities(row[None], first)
            self.between["probabilities"] = last
        if self.offers["outputs"]:
            output = self.outputs[len(self.moves.outputs)]
            self._take(cycle, "outputs")
            self.state.add_output(output.head, output.data[None])
            self.between["outputs"] = output.last
            if output.last:
                self.settled = cycle + settled_cycles(self.config)

    def _take(self, cycle: int, name: str) -> None:
        self.offers[name] = False
        getattr(self.moves, name).append(cycle)

    def _execute(self, cycle: int, command: Command) -> None:
        state = self.state
        if command.kind == TOKENS:
            state.list_tokens(command.row, command.numbers, command.importance)
        elif command.kind == HEADS:
            state.list_heads(command.row, command.alive, command.importance)
        else:
            if command.kind == SELECT_TOKENS:
                kept = state.select_tokens(command.count, command.keep)
            else:
                kept = state.select_heads(command.keep)
            work = selection_work(self.config, command.kind, kept)
            cycles = selection_moves(self.config, work, cycle, self.stalls.kept)
            self.moves.kept += cycles
            self.moves.selections.append(kept)
            self.idle = cycles[-1] + KEPT_TO_IDLE_CYCLES
