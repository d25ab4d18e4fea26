"""Single faults in the blocks, each of which the bench of one block and size must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtl.registry import find_block


@dataclass(frozen=True)
class Mutant:
    """A text that stands once in a file, and what is put in its place."""

    name: str
    file: str
    original: str
    replacement: str
    block: str
    size: int = -1  # of the block's sizes

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the size."""
        return find_block(self.block).sizes[self.size]


_TOPK = {"file": "rtl/topk.py", "block": "topk"}
_SOFTMAX = {"file": "rtl/softmax.py", "block": "softmax"}
_QUERY_KEY = {"file": "rtl/query_key.py", "block": "query_key"}
_PROB_VALUE = {"file": "rtl/prob_value.py", "block": "prob_value"}
_IMPORTANCE = {"file": "rtl/importance.py", "block": "importance"}
_CASCADE = {"file": "rtl/cascade.py", "block": "cascade"}
_CORE = {"file": "rtl/core.py", "block": "core"}
_FETCHER = {"file": "rtl/fetcher.py", "block": "fetcher"}
_BUFFER = {"file": "rtl/line_buffer.py", "block": "line_buffer"}
_MAC = {"file": "rtl/packed_mac.py", "block": "packed_mac"}
_SELECTOR = {"file": "rtl/sparse_selector.py", "block": "sparse_selector"}
_DEQUANT = {"file": "rtl/group_dequant.py", "block": "group_dequant"}
_UNPACKER = {"file": "rtl/weight_unpacker.py", "block": "weight_unpacker"}
_ENGINE = {"file": "rtl/w2a8kv4_linear.py", "block": "w2a8kv4"}

