"""Timing of the attention path in hardware, behind streams: cycle by cycle, with stalls.

The array and the tree behind it stand still as a whole while a sum at their end finds no place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sim.blocks.exp_block_stream import ExpBlockTimes
from sim.blocks.handshake import at
from sim.blocks.packed_mac import MAC_LATENCY_CYCLES
from sim.blocks.value_accumulate_stream import ValueAccumulateTimes
from sim.blocks.w2a8kv4_attention import W2A8KV4AttentionConfig

QUERY_BEATS = 2
SOURCES = ("command", "query", "beats", "tokens")


class Row(NamedTuple):
    """Size of a row of attention."""

    keys: int
    channels: int


class Beat(NamedTuple):
    """A beat of codes: of a value or a key, the last of its block, the row's last of its kind."""

    value: bool
    last: bool
    ends: bool


class Result(NamedTuple):
    """What the array sums: a block of values or one or two keys."""

    value: bool
    two: bool
    last: bool
    ends: bool
    beats: int  # of sums, of a block of values


class AttentionMoves(NamedTuple):
    """Cycles in which items of the streams moved."""

    command: list[int]
    query: list[int]
    beats: list[int]
    tokens: list[int]
    o: list[int]


def beat_order(keys: int, block: int) -> list[Beat]:
    """Return the beats of a row: blocks of keys, a block ahead of the values."""

    def kind(value: bool) -> list[list[Beat]]:
        beats = [
            Beat(value, t == keys - 1 or t % block == block - 1, t == keys - 1) for t in range(keys)
        ]
        return [beats[start : start + block] for start in range(0, keys, block)]

    keys_of, values_of = kind(False), kind(True)
    order = keys_of[0]
    for ahead, values in zip(keys_of[1:], values_of, strict=False):
        order = [*order, *ahead, *values]
    return [*order, *values_of[-1]]


def attention_moves(
    config: W2A8KV4AttentionConfig,
    rows: Sequence[Row],
    offers: Mapping[str, Sequence[bool]],
    ready: Sequence[bool],
) -> AttentionMoves:
    """Return when everything moves.

    - A command is taken when none waits, its query's two beats when the row before has multiplied
      its last keys. A row begins when both are there and the row before has multiplied its last
      value.
    - A beat waits in a register. Two keys are multiplied in the cycle in which the second one is
      taken and the one after (a block's odd last key alone, the register kept), a value when its
      weight is there. A beat is taken when the register is empty or emptied.
    - `MAC_LATENCY_CYCLES` later the array holds the sums. Those of keys go through the tree, the
      second key's a cycle behind, meet their tokens at its end, and pass the dequantiser; those
      of values are moved to a register from which they leave in beats.
    - All of this but the dequantiser stands still while a score has no token or place, or while
      sums of values wait for the register.

    Args:
        config: the path.
        rows: one after another.
        offers: of the sources (`SOURCES`), by cycle.
        ready: of the sink, by cycle.
    """
    path, cycle = AttentionPath(config, rows, offers, ready), 0
    while not path.over:
        path.offer(cycle)
        path.step(cycle, moves=not path.waits(cycle), may_start=True)
        cycle += 1
    return path.moved


