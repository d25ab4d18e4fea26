"""From a trace's work to operators, as the kernel takes them.

Decode steps are built all at once, a layer of a prefill tile by tile: two tiles of tokens are in
flight, so that the engine works on one while the nonlinear unit has the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.machines.decoder import kernel
from sim.machines.decoder.attention import band_of, causal_scores, kv_beats
from sim.machines.decoder.design import BLOCK_TOKENS, Costs, kv_block
from sim.machines.decoder.program import (
    ATTENTION,
    GATE,
    HEAD,
    KEY,
    QUERY,
    TENSORS,
    UP,
    VALUE,
    Work,
)

IntArray = np.ndarray[Any, np.dtype[np.int64]]

W, OF_HEAD, K, V, NEW = range(len(TENSORS))


@dataclass(frozen=True)
class Program:
    """Operators and what they are of. Arrays are (operators,) unless said otherwise."""

    operators: IntArray  # (fields, operators), as the kernel takes them
    place: IntArray  # in OPERATORS
    group: IntArray  # layer of a step of a sequence, from 0
    multiplications: IntArray
    bits: IntArray  # (tensors, operators) useful bits
    beats: IntArray  # (tensors, operators) moved
    key: IntArray  # (groups,) of each group


def build(work: Work, costs: Costs) -> Program:
    """Return the operators of all steps of all sequences."""
    rows, attention = work.rows, work.attention
    keys = np.union1d(rows.key, attention.key)
    several = np.zeros(len(keys), np.bool_)
    several[np.searchsorted(keys, attention.key[attention.queries > 1])] = True
    several[np.searchsorted(keys, rows.key[rows.m > 1])] = True
    parts: list[Program] = []
    done = 0
    edges = np.flatnonzero(np.diff(several)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(keys)], strict=True):
        makers = (_Prefill if several[start] else _Decode)(work, costs)
        part = makers.run(keys[start:stop], start, done)
        parts.append(part)
        done += part.operators.shape[1]
    return Program(
        operators=np.ascontiguousarray(np.concatenate([part.operators for part in parts], 1)),
        place=np.concatenate([part.place for part in parts]),
        group=np.concatenate([part.group for part in parts]),
        multiplications=np.concatenate([part.multiplications for part in parts]),
        bits=np.concatenate([part.bits for part in parts], 1),
        beats=np.concatenate([part.beats for part in parts], 1),
        key=keys,
    )


class _Maker:
    """Holds what both builders need."""

    def __init__(self, work: Work, costs: Costs) -> None:
        self.work, self.costs, self.design = work, costs, costs.design
        kinds = work.kinds
        self.beats, self.bits, self.macs, self.vector, self.matrix, self.tiles = (
            np.array([getattr(kind, name) for kind in kinds] or [0], np.int64)
            for name in (
                "beats", "useful_bits", "multiplications", "vector_cycles", "matrix_cycles",
                "tiles",
            )
        )  # fmt: skip
        self.lines = -(-self.beats // self.design.weight_channels)
        self.floor = -(-self.lines // self.design.buffer_beats_per_cycle)
        self.memory = (kernel.WEIGHTS, kernel.WEIGHTS if self.design.shared else kernel.KV)

    def same_input(self, place: IntArray, group: IntArray) -> Any:
        """Tell which operators have the same input as the one before them."""
        before, same_group = np.roll(place, 1), group == np.roll(group, 1)
        same = (place == before) | ((place == UP) & (before == GATE))
        same |= np.isin(place, (KEY, VALUE)) & np.isin(before, (QUERY, KEY, VALUE))
        same &= same_group & (not self.design.separate_operators)
        same[:1] = False
        return same


class _Decode(_Maker):
    """One query a step."""

    def run(self, keys: IntArray, first_group: int, first_operator: int) -> Program:
        rows, attention = self.work.rows, self.work.attention
        low, high = (np.searchsorted(rows.key, (keys[0], keys[-1] + 1))).tolist()
        start, stop = (np.searchsorted(attention.key, (keys[0], keys[-1] + 1))).tolist()
        own_rows, own = slice(low, high), slice(start, stop)
        key = np.concatenate([rows.key[own_rows], attention.key[own]])
        place = np.concatenate([rows.place[own_rows], np.full(stop - start, ATTENTION)])
        order = np.lexsort((np.arange(len(key)), place, key))
        products = self._products(own_rows)
        heads = self._attention(own)
        fields, macs, bits, beats = (
            np.concatenate([a, b], -1)[..., order] for a, b in zip(products, heads, strict=True)
        )
        place, key = place[order], key[order]
        same = self.same_input(place, key)
        base = np.maximum.accumulate(np.where(same, 0, np.arange(len(place))))
        fields[kernel.DEPENDS] = base + first_operator - 1
        step = key // self.work.sizes[1]
        begins = np.append(True, step[1:] != step[:-1])[base]
        fields[kernel.WAIT] += np.where(begins, self.design.token_latency_cycles, 0)
        group = np.searchsorted(keys, key) + first_group
        return Program(fields, place, group, macs, bits, beats, keys)

    def _products(self, own: slice) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        rows = self.work.rows
        kind, place = rows.kind[own], rows.place[own]
        one = np.ones(len(kind), np.int64)
        fields = np.zeros((kernel.FIELDS, len(kind)), np.int64)
        fields[kernel.LINES] = self.lines[kind]
        fields[kernel.TILES] = self.tiles[kind]
        fields[kernel.WORK] = np.maximum(self.vector, self.floor)[kind]
        fields[kernel.WAIT] = self.costs.wait_cycles(place, rows.k[own], one)
        fields[kernel.LATENCY] = self.costs.latency_cycles(rows.n[own], one)
        fields[kernel.GATED] = not self.design.runs_ahead
        bits, beats = (np.zeros((len(TENSORS), len(kind)), np.int64) for _ in range(2))
        tensor = np.where(place == HEAD, OF_HEAD, W)
        bits[tensor, np.arange(len(kind))] = self.bits[kind]
        beats[tensor, np.arange(len(kind))] = self.beats[kind]
        return fields, self.macs[kind], bits, beats

    def _attention(self, own: slice) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        a, costs, design = self.work.attention, self.costs, self.design
        dim, heads, kv_heads = a.head_dim[own], a.heads[own], a.kv_heads[own]
        fields = np.zeros((kernel.FIELDS, len(dim)), np.int64)
        bits, beats = (np.zeros((len(TENSORS), len(dim)), np.int64) for _ in range(2))
        for low_dim, width in {*zip(a.bits[own].tolist(), dim.tolist(), strict=True)}:
            at = np.flatnonzero((a.bits[own] == low_dim) & (dim == width))
            form = costs.forms.of(low_dim)
            of_head = kv_beats(form, width, a.keys[own][at])
            new = kv_block(form, width, 1).beats
            fields[kernel.LINES, at] = design.kv_lines(of_head.sum(0), kv_heads[at])
            fields[kernel.WRITES, at] = design.kv_lines(np.full(len(at), new), kv_heads[at])
            vector = form.vector_bits(width)
            bits[K, at] = bits[V, at] = a.kv_scores[own][at] * vector
            bits[NEW, at] = 2 * kv_heads[at] * vector
            beats[K, at], beats[V, at] = kv_heads[at] * of_head
            beats[NEW, at] = kv_heads[at] * new
        fields[kernel.MEMORY], fields[kernel.KIND] = self.memory[1], kernel.KV
        lines = fields[kernel.LINES]
        fields[kernel.TILES] = -(-lines // design.kv_tile_lines)
        work = costs.attention_cycles(a.scores[own], dim, heads)
        fields[kernel.WORK] = np.maximum(work, -(-lines // design.buffer_beats_per_cycle))
        fields[kernel.WAIT] = costs.attention_wait_cycles(dim, heads, 1)
        fields[kernel.LATENCY] = costs.attention_latency_cycles(dim, heads, 1)
        fields[kernel.GATED] = not design.runs_ahead
        return fields, 2 * a.scores[own] * dim, bits, beats


class _Prefill(_Maker):
    """Many queries a step."""

    def __init__(self, work: Work, costs: Costs) -> None:
        super().__init__(work, costs)
        self._known: dict[tuple[Any, ...], Program] = {}

    def run(self, keys: IntArray, first_group: int, first_operator: int) -> Program:
        parts = []
        done = first_operator
        for group, key in enumerate(keys.tolist(), first_group):
            layer = self._layer(key)
            fields = layer.operators.copy()
            fields[kernel.DEPENDS] += done
            if key % self.work.sizes[1] == 0:
                starts = fields[kernel.DEPENDS] == done - 1
                fields[kernel.WAIT, starts] += self.design.token_latency_cycles
            parts.append((fields, layer, np.full(fields.shape[1], group)))
            done += fields.shape[1]
        return Program(
            operators=np.concatenate([fields for fields, _, _ in parts], 1),
            place=np.concatenate([layer.place for _, layer, _ in parts]),
            group=np.concatenate([group for _, _, group in parts]),
            multiplications=np.concatenate([layer.multiplications for _, layer, _ in parts]),
            bits=np.concatenate([layer.bits for _, layer, _ in parts], 1),
            beats=np.concatenate([layer.beats for _, layer, _ in parts], 1),
            key=keys,
        )

    def _layer(self, key: int) -> Program:
        """Return the operators of one layer; DEPENDS counts from its first, -1 is what is before.

        Layers that are alike are built once.
        """
        rows, attention = self.work.rows, self.work.attention
        first, last = np.searchsorted(rows.key, (key, key + 1)).tolist()
        at = int(np.searchsorted(attention.key, key))
        has_heads = at < len(attention) and int(attention.key[at]) == key
        traits: tuple[Any, ...] = tuple(rows.kind[first:last].tolist())
        traits += tuple(rows.m[first:last].tolist())
        if has_heads:
            traits += tuple(
                int(getattr(attention, name)[at])
                for name in ("heads", "kv_heads", "head_dim", "queries", "keys", "window", "sinks",
                             "bits")
            )  # fmt: skip
        if traits not in self._known:
            self._known[traits] = _Layer(self, range(first, last), at if has_heads else -1).build()
        return self._known[traits]


class _Layer:
    """Collects the operators of one layer of a prefill."""

    def __init__(self, maker: _Prefill, rows: range, attention: int) -> None:
        self._maker, self._at = maker, attention
        self._ops: list[list[int]] = []
        self._places: list[int] = []
        self._macs: list[int] = []
        self._moved: list[tuple[int, int, int, int]] = []  # operator, tensor, bits, beats
        work = maker.work
        places = [*work.rows.place[rows.start : rows.stop].tolist()]
        items = [*zip(places, rows, strict=True)] + ([(ATTENTION, -1)] if attention >= 0 else [])
        items.sort(key=lambda item: item[0])
        self._several = [item for item in items if item[1] < 0 or work.rows.m[item[1]] > 1]
        self._single = [item for item in items if item not in self._several]
        tokens = max([int(work.rows.m[row]) for _, row in self._several if row >= 0] or [0])
        if attention >= 0:
            tokens = max(tokens, int(work.attention.queries[attention]))
        self._tiles = -(-tokens // maker.design.token_tile)

    def build(self) -> Program:
        """Return them: pairs of tiles, stage by stage, then the products of one token."""
        stages = self._stages(self._several)
        for pair in range(0, self._tiles, 2):
            tiles = range(pair, min(pair + 2, self._tiles))
            done = dict.fromkeys(tiles, -1)
            for number, stage in enumerate(stages):
                for tile in tiles:
                    done[tile] = self._add(stage, tile, done[tile], spills=number == 0)
        for stage in self._stages(self._single):
            self._add(stage, 0, len(self._ops) - 1, spills=False)
        count = len(self._ops)
        bits, beats = (np.zeros((len(TENSORS), count), np.int64) for _ in range(2))
        for operator, tensor, useful, moved in self._moved:
            bits[tensor, operator] += useful
            beats[tensor, operator] += moved
        return Program(
            operators=np.array(self._ops, np.int64).reshape(count, kernel.FIELDS).T,
            place=np.array(self._places, np.int64),
            group=np.zeros(count, np.int64),
            multiplications=np.array(self._macs, np.int64),
            bits=bits,
            beats=beats,
            key=np.zeros(0, np.int64),
        )

    def _stages(self, items: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        place = np.array([place for place, _ in items], np.int64)
        same = self._maker.same_input(place, np.zeros_like(place))
        stages: list[list[tuple[int, int]]] = []
        for item, together in zip(items, same, strict=True):
            if together:
                stages[-1].append(item)
            else:
                stages.append([item])
        return stages

    def _add(self, stage: list[tuple[int, int]], tile: int, depends: int, *, spills: bool) -> int:
        """Add a stage of one tile; return its last operator."""
        for place, row in stage:
            if row < 0:
                self._add_attention(tile, depends)
            else:
                self._add_product(place, row, tile, depends, spills)
                spills = False
        return len(self._ops) - 1

    def _add_product(self, place: int, row: int, tile: int, depends: int, spills: bool) -> None:
        maker, rows, design = self._maker, self._maker.work.rows, self._maker.design
        tokens = min(max(int(rows.m[row]) - tile * design.token_tile, 0), design.token_tile)
        if not tokens:
            return
        kind = int(rows.kind[row])
        one, alone = np.array([tokens], np.int64), int(rows.m[row]) == 1
        engine = -(-int(maker.matrix[kind]) * tokens // design.token_tile)
        fields = {
            kernel.LINES: int(maker.lines[kind]),
            kernel.TILES: int(maker.tiles[kind]),
            kernel.WORK: max(int(maker.vector[kind]) if alone else engine, int(maker.floor[kind])),
            kernel.WAIT: int(
                maker.costs.wait_cycles(np.array([place], np.int64), rows.k[row : row + 1], one)[0]
            ),
            kernel.LATENCY: int(maker.costs.latency_cycles(rows.n[row : row + 1], one)[0]),
        }
        if spills:
            moved = design.spill_bytes * int(rows.k[row]) * tokens
            fields[kernel.SPILL] = int(np.ceil(moved / design.spill_bytes_per_cycle))
        tensor = OF_HEAD if place == HEAD else W
        self._moved.append((len(self._ops), tensor, int(maker.bits[kind]), int(maker.beats[kind])))
        self._push(fields, place, int(maker.macs[kind]) * tokens, depends)

    def _add_attention(self, tile: int, depends: int) -> None:
        maker, a, at, design = self._maker, self._maker.work.attention, self._at, self._maker.design
        queries, keys, dim = int(a.queries[at]), int(a.keys[at]), int(a.head_dim[at])
        window, sinks = int(a.window[at]), int(a.sinks[at])
        heads, kv_heads = int(a.heads[at]), int(a.kv_heads[at])
        band = band_of(queries, keys, window, sinks, design.token_tile, tile)
        if band is None:
            return
        form = maker.costs.forms.of(int(a.bits[at]))
        block = kv_block(form, dim)
        new = kv_beats(form, dim, np.array([band.tokens], np.int64))[:, 0]
        alone = np.array([kv_heads], np.int64)
        lines = int(design.kv_lines(np.array([band.read * block.beats]), alone)[0])
        scores = heads * band.tokens * band.blocks * BLOCK_TOKENS
        engine = maker.costs.tile_cycles(scores, dim)
        shape = (np.array([dim], np.int64), np.array([heads], np.int64), band.tokens)
        fields = {
            kernel.MEMORY: maker.memory[1],
            kernel.KIND: kernel.KV,
            kernel.LINES: lines,
            kernel.TILES: max(-(-lines // design.kv_tile_lines), 1),
            kernel.WORK: max(engine, -(-lines // design.buffer_beats_per_cycle)),
            kernel.WAIT: int(maker.costs.attention_wait_cycles(*shape)[0]),
            kernel.LATENCY: int(maker.costs.attention_latency_cycles(*shape)[0]),
            kernel.WRITES: int(design.kv_lines(np.array([new.sum()]), alone)[0]),
        }
        vector = form.vector_bits(dim)
        read = kv_heads * band.read
        odd = (block.metadata + 1) // 2
        for tensor, useful, moved in (
            (K, read * BLOCK_TOKENS * vector, read * (block.keys + odd)),
            (V, read * BLOCK_TOKENS * vector, read * (block.values + block.metadata - odd)),
            (NEW, 2 * kv_heads * band.tokens * vector, kv_heads * int(new.sum())),
        ):
            self._moved.append((len(self._ops), tensor, useful, moved))
        start = tile * design.token_tile
        ends = np.array([start, start + band.tokens], np.int64)
        exact = causal_scores(ends, ends + keys - queries, np.array([window, window], np.int64))
        self._push(fields, ATTENTION, 2 * dim * heads * int(exact[1] - exact[0]), depends)

    def _push(self, fields: dict[int, int], place: int, macs: int, depends: int) -> None:
        row = [0] * kernel.FIELDS
        for field, value in fields.items():
            row[field] = value
        row[kernel.DEPENDS] = depends
        row[kernel.GATED] = int(not self._maker.design.runs_ahead)
        self._ops.append(row)
        self._places.append(place)
        self._macs.append(macs)
