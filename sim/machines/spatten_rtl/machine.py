"""`spatten-rtl`: SpAtten as its authors released it, equal to their RTL clock for clock.

mit-han-lab/spatten, commit a0f1388, with its test bench and its DRAM model (Ramulator 2 of 2023).
The paper's machine is `spatten`; `fidelity` says where the two differ.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.dram.ramulator2023 import HBM2_RELEASED
from sim.dram.spec import DramSpec
from sim.energy.hardware import Buffer, Fifo, Hardware, TopK
from sim.machines.base import Foreseen, HeadMachine, Record
from sim.machines.pipeline import Schedule
from sim.machines.spatten_rtl import layout
from sim.machines.spatten_rtl.layout import Ints, Sizes
from sim.machines.spatten_rtl.released import Run, run_requests
from sim.machines.spatten_rtl.requests import HEAD_DIM, LSB_BITS, Rows, request_table, sizes_of
from sim.machines.timeline import timeline_columns
from sim.operations import (
    VALUE_GENERATION,
    VALUE_PREFILL,
    Operations,
    lower,
    plane_bytes,
    recompute_flags,
)
from workloads.errors import InputError
from workloads.trace import Trace

WIDTH_BITS = 12  # of an operand on chip


class SpAttenRtl(HeadMachine):
    """The released RTL; its fields are the arguments of the authors' script."""

    name: ClassVar[str] = "spatten-rtl"
    description: ClassVar[str] = (
        "SpAtten as its authors released it: their RTL and its DRAM model, equal to the clock"
    )
    answers_rows: ClassVar[bool] = True

    num_bufline: int = Field(2048, ge=16, le=65536)
    """lines of the K buffer and of the V buffer, a power of two (script's default: 2048)"""
    topk_parallelism: int = Field(16, ge=1)
    """elements a top-k pass compares in a cycle; enters the latency of its stand-in only"""
    num_multipliers: int = Field(64, ge=64, le=4096)
    """multipliers of Q.K, and of Prob.V, a power of two (1/8 machine: 64; the full one: 512)"""
    bandwidth_downsample: int = Field(8, ge=1, le=16)
    """by how much memory channels and fetch lanes are fewer than 16 and 32, a power of two"""
    row_multiple: int = Field(8, ge=1)
    """what the test bench rounds K and V counts up to (as released: 8)"""

    @model_validator(mode="after")
    def _powers_of_two(self) -> SpAttenRtl:
        for name in ("num_bufline", "num_multipliers", "bandwidth_downsample"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(f"SpAttenRtl {name} must be a power of two, not {value}")
        if self.sizes.granule_bits % 256:
            raise ValueError(
                "SpAttenRtl num_multipliers must be at least 64 for each two fetch lanes of 256 "
                f"bit, not {self.num_multipliers}"
            )
        return self

    @property
    def sizes(self) -> Sizes:
        """Sizes that follow from the fields."""
        return sizes_of(self.num_bufline, self.num_multipliers, self.bandwidth_downsample)

    @property
    def exploits(self) -> frozenset[str]:
        return frozenset({"head", "token", VALUE_PREFILL, VALUE_GENERATION, "precision"})

    @property
    def memory(self) -> DramSpec:
        channels = self.sizes.channels
        return HBM2_RELEASED.override(
            {
                "channels": channels,
                "mapping": (("channel", self.sizes.channel_bits), *HBM2_RELEASED.mapping)
                if channels > 1
                else HBM2_RELEASED.mapping,
            }
        )

    @property
    def operand_bits(self) -> int:
        return WIDTH_BITS

    @property
    def multipliers(self) -> int:
        return 2 * self.num_multipliers

    @property
    def hardware(self) -> Hardware:
        lines, line = self.num_bufline, self.num_multipliers
        buffer = Buffer(lines * line * WIDTH_BITS // 8, line, WIDTH_BITS)
        return Hardware(
            multipliers=self.multipliers,
            width_bits=WIDTH_BITS,
            key_buffer=buffer,
            value_buffer=buffer,
            channels=self.sizes.channels,
            lanes=self.sizes.lanes,
            decision_fifo=Fifo(1, lines, self.sizes.rows_per_line * WIDTH_BITS),
            topk=(TopK(self.topk_parallelism, lines * self.sizes.rows_per_line, WIDTH_BITS),),
        )

    @property
    def ideal(self) -> tuple[str, ...]:
        return ("IdealSoftmax", "IdealTopK", "IdealCascade")

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            "Every register and FIFO of the released RTL that takes part in timing is stepped "
            "clock by clock; against that RTL in Verilator all response cycles, DRAM reads, row "
            "hits, DRAM latencies and SRAM accesses of 50 runs on four sizes are equal.",
            "As released: softmax passes its input through in no time (IdealSoftmax); top-k waits "
            "for the latency that quick-select has on random numbers, then passes the first "
            "values (IdealTopK); token and head selection and importance cost nothing "
            "(IdealCascade).",
            "One query of a head is one request. The next head's K is fetched only when the Q.K of "
            "this one has ended. Rows come from an index ROM, the same for every request.",
            "Widths are those of the fetcher's profiles: K and V of 10 and 12 bit run as 8 bit, K "
            "with 4 more and computed twice; 6-bit heads run in pairs; Q and outputs use ports.",
            "The DRAM is Ramulator 2 as of 2023: 16 B per cycle and channel, half of the paper's; "
            "refresh never happens there. Clocks include reset and the buffers' initialisation.",
            "Which queries are computed twice comes from the trace, as in runs of the test bench "
            "with queries of zero; random queries skip a second pass now and then.",
            "Energy: counted events times published constants, good to about a factor of two.",
        )

    def busy_cycles(self, operations: Operations) -> dict[str, Ints]:
        per_line, multiple = self.sizes.rows_per_line, self.row_multiple
        ops = operations
        widened = np.isin(ops.k_bits, (10, 12))
        passes = ops.queries + np.where(widened, ops.queries, ops.recomputed)
        keys = -(-ops.keys // multiple) * multiple
        values = -(-ops.values // multiple) * multiple
        return {
            "Q.K": passes * -(-keys // per_line),
            "Prob.V": ops.queries * -(-values // per_line),
        }

    def run(self, trace: Trace, operations: Operations, timeline_heads: int) -> Record:
        owner, rows = _rows(trace, operations)
        table = self._table(rows)
        return self._record(operations, owner, table, run_requests(table, self.sizes, rows))

    def foresee_heads(self, trace: Trace, operations: Operations) -> Foreseen:
        _, rows = _rows(trace, operations)
        table = self._table(rows)
        return Foreseen(
            busy_cycles=max(int(unit.sum()) for unit in self.busy_cycles(operations).values()),
            transactions=sum(int(counts.sum()) for counts in _fetches(table).values()),
            multiplications=int(_multiplications(table).sum()),
        )

    def run_trace(self, trace: Trace) -> Run:
        """Run a trace and return the raw counts: SRAM accesses, clocks of every event."""
        _, rows = _rows(trace, lower(trace, self.exploits, self.operand_bits))
        return run_requests(self._table(rows), self.sizes, rows)

    def _table(self, rows: Rows) -> Ints:
        return request_table(
            rows, self.sizes, self.num_multipliers, self.topk_parallelism, self.row_multiple
        )

    def _record(self, operations: Operations, owner: Ints, table: Ints, run: Run) -> Record:
        heads = len(operations)
        ends = np.zeros(heads, np.int64)
        np.maximum.at(ends, owner, run.responses)
        groups = int(operations.group[-1]) + 1
        group_end = np.zeros(groups, np.int64)
        np.maximum.at(group_end, operations.group, ends)
        schedule = Schedule(np.maximum.accumulate(group_end))
        fetches = _fetches(table)
        transactions = {plane: _per_head(owner, count, heads) for plane, count in fetches.items()}
        return Record(
            schedule=schedule,
            unit_cycles=run.unit_cycles,
            counts=self._counts(owner, table, run, heads),
            useful_bytes=_useful_bytes(operations),
            transactions=transactions,
            multiplications=_per_head(owner, _multiplications(table), heads),
            dram=run.dram,
            topk_data="drawn" if _selects(table).any() else "none",
            timeline=timeline_columns(operations, schedule, [], 0),
            responses=pd.DataFrame(
                {"request": np.arange(len(owner)), "response_cycle": run.responses}
            ),
        )

    def _counts(
        self,
        owner: Ints,
        table: Ints,
        run: Run,
        heads: int,
    ) -> dict[str, Ints]:
        """Count the events that cost energy; accesses that polling wastes are shared out."""
        passes = 1 + table[:, layout.RECOMPUTE]
        scores = passes * table[:, layout.KEYS]
        weighted = table[:, layout.VALUES]
        line_bits = self.num_multipliers * WIDTH_BITS
        reads = run.sram_accesses.sum(axis=1) * line_bits
        waited = np.where(_selects(table), table[:, layout.TOPK_CYCLES], 0)
        streamed = waited * self.topk_parallelism
        lines = {0: table[:, layout.KEY_LINES] * passes, 1: table[:, layout.VALUE_LINES]}
        shared = {
            (b, kind): _per_head(owner, _share(int(reads[b, kind]), lines[b]), heads)
            for b in range(2)
            for kind in range(2)
        }
        return {
            "multiply": _per_head(owner, (scores + weighted) * HEAD_DIM, heads),
            "add": _per_head(owner, (scores + weighted) * HEAD_DIM, heads),
            "key_sram_read_bit": shared[0, 0],
            "key_sram_write_bit": shared[0, 1],
            "value_sram_read_bit": shared[1, 0],
            "value_sram_write_bit": shared[1, 1],
            "requant_compare": _per_head(owner, scores, heads),
            "topk_compare": _per_head(owner, 2 * streamed, heads),
            "decision_fifo_bit": _per_head(owner, scores * WIDTH_BITS, heads),
            "topk_fifo_bit": _per_head(owner, streamed * WIDTH_BITS, heads),
        }


def _rows(trace: Trace, operations: Operations) -> tuple[Ints, Rows]:
    """Return the head that each request belongs to, and the requests' rows."""
    ops = operations
    wrong = ops.head_dim != HEAD_DIM
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"attention.parquet row {ops.rows[at]}: head_dim must be {HEAD_DIM} on spatten-rtl, "
            f"not {ops.head_dim[at]}"
        )
    owner = np.repeat(np.arange(len(ops)), ops.queries)
    flags = recompute_flags(trace, ops)
    names = [
        f"row {number} (iteration {step}, layer {layer}, head {head})"
        for number, step, layer, head in zip(
            range(1, len(owner) + 1),
            np.maximum(ops.step[owner] - 1, 0).tolist(),
            ops.layer[owner].tolist(),
            ops.head[owner].tolist(),
            strict=True,
        )
    ]
    rows = Rows(
        keys=ops.keys[owner],
        values=ops.values[owner],
        key_bits=ops.k_bits[owner],
        value_bits=ops.v_bits[owner],
        needs_lsbs=np.concatenate(flags),
        names=names,
    )
    return owner, rows


def _fetches(table: Ints) -> dict[tuple[str, str], Ints]:
    """Return each request's transactions by plane; the second of a pair shares the first's."""
    keys, values = table[:, layout.KEYS], table[:, layout.VALUES]
    first_value = np.ones(len(table), np.bool_)
    paired = table[:, layout.VALUE_FUSED] == 2
    first_value[paired] = np.cumsum(paired)[paired] % 2 == 1
    return {
        ("K", "MSB"): np.where(table[:, layout.PART] == 0, keys * table[:, layout.KEY_PARTS], 0),
        ("K", "LSB"): np.where(table[:, layout.RECOMPUTE] == 1, keys, 0),
        ("V", "MSB"): np.where(first_value, values * table[:, layout.VALUE_PARTS], 0),
        ("Q", "MSB"): np.zeros(len(table), np.int64),
    }


def _useful_bytes(operations: Operations) -> dict[tuple[str, str], Ints]:
    ops = operations
    again = ops.recomputed * (~np.isin(ops.k_bits, (10, 12)))
    return {
        ("K", "MSB"): plane_bytes(ops.queries * ops.keys, ops.head_dim, ops.k_bits),
        ("K", "LSB"): plane_bytes(again * ops.keys, ops.head_dim, np.full(len(ops), LSB_BITS)),
        ("V", "MSB"): plane_bytes(ops.queries * ops.values, ops.head_dim, ops.v_bits),
        ("Q", "MSB"): np.zeros(len(ops), np.int64),
    }


def _selects(table: Ints) -> NDArray[np.bool_]:
    """Say which requests go through the top-k stand-in: those that drop values."""
    drops: NDArray[np.bool_] = table[:, layout.VALUES] < table[:, layout.KEYS]
    return drops


def _multiplications(table: Ints) -> Ints:
    """Multiplications that are performed, rounded rows and second passes included."""
    scores = (1 + table[:, layout.RECOMPUTE]) * table[:, layout.KEYS]
    total: Ints = (scores + table[:, layout.VALUES]) * HEAD_DIM
    return total


def _per_head(owner: Ints, counts: Ints, heads: int) -> Ints:
    total = np.zeros(heads, np.int64)
    np.add.at(total, owner, counts)
    return total


def _share(total: int, weights: Ints) -> Ints:
    """Split a count by weights into whole numbers that add up to it."""
    edges = np.cumsum(weights)
    shares: Ints = np.diff(edges * total // max(int(edges[-1]), 1), prepend=0)
    return shares
