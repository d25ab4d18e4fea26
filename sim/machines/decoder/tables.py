"""From a run of a decoder machine to the flat row and long tables of a result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sim.dram.model import Counters
from sim.energy.account import price_columns
from sim.energy.tables import dram_table
from sim.machines.base import BareMachine
from sim.machines.decoder import kernel
from sim.machines.decoder.build import Program
from sim.machines.decoder.design import Costs, Design, Stream
from sim.machines.decoder.offers import Amounts, amounts, offers_columns
from sim.machines.decoder.program import ATTENTION, OPERATORS, TENSORS, Work
from sim.machines.timeline import TIMELINE
from sim.result import TABLE_COLUMNS, Columns, Result, Tables
from sim.summary import (
    TRAFFIC,
    Totals,
    alive_columns,
    by_name,
    layers_with_energy,
    long_events,
    make_row,
    share_out,
    sum_by,
)
from workloads.packed import BEAT_BYTES
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Run:
    """What happened; cycles."""

    start: IntArray  # (operators,) of the engine
    end: IntArray
    results: IntArray
    engine: IntArray  # (states,)
    memory: IntArray  # (memories, states)

    @property
    def cycles(self) -> int:
        """Until the last result."""
        return int(self.results[-1])


def make_result(
    trace: Trace,
    machine: BareMachine,
    costs: Costs,
    work: Work,
    program: Program,
    run: Run,
    timeline: int,
) -> Result:
    """Return the result of a run; `timeline` operators, from the first, are recorded."""
    design = costs.design
    counts = _Dram(machine, design, program, run.cycles)
    dense = amounts(work, costs, frozenset(), offered=True)
    layers = _layer_columns(trace, work, program, run)
    events = _event_columns(layers, counts)
    table = dram_table(machine.clock_hz)
    columns: dict[str, Any] = {
        "layers": partial(layers_with_energy, layers, events, dict(table)),
        "units": _unit_columns(design, run),
        "traffic": _traffic_columns(dense, program),
        "events": events,
        "energy": price_columns(events, table),
        "area": {name: [] for name in TABLE_COLUMNS["area"]},
        "sparsity": offers_columns(trace, work, costs, machine.exploits),
        "timeline": _timeline_columns(program, run, timeline),
    }
    totals = Totals(
        cycles=run.cycles,
        queries=int((work.attention.queries * work.attention.heads).sum()),
        busy_cycles=int(run.engine[kernel.BUSY]),
        multiplications=int(program.multiplications.sum()),
        multiplications_dense=round(dense.multiplications),
        counters=counts.counters,
    )
    return Result(make_row(trace, machine, columns, totals), Tables(columns))


class _Dram:
    """What the DRAM does, from the beats moved and what its streams cost."""

    def __init__(self, machine: BareMachine, design: Design, program: Program, cycles: int) -> None:
        dram = machine.memory
        per_beat = BEAT_BYTES // dram.transaction_bytes
        of_kv = program.place == ATTENTION
        beats = program.beats.sum(0)
        weights, kv = int(beats[~of_kv].sum()), int(beats[of_kv].sum())
        self.requests = beats * per_beat  # (operators,)
        self.refreshes = 0
        if dram.refresh:
            clocks = int(cycles * 1e9 / machine.clock_hz / dram.t_ck_ns)
            self.refreshes = clocks // dram.n_refi * dram.channels * dram.pseudo_channels
        per_channel = self._per_channel(design, machine, weights, kv) * per_beat
        shares = [(design.weights, weights * per_beat), (design.kv, kv * per_beat)]
        hits = sum(_share(stream.row_hits, stream, count) for stream, count in shares)
        self.activates = sum(_share(stream.activates, stream, count) for stream, count in shares)
        self.counters = Counters(
            requests=per_channel,
            row_hits=np.array([hits]),
            row_misses=np.array([int(per_channel.sum()) - hits]),
            row_conflicts=np.array([0]),
            activates=np.array([self.activates]),
            refreshes=np.array([self.refreshes]),
            bytes=per_channel * dram.transaction_bytes,
        )
        self.channels = dram.channels

    @staticmethod
    def _per_channel(design: Design, machine: BareMachine, weights: int, kv: int) -> IntArray:
        """Spread beats evenly over the channels of their kind, the first ones take the rest."""
        dram = machine.memory
        parts = dram.channels * dram.pseudo_channels
        beats = _spread(weights, design.weight_channels, parts)
        beats += _spread(kv, design.kv_channels, parts)[:: 1 if design.shared else -1]
        summed: IntArray = beats.reshape(dram.channels, dram.pseudo_channels).sum(1)
        return summed


def _spread(count: int, channels: int, parts: int) -> IntArray:
    spread = np.zeros(parts, np.int64)
    spread[:channels] = count // channels
    spread[: count % channels] += 1
    return spread


def _share(of: int, stream: Stream, count: int) -> int:
    return of * count // max(stream.accesses, 1)


def _layer_columns(trace: Trace, work: Work, program: Program, run: Run) -> dict[str, Any]:
    of_group = program.key % work.sizes[1]
    last = np.flatnonzero(np.diff(program.group, append=program.group[-1] + 1))
    spent = np.diff(run.results[last], prepend=0)
    owner, layers = of_group[program.group], np.unique(of_group)
    return {
        "layer": layers,
        "cycles": sum_by(layers, of_group, spent),
        **alive_columns(trace, layers),
        "multiplications": sum_by(layers, owner, program.multiplications),
        "dram_transferred_bytes": sum_by(layers, owner, program.beats.sum(0) * BEAT_BYTES),
    }


def _event_columns(layers: Columns, counts: _Dram) -> dict[str, Any]:
    cycles, moved = layers["cycles"], layers["dram_transferred_bytes"]
    by_layer = {
        "dram_activate": share_out(counts.activates, moved),
        "dram_read_bit": moved * 8,
        "dram_io_bit": moved * 8,
        "dram_refresh": share_out(counts.refreshes, cycles),
        "dram_background": cycles * counts.channels,
    }
    return long_events(layers["layer"], by_layer)


def _unit_columns(design: Design, run: Run) -> dict[str, Any]:
    total = run.cycles
    names = ("busy", "waits for operands", "waits for weights", "waits for KV", "waits for spills")
    rows = [("engine", name, int(c)) for name, c in zip(names, run.engine, strict=True)]
    memories = ("HBM",) if design.shared else ("HBM weights", "HBM KV")
    for name, (streaming, full) in zip(memories, run.memory.tolist(), strict=False):
        rows += [
            (name, "busy", streaming),
            (name, "buffer full", full),
            (name, "nothing to fetch", total - streaming - full),
        ]
    return by_name(("unit", "state", "cycles"), rows)


def _traffic_columns(dense: Amounts, program: Program) -> dict[str, Any]:
    """Return the columns of `traffic`; unpruned means 8 bits a number, dense, all keys."""
    sizes = (dense.weights, dense.head, dense.keys, dense.keys, dense.new)
    useful_bits, beats = program.bits.sum(1).tolist(), program.beats.sum(1).tolist()
    rows = [
        (tensor, "MSB", -(-bits // 8), moved * BEAT_BYTES, round(size))
        for tensor, bits, moved, size in zip(TENSORS, useful_bits, beats, sizes, strict=True)
    ]
    return by_name(TRAFFIC, rows)


def _timeline_columns(program: Program, run: Run, count: int) -> dict[str, Any]:
    places = program.place[:count].tolist()
    groups = program.group[:count].tolist()
    rows = [
        ("engine", f"{OPERATORS[place]} {group}", int(start), int(end))
        for place, group, start, end in zip(
            places, groups, run.start[:count], run.end[:count], strict=True
        )
    ]
    return by_name(TIMELINE, rows)
