"""All blocks: name -> config, component and bench. Nothing heavy is imported until one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from workloads.config import Config, unknown_name
from workloads.errors import InputError

EXTRA = "pip install 'prunesim[rtl]'"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A component, its configuration and its bench."""

    name: str
    description: str
    config: str  # module:class
    component: str  # module:class
    sizes: tuple[Mapping[str, Any], ...]  # settings that are verified, the default first
    latency: str  # cycles from what to what
    throughput: str
    proven: tuple[str, ...] = field(default=())  # properties shown by bounded model checking

    @property
    def bench(self) -> str:
        """Module of cocotb tests."""
        return f"rtl.bench.{self.name}"

    def make_config(self, settings: Mapping[str, Any]) -> Config:
        """Return the configuration with some fields changed.

        Raises:
            InputError: an unknown field or an impossible value.
        """
        config: Config = _load(self.config)()
        return config.override(settings)

    def make(self, config: Config) -> Any:
        """Return the component.

        Raises:
            InputError: a combination that the component does not have, or Amaranth is missing.
        """
        if find_spec("amaranth") is None:
            raise InputError(f"amaranth must be installed for RTL, it is not: {EXTRA}")
        return _load(self.component)(config)


def find_block(name: str) -> Block:
    """Return a block by name.

    Raises:
        InputError: no such block.
    """
    if name not in BLOCKS:
        raise InputError(unknown_name("block", name, BLOCKS))
    return BLOCKS[name]


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


_RULE = "an offered item stays, unchanged, until it is taken"

