"""Timing of the head pipeline: when every line is filled, and every output leaves.

Nothing between the first array and the outputs ever waits but for the selection, because a query
is issued only when there is room for its output; so a query's cycles follow from the cycle in which
its first line of keys is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.blocks.handshake import at, next_move
from sim.blocks.head_pipeline import HeadPipelineConfig
from sim.blocks.softmax_stream import MAXIMUM_CYCLES, SCALE_STAGES, division_cycles

READ_TO_ARRAY_CYCLES = 1
"""a line asked for to its taking by an array"""


@dataclass(frozen=True)
class QueryWork:
    """What data decide of one query."""

    recompute: bool = False
    passes_cycles: int = 0  # of the selection
    kept_lines: Sequence[tuple[int, int]] = ()
    """(number, lines) of the top-k engine's input rows that leave it; empty: no selection"""


@dataclass(frozen=True)
class HeadWork:
    """One head."""

    keys: int
    queries: Sequence[QueryWork]
    lsb: bool = False
    late: bool = False
    """one query that selects; V comes after the selection, only the lines that are kept"""

    @property
    def selects(self) -> bool:
        return any(query.kept_lines for query in self.queries)


@dataclass(frozen=True)
class Stalls:
    """By cycle: when sources may offer, when sinks are ready."""

    head: Sequence[bool] = ()
    query_fill: Sequence[bool] = ()
    key_fill: Sequence[bool] = ()
    value_fill: Sequence[bool] = ()
    lsb: Sequence[bool] = ()
    late: Sequence[bool] = ()
    o: Sequence[bool] = ()


@dataclass
class PipelineMoves:
    """Cycles in which items moved, and in which arrays were busy."""

    head: list[int] = field(default_factory=list)
    query_fill: list[int] = field(default_factory=list)
    key_fill: list[int] = field(default_factory=list)
    value_fill: list[int] = field(default_factory=list)
    lsb: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    o: list[int] = field(default_factory=list)
    issues: list[int] = field(default_factory=list)  # first line of each pass of a query
    weighed: list[int] = field(default_factory=list)  # lines into the second array


def pipeline_moves(
    config: HeadPipelineConfig, heads: Sequence[HeadWork], stalls: Stalls
) -> PipelineMoves:
    """Return when everything moves.

    Fills of a head with `lsb` are followed by its LSB lines, if any query is recomputed, and the
    next head's keys are offered only when its last output has left. A line of V of a late head is
    offered when it has been asked for.

    Args:
        config: the pipeline.
        heads: in order.
        stalls: of sources and sinks.
    """
    return PipelineRun(config, stalls).run(heads)


