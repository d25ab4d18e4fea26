"""Linear layers on the array of DSP slices of the W2A8KV4 engine. See `sim.blocks.w2a8kv4`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.group_dequant import Dequantizer, group_layout, place_layout
from rtl.packed_mac import operand_layout, shared_layout
from rtl.sparse_selector import kept_of
from rtl.streams import advances, fitted, stage_row
from rtl.weight_unpacker import weights_layout
from sim.blocks.group_dequant import ACC_BITS
from sim.blocks.packed_mac import PAIR, SPARSE
from sim.blocks.w2a8kv4 import GROUP, UNIT_DSPS, W2A8KV4EngineConfig

GROUP_BITS, METADATA_BITS = 2 * GROUP, 18
LANE_BITS = 11
"""Bits of a lane of a DSP: two products of a weight and an activation."""
BLOCK_BITS = 16


def linear_ports(config: W2A8KV4EngineConfig) -> dict[str, Any]:
    """Return the streams of linear layers; see `W2A8KV4Engine`."""
    line = range(max(2, config.lines))
    load = {"data": data.ArrayLayout(signed(8), GROUP), "line": line, "odd": 1}
    command = {
        "matrix": 1,
        "base": line,
        "groups": range(config.lines + 1),
        "blocks": BLOCK_BITS,
        "pairs": range(config.pairs + 1),
    }
    sums = {"sums": data.ArrayLayout(signed(ACC_BITS), config.units), "last": 1}
    return {
        "load": In(stream.Signature(data.StructLayout(load))),
        "command": In(stream.Signature(data.StructLayout(command))),
        "weights": In(stream.Signature(weights_layout(config.units, GROUP_BITS, METADATA_BITS))),
        "o": Out(stream.Signature(data.StructLayout(sums))),
    }


class LinearController(wiring.Component):
    """Everything of linear layers but the array of DSP slices, which its owner wires.

    `operands` and what they share (`shared`) are for a `DspArray`, which shall move in cycles with
    `moves`, at most when `waits` is low: sums wait at `o` then. `low` and `high` are its lanes.
    """

    def __init__(self, config: W2A8KV4EngineConfig) -> None:
        self.config = config
        lanes = data.ArrayLayout(signed(LANE_BITS), config.dsps)
        super().__init__(
            linear_ports(config)
            | {
                "operands": Out(data.ArrayLayout(operand_layout(), config.dsps)),
                "shared": Out(shared_layout()),
                "waits": Out(1),
                "moves": In(1),
                "low": In(lanes),
                "high": In(lanes),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        moves = self.moves
        m.d.comb += self.waits.eq(~advances(self.o))
        steps = _Steps(m, self)
        tokens = self._activations(m, moves, steps.line)
        line = _Place(m, moves, steps.place, "line")

        codes = _late(m, moves, steps.codes, 1, "codes_line")
        positions = _late(m, moves, steps.positions, 1, "positions")
        kept = self._select(m, moves, tokens, positions, line.now)
        codes = _late(m, moves, codes, 1, "codes_kept")
        chosen = _Place(m, moves, line.now, "kept")
        self._multiply(m, kept, codes, chosen.now)

        dsps = range(self.config.dsps)
        trees = [
            self._tree(m, moves, [lane[dsp] for dsp in dsps], f"lane_{number}")
            for number, lane in enumerate((self.low, self.high))
        ]
        place = chosen
        for name in ("a", "d", "m", "p", "t0", "t1", "t2", "t3", "token"):
            place = _Place(m, moves, place.now, name)
        products = self._by_token(m, moves, trees, place)
        sums = self._kept_sums(m, moves, kept, chosen)
        metadata = _late(m, moves, steps.metadata, 11, "metadata")
        self._dequantize(m, moves, products, sums, metadata, place.now)
        return m

    def _activations(self, m: Module, moves: Value, line: Value) -> list[Value]:
        """Return the lines of an even and an odd token, a register behind their number."""
        load, found = self.load.payload, []
        m.d.comb += self.load.ready.eq(1)
        for odd in range(2):
            memory = Memory(shape=8 * GROUP, depth=self.config.lines, init=[])
            m.submodules[f"activations_{odd}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(load.line),
                write.data.eq(load.data.as_value()),
                write.en.eq(self.load.valid & (load.odd == odd)),
                read.addr.eq(line),
                read.en.eq(moves),
            ]
            found.append(read.data)
        return found

    def _select(
        self, m: Module, moves: Value, tokens: list[Value], positions: Value, place: Any
    ) -> list[Value]:
        """Return the two activations of each DSP, a register behind."""
        found: list[Value] = []
        for dsp in range(self.config.dsps):
            quads = [token.word_select(dsp % UNIT_DSPS, 32) for token in tokens]
            both = positions.word_select(dsp, 4)
            found += kept_of(quads, [both[:2], both[2:]], place.matrix, place.second)
        return stage_row(m, moves, found, "kept")

    def _multiply(self, m: Module, kept: list[Value], codes: Value, place: Any) -> None:
        """Feed the DSPs: a vector's two weights, each with its own activation, in one product; of
        a matrix one weight with those of two tokens, the second behind the first."""
        m.d.comb += [
            self.shared.valid.eq(place.valid),
            self.shared.mode.eq(Mux(place.matrix, PAIR, SPARSE)),
            self.shared.first.eq(~place.matrix | ~place.second),
            self.shared.last.eq(~place.matrix | place.second),
        ]
        for dsp in range(self.config.dsps):
            low, high = kept[2 * dsp : 2 * dsp + 2]
            both = codes.word_select(dsp, 4)
            part = self.operands[dsp]
            m.d.comb += [
                part.low.eq(Mux(place.matrix, low, both[:2])),
                part.high.eq(Mux(place.matrix, high, both[2:])),
                part.factor.eq(Mux(place.matrix, Mux(place.second, both[2:], both[:2]), low)),
                part.other.eq(high),
            ]

    def _tree(self, m: Module, moves: Value, terms: list[Value], name: str) -> list[Value]:
        """Return the sum of each unit, a register behind each level."""
        for level in range(self.config.tree_levels):
            pairs = zip(terms[::2], terms[1::2], strict=True)
            terms = stage_row(m, moves, [a + b for a, b in pairs], f"{name}_sums_{level}")
        return terms

    def _by_token(
        self, m: Module, moves: Value, trees: list[list[Value]], place: _Place
    ) -> list[Value]:
        """Return each unit's sum of products of the token at `place`.

        Both lanes of a vector are one sum. Of a matrix the lanes are those of two tokens, there
        with the second weight's step; the low one is taken for the first weight's step, which is
        one ahead, the high one for its own.
        """
        totals = [Mux(place.before.matrix, 0, low) + high for low, high in zip(*trees, strict=True)]
        late = stage_row(m, moves, totals, "totals")
        ahead = place.now.matrix & ~place.now.second
        return [Mux(ahead, low, total) for low, total in zip(trees[0], late, strict=True)]

    def _kept_sums(self, m: Module, moves: Value, kept: list[Value], chosen: _Place) -> list[Value]:
        """Return each unit's sum of activations of kept weights, beside `_by_token`'s.

        A vector's two lanes are added; of a matrix each lane's two steps.
        """
        trees = [self._tree(m, moves, kept[lane::2], f"kept_{lane}") for lane in range(2)]
        place = chosen
        for name in ("k0", "k1", "k2", "k3"):
            place = _Place(m, moves, place.now, name)
        here = place.now
        before = [stage_row(m, moves, tree, f"kept_before_{n}") for n, tree in enumerate(trees)]
        totals = [
            high + Mux(here.matrix, old, low)
            for low, high, old in zip(*trees, before[1], strict=True)
        ]
        totals = stage_row(m, moves, totals, "kept_totals")
        place = _Place(m, moves, here, "k4")
        ahead = place.now.matrix & ~place.now.second
        first = [old + low for old, low in zip(before[0], trees[0], strict=True)]
        found = [Mux(ahead, both, total) for both, total in zip(first, totals, strict=True)]
        for name in ("kept_sums", "kept_late_0", "kept_late_1", "kept_late_2"):
            found = stage_row(m, moves, found, name)
        return found

    def _dequantize(
        self,
        m: Module,
        moves: Value,
        products: list[Value],
        sums: list[Value],
        metadata: Value,
        place: Any,
    ) -> None:
        """Sum groups to rows, and give those that end."""
        config = self.config.dequant
        groups = []
        for unit in range(self.config.units):
            own = metadata.word_select(unit, METADATA_BITS)
            group = Signal(group_layout(config), name=f"group_{unit}")
            m.d.comb += [
                group.products.eq(products[unit]),
                group.kept.eq(sums[unit]),
                group.scale.eq(own[:16]),
                group.zero.eq(own[16:]),
            ]
            groups.append(group)
        there = Signal(place_layout(config))
        m.d.comb += [
            there.token.eq(place.token),
            there.first.eq(place.first),
            there.last.eq(place.last),
        ]
        rows = Dequantizer(m, config, moves, place.valid, there, groups)
        m.d.comb += [
            self.o.valid.eq(rows.valid),
            self.o.payload.sums.as_value().eq(Cat(*(fitted(s, ACC_BITS) for s in rows.sums))),
            self.o.payload.last.eq(_late(m, moves, place.ends, 3, "ends")),
        ]


class _Steps:
    """Holds a command and a beat of weights, and goes through the beat's steps.

    Attributes: `place` of the step in this cycle; `line` of its activations; `codes`, `positions`
    and `metadata` of the beat's groups, one behind another.
    """

    def __init__(self, m: Module, engine: LinearController) -> None:
        command, weights, moves = engine.command, engine.weights, engine.moves
        have, full, steps, ends_beat, ends = (
            Signal(name=name) for name in ("have", "full", "steps", "ends_beat", "ends")
        )
        asked = Signal(command.payload.shape(), name="asked", reset_less=True)
        beat = Signal(weights.payload.shape(), name="beat", reset_less=True)
        group, block = Signal.like(asked.groups), Signal.like(asked.blocks)
        pair, second = Signal.like(asked.pairs), Signal()
        line, row_line = Signal.like(asked.base), Signal.like(asked.base)
        ends_group, ends_row, ends_block = Signal(), Signal(), Signal()
        m.d.comb += [
            steps.eq(have & full & moves),
            ends_group.eq(~asked.matrix | (second & (pair + 1 == asked.pairs))),
            ends_row.eq(group + 1 == asked.groups),
            ends_block.eq(block + 1 == asked.blocks),
            ends_beat.eq(steps & ends_group),
            ends.eq(ends_beat & ends_row & ends_block),
            weights.ready.eq(~full | ends_beat),
            command.ready.eq(~have | ends),
        ]
        with m.If(weights.ready):
            m.d.sync += [full.eq(weights.valid), beat.eq(weights.payload)]
        with m.If(steps):
            m.d.sync += second.eq(asked.matrix & ~second)
            with m.If(second):
                m.d.sync += [pair.eq(pair + 1), line.eq(line + asked.groups)]
            with m.If(ends_group):
                following = Mux(ends_row, asked.base, row_line + 1)
                m.d.sync += [
                    pair.eq(0),
                    group.eq(Mux(ends_row, 0, group + 1)),
                    line.eq(following),
                    row_line.eq(following),
                ]
                with m.If(ends_row):
                    m.d.sync += block.eq(Mux(ends_block, 0, block + 1))
        with m.If(command.ready):
            m.d.sync += have.eq(command.valid)
            with m.If(command.valid):
                m.d.sync += [
                    asked.eq(command.payload),
                    line.eq(command.payload.base),
                    row_line.eq(command.payload.base),
                ]
        self.line = line
        self.place = Signal(_step_layout(engine.config), name="place")
        m.d.comb += [
            self.place.valid.eq(steps),
            self.place.matrix.eq(asked.matrix),
            self.place.second.eq(second),
            self.place.token.eq(Cat(second, pair)),
            self.place.first.eq(group == 0),
            self.place.last.eq(ends_row),
            self.place.ends.eq(ends_group & ends_row & ends_block),
        ]
        units = range(engine.config.units)
        half = GROUP_BITS // 2
        self.codes = Cat(*(beat.data[unit][:half] for unit in units))
        self.positions = Cat(*(beat.data[unit][half:] for unit in units))
        self.metadata = beat.metadata.as_value()


class _Place:
    """A step in a register of the pipeline. Attributes: `now`, and `before`, what enters it."""

    def __init__(self, m: Module, moves: Value, before: Any, name: str) -> None:
        self.before = before
        self.now = Signal(before.shape(), name=f"place_{name}")
        with m.If(moves):
            m.d.sync += self.now.eq(before)


def _step_layout(config: W2A8KV4EngineConfig) -> data.StructLayout:
    """Return where a step stands: its mode, the token of its sums, what of a matrix it ends."""
    token = range(2 * config.pairs)
    flags = ("valid", "matrix", "second", "first", "last", "ends")
    return data.StructLayout({"token": token} | dict.fromkeys(flags, 1))


def _late(m: Module, moves: Value, value: Value, registers: int, name: str) -> Value:
    """Return a value some moves of the pipeline later, without reset."""
    for number in range(registers):
        held = Signal(len(value), name=f"{name}_{number}", reset_less=True)
        with m.If(moves):
            m.d.sync += held.eq(value)
        value = held
    return value