MUTANTS = (
    Mutant(
        "comparator: a flipped comparison",
        "rtl/comparator.py",
        "element > pivot",
        "element >= pivot",
        "comparator",
    ),
    Mutant(
        "comparator: an element beyond the count takes part",
        "rtl/comparator.py",
        "count > lane",
        "count >= lane",
        "comparator",
    ),
    Mutant(
        "eliminator: kept and moved elements swapped",
        "rtl/eliminator.py",
        "current[above], stays)",
        "stays, current[above])",
        "eliminator",
    ),
    Mutant(
        "streams: a pipeline that moves although its output waits",
        "rtl/streams.py",
        "return ~output.valid | output.ready",
        "return ~output.valid | output.valid",
        "eliminator",
    ),
    Mutant(
        "streams: a pipeline that fills no empty stage",
        "rtl/streams.py",
        "return ~output.valid | output.ready",
        "return output.ready",
        "comparator",
    ),
    Mutant(
        "topk: ties keep one element too many",
        original="(seen + ranks[lane] < equals_kept)",
        replacement="(seen + ranks[lane] <= equals_kept)",
        **_TOPK,
    ),
    Mutant(
        "topk: another pass where the pivot is the k-th largest",
        original="above_total > target",
        replacement="above_total >= target",
        **_TOPK,
    ),
    Mutant(
        "topk: equal elements of the vector before are remembered",
        original="m.d.sync += seen.eq(0)",
        replacement="m.d.sync += seen.eq(seen)",
        **_TOPK,
    ),
    Mutant(
        "softmax: no rounding of the probabilities",
        original="(product + (1 << (DIVIDE_BITS - 1))) >> DIVIDE_BITS",
        replacement="product >> DIVIDE_BITS",
        **_SOFTMAX,
    ),
    Mutant(
        "softmax: the division subtracts only what is smaller",
        original="fits = larger_rest >= total",
        replacement="fits = larger_rest > total",
        **_SOFTMAX,
    ),
    Mutant(
        "softmax: maximum and score swapped",
        original="(maximum - score)[: len(score)]",
        replacement="(score - maximum)[: len(score)]",
        **_SOFTMAX,
    ),
    Mutant(
        "rows: a beat is taken into a full store",
        "rtl/rows.py",
        "self.room.eq(level != depth)",
        "self.room.eq(1)",
        "softmax",
    ),
    Mutant(
        "requant: a probability at the threshold is too small",
        "rtl/requant.py",
        "newest < request.threshold",
        "newest <= request.threshold",
        "requant",
    ),
    Mutant(
        "requant: rows leave before their decision is taken",
        "rtl/requant.py",
        "told.eq(self.decision.valid & self.decision.ready)",
        "told.eq(self.decision.valid)",
        "requant",
    ),
    Mutant(
        "query_key: keys without a sign",
        original="query[lane] * line.data[lane] for",
        replacement="query[lane] * line.data[lane].as_unsigned() for",
        **_QUERY_KEY,
    ),
    Mutant(
        "query_key: a level adds one dimension too late",
        original="adds = dim_log2 >= level",
        replacement="adds = dim_log2 > level",
        **_QUERY_KEY,
    ),
    Mutant(
        "prob_value: sums of the query before go on",
        original="Mux(begins, 0, held[lane])",
        replacement="held[lane]",
        **_PROB_VALUE,
    ),
    Mutant(
        "prob_value: a row beyond the count is added",
        original="line.count > row",
        replacement="line.count >= row",
        **_PROB_VALUE,
    ),
    Mutant(
        "importance: a sum wraps instead of staying at its largest value",
        original="Mux(total[bits:].any(), (1 << bits) - 1, total[:bits])",
        replacement="total[:bits]",
        **_IMPORTANCE,
    ),
    Mutant(
        "importance: a sum of the row before is read too early",
        original="memory.read_port(transparent_for=(write,))",
        replacement="memory.read_port()",
        **_IMPORTANCE,
    ),
    Mutant(
        "importance: a load is added to what is there",
        original="Mux(replaces, loaded, total)",
        replacement="Mux(replaces, loaded + read.data, total)",
        **_IMPORTANCE,
    ),
    Mutant(
        "head_importance: elements are added with their sign",
        "rtl/importance.py",
        "abs(row.data[lane])",
        "row.data[lane].as_unsigned()",
        "head_importance",
    ),
    Mutant(
        "fetcher: the lowest lane does not come first",
        original="(want[lane] == channel) & ~taken)",
        replacement="(want[lane] == channel))",
        **_FETCHER,
    ),
    Mutant(
        "fetcher: a channel is asked for one answer too many",
        original="under_way < config.queue_depth",
        replacement="under_way <= config.queue_depth",
        **_FETCHER,
    ),
    Mutant(
        "fetcher: a row is whole without the lanes behind one that fetches nothing",
        original="full.append(~beat.mask[lane] |",
        replacement="full.append(~beat.mask[: lane + 1].all() |",
        **_FETCHER,
    ),
    Mutant(
        "line_buffer: the LSBs appear in a read without them",
        original=" & with_lsbs.replicate(low)",
        replacement="",
        **_BUFFER,
    ),
    Mutant(
        "line_buffer: a release frees the half although nothing is read",
        original="frees.eq(reads & read.release)",
        replacement="frees.eq(self.read.valid & read.release)",
        **_BUFFER,
    ),
    Mutant(
        "converter: low bits are moved up instead of high ones",
        "rtl/converter.py",
        "config.lsb_bits if plane == MSB else 0",
        "config.lsb_bits if plane == LSB else 0",
        "converter",
    ),
    Mutant(
        "head pipeline: keys are read with low bits the first time too",
        "rtl/head_pipeline.py",
        "keys.read.payload.full.eq(full | ~head.lsb)",
        "keys.read.payload.full.eq(1)",
        "head_pipeline",
    ),
    Mutant(
        "head pipeline: a query does not wait for the selection before",
        "rtl/head_pipeline.py",
        "(full | ~selecting)",
        "(full | ~selecting | selecting)",
        "head_pipeline",
    ),
    Mutant(
        "scatter: the last line is marked before all have left",
        "rtl/widen.py",
        "held.last & ends",
        "held.last",
        "head_pipeline",
    ),
    Mutant(
        "scatter: a kept row of probability 0 is not in the mask",
        "rtl/widen.py",
        "kept = kept | mine",
        "kept = kept | (mine & held.data[lane].any())",
        "head_pipeline",
    ),
    Mutant(
        "late lines: the first one is told before the selection has ended",
        "rtl/late.py",
        "m.d.comb += self.i.ready.eq(1)",
        "m.d.comb += [self.i.ready.eq(1), self.late.valid.eq(self.i.valid)]",
        "head_pipeline",
    ),
    Mutant(
        "core: queries are always gathered",
        "rtl/core.py",
        "Mux(plain, first + lane, listed)",
        "listed",
        "core",
    ),
    Mutant(
        "core: a head is fetched without room in the buffers",
        "rtl/core.py",
        "offers_head & has_room & fitting",
        "offers_head & fitting",
        "core",
    ),
    Mutant(
        "core: a late head's lines are fetched whole",
        "rtl/core.py",
        "self.chosen, late.mask,",
        "self.chosen, (1 << config.rows) - 1,",
        "core",
    ),
    Mutant(
        "core: V of a head overtakes that of a late one",
        "rtl/core.py",
        "(head.late | ~waiting.valid)",
        "Const(1)",
        "core",
    ),
    Mutant(
        "core: a late V is that of the head begun last",
        "rtl/core.py",
        "Mux(self.chosen, self.waiting.first, wanted.value_base)",
        "wanted.value_base",
        "core",
    ),
    Mutant(
        "cascade: the last tokens kept are not listed",
        original="packer.count != 0",
        replacement="packer.count > 1",
        **_CASCADE,
    ),
    Mutant(
        "cascade: a head that is not alive can be kept",
        original="alive.bit_select(place, 1)",
        replacement="1",
        **_CASCADE,
    ),
    Mutant(
        "cascade: all rows of probabilities meet the first tokens",
        original="Mux(row.last, 0, position + config.rows)",
        replacement="Mux(row.last, 0, 1)",
        **_CASCADE,
    ),
    Mutant(
        "cascade: a head's last outputs replace its importance",
        original="saturated(so_far + unit.o.payload.importance, config.importance_bits)",
        replacement="unit.o.payload.importance",
        **_CASCADE,
    ),
    Mutant(
        "cascade: a command is taken while a head's sum is under way",
        original="self.settled.eq(~numbers.valid & ~inside)",
        replacement="self.settled.eq(~inside)",
        **_CASCADE,
    ),
    Mutant(
        "core: tokens are selected while a head is under way",
        original="~command.is_head & ~numbers.valid",
        replacement="~command.is_head",
        **_CORE,
    ),
    Mutant(
        "core: a head that was dropped is run",
        original="has_room & fitting & alive",
        replacement="has_room & fitting",
        **_CORE,
    ),
    Mutant(
        "core: outputs count for the head that is fetched",
        original="payload.head.eq(loader.number)",
        replacement="payload.head.eq(loader.wanted.number)",
        **_CORE,
    ),
    Mutant(
        "packed_mac: a negative activation borrows nothing from the other",
        original="above = other - factor[-1]",
        replacement="above = Cat(other, factor[-1].replicate(8))",
        **_MAC,
    ),
    Mutant(
        "packed_mac: no rounding of the high lane",
        original="Const(1 << (start - 1), 48)",
        replacement="Const(0, 48)",
        **_MAC,
    ),
    Mutant(
        "packed_mac: sums of two tokens start as those of bytes",
        original="self._chosen(early[3:], halves)",
        replacement="self._chosen(late[3:], halves)",
        **_MAC,
    ),
    Mutant(
        "mac_array: a cycle without an item is summed",
        "rtl/packed_mac.py",
        "self.sums = moves & late[0]",
        "self.sums = moves",
        "mac_array",
    ),
    Mutant(
        "mac_array: the primitive adds to what it held",
        "rtl/dsp48.py",
        "START = 0b00_011_01_01",
        "START = 0b01_011_01_01",
        "mac_array",
        size=0,
    ),
    Mutant(
        "sparse_selector: the second kept weight of two tokens is taken for the first",
        original="Mux(pair & second, positions[1], positions[0])",
        replacement="Mux(second, positions[1], positions[0])",
        **_SELECTOR,
    ),
    Mutant(
        "sparse_selector: the other token is that of this one",
        original="pair, there.word_select(two, ACTIVATION_BITS)",
        replacement="pair, here.word_select(two, ACTIVATION_BITS)",
        **_SELECTOR,
    ),
    Mutant(
        "group_dequant: subnormal scales have the hidden bit",
        original="normal = exponent.any()",
        replacement="normal = exponent.any() | ~exponent.any()",
        **_DEQUANT,
    ),
    Mutant(
        "group_dequant: a zero point of 2 is taken for 1",
        original="group.kept << 1",
        replacement="group.kept",
        **_DEQUANT,
    ),
    Mutant(
        "group_dequant: a row begins with the sum of the one before",
        original="Mux(first, 0, read.data.as_signed())",
        replacement="read.data.as_signed()",
        **_DEQUANT,
    ),
    Mutant(
        "weight_unpacker: the last superblock has all its metadata beats",
        original="(left <= enough)",
        replacement="(left < enough)",
        **_UNPACKER,
    ),
    Mutant(
        "weight_unpacker: metadata wait for an item to leave",
        original="have & (~in_data | advances(self.o))",
        replacement="have & advances(self.o)",
        **_UNPACKER,
    ),
    Mutant(
        "w2a8kv4: both tokens of a pair get the sum of the second",
        original="Mux(ahead, low, total) for low",
        replacement="Mux(ahead, total, total) for low",
        **_ENGINE,
    ),
    Mutant(
        "w2a8kv4: activations of the first kept weights alone meet the zero point",
        original="Mux(here.matrix, old, low)",
        replacement="Mux(here.matrix, 0, low)",
        **_ENGINE,
    ),
    Mutant(
        "w2a8kv4: the next row begins with the group behind the last",
        original="Mux(ends_row, asked.base, row_line + 1)",
        replacement="row_line + 1",
        **_ENGINE,
    ),
    Mutant(
        "w2a8kv4: a command's last beat lets the next command wait",
        original="command.ready.eq(~have | ends)",
        replacement="command.ready.eq(~have)",
        **_ENGINE,
    ),
)
