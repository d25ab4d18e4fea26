"""Timing of the core: the head pipeline's, with buffers that are filled from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.blocks.cascade_stream import (
    KEPT_TO_IDLE_CYCLES,
    SelectionWork,
    first_idle,
    selection_moves,
    settled_cycles,
)
from sim.blocks.core import CoreConfig
from sim.blocks.fetcher import FetcherRun, Matrix, MemoryTiming
from sim.blocks.handshake import next_move
from sim.blocks.head_pipeline_stream import HeadWork, PipelineRun, Stalls, after

FETCHED_TO_FILLED_CYCLES = 1
"""a line leaves the fetcher to its writing into a buffer: the converter"""


@dataclass(frozen=True)
class Step:
    """A command that fetches nothing: one to the cascade controller, or a head that is not run."""

    cascades: bool
    selection: SelectionWork | None = None


@dataclass(frozen=True)
class CoreHead:
    """One head: what is computed, and where its rows lie."""

    work: HeadWork
    query: Matrix
    key: Matrix
    value: Matrix  # of a late head only the lines that are kept
    low: Matrix  # low bits of K; fetched only if a query is recomputed
    before: Sequence[Step] = ()  # commands before it


@dataclass
class CoreMoves:
    """Cycles in which items moved."""

    command: list[int] = field(default_factory=list)
    o: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    addresses: list[list[int]] = field(default_factory=list)  # by memory channel
    answers: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class CoreStalls:
    """By cycle: when commands may be offered, when outputs and what is kept are taken."""

    command: Sequence[bool] = ()
    o: Sequence[bool] = ()
    kept: Sequence[bool] = ()


def core_moves(
    config: CoreConfig,
    heads: Sequence[CoreHead],
    memory: MemoryTiming,
    stalls: CoreStalls,
    ending: Sequence[Step] = (),
) -> CoreMoves:
    """Return when everything moves.

    Q and K of a head are fetched, then its V, each when the fetcher has taken all indices of what
    comes before and the buffers have a half that nothing is meant for; V of a late head when its
    selection has ended. Low bits and such a V go before others. While a late head waits for its V
    only late ones are begun. The fetcher begins the cycle after. A command to the cascade
    controller is taken when no head is under way, all others only while the controller is idle.

    Args:
        config: the core.
        heads: in order.
        memory: its ports.
        stalls: of the commands' source and of the sinks.
        ending: commands behind the last head.
    """
    run = _CoreRun(config, heads, memory, stalls, ending)
    run.run([head.work for head in heads])
    run.take_steps()
    while run.fetcher.busy:
        run.fetcher.step()
    run.moves_of_core.o = run.moves.o
    return run.moves_of_core


class _CoreRun(PipelineRun):
    """The pipeline's run, and what the loader does meanwhile."""

    def __init__(
        self,
        config: CoreConfig,
        heads: Sequence[CoreHead],
        memory: MemoryTiming,
        stalls: CoreStalls,
        ending: Sequence[Step],
    ) -> None:
        super().__init__(config, Stalls(o=stalls.o))
        self.core, self.heads, self.core_stalls = config, heads, stalls
        self.fetcher = FetcherRun(config.fetcher, memory, config.rows)
        self.moves_of_core = CoreMoves(
            addresses=self.fetcher.moves.addresses, answers=self.fetcher.moves.answers
        )
        self.steps = [*([*head.before] for head in heads), [*ending]]  # that are left, by head
        self.free = 0  # from when the loader can begin something
        self.cascade_idle = first_idle(config.cascade)  # from when
        self.fetched: list[tuple[int, int]] = []  # of each head: begun, last line filled
        self.current = -1  # head that the pipeline has
        self.waiting = 0  # late heads whose V has not been fetched
        self.pending = False  # V of the head begun last has not been asked for

    def take_steps(self, limit: int | None = None) -> bool:
        """Fetch a V that is pending, take the commands before the next head; tell whether all are.

        Args:
            limit: cycle from which on something else goes first, while a head is under way.
        """
        if self.pending and not self._fetch_value(limit):
            return False
        steps, moves = self.steps[len(self.fetched)], self.moves_of_core
        while steps:
            step = steps[0]
            begun = max(self.free, self.cascade_idle)
            if step.cascades and self.moves.o:
                begun = max(begun, self.moves.o[-1] + settled_cycles(self.core.cascade))
            taken = next_move(self.core_stalls.command, after(moves.command), begun)
            if limit is not None and (step.cascades or taken >= limit):
                return False
            moves.command.append(taken)
            if step.selection:
                moves.kept += selection_moves(
                    self.core.cascade, step.selection, taken, self.core_stalls.kept
                )
                self.cascade_idle = moves.kept[-1] + KEPT_TO_IDLE_CYCLES
            del steps[0]
        return True

    def load(self, head: HeadWork) -> int:
        self.current += 1
        if len(self.fetched) == self.current:
            self.take_steps()
            self._fetch_head(self._earliest())
        if self.pending and len(self.fetched) == self.current + 1:
            self._fetch_value()
        begun, filled = self.fetched[self.current]
        taken = max(begun + 1, self.idle)
        self.moves.head.append(taken)
        return max(taken, filled)

    def load_low_bits(self, lines: int, wanted: int) -> int:
        self._fetch_ahead(wanted)
        return self._fetch([self.heads[self.current].low], max(wanted, self.free))

    def load_late_values(self, rows: Sequence[int], wanted: int) -> int:
        self._fetch_ahead(wanted)
        self.waiting -= 1
        return self._fetch([self.heads[self.current].value], max(wanted, self.free))

    def _fetch_ahead(self, wanted: int) -> None:
        """Take commands and fetch heads whose fetch begins before something else is wanted."""
        while self.take_steps(wanted) and self._may_be_next():
            start = self._earliest()
            if start >= wanted:
                return
            self._fetch_head(start)

    def _may_be_next(self) -> bool:
        """Tell whether the next head's fetch waits for nothing but room and the loader."""
        number = len(self.fetched)
        if number == len(self.heads):
            return False
        has_room = self._room("key", number) is not None
        return has_room and (self.heads[number].work.late or not self.waiting)

    def _earliest(self) -> int:
        """Return when the next head's fetch can begin."""
        number = len(self.fetched)
        room = max(self._room(name, number) or 0 for name in ("query", "key"))
        begun = max(self.free, self.cascade_idle, room)
        moves = self.moves_of_core.command
        return next_move(self.core_stalls.command, after(moves), begun)

    def _room(self, name: str, number: int) -> int | None:
        """Return from when a buffer has room for a head's matrix; None: not before another ends."""
        before, released = number - self.config.buffer.halves, self.released[name]
        if before < 0:
            return 0
        return released[before] + 1 if before < len(released) else None

    def _fetch_head(self, start: int) -> None:
        head = self.heads[len(self.fetched)]
        self.moves_of_core.command.append(start)
        self.fetched.append((start, self._fetch([head.query, head.key], start)))
        self.waiting += head.work.late
        self.pending = not head.work.late

    def _fetch_value(self, limit: int | None = None) -> bool:
        """Fetch V of the head that was begun last; tell whether that begins before a cycle."""
        number = len(self.fetched) - 1
        room = self._room("value", number)
        if room is None or (limit is not None and max(self.free, room) >= limit):
            return False
        begun, _ = self.fetched[number]
        filled = self._fetch([self.heads[number].value], max(self.free, room))
        self.fetched[number] = (begun, filled)
        self.pending = False
        return True

    def _fetch(self, matrices: Sequence[Matrix], start: int) -> int:
        """Fetch matrices from a cycle on; return the cycle in which the last line is filled.

        What is fetched later does not hold up what is under way, so its end can be seen ahead.
        """
        fetcher = self.fetcher
        while fetcher.cycle <= start:
            fetcher.step()
        fetcher.ask(matrices)
        while fetcher.indices_left:
            fetcher.step()
        self.free = fetcher.cycle
        ahead = fetcher.ahead()
        while ahead.busy:
            ahead.step()
        return ahead.moves.rows[-1] + FETCHED_TO_FILLED_CYCLES