_ALL = (
    Block(
        name="comparator",
        description="comparator array: the elements of a row against a pivot",
        config="sim.blocks.comparator:ComparatorConfig",
        component="rtl.comparator:ComparatorArray",
        latency="1 cycle",
        throughput="1 row of `lanes` elements a cycle",
        sizes=({}, {"lanes": 1, "width_bits": 1}, {"lanes": 7, "width_bits": 9}),
        proven=(
            "drops, repeats and reorders no row under stalls",
            "splits every row as compared",
            _RULE,
        ),
    ),
    Block(
        name="eliminator",
        description="zero eliminator: packs kept elements, by prefix sum and log shifter",
        config="sim.blocks.eliminator:EliminatorConfig",
        component="rtl.eliminator:ZeroEliminator",
        latency="1 cycle",
        throughput="1 row of `lanes` elements a cycle",
        sizes=({}, {"lanes": 1, "width_bits": 3}, {"lanes": 11, "width_bits": 5}),
        proven=(
            "loses and reorders no element",
            "drops and repeats no row under stalls",
            _RULE,
        ),
    ),
    Block(
        name="converter",
        description="bit-width converter: MSB, LSB and full-width rows to elements on chip",
        config="sim.blocks.converter:ConverterConfig",
        component="rtl.converter:Converter",
        latency="1 cycle",
        throughput="a line of rows a cycle",
        sizes=(
            {"rows": 4, "channels": 32},
            {"rows": 1, "channels": 1, "width_bits": 2, "lsb_bits": 1},
            {"rows": 3, "channels": 5, "width_bits": 9, "lsb_bits": 5},
        ),
        proven=(
            "each line leaves once, in order, as the golden function converts it, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="fetcher",
        description="matrix fetcher: rows by index from several memory channels, in order",
        config="sim.blocks.fetcher:FetcherConfig",
        component="rtl.fetcher:MatrixFetcher",
        latency="last answer of a beat to its rows: 2 cycles",
        throughput="a transaction a cycle, lane and channel; a beat of rows in `size` cycles",
        sizes=(
            {},
            {"lanes": 1, "channels": 1, "row_transactions": 1, "queue_depth": 1, "beats": 1},
            {"lanes": 3, "channels": 4, "transaction_bits": 24, "queue_depth": 3, "beats": 3},
        ),
        proven=(
            "rows leave in the order of their indices with the right data",
            "no queue overflows or underflows",
            _RULE,
        ),
    ),
    Block(
        name="line_buffer",
        description="key or value buffer: double-buffered lines of rows, LSBs as a plane",
        config="sim.blocks.line_buffer:LineBufferConfig",
        component="rtl.line_buffer:LineBuffer",
        latency="1 cycle",
        throughput="a line written and a line read each cycle",
        sizes=(
            {"lines": 64, "rows": 4, "channels": 32},
            {"halves": 3, "lines": 5, "rows": 3, "channels": 7, "width_bits": 9},
            {"halves": 1, "lines": 1, "rows": 1, "channels": 1, "width_bits": 3, "lsb_bits": 2},
        ),
        proven=(
            "a read gives what was written, once and in order, under stalls",
            "no half is filled while it is full or read while it is not",
            _RULE,
        ),
    ),
    Block(
        name="topk",
        description="top-k engine: quick-select over two memories, then an order-preserving filter",
        config="sim.blocks.topk:TopKConfig",
        component="rtl.topk:TopK",
        latency="last row in to last row out: ceil(size / lanes) + 3 cycles for each pass, and "
        "ceil(n / lanes) + 3 for the filter",
        throughput="`lanes` elements a cycle inside a pass; one selection at a time",
        sizes=({}, {"lanes": 1, "depth": 5, "width_bits": 3}, {"lanes": 4, "depth": 37}),
        proven=(
            "keeps exactly k, all of them at least as large as every rejected one; "
            "ties keep the lowest index",
            _RULE,
        ),
    ),
    Block(
        name="softmax",
        description="softmax: exponentials by table, their sum, one pipelined division a row",
        config="sim.blocks.softmax:SoftmaxUnitConfig",
        component="rtl.softmax:Softmax",
        latency="last of n beats of a row to its first probabilities: n + prob_bits + 26 cycles",
        throughput="`lanes` elements a cycle, whatever the rows' lengths",
        sizes=(
            {},
            {"lanes": 1, "fifo_rows": 5, "prob_bits": 16, "score_bits": 17},
            {"lanes": 3, "fifo_rows": 7, "prob_bits": 9, "score_bits": 11},
        ),
        proven=(
            "drops, repeats and reorders no beat under stalls",
            "its stores neither overflow nor underflow, for rows of up to 2 beats",
            _RULE,
        ),
    ),
    Block(
        name="requant",
        description="decision on recomputing a row, by its largest probability",
        config="sim.blocks.requant:RequantUnitConfig",
        component="rtl.requant:RequantDecision",
        latency="last beat of a row to its decision 1 cycle, to its first beat 3",
        throughput="`lanes` elements a cycle, whatever the rows' lengths",
        sizes=(
            {},
            {"lanes": 1, "fifo_rows": 1, "width_bits": 1},
            {"lanes": 3, "fifo_rows": 7, "width_bits": 5},
        ),
        proven=(
            "rows leave, once and in order, or are dropped as their maxima say",
            "its store neither overflows nor underflows",
            _RULE,
        ),
    ),
    Block(
        name="query_key",
        description="multipliers of a query with keys, and an adder tree that heads cut",
        config="sim.blocks.dotprod:QueryKeyConfig",
        component="rtl.query_key:QueryKey",
        latency="line to scores: `latency_cycles`, at least 2 + log2(multipliers)",
        throughput="a line of `multipliers` products a cycle, also from query to query",
        sizes=(
            {},
            {"multipliers": 32, "max_scores_per_cycle": 32, "width_bits": 16, "latency_cycles": 7},
            {"multipliers": 8, "max_scores_per_cycle": 4, "width_bits": 5, "latency_cycles": 7},
        ),
        proven=(
            "each line meets its own query and leaves once, in order, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="prob_value",
        description="multipliers of probabilities with values, summed by channel over a query",
        config="sim.blocks.dotprod:ProbValueUnitConfig",
        component="rtl.prob_value:ProbValue",
        latency="a query's last line to its sums: `latency_cycles`, at least 3",
        throughput="a line of `multipliers` products a cycle, also from query to query",
        sizes=(
            {},
            {"multipliers": 32, "max_rows_per_cycle": 1, "width_bits": 16, "latency_cycles": 4},
            {"multipliers": 8, "max_rows_per_cycle": 4, "width_bits": 5, "latency_cycles": 5},
        ),
        proven=(
            "each query gives one item, in order, of its own lines, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="importance",
        description="token importance: a memory of sums to which probabilities are added",
        config="sim.blocks.accumulate:ImportanceConfig",
        component="rtl.importance:ImportanceAccumulator",
        latency="a row to its sums 1 cycle; a dump to its first row 2",
        throughput="1 row of `lanes` probabilities a cycle",
        sizes=(
            {},
            {"lanes": 1, "tokens": 3, "prob_bits": 9, "sum_bits": 7},
            {"lanes": 4, "tokens": 21, "prob_bits": 6, "sum_bits": 13},
        ),
        proven=(
            "each sum is that of what was added, saturated",
            "a dump drops, repeats and reorders no row under stalls",
            _RULE,
        ),
    ),
    Block(
        name="head_importance",
        description="head importance: magnitudes of a head's outputs, added up",
        config="sim.blocks.accumulate:HeadImportanceConfig",
        component="rtl.importance:HeadImportance",
        latency="a head's last row to its sum: 2 + log2(lanes) cycles",
        throughput="1 row of `lanes` elements a cycle",
        sizes=(
            {},
            {"lanes": 1, "value_bits": 12, "sum_bits": 9},
            {"lanes": 5, "value_bits": 6, "sum_bits": 9},
        ),
        proven=(
            "each head gives one sum, in order, of its own rows, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="cascade",
        description="cascade controller: token list, importance of tokens and heads, their top-k",
        config="sim.blocks.cascade:CascadeConfig",
        component="rtl.cascade:CascadeController",
        latency="a selection of n, to the next command: 2 ceil(n / lanes) + 7 cycles, and the "
        "top-k engine's passes",
        throughput="a row of probabilities and one of outputs each cycle; `lanes` elements a cycle "
        "in a selection",
        sizes=(
            {},
            {
                "lanes": 1,
                "rows": 1,
                "channels": 1,
                "tokens": 3,
                "heads": 2,
                "prob_bits": 4,
                "value_bits": 7,
                "importance_bits": 6,
            },
            {
                "lanes": 4,
                "rows": 2,
                "channels": 3,
                "tokens": 12,
                "heads": 6,
                "prob_bits": 5,
                "value_bits": 9,
                "importance_bits": 8,
            },
        ),
        proven=(
            "a selection keeps exactly k tokens in order, none less important than a rejected one, "
            "and lists them",
            _RULE,
        ),
    ),
    Block(
        name="head_pipeline",
        description="attention of heads from filled buffers to outputs: all of the above together",
        config="sim.blocks.head_pipeline:HeadPipelineConfig",
        component="rtl.head_pipeline:HeadPipeline",
        latency="first of n lines of keys to the output: 4 n + log2(multipliers) + width_bits + 34 "
        "cycles",
        throughput="a line of `rows` keys and one of values each cycle, from query to query",
        sizes=(
            {"channels": 64, "rows": 1, "tokens": 128},
            {"channels": 2, "rows": 4, "tokens": 24, "topk_lanes": 8, "width_bits": 8},
            {"channels": 8, "rows": 2, "tokens": 24, "topk_lanes": 4, "results": 3},
        ),
        proven=(
            "in the first 22 cycles, 16 with two queries under way, with stand-ins for the "
            "arithmetic and the top-k engine: no query gives two outputs, a head's last is marked",
            "in these cycles no queue between its blocks overflows or underflows",
            "a head that does not fit is not taken",
            _RULE,
        ),
    ),
    Block(
        name="core",
        description="SpAtten's core: heads from memory to outputs, under cascade pruning",
        config="sim.blocks.core:CoreConfig",
        component="rtl.core:SpAttenCore",
        latency="see the timing model: fetch of Q, K and V, then the head pipeline",
        throughput="a line of keys and one of values each cycle while another head is fetched",
        sizes=(
            {"channels": 64, "rows": 1, "tokens": 128, "memory_channels": 2},
            {
                "channels": 2,
                "rows": 4,
                "tokens": 24,
                "topk_lanes": 8,
                "width_bits": 8,
                "heads": 5,
                "importance_bits": 20,
                "memory_channels": 4,
                "transaction_bits": 16,
                "queue_depth": 5,
            },
            {
                "channels": 8,
                "rows": 2,
                "tokens": 24,
                "topk_lanes": 4,
                "results": 3,
                "memory_channels": 2,
                "transaction_bits": 32,
                "queue_depth": 3,
                "beats": 3,
            },
        ),
        proven=(
            "in the first 32 cycles, with one token and one transaction at a time and stand-ins "
            "for the arithmetic, the top-k engine and the cascade controller: a refused head "
            "causes no address, no output",
            "in the first 24 of these no queue overflows or underflows",
            _RULE,
        ),
    ),
    Block(
        name="packed_mac",
        description="two products of 2, 4 or 8 bits on one DSP48E2, summed",
        config="sim.blocks.packed_mac:PackedMacConfig",
        component="rtl.packed_mac:PackedMac",
        latency="last operands of a sum to its lanes: 4 cycles",
        throughput="2 products a cycle",
        sizes=({"primitive": True}, {"lane_bits": 11, "mode": "8x2-sparse"}, {}),
        proven=(
            "each sum gives one output, in order, of its own items, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="mac_array",
        description="packed multiply-accumulates in step: the DSP slices of the W2A8KV4 engine",
        config="sim.blocks.mac_array:MacArrayConfig",
        component="rtl.mac_array:MacArray",
        latency="last operands of the sums to their lanes: 4 cycles",
        throughput="2 `dsps` products a cycle",
        sizes=({"primitive": True}, {"dsps": 1, "lane_bits": 11}, {"dsps": 7, "lane_bits": 19}),
    ),
    Block(
        name="sparse_selector",
        description="2:4 selector: the activations of kept weights, for one token or two",
        config="sim.blocks.sparse_selector:SparseSelectorConfig",
        component="rtl.sparse_selector:SparseSelector",
        latency="1 cycle",
        throughput="2 activations a quad each cycle",
        sizes=({}, {"quads": 1}, {"quads": 5}),
        proven=(
            "each item leaves once, in order, with the activations at its positions, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="group_dequant",
        description="W2 group dequantizer: zero point, FP16 scale, sums over the groups of a row",
        config="sim.blocks.group_dequant:GroupDequantConfig",
        component="rtl.group_dequant:GroupDequant",
        latency="last group of a row to its sum: 3 cycles",
        throughput="a group a cycle, also of several tokens in turn",
        sizes=({}, {"inputs": 4, "tokens": 2}, {"inputs": 20, "tokens": 7}),
        proven=(
            "each row gives one sum, in order, of its own token's groups, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="weight_unpacker",
        description="weight unpacker: superblocks of packed weights to groups and their metadata",
        config="sim.blocks.weight_unpacker:WeightUnpackerConfig",
        component="rtl.weight_unpacker:WeightUnpacker",
        latency="1 cycle",
        throughput="a beat of memory a cycle; of 8 beats 7 are data (512, 128 and 18 bits)",
        sizes=(
            {},
            {"beat_bits": 128},
            {"beat_bits": 64, "group_bits": 32, "metadata_bits": 19},
        ),
        proven=(
            "data leave once, in order, beside the metadata of their groups, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="w2a8kv4",
        description="W2A8KV4 engine: 2:4 sparse W2 weights times activations of one token or many",
        config="sim.blocks.w2a8kv4:W2A8KV4EngineConfig",
        component="rtl.w2a8kv4:W2A8KV4Engine",
        latency="a row's last step to its sums: 14 cycles",
        throughput="vectors: a beat of dsps / 16 groups a cycle; matrices: one in 2 cycles a pair",
        sizes=(
            {},
            {"dsps": 32, "lines": 6, "pairs": 1, "primitive": True},
            {"dsps": 16, "lines": 23, "pairs": 3},
        ),
    ),
    Block(
        name="kv4_dequant",
        description="KV4 dequantiser: dot products of codes to arguments of exponentials",
        config="sim.blocks.kv4_dequant:Kv4DequantConfig",
        component="rtl.kv4_dequant:Kv4Dequantizer",
        latency="6 cycles",
        throughput="1 key a cycle",
        sizes=({}, {"channels": 1, "tag_bits": 1}, {"channels": 37, "tag_bits": 5}),
        proven=("each key leaves once, in order, with its own tag, under stalls", _RULE),
    ),
    Block(
        name="exp_block",
        description="block-scaled exponentials: 8-bit weights of values, with the values' scales",
        config="sim.blocks.exp_block:ExpBlockConfig",
        component="rtl.exp_block:BlockExponential",
        latency="last of a block's n keys to its first weight: n + 10 cycles",
        throughput="1 key a cycle, whatever the blocks' lengths",
        sizes=({}, {"block": 1}, {"block": 7}),
        proven=(
            "drops, repeats and reorders no weight and no block under stalls",
            "its stores neither overflow nor underflow, for blocks of up to 2 keys",
            _RULE,
        ),
    ),
    Block(
        name="value_accumulate",
        description="running sums of attention over blocks of keys, and a row's one division",
        config="sim.blocks.value_accumulate:ValueAccumulateConfig",
        component="rtl.value_accumulate:ValueAccumulator",
        latency="last sums of a row to its first outputs: 25 cycles",
        throughput="`lanes` channels a cycle; 3 cycles between blocks",
        sizes=(
            {},
            {"channels": 2, "lanes": 1, "block": 1},
            {"channels": 15, "lanes": 3, "block": 7},
        ),
        proven=(
            "the first row's outputs leave once, in order, after all its sums, under stalls",
            _RULE,
        ),
    ),
    Block(
        name="kv_unpacker",
        description="KV unpacker: tokens' scales and zero points, and codes, from memory beats",
        config="sim.blocks.kv_unpacker:KvUnpackerConfig",
        component="rtl.kv_unpacker:KvUnpacker",
        latency="1 cycle for codes, 2 for metadata",
        throughput="a beat a cycle; 1 cycle between rows",
        sizes=({}, {"dsps": 8, "block": 1}, {"dsps": 16, "block": 7}),
    ),
    Block(
        name="w2a8kv4_attention",
        description="attention of a head over a 4-bit KV cache, from codes in memory to outputs",
        config="sim.blocks.w2a8kv4_attention:W2A8KV4AttentionConfig",
        component="rtl.w2a8kv4_attention:W2A8KV4Attention",
        latency="see the timing model",
        throughput="a beat of 8 * dsps bits, a key or a value, each cycle inside a long row",
        sizes=(
            {},
            {"dsps": 32, "lanes": 4, "block": 33, "primitive": True},
            {"dsps": 16, "block": 7},
        ),
    ),
)

BLOCKS = {block.name: block for block in _ALL}
"""Name -> block."""