class AttentionPath:
    """State of the path, and what moved. In each cycle: `offer`, `waits`, then `step`."""

    def __init__(
        self,
        config: W2A8KV4AttentionConfig,
        rows: Sequence[Row],
        offers: Mapping[str, Sequence[bool]],
        ready: Sequence[bool],
    ) -> None:
        self._config, self._rows, self._offers, self._ready = config, rows, offers, ready
        keys = sum(row.keys for row in rows)
        self._counts = {
            "command": len(rows),
            "query": QUERY_BEATS * len(rows),
            "beats": 2 * keys,
            "tokens": keys,
        }
        self._offering = dict.fromkeys(SOURCES, False)
        self._moved: dict[str, list[int]] = {name: [] for name in SOURCES}
        self._exponential = ExpBlockTimes(config.exponential)
        self._accumulate = ValueAccumulateTimes()
        self._ends: list[bool] = []  # of blocks, in the order in which they pass
        # the row under way and the one that waits
        self._waits, self._loaded, self._query_free = False, 0, True
        self._row = -1
        self._active = False
        self._left: deque[Beat] = deque()
        # the register of a beat, and whether the second half of keys is to come
        self._beat: Beat | None = None
        self._second, self._two = False, False
        self._array: list[Result | None] = [None] * MAC_LATENCY_CYCLES
        self._second_key: tuple[bool, bool] | None = None
        self._tree: list[tuple[bool, bool] | None] = [None] * config.tree_stages
        self._dequant: list[tuple[bool, bool] | None] = [None] * config.dequant.latency_cycles
        self._drain: list[bool] = []  # beats of sums: whether each is the last

    @property
    def over(self) -> bool:
        """Whether all outputs have left."""
        outputs = sum(row.channels // self._config.lanes for row in self._rows)
        return len(self._accumulate.outputs) == outputs

    @property
    def moved(self) -> AttentionMoves:
        """Cycles in which items moved so far."""
        return AttentionMoves(**self._moved, o=self._accumulate.outputs)

    @property
    def active(self) -> bool:
        """Whether a row is under way."""
        return self._active

    def offer(self, cycle: int) -> None:
        """Let sources offer what they may."""
        for name in SOURCES:
            more = len(self._moved[name]) < self._counts[name]
            self._offering[name] |= more and at(self._offers[name], cycle)

    def waits(self, cycle: int) -> bool:
        """Tell whether a sum at the end of array or tree finds no place."""
        drain_free = not self._drain or (self._drains(cycle) and self._drain[0])
        result, score = self._array[-1], self._tree[-1]
        values_wait = result is not None and result.value and not drain_free
        meets = self._offering["tokens"] and self._dequant_moves(cycle)
        return values_wait or not (score is None or meets)

    def step(self, cycle: int, moves: bool, may_start: bool) -> None:
        """Go to the next cycle.

        Args:
            cycle: this one.
            moves: whether the array does; not while something `waits`.
            may_start: whether a row may begin.
        """
        result, score = self._array[-1], self._tree[-1]
        drained, dequant_moves = self._drains(cycle), self._dequant_moves(cycle)
        pushed = self._dequant[-1] is not None and dequant_moves
        issued, over, keys_over = self._issue(cycle, moves, self._exponential.offers(cycle))
        self._load_row(cycle, over, keys_over, may_start)
        self._pass_on(cycle, drained, pushed)
        if dequant_moves:
            entering = score if moves else None
            self._dequant = [entering, *self._dequant[:-1]]
            if entering is not None:
                self._note("tokens", cycle)
        if moves:
            self._advance(result, issued)

    def _drains(self, cycle: int) -> bool:
        return bool(self._drain) and self._accumulate.ready_for_sums(cycle)

    def _dequant_moves(self, cycle: int) -> bool:
        return self._dequant[-1] is None or self._exponential.ready(cycle)

    def _issue(self, cycle: int, moves: bool, weight: bool) -> tuple[Result | None, bool, bool]:
        """Multiply what is there and take a beat; return what enters the array, and row's ends."""
        beat, second = self._beat, self._second
        alone = beat is not None and not beat.value and beat.last and not second
        if not moves:
            return None, False, False
        room = beat is None or second or (weight if beat.value else not alone)
        takes = room and bool(self._left) and self._offering["beats"]
        issued: Result | None = None
        over = keys_over = False
        if beat is not None and second:
            issued = Result(False, self._two, beat.last, beat.ends, 0)
            self._beat, self._second, keys_over = None, False, beat.ends
        elif beat is not None and beat.value and weight:
            beats = self._rows[self._row].channels // self._config.lanes
            issued = Result(True, False, beat.last, beat.ends, beats) if beat.last else None
            self._exponential.leave(cycle)
            self._beat, over = None, beat.ends
        elif beat is not None and not beat.value and (alone or takes):
            self._second, self._two = True, not alone
        if takes:
            self._beat = self._left.popleft()
            self._note("beats", cycle)
        return issued, over, keys_over

    def _load_row(self, cycle: int, over: bool, keys_over: bool, may_start: bool) -> None:
        """Begin the row that waits, or take its command and query."""
        starts = self._loaded == QUERY_BEATS and (over or not self._active) and may_start
        takes_query = self._waits and self._query_free and self._loaded < QUERY_BEATS
        if not self._waits and self._offering["command"]:
            self._waits = True
            self._note("command", cycle)
        if takes_query and self._offering["query"]:
            self._loaded += 1
            self._note("query", cycle)
        if keys_over:
            self._query_free = True
        if over:
            self._active = False
        if starts:
            self._waits, self._loaded, self._query_free, self._active = False, 0, False, True
            self._row += 1
            self._left = deque(beat_order(self._rows[self._row].keys, self._config.block))

    def _pass_on(self, cycle: int, drained: bool, pushed: bool) -> None:
        """Move keys, blocks, sums and outputs between the units behind the array."""
        block = self._exponential.offers_block(cycle) and self._accumulate.ready(cycle)
        if pushed:
            key = self._dequant[-1]
            assert key is not None
            self._exponential.take(cycle, key[0])
            if key[0]:
                self._ends.append(key[1])
        if block:
            number = len(self._exponential.blocks)
            self._exponential.leave_block(cycle)
            self._accumulate.take(cycle, self._ends[number])
        elif drained:
            self._accumulate.take_sums(cycle, self._drain.pop(0))
        elif self._accumulate.offers(cycle) and at(self._ready, cycle):
            self._accumulate.leave(cycle)

    def _advance(self, result: Result | None, issued: Result | None) -> None:
        """Move the array and the tree behind it."""
        score, self._second_key = self._second_key, None
        if result is not None and result.value:
            self._drain = [number == result.beats - 1 for number in range(result.beats)]
        elif result is not None:
            ends = (result.last, result.ends)
            score = (False, False) if result.two else ends
            self._second_key = ends if result.two else None
        self._tree = [score, *self._tree[:-1]]
        self._array = [issued, *self._array[:-1]]

    def _note(self, name: str, cycle: int) -> None:
        self._moved[name].append(cycle)
        self._offering[name] = False
