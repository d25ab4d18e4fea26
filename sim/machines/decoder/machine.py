"""Base of the decoder machines: a trace in, a result out."""

from __future__ import annotations

from abc import abstractmethod
from math import lcm

import numpy as np

from sim.dram.hbm2 import U280_HBM2
from sim.dram.spec import DramSpec
from sim.machines.base import BareMachine, Foreseen
from sim.machines.decoder import kernel
from sim.machines.decoder.build import Program, build
from sim.machines.decoder.design import Design, Forms, IntArray, Product, Stored
from sim.machines.decoder.program import read_work
from sim.machines.decoder.tables import Run, make_result
from sim.result import Result
from workloads.packed import BEAT_BYTES
from workloads.trace import Trace

IDEAL_LOGIC = "IdealFpgaLogic"
"""What a result calls logic without energy and area: no energy of a DSP48E2, BRAM36 or URAM288
access is published."""

DECODER_FIDELITY = (
    "Operators run in order; a max-plus recurrence over tiles gives when each is fetched and "
    "multiplied. Weights and KV cache run ahead only as far as their buffers hold.",
    "A decode step reads its whole KV cache and writes the new K and V: both at one rate, no "
    "turnaround, and a read does not wait for a write of the same step.",
    "Attention of a prefill is causal: diagonal blocks are computed whole. A weight is read once "
    "for each tile of tokens; what cannot stay on chip goes through DDR4 in time, not in the "
    "traffic and energy tables.",
    "Embedding rows come from DDR4, and the host does nothing between tokens.",
    "Pruning of tokens, heads, values, channels and blocks is not exploited; the sparsity table "
    "says what it would have saved.",
    "IdealFpgaLogic: energy is that of the HBM alone (counted events times published constants); "
    "no energy of a DSP48E2, BRAM or URAM access is published, and an FPGA has no area here.",
)
"""Fidelity of what all decoder machines share."""


class DecoderMachine(BareMachine):
    """A machine whose weights and KV cache stream from HBM; implements `design.Costs`."""

    clock_hz: float = 225e6
    """machine clock (paper: 225 MHz)"""
    dram: DramSpec = U280_HBM2
    """memory (paper: 8 GB of HBM2, 460 GB/s)"""

    @property
    def memory(self) -> DramSpec:
        return self.dram

    @property
    def peak_bytes_per_cycle(self) -> float:
        return self.dram.peak_bytes_per_s / self.clock_hz

    @property
    def ideal(self) -> tuple[str, ...]:
        return (*super().ideal, IDEAL_LOGIC)

    @property
    @abstractmethod
    def design(self) -> Design:
        """Rates, sizes and latencies."""

    @property
    @abstractmethod
    def forms(self) -> Forms:
        """How K and V are stored."""

    @property
    @abstractmethod
    def has_window(self) -> bool:
        """Whether keys outside the window of sinks and recent tokens are dropped."""

    @abstractmethod
    def stored(self, product: Product, name: str) -> Stored:
        """See `design.Costs`; the next ones likewise."""

    @abstractmethod
    def wait_cycles(self, place: IntArray, width: IntArray, tokens: IntArray) -> IntArray: ...

    @abstractmethod
    def latency_cycles(self, width: IntArray, tokens: IntArray) -> IntArray: ...

    @abstractmethod
    def attention_wait_cycles(
        self, head_dim: IntArray, heads: IntArray, tokens: int
    ) -> IntArray: ...

    @abstractmethod
    def attention_latency_cycles(
        self, head_dim: IntArray, heads: IntArray, tokens: int
    ) -> IntArray: ...

    @abstractmethod
    def attention_cycles(
        self, scores: IntArray, head_dim: IntArray, heads: IntArray
    ) -> IntArray: ...

    @abstractmethod
    def tile_cycles(self, scores: int, head_dim: int) -> int: ...

    def foresee(self, trace: Trace) -> Foreseen:
        program = build(read_work(trace, self), self)
        works = program.operators[kernel.TILES] > 0
        return Foreseen(
            busy_cycles=int(program.operators[kernel.WORK, works].sum()),
            transactions=int(program.beats.sum()) * (BEAT_BYTES // self.dram.transaction_bytes),
            multiplications=int(program.multiplications.sum()),
        )

    def simulate(self, trace: Trace, timeline_heads: int) -> Result:
        """Run a trace; `timeline_heads` counts operators.

        Raises:
            InputError: a matrix that its format cannot hold, named by layer and operator, or
                weights or a KV cache beyond the memory.
        """
        work = read_work(trace, self)
        program = build(work, self)
        return make_result(
            trace, self, self, work, program, execute(program, self.design), timeline_heads
        )


def execute(program: Program, design: Design) -> Run:
    """Run the operators."""
    streams = (design.weights, design.kv)
    ticks = lcm(*(stream.beats for stream in streams))
    per_line = [ticks * stream.cycles // stream.beats for stream in streams]
    count = program.operators.shape[1]
    start, end, results = (np.zeros(count, np.int64) for _ in range(3))
    engine, memory = np.zeros(5, np.int64), np.zeros((2, 2), np.int64)
    kernel.run(
        program.operators,
        design.slots,
        ticks,
        np.array(per_line, np.int64),
        np.array([stream.latency_cycles for stream in streams], np.int64),
        design.whole_tiles,
        start,
        end,
        results,
        engine,
        memory,
    )
    return Run(start, end, results, engine, memory // ticks)
