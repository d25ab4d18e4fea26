"""Attention of one head over a KV cache of 4-bit codes. See `sim.blocks.w2a8kv4_attention`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.attention_row import AttentionRow, BeatIssue, Drain, staged_tree
from rtl.exp_block import BlockExponential
from rtl.kv4_dequant import Kv4Dequantizer
from rtl.kv_unpacker import token_layout
from rtl.mac_array import DspArray
from rtl.packed_mac import operand_layout, shared_layout
from rtl.streams import fitted, require_power_of_two, stage
from rtl.value_accumulate import ValueAccumulator
from sim.blocks.kv4_dequant import CODE_BITS, MULTIPLIER_BITS, SHIFT_BITS
from sim.blocks.packed_mac import LANE_BITS, MAC_LATENCY_CYCLES, NIBBLE
from sim.blocks.value_accumulate import OUTPUT_BITS
from sim.blocks.w2a8kv4_attention import W2A8KV4AttentionConfig
from workloads.errors import InputError

PAIR_BITS = 13
"""Bits of a dot product of two channels, signed."""


def attention_ports(config: W2A8KV4AttentionConfig) -> dict[str, Any]:
    """Return the streams of the attention path; see `W2A8KV4Attention`."""
    command = {
        "keys": range(config.most_keys + 1),
        "channels": range(config.channels + 1),
        "multiplier": MULTIPLIER_BITS,
        "shift": signed(SHIFT_BITS),
    }
    outputs = {"data": data.ArrayLayout(signed(OUTPUT_BITS), config.lanes), "last": 1}
    return {
        "command": In(stream.Signature(data.StructLayout(command))),
        "query": In(stream.Signature(data.ArrayLayout(signed(8), config.dsps))),
        "beats": In(stream.Signature(data.ArrayLayout(2 * CODE_BITS, config.dsps))),
        "tokens": In(stream.Signature(token_layout())),
        "o": Out(stream.Signature(data.StructLayout(outputs))),
    }


class W2A8KV4Attention(wiring.Component):
    """Attention of heads, one query after another, on an array of DSP slices; a beat a cycle.

    A `command` gives `keys` (1 to 8,192), `channels` of the head (a multiple of `lanes`, up to
    2 * dsps), `multiplier` and `shift` of the query's scale. Then, each in a stream of its own:

    - `query`: two beats of `dsps` int8 codes within -127..127, 0 beyond `channels`;
    - `beats`: 8 * dsps bits, the 4-bit codes of one token's key or value from channel 0 on. Keys
      come in blocks of `block`, the last may be shorter, a block ahead of the values: K0, K1, V0,
      K2, V1 and so on, at last the values that are left;
    - `tokens`: of each token FP16 scale and zero point of its key and value. Values' scales must
      be below 64, none negative.

    Outputs leave in beats of `lanes` channels, with 16 fraction bits, bit for bit `attend`.

    Two keys share a query: their beats take two cycles. A value takes one. Without stalls outside
    rows of many blocks take a beat a cycle; at a row's start and end the pipeline runs full and
    empty (see the timing model).
    """

    def __init__(self, config: W2A8KV4AttentionConfig) -> None:
        self.config = config
        self._controller = AttentionController(config)
        super().__init__(attention_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.controller = controller = self._controller
        for name in attention_ports(self.config):
            connect(m, flipped(getattr(self, name)), getattr(controller, name))
        operands = [controller.operands[place] for place in range(self.config.dsps)]
        array = DspArray(
            m,
            controller.moves,
            controller.shared,
            operands,
            primitive=self.config.primitive,
            modes=(NIBBLE,),
        )
        lows, highs = zip(*array.lanes(LANE_BITS), strict=True)
        m.d.comb += [
            controller.moves.eq(~controller.waits),
            controller.may_start.eq(1),
            controller.done.eq(array.valid & array.last),
            controller.low.as_value().eq(Cat(*(fitted(lane, LANE_BITS) for lane in lows))),
            controller.high.as_value().eq(Cat(*(fitted(lane, LANE_BITS) for lane in highs))),
        ]
        return m


class AttentionController(wiring.Component):
    """Everything of `W2A8KV4Attention` but the array of DSP slices, which its owner wires.

    `operands` and what they share (`shared`) are for a `DspArray`, which shall move in cycles with
    `moves`, at most when `waits` is low: a result that the array holds is not taken then. `done`,
    `low` and `high` are the array's: it holds sums that ended, and their lanes. A row begins in
    cycles with `may_start`, and is `active` until its last value is multiplied.
    """

    def __init__(self, config: W2A8KV4AttentionConfig) -> None:
        require_power_of_two("lanes", config.lanes)
        if config.dsps % (config.lanes // 2):
            raise InputError(f"lanes must divide 2 * dsps ({2 * config.dsps}), not {config.lanes}")
        self.config = config
        lanes = data.ArrayLayout(signed(LANE_BITS), config.dsps)
        super().__init__(
            attention_ports(config)
            | {
                "operands": Out(data.ArrayLayout(operand_layout(), config.dsps)),
                "shared": Out(shared_layout()),
                "waits": Out(1),
                "active": Out(1),
                "moves": In(1),
                "may_start": In(1),
                "done": In(1),
                "low": In(lanes),
                "high": In(lanes),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        m.submodules.dequant = dequant = Kv4Dequantizer(config.dequant)
        m.submodules.exponential = exponential = BlockExponential(config.exponential)
        m.submodules.accumulate = accumulate = ValueAccumulator(config.accumulate)
        row = AttentionRow(m, config, self.command, self.query, self.may_start)
        m.d.comb += self.active.eq(row.active)
        issue = BeatIssue(
            m, config, row, self.beats, exponential.weights, self.moves, self.operands, self.shared
        )
        result = self._results(m, row, issue)
        sums = Drain(m, config, self.low, self.high, result.final, accumulate.sums)
        values = self.done & result.value
        values_wait = values & ~sums.free
        score = self._scores(m, result)
        m.d.comb += [
            sums.loads.eq(values & self.moves),
            self.waits.eq(values_wait | (score.there & ~(self.tokens.valid & dequant.i.ready))),
        ]
        self._dequantise(m, row, score, dequant.i)
        key, argument = exponential.i, dequant.o
        m.d.comb += [
            key.valid.eq(argument.valid),
            argument.ready.eq(key.ready),
            key.payload.argument.eq(argument.payload.argument),
            Cat(key.payload.scale, key.payload.zero, key.payload.last, key.payload.ends).eq(
                argument.payload.tag
            ),
        ]
        connect(m, exponential.blocks, accumulate.blocks)
        connect(m, flipped(self.o), accumulate.o)
        return m

    def _results(self, m: Module, row: AttentionRow, issue: BeatIssue) -> Any:
        """Return what the array's sums are of, by a pipeline beside the array's."""
        layout = data.StructLayout(
            {"value": 1, "two": 1, "last": 1, "ends": 1, "final": row.final.shape()}
        )
        place = Signal(layout, name="entering_array")
        m.d.comb += [
            place.value.eq(issue.value),
            place.two.eq(issue.two),
            place.last.eq(issue.held.last),
            place.ends.eq(issue.held.ends),
            place.final.eq(row.final),
        ]
        for number in range(MAC_LATENCY_CYCLES):
            entering, place = place, Signal(layout, name=f"in_array_{number}")
            with m.If(self.moves):
                m.d.sync += place.eq(entering)
        return place

    def _scores(self, m: Module, result: Any) -> Any:
        """Add the tree over DSPs: of two keys the first one's lanes, then the second one's.

        Returns its last register: the `dot` product, whether it is `there`, ends its block
        (`last`) and its row.
        """
        moves, bits, config = self.moves, PAIR_BITS, self.config
        first, second = self.done & ~result.value, Signal(name="second_key")
        second_ends = Signal(2, name="second_ends")
        lanes = Signal(config.dsps * bits, name="second_lanes", reset_less=True)
        own_ends = Cat(result.last, result.ends)
        with m.If(moves):
            m.d.sync += [
                second.eq(first & result.two),
                second_ends.eq(own_ends),
                lanes.eq(Cat(*(lane[:bits] for lane in self.high))),
            ]
        terms = [
            Mux(second, lanes.word_select(place, bits), self.low[place][:bits]).as_signed()
            for place in range(config.dsps)
        ]
        score = Signal(_score_layout(config), name="score")
        ends = Mux(second, second_ends, Mux(result.two, 0, own_ends))
        place = Cat(first | second, ends)
        for number in range(config.tree_stages):
            place = stage(m, moves, place, f"score_{number}")
        m.d.comb += [
            score.dot.eq(staged_tree(m, moves, terms, config.tree_stages)),
            Cat(score.there, score.last, score.ends).eq(place),
        ]
        return score

    def _dequantise(self, m: Module, row: AttentionRow, score: Any, dequant: Any) -> None:
        """Let dot products meet their tokens' scales and zero points."""
        token, item = self.tokens.payload, dequant.payload
        m.d.comb += [
            dequant.valid.eq(score.there & self.moves),
            self.tokens.ready.eq(score.there & self.moves),
            item.dot.eq(score.dot),
            item.query_sum.eq(row.query_sum),
            item.zero.eq(token.key_zero),
            item.scale.eq(token.key_scale),
            item.multiplier.eq(row.multiplier),
            item.shift.eq(row.shift),
            item.tag.eq(Cat(token.value_scale, token.value_zero, score.last, score.ends)),
        ]


def _score_layout(config: W2A8KV4AttentionConfig) -> data.StructLayout:
    """Return a dot product of a query and a key."""
    dot = signed(config.dequant.dot_bits)
    return data.StructLayout({"dot": dot, "there": 1, "last": 1, "ends": 1})
