"""What every machine is: a configuration that runs a trace."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from pydantic import Field

from sim.blocks.buffer import BufferConfig
from sim.blocks.fetch import FetchConfig
from sim.blocks.softmax import SoftmaxConfig
from sim.blocks.topk import TopKConfig
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.model import Counters
from sim.dram.spec import IDEAL_MEMORY, DramSpec
from sim.energy.hardware import Buffer, Fifo, Hardware, TopK
from sim.heads import simulate_heads
from sim.machines.pipeline import Schedule
from sim.machines.plan import make_plan
from sim.operations import Operations, lower, multiplications
from sim.result import Result
from workloads.config import Config
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]


COMMON_FIDELITY = (
    "DRAM: FR-FCFS with open rows and refresh. Sent in order, streams of 100,000 accesses take "
    "as many cycles and the same mean latency as in Ramulator 2.1 in all 82 runs (HBM2 at 2 Gb/s, "
    "DDR4-2400). A machine's fetches come in groups; one channel's full queue holds up no other.",
    "Energy: counted events times published constants, good to about a factor of two. Logic is "
    "operators, pipeline registers and crossbars without clock tree, control and wires: a lower "
    "bound. SRAM is CACTI's, interpolated, a RAM for each bit plane and bank.",
)
"""Fidelity of what all machines share."""


class HasCounters(Protocol):
    """A memory after a run."""

    @property
    def counters(self) -> Counters:
        """What it did."""


@dataclass(frozen=True)
class Record:
    """What happened in one run, before it is priced and summed up."""

    schedule: Schedule
    unit_cycles: dict[str, dict[str, int]]  # unit -> state -> cycles
    counts: dict[str, IntArray]  # event -> (operations,) how often
    useful_bytes: dict[tuple[str, str], IntArray]  # (tensor, plane) -> (operations,)
    transactions: dict[tuple[str, str], IntArray]  # (tensor, plane) -> (operations,)
    multiplications: IntArray  # (operations,)
    dram: HasCounters
    topk_data: str  # recorded, drawn, or none
    timeline: dict[str, Any]  # columns of the `timeline` table
    responses: pd.DataFrame | None = None  # clock of each answer, where rows are requests
    products: ProductWork | None = None  # matrix products with weights, where a machine runs them


@dataclass(frozen=True)
class ProductWork:
    """What the products of a run add to its bounds and its unpruned amounts."""

    busy_cycles: int  # of the arrays, when nothing else runs on them
    multiplications_dense: int
    dense_bytes: dict[str, int]  # tensor -> useful bytes without pruning at the on-chip width


@dataclass(frozen=True)
class Foreseen:
    """What is known of a run without running it, exactly."""

    busy_cycles: int  # of the busiest unit
    transactions: int  # of the DRAM
    multiplications: int


class BareMachine(Config):
    """Base of all machine configurations; `sim.run.simulate` is the way to run one."""

    name: ClassVar[str]
    description: ClassVar[str]
    answers_rows: ClassVar[bool] = False  # whether a result tells when each row was answered

    clock_hz: float = Field(1e9, gt=0)
    """machine clock, which is also the DRAM's command clock (paper: 1 GHz)"""

    @property
    @abstractmethod
    def memory(self) -> DramSpec:
        """The DRAM."""

    @property
    @abstractmethod
    def exploits(self) -> frozenset[str]:
        """Kinds of sparsity, as the `sparsity` table has them, that are left out of the work."""

    @property
    @abstractmethod
    def multipliers(self) -> int:
        """Multipliers that can work in one cycle."""

    @property
    def peak_gops(self) -> float:
        """2 x multipliers x clock, 1e9 operations per second."""
        return 2 * self.multipliers * self.clock_hz / 1e9

    @property
    def peak_bytes_per_cycle(self) -> float:
        """Data pins of all pseudo-channels together."""
        dram = self.memory
        return dram.channels * dram.pseudo_channels * dram.transaction_bytes / dram.n_bl

    @property
    def ideal(self) -> tuple[str, ...]:
        """Names of the parts that are idealised; every result shows them."""
        return (IDEAL_MEMORY,) if self.memory.ideal else ()

    @property
    @abstractmethod
    def fidelity(self) -> tuple[str, ...]:
        """What the model covers, simplifies and leaves out, one sentence each."""

    @abstractmethod
    def foresee(self, trace: Trace) -> Foreseen:
        """Return what is known of a run; see `sim.bounds.bounds`."""

    @abstractmethod
    def simulate(self, trace: Trace, timeline_heads: int) -> Result:
        """Run a trace; see `sim.run.simulate`."""


