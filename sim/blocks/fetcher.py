"""Matrix fetcher of the core: rows of a matrix from several memory channels, in order.

SpAtten (HPCA 2021), modules 3 to 5: row addresses go through a crossbar to the channels, and what
comes back is put in order again. Transactions are interleaved over the channels. A row starts at
a transaction of its own.

`fetcher_moves` steps the design's flow control cycle by cycle: arbitration depends on when each
lane and channel is ready, so there is no closed form.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import Field, model_validator

from sim.blocks.handshake import at
from workloads.config import Config


class FetcherConfig(Config):
    """Size of a matrix fetcher."""

    lanes: int = Field(16, ge=1, le=64)
    """rows that are fetched side by side (paper: 32)"""
    channels: int = Field(16, ge=1, le=64)
    """memory channels, a power of 2 (paper: 16)"""
    transaction_bits: int = Field(256, ge=8, le=1024)
    """bits of one transaction (released RTL: 32 B)"""
    row_transactions: int = Field(3, ge=1, le=64)
    """longest row in transactions (64 channels of 12 bit: 3)"""
    queue_depth: int = Field(64, ge=1, le=256)
    """transactions that may be under way on a channel (paper: FIFOs of 64)"""
    beats: int = Field(32, ge=1, le=64)
    """beats of rows that may be under way"""
    address_bits: int = Field(32, ge=4, le=48)
    """bits of an address in transactions"""

    @model_validator(mode="after")
    def _channels_interleave(self) -> FetcherConfig:
        if self.channels & (self.channels - 1):
            raise ValueError(f"Fetcher channels must be a power of 2, not {self.channels}")
        return self


class Matrix(NamedTuple):
    """What is fetched: rows of equal size, by index, lane by lane."""

    base: int  # first transaction
    size: int  # transactions of a row, which is also the distance of rows
    indices: Sequence[int | None]  # None: a lane that fetches nothing

    @property
    def transactions(self) -> list[int]:
        """Addresses that are read, row by row."""
        firsts = [self.base + row * self.size for row in self.indices if row is not None]
        return [first + number for first in firsts for number in range(self.size)]


@dataclass(frozen=True)
class MemoryTiming:
    """A memory whose channels answer in order.

    An address that is taken in cycle t has its data from t + latency_cycles on. Patterns by
    channel and cycle; missing ones are always true.
    """

    latency_cycles: int = 1
    accepts: Sequence[Sequence[bool]] = ()
    answers: Sequence[Sequence[bool]] = ()

    def accepts_at(self, channel: int, cycle: int) -> bool:
        return at(self.accepts[channel], cycle) if self.accepts else True

    def answers_at(self, channel: int, cycle: int) -> bool:
        return at(self.answers[channel], cycle) if self.answers else True


@dataclass
class FetcherMoves:
    """Cycles of what moved."""

    requests: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)  # beats of indices
    addresses: list[list[int]] = field(default_factory=list)  # by channel
    answers: list[list[int]] = field(default_factory=list)  # by channel
    rows: list[int] = field(default_factory=list)  # beats of rows


def beats_of(config: FetcherConfig, matrix: Matrix) -> list[list[int | None]]:
    """Return the row indices beat by beat, None for a lane that fetches nothing."""
    lanes = config.lanes
    rows = list(matrix.indices)
    return [rows[first : first + lanes] for first in range(0, len(rows), lanes)]


@dataclass
class _Beat:
    size: int
    starts: dict[int, int]  # first transaction by lane, of the lanes that fetch
    done: dict[int, int] = field(init=False)  # transactions by lane, of the side that counts

    def __post_init__(self) -> None:
        self.done = dict.fromkeys(self.starts, 0)

    @property
    def finished(self) -> bool:
        return all(done == self.size for done in self.done.values())

    def missing(self) -> list[tuple[int, int]]:
        """Return (lane, next transaction) of the lanes that are not done, the lowest first."""
        return [
            (lane, start + self.done[lane])
            for lane, start in self.starts.items()
            if self.done[lane] != self.size
        ]


def fetcher_moves(
    config: FetcherConfig,
    matrices: Sequence[Matrix],
    memory: MemoryTiming,
    offer_request: Sequence[bool],
    offer_indices: Sequence[bool],
    ready: Sequence[bool],
) -> FetcherMoves:
    """Return when everything moves.

    Args:
        config: the fetcher.
        matrices: one after another; each has at least one index.
        memory: when addresses are taken and data come.
        offer_request, offer_indices, ready: of the sources and the sink, by cycle.
    """
    run = FetcherRun(config, memory)
    run.ask(matrices)
    while run.busy:
        cycle = run.cycle
        run.step(at(offer_request, cycle), at(offer_indices, cycle), at(ready, cycle))
    return run.moves


class FetcherRun:
    """The registers that decide when something moves, stepped cycle by cycle.

    With `line_rows` the beats that leave are handed on in lines of so many lanes, one a cycle, up
    to the last one that holds a row; else a beat leaves when the sink is ready.

    Attributes:
        cycle: that comes next.
        indices_left: beats of indices that have not been taken.
        busy: something is still to come.
        moves: what has moved.
    """

    def __init__(
        self, config: FetcherConfig, memory: MemoryTiming, line_rows: int | None = None
    ) -> None:
        self.config, self.memory, self._line_rows = config, memory, line_rows
        channels = config.channels
        self.cycle = 0
        self._requests = 0  # that have not been taken
        self._beats: deque[tuple[_Beat, bool]] = deque()  # likewise, and which ends a matrix
        self._offers_request = self._offers_indices = self._open_request = False
        self._issuing: _Beat | None = None
        self._order: deque[_Beat] = deque()
        self._leaving = 0  # lines at the output that have not been handed on
        self._address: list[int | None] = [None] * channels  # lane whose address is offered
        self._owners: list[deque[int]] = [deque() for _ in range(channels)]  # answers to come
        self._queues: list[deque[int]] = [deque() for _ in range(channels)]  # lanes of answers here
        self._under_way = [0] * channels
        self._due: list[deque[int]] = [deque() for _ in range(channels)]  # in the memory
        self._answering = [False] * channels
        self.moves = _no_moves(channels)

    @property
    def indices_left(self) -> int:
        return len(self._beats)

    @property
    def busy(self) -> bool:
        return bool(self._beats or self._order or self._leaving)

    def ask(self, matrices: Sequence[Matrix]) -> None:
        """Let matrices be fetched behind what there is, from this cycle on."""
        for matrix in matrices:
            parts = beats_of(self.config, matrix)
            self._beats.extend((_beat(matrix, rows), rows is parts[-1]) for rows in parts)
        self._requests += len(matrices)

    def ahead(self) -> FetcherRun:
        """Return a run of its own in the same state, which has not recorded any moves."""
        run = copy(self)
        run.moves = _no_moves(self.config.channels)
        for name, value in vars(self).items():
            if name not in ("config", "memory", "moves"):
                setattr(run, name, deepcopy(value))
        return run

    def step(
        self, offers_request: bool = True, offers_indices: bool = True, ready: bool = True
    ) -> None:
        """Move what can move in one cycle, given what sources may offer and the sink takes."""
        cycle, moves = self.cycle, self.moves
        self._offers_request |= self._requests > 0 and offers_request
        self._offers_indices |= bool(self._beats) and offers_indices
        leaves = self._leaving == 1 and ready
        pops = self._pops()
        grants = self._grants(cycle)
        answers = self._answers(cycle)
        finishing = self._issuing is None or self._finishes(grants)
        room = len(self._order) < self.config.beats
        takes = self._offers_indices and self._open_request and finishing and room
        if self._offers_request and not self._open_request:
            moves.requests.append(cycle)
            self._requests -= 1
            self._offers_request, self._open_request = False, True
        self._apply(cycle, grants, answers, pops)
        if finishing:
            self._issuing = None
        if leaves:
            moves.rows.append(cycle)
        if self._leaving > 1:
            self._leaving -= ready
        else:
            self._hand_on(leaves)
        if takes:
            beat, last = self._beats.popleft()
            moves.indices.append(cycle)
            self._offers_indices = False
            self._issuing = _Beat(beat.size, beat.starts)
            self._order.append(_Beat(beat.size, beat.starts))
            self._open_request = not last
        self.cycle += 1

    def _hand_on(self, leaves: bool) -> None:
        """Let the oldest beat go to the output, if it is complete and there is room."""
        if self._leaving and not leaves:
            return
        self._leaving = 0
        if self._order and self._order[0].finished:
            highest = max(self._order.popleft().starts, default=0)
            self._leaving = highest // self._line_rows + 1 if self._line_rows else 1

    def _grants(self, cycle: int) -> dict[int, int]:
        """Return channel -> lane of the addresses that enter the channels' registers."""
        grants: dict[int, int] = {}
        if self._issuing is None:
            return grants
        for lane, transaction in self._issuing.missing():
            channel = transaction % self.config.channels
            free = self._address[channel] is None or self.memory.accepts_at(channel, cycle)
            room = self._under_way[channel] < self.config.queue_depth
            if channel not in grants and free and room:
                grants[channel] = lane
        return grants

    def _finishes(self, grants: dict[int, int]) -> bool:
        beat = self._issuing
        assert beat is not None
        granted = set(grants.values())
        return all(done + (lane in granted) == beat.size for lane, done in beat.done.items())

    def _pops(self) -> list[tuple[int, int]]:
        """Return (lane, channel) of the answers that go into rows."""
        if not self._order:
            return []
        found = []
        for lane, transaction in self._order[0].missing():
            channel = transaction % self.config.channels
            queue = self._queues[channel]
            if queue and queue[0] == lane:
                found.append((lane, channel))
        return found

    def _answers(self, cycle: int) -> list[int]:
        """Return the channels whose memory gives data."""
        found = []
        for channel, due in enumerate(self._due):
            if due and due[0] <= cycle and not self._answering[channel]:
                self._answering[channel] = self.memory.answers_at(channel, cycle)
            if self._answering[channel]:
                found.append(channel)
        return found

    def _apply(
        self,
        cycle: int,
        grants: dict[int, int],
        answers: list[int],
        pops: list[tuple[int, int]],
    ) -> None:
        for lane, channel in pops:
            self._queues[channel].popleft()
            self._under_way[channel] -= 1
            self._order[0].done[lane] += 1
        for channel in answers:
            self.moves.answers[channel].append(cycle)
            self._answering[channel] = False
            self._due[channel].popleft()
            self._queues[channel].append(self._owners[channel].popleft())
        for channel, offered in enumerate(self._address):
            if offered is not None and self.memory.accepts_at(channel, cycle):
                self.moves.addresses[channel].append(cycle)
                self._due[channel].append(cycle + self.memory.latency_cycles)
                self._address[channel] = None
        for channel, lane in grants.items():
            assert self._issuing is not None
            self._address[channel] = lane
            self._owners[channel].append(lane)
            self._under_way[channel] += 1
            self._issuing.done[lane] += 1


def _no_moves(channels: int) -> FetcherMoves:
    return FetcherMoves(
        addresses=[[] for _ in range(channels)], answers=[[] for _ in range(channels)]
    )


def _beat(matrix: Matrix, rows: Sequence[int | None]) -> _Beat:
    starts = {
        lane: matrix.base + row * matrix.size for lane, row in enumerate(rows) if row is not None
    }
    return _Beat(matrix.size, starts)
