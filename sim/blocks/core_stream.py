"""Timing of the core: the head pipeline's, with buffers that are filled from memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.blocks.core import CoreConfig
from sim.blocks.fetcher import Matrix, MemoryTiming, fetcher_moves
from sim.blocks.handshake import next_move
from sim.blocks.head_pipeline_stream import HeadWork, PipelineRun, Stalls, after

FETCHED_TO_FILLED_CYCLES = 1
"""a line leaves the fetcher to its writing into a buffer: the converter"""


@dataclass(frozen=True)
class CoreHead:
    """One head: what is computed, and where its rows lie."""

    work: HeadWork
    query: Matrix
    key: Matrix
    value: Matrix  # of a late head only the lines that are kept
    low: Matrix  # low bits of K; fetched only if a query is recomputed
    lists: int = 0  # lines of the token list that are written before it


@dataclass
class CoreMoves:
    """Cycles in which items moved."""

    command: list[int] = field(default_factory=list)
    o: list[int] = field(default_factory=list)
    addresses: list[list[int]] = field(default_factory=list)  # by memory channel
    answers: list[list[int]] = field(default_factory=list)


def core_moves(
    config: CoreConfig,
    heads: Sequence[CoreHead],
    memory: MemoryTiming,
    offer: Sequence[bool],
    ready: Sequence[bool],
) -> CoreMoves:
    """Return when everything moves.

    The three matrices of a head are fetched one behind another when nothing else is fetched and
    each buffer has a free half; of a late head only Q and K at first, V when its selection has
    ended. Low bits and such a V are fetched when nothing else is; they go before a head. While a
    late head waits for its V only late ones are begun. The fetcher begins the cycle after; the next
    fetch may begin the cycle after the last line is in its buffer. A line of the token list is
    taken when no head is under way.

    Args:
        config: the core.
        heads: in order.
        memory: its ports.
        offer, ready: of the commands' source and of the outputs' sink, by cycle.
    """
    run = _CoreRun(config, heads, memory, offer, ready)
    run.run([head.work for head in heads])
    run.moves_of_core.o = run.moves.o
    return run.moves_of_core


class _CoreRun(PipelineRun):
    """The pipeline's run, and what the loader does meanwhile."""

    def __init__(
        self,
        config: CoreConfig,
        heads: Sequence[CoreHead],
        memory: MemoryTiming,
        offer: Sequence[bool],
        ready: Sequence[bool],
    ) -> None:
        super().__init__(config, Stalls(o=ready))
        self.core, self.heads, self.memory, self.offer = config, heads, memory, offer
        channels = config.memory_channels
        self.moves_of_core = CoreMoves(
            addresses=[[] for _ in range(channels)], answers=[[] for _ in range(channels)]
        )
        self.free = 0  # from when the loader can begin something
        self.fetched: list[tuple[int, int]] = []  # of each head: begun, last line filled
        self.current = -1  # head that the pipeline has
        self.waiting = 0  # heads whose V has not been fetched

    def load(self, head: HeadWork) -> int:
        self.current += 1
        if len(self.fetched) == self.current:
            self._fetch_head(self._earliest())
        begun, filled = self.fetched[self.current]
        taken = max(begun + 1, self.idle)
        self.moves.head.append(taken)
        return max(taken, filled)

    def load_low_bits(self, lines: int, wanted: int) -> int:
        self._fetch_ahead(wanted)
        return self._fetch([self.heads[self.current].low], max(wanted, self.free))

    def load_late_values(self, lines: int, wanted: int) -> int:
        self._fetch_ahead(wanted)
        self.waiting -= 1
        return self._fetch([self.heads[self.current].value], max(wanted, self.free))

    def _fetch_ahead(self, wanted: int) -> None:
        """Fetch the heads whose fetch begins before something else is wanted."""
        while self._may_be_next():
            start = self._earliest()
            if start >= wanted:
                return
            self._fetch_head(start)

    def _may_be_next(self) -> bool:
        """Tell whether the next head's fetch waits for nothing but room and the loader."""
        number = len(self.fetched)
        if number == len(self.heads) or self.heads[number].lists:
            return False
        has_room = number - self.config.buffer.halves < len(self.released["key"])
        return has_room and (self.heads[number].work.late or not self.waiting)

    def _earliest(self) -> int:
        """Return when the next head's fetch can begin; lines of the token list come before it."""
        number, moves = len(self.fetched), self.moves_of_core.command
        for _ in range(self.heads[number].lists):
            taken_from = max(self.free, after(self.moves.o))
            moves.append(next_move(self.offer, after(moves), taken_from))
        return next_move(self.offer, after(moves), max(self.free, self._room(number)))

    def _room(self, number: int) -> int:
        """Return from when the buffers that a head fills at once have a free half."""
        before = number - self.config.buffer.halves
        names = ("query", "key") if self.heads[number].work.late else ("query", "key", "value")
        return max(self.released[name][before] for name in names) + 1 if before >= 0 else 0

    def _fetch_head(self, start: int) -> None:
        head = self.heads[len(self.fetched)]
        self.moves_of_core.command.append(start)
        matrices = [head.query, head.key] if head.work.late else [head.query, head.key, head.value]
        self.fetched.append((start, self._fetch(matrices, start)))
        self.waiting += head.work.late

    def _fetch(self, matrices: Sequence[Matrix], start: int) -> int:
        """Fetch matrices from a cycle on; return the cycle in which the last line is filled."""
        origin = start + 1
        memory = MemoryTiming(
            self.memory.latency_cycles,
            [pattern[origin:] for pattern in self.memory.accepts],
            [pattern[origin:] for pattern in self.memory.answers],
        )
        moves = fetcher_moves(self.core.fetcher, matrices, memory, [], [], [])
        for channel in range(self.core.memory_channels):
            for own, others in (
                (self.moves_of_core.addresses, moves.addresses),
                (self.moves_of_core.answers, moves.answers),
            ):
                own[channel] += [origin + cycle for cycle in others[channel]]
        filled = origin + moves.rows[-1] + FETCHED_TO_FILLED_CYCLES
        self.free = filled + 1
        return filled
