"""Fully connected layers on SpAtten's arrays, with weights streamed from DRAM.

SpAtten-e2e (HPCA 2021, evaluation): the multiplier arrays are used again, weights have 8 or 12
bits. The paper gives no dataflow; this one follows from its units. A tile of tokens lies in the
K and V SRAMs, each array with its own copy; weights pass through the data FIFOs once for each
tile. The arrays take different outputs: 64 channels make one item of an adder tree, and both
trees together give 16 items a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sim.dram.model import Dram
from sim.machines.base import ProductWork, Record
from sim.machines.timeline import TIMELINE
from sim.operations import Operations
from sim.products import Products
from sim.summary import by_name
from workloads.config import Config
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.machines.spatten import SpAtten

IntArray = np.ndarray[Any, np.dtype[np.int64]]

_CHANNELS = 64  # multiplied for one item of an adder tree


class FcConfig(Config):
    """Fully connected layers."""

    weight_bits: int = Field(8, ge=1, le=12)
    """bits of a weight in DRAM, rounded up to a width that the converter takes (paper: 8 or 12)"""
    fifo_bytes: int = Field(32 * 64 * 16, ge=32)
    """data FIFOs before the converter: how far weights run ahead (paper: 32 x 64 x 16 B)"""


@dataclass(frozen=True)
class Tiles:
    """How products are cut, (products,) each."""

    tokens: IntArray  # of a full tile
    count: IntArray  # tiles
    weight_transactions: IntArray  # of one tile
    input_transactions: IntArray  # of all tiles
    useful_weight_bytes: IntArray  # of all tiles
    useful_input_bytes: IntArray
    busy_cycles: IntArray  # of both arrays


def cut(machine: SpAtten, fc: FcConfig, products: Products) -> Tiles:
    """Cut products into tiles of tokens that fit an SRAM.

    Raises:
        InputError: an input too wide for one token to fit.
    """
    elements = min(
        buffer.halves * buffer.rows * buffer.row_channels
        for buffer in (machine.key_buffer, machine.value_buffer)
    )
    items = -(-products.k // _CHANNELS)
    if (items * _CHANNELS > elements).any():
        at = int(np.argmax(products.k))
        raise InputError(
            f"matmul.parquet row {products.rows[at]}: k must be at most {elements}, the elements "
            f"of one SRAM, not {products.k[at]}"
        )
    tokens = np.minimum(products.m, elements // (items * _CHANNELS))
    count = -(-products.m // tokens)
    weights = products.k * products.n
    transaction_bits = machine.dram.transaction_bytes * 8
    stored = machine.fetch.stored_width(fc.weight_bits)
    inputs = products.m * products.k * machine.width_bits
    return Tiles(
        tokens=tokens,
        count=count,
        weight_transactions=-(-weights * stored // transaction_bits),
        input_transactions=-(-inputs // transaction_bits),
        useful_weight_bytes=count * -(-weights * fc.weight_bits // 8),
        useful_input_bytes=-(-inputs // 8),
        busy_cycles=np.array(
            [
                sum(_tile_cycles(machine, size, n * item) for size in _tile_sizes(m, most))
                for m, most, n, item in zip(
                    products.m.tolist(),
                    tokens.tolist(),
                    products.n.tolist(),
                    items.tolist(),
                    strict=True,
                )
            ],
            np.int64,
        ),
    )


def _tile_sizes(m: int, most: int) -> list[int]:
    return [most] * (m // most) + ([m % most] if m % most else [])


def items_per_cycle(machine: SpAtten) -> int:
    """Return the groups of 64 channels that both arrays multiply in one cycle."""
    key, value = machine.query_key, machine.prob_value
    scores = min(key.max_scores_per_cycle, key.multipliers // _CHANNELS)
    return max(scores + value.multipliers // _CHANNELS, 1)


def _tile_cycles(machine: SpAtten, tokens: int, items: int) -> int:
    return -(-tokens * items // items_per_cycle(machine))


class ProductEngine:
    """Runs the products that stand between the attention of two layers.

    Nothing else uses the memory meanwhile: the next layer's operands depend on them.
    """

    def __init__(
        self, machine: SpAtten, fc: FcConfig, products: Products, dram: Dram, base: int
    ) -> None:
        self._machine, self._products, self._dram = machine, products, dram
        self._tiles = cut(machine, fc, products)
        stored = machine.fetch.stored_width(fc.weight_bits)
        transaction_bytes = machine.dram.transaction_bytes
        sizes = -(-products.weight_sizes * stored // (transaction_bytes * 8))
        starts = base + np.concatenate([[0], np.cumsum(sizes)])
        self._bases = starts[products.weights].tolist()
        self._input_base = int(starts[-1])
        self._chunk = max(fc.fifo_bytes // transaction_bytes, 1)
        self._spans: list[tuple[int, int, int]] = []  # slot, start, end

    def between(self, slot: int, cycle: int) -> tuple[int, int]:
        """Run the products of a slot from a cycle on; see `pipeline.Flow.between`."""
        latency = self._machine.query_key.latency_cycles
        free = results = before = end = cycle
        asked = cycle + self._machine.fetch.request_latency_cycles
        for product in self._of_slot(slot):
            if self._products.depends[product]:
                results = end
            free, asked = self._run(product, free, results, asked)
            end = free + latency
            if self._products.group[product] < slot:
                before = end
        if end > cycle:
            self._spans.append((slot, cycle, end))
        return before, end

    def add_to(self, record: Record, operations: Operations, timeline_heads: int) -> Record:
        """Return a record with the products in it, booked on the first head of their layer."""
        products, tiles = self._products, self._tiles
        owner = np.searchsorted(operations.group, products.group)

        def booked(amounts: IntArray) -> IntArray:
            total = np.zeros(len(operations), np.int64)
            np.add.at(total, owner, amounts)
            return total

        weights = booked(tiles.count * tiles.weight_transactions)
        inputs = booked(tiles.input_transactions)
        counts = dict(record.counts)
        for event, amount in self._counts(booked).items():
            counts[event] = counts[event] + amount
        busy = int(tiles.busy_cycles.sum())
        spent = sum(end - start for _, start, end in self._spans)
        unit_cycles = {unit: dict(states) for unit, states in record.unit_cycles.items()}
        for unit in ("Q.K", "Prob.V"):
            states = unit_cycles[unit]
            states["layer boundary"] -= spent
            states |= {"FC": busy, "FC waits for DRAM": spent - busy}
        return replace(
            record,
            unit_cycles=unit_cycles,
            counts=counts,
            useful_bytes=record.useful_bytes
            | {
                ("W", "MSB"): booked(tiles.useful_weight_bytes),
                ("X", "MSB"): booked(tiles.useful_input_bytes),
            },
            transactions=record.transactions | {("W", "MSB"): weights, ("X", "MSB"): inputs},
            multiplications=record.multiplications + booked(products.multiplications),
            timeline=self._with_spans(record.timeline, operations, timeline_heads),
            products=ProductWork(
                busy_cycles=busy,
                multiplications_dense=products.multiplications_dense,
                dense_bytes={
                    "W": -(-products.weights_dense * self._machine.width_bits // 8),
                    "X": -(-products.inputs_dense * self._machine.width_bits // 8),
                },
            ),
        )

    def _counts(self, booked: Callable[[IntArray], IntArray]) -> dict[str, IntArray]:
        """Count the events that cost energy: a line of each SRAM is read in every busy cycle."""
        machine, products, tiles = self._machine, self._products, self._tiles
        multiplied = booked(products.multiplications)
        stored = booked(products.m * products.k * machine.width_bits)
        busy = booked(tiles.busy_cycles)
        key, value = machine.query_key, machine.prob_value
        return {
            "multiply": multiplied,
            "add": multiplied,
            "key_sram_write_bit": stored,
            "value_sram_write_bit": stored,
            "key_sram_read_bit": busy * key.multipliers * key.width_bits,
            "value_sram_read_bit": busy * value.multipliers * value.width_bits,
        }

    def _with_spans(
        self, timeline: dict[str, Any], operations: Operations, heads: int
    ) -> dict[str, Any]:
        last = int(operations.group[min(heads, len(operations)) - 1]) if heads else -1
        rows = [
            ("FC", f"before layer group {slot}", start, end)
            for slot, start, end in self._spans
            if slot <= last
        ]
        more = by_name(TIMELINE, rows)
        return {name: column + more[name] for name, column in timeline.items()}

    def _of_slot(self, slot: int) -> range:
        first, last = np.searchsorted(self._products.slot, (slot, slot + 1)).tolist()
        return range(first, last)

    def _run(self, product: int, free: int, results: int, asked: int) -> tuple[int, int]:
        """Run one product; return when the arrays are free, and weights may be asked for again.

        Weights run ahead as far as the FIFOs have room: a chunk of their size is asked for when
        the one before it begins to leave them.

        Args:
            product: its number.
            free: the arrays are free.
            results: the product's inputs are there to be read.
            asked: earliest request.
        """
        fetch, tiles = self._machine.fetch, self._tiles
        items = int(self._products.n[product]) * -(-int(self._products.k[product]) // _CHANNELS)
        weights = int(tiles.weight_transactions[product])
        sizes = _tile_sizes(int(self._products.m[product]), int(tiles.tokens[product]))
        input_edges = np.linspace(0, int(tiles.input_transactions[product]), len(sizes) + 1)
        inputs = np.diff(input_edges.astype(np.int64)).tolist()
        for size, input_transactions in zip(sizes, inputs, strict=True):
            work = _tile_cycles(self._machine, size, items)
            ready = 0
            for first in range(0, weights, self._chunk):
                last = min(first + self._chunk, weights)
                there, all_there = self._read(self._bases[product] + first, last - first, asked)
                if first == 0:
                    asked = max(asked, results + fetch.request_latency_cycles)
                    ready = self._read(self._input_base, input_transactions, asked)[1]
                start = max(there, ready, free)
                cycles = work * last // weights - work * first // weights
                free = max(start + cycles, all_there + 1)
                asked = max(asked, start)
            results = free  # the next tile takes this one's place in the SRAMs
        return free, asked

    def _read(self, first: int, count: int, asked: int) -> tuple[int, int]:
        """Return when the first and the last of some transactions are at the multipliers."""
        done = self._dram.read(np.arange(first, first + count), asked)
        response = self._machine.fetch.response_latency_cycles
        return int(done.min()) + response, int(done.max()) + response