class PipelineRun:
    """What one query leaves behind for the next; `sim.blocks.core_stream` fills from memory."""

    def __init__(self, config: HeadPipelineConfig, stalls: Stalls) -> None:
        self.config, self.stalls = config, stalls
        self.moves = PipelineMoves()
        self.released: dict[str, list[int]] = {"query": [], "key": [], "value": []}
        self.filled = {"query": 0, "key": 0, "value": 0}
        self.queries: list[int] = []  # first lines, without second passes
        self.idle = 0  # from when a head is taken
        self.key_gate = 0  # from when the next head's keys may be offered
        self.read = self.scaled = self.left = -1  # last beats in the softmax, and out of it
        self.kept_read = self.kept_left = -1  # last beats in the decision's store, and out of it
        self.popped = self.selected = self.selection_free = -1
        self.wide_from, self.wide_taken = 0, -1  # a wide row waits from one cycle to another
        self.last: HeadWork | None = None

    def run(self, heads: Sequence[HeadWork]) -> PipelineMoves:
        for head in heads:
            self._head(head)
        return self.moves

    def _head(self, head: HeadWork) -> None:
        moves, n = self.moves, -(-head.keys // self.config.rows)
        cycle = self.load(head) + 1
        if self.last and self._needs_empty_pipeline(head, self.last):
            cycle = max(cycle, after(moves.o))
        has_lsbs = False
        for number, query in enumerate(head.queries):
            cycle = max(cycle, after(moves.o, len(self.queries) - self.config.results))
            cycle = max(cycle, self.selected + 1)
            self.queries.append(cycle)
            decision = self._scores(cycle, n)
            if query.recompute:
                self.kept_read = max(decision + 1, self.kept_read + 1) + n - 1
                if not has_lsbs:
                    decision = self.load_low_bits(n, decision + 1)
                    has_lsbs = True
                decision = self._scores(decision + 1, n)
            cycle = decision + 1 if head.lsb else cycle + n
            last = number == len(head.queries) - 1
            if last:
                self._release(head, cycle, n)
            lines_end = self._values(query, decision, n, head.late)
            if last:
                self.released["value"].append(lines_end)
            self._leave(lines_end + READ_TO_ARRAY_CYCLES + self.config.prob_value.latency_cycles)
        if head.lsb:
            self.key_gate = moves.o[-1] + 1
        self.last = head

    def _needs_empty_pipeline(self, head: HeadWork, last: HeadWork) -> bool:
        return head.lsb or last.lsb or head.selects != last.selects

    def _release(self, head: HeadWork, cycle: int, n: int) -> None:
        """Note that queries and keys are free; with `lsb` that takes a cycle of its own."""
        self.released["key"].append(cycle if head.lsb else cycle - 1)
        self.released["query"].append(cycle if head.lsb else cycle - n)
        self.idle = cycle + 1 if head.lsb else cycle

    def load(self, head: HeadWork) -> int:
        """Fill a head's matrices and take it; return the cycle after which it may start."""
        n = -(-head.keys // self.config.rows)
        lines = {"query": -(-len(head.queries) // self.config.rows), "key": n, "value": n}
        if head.late:
            del lines["value"]
        filled = [self._fill(name, [0] * number) for name, number in lines.items()]
        taken = next_move(self.stalls.head, after(self.moves.head), self.idle)
        self.moves.head.append(taken)
        return max(taken, *filled)

    def _fill(self, name: str, lines: Sequence[int]) -> int:
        """Fill a matrix; return the cycle of its last line.

        Args:
            name: of the buffer.
            lines: from when each may be offered.
        """
        moves: list[int] = getattr(self.moves, f"{name}_fill")
        released = self.released[name]
        number = self.filled[name]
        halves = self.config.buffer.halves
        free = released[number - halves] + 1 if number >= halves else 0
        gate = self.key_gate if name == "key" else 0
        for line in lines:
            offered = max(after(moves), gate, line)
            moves.append(next_move(getattr(self.stalls, f"{name}_fill"), offered, free))
        self.filled[name] += 1
        return moves[-1]

    def load_low_bits(self, lines: int, wanted: int) -> int:
        """Ask for low bits from a cycle on and fill them; return the last line's cycle."""
        asked = first_ready(self.stalls.lsb, wanted)
        self.moves.lsb.append(asked)
        moves = self.moves.key_fill
        for _ in range(lines):
            offered = max(after(moves), asked + 1)
            moves.append(next_move(self.stalls.key_fill, offered, 0))
        return moves[-1]

    def load_late_values(self, rows: Sequence[int], wanted: int) -> int:
        """Tell rows of V from a cycle on and fill their lines; return the last one's cycle."""
        asked, offered = wanted - 1, []
        for lines in rows:
            asked = first_ready(self.stalls.late, asked + 1)
            self.moves.late.append(asked)
            offered += [asked + 1] * lines
        return self._fill("value", offered)

    def _scores(self, first: int, n: int) -> int:
        """Issue a query from a cycle on; return the cycle of its decision."""
        config = self.config
        self.moves.issues.append(first)
        last_score = first + n - 1 + READ_TO_ARRAY_CYCLES + config.query_key.latency_cycles
        self.read = max(last_score + MAXIMUM_CYCLES, self.read + 1) + n - 1
        self.scaled = max(self.read + division_cycles(config.softmax), self.scaled + 1) + n - 1
        return self.scaled + SCALE_STAGES + 1

    def _values(self, query: QueryWork, decision: int, n: int, late: bool) -> int:
        """Return the cycle in which the query's last line of values is read."""
        if not query.kept_lines:
            start = max(decision + 1, self.kept_read + 1)
            self.kept_read = start + n - 1
            self.kept_left = start + n
            return self._weigh([start + 1 + line for line in range(n)])
        self.selected = max(decision + 1, self.popped + 1, self.selection_free)
        loaded = self._widen(decision, n)
        reads = self._select(query, loaded)
        if late:
            filled = self.load_late_values([n for _, n in query.kept_lines], reads[-1] + 1)
            reads = [filled + 1 + line for line in range(len(reads))]
        return self._weigh(reads)

    def _weigh(self, reads: list[int]) -> int:
        """Read lines of values; return the last one's cycle."""
        self.moves.weighed += [read + READ_TO_ARRAY_CYCLES for read in reads]
        self.popped = reads[-1]
        return self.popped

    def _widen(self, decision: int, n: int) -> int:
        """Hand probabilities to the top-k engine; return the cycle of its last row."""
        parts = self.config.topk_lanes // self.config.rows
        for beat in range(n):
            read = max(decision + 1, self.kept_read + 1, self.kept_left)
            leaves = max(read + 1, self.kept_left + 1)
            if self.wide_from <= leaves < self.wide_taken:
                leaves = self.wide_taken
            self.kept_read, self.kept_left = read, leaves
            if beat == n - 1 or beat % parts == parts - 1:
                self.wide_from = leaves + 1
                self.wide_taken = max(leaves + 1, self.selected + 1, self.wide_taken + 1)
        return self.wide_taken

    def _select(self, query: QueryWork, loaded: int) -> list[int]:
        """Return the cycles of the lines that the selection gives."""
        leaves = []
        start = loaded + 1 + query.passes_cycles + self.config.topk.pass_overhead_cycles
        end = -1  # of the lines of the row before
        for number, lines in query.kept_lines:
            taken = max(start + number, end)
            start = taken - number
            end = taken + lines
            leaves += [taken + 1 + line for line in range(lines)]
        self.selection_free = start + query.kept_lines[-1][0] + 1
        return leaves

    def _leave(self, pushed: int) -> None:
        self.moves.o.append(first_ready(self.stalls.o, max(pushed + 1, after(self.moves.o))))


def after(cycles: Sequence[int], number: int | None = None) -> int:
    """Return the cycle after that of an item, by default the last; 0 for one before the first."""
    number = len(cycles) - 1 if number is None else number
    return cycles[number] + 1 if number >= 0 else 0


def first_ready(ready: Sequence[bool], cycle: int) -> int:
    """Return the first cycle from one on in which a sink is ready."""
    while not at(ready, cycle):
        cycle += 1
    return cycle