class HeadMachine(BareMachine):
    """Base of machines that run the attention heads of a trace one after another."""

    @property
    @abstractmethod
    def operand_bits(self) -> int:
        """Bits of an operand on chip, and of unquantised operands in DRAM."""

    @property
    @abstractmethod
    def hardware(self) -> Hardware:
        """Sizes of the parts that cost energy and area."""

    def adapt(self, operations: Operations) -> Operations:
        """Return the heads as the machine runs them, where it departs from the trace's."""
        return operations

    @abstractmethod
    def busy_cycles(self, operations: Operations) -> dict[str, IntArray]:
        """Return the cycles each head needs at least of each unit, in closed form."""

    @abstractmethod
    def run(self, trace: Trace, operations: Operations, timeline_heads: int) -> Record:
        """Run all heads.

        Raises:
            InputError: a head that the machine cannot hold.
        """

    @abstractmethod
    def foresee_heads(self, trace: Trace, operations: Operations) -> Foreseen:
        """Return what is known of a run of some heads."""

    def operations(self, trace: Trace) -> Operations:
        """Return the heads of a trace as the machine runs them."""
        return self.adapt(lower(trace, self.exploits, self.operand_bits))

    def foresee(self, trace: Trace) -> Foreseen:
        return self.foresee_heads(trace, self.operations(trace))

    def simulate(self, trace: Trace, timeline_heads: int) -> Result:
        return simulate_heads(trace, self, timeline_heads)


class Machine(HeadMachine):
    """Base of machines composed of blocks and a memory."""

    width_bits: int = Field(12, ge=2, le=16)
    """bits of an operand on chip, and of unquantised operands in DRAM (paper: 12)"""
    dram: DramSpec = HBM2_2GBPS
    """memory (paper: 16 channels of HBM2, 512 GB/s)"""
    fetch: FetchConfig = FetchConfig()
    """matrix fetcher and bit-width converter"""
    key_buffer: BufferConfig = BufferConfig()
    """K SRAM"""
    value_buffer: BufferConfig = BufferConfig()
    """V SRAM"""
    softmax: SoftmaxConfig = SoftmaxConfig()
    """softmax unit"""

    @property
    def memory(self) -> DramSpec:
        return self.dram

    @property
    def operand_bits(self) -> int:
        return self.width_bits

    def multiplications(self, operations: Operations) -> IntArray:
        """Return (heads,) multiplications of each head."""
        return multiplications(operations)

    def foresee_heads(self, trace: Trace, operations: Operations) -> Foreseen:
        plan = make_plan(trace, operations, self.fetch, self.dram.transaction_bytes)
        return Foreseen(
            busy_cycles=max(int(unit.sum()) for unit in self.busy_cycles(operations).values()),
            transactions=plan.size,
            multiplications=int(self.multiplications(operations).sum()),
        )

    def make_hardware(
        self,
        key_line: int,
        value_line: int,
        decision_rows: int = 0,
        topk: tuple[TopKConfig, ...] = (),
    ) -> Hardware:
        """Return the sizes of the parts.

        Args:
            key_line, value_line: elements that an array takes from its buffer in one cycle.
            decision_rows: depth of the FIFO behind the softmax, in rows of its lanes; 0: none.
            topk: top-k engines.
        """
        row_bits = self.softmax.lanes * self.width_bits
        return Hardware(
            multipliers=self.multipliers,
            width_bits=self.width_bits,
            key_buffer=Buffer(self.key_buffer.bytes, key_line, self.key_buffer.width_bits),
            value_buffer=Buffer(self.value_buffer.bytes, value_line, self.value_buffer.width_bits),
            channels=self.dram.channels,
            lanes=2 * self.dram.channels,
            softmax_lanes=self.softmax.lanes,
            softmax_fifo=Fifo(1, self.softmax.fifo_rows, row_bits),
            decision_fifo=Fifo(1, decision_rows, row_bits) if decision_rows else None,
            topk=tuple(TopK(engine.lanes, engine.depth, engine.width_bits) for engine in topk),
        )

    def check_buffers(self, operations: Operations) -> None:
        """Raise InputError when the longest head of any width does not fit the buffers."""
        ops = operations
        for dim in np.unique(ops.head_dim).tolist():
            of_dim = np.flatnonzero(ops.head_dim == dim)
            for name, buffer, rows in (
                ("keys", self.key_buffer, ops.keys),
                ("values_fetched", self.value_buffer, ops.values_fetched),
            ):
                worst = of_dim[np.argmax(rows[of_dim])]
                where = f"attention.parquet row {ops.rows[worst]}"
                buffer.check(name, int(rows[worst]), dim, where)
